"""Gradient clipping, the cure for exploding gradients. A gradient is a value: a clipped one is a new one."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import backend_of
from ..core import Tensor
from ..core.tracing import phase


@phase("clip")
def clip_grad_norm(params: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`.

    g ← g · min(1, max_norm / (‖g‖ + 10⁻⁶)), with ‖g‖ the square root of the sum of all squares.

    Returns:
        The norm before, a tensor of shape (): on a GPU nothing waits for its value.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> ts.optim.clip_grad_norm([w], 1.0).item(), w.grad.numpy().round(3).tolist()
    (5.0, [0.6000000238418579, 0.800000011920929])
    """
    if max_norm <= 0:
        raise ValueError(f"clip_grad_norm: max_norm is above 0, got {max_norm}")
    having = _with_grad("clip_grad_norm", params)
    be, gs = _gradients(having)
    norm = be.xp.sqrt(be.squares(gs))
    scale = be.xp.minimum(max_norm / (norm + 1e-6), 1)
    if isinstance(scale, np.generic) and scale == 1:  # on a GPU the host would have to wait for it
        return Tensor(norm)
    for p, g in zip(having, be.scaled(gs, scale), strict=True):
        p.grad = Tensor(g)
    return Tensor(norm)


@phase("clip")
def clip_grad_value(params: Tensor | Iterable[Tensor], max_value: float) -> None:
    """Cut every element of every gradient to the range ± max_value."""
    if max_value <= 0:
        raise ValueError(f"clip_grad_value: max_value is above 0, got {max_value}")
    for p in _with_grad("clip_grad_value", params):
        g = p.grad.data  # type: ignore[union-attr]
        p.grad = Tensor(backend_of(g).xp.clip(g, -max_value, max_value))


def grad_norm(params: Tensor | Iterable[Tensor]) -> Tensor:
    """The common norm of all gradients, the square root of the sum of all squares, a tensor of shape ().

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> ts.optim.grad_norm([w]).item()
    5.0
    """
    be, gs = _gradients(_with_grad("grad_norm", params))
    return Tensor(be.xp.sqrt(be.squares(gs)))


def _gradients(having: list[Tensor]) -> tuple[Any, list[Any]]:
    return backend_of(having[0].data), [p.grad.data for p in having]  # type: ignore[union-attr]


def _with_grad(what: str, params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    params = [params] if isinstance(params, Tensor) else params
    having = [p for p in params if p.grad is not None]
    if not having:
        raise ValueError(f"{what}: no parameter has a gradient: call backward first")
    return having
