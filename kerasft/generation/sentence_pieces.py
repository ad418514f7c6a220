"""A SentencePiece vocabulary as a pretrained model has it, in the graph."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.generation.subwords import packages, silenced


class SentencePieces(tf.Module):
    """A SentencePiece model as it was trained, whatever its ids and its normalisation.

    It needs one operation of tf_text, which stock TensorFlow Serving has. `Subwords` is for vocabularies that
    kerasft trains.

    Source: Kudo and Richardson, 2018, "SentencePiece".

    Args:
        proto: A serialized SentencePiece model.
        size: Number of tokens of the network; those behind the pieces are special.
        special: Pieces that stand for no text though the model would read text as them, such as
            `<start_of_turn>`; its control pieces are special anyway. No text is made of any of them.

    Raises:
        ConfigError: The model is broken, or larger than `size`.

    Attributes:
        size: Number of ids.
        special: The special pieces and their ids.
    """

    def __init__(self, proto: bytes, *, size: int, special: Sequence[str] = ()) -> None:
        super().__init__()
        sentencepiece, tensorflow_text = packages()
        try:
            pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
        except Exception as error:  # the package raises RuntimeError or what its C++ gives it
            raise ConfigError(f"the SentencePiece model cannot be read ({error})") from error
        proto = silenced(proto)
        count = pieces.get_piece_size()
        if count > size:
            raise ConfigError(f"the SentencePiece model has {count} pieces and the network {size} tokens")
        names = {pieces.id_to_piece(number): number for number in range(count)}
        self.size = size
        known = {
            name: number
            for name, number in names.items()
            if name in special or pieces.is_control(number) or pieces.is_unknown(number)
        }
        self.special = {**known, **{f"<unused {number}>": number for number in range(count, size)}}
        record = {"proto": base64.b64encode(proto).decode(), "size": size, "special": [*special]}
        self._record = json.dumps(record, ensure_ascii=False)
        # Arrays, because a function that takes a tensor from outside is not exported.
        banned = np.array(sorted({*self.special.values()} - {pieces.unk_id()}), np.int32)
        silent = np.array(sorted(self.special.values()), np.int32)

        # Made eagerly the op that holds the vocabulary would die whenever TensorFlow clears its kernels.
        def tokenizer() -> Any:
            return tensorflow_text.SentencepieceTokenizer(model=proto, out_type=tf.int32)

        def encode(text: Any) -> tf.RaggedTensor:
            return _without(tokenizer().tokenize(text), banned)

        def decode(ids: Any) -> tf.Tensor:
            return tokenizer().detokenize(_without(ids, silent))

        ragged = tf.RaggedTensorSpec([None, None], tf.int32)
        self._functions = _Traced(
            encode=tf.function(encode, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False),
            decode=tf.function(decode, input_signature=[ragged], autograph=False),
        )

    def encode(self, text: Any) -> tf.RaggedTensor:
        """Returns the ids of texts, int32 [batch, ids].

        Args:
            text: string [batch], valid UTF-8.
        """
        return self._functions.encode(text)

    def decode(self, ids: Any) -> tf.Tensor:
        """Returns texts, string [batch]; special ids stand for nothing.

        Args:
            ids: int32 [batch, ids], ragged.
        """
        return self._functions.decode(ids)

    def save(self, path: Path) -> None:
        """Writes what `load` reads, JSON."""
        path.write_text(self._record, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> SentencePieces:
        """Reads what `save` wrote.

        Raises:
            ConfigError: There is no such file, or it is another one.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(base64.b64decode(record["proto"]), size=record["size"], special=record["special"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} holds no vocabulary that can be read ({error!r})") from error


class _Traced:
    """Functions that are traced once for all graphs; hidden from tf.Module, which would export them."""

    def __init__(self, *, encode: Any, decode: Any) -> None:
        self.encode, self.decode = encode, decode


def _without(ids: tf.RaggedTensor, left_out: np.ndarray) -> tf.RaggedTensor:
    if not len(left_out):
        return ids
    place = tf.minimum(tf.searchsorted(left_out, ids.flat_values), len(left_out) - 1)
    stays = tf.gather(left_out, place) != ids.flat_values
    return tf.ragged.boolean_mask(ids, ids.with_flat_values(stays))
