"""Recurrence on three floors: the equations of one step, a scan over time, a fused sequence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Tensor, equations, scope, value
from .elementwise import sigmoid, tanh, where
from .shape import split, stack, unstack

# -- the equations of one step


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


# -- a scan over time


def scan(
    step: Callable[[Any, Any], Any], state: Any, xs: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Any, Any]:
    """Run any cell over a sequence.

    Args:
        step: (x_t, state) -> a NamedTuple of symbols; for each field `h` of the state it has a field `h_t`, which
            is carried to the next step.
        state: the state before the first step, a NamedTuple such as LSTMState(h, c).
        xs: (B, T, …), the input.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T; a sequence past its end keeps its state, and its symbols there are 0.
    Returns:
        The symbols, each stacked over time to (B, T, …), and the state after the last step.

    >>> from typing import Any, NamedTuple
    >>> import tinygrad_seq as ts
    >>> class Total(NamedTuple):
    ...     s: Any
    >>> class Step(NamedTuple):
    ...     s_t: Any
    >>> xs = ts.tensor([[[1.0], [2.0], [3.0]]])
    >>> symbols, last = ts.ops.scan(lambda x_t, state: Step(state.s + x_t), Total(ts.tensor([[0.0]])), xs)
    >>> symbols.s_t.tolist(), last.s.tolist()
    ([[[1.0], [3.0], [6.0]]], [[6.0]])
    """
    T = xs.shape[1]
    if T == 0:
        raise ValueError(f"scan: expected at least one time step, got xs of shape {xs.shape}, (B, T, …)")
    if lengths is not None:
        lengths = checked_lengths(lengths, xs)
    x = unstack(xs, 1)
    symbols: list[Any] = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        with scope(f"t = {t + 1}"):
            out = step(x[t], state)
            carried = [getattr(out, f"{field}_t") for field in state._fields]
            if lengths is not None:
                runs = lengths > t
                carried = [where(_along(runs, new), new, old) for new, old in zip(carried, state, strict=True)]
                out = type(out)(*(symbol * _along(runs, symbol) for symbol in out))
        state, symbols[t] = type(state)(*carried), out
    return type(out)(*(stack(field, 1) for field in zip(*symbols, strict=True))), state


def _along(runs: Any, symbol: Any) -> Any:
    """(B,) with axes of size 1 for all others of the symbol."""
    return runs.reshape((-1,) + (1,) * (symbol.ndim - 1))


# -- a fused sequence


class LSTMSequence(FusedOp):
    """h_1 … h_T, and the last h and c, of an LSTM."""

    kernel = "lstm_sequence"

    def definition(
        self, x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any
    ) -> tuple[Any, Any, Any]:
        W, U, b = lstm_gates(W, "W"), lstm_gates(U, "U"), lstm_gates(b, "b")
        symbols, last = scan(
            lambda x_t, s: lstm_step(x_t, s.h, s.c, W, U, b), LSTMState(h_0, c_0), x, reverse=reverse, lengths=lengths
        )
        return symbols.h_t, last.h, last.c


def lstm_gates(p: Any, symbol: str) -> LSTMGates:
    """A stored parameter, stacked as PyTorch stacks it (i, f, g, o), cut into gates and named after the symbol."""
    gates = LSTMGates(*split(p, 4))
    for name, gate in gates._asdict().items():
        if isinstance(gate, Tensor):
            gate.name = f"{symbol}_{name}"
    return gates


def lstm(
    x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Any, LSTMState]:
    """An LSTM over a sequence: the equations of `lstm_step` at each time step.

    Args:
        x: (B, T, D); h_0 and c_0: (B, H).
        W: (4H, D), U: (4H, H), b: (4H,): the gates' parameters in PyTorch's order i, f, g, o.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T: where each sequence ends.
    Returns:
        h_1 … h_T, (B, T, H), exactly 0 beyond a sequence's end; and LSTMState(h, c) after each sequence's last step.
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    H = h_0.shape[-1]
    expected = {"h_0": (len(x), H), "c_0": (len(x), H), "W": (4 * H, x.shape[-1]), "U": (4 * H, H), "b": (4 * H,)}
    given = {"h_0": h_0, "c_0": c_0, "W": W, "U": U, "b": b}
    wrong = [name for name, shape in expected.items() if given[name].shape != shape]
    if x.ndim != 3 or wrong:
        raise ValueError(
            "lstm: f_t = σ(W_f x_t + U_f h_{t-1} + b_f) with x (B, T, D) "
            + f"{x.shape}, "
            + ", ".join(f"{name} {given[name].shape}" for name in given)
            + ("" if not wrong else f": expected {wrong[0]} to have shape {expected[wrong[0]]}")
        )
    if x.shape[1] == 0:
        raise ValueError(f"lstm: expected at least one time step, got x of shape {x.shape}, (B, T, D)")
    if lengths is not None:
        lengths = checked_lengths(lengths, x)
    y, h, c = LSTMSequence(reverse=reverse, lengths=lengths)(x, h_0, c_0, W, U, b)
    return y, LSTMState(h, c)


def checked_lengths(lengths: Any, x: Any) -> Any:
    """Lengths as an array of integers on x's device, each from 1 to T."""
    array = np.asarray(lengths) if isinstance(lengths, list | tuple) else value(lengths)
    B, T = x.shape[:2]
    if array.shape != (B,) or array.dtype.kind not in "iu":
        raise ValueError(f"lengths: expected {B} integers, one for each sequence, got {array.dtype} {array.shape}")
    be = backend_of(array)
    be.check_range(array, T + 1, f"lengths, with {T} time steps", low=1)
    here = backend_of(value(x))
    return array if here is be else here.from_numpy(array)
