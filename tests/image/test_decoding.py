"""Pictures decoded in the graph look as they do to people, and as Pillow shows them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasft.data.pictures import open_picture
from kerasft.vision.resizing import resize
from kerasft_image.data import graph_readable
from kerasft_image.decoding import decode, orientation

from .conftest import encoded


@pytest.fixture
def photo() -> np.ndarray:
    """Smooth, with no symmetry: 20 high, 30 wide."""
    y, x = np.mgrid[:20, :30]
    return np.stack([8 * x, 12 * y, 4 * (x + y)], -1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_formats(photo, graph, kind):
    content = encoded(photo, kind)
    np.testing.assert_array_equal(graph(decode, tf.constant(content)), np.asarray(open_picture(content)))


def test_grey_and_palettes_get_three_channels(photo, graph):
    images = [Image.fromarray(photo).convert(mode) for mode in ("L", "P", "1")]
    images.append(Image.fromarray(photo).quantize(16))  # four bits a pixel
    for image in images:
        picture = graph(decode, tf.constant(_png(image)))
        np.testing.assert_array_equal(picture, np.asarray(image.convert("RGB")))


def test_sixteen_bits_lose_the_lower_eight(photo, graph):
    deep = Image.fromarray(photo[..., 0].astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(graph(decode, tf.constant(_png(deep))), np.repeat(photo[..., :1], 3, -1))


def test_a_palette_may_have_a_transparent_colour(photo, graph):
    image = Image.fromarray(photo).quantize(16)
    for settings in ({"transparency": 3}, {"transparency": 3, "bits": 8}):
        content = _png(image, **settings)
        picture = graph(decode, tf.constant(content))
        assert (picture[np.asarray(image) == 3] == 255).all()
        np.testing.assert_array_equal(picture, np.asarray(open_picture(content)))


def test_transparent_pixels_are_white(photo, graph):
    alpha = np.linspace(0, 255, 30).astype(np.uint8)
    content = encoded(np.dstack([photo, np.tile(alpha, (20, 1))]))
    picture = graph(decode, tf.constant(content))
    assert (picture[:, 0] == 255).all()
    np.testing.assert_allclose(picture.astype(int), np.asarray(open_picture(content)), atol=1)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("endian", [">", "<"])
def test_a_jpeg_is_turned_as_exif_says(photo, graph, value, endian):
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a maker with a name that is longer than four bytes"
    exif[0x0112] = value
    exif[0x0131] = "software"
    content = encoded(photo, "JPEG", exif=exif, quality=95)
    assert graph(orientation, tf.constant(content)) == value
    np.testing.assert_array_equal(graph(decode, tf.constant(content)), np.asarray(open_picture(content)))


def test_odd_exif_means_upright(photo, graph):
    plain = encoded(photo, "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(photo, "JPEG", exif=exif)
    place = turned.index(b"Exif\0\0")
    for content in (
        plain,
        plain[:4] + b"Exif\0\0",
        turned[: place + 12],
        turned[: place + 6] + b"II*\0\xff\xff\xff\xff" + turned[place + 14 :],
    ):
        assert graph(orientation, tf.constant(content)) == 1


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_fits(photo, graph, fit):
    square = graph(lambda picture: resize(picture, size=10, fit=fit), photo)
    assert square.shape == (10, 10, 3)
    assert square.dtype == np.uint8
    wide = Image.fromarray(photo)
    if fit == "crop":
        wide = wide.crop((5, 0, 25, 20))
    if fit == "pad":
        inner = square[1:8]
        assert (np.delete(square, np.s_[1:8], 0) == 0).all()
        square, size = inner, (10, 7)
    else:
        size = (10, 10)
    expected = np.asarray(wide.resize(size, Image.Resampling.BILINEAR))
    np.testing.assert_allclose(square.astype(int), expected, atol=2)


def test_crop_keeps_a_share_of_the_middle(graph):
    frame = np.zeros((20, 20, 3), np.uint8)
    frame[5:15, 5:15] = 200
    assert (graph(lambda picture: resize(picture, size=8, fit="crop", crop=0.5), frame) == 200).all()


def test_a_batch_is_resized_like_its_pictures(photo, graph):
    batch = np.stack([photo, photo[:, ::-1]])
    together = graph(lambda pictures: resize(pictures, size=12, fit="crop"), batch)
    alone = [graph(lambda picture: resize(picture, size=12, fit="crop"), picture) for picture in batch]
    np.testing.assert_array_equal(together, alone)


def test_what_the_graph_cannot_decode_becomes_png(photo):
    for kind, stays in (("PNG", True), ("JPEG", True), ("GIF", True), ("WEBP", False), ("BMP", False)):
        content = encoded(photo, kind)
        readable = graph_readable(content)
        assert (readable == content) is stays
        np.testing.assert_array_equal(
            np.asarray(open_picture(readable)), np.asarray(open_picture(content)), err_msg=kind
        )
    printed = Image.fromarray(photo).convert("CMYK")
    assert graph_readable(_png(printed, "JPEG")).startswith(b"\x89PNG")


def _png(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()
