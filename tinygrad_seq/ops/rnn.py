"""The simple recurrent network on three floors: the equation of one step, a scan over time, the fused sequence."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..core import equations
from .elementwise import relu, sigmoid, tanh
from .scan import Recurrence, checked_sequence, scan

NONLINEARITIES: dict[str, Callable[[Any], Any]] = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


class RNNState(NamedTuple):
    """What an RNN, or a GRU, carries from one step to the next."""

    h: Any  # (B, H), the memory and the output


class RNNStep(NamedTuple):
    """The symbol of one RNN step."""

    h_t: Any  # (B, H), hidden state


class RNNOutput(NamedTuple):
    """What an RNN says at one step."""

    y_t: Any  # (B, V)


@equations("rnn", h_t=r"h_t = g(W_{hh} h_{t-1} + W_{xh} x_t + b_h)")
def rnn_step(x_t: Any, h_prev: Any, W_xh: Any, W_hh: Any, b_h: Any, g: Callable[[Any], Any] = tanh) -> RNNStep:
    """One step of an RNN.  x_t: (B, D); h: (B, H); W_xh: (H, D), W_hh: (H, H), b_h: (H,); g: tanh, relu, sigmoid."""
    h_t = g(h_prev @ W_hh.T + x_t @ W_xh.T + b_h)
    return RNNStep(h_t)


@equations("rnn", y_t=r"y_t = W_{hy} h_t + b_y")
def rnn_output(h_t: Any, W_hy: Any, b_y: Any) -> RNNOutput:
    """What is read off the hidden state.  h_t: (…, H); W_hy: (V, H), b_y: (V,)."""
    y_t = h_t @ W_hy.T + b_y
    return RNNOutput(y_t)


class RNNSequence(Recurrence):
    """h_1 … h_T, and the last h, of an RNN."""

    kernel = "rnn_sequence"
    weight = 2

    def definition(
        self, x: Any, h_0: Any, W_xh: Any, W_hh: Any, b_h: Any, nonlinearity: str, reverse: bool, lengths: Any
    ) -> tuple[Any, Any]:
        g = NONLINEARITIES[nonlinearity]
        symbols, last = scan(
            lambda x_t, s: rnn_step(x_t, s.h, W_xh, W_hh, b_h, g), RNNState(h_0), x, reverse=reverse, lengths=lengths
        )
        return symbols.h_t, last.h


def rnn(
    x: Any,
    h_0: Any,
    W_xh: Any,
    W_hh: Any,
    b_h: Any,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
    lengths: Any = None,
) -> tuple[Any, Any]:
    """An RNN over a sequence: the equation of `rnn_step` at each time step.

    Args:
        x: (B, T, D); h_0: (B, H).
        W_xh: (H, D), W_hh: (H, H), b_h: (H,).
        nonlinearity: g, one of "tanh", "relu", "sigmoid".
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T: where each sequence ends.
    Returns:
        h_1 … h_T, (B, T, H), exactly 0 beyond a sequence's end; and h after each sequence's last step, (B, H).
    Raises:
        ValueError: for another nonlinearity, or where the shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> one = ts.tensor([[1.0]])
    >>> y, h_T = ts.ops.rnn(ts.tensor([[[1.0], [2.0]]]), one, one, one, ts.tensor([0.0]), nonlinearity="relu")
    >>> y.tolist(), h_T.tolist()
    ([[[2.0], [4.0]]], [[4.0]])
    """
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"rnn: nonlinearity is one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}")
    B, H, D = len(x), h_0.shape[-1], x.shape[-1]
    lengths = checked_sequence(
        "rnn",
        "h_t = g(W_hh h_{t-1} + W_xh x_t + b_h)",
        x,
        lengths,
        h_0=(h_0, (B, H)),
        W_xh=(W_xh, (H, D)),
        W_hh=(W_hh, (H, H)),
        b_h=(b_h, (H,)),
    )
    return RNNSequence(nonlinearity=nonlinearity, reverse=reverse, lengths=lengths)(x, h_0, W_xh, W_hh, b_h)
