"""softmax and log softmax along one axis."""

from typing import Any

from ..base import Kernel


def _softmax_forward(be: Any, x: Any, axis: int) -> tuple[Any, Any]:
    y = x - x.max(axis, keepdims=True)
    be.xp.exp(y, out=y)
    y /= y.sum(axis, keepdims=True)
    return y, y


def _softmax_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, axis: int) -> Any:
    dx = g * y
    dx -= y * dx.sum(axis, keepdims=True)
    return dx


def _log_softmax_forward(be: Any, x: Any, axis: int) -> tuple[Any, Any]:
    y = x - x.max(axis, keepdims=True)
    y -= be.xp.log(be.xp.exp(y).sum(axis, keepdims=True))
    return y, y


def _log_softmax_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, axis: int) -> Any:
    dx = be.xp.exp(y)
    dx *= g.sum(axis, keepdims=True)
    return be.xp.subtract(g, dx, out=dx)


softmax = Kernel(_softmax_forward, _softmax_backward)
log_softmax = Kernel(_log_softmax_forward, _log_softmax_backward)
