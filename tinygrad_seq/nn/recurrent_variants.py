"""Recurrent layers that are an equation block and a scan, nothing else: how to write one's own.

Each runs as its equations, op by op, with gradients to any order; a kernel is what a layer may get later.
"""

from typing import Any, NamedTuple

from .. import ops
from ..core import Parameter, Tensor, equations
from ..ops import LSTMGates, LSTMState, LSTMStep, RNNState, lstm_gates, scan, sigmoid, tanh
from . import init
from .carried import note_carried
from .layers import LayerNorm, Linear, new_parameter
from .module import Module
from .recurrent import RNNCell, initial_state


def _parameter(bound: float, *shape: int) -> Parameter:
    p = new_parameter(*shape)
    init.uniform(p, -bound, bound)
    return p


# -- peepholes


class Peepholes(NamedTuple):
    """How each gate looks at the cell. Each: (H,)."""

    i: Any
    f: Any
    o: Any


@equations(
    "peephole",
    f_t=r"f_t = \sigma(W_f x_t + U_f h_{t-1} + p_f \odot c_{t-1} + b_f)",
    i_t=r"i_t = \sigma(W_i x_t + U_i h_{t-1} + p_i \odot c_{t-1} + b_i)",
    c_tilde=r"\tilde{c}_t = \tanh(W_c x_t + U_c h_{t-1} + b_c)",
    c_t=r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t",
    o_t=r"o_t = \sigma(W_o x_t + U_o h_{t-1} + p_o \odot c_t + b_o)",
    h_t=r"h_t = o_t \odot \tanh(c_t)",
)
def peephole_step(
    x_t: Any, h_prev: Any, c_prev: Any, W: LSTMGates, U: LSTMGates, b: LSTMGates, p: Peepholes
) -> LSTMStep:
    """One step.  x_t: (B, D); h, c: (B, H); W_f …: (H, D), U_f …: (H, H), b_f …, p_f …: (H,)."""
    f_t = sigmoid(x_t @ W.f.T + h_prev @ U.f.T + p.f * c_prev + b.f)
    i_t = sigmoid(x_t @ W.i.T + h_prev @ U.i.T + p.i * c_prev + b.i)
    c_tilde = tanh(x_t @ W.c.T + h_prev @ U.c.T + b.c)
    c_t = f_t * c_prev + i_t * c_tilde
    o_t = sigmoid(x_t @ W.o.T + h_prev @ U.o.T + p.o * c_t + b.o)
    h_t = o_t * tanh(c_t)
    return LSTMStep(f_t, i_t, c_tilde, c_t, o_t, h_t)


class PeepholeLSTM(Module):
    """An LSTM whose gates see the cell too (Gers and Schmidhuber, "Recurrent nets that time and count", 2000).

        f_t = σ(W_f x_t + U_f h_{t-1} + p_f ⊙ c_{t-1} + b_f)
        i_t = σ(W_i x_t + U_i h_{t-1} + p_i ⊙ c_{t-1} + b_i)
        c̃_t = tanh(W_c x_t + U_c h_{t-1} + b_c)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t
        o_t = σ(W_o x_t + U_o h_{t-1} + p_o ⊙ c_t + b_o)        the cell as it is now
        h_t = o_t ⊙ tanh(c_t)

    Shapes: x (B, T, D) -> out (B, T, H), LSTMState(h, c), each (B, H). Parameters: W (4H, D), U (4H, H), b (4H,), gates
    stacked i, f, c, o; p (3H,), stacked i, f, o; at first uniform within ± 1/√H.

    Calling it:
        x: (B, T, D); state: LSTMState(h, c), zeros if not given; lengths: (B,) integers from 1 to T.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> out, state = ts.nn.PeepholeLSTM(3, 5)(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, state.c.shape
    ((1, 2, 5), (1, 5))
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        D, H = input_size, hidden_size
        self.W, self.U, self.b, self.p = (_parameter(H**-0.5, *s) for s in ((4 * H, D), (4 * H, H), (4 * H,), (3 * H,)))

    def forward(self, x: Tensor, state: LSTMState | None = None, lengths: Any = None) -> tuple[Tensor, LSTMState]:
        W, U, b = lstm_gates(self.W, "W"), lstm_gates(self.U, "U"), lstm_gates(self.b, "b")
        p = Peepholes(*ops.split(self.p, 3))
        note_carried(self, state)
        state = initial_state(self, LSTMState, state, x, (len(x), self.hidden_size), "B, H")
        symbols, last = scan(lambda x_t, s: peephole_step(x_t, s.h, s.c, W, U, b, p), state, x, lengths=lengths)
        return symbols.h_t, last

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


# -- layer normalization


class LayerNormStep(NamedTuple):
    """The symbols of one step."""

    a_t: Any  # (B, 4H), what the gates are taken of
    f_t: Any  # (B, H), and so are all that follow
    i_t: Any
    c_tilde: Any
    c_t: Any
    o_t: Any
    h_t: Any


@equations(
    "layer_norm_lstm",
    a_t=r"a_t = \mathrm{LN}_x(W x_t) + \mathrm{LN}_h(U h_{t-1}) + b",
    f_t=r"f_t = \sigma(a^f_t)",
    i_t=r"i_t = \sigma(a^i_t)",
    c_tilde=r"\tilde{c}_t = \tanh(a^c_t)",
    c_t=r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t",
    o_t=r"o_t = \sigma(a^o_t)",
    h_t=r"h_t = o_t \odot \tanh(\mathrm{LN}_c(c_t))",
)
def layer_norm_lstm_step(
    x_t: Any, h_prev: Any, c_prev: Any, W: Any, U: Any, b: Any, LN_x: Any, LN_h: Any, LN_c: Any
) -> LayerNormStep:
    """One step.  x_t: (B, D); h, c: (B, H); W: (4H, D), U: (4H, H), b: (4H,)."""
    a_t = LN_x(x_t @ W.T) + LN_h(h_prev @ U.T) + b
    a = LSTMGates(*ops.split(a_t, 4, axis=-1))
    f_t = sigmoid(a.f)
    i_t = sigmoid(a.i)
    c_tilde = tanh(a.c)
    c_t = f_t * c_prev + i_t * c_tilde
    o_t = sigmoid(a.o)
    h_t = o_t * tanh(LN_c(c_t))
    return LayerNormStep(a_t, f_t, i_t, c_tilde, c_t, o_t, h_t)


class LayerNormLSTM(Module):
    """An LSTM that normalizes what its gates are taken of, and its cell (Ba, Kiros and Hinton, 2016, equations 20-22).

        a_t = LN_x(W x_t) + LN_h(U h_{t-1}) + b         all four gates together
        f_t, i_t, o_t = σ(a^f_t), σ(a^i_t), σ(a^o_t)
        c̃_t = tanh(a^c_t)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t
        h_t = o_t ⊙ tanh(LN_c(c_t))

    Shapes: x (B, T, D) -> out (B, T, H), LSTMState(h, c), each (B, H). Parameters: W (4H, D), U (4H, H), b (4H,), gates
    stacked i, f, c, o, at first uniform within ± 1/√H; LN_x and LN_h have a gain alone, since b is their shift.

    Calling it:
        x: (B, T, D); state: LSTMState(h, c), zeros if not given; lengths: (B,) integers from 1 to T.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> out, state = ts.nn.LayerNormLSTM(3, 5)(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, state.c.shape
    ((1, 2, 5), (1, 5))
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        D, H = input_size, hidden_size
        self.W, self.U, self.b = (_parameter(H**-0.5, *s) for s in ((4 * H, D), (4 * H, H), (4 * H,)))
        self.LN_x, self.LN_h, self.LN_c = LayerNorm(4 * H, bias=False), LayerNorm(4 * H, bias=False), LayerNorm(H)

    def step(self, x_t: Tensor, s: LSTMState) -> LayerNormStep:
        """All the symbols of one step."""
        return layer_norm_lstm_step(x_t, s.h, s.c, self.W, self.U, self.b, self.LN_x, self.LN_h, self.LN_c)

    def forward(self, x: Tensor, state: LSTMState | None = None, lengths: Any = None) -> tuple[Tensor, LSTMState]:
        note_carried(self, state)
        state = initial_state(self, LSTMState, state, x, (len(x), self.hidden_size), "B, H")
        symbols, last = scan(self.step, state, x, lengths=lengths)
        return symbols.h_t, last

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


# -- skip connections


class ResidualStep(NamedTuple):
    """The symbols of one layer's step. Each: (B, H)."""

    h_t: Any  # hidden state, which goes on in time
    y_t: Any  # what goes up to the next layer


@equations(
    "residual",
    h_t=r"h^k_t = \tanh(W^k_{hh} h^k_{t-1} + W^k_{xh} y^{k-1}_t + b^k_h)",
    y_t=r"y^k_t = y^{k-1}_t + h^k_t",
)
def residual_step(y_below: Any, h_prev: Any, W_xh: Any, W_hh: Any, b_h: Any) -> ResidualStep:
    """One step of one layer.  y_below, h: (B, H); W_xh, W_hh: (H, H), b_h: (H,)."""
    h_t = tanh(h_prev @ W_hh.T + y_below @ W_xh.T + b_h)
    y_t = y_below + h_t
    return ResidualStep(h_t, y_t)


class ResidualRNN(Module):
    """Stacked RNNs with skip connections, past which gradients flow directly from the top to the bottom.

        y^0_t = W_in x_t + b_in
        h^k_t = tanh(W^k_hh h^k_{t-1} + W^k_xh y^{k-1}_t + b^k_h)
        y^k_t = y^{k-1}_t + h^k_t                                   the skip connection

    Shapes: x (B, T, D) -> out (B, T, H), h_n (layers, B, H). Parameters: those of `inputs`, a Linear (W_in, b_in), and
    of `cells`, an RNNCell for each layer (W_xh, W_hh, b_h).

    Source: He et al., 2016, for depth; for stacked recurrent layers Wu et al. (GNMT), 2016.

    Calling it:
        x: (B, T, D); h: (layers, B, H), zeros if not given; lengths: (B,) integers from 1 to T.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> out, h_n = ts.nn.ResidualRNN(3, 5, num_layers=4)(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, h_n.shape
    ((1, 2, 5), (4, 1, 5))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.inputs = Linear(input_size, hidden_size)
        self.cells = [RNNCell(hidden_size, hidden_size) for _ in range(num_layers)]

    def forward(self, x: Tensor, h: Tensor | None = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        note_carried(self, h)
        (h,) = initial_state(self, RNNState, h, x, (self.num_layers, len(x), self.hidden_size), "layers, B, H")
        y, last = self.inputs(x), []
        for cell, h_0 in zip(self.cells, ops.unstack(h, 0), strict=True):
            y, h_n = self._layer(cell, y, h_0, lengths)
            last.append(h_n)
        return y, ops.stack(last, 0)

    def _layer(self, cell: RNNCell, y: Tensor, h: Tensor, lengths: Any) -> tuple[Tensor, Tensor]:
        W_xh, W_hh, b_h = cell.W_xh, cell.W_hh, cell.b_h
        symbols, last = scan(lambda y_t, s: residual_step(y_t, s.h, W_xh, W_hh, b_h), RNNState(h), y, lengths=lengths)
        return symbols.y_t, last.h

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.num_layers}"
