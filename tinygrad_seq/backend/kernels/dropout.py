"""Dropout: the mask is a function of its key, so nothing is kept for the backward pass but the mask itself."""

from typing import Any

from ..base import Kernel


def _forward(be: Any, x: Any, p: float, key: int) -> tuple[Any, Any]:
    mask = be.keep_mask(key, x.shape, p)
    y = x * mask
    y *= 1 / (1 - p)
    return y, mask


def _backward(be: Any, mask: Any, inputs: Any, g: Any, needs: Any, p: float, key: int) -> Any:
    dx = g * mask
    dx *= 1 / (1 - p)
    return dx


dropout = Kernel(_forward, _backward)
