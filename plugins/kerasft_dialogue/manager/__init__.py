"""A dialogue manager: context, intents, slots, profiles and history around any model that replies.

Importing this package imports neither TensorFlow nor Keras; with exports and servers, nothing ever does.
"""

from __future__ import annotations

from kerasft_dialogue.manager.history import History
from kerasft_dialogue.manager.manager import DialogueManager, Session
from kerasft_dialogue.manager.models import Model, connect
from kerasft_dialogue.manager.records import HistoryError, SessionRecord, Slot, Turn
from kerasft_dialogue.manager.replies import Reply, Responder, Sampling
from kerasft_dialogue.manager.understanding import Intents, Slots

__all__ = [
    "DialogueManager",
    "History",
    "HistoryError",
    "Intents",
    "Model",
    "Reply",
    "Responder",
    "Sampling",
    "Session",
    "SessionRecord",
    "Slot",
    "Slots",
    "Turn",
    "connect",
]
