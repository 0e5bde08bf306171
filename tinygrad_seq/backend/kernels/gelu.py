"""GELU by tanh, written with `out=`, chunk by chunk: fewer passes over memory than the expression."""

import math
from typing import Any

from ..base import Kernel

A = math.sqrt(2 / math.pi)
C = A * 0.044715
OPERATIONS = 200  # that a product does in the time of one number here


def _forward(be: Any, x: Any) -> tuple[Any, Any]:
    t, y = be.empty(x.shape, x.dtype), be.empty(x.shape, x.dtype)
    numbers = x.reshape(-1), t.reshape(-1), y.reshape(-1)
    chunks = be.chunks(x.size)

    def work(some: slice) -> None:
        for here in chunks[some]:
            _tanh_form(be, *(a[here] for a in numbers))

    be.each(work, be.pieces(len(chunks), OPERATIONS * x.size))
    return y, t


def _tanh_form(be: Any, x: Any, t: Any, y: Any) -> None:
    be.xp.multiply(x, x, out=t)
    t *= C
    t += A
    t *= x
    be.xp.tanh(t, out=t)  # t = tanh(A x + C x³)
    be.xp.add(t, 1, out=y)
    y *= 0.5
    y *= x


def _backward(be: Any, t: Any, inputs: Any, g: Any, needs: Any) -> Any:
    (x,) = inputs
    dx = be.empty(x.shape, g.dtype)
    numbers = x.reshape(-1), t.reshape(-1), g.reshape(-1), dx.reshape(-1)
    chunks = be.chunks(x.size)

    def work(some: slice) -> None:
        for here in chunks[some]:
            _slope(be, *(a[here] for a in numbers))

    be.each(work, be.pieces(len(chunks), OPERATIONS * x.size))
    return dx


def _slope(be: Any, x: Any, t: Any, g: Any, dx: Any) -> None:
    be.xp.multiply(x, x, out=dx)
    dx *= 1.5 * C
    dx += 0.5 * A
    dx *= x
    dx *= 1 - t * t  # ½ x (1 - t²) (A + 3C x²)
    t *= 0.5
    t += 0.5
    dx += t
    dx *= g


gelu = Kernel(_forward, _backward)
