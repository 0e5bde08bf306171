"""Padding: every row keeps its ids, and what stands beyond is the padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.data import pad_batch


@given(st.lists(st.lists(st.integers(-5, 50), min_size=1, max_size=9), min_size=1, max_size=5), st.integers(-2, 3))
def test_rows_and_lengths_survive(rows, pad):
    batch, lengths = pad_batch([np.array(rows[0], np.int32), *rows[1:]], pad)
    assert batch.dtype == lengths.dtype == np.int64
    assert batch.shape == (len(rows), max(map(len, rows))) and lengths.tolist() == [len(row) for row in rows]
    for out, row in zip(batch.tolist(), rows, strict=True):
        assert out == row + [pad] * (batch.shape[1] - len(row))


def test_what_is_no_row_of_ids_is_refused():
    with pytest.raises(ValueError, match="at least one sequence"):
        pad_batch([])
    with pytest.raises(ValueError, match=r"T at least 1, got \(0,\) at 1"):
        pad_batch([[1], []])
    with pytest.raises(ValueError, match=r"got \(1, 2\) at 0"):
        pad_batch([[[1, 2]]])
    with pytest.raises(TypeError, match="got float64 at 1"):
        pad_batch([[1], [0.5]])
