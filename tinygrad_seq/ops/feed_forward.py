"""The network of a Transformer's layer, the same at each position (Vaswani et al., 2017, 3.3)."""

from typing import Any

from ..core import FusedOp
from ..core.random import next_key
from .dropout import Dropout
from .elementwise import gelu, in_float32, relu

ACTIVATIONS = {"relu": relu, "gelu": gelu, "gelu_tanh": lambda u: gelu(u, "tanh")}


class FeedForward(FusedOp):
    """FFN(x) = f(x W_1ᵀ + b_1) W_2ᵀ + b_2."""

    kernel = "feed_forward"

    def definition(
        self, x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any, activation: str, dropout: float, key: int
    ) -> Any:
        u = _affine(x, W_1, b_1)
        h = ACTIVATIONS[activation](u)
        if dropout:
            h = Dropout(p=dropout, key=key)(h)
        return _affine(h, W_2, b_2)


def _affine(x: Any, W: Any, b: Any) -> Any:
    y = x @ W.swapaxes(0, 1)
    return y if b is None else y + b


def feed_forward(
    x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any, activation: str = "relu", *, dropout: float = 0.0
) -> Any:
    """FFN(x) = f(x W_1ᵀ + b_1) W_2ᵀ + b_2: two linear maps with an activation between them, at each position.

    Args:
        x: (..., D); W_1: (F, D) and b_1: (F,) or None; W_2: (E, F) and b_2: (E,) or None.
        activation: f: "relu", max(0, u), as Vaswani et al. have it; "gelu", exact, as BERT; "gelu_tanh", as GPT-2.
        dropout: the probability with which a number of f(…) becomes 0, the others being scaled up: for training only.
    Returns:
        (..., E).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in; for another activation.

    >>> import tinygrad_seq as ts
    >>> x, W_1, W_2 = ts.tensor([[1.0, 2.0]]), ts.tensor([[1.0, 1.0], [1.0, -1.0]]), ts.tensor([[2.0, 5.0]])
    >>> ts.ops.feed_forward(x, W_1, None, W_2, None)
    tensor([[6.]])
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"feed_forward: activation is one of {list(ACTIVATIONS)}, got {activation!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"feed_forward: dropout is a probability, 0 <= dropout < 1, got {dropout}")
    _check(x, W_1, b_1, W_2, b_2)
    op = FeedForward(activation=activation, dropout=dropout, key=next_key() if dropout else 0)
    return in_float32(op, x, W_1, b_1, W_2, b_2)


def _check(x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any) -> None:
    given = {"x": x, "W_1": W_1, "b_1": b_1, "W_2": W_2, "b_2": b_2}
    given = {name: a for name, a in given.items() if a is not None}
    problem = next((f"{name} has two axes" for name in ("W_1", "W_2") if given[name].ndim != 2), None)
    if problem is None:
        (F, D), E = W_1.shape, len(W_2)
        expected = {"x": (*x.shape[:-1], D), "b_1": (F,), "W_2": (E, F), "b_2": (E,)}
        problem = next((f"expected {n} {s}" for n, s in expected.items() if n in given and given[n].shape != s), None)
    if problem is not None:
        raise ValueError(
            "feed_forward: FFN(x) = f(x W_1ᵀ + b_1) W_2ᵀ + b_2 with "
            f"{', '.join(f'{name} {a.shape}' for name, a in given.items())}: {problem}"
        )
