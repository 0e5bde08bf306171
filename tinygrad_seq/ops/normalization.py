"""Normalization over the last axis."""

from typing import Any

from ..core import FusedOp
from .elementwise import in_float32, sqrt
from .reduce import mean


class LayerNorm(FusedOp):
    """y = (x - μ) / √(σ² + ε) · γ + β, with mean μ and variance σ² of the last axis."""

    kernel = "layer_norm"

    def definition(self, x: Any, weight: Any, bias: Any, eps: float) -> Any:
        centred = x - mean(x, -1, keepdims=True)
        y = centred / sqrt(mean(centred * centred, -1, keepdims=True) + eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """y = (x - μ) / √(σ² + ε) · γ + β over the last axis (Ba, Kiros and Hinton, 2016).

    Args:
        x: (..., D); weight γ and bias β: (D,) or None; eps: ε, added to the variance.
    """
    _check("layer_norm", x, weight=weight, bias=bias)
    return in_float32(LayerNorm(eps=eps), x, weight, bias)


def rms_norm(x: Any, weight: Any = None, eps: float = 1e-5) -> Any:
    """y = x / √(mean(x²) + ε) · γ over the last axis (Zhang and Sennrich, 2019). x: (..., D); weight: (D,) or None."""
    _check("rms_norm", x, weight=weight)
    return in_float32(lambda x, weight: _rms_norm(x, weight, eps), x, weight)


def _rms_norm(x: Any, weight: Any, eps: float) -> Any:
    y = x / sqrt(mean(x * x, -1, keepdims=True) + eps)
    return y if weight is None else y * weight


def _check(what: str, x: Any, **parameters: Any) -> None:
    if not x.ndim:
        raise ValueError(f"{what}: expected at least one axis, got x of shape ()")
    for name, p in parameters.items():
        if p is not None and p.shape != x.shape[-1:]:
            raise ValueError(f"{what}: {name} has the size of x's last axis: expected {x.shape[-1:]}, got {p.shape}")
