"""Sequences of different lengths side by side in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def pad_batch(sequences: Sequence[Any], pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of integers filled up at their ends to the length of the longest.

    Args:
        sequences: B rows of ids, each a list or an array of shape (T_b,), T_b at least 1.
        pad: what stands beyond a row's end.
    Returns:
        The array (B, T) and the rows' lengths (B,), both int64.
    Raises:
        ValueError: there is no row, a row is empty, or it has more than one axis.
        TypeError: a row is not made of integers.

    >>> ids, lengths = pad_batch([[5, 6, 7], [8]])
    >>> ids.tolist(), lengths.tolist()
    ([[5, 6, 7], [8, 0, 0]], [3, 1])
    """
    rows = [np.asarray(row) for row in sequences]
    if not rows:
        raise ValueError("pad_batch: expected at least one sequence, got none")
    for b, row in enumerate(rows):
        if row.ndim != 1 or not row.size:
            raise ValueError(f"pad_batch: expected sequences of shape (T,), T at least 1, got {row.shape} at {b}")
        if row.dtype.kind not in "iu":
            raise TypeError(f"pad_batch: expected integer ids, got {row.dtype} at {b}; encode it first")
    lengths = np.array([len(row) for row in rows])
    batch = np.full((len(rows), lengths.max()), pad, np.int64)
    for out, row in zip(batch, rows, strict=True):
        out[: len(row)] = row
    return batch, lengths
