"""x Wᵀ + b, with all leading axes of x as one."""

import math
from typing import Any

from ..base import Kernel


def rows(x: Any) -> Any:
    """All leading axes as one."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # not -1: an axis may be empty


def sum_rows(be: Any, g: Any) -> Any:
    """Σ over the rows of a matrix, 64 at a time by a product.

    NumPy adds row to row: of 4,096 rows in float32 that took twice as long, and the error was 7 times as large.
    """
    ones = be.xp.ones((1, 64), g.dtype)
    whole = len(g) // 64
    blocks = ones @ g[: whole * 64].reshape(whole, 64, g.shape[1])
    return (blocks.sum(0) + ones[:, : len(g) - whole * 64] @ g[whole * 64 :])[0]


def _forward(be: Any, x: Any, W: Any, b: Any) -> tuple[Any, Any]:
    y = rows(x) @ W.T
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(W)), ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    x, W, _ = inputs
    g = rows(g)
    dx = (g @ W).reshape(x.shape) if needs[0] else None
    dW = g.T @ rows(x) if needs[1] else None
    return dx, dW, sum_rows(be, g) if needs[2] else None


linear = Kernel(_forward, _backward)
