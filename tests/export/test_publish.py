"""Publishing is atomic: other processes see a version whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kerasft.errors import ExportError
from kerasft.export import publish as publish_module
from kerasft.export.layout import versions
from kerasft.export.publish import publishing, remove_leftovers

WRITER = """
import os, signal, sys
from pathlib import Path
from kerasft.export import publish

def write(folder):
    (folder / "variables").mkdir()
    (folder / "variables" / "data").write_bytes(b"x" * 100_000)
    (folder / "saved_model.pb").write_bytes(b"graph")

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

target, mode = Path(sys.argv[1]), sys.argv[2]
"""


def run_writer(target: Path, mode: str, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER + code, str(target), mode]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"graph")


def publish(target: Path, version: int | None = None, *, error: BaseException | None = None) -> int:
    with publishing(target, version) as publication:
        write(publication.folder)
        if error is not None:
            raise error
    return publication.version


def test_versions_count_up_from_the_newest(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    assert [publish(target, version) for version in (None, 7, None, 3)] == [1, 7, 8, 3]
    assert sorted(path.name for path in target.iterdir()) == ["1", "3", "7", "8"]


def test_a_version_that_exists_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "mine").write_text("old")
    with pytest.raises(ExportError, match=r"version 2 of .* exists: pass another one \(3 is free\)"):
        publish(tmp_path, 2)
    assert [path.name for path in tmp_path.rglob("*")] == ["2", "mine"]


@pytest.mark.parametrize("version", [-1, 2**63, "3", True, 1.0])
def test_what_is_no_version_number_is_refused(tmp_path: Path, version: Any) -> None:
    sentence = re.escape(f"version {version!r} is not a version number")
    with pytest.raises(ExportError, match=sentence), publishing(tmp_path / "model", version):
        pass
    assert not (tmp_path / "model").exists()


def test_a_number_that_no_server_reads_is_no_version(tmp_path: Path) -> None:
    (tmp_path / str(2**63)).mkdir()
    assert publish(tmp_path) == 1


def test_nothing_is_visible_until_all_is_written(tmp_path: Path) -> None:
    with publishing(tmp_path) as publication:
        write(publication.folder)
        assert versions(tmp_path) == {}
        assert publication.folder.parent == tmp_path
    assert list(versions(tmp_path)) == [1]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("planted"), OSError(errno.EIO, "planted")]
)
def test_an_exception_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises((type(error), ExportError)):
        publish(tmp_path, error=error)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no space left"):
        publish(tmp_path, error=OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_cuts_short_leaves_nothing_behind(tmp_path: Path) -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with publish.publishing(target) as publication:
        write(publication.folder)
except publish.ExportError as error:
    print(error)
"""
    result = run_writer(tmp_path, "", code)
    assert "cannot be written" in result.stdout, result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["while writing", "while flushing", "before the rename"])
def test_a_killed_writer_shows_nothing_and_the_next_one_cleans_up(tmp_path: Path, moment: str) -> None:
    code = """
if mode == "while flushing":
    publish._flush_folder = die
if mode == "before the rename":
    publish.os.rename = die
with publish.publishing(target) as publication:
    write(publication.folder)
    if mode == "while writing":
        die()
"""
    result = run_writer(tmp_path, moment, code)
    assert result.returncode == -signal.SIGKILL, result.stderr
    leftovers = list(tmp_path.iterdir())
    assert len(leftovers) == 1
    assert leftovers[0].name.startswith(".tmp-1-")
    assert versions(tmp_path) == {}

    assert publish(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_the_folder_of_a_living_writer_is_not_cleaned_up(tmp_path: Path) -> None:
    with publishing(tmp_path) as first:
        write(first.folder)
        assert remove_leftovers(tmp_path) == []
        with publishing(tmp_path) as second:
            write(second.folder)
        assert first.folder.is_dir()
    assert (first.version, second.version) == (2, 1)


def test_folders_of_other_machines_and_of_users_are_not_cleaned_up(tmp_path: Path) -> None:
    names = [".tmp-1-1-some.other.host-0", ".tmp-notes", ".hidden"]
    for name in names:
        (tmp_path / name).mkdir()
    assert remove_leftovers(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def all_at_once(count: int, work: Callable[[], None]) -> None:
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_that_publish_at_once_get_different_versions(tmp_path: Path) -> None:
    got = []

    def work() -> None:
        with publishing(tmp_path) as publication:
            (publication.folder / "saved_model.pb").write_text(str(threading.get_ident()))
        got.append((publication.version, str(threading.get_ident())))

    all_at_once(8, work)
    assert sorted(version for version, _ in got) == list(range(1, 9))
    for version, owner in got:
        assert (tmp_path / str(version) / "saved_model.pb").read_text() == owner


def test_processes_that_publish_at_once_get_different_versions(tmp_path: Path) -> None:
    code = """
for _ in range(5):
    with publish.publishing(target) as publication:
        (publication.folder / "owner").write_text(str(os.getpid()))
    print(publication.version, os.getpid())
"""
    command = [sys.executable, "-c", WRITER + code, str(tmp_path), ""]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    lines = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
    assert sorted(int(version) for version, _ in lines) == list(range(1, 21))
    for version, owner in lines:
        assert (tmp_path / version / "owner").read_text() == owner


@pytest.mark.parametrize("attempt", range(40))
def test_one_explicit_version_goes_to_one_of_three_rivals(tmp_path: Path, attempt: int) -> None:
    results: list[str] = []

    def work() -> None:
        try:
            results.append(str(publish(tmp_path, 5)))
        except ExportError as error:
            results.append(str(error))

    all_at_once(3, work)
    assert sum("exists" in result for result in results) == 2, results
    assert [path.name for path in tmp_path.iterdir()] == ["5"]


def test_a_writer_that_took_over_the_name_of_another_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publishing(tmp_path, 1) as first:
        hidden = first.folder
    hidden.mkdir()
    real = publish_module._try_lock

    def between(descriptor: int) -> bool:
        if not (tmp_path / "2").exists():
            hidden.rename(tmp_path / "2")
            hidden.mkdir()
            (hidden / "weights").touch()
        return real(descriptor)

    monkeypatch.setattr(publish_module, "_try_lock", between)
    assert publish_module.remove_leftovers(tmp_path) == []
    assert (hidden / "weights").exists()


def test_a_target_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(ExportError, match="cannot be written"), publishing(tmp_path / "model"):
        pass


def test_published_folders_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with publishing(tmp_path) as publication:
            write(publication.folder)
    finally:
        os.umask(before)
    assert publication.folder.stat().st_mode & 0o777 == 0o755
