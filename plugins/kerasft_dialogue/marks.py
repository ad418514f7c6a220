"""How pretrained models write turns: named templates of the marks around texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kerasft.errors import PretrainedError
from kerasft_dialogue.conversations import ROLES
from kerasft_dialogue.template import Template

_STARTS = ("<|begin_of_text|>", "<bos>", "<s>")
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")


class Marks(NamedTuple):
    """What stands around texts. A part that is the name of a special token is that token, others are text.

    Attributes:
        before: Before the text of a turn; `{role}` stands for the name of the role, in tokens too.
        after: Behind it; the first part is a token, the one that ends a reply.
        first: Before a conversation.
        roles: Names of roles that are called otherwise.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    first: tuple[str, ...] = ()
    roles: Mapping[str, str] = {}

    @property
    def tokens(self) -> tuple[str, ...]:
        """The special tokens that it needs."""
        before = dict.fromkeys(part for role in ROLES for part in self.of(role))
        return tuple(part for part in (*self.first, *before, *self.after) if part.startswith("<"))

    def of(self, role: str) -> tuple[str, ...]:
        """Returns what stands before the text of a role."""
        return tuple(part.replace("{role}", self.roles.get(role, role)) for part in self.before)


MARKS: dict[str, Marks] = {
    "chatml": Marks(before=("<|im_start|>", "{role}\n"), after=("<|im_end|>", "\n")),
    "llama3": Marks(
        first=("<|begin_of_text|>",),
        before=("<|start_header_id|>", "{role}", "<|end_header_id|>", "\n\n"),
        after=("<|eot_id|>",),
    ),
    # Phi-3's tokenizer takes no new line behind these tokens, though its chat template writes them.
    "phi3": Marks(first=("<s>",), before=("<|{role}|>",), after=("<|end|>",)),
    # Gemma knows no system: what it says stands as a turn of the user.
    "gemma": Marks(
        first=("<bos>",),
        before=("<start_of_turn>", "{role}\n"),
        after=("<end_of_turn>", "\n"),
        roles={"system": "user", "assistant": "model"},
    ),
}
"""The templates by name; there is one more, `plain`, for models that know no turns (see `plain_marks`)."""


def plain_marks(special: Mapping[str, int]) -> Marks:
    """Returns `User:`, a new line, the text and the token that ends texts.

    Raises:
        PretrainedError: There is no such token.
    """
    end = next((token for token in _ENDS if token in special), None)
    if end is None:
        raise PretrainedError(
            "the tokenizer has none of the tokens of known chat templates and none that ends a text "
            f"({', '.join(_ENDS)}), so it is unknown how the model writes turns: take another model"
        )
    start = next((token for token in _STARTS if token in special), None)
    return Marks(
        first=() if start is None else (start,),
        before=("{role}:\n",),
        after=(end,),
        roles={role: role.capitalize() for role in ROLES},
    )


def choose_marks(name: str, special: Mapping[str, int]) -> Marks:
    """Returns the marks of a template.

    Args:
        name: Its name; auto takes the first one whose tokens the vocabulary has, else plain.
        special: The special tokens of the vocabulary.

    Raises:
        PretrainedError: The vocabulary lacks tokens of the template.
    """
    if name == "auto":
        known = (marks for marks in MARKS.values() if all(token in special for token in marks.tokens))
        found = next(known, None)
        return plain_marks(special) if found is None else found
    if name == "plain":
        return plain_marks(special)
    lacking = [token for token in MARKS[name].tokens if token not in special]
    if lacking:
        raise PretrainedError(
            f"template={name} writes {', '.join(lacking)}, which the tokenizer of the model lacks: leave "
            "template=auto"
        )
    return MARKS[name]


def write_marks(
    marks: Marks, special: Mapping[str, int], encode: Callable[[Sequence[str]], list[list[int]]]
) -> Template:
    """Returns marks as tokens.

    Args:
        marks: The marks.
        special: The special tokens.
        encode: Makes tokens of texts.
    """

    def tokens(parts: Sequence[str]) -> tuple[int, ...]:
        plain = [part for part in parts if part not in special]
        texts = iter(encode(plain) if plain else [])
        made = ([special[part]] if part in special else next(texts) for part in parts)
        return tuple(token for own in made for token in own)

    after = tokens(marks.after)
    return Template(
        first=tokens(marks.first),
        before={role: tokens(marks.of(role)) for role in ROLES},
        after=after,
        banned=tuple(sorted({*special.values()} - {after[0]})),
    )
