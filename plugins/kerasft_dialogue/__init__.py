"""Dialogue for kerasft: conversations in, a SavedModel that reads turns and writes a reply out.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("dialogue")` does.

What an export takes and gives (n conversations at once; README.md says more):

- `serving_default`, called `chat`: `roles` and `texts`, string [n, turns], padded with "" ->
  `reply` string [n], `finish` string [n] ("end", "stop", "length" or "empty"), `tokens` int32 [n].
- `ask`: `text` string [n], one turn of a user -> the same.
- `sample`: `roles`, `texts`, `stop` string [n, any, padded with ""], `seed`, `top_k`, `max_tokens` int64 [n],
  `temperature`, `top_p` float32 [n] -> the same.
- `chat_start`: the inputs of `sample` -> `state_...`, tensors that `chat_next` takes.
- `chat_next`: `steps` int64 [n] and every `state_...` -> `text` string [n], what came since the last call;
  `finish` string [n], "" while there is more to come; and every `state_...` for the next call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_dialogue.config import DialogueConfig
    from kerasft_dialogue.samples import conversations
    from kerasft_dialogue.task import Dialogue

__all__ = ["Dialogue", "DialogueConfig", "conversations"]

_HOMES = {"Dialogue": "task", "DialogueConfig": "config", "conversations": "samples"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
