"""x Wᵀ + b, its rows shared among threads; the gradient of W is shared by its own rows."""

from typing import Any

import numpy as np

from ..base import Kernel
from ..kernels.linear import linear as plain
from .blas import SGEMM, multiply
from .compiler import jit, kernel
from .sequence import F32, empty, flat
from .team import job, share, team

WORTH = 1 << 22  # operations of a product from which compiled code is worth its call
PRODUCTS = 32  # as fast as one exponential
PART = 64  # rows that are added up before they are added to the others: the shorter a sum, the less float32 rounds
NOTHING = empty(0)


@jit
def _affine_part(part: int, parts: int, sgemm: int, x: Any, W: Any, b: Any, y: Any, K: int, N: int) -> None:
    rows = y.size // N
    first, end = rows * part // parts, rows * (part + 1) // parts
    if b.size:
        for m in range(first, end):
            y_m = y[m * N : (m + 1) * N]
            for n in range(N):
                y_m[n] = b[n]
    multiply(sgemm, end - first, N, K, x, first * K, K, False, W, 0, K, True, y, first * N, N, b.size > 0)


_affine_job = job(_affine_part)


@kernel
def _affine(team: Any, *inputs: Any) -> None:
    share(_affine_job(inputs), team, inputs)


@jit
def _back_part(
    part: int, parts: int, sgemm: int, x: Any, W: Any, g: Any, dx: Any, dW: Any, db: Any, K: int, N: int
) -> None:
    rows = g.size // N
    if dx.size:
        first, end = rows * part // parts, rows * (part + 1) // parts
        multiply(sgemm, end - first, K, N, g, first * N, N, False, W, 0, K, False, dx, first * K, K, False)
    first, end = N * part // parts, N * (part + 1) // parts
    if dW.size:
        multiply(sgemm, end - first, K, rows, g, first, N, True, x, 0, K, False, dW, first * K, K, False)
    if db.size:
        db_here, some = db[first:end], np.zeros(end - first, F32)
        for m in range(rows):
            g_m = g[m * N + first : m * N + end]
            for n in range(g_m.size):
                some[n] += g_m[n]
            if m % PART == PART - 1 or m == rows - 1:
                for n in range(g_m.size):
                    db_here[n] += some[n]
                    some[n] = F32(0)


_back_job = job(_back_part)


@kernel
def _back(team: Any, *inputs: Any) -> None:
    share(_back_job(inputs), team, inputs)


def affine(x: Any, W: Any, b: Any, y: Any) -> None:
    """y = x Wᵀ + b, all flat but W; b may be None."""
    N, K = W.shape
    _affine(team(y.size * K // PRODUCTS), SGEMM, x, flat(W), NOTHING if b is None else flat(b), y, K, N)


def affine_back(x: Any, W: Any, g: Any, dx: Any, dW: Any, db: Any) -> None:
    """From g, that of y, the gradients of x, W and b into flat arrays, db being zeros; None where it is not wanted."""
    wanted = (NOTHING if d is None else d for d in (dx, dW, db))
    N, K = W.shape
    _back(team(g.size * K // PRODUCTS), SGEMM, x, flat(W), g, *wanted, K, N)


def _forward(be: Any, x: Any, W: Any, b: Any) -> Any:
    if not SGEMM or 2 * x.size * len(W) < WORTH:
        return None
    y = empty(*x.shape[:-1], len(W))
    affine(flat(x), W, b, y.reshape(-1))
    return y, ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    x, W, _ = inputs
    if g.dtype != x.dtype:
        return plain.backward(be, tape, inputs, g, needs)
    dx, dW = (empty(a.size) if need else None for a, need in zip((x, W), needs, strict=False))
    db = np.zeros(len(W), F32) if needs[2] else None
    affine_back(flat(x), W, flat(g), dx, dW, db)
    return None if dx is None else dx.reshape(x.shape), None if dW is None else dW.reshape(W.shape), db


linear = Kernel(_forward, _backward)
