"""x Wᵀ + b, with all leading axes of x as one."""

from typing import Any

from ..base import Kernel


def _forward(be: Any, x: Any, W: Any, b: Any) -> tuple[Any, Any]:
    y = x.reshape(-1, x.shape[-1]) @ W.T
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(W)), ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    x, W, _ = inputs
    g = g.reshape(-1, len(W))
    dx = (g @ W).reshape(x.shape) if needs[0] else None
    dW = g.T @ x.reshape(-1, x.shape[-1]) if needs[1] else None
    return dx, dW, g.sum(0) if needs[2] else None


linear = Kernel(_forward, _backward)
