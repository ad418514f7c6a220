"""Values of spilled rows come back as they were, without pickle."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kerasft.data.encoding import decode, encode

NUMBERS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False))
SCALARS = st.one_of(st.none(), NUMBERS, st.text(), st.binary())
VALUES = st.lists(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=8))


@given(VALUES)
def test_round_trip(values):
    assert decode(encode(values)) == values


DTYPES = st.sampled_from(["uint8", "int64", "float32", "bool"])


@given(DTYPES, st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_arrays_keep_dtype_and_shape(dtype, shape):
    array = np.ones(shape, dtype)
    (back,) = decode(encode([array]))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
