"""KerasHub preset folders through the same interface."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasft.errors import PretrainedError

keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

from kerasft.pretrained import converters  # noqa: E402
from kerasft.pretrained.converters import bert, hub  # noqa: E402

from .test_bert import INPUTS, write  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
SIZES: dict[str, Any] = {
    "vocabulary_size": 23,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 9,
}


def outputs_of(model: Any) -> np.ndarray[Any, Any]:
    outputs = model({name: INPUTS[name] for name in model.input})
    return np.asarray(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
def test_a_preset_folder(tmp_path: Path, family: str) -> None:
    original = getattr(keras_hub.models, f"{family}Backbone")(**SIZES)
    original.save_to_preset(tmp_path)
    tokenizer = getattr(keras_hub.tokenizers, f"{family}Tokenizer")(vocabulary=WORDS, lowercase=True)
    tokenizer.save_to_preset(tmp_path)

    assert converters.converter_of(tmp_path) is hub
    architecture = json.loads(json.dumps(hub.architecture(tmp_path)))
    backbone = converters.build(architecture, dropout=0.5, name="encoder")
    assert (type(backbone), backbone.name, backbone.dropout) == (type(original), "encoder", 0.5)
    report = hub.load_weights(backbone, tmp_path)
    assert len(report.loaded) == len(original.weights)
    np.testing.assert_array_equal(outputs_of(backbone), outputs_of(original))
    assert hub.vocabulary(tmp_path) == WORDS
    assert (hub.lowercase(tmp_path), hub.strip_accents(tmp_path)) == (True, False)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    keras_hub.models.BertBackbone(**SIZES).save_to_preset(tmp_path)
    wider = keras_hub.models.BertBackbone(**{**SIZES, "intermediate_dim": 32})
    with pytest.raises(PretrainedError, match=r"do not fit the model: .*feedforward_intermediate_dense"):
        hub.load_weights(wider, tmp_path)
    deeper = keras_hub.models.BertBackbone(**{**SIZES, "num_layers": 3})
    with pytest.raises(PretrainedError, match="do not fit the model"):
        hub.load_weights(deeper, tmp_path)


def test_tokenizers_that_are_not_word_piece_are_refused_as_vocabularies(tmp_path: Path) -> None:
    tokenizer = keras_hub.tokenizers.RobertaTokenizer(
        vocabulary={"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "aa": 5}, merges=["a a"]
    )
    tokenizer.save_to_preset(tmp_path)
    keras_hub.models.RobertaBackbone(**SIZES).save_to_preset(tmp_path)
    with pytest.raises(PretrainedError, match="RobertaTokenizer, not a WordPiece one"):
        hub.vocabulary(tmp_path)
    assert isinstance(hub.tokenizer(tmp_path), keras_hub.tokenizers.RobertaTokenizer)


def test_folders_that_keras_hub_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(PretrainedError, match="KerasHub cannot read"):
        hub.architecture(tmp_path)


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="the last KerasHub for Python 3.10 reads only older names of BERT's tensors",
)
def test_our_converter_is_the_exact_one(tmp_path: Path) -> None:
    """KerasHub's own conversion is off for exact GELU, and says so: the reason why `bert` exists."""
    folder = write(tmp_path / "hf", layer_norm_eps=1e-12)
    exact = bert.build(bert.architecture(folder))
    bert.load_weights(exact, folder)
    theirs = hub.build(hub.architecture(folder))
    with pytest.warns(UserWarning, match="third decimal"):
        hub.load_weights(theirs, folder)
    difference = np.abs(outputs_of(exact) - outputs_of(theirs)).max()
    assert 1e-4 < difference < 1e-1


def test_both_say_what_to_install_where_keras_hub_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "hf")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    for converter in (bert, hub):
        with pytest.raises(PretrainedError, match=r"need keras-hub.*pip install 'kerasft\[text\]'"):
            converter.architecture(folder)
