"""The ops that stock TensorFlow Serving links besides TensorFlow's own.

Its model server depends on `tensorflow_text:ops_lib` and on the inference op of TensorFlow Decision Forests
(`SUPPORTED_TENSORFLOW_OPS` in tensorflow_serving/model_servers/BUILD); the names are those of the ops that
the libraries of tensorflow-text 2.21 and tensorflow-decision-forests 1.12 register.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A package of op libraries.

    Attributes:
        distribution: What pip installs.
        libraries: Where the libraries lie in the package, as glob patterns.
        ops: What they register.
    """

    distribution: str
    libraries: tuple[str, ...]
    ops: frozenset[str]


EXTENSIONS = {
    "tensorflow_text": Extension(
        distribution="tensorflow-text",
        libraries=("python/ops/_*.so", "python/metrics/_*.so"),
        ops=frozenset(
            [
                "CaseFoldUTF8",
                "ConstrainedSequence",
                "FastBertNormalize",
                "FastWordpieceTokenizeWithOffsets",
                "FindSourceOffsets",
                "MaxSpanningTree",
                "NormalizeUTF8",
                "NormalizeUTF8WithOffsetsMap",
                "PhraseTokenize",
                "RegexSplitWithOffsets",
                "RougeL",
                "SentenceFragments",
                "SentenceFragmentsV2",
                "SentencepieceDetokenizeOp",
                "SentencepieceIdToStringOp",
                "SentencepieceOp",
                "SentencepieceStringToIdOp",
                "SentencepieceTokenizeOp",
                "SentencepieceTokenizeWithOffsetsOp",
                "SentencepieceVocabSizeOp",
                "SplitMergeTokenizeWithOffsets",
                "TFText>BoiseTagsToOffsets",
                "TFText>ByteSplitByOffsets",
                "TFText>ByteSplitWithOffsets",
                "TFText>FastSentencepieceDetokenize",
                "TFText>FastSentencepieceTokenize",
                "TFText>FastWordpieceDetokenize",
                "TFText>NgramsStringJoin",
                "TFText>OffsetsToBoiseTags",
                "TFText>PhraseDetokenize",
                "TFText>RoundRobinGenerateMasks",
                "TFText>RoundRobinTrim",
                "TFText>Utf8Binarize",
                "TFText>WhitespaceTokenizeWithOffsetsV2",
                "TokenizerFromLogits",
                "UnicodeScriptTokenizeWithOffsets",
                "WhitespaceTokenizeWithOffsets",
                "WordpieceTokenizeWithOffsets",
            ]
        ),
    ),
    "tensorflow_decision_forests": Extension(
        distribution="tensorflow-decision-forests",
        libraries=("tensorflow/ops/inference/inference.so",),
        ops=frozenset(
            [
                "SimpleMLCreateModelResource",
                "SimpleMLInferenceLeafIndexOpWithHandle",
                "SimpleMLInferenceOp",
                "SimpleMLInferenceOpWithHandle",
                "SimpleMLLoadModelFromPath",
                "SimpleMLLoadModelFromPathWithHandle",
            ]
        ),
    ),
}
EXTENSION_OPS = frozenset[str]().union(*(extension.ops for extension in EXTENSIONS.values()))
