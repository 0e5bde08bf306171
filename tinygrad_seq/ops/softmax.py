"""softmax and its logarithm."""

from typing import Any

from ..core import FusedOp, value
from .elementwise import exp, log
from .reduce import sum


class Softmax(FusedOp):
    """α_j = exp(e_j) / Σ_k exp(e_k)."""

    kernel = "softmax"

    def definition(self, e: Any, axis: int) -> Any:
        # Any constant may be taken from e; the largest keeps exp finite.
        exponentials = exp(e - value(e).max(axis, keepdims=True))
        return exponentials / sum(exponentials, axis, keepdims=True)


class LogSoftmax(FusedOp):
    """log α_j = e_j - log Σ_k exp(e_k)."""

    kernel = "log_softmax"

    def definition(self, e: Any, axis: int) -> Any:
        z = e - value(e).max(axis, keepdims=True)
        return z - log(sum(exp(z), axis, keepdims=True))


def softmax(e: Any, axis: int = -1) -> Any:
    """α_j = exp(e_j) / Σ_k exp(e_k) along an axis: positive, adding up to 1.

    >>> import tinygrad_seq as ts
    >>> ts.ops.softmax(ts.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    _check("softmax", e)
    return Softmax(axis=axis)(e)


def log_softmax(e: Any, axis: int = -1) -> Any:
    """log softmax(e) along an axis, exact where softmax itself would round to 0."""
    _check("log_softmax", e)
    return LogSoftmax(axis=axis)(e)


def _check(what: str, e: Any) -> None:
    if not e.ndim:
        raise ValueError(f"{what}: expected at least one axis, got a tensor of shape ()")
