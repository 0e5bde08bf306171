"""softmax and log softmax along one axis; softmax of what a mask lets through."""

from typing import Any

import numpy as np

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


def _masked_forward(be: Any, x: Any, mask: Any) -> tuple[Any, Any]:
    y = be.xp.where(mask, x, x.dtype.type(np.finfo(x.dtype).min / 2))
    y -= y.max(-1, keepdims=True)
    be.xp.exp(y, out=y)
    y *= mask
    y /= be.xp.maximum(y.sum(-1, keepdims=True), 1)  # it is 1 or more, or 0 in a row that sees nothing
    return y, y


def _masked_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, mask: Any) -> Any:
    return _softmax_backward(be, y, inputs, g, needs, -1)


softmax = Kernel(_softmax_forward, _softmax_backward)
log_softmax = Kernel(_log_softmax_forward, _log_softmax_backward)
masked_softmax = Kernel(_masked_forward, _masked_backward)
