"""The GRU on three floors, in both conventions: the equations of one step, a scan over time, the fused sequence.

In both, z_t says how much of the *old* state stays: h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}. (Later texts exchange z and
1 - z.) They differ in where the reset gate r_t acts: on U_n h_{t-1} + b_hn, after the product (`gru`: PyTorch, cuDNN;
Keras and ONNX call it reset_after and linear_before_reset), or on h_{t-1} itself, before it (`gru_cho`: Cho et al.,
2014).
"""

from typing import Any, NamedTuple

from ..core import equations
from .elementwise import sigmoid, tanh
from .rnn import RNNState
from .scan import Recurrence, checked_sequence, gates_of, named, scan
from .shape import split


class GRUGates(NamedTuple):
    """One parameter's part for each gate."""

    r: Any
    z: Any
    n: Any


class GRUStep(NamedTuple):
    """The symbols of one GRU step. Each: (B, H)."""

    r_t: Any  # reset gate: how much of the old state the candidate sees
    z_t: Any  # update gate: how much of the old state stays
    n_t: Any  # candidate: the new state, where z_t = 0
    h_t: Any  # hidden state


@equations(
    "gru",
    r_t=r"r_t = \sigma(W_r x_t + U_r h_{t-1} + b_r)",
    z_t=r"z_t = \sigma(W_z x_t + U_z h_{t-1} + b_z)",
    n_t=r"n_t = \tanh(W_n x_t + b_n + r_t \odot (U_n h_{t-1} + b_{hn}))",
    h_t=r"h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}",
)
def gru_step(x_t: Any, h_prev: Any, W: GRUGates, U: GRUGates, b: GRUGates, b_hn: Any) -> GRUStep:
    """One step of a GRU, r_t after the product.  x_t: (B, D); h: (B, H); W_r …: (H, D), U_r …: (H, H), b_r …: (H,)."""
    r_t = sigmoid(x_t @ W.r.T + h_prev @ U.r.T + b.r)
    z_t = sigmoid(x_t @ W.z.T + h_prev @ U.z.T + b.z)
    n_t = tanh(x_t @ W.n.T + b.n + r_t * (h_prev @ U.n.T + b_hn))
    h_t = (1 - z_t) * n_t + z_t * h_prev
    return GRUStep(r_t, z_t, n_t, h_t)


@equations(
    "gru_cho",
    r_t=r"r_t = \sigma(W_r x_t + U_r h_{t-1} + b_r)",
    z_t=r"z_t = \sigma(W_z x_t + U_z h_{t-1} + b_z)",
    n_t=r"n_t = \tanh(W_n x_t + U_n (r_t \odot h_{t-1}) + b_n)",
    h_t=r"h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}",
)
def gru_cho_step(x_t: Any, h_prev: Any, W: GRUGates, U: GRUGates, b: GRUGates) -> GRUStep:
    """One step of a GRU, r_t before the product.  x_t: (B, D); h: (B, H); W_r …: (H, D), U_r …: (H, H), b_r …: (H,)."""
    r_t = sigmoid(x_t @ W.r.T + h_prev @ U.r.T + b.r)
    z_t = sigmoid(x_t @ W.z.T + h_prev @ U.z.T + b.z)
    n_t = tanh(x_t @ W.n.T + (r_t * h_prev) @ U.n.T + b.n)
    h_t = (1 - z_t) * n_t + z_t * h_prev
    return GRUStep(r_t, z_t, n_t, h_t)


class GRUSequence(Recurrence):
    """h_1 … h_T, and the last h, of a GRU whose r_t acts after the product."""

    kernel = "gru_sequence"
    weight = 2

    def definition(
        self, x: Any, h_0: Any, W: Any, U: Any, b_ih: Any, b_hh: Any, reverse: bool, lengths: Any
    ) -> tuple[Any, Any]:
        W, U = gru_gates(W, "W"), gru_gates(U, "U")
        b, b_hn = gru_biases(b_ih, b_hh)
        symbols, last = scan(
            lambda x_t, s: gru_step(x_t, s.h, W, U, b, b_hn), RNNState(h_0), x, reverse=reverse, lengths=lengths
        )
        return symbols.h_t, last.h


class GRUChoSequence(Recurrence):
    """h_1 … h_T, and the last h, of a GRU whose r_t acts before the product."""

    kernel = "gru_cho_sequence"
    weight = 2

    def definition(self, x: Any, h_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> tuple[Any, Any]:
        W, U, b = gru_gates(W, "W"), gru_gates(U, "U"), gru_gates(b, "b")
        symbols, last = scan(
            lambda x_t, s: gru_cho_step(x_t, s.h, W, U, b), RNNState(h_0), x, reverse=reverse, lengths=lengths
        )
        return symbols.h_t, last.h


def gru_gates(p: Any, symbol: str) -> GRUGates:
    """A stored parameter, stacked as PyTorch stacks it (r, z, n), cut into gates and named after the symbol."""
    return gates_of(GRUGates, p, symbol)


def gru_biases(b_ih: Any, b_hh: Any) -> tuple[GRUGates, Any]:
    """The two biases that PyTorch keeps, as the equations have them: (b_r, b_z, b_n) and b_hn, which stays apart."""
    ih, hh = gru_gates(b_ih, "b"), GRUGates(*split(b_hh, 3))
    return GRUGates(named(ih.r + hh.r, "b_r"), named(ih.z + hh.z, "b_z"), ih.n), named(hh.n, "b_hn")


def gru(
    x: Any, h_0: Any, W: Any, U: Any, b_ih: Any, b_hh: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Any, Any]:
    """A GRU over a sequence: the equations of `gru_step` at each time step, r_t acting after the product.

    Args:
        x: (B, T, D); h_0: (B, H).
        W: (3H, D), U: (3H, H): the gates' parameters in PyTorch's order r, z, n.
        b_ih and b_hh: (3H,): b_r and b_z are their sums; b_n is the last third of b_ih, b_hn that of b_hh.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T: where each sequence ends.
    Returns:
        h_1 … h_T, (B, T, H), exactly 0 beyond a sequence's end; and h after each sequence's last step, (B, H).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    B, H, D = len(x), h_0.shape[-1], x.shape[-1]
    lengths = checked_sequence(
        "gru",
        "r_t = σ(W_r x_t + U_r h_{t-1} + b_r)",
        x,
        lengths,
        h_0=(h_0, (B, H)),
        W=(W, (3 * H, D)),
        U=(U, (3 * H, H)),
        b_ih=(b_ih, (3 * H,)),
        b_hh=(b_hh, (3 * H,)),
    )
    return GRUSequence(reverse=reverse, lengths=lengths)(x, h_0, W, U, b_ih, b_hh)


def gru_cho(x: Any, h_0: Any, W: Any, U: Any, b: Any, *, reverse: bool = False, lengths: Any = None) -> tuple[Any, Any]:
    """A GRU over a sequence: the equations of `gru_cho_step` at each time step, r_t acting before the product.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014.

    Args:
        x: (B, T, D); h_0: (B, H).
        W: (3H, D), U: (3H, H), b: (3H,): the gates' parameters in the order r, z, n.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T: where each sequence ends.
    Returns:
        h_1 … h_T, (B, T, H), exactly 0 beyond a sequence's end; and h after each sequence's last step, (B, H).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    B, H, D = len(x), h_0.shape[-1], x.shape[-1]
    lengths = checked_sequence(
        "gru_cho",
        "r_t = σ(W_r x_t + U_r h_{t-1} + b_r)",
        x,
        lengths,
        h_0=(h_0, (B, H)),
        W=(W, (3 * H, D)),
        U=(U, (3 * H, H)),
        b=(b, (3 * H,)),
    )
    return GRUChoSequence(reverse=reverse, lengths=lengths)(x, h_0, W, U, b)
