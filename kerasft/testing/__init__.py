"""The conformance kit: one call that tells whether a task keeps its promises.

Example:
    >>> from kerasft.testing import check_task
    >>> check_task("text", encoder="cnn").raise_if_failed()                  # doctest: +SKIP
"""

from __future__ import annotations

from kerasft.export.report import Check
from kerasft.testing.conformance import CHECKS, check_task
from kerasft.testing.report import CheckReport, ConformanceError

__all__ = ["CHECKS", "Check", "CheckReport", "ConformanceError", "check_task"]
