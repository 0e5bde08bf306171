"""x Wᵀ + b on several threads, where our own threads have taken over from those of NumPy's products."""

from typing import Any

import numpy as np

from ..base import Kernel
from ..kernels.linear import linear as plain
from ..kernels.linear import rows, sum_rows
from ..threads import shares, split
from .sequence import empty

WORTH = 1 << 25  # operations of a product from which sharing it is faster: the other thread begins after 0.1 ms


def _forward(be: Any, x: Any, W: Any, b: Any) -> Any:
    if not shares() or 2 * x.size * len(W) < WORTH:
        return None
    x_rows = rows(x)
    y = empty(len(x_rows), len(W))

    def work(_: int, first: int, end: int) -> None:
        np.matmul(x_rows[first:end], W.T, out=y[first:end])
        if b is not None:
            y[first:end] += b

    split(work, len(y))
    return y.reshape(*x.shape[:-1], len(W)), ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    x, W, _ = inputs
    if g.dtype != x.dtype:
        return plain.backward(be, tape, inputs, g, needs)
    x_rows, g = rows(x), rows(g)
    dx = empty(*x_rows.shape) if needs[0] else None
    dW = empty(*W.shape) if needs[1] else None

    def work(part: int, first: int, end: int) -> None:  # 0 … 2: one for each
        if first == 0 and dx is not None:
            np.matmul(g, W, out=dx)
        if end == 2 and dW is not None:
            np.matmul(g.T, x_rows, out=dW)

    split(work, 2)
    db = sum_rows(be, g) if needs[2] else None
    return None if dx is None else dx.reshape(x.shape), dW, db


linear = Kernel(_forward, _backward)
