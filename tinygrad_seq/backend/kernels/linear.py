"""x Wᵀ + b, with all leading axes of x as one."""

import math
from typing import Any

from ..base import Kernel


def _rows(x: Any) -> Any:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # not -1: an axis may be empty


def _forward(be: Any, x: Any, W: Any, b: Any) -> tuple[Any, Any]:
    y = _rows(x) @ W.T
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(W)), ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    x, W, _ = inputs
    g = _rows(g)
    dx = (g @ W).reshape(x.shape) if needs[0] else None
    dW = g.T @ _rows(x) if needs[1] else None
    return dx, dW, g.sum(0) if needs[2] else None


linear = Kernel(_forward, _backward)
