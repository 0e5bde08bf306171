"""NumPy arrays on the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import fast, threads
from .base import Array, Backend
from .kernels import KERNELS
from .threads import blas_core, product_threads

SHARED = 1 << 25  # operations from which it is faster to share work: another thread begins after up to 0.1 ms
STEP = 1 << 24  # of a step, for each thread: with half of it threads wait for Python's lock longer than they gain
CHUNK = 1 << 16  # numbers: GELU on 400,000 and Adam on 2 million took a third less time so than all of it at once
SUM = 1 << 15  # numbers of a sum from which compiled code is asked
ONE_HOT_ROWS = 128  # a table of characters: there a one-hot product adds wide rows faster than sorting them does
# Up to this M·N·K an OpenBLAS that can multiplies without packing: 1,024 · 256 · 32 at 165 GFLOP/s a core in tiles of 8
# rows, at 115 as a whole. With 4 or 5 columns an LSTM of H 256 or 512 took 1.8 times as long as a whole, with 3 the
# same; from 64 on the whole is as fast. On AVX2, where it packs each tile, tiles took 1.6 times as long.
UNPACKED, COLUMNS = 1_000_000, range(4, 49)
MANY = 256  # columns of all steps, from which cutting the matrix into tiles is paid back
AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")  # whose OpenBLAS can


class NumpyBackend(Backend):
    xp = np
    kernels = KERNELS | fast.KERNELS
    joins = False
    over_rows = True

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

    def times(self, W: Array, x: Array) -> Array:
        found = fast.ask("times", (W, x), W, x) if threads.shares() else None  # NumPy's then runs on one thread
        return super().times(W, x) if found is None else found

    def add(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if type(a) is type(b) is np.ndarray and a.size >= SUM and threads.shares():  # a sum is no reason to begin
            found = fast.ask("add", (a, b), a, b, out)
            if found is not None:
                return found
        return super().add(a, b, out)

    def tile_rows(self, M: int, K: int, columns: int, steps: int | None, at_once: bool) -> int:
        rows = 8 if columns > 11 else 32
        fits = M % rows == 0 and rows * K * columns <= UNPACKED and columns in COLUMNS
        many = steps is None or steps * columns >= MANY
        # Tiles run on one thread. Two gain little on one step; on all steps at once they gain all there is.
        alone = product_threads() <= (1 if at_once else 2)
        return rows if fits and many and alone and blas_core() in AVX512 else M

    def chunks(self, size: int, width: int = 1) -> list[slice]:
        step = max(CHUNK // max(width, 1), 1)
        return [slice(k, min(k + step, size)) for k in range(0, size, step)]

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

    @property
    def alone(self) -> Backend:
        return ALONE

    def parts(self, B: int, step: int) -> list[slice]:
        n = threads.parts_of(B) if step >= threads.num_threads() * STEP else 1
        return [slice(B * k // n, B * (k + 1) // n) for k in range(n)]

    def helped(self, operations: int) -> bool:
        return operations >= 4 * SHARED and threads.take_over() > 1

    def beside(self, work: Callable[[], Any]) -> Callable[[], Any]:
        return threads.begin(work) if threads.shares() else super().beside(work)

    def adam(self, ps: list[Array], gs: list[Array], m: Array, v: Array, *options: float) -> None:
        if fast.ask("adam", (m, v), ps, gs, m, v, *options) is None:
            super().adam(ps, gs, m, v, *options)

    def squares(self, arrays: list[Array]) -> Array:
        found = fast.ask("squares", arrays, arrays)
        return super().squares(arrays) if found is None else found

    def scaled(self, arrays: list[Array], factor: Array) -> list[Array]:
        found = fast.ask("scaled", arrays, arrays, factor)
        return super().scaled(arrays, factor) if found is None else found

    def scatter_add(self, shape: tuple[int, ...], index: Any, values: Array) -> Array:
        if isinstance(index, np.ndarray) and index.dtype.kind in "iu" and values.dtype.kind == "f" and values.size:
            return _add_rows(shape, index.reshape(-1), values.reshape(index.size, -1)).reshape(shape)
        return super().scatter_add(shape, index, values)


class _Alone(NumpyBackend):
    def pieces(self, size: int, operations: int, begins: bool = False) -> list[slice]:
        return [slice(0, size)]

    def parts(self, B: int, step: int) -> list[slice]:
        return [slice(0, B)]

    def helped(self, operations: int) -> bool:
        return False


ALONE = _Alone()


def _add_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """Zeros of `shape`, with values[k] added to row rows[k].

    For 2,048 rows of 256 numbers np.add.at took 4.7 times as long with a table of 103 rows, 1.3 times with 5,000.
    Compiled, one addition after another takes a sixteenth of the time.
    """
    rows = rows.astype(np.intp)  # a copy, in which shape[0] has room: tokens may be bytes
    rows[rows < 0] += shape[0]
    out = np.zeros((shape[0], values.shape[1]), values.dtype)
    if fast.ask("add_rows", [values], rows, values, out) is not None:
        return out
    if shape[0] <= ONE_HOT_ROWS:
        hot = np.zeros((shape[0], rows.size), values.dtype)
        hot[rows, np.arange(rows.size)] = 1
        return hot @ values
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    out[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out
