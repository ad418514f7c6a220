"""Sources, webhooks and clips of watching, with real files and real sockets."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from kerasft.errors import ConfigError, DataError
from kerasft_video.reading import Frame, frames
from kerasft_video.watching import clips
from kerasft_video.watching.clips import Recorder
from kerasft_video.watching.sources import Live, Picture, Whole, open_source
from kerasft_video.watching.webhook import Webhook

from .filming import RATE, film, moving, served, stream_of


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of an MPEG transport stream."""
    return film(tmp_path_factory.mktemp("films") / "live.ts", moving("sm")).read_bytes()


def pictures(source, *, until: int | None = None) -> list[Picture]:
    """All pictures, or so many."""
    found: list[Picture] = []
    for batch in source.batches():
        found += batch
        if until is not None and len(found) >= until:
            source.close()
            break
    return found


class TestSources:
    def test_a_file_gives_every_frame(self, tmp_path: Path) -> None:
        source = open_source(str(film(tmp_path / "a.mp4", moving("sm"))))
        assert isinstance(source, Whole)
        found = pictures(source)
        assert [round(picture.time, 3) for picture in found] == [n / RATE for n in range(2 * RATE)]
        assert [picture.source_time for picture in found] == [picture.time for picture in found]
        assert not any(picture.gap for picture in found)
        assert found[0].pixels.shape == (32, 32, 3)

    def test_a_file_in_real_time_takes_as_long_as_it_lasts(self, tmp_path: Path) -> None:
        source = open_source(str(film(tmp_path / "a.mp4", moving("s", seconds=0.5))), realtime=True)
        began = time.monotonic()
        found = pictures(source)
        # Never early; how late is up to the machine.
        assert all(picture.arrived - began >= picture.time for picture in found)
        assert len(found) == 5

    def test_a_live_source_that_nobody_takes_in_time_keeps_the_newest(self) -> None:
        passed = threading.Event()

        def opened():
            for number in range(50):
                yield Frame(number / 10, lambda: np.zeros((2, 2, 3), np.uint8))
            passed.set()

        source = Live("test", opened, comes_back=False, room=4)
        batches = source.batches()
        found = next(batches)
        passed.wait()
        found += [picture for batch in batches for picture in batch]
        assert [picture.source_time for picture in found[-4:]] == [4.6, 4.7, 4.8, 4.9]
        assert len(found) + source.lost == 50
        assert source.lost >= 42

    def test_a_stream_that_breaks_off_and_is_away_comes_back(self, stream: bytes) -> None:
        said: list[str] = []
        answer, asked = stream_of(stream, 503, stream)
        with served(answer) as url:
            source = Live(url, lambda: frames(url), pause=0.01, say=said.append)
            found = pictures(source, until=40)
        assert len(asked) >= 3
        gaps = [number for number, picture in enumerate(found) if picture.gap]
        assert gaps[0] == 20
        assert all(a.time < b.time for a, b in itertools.pairwise(found))
        assert found[20].source_time == 0.0
        assert said[0] == f"{url}: lost (Input/output error); trying again in 0.01 s"
        assert said[1] == f"{url}: lost (Server returned 5XX Server Error reply); trying again in 0.02 s"
        assert said[2].startswith(f"{url}: back after ")

    def test_a_stream_that_stays_away_is_given_up(self, stream: bytes) -> None:
        answer, _ = stream_of(stream, 503)
        with served(answer) as url:
            source = Live(url, lambda: frames(url), pause=0.01, give_up=0.05, say=lambda text: None)
            with pytest.raises(DataError, match="so it is given up: Server returned 5XX"):
                pictures(source)

    def test_a_url_with_an_end(self, stream: bytes) -> None:
        answer, asked = stream_of(stream, whole=True)
        with served(answer) as url:
            assert len(pictures(open_source(url, once=True))) == 20
        assert len(asked) == 1

    def test_a_source_that_is_not_there_at_the_beginning_is_an_error(self) -> None:
        answer, asked = stream_of(404)
        with served(answer) as url, pytest.raises(DataError, match="cannot be opened"):
            pictures(open_source(url))
        assert len(asked) == 1
        with pytest.raises(DataError, match="camera 77 cannot be opened"):
            pictures(open_source("77"))
        with pytest.raises(DataError, match=r"missing\.mp4 does not exist"):
            pictures(open_source("missing.mp4"))

    def test_a_camera_is_asked_of_linux_and_comes_back_when_it_is_plugged_in(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FFmpeg's test picture takes the place of the device: raw YUYV, timed by the machine's clock."""
        asked: list[tuple[str, dict]] = []
        real = av.open

        def plugged(address: str, **settings):
            asked.append((address, settings))
            if len(asked) > 2:
                raise FileNotFoundError(2, "unplugged")
            pattern = "testsrc=size=32x24:rate=10:duration=0.5,format=yuyv422,setpts=PTS+7000/TB"
            return real(pattern, format="lavfi")

        monkeypatch.setattr(av, "open", plugged)
        said: list[str] = []
        found = pictures(open_source("3", pause=0.01, say=said.append), until=10)
        assert asked[0] == ("/dev/video3", {"format": "v4l2", "timeout": None})
        assert [round(picture.source_time, 3) for picture in found] == [0.0, 0.1, 0.2, 0.3, 0.4] * 2
        assert [number for number, picture in enumerate(found) if picture.gap] == [5]
        assert all(a.time < b.time for a, b in itertools.pairwise(found))
        assert found[0].pixels.shape == (24, 32, 3)
        assert len(np.unique(found[0].pixels.reshape(-1, 3), axis=0)) > 4
        assert said[0] == "3: lost (it ended); trying again in 0.01 s"
        assert said[1].startswith("3: back after ")
        asked.clear()
        next(frames(3, fps=5))
        assert asked[0][1]["options"] == {"framerate": "5"}

    def test_a_file_that_breaks_off_is_an_error_with_its_name(self, tmp_path: Path) -> None:
        path = film(tmp_path / "a.ts", moving("sm"))
        (tmp_path / "b.ts").write_bytes(b"nonsense" * 1000)
        with pytest.raises(DataError, match=r"b\.ts is no readable video"):
            pictures(open_source(str(tmp_path / "b.ts")))
        assert pictures(open_source(str(path)))

    def test_whatever_fails_in_the_reader_is_heard_of(self) -> None:
        def opened():
            yield Frame(0.0, lambda: np.zeros((2, 2, 3), np.uint8))
            raise MemoryError("no room")

        with pytest.raises(MemoryError, match="no room"):
            pictures(Live("test", opened))

    @pytest.mark.parametrize(
        ("text", "options", "said"),
        [("0", {"once": True}, "a camera has no end"), ("rtsp://a/1", {"realtime": True}, "is live")],
    )
    def test_options_that_do_nothing(self, text, options, said) -> None:
        with pytest.raises(ConfigError, match=said):
            open_source(text, **options)


class Receiver:
    """A web server that answers with a row of statuses, the last one for ever; it keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, request) -> None:
        self.free.wait()
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.got.append(body)
        self.headers.append(dict(request.headers))
        request.send_response(status)
        if status == 302:
            request.send_header("Location", "/elsewhere")
        request.end_headers()


class TestWebhook:
    def test_objects_arrive_in_order_with_headers(self) -> None:
        receiver, said = Receiver(200), []
        with served(receiver) as url:
            hook = Webhook(url, headers={"X-Key": "abc"}, say=said.append)
            for number in range(5):
                hook.send({"number": number, "class": "Schlägerei"})
            hook.close()
        assert receiver.got == [{"number": number, "class": "Schlägerei"} for number in range(5)]
        assert receiver.headers[0]["X-Key"] == "abc"
        assert receiver.headers[0]["Content-Type"] == "application/json"
        assert (hook.delivered, hook.failed, said) == (5, 0, [])

    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_what_fails_for_now_is_tried_again(self, status: int) -> None:
        receiver, said = Receiver(status, status, 204), []
        with served(receiver) as url:
            hook = Webhook(url, pause=0.01, say=said.append)
            hook.send({"time": "now"})
            hook.close()
        assert receiver.got == [{"time": "now"}] * 3
        assert (hook.delivered, said) == (1, [])

    @pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (302, "302 Found")])
    def test_what_is_wrong_is_not_tried_again(self, status: int, reason: str) -> None:
        receiver, said = Receiver(status), []
        with served(receiver) as url:
            hook = Webhook(f"{url}?token=secret", pause=0.01, say=said.append)
            hook.send({"time": "12:00"})
            hook.close()
        assert len(receiver.got) == 1
        assert hook.failed == 1
        assert len(said) == 1
        assert said[0].endswith(f"the alarm of 12:00 was not delivered: the server answers {reason}")
        assert "secret" not in said[0]

    def test_a_server_that_is_not_there_is_given_up_after_some_tries(self) -> None:
        with served(Receiver(200)) as url:
            pass
        said: list[str] = []
        hook = Webhook(url, tries=3, pause=0.01, say=said.append)
        hook.send({"time": "12:00"})
        hook.close()
        assert said == [
            f"webhook {hook.where}: the alarm of 12:00 was not delivered: {said[0].split(': ')[-1]}"
        ]
        assert "refused, 3 times" in said[0]

    def test_a_server_that_does_not_answer_holds_nobody_up(self) -> None:
        receiver, said = Receiver(200), []
        receiver.free.clear()
        with served(receiver) as url:
            hook = Webhook(url, timeout=0.05, tries=1, room=2, say=said.append)
            for number in range(8):
                hook.send({"time": number})
            receiver_was_asked = [text for text in said if "is dropped" in text]
            hook.close(patience=5)
            receiver.free.set()
        assert len(receiver_was_asked) >= 5
        assert "2 alarms wait to be delivered, so that of 7 is dropped" in receiver_was_asked[-1]
        assert any("no answer within 0.05 s, 1 times" in text for text in said)
        assert hook.delivered + hook.failed == 8

    def test_the_end_does_not_wait_for_ever(self) -> None:
        said: list[str] = []
        with served(Receiver(503)) as url:
            hook = Webhook(url, pause=60.0, say=said.append)
            hook.send({"time": "1"})
            hook.send({"time": "2"})
            hook.close(patience=0.2)
        assert hook.failed == 2
        assert "watching ended" in said[0]
        assert "watching ended" in said[1]

    @pytest.mark.parametrize("url", ["ftp://a/b", "a/b", "http://"])
    def test_a_url_that_is_none(self, url: str) -> None:
        with pytest.raises(ConfigError, match="starts with http"):
            Webhook(url)


def picture(number: int, *, size: tuple[int, int] = (24, 40)) -> Picture:
    """A grey picture, tenth of a second after tenth of a second; each a bit lighter."""
    pixels = np.full((*size, 3), min(number, 255), np.uint8)
    return Picture(number / 10, number / 10, 0.0, False, Frame(number / 10, lambda: pixels))


def shown(path: Path) -> tuple[list[int], list[float]]:
    """Returns how light the pictures of a film are, and their times."""
    with av.open(str(path)) as container:
        found = [(frame.to_ndarray(format="rgb24").mean(), frame.time) for frame in container.decode(video=0)]
    return [round(float(light)) for light, _ in found], [round(time, 3) for _, time in found]


class TestClips:
    def test_a_clip_has_what_was_before_and_what_comes_after(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path / "clips", before=0.5, after=0.3, wait=True)
        for number in range(30):
            recorder.add(picture(number))
            if number == 12:
                path = recorder.begin("a", 1.2, "20260101T120000-fight/1")
                assert path == tmp_path / "clips" / "20260101T120000-fight_1.mp4"
            if number == 15:
                recorder.end("a", 1.5)
        recorder.close()
        light, times = shown(path)
        assert light == pytest.approx(list(range(7, 19)), abs=2)
        assert times == [n / 10 for n in range(12)]
        assert recorder.saved == [path]
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_clips_overlap_and_have_names_of_their_own(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, before=0.2, after=0.0, wait=True)
        paths = []
        for number in range(10):
            recorder.add(picture(number))
            if number in (4, 5):
                paths.append(recorder.begin(str(number), number / 10, "fight"))
        recorder.end("4", 0.9)
        recorder.close()
        assert [path.name for path in paths] == ["fight.mp4", "fight-2.mp4"]
        assert [len(shown(path)[0]) for path in paths] == [8, 7]

    def test_clips_share_pictures_and_each_has_its_own_times(self, tmp_path: Path) -> None:
        said: list[str] = []
        recorder = Recorder(tmp_path, before=9.95, after=0.0, wait=True, say=said.append)
        paths = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for number in range(300):
                recorder.add(picture(number))
                if 100 <= number < 108:
                    paths.append(recorder.begin(str(number), number / 10, "fight"))
            recorder.close()
        finally:
            sys.setswitchinterval(interval)
        assert said == []
        for begin, path in enumerate(paths):
            assert shown(path)[1] == [n / 10 for n in range(299 - begin)]

    def test_a_long_alarm_is_cut(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, before=0.2, after=1.0, longest=1.0, wait=True)
        for number in range(40):
            recorder.add(picture(number))
            if number == 10:
                path = recorder.begin("a", 1.0, "fight")
        recorder.close()
        assert shown(path)[1][-1] == 1.0

    def test_large_pictures_are_made_smaller_and_even(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, side=64, wait=True)
        recorder.add(picture(100, size=(101, 203)))
        path = recorder.begin("a", 10.0, "fight")
        recorder.close()
        with av.open(str(path)) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 32)

    def test_pictures_that_find_no_room_are_counted_and_hold_nobody_up(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        going, said = threading.Event(), []
        write = clips.encode
        monkeypatch.setattr(clips, "encode", lambda *given: going.wait() and write(*given))
        recorder = Recorder(tmp_path, before=30.0, say=said.append)
        for number in range(300):
            recorder.add(picture(number, size=(4, 4)))
            if number == 9:
                path = recorder.begin("a", 1.0, "fight")
        going.set()
        recorder.close()
        assert said == [f"{path} lacks 44 pictures: the disk or the encoder is too slow"]
        assert len(shown(path)[0]) == 256

    def test_a_gap_ends_a_clip_and_the_past(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, before=5.0, wait=True)
        recorder.add(picture(10))
        first = recorder.begin("a", 1.0, "one")
        recorder.cut()
        recorder.add(picture(20))
        second = recorder.begin("b", 2.0, "two")
        recorder.close()
        assert [len(shown(path)[0]) for path in (first, second)] == [1, 1]

    def test_a_disk_that_fails_is_said_and_stops_nothing(self, tmp_path: Path) -> None:
        said: list[str] = []
        recorder = Recorder(tmp_path / "clips", wait=True, say=said.append)
        recorder.add(picture(1))
        (tmp_path / "clips").rmdir()
        path = recorder.begin("a", 0.1, "fight")
        for number in range(2, 400):
            recorder.add(picture(number, size=(4, 4)))
        recorder.close()
        assert said == [f"{path} could not be saved: {said[0].partition('saved: ')[2]}"]
        assert "No such file" in said[0]
        assert recorder.saved == []

    @pytest.mark.parametrize("values", [{"before": -1.0}, {"longest": 0.0}])
    def test_what_is_wrong_is_said(self, tmp_path: Path, values) -> None:
        with pytest.raises(ConfigError, match="none may be below 0"):
            Recorder(tmp_path, **values)
