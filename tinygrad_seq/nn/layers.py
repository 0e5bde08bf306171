"""Layers without recurrence: Linear, Embedding, Dropout, LayerNorm, Sequential. PyTorch's names and shapes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..core import Parameter, Tensor
from ..ops.index import row_of
from . import init
from .module import Module


def new_parameter(*shape: int) -> Parameter:
    """A float32 parameter that waits for its initial values."""
    for n in shape:
        if not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"a layer's sizes are positive integers, got {n!r}")
    # A view of a single zero: the copy that Parameter makes is then the only memory of this size.
    return Parameter(np.broadcast_to(np.float32(0), shape))


class Linear(Module):
    """y = x Wᵀ + b.

    Shapes: x (..., D) -> y (..., H); weight W (H, D), bias b (H,), at first uniform within ± 1/√D.

    Args:
        in_features: D; out_features: H.
    Raises:
        ValueError: where the last axis of x is not D, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> ts.nn.Linear(3, 2)(ts.tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter(out_features, in_features)
        self.bias = new_parameter(out_features) if bias else None
        bound = in_features**-0.5
        for p in self.parameters():
            init.uniform(p, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """e_t = E x_t for one-hot x_t: a row of the table for each token.

    Shapes: integers of any shape (...) -> (..., D); weight E (V, D), at first normal with deviation 1.

    Args:
        num_embeddings: V; embedding_dim: D.
        padding_idx: a row that starts at 0 and gets no gradient.
    Raises:
        TypeError: where the tokens are not integers. IndexError: where one is out of range.

    >>> import tinygrad_seq as ts
    >>> ts.nn.Embedding(10, 4)(ts.tensor([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, padding_idx: int | None = None) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else row_of("padding_idx", padding_idx, num_embeddings)
        self.weight = new_parameter(num_embeddings, embedding_dim)
        init.normal(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, tokens: Any) -> Tensor:
        return ops.embedding(self.weight, tokens, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """Zero each element with probability p in training, and scale the rest by 1 / (1 - p); nothing in evaluation.

    Shapes: any (...) -> (...). Source: Srivastava et al., 2014.

    Args:
        p: the probability of a zero, 0 ≤ p < 1.
    Raises:
        ValueError: for another p.

    >>> import tinygrad_seq as ts
    >>> ts.nn.Dropout(0.5).eval()(ts.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is a probability, 0 <= p < 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        return f"{self.p}"


class LayerNorm(Module):
    """y = (x - μ) / √(σ² + ε) · γ + β, with mean μ and variance σ² of the last axis (Ba, Kiros and Hinton, 2016).

    Shapes: x (..., D) -> (..., D); weight γ and bias β (D,), at first 1 and 0.

    Args:
        size: D; eps: ε, added to the variance.
    Raises:
        ValueError: where the last axis of x is not D.

    >>> import tinygrad_seq as ts
    >>> ts.nn.LayerNorm(2)(ts.tensor([[1.0, 3.0]])).numpy().round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, size: int, *, eps: float = 1e-5, bias: bool = True) -> None:
        self.size, self.eps = size, eps
        self.weight = new_parameter(size)
        init.constant(self.weight, 1.0)
        self.bias = new_parameter(size) if bias else None
        if self.bias is not None:
            init.constant(self.bias, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.size}"


class Sequential(Module):
    """Layers one after another; functions such as `ts.ops.tanh` may stand between modules.

    >>> import tinygrad_seq as ts
    >>> model = ts.nn.Sequential(ts.nn.Linear(3, 4), ts.ops.tanh, ts.nn.Linear(4, 1))
    >>> model(ts.tensor([[1.0, 2.0, 3.0]])).shape
    (1, 1)
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for k, layer in enumerate(layers):
            setattr(self, str(k), layer)  # PyTorch's names: "0.weight"

    def forward(self, x: Any) -> Any:
        for name, layer in vars(self).items():
            if name.isdigit():
                x = layer(x)
        return x
