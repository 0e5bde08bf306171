"""x Wᵀ + b, its rows shared among threads, its columns where rows are few; the gradient of W by its own rows."""

from typing import Any

import numpy as np

from ..base import Kernel
from ..kernels.linear import linear as plain
from .blas import SGEMM
from .compiler import jit, kernel
from .products import LEAST, READY, multiply
from .sequence import F32, empty, flat
from .team import SIZE, job, share, team

WORTH = 1 << 22  # operations of a product from which compiled code is worth its call
PRODUCTS = 32  # as fast as one exponential
PART = 64  # rows that are added up before they are added to the others: the shorter a sum, the less float32 rounds
NOTHING = empty(0)


@jit
def few_rows(rows: int, parts: int) -> bool:
    """Whether threads share the columns of x Wᵀ: to read all of W takes longer than to multiply some rows by it.

    With x (32, 256) and W (1024, 256) all of it took 189 µs, half of the rows 144, half of the columns 89.
    """
    return rows < LEAST * parts


@jit
def _affine_part(part: int, parts: int, sgemm: int, x: Any, W: Any, b: Any, y: Any, K: int, N: int) -> None:
    rows = y.size // N
    if few_rows(rows, parts):
        low, high = N * part // parts, N * (part + 1) // parts
        multiply(sgemm, rows, high - low, K, x, 0, K, False, W, low * K, K, True, y, low, N, b[low:high])
    else:
        first, end = rows * part // parts, rows * (part + 1) // parts
        multiply(sgemm, end - first, N, K, x, first * K, K, False, W, 0, K, True, y, first * N, N, b)


_affine_job = job(_affine_part)


@kernel
def _affine(team: Any, *inputs: Any) -> None:
    share(_affine_job(inputs), team, inputs)


@jit
def _add_rows(g: Any, first: int, end: int, N: int, low: int, high: int, db: Any, at: int) -> None:
    """db[at …] += Σ over rows first … end - 1 of columns low … high - 1 of g (…, N)."""
    db_here, some = db[at : at + high - low], np.zeros(high - low, F32)
    for m in range(first, end):
        g_m = g[m * N + low : m * N + high]
        for n in range(g_m.size):
            some[n] += g_m[n]
        if (m - first) % PART == PART - 1 or m == end - 1:
            for n in range(g_m.size):
                db_here[n] += some[n]
                some[n] = F32(0)


@jit
def _back_part(
    part: int, parts: int, sgemm: int, x: Any, W: Any, g: Any, dx: Any, dW: Any, db: Any, K: int, N: int
) -> None:
    """dx by its rows, the gradients of W and b by theirs: each thread reads all of g and x."""
    rows, none = g.size // N, np.empty(0, F32)
    first, end = rows * part // parts, rows * (part + 1) // parts
    if dx.size:
        multiply(sgemm, end - first, K, N, g, first * N, N, False, W, 0, K, False, dx, first * K, K, none)
    low, high = N * part // parts, N * (part + 1) // parts
    if dW.size:
        multiply(sgemm, high - low, K, rows, g, low, N, True, x, 0, K, False, dW, low * K, K, none)
    if db.size:
        _add_rows(g, 0, rows, N, low, high, db, low)


@jit
def _back_rows_part(
    part: int,
    parts: int,
    sgemm: int,
    x: Any,
    W: Any,
    g: Any,
    dx: Any,
    dW: Any,
    dWs: Any,
    db: Any,
    dbs: Any,
    K: int,
    N: int,
) -> None:
    """All by rows, which lie in a thread's own cache: the first part into dW and db, the others into dWs and dbs."""
    rows, none = g.size // N, np.empty(0, F32)
    first, end = rows * part // parts, rows * (part + 1) // parts
    if dx.size:
        multiply(sgemm, end - first, K, N, g, first * N, N, False, W, 0, K, False, dx, first * K, K, none)
    if dW.size:
        to, at = (dWs, (part - 1) * N * K) if part else (dW, 0)
        multiply(sgemm, N, K, end - first, g, first * N, N, True, x, first * K, K, False, to, at, K, none)
    if db.size:
        to, at = (dbs, (part - 1) * N) if part else (db, 0)
        _add_rows(g, first, end, N, 0, N, to, at)


@jit
def _sum_part(part: int, parts: int, dW: Any, dWs: Any, db: Any, dbs: Any) -> None:
    """dW and db += what the other parts have."""
    for total, others in ((dW, dWs), (db, dbs)):
        size = total.size
        first, end = size * part // parts, size * (part + 1) // parts
        here = total[first:end]
        for p in range(parts - 1):
            other = others[p * size + first : p * size + end]
            for k in range(here.size):
                here[k] += other[k]


_back_job, _back_rows_job, _sum_job = job(_back_part), job(_back_rows_part), job(_sum_part)


@kernel
def _back(team: Any, *inputs: Any) -> None:
    share(_back_job(inputs), team, inputs)


@kernel
def _back_rows(team: Any, *inputs: Any) -> None:
    share(_back_rows_job(inputs), team, inputs)
    added = inputs[5:9]
    share(_sum_job(added), team, added)


def worth(operations: int) -> bool:
    """Whether compiled products of so many operations are faster than NumPy's."""
    return READY and operations >= WORTH


def affine(x: Any, W: Any, b: Any, y: Any) -> None:
    """y = x Wᵀ + b, all flat but W; b may be None."""
    N, K = W.shape
    _affine(team(y.size * K // PRODUCTS), SGEMM, x, flat(W), NOTHING if b is None else flat(b), y, K, N)


def times(W: Any, x: Any) -> Any:
    """W xᵀ, its rows shared among threads; None where that is left to NumPy."""
    if not worth(2 * len(x) * W.size):
        return None
    y = empty(len(W), len(x))
    affine(flat(W), x, None, y.reshape(-1))
    return y


def affine_back(x: Any, W: Any, g: Any, dx: Any, dW: Any, db: Any) -> None:
    """From g, that of y, the gradients of x, W and b into flat arrays, db being zeros; None where it is not wanted."""
    dx, dW, db = (NOTHING if d is None else d for d in (dx, dW, db))
    (N, K), rows = W.shape, g.size // len(W)
    desks = team(g.size * K // PRODUCTS)
    others = int(desks[SIZE]) - 1
    if others and (others + 1) * N * K <= rows * (N + K):  # less to add up than there is to read
        dWs, dbs = empty(others * dW.size), np.zeros(others * db.size, F32)
        _back_rows(desks, SGEMM, x, flat(W), g, dx, dW, dWs, db, dbs, K, N)
    else:
        _back(desks, SGEMM, x, flat(W), g, dx, dW, db, K, N)


def _forward(be: Any, x: Any, W: Any, b: Any) -> Any:
    if not worth(2 * x.size * len(W)):
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
