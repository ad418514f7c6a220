"""Pictures in a folder or a .zip, and the content of files as values of rows."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from kerasft.data import Field, open_source
from kerasft.data.pictures import PictureFiles, is_pictures, open_picture
from kerasft.errors import DataError
from kerasft.training.examples import raw_tensors


def encoded(array: np.ndarray, kind: str = "PNG", **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture
def gradient() -> np.ndarray:
    """Dark on the left, light on the right; 4 high, 6 wide."""
    return np.tile(np.linspace(0, 250, 6).astype(np.uint8)[None, :, None], (4, 1, 3))


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_are_found_in_subfolders_and_the_rest_is_left_out(tmp_path, gradient, zipped):
    names = [
        "cats/2.PNG",
        "cats/1.png",
        "dogs/deep/1.png",
        "dogs/note.txt",
        ".hidden/1.png",
        "__MACOSX/1.png",
    ]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(gradient))
    path = tmp_path / "in"
    if zipped:
        path = tmp_path / "in.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.write(tmp_path / "in" / name, name)

    files = PictureFiles(path)

    assert is_pictures(path)
    assert files.names == ["cats/1.png", "cats/2.PNG", "dogs/deep/1.png"]
    assert files.labelled
    assert [files.label(number) for number in range(3)] == ["cats", "cats", "deep"]
    assert files.read(0) == encoded(gradient)
    assert files.where(1) == f"{path.name}, cats/2.PNG"
    assert files.digest() == PictureFiles(path).digest()


def test_the_digest_sees_contents(tmp_path, gradient):
    (tmp_path / "1.png").write_bytes(encoded(gradient))
    before = PictureFiles(tmp_path).digest()
    (tmp_path / "1.png").write_bytes(encoded(gradient[:2]))
    assert PictureFiles(tmp_path).digest() != before


def test_what_holds_no_picture_is_named(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"holds no picture; put some in it \(\.bmp, \.gif"):
        PictureFiles(tmp_path)
    with pytest.raises(DataError, match=r"none\.zip does not exist"):
        PictureFiles(tmp_path / "none.zip")
    with pytest.raises(DataError, match=r"broken\.zip is no \.zip"):
        PictureFiles(tmp_path / "broken.zip")
    assert not is_pictures(tmp_path / "table.csv")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_formats(gradient, kind):
    settings = {"lossless": True} if kind == "WEBP" else {}
    picture = open_picture(encoded(gradient, kind, **settings))
    assert picture.mode == "RGB"
    np.testing.assert_allclose(np.asarray(picture), gradient, atol=1)


def test_a_jpeg_is_turned_as_exif_says(gradient):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    picture = np.asarray(open_picture(encoded(gradient, "JPEG", exif=exif, quality=95)))
    assert picture.shape == (6, 4, 3)
    assert picture[0].mean() < 30 < 220 < picture[-1].mean()


def test_grey_gets_three_channels_and_transparency_white(gradient):
    grey = np.asarray(open_picture(encoded(gradient[..., 0])))
    np.testing.assert_array_equal(grey, gradient)
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    on_white = np.asarray(open_picture(encoded(clear)))
    assert on_white[0, 0].tolist() == [10, 20, 30]
    assert (on_white[1] == 255).all()


def test_a_picture_cut_short_raises(gradient):
    with pytest.raises(OSError, match="truncated"):
        open_picture(encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[:-200])


def test_bytes_are_a_kind_of_value():
    field = Field(name="file", kind="bytes")
    contents = [b"\xff\x00", b"a\x00\x00"]
    source = open_source({"file": contents}, fields=[field])
    assert source.take([1, 0])["file"] == contents[::-1]
    assert raw_tensors(source.take([0, 1]), [field])["file"].numpy().tolist() == contents
    for bad, problem in (
        ("a.png", "holds 'a.png' .str., but the bytes"),
        (b"", "is empty"),
        (None, "no value"),
    ):
        with pytest.raises(DataError, match=problem):
            open_source({"file": [b"a", bad]}, fields=[field])
