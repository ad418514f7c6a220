"""Every error that kerasft raises on purpose: one sentence that says what, where, and what to do."""

from __future__ import annotations


class KerasftError(Exception):
    """Base of all deliberate errors; the command line prints its message and exits with code 2."""


class ConfigError(KerasftError, ValueError):
    """A configuration key or value is wrong."""


class DataError(KerasftError, ValueError):
    """A data source, or a row of it, cannot be used."""


class RegistryError(KerasftError, LookupError):
    """A task is unknown, broken, or registered twice."""


class OrderError(KerasftError, RuntimeError):
    """A verb was called before the verb that it depends on."""


class SeveralModelsError(KerasftError, NotImplementedError):
    """A verb needs to know which model to use: the task has several, and no such method of its own."""


class PretrainedError(KerasftError):
    """Pretrained weights cannot be fetched, verified or converted."""


class ExportError(KerasftError):
    """A model cannot be exported, or an export cannot be read."""


class TrainingError(KerasftError):
    """Training cannot start or cannot go on."""


class Interrupted(KerasftError):
    """Training was stopped by a signal after its state had been saved."""
