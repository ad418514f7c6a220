from __future__ import annotations

import keras
import numpy as np
import pytest

import kerasft
from kerasft_image.backbones import stages
from kerasft_image.backbones.small import cnn, resnet20


def test_resnet20_is_that_of_the_paper():
    backbone = resnet20(32)
    convolutions = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) + 1 == 20, "with the last layer of the classifier"
    kernels = sum(np.prod(layer.kernel.shape) for layer in convolutions)
    assert kernels == 3 * 9 * 16 + 6 * 9 * 16**2 + 9 * 16 * 32 + 5 * 9 * 32**2 + 9 * 32 * 64 + 5 * 9 * 64**2
    assert backbone.output.shape == (None, 8, 8, 64)


def test_a_shortcut_skips_pixels_and_pads_channels():
    backbone = resnet20(32)
    for layer in backbone.layers:  # with all convolutions silent, shortcuts alone remain
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("stem"):
            layer.kernel.assign(layer.kernel * 0)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    stem = keras.Model(backbone.input, backbone.get_layer("stem_relu").output)(picture)
    features = np.asarray(backbone(picture))
    np.testing.assert_allclose(features[..., :16], np.asarray(stem)[:, ::4, ::4], rtol=1e-6)
    assert not features[..., 16:].any()


@pytest.mark.parametrize("side", [8, 9, 32])
def test_small_backbones_take_any_side(side):
    assert cnn(side, filters=(4, 4, 4)).output.shape[1] >= 1
    assert resnet20(side).output.shape[-1] == 64


def test_stages_hold_every_layer_once():
    backbone = resnet20(32)
    groups = stages(backbone)
    members = [layer.name for layers in groups.values() for layer in layers]
    assert members == [layer.name for layer in backbone.layers[1:]]


def test_a_frozen_stage_keeps_its_statistics(tiny):
    from kerasft_image.drawn import shapes

    task = kerasft.create("image", **tiny, labels=["disc", "square"])
    task.build()
    task.freeze("stage_0")
    backbone = task.model.get_layer("cnn")
    frozen, free = (backbone.get_layer(f"stage_{stage}_0_norm") for stage in (0, 1))
    before = [np.array(layer.moving_mean) for layer in (frozen, free)]
    data = {"image": shapes(16, 16), "label": ["disc", "square"] * 8}
    task.finetune(data, epochs=1, verbose="quiet")
    np.testing.assert_array_equal(frozen.moving_mean, before[0])
    assert (np.array(free.moving_mean) != before[1]).any()


def test_with_a_frozen_backbone_features_are_computed_once(tiny, capsys):
    from kerasft_image.drawn import shapes

    task = kerasft.create("image", **tiny, labels=["disc", "square"])
    data = {"image": shapes(16, 16), "label": ["disc", "square"] * 8}
    task.finetune(data, freeze="backbone", verbose="line")
    assert "feature cache on" in capsys.readouterr().err
