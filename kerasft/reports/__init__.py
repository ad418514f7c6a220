"""Reports for people: the HTML page of a run and the model card of an export."""

from __future__ import annotations

from kerasft.reports.classes import ClassScores, class_scores
from kerasft.reports.model_card import model_card
from kerasft.reports.notes import Notes
from kerasft.reports.run_report import add_test, write_run_report

__all__ = ["ClassScores", "Notes", "add_test", "class_scores", "model_card", "write_run_report"]
