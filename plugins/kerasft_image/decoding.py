"""Encoded pictures to tensors of one size, in the graph, with core TensorFlow operations.

Training, `predict` and the SavedModel all decode here. JPEG, PNG, GIF (the first frame) and BMP are what the
operations know; a JPEG is turned as its EXIF entry says, a PNG stands on white where it is transparent.
"""

from __future__ import annotations

import tensorflow as tf

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_EXIF = b"Exif\x00\x00"
_COLOUR_TYPE = 25
_HEADER = 4096
_MOST_ENTRIES = 64
_ORIENTATION = 0x0112


def decode(content: tf.Tensor) -> tf.Tensor:
    """Returns a picture as people see it, uint8 `[height, width, 3]`.

    Args:
        content: string `[]`, the content of a file.
    """
    is_png = tf.equal(tf.strings.substr(content, 0, len(_PNG)), tf.constant(_PNG))
    is_jpeg = tf.equal(tf.strings.substr(content, 0, len(_JPEG)), tf.constant(_JPEG))

    def other() -> tf.Tensor:
        picture = tf.io.decode_image(content, channels=3, expand_animations=False)
        return tf.ensure_shape(picture, [None, None, 3])

    return tf.case(
        [
            (is_png, lambda: _png(content)),
            (is_jpeg, lambda: _upright(_jpeg(content), orientation(content))),
        ],
        default=other,
        exclusive=True,
    )


def _jpeg(content: tf.Tensor) -> tf.Tensor:
    # The default of the operation is fast and inexact; this is what other decoders give.
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


def _png(content: tf.Tensor) -> tf.Tensor:
    header = _header(content)
    colour_type = header[_COLOUR_TYPE]
    listed = tf.equal(colour_type, 3) & tf.reduce_any(_found(header, b"tRNS"))
    # Only where there is alpha: of less than 8 bits, the operation makes up one that is nearly transparent.
    return tf.cond(
        tf.reduce_any(tf.equal(colour_type, [4, 6])) | listed,
        lambda: _on_white(tf.io.decode_png(content, channels=4)),
        lambda: tf.io.decode_png(content, channels=3),
    )


def _header(content: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of a file, int32; padded, so that what is cut off reads as zeros."""
    data = tf.io.decode_raw(tf.strings.substr(content, 0, _HEADER), tf.uint8)
    return tf.pad(tf.cast(data, tf.int32), [[0, 12 * _MOST_ENTRIES + 64]])


def _found(header: tf.Tensor, mark: bytes) -> tf.Tensor:
    """Returns at which places of a header a mark stands, bool."""
    size = tf.shape(header)[0] - len(mark)
    return tf.reduce_all([tf.equal(header[i : size + i], byte) for i, byte in enumerate(mark)], 0)


def _on_white(picture: tf.Tensor) -> tf.Tensor:
    colours, alpha = tf.cast(picture[..., :3], tf.int32), tf.cast(picture[..., 3:], tf.int32)
    return tf.cast((colours * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)


def orientation(content: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG, int32 from 1 to 8; 1 where there is none.

    Args:
        content: string `[]`.
    """
    data = _header(content)
    found = _found(data, _EXIF)
    start = tf.argmax(found, output_type=tf.int32) + len(_EXIF)
    little = tf.equal(data[start], ord("I"))

    def number(at: tf.Tensor, length: int) -> tf.Tensor:
        at = tf.clip_by_value(at, 0, tf.shape(data)[0] - length)
        parts, places = data[at : at + length], tf.constant([256**i for i in range(length)])
        return tf.reduce_sum(places * tf.where(little, parts, parts[::-1]))

    directory = start + tf.clip_by_value(number(start + 4, 4), 0, _HEADER)
    entries = directory + 2 + 12 * tf.range(tf.clip_by_value(number(directory, 2), 0, _MOST_ENTRIES))
    entries = tf.minimum(entries, tf.shape(data)[0] - 12)
    first, second = tf.gather(data, entries), tf.gather(data, entries + 1)
    tags = tf.where(little, first + 256 * second, second + 256 * first)
    values = tf.where(little, tf.gather(data, entries + 8), tf.gather(data, entries + 9))
    said = tf.reduce_max(tf.concat([tf.where(tf.equal(tags, _ORIENTATION), values, 0), [0]], 0))
    return tf.where(tf.reduce_any(found) & (said >= 1) & (said <= 8), said, 1)


def _upright(picture: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Mirrors and turns as the eight values of EXIF mean."""
    transposed = tf.cond(
        orientation >= 5, lambda: tf.transpose(picture, [1, 0, 2]), lambda: tf.identity(picture)
    )
    down = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
    right = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
    turned = tf.cond(down, lambda: transposed[::-1], lambda: tf.identity(transposed))
    return tf.cond(right, lambda: turned[:, ::-1], lambda: tf.identity(turned))
