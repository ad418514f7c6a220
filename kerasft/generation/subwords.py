"""Subword units: text in, ids out and back, inside the graph, for any language."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from kerasft.errors import ConfigError, DataError

PAD, UNKNOWN, START, END = 0, 1, 2, 3
"""Ids that stand for no text: padding, an unknown byte, the start and the end of a sequence."""

_CHUNK = 4096
_LONGEST = 1 << 16  # bytes of a text that the trainer looks at

# A character that no text has. Without any rule the library says so on stderr for each graph that it loads.
_RULE = "FDD0\tFFFD\n"

# Of https://github.com/google/sentencepiece, src/sentencepiece_model.proto.
_KNOWN_FIELDS = """
name: "subwords.proto" package: "subwords"
message_type {
  name: "Model"
  field { name: "trainer_spec" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Trainer" }
  field { name: "normalizer_spec" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Normalizer" }
}
message_type {
  name: "Trainer"
  field { name: "input" number: 1 label: LABEL_REPEATED type: TYPE_STRING }
}
message_type {
  name: "Normalizer"
  field { name: "precompiled_charsmap" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "normalization_rule_tsv" number: 6 label: LABEL_OPTIONAL type: TYPE_STRING }
}
"""


class Subwords(tf.Module):
    """A SentencePiece vocabulary that travels in the graph, without a file beside it.

    Text is read as valid UTF-8 in the normal form C, broken bytes as U+FFFD and control characters as spaces;
    runs of spaces count as one. Nothing else is changed, so decoding gives the text back. A character that
    the vocabulary lacks is spelled by its bytes. Words are not presupposed: Chinese and Japanese need none.

    Source: Kudo and Richardson, 2018, "SentencePiece"; Sennrich et al., 2016, "Neural Machine Translation of
    Rare Words with Subword Units".

    Args:
        proto: A serialized SentencePiece model whose first four ids are padding, unknown, start and end.

    Raises:
        ConfigError: The model is broken or has other first ids.

    Attributes:
        size: Number of ids.

    Example:
        >>> units = Subwords.train(["low lower lowest", "new newer newest"], size=280)
        >>> ids = units.encode(tf.constant(["newest  low", ""]), limit=16)
        >>> [text.decode() for text in units.decode(ids).numpy()]
        ['newest low', '']
    """

    def __init__(self, proto: bytes) -> None:
        super().__init__()
        sentencepiece, tensorflow_text = packages()
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
        except Exception as error:  # the package raises RuntimeError or what its C++ gives it
            raise ConfigError(f"The SentencePiece model cannot be read ({error}).") from error
        found = processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()
        if found != (PAD, UNKNOWN, START, END):
            raise ConfigError(
                f"The SentencePiece model has padding, unknown, start and end at {found}, not at "
                f"{(PAD, UNKNOWN, START, END)}: train one with these ids, or let kerasft train it."
            )
        self.proto = proto
        self.size: int = processor.get_piece_size()

        # The op that holds the vocabulary is a part of each function. Made eagerly it would die whenever
        # TensorFlow clears its kernels, as it does when a seed is set.
        def tokenizer() -> Any:
            return tensorflow_text.SentencepieceTokenizer(model=proto, out_type=tf.int32)

        def encode(text: Any) -> tf.RaggedTensor:
            return tokenizer().tokenize(clean(text, tensorflow_text.normalize_utf8))

        def decode(ids: Any) -> tf.Tensor:
            return tokenizer().detokenize(ids)

        ragged = tf.RaggedTensorSpec([None, None], tf.int32)
        self._functions = _Traced(
            encode=tf.function(encode, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False),
            decode=tf.function(decode, input_signature=[ragged], autograph=False),
        )

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        size: int = 8000,
        kind: Literal["bpe", "unigram"] = "bpe",
        coverage: float = 0.9998,
    ) -> Subwords:
        """Learns a vocabulary.

        Args:
            texts: The training texts; read once, in pieces.
            size: Most entries, 256 bytes and four special ones included; little text gives fewer.
            kind: Byte pair encoding, or the unigram language model.
            coverage: Share of the characters of the texts that get entries of their own; the rarest are
                spelled by bytes.

        Raises:
            ConfigError: `size` is too small for the characters of the texts.
            DataError: There is no text.
        """
        sentencepiece, _ = packages()
        written = io.BytesIO()
        seen = _Count(_cleaned(texts))
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
                rules.write(_RULE)
                rules.flush()
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(seen),
                    model_writer=written,
                    vocab_size=size,
                    model_type=kind,
                    character_coverage=coverage,
                    byte_fallback=True,
                    hard_vocab_limit=False,
                    pad_id=PAD,
                    unk_id=UNKNOWN,
                    bos_id=START,
                    eos_id=END,
                    normalization_rule_tsv=rules.name,
                    max_sentence_length=_LONGEST,
                    num_threads=1,
                    minloglevel=2,
                )
        except (RuntimeError, ValueError) as error:
            if not seen.count:
                raise DataError("A vocabulary needs training texts, and there are none.") from None
            raise ConfigError(
                f"A vocabulary of {size} entries cannot be learned from these texts: the bytes, the special "
                f"entries and each frequent character need a place; give a larger size ({error})."
            ) from error
        return cls(_without_paths(written.getvalue()))

    def encode(self, text: Any, *, limit: int) -> tf.RaggedTensor:
        """Returns the ids of texts, without start and end.

        Args:
            text: string [batch].
            limit: Most ids of a text; the rest is cut off.

        Returns:
            int32 [batch, ids of the text].
        """
        return self._functions.encode(text)[:, :limit]

    def decode(self, ids: Any) -> tf.Tensor:
        """Returns texts, string [batch]; special ids stand for nothing.

        Args:
            ids: int32 [batch, length], ragged or padded.
        """
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return self._functions.decode(tf.ragged.boolean_mask(ids, ids > END))

    def save(self, path: Path) -> None:
        """Writes what `load` reads, a SentencePiece model."""
        path.write_bytes(self.proto)

    @classmethod
    def load(cls, path: Path) -> Subwords:
        """Reads a SentencePiece model.

        Raises:
            ConfigError: There is none, or it does not fit.
        """
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}).") from error


def clean(text: Any, normalize: Any) -> tf.Tensor:
    """Returns valid UTF-8 in the normal form C without control characters, string [batch]."""
    valid = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    return normalize(tf.strings.regex_replace(valid, r"\p{Cc}", " "), "NFC")


def silenced(proto: bytes) -> bytes:
    """Returns a SentencePiece model that does not say on stderr, whenever it is loaded, that it has no rules.

    One without rules gets one for a character that no text has.
    """
    model: Any = _known_fields()()
    model.ParseFromString(proto)
    if model.normalizer_spec.precompiled_charsmap:
        return proto
    other: Any = _known_fields()()
    other.ParseFromString(_with_rule())
    model.normalizer_spec.precompiled_charsmap = other.normalizer_spec.precompiled_charsmap
    made: bytes = model.SerializeToString(deterministic=True)
    return made


@cache
def _with_rule() -> bytes:
    return Subwords.train(["a"], size=300).proto


class _Traced:
    """Functions that are traced once for all graphs; hidden from tf.Module, which would export them."""

    def __init__(self, *, encode: Any, decode: Any) -> None:
        self.encode, self.decode = encode, decode


class _Count:
    """Counts what passes through an iterator."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts, self.count = texts, 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.count += 1
            yield text


def _cleaned(texts: Iterable[str]) -> Iterator[str]:
    _, tensorflow_text = packages()
    texts = iter(texts)
    while chunk := list(islice(texts, _CHUNK)):
        cleaned = clean(tf.constant(chunk, tf.string), tensorflow_text.normalize_utf8).numpy()
        yield from (text.decode() for text in cleaned if text.strip())


def _without_paths(proto: bytes) -> bytes:
    """Clears the fields of a model that name files of the machine where it was trained."""
    model: Any = _known_fields()()
    model.ParseFromString(proto)
    model.trainer_spec.ClearField("input")
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    cleared: bytes = model.SerializeToString(deterministic=True)
    return cleared


@cache
def _known_fields() -> type[Message]:
    """Returns the message of a SentencePiece model with the fields that are changed; it keeps the others.

    The module that sentencepiece brings for it refuses all but the newest versions of protobuf.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_KNOWN_FIELDS, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("subwords.Model"))


def packages() -> tuple[Any, Any]:
    """Returns the modules sentencepiece and tensorflow_text.

    Raises:
        ConfigError: They are not installed.
    """
    try:
        import sentencepiece
        import tensorflow_text
    except ImportError as error:
        raise ConfigError(
            f"SentencePiece vocabularies need sentencepiece and tensorflow-text ({error}): "
            "pip install 'kerasft[translation]' or 'kerasft[dialogue]'"
        ) from error
    return sentencepiece, tensorflow_text
