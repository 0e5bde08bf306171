"""NumPy arrays on the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import fast, threads
from .base import Array, Backend
from .kernels import KERNELS

SHARED = 1 << 25  # operations from which it is faster to share work: another thread begins after up to 0.1 ms
CHUNK = 1 << 16  # numbers: GELU's passes over 400,000 took a third less time so than over all of them at once
ONE_HOT_ROWS = 128  # a table of characters: there a one-hot product adds wide rows faster than sorting them does


class NumpyBackend(Backend):
    xp = np
    kernels = KERNELS | fast.KERNELS

    def device_of(self, array: Array) -> str:
        return "cpu"

    def from_numpy(self, array: Array) -> Array:
        return array

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array)

    def erf(self, x: Array) -> Array:
        from scipy.special import erf  # slower to import than this whole package: only the exact gelu pays for it

        return erf(x).astype(np.result_type(x, np.float16))  # SciPy makes float32 of float16

    def check_range(self, index: Array, size: int, what: str, low: int = 0) -> None:
        if index.size and not (low <= index.min() and index.max() < size):
            bad = index[(index < low) | (index >= size)].reshape(-1)[0]
            raise IndexError(f"{what}: expected integers from {low} to {size - 1}, got {bad}")

    def chunks(self, size: int) -> list[slice]:
        return [slice(k, min(k + CHUNK, size)) for k in range(0, size, CHUNK)]

    def pieces(self, size: int, operations: int, begins: bool = False) -> list[slice]:
        n = threads.parts_of(size) if operations >= SHARED and (begins or threads.shares()) else 1
        return [slice(size * k // n, size * (k + 1) // n) for k in range(n)]

    def each(self, work: Callable[[slice], Any], pieces: list[slice]) -> list[Any]:
        if len(pieces) == 1:
            return [work(pieces[0])]
        found: list[Any] = [None] * len(pieces)

        def some(_: int, first: int, end: int) -> None:
            for k in range(first, end):
                found[k] = work(pieces[k])

        threads.split(some, len(pieces))
        return found

    def adam(self, g: Array, *arguments: Any) -> Array:
        return fast.adam_step(self, g, *arguments)

    def scatter_add(self, shape: tuple[int, ...], index: Any, values: Array) -> Array:
        if isinstance(index, np.ndarray) and index.dtype.kind in "iu" and values.dtype.kind == "f" and values.size:
            return _add_rows(shape, index.reshape(-1), values.reshape(index.size, -1)).reshape(shape)
        return super().scatter_add(shape, index, values)


def _add_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """Zeros of `shape`, with values[k] added to row rows[k].

    For 2,048 rows of 256 numbers np.add.at took 4.7 times as long with a table of 103 rows, 1.3 times with 5,000.
    """
    rows = rows.astype(np.intp)  # a copy, in which shape[0] has room: tokens may be bytes
    rows[rows < 0] += shape[0]
    if shape[0] <= ONE_HOT_ROWS:
        hot = np.zeros((shape[0], rows.size), values.dtype)
        hot[rows, np.arange(rows.size)] = 1
        return hot @ values
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    out = np.zeros((shape[0], values.shape[1]), values.dtype)
    out[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out
