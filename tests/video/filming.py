"""Small films for tests, and a server that sends them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 10
SIDE = 32


def moving(kinds: str, *, seconds: float = 1.0, side: int = SIDE, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields frames of a bright square on a dark ground, some seconds of each kind: "s" stands, "m" moves."""
    random = np.random.default_rng(seed)
    place = int(random.integers(0, side - 8))
    for kind in kinds:
        for _ in range(round(seconds * RATE)):
            place += 5 if kind == "m" else 0
            picture = random.integers(20, 30, (side, side, 3)).astype(np.uint8)
            at = place % (side - 8)
            picture[at : at + 8, at : at + 8] = 230
            yield picture


def film(path: Path, pictures: Sequence[np.ndarray] | Iterator[np.ndarray], *, rate: int = RATE) -> Path:
    """Writes pictures as a video of the kind that the name says (.mp4, .ts)."""
    with av.open(str(path), "w", format={".ts": "mpegts"}.get(path.suffix, path.suffix[1:])) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "12"})
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Answers requests of any method with a function; gives the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stream_of(*parts: bytes | int, whole: bool = False) -> tuple[Answer, list[int]]:
    """Returns an answer that gives a part for each connection: a film, or a status.

    The last part comes again and again; the list counts the connections. A stream that is not said to be
    whole goes on for ever, as far as the client knows, and breaks off.
    """
    asked: list[int] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        part = parts[min(len(asked), len(parts) - 1)]
        asked.append(len(asked))
        if isinstance(part, int):
            request.send_error(part)
            return
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        if whole:
            request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        request.wfile.write(part)

    return answer, asked
