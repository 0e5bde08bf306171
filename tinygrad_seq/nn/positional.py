"""Positions: attention does not know the order of its keys, so each token is told where it stands."""

from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..core import Tensor, equations
from . import init
from .layers import new_parameter
from .module import Module


class PositionalEncoding(NamedTuple):
    """The even and the odd features of positions."""

    sin: Any  # (T, ⌈D / 2⌉)
    cos: Any  # (T, ⌊D / 2⌋)


@equations(
    "pe",
    sin=r"PE_{(pos, 2i)} = \sin(pos / 10000^{2i/d})",
    cos=r"PE_{(pos, 2i+1)} = \cos(pos / 10000^{2i/d})",
)
def positional_encoding(pos: Any, d: int) -> PositionalEncoding:
    """Waves of d / 2 lengths, from 2π to 10000 · 2π positions.  pos: (T,)."""
    i = np.arange((d + 1) // 2)
    angle = ops.expand_dims(pos, -1) / 10000.0 ** (2 * i / d)
    sin = ops.sin(angle)
    cos = ops.cos(angle[:, : d // 2])
    return PositionalEncoding(sin, cos)


class SinusoidalPositions(Module):
    """x + PE, with PE a table that is not learned (Vaswani et al., 2017).

        PE_(pos, 2i) = sin(pos / 10000^(2i/D))
        PE_(pos, 2i+1) = cos(pos / 10000^(2i/D))

    Shapes: x (B, T, D) -> (B, T, D).

    Args:
        d_model: D; of an odd one the last feature is a sine. max_len: how many positions there are.

    Calling it:
        start: the position of x's first token: how many a cache has seen.
    Raises:
        ValueError: for a sequence that goes beyond max_len.

    >>> import tinygrad_seq as ts
    >>> ts.nn.SinusoidalPositions(4)(ts.tensor([[[0.0] * 4] * 2]))[0, 1]
    tensor([0.84147096, 0.5403023 , 0.00999983, 0.99995   ])
    """

    def __init__(self, d_model: int, max_len: int = 5000) -> None:
        self.d_model, self.max_len = d_model, max_len
        table = np.empty((max_len, d_model))  # float64, so that a model in it has it exactly
        table[:, 0::2], table[:, 1::2] = positional_encoding(np.arange(float(max_len)), d_model)
        self.table = Tensor(table)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        rows = _rows(self, x, start).astype(x.dtype)
        rows.name = "PE"
        return x + rows

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}"


class LearnedPositions(Module):
    """x + P, with P a table of one learned vector for each position.

    Shapes: x (B, T, D) -> (B, T, D); weight P (max_len, D), at first normal with deviation 0.02, as in BERT and GPT.

    Args:
        max_len: how many positions there are; d_model: D.

    Calling it:
        start: the position of x's first token: how many a cache has seen.
    Raises:
        ValueError: for a sequence that goes beyond max_len.

    >>> import tinygrad_seq as ts
    >>> ts.nn.LearnedPositions(10, 4)(ts.tensor([[[0.0] * 4] * 2])).shape
    (1, 2, 4)
    """

    def __init__(self, max_len: int, d_model: int) -> None:
        self.max_len, self.d_model = max_len, d_model
        self.weight = new_parameter(max_len, d_model)
        init.normal(self.weight, 0.02)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return x + _rows(self, x, start)

    def extra_repr(self) -> str:
        return f"{self.max_len}, {self.d_model}"


def _rows(positions: SinusoidalPositions | LearnedPositions, x: Tensor, start: int) -> Tensor:
    """The table's rows for x, (T, D)."""
    table = positions.table if isinstance(positions, SinusoidalPositions) else positions.weight
    name = type(positions).__name__
    if x.ndim < 2 or x.shape[-1] != positions.d_model:
        raise ValueError(f"{name}: x + P with P {table.shape}: expected x (B, T, {positions.d_model}), got {x.shape}")
    T = x.shape[-2]
    if not 0 <= start <= positions.max_len - T:
        raise ValueError(
            f"{name}: there are {positions.max_len} positions, but x {x.shape} has {T} from position {start} on: "
            "make it with a larger max_len, or give shorter sequences"
        )
    return table[start : start + T]
