"""numpy to TensorProto and back, held against TensorFlow's own functions."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasft.serving import protos
from kerasft.serving.tensors import as_array, to_numpy, to_proto

DTYPES: list[Any] = [
    *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float32, np.float64, np.complex64, np.complex128),
]


def theirs(proto: Any) -> Any:
    """The same message as TensorFlow's own class."""
    return tf.make_tensor_proto(0).FromString(proto.SerializeToString())


@settings(max_examples=150, deadline=None)
@given(data=st.data(), fields=st.booleans())
def test_tensorflow_reads_every_array_that_is_written(data: st.DataObject, fields: bool) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
    proto = to_proto(array, fields=fields)
    for read in (tf.make_ndarray(theirs(proto)), to_numpy(proto)):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_array_that_tensorflow_writes_is_read(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
    proto = protos.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString())
    np.testing.assert_array_equal(to_numpy(proto), array)


@pytest.mark.parametrize("fields", [False, True])
def test_bfloat16_comes_back(fields: bool) -> None:
    array = np.array([[1.5, -2.0], [0.0, 3.0e38]], ml_dtypes.bfloat16)
    proto = to_proto(array, fields=fields)
    np.testing.assert_array_equal(to_numpy(proto), array)
    np.testing.assert_array_equal(tf.make_ndarray(theirs(proto)), array)


@given(texts=st.lists(st.binary(max_size=30), min_size=1))
def test_strings_come_back_as_bytes(texts: list[bytes]) -> None:
    assert to_numpy(to_proto(texts)).tolist() == texts
    assert tf.make_ndarray(theirs(to_proto(texts))).tolist() == texts


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (1.5, np.float32, ()),
        ([[1, 2.5]], np.float32, (1, 2)),
        ([1, 2], np.int64, (2,)),
        (True, np.bool_, ()),
        ([np.float64(1.5)], np.float64, (1,)),
        ([np.ones(2, np.int8)] * 3, np.int8, (3, 2)),
        ("text", object, ()),
        ([["a", b"b"]], object, (1, 2)),
        (np.array(["a", "bc"]), object, (2,)),
        (np.arange(3, dtype=">i2"), np.int16, (3,)),
        ([], np.float32, (0,)),
        (np.array([], dtype=object), object, (0,)),
    ],
)
def test_plain_values_get_a_type(value: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    array = as_array(value)
    assert array.dtype == dtype
    assert array.shape == shape


def test_trailing_zeros_of_bytes_stay() -> None:
    assert as_array([b"PNG\0\0"]).tolist() == [b"PNG\0\0"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1], [2, 3]], "unequal lengths"),
        ([["a"], ["b", "c"]], "unequal lengths"),
        (["a", 1], "cannot hold a int"),
        (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
        ([None], "object|NoneType"),
    ],
)
def test_values_that_no_tensor_holds_are_errors(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_array(value)


def test_short_lists_of_values_are_filled_up() -> None:
    proto = protos.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add().size = 4
    assert to_numpy(proto).tolist() == [1.0, 2.0, 2.0, 2.0]
    proto.ClearField("float_val")
    assert to_numpy(proto).tolist() == [0.0] * 4
    proto.dtype = 7
    assert to_numpy(proto).tolist() == [b""] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"tensor_content": b"123"},
        {"float_val": [1.0, 2.0, 3.0]},
        {"dtype": 20},
        {"dtype": 0},
        {"tensor_shape": {"unknown_rank": True}},
        {"tensor_shape": {"dim": [{"size": -1}]}},
    ],
)
def test_corrupt_messages_are_errors(change: dict[str, Any]) -> None:
    shape = {"dim": [{"size": 2}]}
    with pytest.raises(ValueError, match=r"it has|its shape"):
        to_numpy(protos.TensorProto(**{"dtype": 1, "tensor_shape": shape, **change}))
