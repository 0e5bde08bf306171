"""What the compiled kernels over whole sequences share."""

from typing import Any, NamedTuple

import numpy as np

from .compiler import jit, kernel
from .vector import ROWS, WIDTH, pack, whole

F32 = np.float32

# The most sequences that are left to NumPy: a block computes for WIDTH, whatever there is, and on one thread.
# NumPy took of the time of a compiled LSTM, 64 steps forward and back on one thread, for 1, 4, 8, 10 sequences:
# H 32 1.2 1.6 1.9 2.1, H 64 .6 .8 1.2 1.3, H 96 .4 .6 1.0 1.2, H 128 .3 .5 .9 1.1, H 256 .3 .4 .7 .9; a GRU and an
# RNN are much the same.
FEW = 8


class Sizes(NamedTuple):
    """B sequences of T steps, D features in, H hidden."""

    B: int
    T: int
    D: int
    H: int

    @classmethod
    def of(cls, x: Any, h_0: Any) -> "Sizes":
        B, T, D = x.shape
        return cls(B, T, D, h_0.shape[-1])

    @property
    def blocks(self) -> int:
        return -(-self.B // WIDTH)

    @property
    def K(self) -> int:
        """Features of [x_t; h_{t-1}] in a block: each of the two begins a new square."""
        return int(whole(self.D, WIDTH) + whole(self.H, WIDTH))

    def room(self, T: int, features: int) -> Any:
        """For some features of all sequences at T steps."""
        return np.empty(self.blocks * T * features * WIDTH, F32)


def few(B: int, H: int) -> bool:
    """Whether a recurrence is left to NumPy: most of a block is empty, and a step is more than NumPy's calls."""
    return B <= min(FEW, (H - 32) // 8)


def empty(*shape: int) -> Any:
    return np.empty(shape, F32)


def flat(a: Any) -> Any:
    """The array itself where it is contiguous, as compiled code takes it."""
    return np.ascontiguousarray(a, F32).reshape(-1)


def padded(a: Any, n: int) -> Any:
    """n numbers: those of `a`, and zeros; of None, zeros."""
    out = np.zeros(n, F32)
    if a is not None:
        out[: a.size] = a.reshape(-1)
    return out


def gradient(d: Any, *shape: int) -> Any:
    """What arrives at an output, flat; zeros where nothing does."""
    return np.zeros(int(np.prod(shape)), F32) if d is None else flat(d)


def ends(lengths: Any, sizes: Sizes) -> Any:
    """Where each sequence ends."""
    return np.full(sizes.B, sizes.T) if lengths is None else lengths.astype(np.int64)


def packed(*matrices: Any) -> Any:
    """Matrices of M rows, side by side, as tiles; each begins a new square."""
    M, K = len(matrices[0]), sum(whole(A.shape[1], WIDTH) for A in matrices)
    out, first = np.zeros(whole(M, ROWS) * K, F32), 0
    for A in matrices:
        if abs(A.strides[0]) < abs(A.strides[1]):
            _pack(flat(A.T), 1, M, M, A.shape[1], out, K, first)
        else:
            _pack(flat(A), A.shape[1], 1, M, A.shape[1], out, K, first)
        first += whole(A.shape[1], WIDTH)
    return out


@kernel
def _pack(A: Any, row: int, column: int, M: int, part: int, out: Any, K: int, first: int) -> None:
    pack(A, row, column, M, part, out, K, first)


@jit
def some_ended(lengths: Any, first: int, rows: int, t: int) -> bool:
    """Whether one of these sequences is past its end."""
    for b in range(first, first + rows):
        if t >= lengths[b]:
            return True
    return False


@jit
def copy_column(source: Any, target: Any, b: int, features: int) -> None:
    """One sequence of a block."""
    for f in range(features):
        target[f * WIDTH + b] = source[f * WIDTH + b]


@jit
def add(a: Any, total: Any, n: int) -> None:
    for k in range(n):
        total[k] += a[k]


@jit
def add_rows(block: Any, M: int, total: Any) -> None:
    """total (M) += the sums of a block's rows."""
    for m in range(M):
        for b in range(WIDTH):
            total[m] += block[m * WIDTH + b]
