"""Operations that take axes together: sums, means, extremes, products."""

import math
from typing import Any

import numpy as np

from ..core import Op, Tensor, value
from ..core.op import explain
from .elementwise import astype, exp, sqrt, where
from .shape import Axis, axes_of, broadcast_to, concatenate


def keep(x: Any, axis: Axis, ndim: int) -> Any:
    """A reduced x with its axes back, each of size 1, so that it broadcasts over what it was reduced from."""
    if x.ndim == ndim:
        return x
    axes, shape = axes_of("keep", axis, ndim), list(x.shape)
    for a in sorted(axes):
        shape.insert(a, 1)
    return x.reshape(tuple(shape))


class Sum(Op):
    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, be: Any, x: Any) -> Any:
        return x.sum(self.axis, keepdims=self.keepdims)

    def backward(self, g: Any) -> Any:
        shape = self.sources[0].shape
        return broadcast_to(keep(g, self.axis, len(shape)), shape)


class Extreme(Op):
    """The largest or smallest along axes; equal ones share the gradient."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def spread(self, g: Any, x: Any, out: Any) -> Any:
        here = astype(x == keep(out, self.axis, x.ndim), g.dtype)
        return here / here.sum(self.axis, keepdims=True) * keep(g, self.axis, x.ndim)


class Max(Extreme):
    def forward(self, be: Any, x: Any) -> Any:
        return x.max(self.axis, keepdims=self.keepdims)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return self.spread(g, x, out)


class Min(Extreme):
    def forward(self, be: Any, x: Any) -> Any:
        return x.min(self.axis, keepdims=self.keepdims)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return self.spread(g, x, out)


class LogSumExp(Op):
    """log Σ eˣ, with the largest x taken out before exp."""

    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, be: Any, x: Any) -> Any:
        m = x.max(self.axis, keepdims=True)
        m = be.xp.where(be.xp.isfinite(m), m, m.dtype.type(0))  # -inf - -inf would be nan
        y = be.xp.log(be.xp.exp(x - m).sum(self.axis, keepdims=True)) + m
        return y if self.keepdims else y.reshape(x.sum(self.axis).shape)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        out = keep(out, self.axis, x.ndim)
        # Of elements that are all -inf none has a part in the sum: exp(-inf - 0) = 0, and not exp(-inf + inf) = nan.
        return keep(g, self.axis, x.ndim) * exp(x - where(out == -np.inf, 0, out))


class CumSum(Op):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.cumsum(x, self.axis)

    def backward(self, g: Any) -> Any:
        backwards = (slice(None),) * (self.axis % g.ndim) + (slice(None, None, -1),)
        return cumsum(g[backwards], self.axis)[backwards]


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Σ x along the axis, several axes, or all of them (None)."""
    return Sum(axis, keepdims)(x)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean along the axis, several axes, or all of them (None)."""
    if x.dtype == np.float16:  # whose sums overflow from 65,520 on
        return astype(mean(astype(x, np.float32), axis, keepdims), np.float16)
    return sum(x, axis, keepdims) / _count(x, axis)


def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The variance, Σ (x - mean)² / (n - ddof)."""
    centred = x - mean(x, axis, keepdims=True)
    return sum(centred * centred, axis, keepdims) / (_count(x, axis) - ddof)


def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation, √ of the variance."""
    return sqrt(var(x, axis, keepdims, ddof))


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element along axes; equal ones share the gradient."""
    return Max(axis, keepdims)(x)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element along axes; equal ones share the gradient."""
    return Min(axis, keepdims)(x)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product along axes, by halves: its derivatives are exact where an element is 0, too."""
    axes = axes_of("prod", axis, x.ndim)
    if x.dtype.kind != "f":  # without derivatives, and NumPy multiplies small integers in large ones
        y = value(x).prod(axes, keepdims=keepdims)
        return Tensor(y) if isinstance(x, Tensor) else y
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    y = x.transpose(rest + axes).reshape(tuple(x.shape[a] for a in rest) + (-1 if x.size else _count(x, axis),))
    if not y.shape[-1]:
        y = sum(y, -1, keepdims=True) + 1  # the empty product
    while (n := y.shape[-1]) > 1:
        pairs = y[..., : n // 2] * y[..., n // 2 : n // 2 * 2]
        y = concatenate([pairs, y[..., -1:]], axis=-1) if n % 2 else pairs
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    return y.reshape(shape if keepdims else tuple(x.shape[a] for a in rest))


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log Σ eˣ along axes, without overflow."""
    return LogSumExp(axis, keepdims)(x)


def cumsum(x: Any, axis: int) -> Any:
    """Running sums along one axis."""
    if not x.ndim:
        raise ValueError("cumsum: expected at least one axis, got x of shape ()")
    return CumSum(axis)(x)


def argmax(x: Any, axis: int | None = None) -> Any:
    """Where the largest element is along an axis (of all, flattened: None); no gradient."""
    try:
        y = value(x).argmax(axis)
    except ValueError as error:
        raise explain("argmax", "x", [value(x)], error) from error
    return Tensor(y) if isinstance(x, Tensor) else y


def _count(x: Any, axis: Axis) -> int:
    return math.prod(x.shape[a] for a in axes_of("mean", axis, x.ndim))
