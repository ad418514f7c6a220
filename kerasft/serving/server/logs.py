"""What the server says about itself: lines for people, or JSON for machines."""

from __future__ import annotations

import datetime
import json
import logging
from typing import Literal

LOGGER = "kerasft.serving"
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(*, style: Literal["text", "json"] = "text", level: str = "info") -> None:
    """Sends the server's messages to standard error.

    Args:
        style: `"text"`, or `"json"`: one object a line with `time`, `severity`, `message` and what else is
            known, such as `model` and `version`.
        level: From which level on: debug (with every request), info, warning or error.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if style == "json" else Text())
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class Text(logging.Formatter):
    """`info: version 3 of model reviews is available (path=...)`."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        known = ", ".join(f"{name}={value}" for name, value in _extras(record).items())
        line = f"{record.levelname.lower()}: {record.getMessage()}" + (f" ({known})" if known else "")
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "time": time.isoformat(),
            "severity": record.levelname,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
