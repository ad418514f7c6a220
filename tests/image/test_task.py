from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.errors import ConfigError, PretrainedError
from kerasft.export.runtime import Model
from kerasft.testing import check_task
from kerasft_image.drawn import shapes

from .conftest import encoded


def test_it_keeps_every_promise(tiny):
    check_task("image", **tiny).raise_if_failed()


def test_with_several_labels_it_keeps_the_promises_about_data_and_answers(tiny):
    report = check_task(
        "image",
        **tiny,
        kind="multilabel",
        only=["config", "example", "build", "groups", "preprocess", "targets", "loss", "metrics", "finetune"],
    )
    report.raise_if_failed()


def test_it_tells_shapes_apart(trained):
    new = {"image": shapes(40, 16, seed=1), "label": ["disc", "square"] * 20}
    assert trained.evaluate(new, verbose="quiet")["accuracy"] > 0.9
    answer = trained.predict(new)
    assert answer["labels"].tolist() == [b"disc", b"square"]
    np.testing.assert_allclose(answer["scores"].sum(-1), 1, rtol=1e-5)
    assert answer["embedding"].shape == (40, 16)


def test_any_number_of_labels(tiny):
    task = kerasft.create("image", **tiny, kind="multilabel")
    labels = [["round", "shape"], ["shape"]] * 32
    task.finetune({"image": shapes(64, 16), "labels": labels}, epochs=8, verbose="quiet")
    assert task.labels == ("round", "shape")
    answer = task.predict({"image": shapes(8, 16, seed=1)})["label"].tolist()
    assert answer.count(b"round|shape") + answer.count(b"shape") == 8
    assert answer[0] != answer[1]


def test_the_export_turns_a_photo_as_training_does(trained, tmp_path):
    picture = shapes(1, 16)[0]
    picture[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(np.ascontiguousarray(picture[::-1, ::-1]), "JPEG", exif=exif, quality=100, subsampling=0)
    upright = encoded(picture, "JPEG", quality=100, subsampling=0)
    with Model(trained.export(tmp_path / "image").path) as served:
        answer = served.call("serving_default", {"image_bytes": np.array([upright, turned], object)})
        np.testing.assert_allclose(answer["scores"][0], answer["scores"][1], atol=0.02)
        floats = {"image": np.repeat(picture[None].astype(np.float32), 2, 1)}
        assert served.call("image", floats)["label"].shape == (1,)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_sgd_has_momentum(tiny, optimizer):
    training = {**tiny["training"], "optimizer": optimizer, "momentum": 0.8, "weight_decay": 1e-4}
    task = kerasft.create("image", **{**tiny, "training": training})
    task.finetune({"image": shapes(8, 16), "label": ["a", "b"] * 4}, epochs=1, verbose="quiet")
    settings = task.model.optimizer.get_config()
    assert settings.get("momentum") == (0.8 if optimizer == "sgd" else None)
    assert settings["weight_decay"] == 1e-4


def test_a_run_comes_back(trained):
    again = kerasft.load(trained.run.folder)
    assert again.labels == ("disc", "square")
    pictures = {"image": shapes(4, 16)}
    np.testing.assert_array_equal(again.predict(pictures)["scores"], trained.predict(pictures)["scores"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"backbone": "resnet20", "network": {"filters": (4,)}},
            "network.filters does nothing for the backbone",
        ),
        ({"head": {"threshold": 0.4}}, "head.threshold does nothing for the kind 'classification'"),
        ({"fit": "pad", "crop": 0.9}, "crop does nothing with fit 'pad'"),
        ({"labels": ["a", "a"]}, "a label is given twice"),
        ({"size": 4}, "size"),
    ],
)
def test_settings_that_do_nothing_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        kerasft.create("image", **values)


def test_labels_may_be_numbers():
    assert kerasft.create("image", labels=[0, 1]).labels == ("0", "1")


def test_an_unknown_backbone_is_named():
    task = kerasft.create("image", backbone="resnet21", labels=["a", "b"])
    with pytest.raises(PretrainedError, match=r'"resnet21"; did you mean .*resnet20'):
        task.build()
