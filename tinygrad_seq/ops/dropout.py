"""Dropout, and the random numbers behind it: a function of a key and a position, so both backends draw the same."""

from typing import Any

from ..backend import backend_of
from ..core import FusedOp, value
from ..core.random import next_key


class Dropout(FusedOp):
    """y = x m / (1 - p), with m = 1 where a random number in [0, 1) is at least p."""

    kernel = "dropout"

    def definition(self, x: Any, p: float, key: int) -> Any:
        be = backend_of(value(x))
        return x * (be.keep_mask(key, x.shape, p).astype(x.dtype) * (1 / (1 - p)))


def dropout(x: Any, p: float = 0.5) -> Any:
    """Zero each element with probability p and scale the rest by 1 / (1 - p), so that the mean stays.

    For training only: `nn.Dropout` leaves it out in evaluation. The mask is drawn from the library's own generator:
    `ts.seed` fixes it, alike on CPU and GPU.

    Args:
        x: of any shape; p: the probability of a zero, 0 ≤ p < 1.
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is a probability, 0 <= p < 1, got {p}")
    return Dropout(p=p, key=next_key())(x) if p else x
