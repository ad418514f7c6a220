"""Tells a web server of alarms, without making the stream wait."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from kerasft.errors import ConfigError

_AGAIN = frozenset({408, 425, 429})
_LONGEST_PAUSE = 30.0


class Webhook:
    """POSTs JSON objects from a thread of its own, in order.

    What does not arrive is tried again, after a pause that doubles, unless the server says that the request
    is wrong (a status of 3xx or 4xx but 408, 425 and 429). So a receiver may see an object twice.

    Args:
        url: http:// or https://.
        headers: To send besides, such as `{"Authorization": "Bearer ..."}`.
        timeout: Seconds that a try may take.
        tries: How often, at most.
        pause: Seconds before the second try.
        room: How many objects may wait; more are dropped, and that is said.
        say: Takes sentences about failures.

    Raises:
        ConfigError: The URL is none.

    Attributes:
        delivered: How many objects arrived.
        failed: How many were given up or dropped.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        tries: int = 4,
        pause: float = 1.0,
        room: int = 100,
        say: Callable[[str], None] = print,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"webhook {url}: give a URL that starts with http:// or https://")
        self.url = url
        # Not in messages: a path, a query or a password may be a secret.
        self.where = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self.delivered = self.failed = 0
        self._headers = {"Content-Type": "application/json", "User-Agent": "kerasft", **(headers or {})}
        self._timeout, self._tries, self._pause = timeout, tries, pause
        self._say = say
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._room = room
        self._stop = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._work, name="kerasft-webhook", daemon=True)
        self._thread.start()

    def send(self, value: Mapping[str, Any]) -> None:
        """Queues an object that JSON knows; returns at once."""
        if self._waiting.qsize() >= self._room:
            self.failed += 1
            self._say(
                f"webhook {self.where}: {self._room} alarms wait to be delivered, so that of "
                f"{value.get('time', 'now')} is dropped"
            )
            return
        self._waiting.put(dict(value))

    def close(self, patience: float = 10.0) -> None:
        """Waits at most `patience` seconds for what is queued, then gives the rest up and says so."""
        self._waiting.put(None)
        self._thread.join(patience)
        self._stop.set()
        self._thread.join(self._timeout)

    def _work(self) -> None:
        while (value := self._waiting.get()) is not None:
            problem = "watching ended before it could be" if self._stop.is_set() else self._deliver(value)
            if problem is None:
                self.delivered += 1
                continue
            self.failed += 1
            self._say(
                f"webhook {self.where}: the alarm of {value.get('time', '?')} was not delivered: {problem}"
            )

    def _deliver(self, value: dict[str, Any]) -> str | None:
        """Returns why it cannot, or None."""
        pause = self._pause
        for left in range(self._tries - 1, -1, -1):
            problem, final = self._post(value)
            if problem is None:
                return None
            if final:
                return problem
            if left and self._stop.wait(pause):
                return f"{problem}; watching ended before it was tried again"
            pause = min(2 * pause, _LONGEST_PAUSE)
        return f"{problem}, {self._tries} times"

    def _post(self, value: dict[str, Any]) -> tuple[str | None, bool]:
        body = json.dumps(value, ensure_ascii=False).encode()
        request = urllib.request.Request(self.url, body, self._headers, method="POST")
        end = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                # A server that drips its answer is as late as one that does not answer.
                while response.read1(1 << 16):
                    if time.monotonic() > end:
                        return f"no whole answer within {self._timeout:g} s", False
            return None, False
        except urllib.error.HTTPError as error:
            with error:
                return f"the server answers {error.code} {error.reason}", not (
                    error.code >= 500 or error.code in _AGAIN
                )
        except TimeoutError:
            return f"no answer within {self._timeout:g} s", False
        except urllib.error.URLError as error:
            late = isinstance(error.reason, TimeoutError)
            return f"no answer within {self._timeout:g} s" if late else f"{error.reason}", False
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}", False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # Following one would turn the POST into a GET: the alarm would be lost in silence.
    def redirect_request(self, *arguments: Any) -> None:
        return None
