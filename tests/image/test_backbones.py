from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, PretrainedError
from kerasft.training.update import Batch
from kerasft.vision.backbones import applications, stages
from kerasft.vision.backbones.small import cnn, resnet20
from kerasft_image.drawn import shapes


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


def test_earlier_stages_give_features_too(tiny):
    picture = shapes(2, 16).astype(np.float32)
    settings = {**tiny, "labels": ["a", "b"], "augment": {"test_time": "flip"}}
    last = kerasft.create("image", **settings)
    both = kerasft.create("image", **{**settings, "network": {**tiny["network"], "stages": 2}})
    last.build()
    both.build()
    both.model.get_layer("mirrored").backbone.set_weights(
        last.model.get_layer("mirrored").backbone.get_weights()
    )
    seen, more = (task.model(picture)["embedding"].numpy() for task in (last, both))
    assert seen.shape == (2, 16)
    assert more.shape == (2, 8 + 16)
    np.testing.assert_allclose(more[:, 8:], seen, rtol=1e-5)
    backbone = last.model.get_layer("mirrored").backbone
    first = keras.Model(backbone.input, backbone.get_layer("stage_0_1_relu").output)
    means = [first(x).numpy().mean((1, 2)) for x in (picture, picture[:, :, ::-1])]
    np.testing.assert_allclose(more[:, :8], np.mean(means, axis=0), rtol=1e-4, atol=1e-6)


def test_a_head_on_several_stages_trains_on_kept_features(tiny, tmp_path, capsys):
    network = {**tiny["network"], "stages": 2}
    task = kerasft.create("image", **{**tiny, "network": network}, augment={"test_time": "flip"})
    data = {"image": shapes(16, 16), "label": ["disc", "square"] * 8}
    task.finetune(data, freeze="backbone", run_dir=tmp_path / "run", verbose="line")
    assert "feature cache on: outputs up to layer 'mirrored'" in capsys.readouterr().err
    again = kerasft.load(tmp_path / "run", checkpoint="latest")
    np.testing.assert_allclose(
        again.predict({"image": data["image"]})["scores"],
        task.predict({"image": data["image"]})["scores"],
        rtol=1e-5,
    )
    assert (tmp_path / "run/samples/looked-at.png").is_file()


def test_more_stages_than_there_are_are_refused(tiny):
    task = kerasft.create(
        "image", **{**tiny, "network": {"filters": (8, 16), "stages": 3}, "labels": ["a", "b"]}
    )
    with pytest.raises(ConfigError, match=r"network.stages: cnn lets 2 of its stages be read, not 3"):
        task.build()


def test_a_frozen_stage_keeps_its_statistics(tiny):
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
    task = kerasft.create("image", **tiny, labels=["disc", "square"])
    data = {"image": shapes(16, 16), "label": ["disc", "square"] * 8}
    task.finetune(data, freeze="backbone", verbose="line")
    assert "feature cache on" in capsys.readouterr().err


def test_efficientnet_lite0_has_its_stages_and_sees_as_the_converter_does():
    from kerasft.vision.backbones.lite import efficientnet_lite0

    backbone = efficientnet_lite0(32)
    assert list(backbone.groups) == ["stem", *(f"stage{number}" for number in range(1, 8)), "top"]
    members = [id(layer) for layers in backbone.groups.values() for layer in layers]
    assert members == [id(layer) for layer in backbone.model.layers if layer.weights]


@pytest.mark.fetched
@pytest.mark.skipif(
    kerasft.pretrained.cached("efficientnet_lite0") is None, reason="needs `kerasft fetch efficientnet_lite0`"
)
def test_efficientnet_lite0_starts_from_its_weights_unless_told_otherwise():
    from kerasft.pretrained.converters.efficientnet_lite0 import pretrained

    task = kerasft.create("image", backbone="efficientnet_lite0", size=32, labels=["a", "b"])
    task.build()
    own = task.model.get_layer("backbone").get_layer("stem_conv").kernel
    np.testing.assert_array_equal(own, pretrained().get_layer("stem_conv").kernel)
    fresh = kerasft.create(
        "image", backbone="efficientnet_lite0", size=32, labels=["a", "b"], network={"pretrained": False}
    )
    fresh.build()
    assert np.abs(fresh.model.get_layer("backbone").get_layer("stem_conv").kernel - own).max() > 0.01


def test_backbones_of_keras_are_known_by_name():
    assert {"resnet50", "inceptionv3", "mobilenetv2", "convnexttiny"} <= set(applications.names())
    assert applications.name_of("MobileNetV2") == applications.name_of("mobilenetv2") == "MobileNetV2"
    assert applications.name_of("resnet20") is None


@pytest.mark.slow
def test_a_backbone_of_keras_scales_pixels_as_its_weights_expect():
    backbone = applications.build("mobilenetv2", side=32).model
    plain = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    plain.set_weights(backbone.get_weights())
    picture = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    expected = plain(keras.applications.mobilenet_v2.preprocess_input(picture.copy()))
    np.testing.assert_allclose(backbone(picture), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_backbone_of_keras_trains_with_its_stages_frozen(tiny):
    task = kerasft.create(
        "image", backbone="MobileNetV2", size=32, labels=["a", "b"], network={"pretrained": False}
    )
    task.build()
    assert list(task.freezing.groups) == [f"stage_{number}" for number in range(4)] + ["head"]
    report = task.freeze(3)
    assert [row.trainable > 0 for row in report.rows] == [False] * 3 + [True] * 2


def test_the_head_may_be_deep(tiny):
    head = {"norm": True, "hidden": (12, 10), "dropout": 0.3}
    task = kerasft.create("image", **tiny, labels=["a", "b"], head=head)
    task.build()
    names = [layer.name for layer in task.freezing.groups["head"]]
    assert names == [
        "head_norm",
        "head_dropout_0",
        "head_hidden_0",
        "head_dropout_1",
        "head_hidden_1",
        "head_dropout_2",
        "logits",
    ]
    assert task.model.get_layer("logits").kernel.shape == (10, 2)
    assert kerasft.create("image", backbone="resnet50").config.head.norm
    assert not kerasft.create("image", backbone="resnet50", head={"norm": False}).config.head.norm


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_several_heads_learn_alone_and_answer_together(tiny, kind, tmp_path):
    head = {"hidden": (8,), "dropout": 0.5, "members": 3}
    task = kerasft.create("image", **tiny, kind=kind, head=head, seed=1)
    data = task.example()
    task.finetune(data, epochs=1, freeze="backbone", run_dir=tmp_path / "run", verbose="quiet")
    features = task.preprocess({"image_bytes": tf.constant(data["image_bytes"])})
    members = [logits.numpy() for logits in task.model(features["image"], training=False)["members"]]
    assert len(members) == 3
    assert np.abs(members[0] - members[1]).max() > 1e-3
    scores = task.predict({"image_bytes": data["image_bytes"]}, verbose="quiet")["scores"]
    mean = np.mean(members, 0)
    expected = tf.nn.softmax(mean) if kind == "classification" else tf.sigmoid(mean)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    loaded = kerasft.load(tmp_path / "run")
    again = loaded.predict({"image_bytes": data["image_bytes"]}, verbose="quiet")["scores"]
    np.testing.assert_array_equal(again, scores)
    assert loaded.export(tmp_path / "served")

    hot = np.eye(len(task.labels), dtype=np.float32)[np.zeros(len(members[0]), int)]
    targets = {task.kind.target: tf.constant(hot)}
    loss = task.loss(Batch(features, targets), {"logits": mean, "members": members}).numpy()
    alone = [task.loss(Batch(features, targets), {"logits": logits}).numpy() for logits in members]
    np.testing.assert_allclose(loss, np.mean(alone, 0), rtol=1e-5)


def test_several_heads_are_not_for_recognition():
    with pytest.raises(ConfigError, match=r"head\.members"):
        kerasft.create("image", kind="recognition", head={"members": 2})


def test_what_keras_cannot_build_or_download_is_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match=r"InceptionV3 takes no pictures of 32 x 32 .*; raise size"):
        applications.build("inceptionv3", side=32)
    backbone = applications.build("mobilenetv2", side=32)

    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)
    with pytest.raises(
        PretrainedError, match=r"weights of MobileNetV2 .*no route.*network\.pretrained=false"
    ):
        backbone.load()


@pytest.mark.slow
def test_a_preset_of_keras_hub(tmp_path, tiny):
    keras_hub = pytest.importorskip("keras_hub")
    models = keras_hub.models
    backbone = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    converter = keras_hub.layers.ResNetImageConverter(scale=1 / 255, offset=[-0.5, -0.4, -0.3])
    preprocessor = models.ResNetImageClassifierPreprocessor(converter)
    classifier = models.ResNetImageClassifier(backbone=backbone, num_classes=3, preprocessor=preprocessor)
    classifier.save_to_preset(str(tmp_path / "preset"))

    task = kerasft.create("image", backbone=str(tmp_path / "preset"), size=32, labels=["disc", "square"])
    task.build()
    assert list(task.freezing.groups) == ["stage_0", "stage_1", "stage_2", "head"]
    picture = shapes(2, 32).astype(np.float32)
    mine = task.model.get_layer("backbone")(picture)
    theirs = backbone(picture / 255 + np.float32([-0.5, -0.4, -0.3]))
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)

    data = {"image": shapes(8, 32), "label": ["disc", "square"] * 4}
    task.finetune(data, run_dir=tmp_path / "run", epochs=1, verbose="quiet")
    shutil.rmtree(tmp_path / "preset")
    again = kerasft.load(tmp_path / "run")
    np.testing.assert_allclose(again.predict(data)["scores"], task.predict(data)["scores"], rtol=1e-5)


def test_a_preset_that_hides_its_scaling_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PretrainedError, match=r"has no image_converter\.json, which says how pixels"):
        kerasft.create("image", backbone=str(tmp_path), labels=["a", "b"]).build()
