"""Folders, tables, arrays and datasets of pictures, and what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import open_source
from kerasft.errors import DataError, OrderError
from kerasft_image import digits
from kerasft_image.drawn import shapes

from .conftest import encoded


@pytest.fixture
def task(tiny) -> kerasft.Task:
    return kerasft.create("image", **tiny)


def opened(task, data, **settings):
    return open_source(task.open_data(data), fields=task.fields(), **settings)


def test_a_folder_has_the_names_of_its_subfolders_as_labels(task, folder):
    source = opened(task, folder)
    assert source.class_counts("label") == {"disc": 8, "square": 8}
    contents = source.take([0, 2])["image_bytes"]
    assert contents[0] == (folder / "disc/00.png").read_bytes()
    assert contents[1].startswith(b"\x89PNG"), "a WebP is read as PNG"


def test_broken_and_empty_files_are_named(task, folder):
    (folder / "disc/00.png").write_bytes((folder / "disc/00.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"shapes, disc/00\.png: is no readable picture .*; repair or remove"):
        opened(task, folder)
    (folder / "square/01.png").write_bytes(b"")
    source = opened(task, folder, on_error="skip")
    assert source.skipped == 2
    assert "shapes, square/01.png: is empty; repair" in source.skip_examples[1]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_table_names_files_beside_it(task, folder, kind):
    rows = [
        {"path": f"disc/{number:02}.{kind}", "label": "round"} for number, kind in ((0, "png"), (2, "jpeg"))
    ]
    if kind == "jsonl":
        text = "\n".join(map(json.dumps, rows))
    else:
        text = "\n".join(
            ("," if kind == "csv" else "\t").join(row.values())
            for row in [{"path": "path", "label": "label"}, *rows]
        )
    table = folder / f"table.{kind}"
    table.write_text(text + "\n")
    source = opened(task, table)
    assert source.take([1])["image_bytes"] == [(folder / "disc/02.jpeg").read_bytes()]
    assert source.class_counts("label") == {"round": 2}
    before = source.fingerprint()
    (folder / "disc/02.jpeg").write_bytes((folder / "disc/06.gif").read_bytes())
    assert opened(task, table).fingerprint() != before


def test_a_table_with_a_missing_file_names_row_and_file(task, folder):
    (folder / "table.csv").write_text("file,label\ndisc/00.png,round\nnone.png,round\n")
    with pytest.raises(
        DataError, match=r"table\.csv, line 3: .*none\.png is no readable picture .*No such file"
    ):
        opened(task, folder / "table.csv")


def test_arrays_tuples_and_datasets(task):
    pictures, labels = shapes(4, 16), ["disc", "square"] * 2
    dataset = tf.data.Dataset.from_tensor_slices((pictures, labels))
    forms = [
        {"image": pictures, "label": labels},
        (pictures, labels),
        [{"image": picture, "label": label} for picture, label in zip(pictures, labels, strict=True)],
        dataset,
        tf.data.Dataset.from_tensor_slices({"image": pictures, "label": labels}).batch(3),
    ]
    for data in forms:
        source = opened(task, data)
        np.testing.assert_array_equal(source.take(np.arange(4), ["image"])["image"], pictures)


def test_grey_arrays_are_pictures_too(task):
    grey = shapes(4, 16)[..., 0]
    for arrays in (grey, grey[..., None], grey.astype(np.float32)):
        features = task.preprocess({"image": tf.constant(arrays)})["image"].numpy()
        np.testing.assert_array_equal(features, np.repeat(grey[..., None], 3, -1))


def test_files_and_arrays_give_the_same_answer(trained, folder):
    picture = shapes(1, 16)[0]
    (folder / "one.png").write_bytes(encoded(picture))
    by_content = trained.predict([encoded(picture)])["scores"]
    for asked in ([str(folder / "one.png")], [picture], {"image": [picture]}):
        np.testing.assert_array_equal(trained.predict(asked)["scores"], by_content)
    floats = trained.predict({"image": [picture.astype(np.float32)]}, signature="image")["scores"]
    np.testing.assert_array_equal(floats, by_content)


def test_digits():
    train, test = digits(), digits("test")
    assert len(train["label"]) + len(test["label"]) == 1797
    assert sorted(set(test["label"])) == list("0123456789")
    assert train["image"].max() == 255
    both = {picture.tobytes() for picture in train["image"]} & {p.tobytes() for p in test["image"]}
    assert len(both) <= 1
    with pytest.raises(DataError, match="digits:valid: the digits have the parts train and test"):
        digits("valid")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"label": ["a", "b"] * 4}, "the arrays: the data has no pictures: give a folder"),
        (
            {"image": np.zeros((4, 8, 8, 3), np.float32), "label": list("abab")},
            r"go up to 0 only, but white is 255",
        ),
        ({"image": np.zeros((4, 8, 8, 4), np.uint8), "label": list("abab")}, r"have the shape \(8, 8, 4\)"),
        ({"image": np.zeros((4, 8, 8, 3), np.uint8), "label": list("aaaa")}, "has only one label, 'a'"),
        (
            {"image_bytes": [b"GIF8", b"no picture"], "label": ["a", "b"]},
            "image_bytes is no readable picture",
        ),
        (
            {"image": [np.ones((8, 8), int), np.ones((9, 8, 4), int)] * 2, "label": list("abab")},
            r"the arrays, row 1: 'image' has the shape \(9, 8, 4\); a picture",
        ),
    ],
)
def test_what_is_no_data_is_one_sentence(task, data, message):
    with pytest.raises(DataError, match=message):
        task.finetune(data, verbose="quiet")


def test_labels_come_first(task):
    with pytest.raises(OrderError, match="The labels are not known yet"):
        task.build()


def test_arrays_may_have_many_sizes(tiny):
    task = kerasft.create("image", **tiny)
    pictures = [shapes(2, side)[sort] for sort in (0, 1) for side in (12, 20, 16, 31)]
    data = {"image": pictures, "label": ["disc"] * 4 + ["square"] * 4}
    task.finetune(data, epochs=1, verbose="quiet")
    assert task.seen.shape == (6, 16, 16, 3)
    assert 0 <= task.evaluate(data, verbose="quiet")["accuracy"] <= 1
    together = task.predict(data)["scores"]
    assert together.shape == (8, 2)
    alone = task.predict({"image": pictures[1:2], "label": ["disc"]})["scores"]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)
