"""The LSTM on three floors: the equations of one step, a scan of them over time, the fused sequence."""

from typing import Any, NamedTuple

from ..core import equations
from .elementwise import sigmoid, tanh
from .scan import Recurrence, checked_sequence, gates_of, scan


class LSTMGates(NamedTuple):
    """One parameter's part for each gate."""

    i: Any
    f: Any
    c: Any
    o: Any


class LSTMState(NamedTuple):
    """What an LSTM carries from one step to the next. Each: (B, H)."""

    h: Any  # working memory, and the output
    c: Any  # long-term memory


class LSTMStep(NamedTuple):
    """The symbols of one LSTM step, in the chapter's order. Each: (B, H)."""

    f_t: Any  # forget gate: what stays of the old memory
    i_t: Any  # input gate: how much comes in
    c_tilde: Any  # candidate: what could come in
    c_t: Any  # cell state
    o_t: Any  # output gate: what is shown
    h_t: Any  # hidden state


@equations(
    "lstm",
    f_t=r"f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f)",
    i_t=r"i_t = \sigma(W_i x_t + U_i h_{t-1} + b_i)",
    c_tilde=r"\tilde{c}_t = \tanh(W_c x_t + U_c h_{t-1} + b_c)",
    c_t=r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t",
    o_t=r"o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o)",
    h_t=r"h_t = o_t \odot \tanh(c_t)",
)
def lstm_step(x_t: Any, h_prev: Any, c_prev: Any, W: LSTMGates, U: LSTMGates, b: LSTMGates) -> LSTMStep:
    """One step of an LSTM.  x_t: (B, D); h, c: (B, H); W_f …: (H, D), U_f …: (H, H), b_f …: (H,)."""
    f_t = sigmoid(x_t @ W.f.T + h_prev @ U.f.T + b.f)
    i_t = sigmoid(x_t @ W.i.T + h_prev @ U.i.T + b.i)
    c_tilde = tanh(x_t @ W.c.T + h_prev @ U.c.T + b.c)
    c_t = f_t * c_prev + i_t * c_tilde
    o_t = sigmoid(x_t @ W.o.T + h_prev @ U.o.T + b.o)
    h_t = o_t * tanh(c_t)
    return LSTMStep(f_t, i_t, c_tilde, c_t, o_t, h_t)


class LSTMSequence(Recurrence):
    """h_1 … h_T, and the last h and c, of an LSTM."""

    kernel = "lstm_sequence"
    weight = 3

    def definition(
        self, x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any
    ) -> tuple[Any, Any, Any]:
        W, U, b = lstm_gates(W, "W"), lstm_gates(U, "U"), lstm_gates(b, "b")
        symbols, last = scan(
            lambda x_t, s: lstm_step(x_t, s.h, s.c, W, U, b), LSTMState(h_0, c_0), x, reverse=reverse, lengths=lengths
        )
        return symbols.h_t, last.h, last.c


def lstm_gates(p: Any, symbol: str) -> LSTMGates:
    """A stored parameter, stacked as PyTorch stacks it (i, f, c, o), cut into gates and named after the symbol."""
    return gates_of(LSTMGates, p, symbol)


def lstm(
    x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Any, LSTMState]:
    """An LSTM over a sequence: the equations of `lstm_step` at each time step.

    Args:
        x: (B, T, D); h_0 and c_0: (B, H).
        W: (4H, D), U: (4H, H), b: (4H,): the gates' parameters in PyTorch's order i, f, c, o.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T: where each sequence ends.
    Returns:
        h_1 … h_T, (B, T, H), exactly 0 beyond a sequence's end; and LSTMState(h, c) after each sequence's last step.
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    B, H, D = len(x), h_0.shape[-1], x.shape[-1]
    lengths = checked_sequence(
        "lstm",
        "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)",
        x,
        lengths,
        h_0=(h_0, (B, H)),
        c_0=(c_0, (B, H)),
        W=(W, (4 * H, D)),
        U=(U, (4 * H, H)),
        b=(b, (4 * H,)),
    )
    y, h, c = LSTMSequence(reverse=reverse, lengths=lengths)(x, h_0, c_0, W, U, b)
    return y, LSTMState(h, c)
