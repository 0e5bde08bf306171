"""Recurrent layers over batches of sequences, and their cells. PyTorch's parameter names, shapes and gate order."""

from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar, NamedTuple

from .. import ops
from ..backend import backend_of
from ..core import Tensor, equations, scope, value
from ..ops.gru import GRUGates, GRUStep, gru_biases, gru_gates
from ..ops.lstm import LSTMState, LSTMStep, lstm_gates
from ..ops.rnn import NONLINEARITIES, RNNState, RNNStep
from ..ops.scan import checked_lengths, named
from . import init
from .carried import note_carried, note_cut
from .layers import new_parameter
from .module import Module

# -- what the layers share


class Weights(NamedTuple):
    """The parameters of one layer in one direction, as PyTorch keeps them, for G gates."""

    weight_ih: Tensor  # (G H, D)
    weight_hh: Tensor  # (G H, H)
    bias_ih: Tensor  # (G H,)
    bias_hh: Tensor  # (G H,)


class Stacked(NamedTuple):
    """One layer of a stack, over time."""

    h_t: Any  # (B, T, H)
    state: Any  # after the last step


class Both(NamedTuple):
    """Two directions, over time."""

    h: Any  # (B, T, 2H)


@equations("stack", h_t=r"h^k_t = f(h^k_{t-1}, h^{k-1}_t)")
def stacked(f: Any, h_prev: Any, h_below: Any) -> Stacked:
    """Layer k of a stack, for all t: its own state before, and what the layer below, or x_t, says now."""
    h_t, state = f(h_prev, h_below)
    return Stacked(h_t, state)


@equations("bi", h=r"h_t = [\vec{h}_t; \overleftarrow{h}_t]")
def both_directions(forward: Any, backward: Any) -> Both:
    """Both directions side by side, for all t.  Each: (B, T, H)."""
    h = ops.concatenate([forward, backward], axis=-1)
    return Both(h)


class _Recurrent(Module):
    """What layers and cells share: sizes, PyTorch's parameters, the chapter's equation in errors."""

    State: ClassVar[Any]  # a NamedTuple: what goes on from step to step
    gates: ClassVar[int]  # how many are stacked in a parameter
    equation: ClassVar[str]  # the first one, for errors
    first_weight: ClassVar[str]  # the parameter in it that x_t meets

    input_size: int
    hidden_size: int

    def _new_weights(self, suffix: str, size: int) -> None:
        """New parameters for inputs of that size, uniform within ± 1/√H."""
        rows = self.gates * self.hidden_size
        for name, shape in zip(
            Weights._fields, ((rows, size), (rows, self.hidden_size), (rows,), (rows,)), strict=True
        ):
            p = new_parameter(*shape)
            init.uniform(p, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
            setattr(self, name + suffix, p)

    def _weights(self, suffix: str) -> Weights:
        return Weights(*(getattr(self, name + suffix) for name in Weights._fields))

    def _first(self) -> Weights:
        """Those that the chapter's symbols are read from."""
        raise NotImplementedError

    def _check_input(self, x: Tensor, axes: str) -> None:
        if x.ndim != len(axes.split(", ")) + 1 or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: {self.equation} with {self.first_weight} "
                f"{(self.hidden_size, self.input_size)}: expected x of shape ({axes}, {self.input_size}), got {x.shape}"
            )


def initial_state(layer: Module, kind: Any, state: Any, x: Tensor, shape: tuple[int, ...], axes: str) -> Any:
    """What was given as a state, as that kind of NamedTuple, after a look at its shapes; zeros if nothing was given."""
    if state is None:
        zeros = Tensor(backend_of(value(x)).xp.zeros(shape, x.dtype))
        return kind(*(zeros for _ in kind._fields))
    parts, name = state if isinstance(state, tuple | list) else (state,), type(layer).__name__
    if len(parts) != len(kind._fields) or not all(hasattr(part, "shape") for part in parts):
        got = ", ".join(type(part).__name__ for part in parts)
        raise TypeError(f"{name}: expected a state of tensors ({', '.join(kind._fields)}), got ({got})")
    for field, part in zip(kind._fields, parts, strict=True):
        if part.shape != shape:
            raise ValueError(f"{name}: expected {field} of shape ({axes}) = {shape}, got {part.shape}")
    return kind(*parts)


def _plain(state: Any) -> Any:
    """A state as callers see it: of one part, the tensor alone."""
    return state if len(state) > 1 else state[0]


class _Layer(_Recurrent):
    """Stacked layers in one direction or both, over a batch of sequences; a subclass runs one of them."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        learn_state: bool = False,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"{type(self).__name__}: num_layers is at least 1, got {num_layers}")
        if not 0 <= dropout < 1:
            raise ValueError(f"{type(self).__name__}: dropout is a probability, 0 <= dropout < 1, got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.dropout, self.learn_state = bidirectional, dropout, learn_state
        self.ends = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            for end in self.ends:
                self._new_weights(f"_l{layer}{end}", hidden_size * len(self.ends) if layer else input_size)
        if learn_state:
            for field in self.State._fields:
                p = new_parameter(num_layers * len(self.ends), hidden_size)
                init.constant(p, 0.0)
                setattr(self, f"{field}_0", p)

    def _over_time(self, weights: Weights, state: Any, x: Tensor, reverse: bool, lengths: Any) -> tuple[Tensor, Any]:
        """One layer in one direction: its outputs (B, T, H) and its last state."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        self._check_input(x, "B, T")
        if lengths is not None:
            lengths = checked_lengths(lengths, x)
        note_carried(self, state)
        states = self._initial_states(state, x)
        last: list[Any] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = ops.dropout(x, self.dropout)
            outputs = []
            for end in self.ends:
                suffix, state = f"l{layer}{end}", states[len(last)]
                f = partial(self._run, suffix, lengths)
                with scope(suffix) if len(states) > 1 else nullcontext():
                    out, final = stacked(f, state, x) if self.num_layers > 1 else f(state, x)
                outputs.append(out)
                last.append(final)
            x = both_directions(*outputs).h if self.bidirectional else outputs[0]
        return x, _plain(self.State(*(ops.stack(field, 0) for field in zip(*last, strict=True))))

    def _run(self, suffix: str, lengths: Any, state: Any, x: Tensor) -> tuple[Tensor, Any]:
        return self._over_time(self._weights(f"_{suffix}"), state, x, suffix.endswith("_reverse"), lengths)

    def _initial_states(self, state: Any, x: Tensor) -> list[Any]:
        """The state before the first step of each layer and direction, in the order of h_n."""
        shape = (self.num_layers * len(self.ends), x.shape[0], self.hidden_size)
        if state is None and self.learn_state:
            learned = (getattr(self, f"{field}_0") for field in self.State._fields)
            state = tuple(ops.broadcast_to(ops.expand_dims(p, 1), shape) for p in learned)
        state = initial_state(self, self.State, state, x, shape, "layers · directions, B, H")
        parts = [ops.unstack(part, 0) for part in state]
        for whole, pieces in zip(state, parts, strict=True):
            note_cut(whole, pieces)
        return [self.State(*each) for each in zip(*parts, strict=True)]

    def _first(self) -> Weights:
        return self._weights("_l0")

    def extra_repr(self) -> str:
        more = [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        more += ["bidirectional=True"] if self.bidirectional else []
        more += [f"dropout={self.dropout}"] if self.dropout else []
        more += ["learn_state=True"] if self.learn_state else []
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *more])


class _Cell(_Recurrent):
    """One step at a time; a subclass has `step`, which gives all the symbols."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        self._new_weights("", input_size)

    def step(self, x_t: Tensor, state: Any) -> Any:
        """All the symbols of one step: what `ops.scan` runs."""
        raise NotImplementedError

    def forward(self, x_t: Tensor, state: Any = None) -> Any:
        self._check_input(x_t, "B")
        note_carried(self, state)
        shape = x_t.shape[0], self.hidden_size
        symbols = self.step(x_t, initial_state(self, self.State, state, x_t, shape, "B, H"))
        fields = self.State._fields
        return _plain(self.State(*(getattr(symbols, f"{field}_t") for field in fields)))

    def _first(self) -> Weights:
        return self._weights("")

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


# -- RNN


class _RNN(_Recurrent):
    State = RNNState
    gates = 1
    equation = "h_t = g(W_hh h_{t-1} + W_xh x_t + b_h)"
    first_weight = "W_xh"
    nonlinearity: str

    def _choose(self, nonlinearity: str) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"{type(self).__name__}: nonlinearity is one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}"
            )
        self.nonlinearity = nonlinearity

    @property
    def W_xh(self) -> Tensor:
        """(H, D), of the first layer."""
        return self._first().weight_ih

    @property
    def W_hh(self) -> Tensor:
        """(H, H), of the first layer."""
        return self._first().weight_hh

    @property
    def b_h(self) -> Tensor:
        """(H,), of the first layer: the sum of the two biases that PyTorch keeps."""
        return named(self._first().bias_ih + self._first().bias_hh, "b_h")


class RNN(_RNN, _Layer):
    """The simple recurrent network (Elman, 1990).

        h_t = g(W_hh h_{t-1} + W_xh x_t + b_h)      g = tanh, relu or sigmoid

    Shapes: x (B, T, D) -> out (B, T, H · directions), h_n (layers · directions, B, H); B batch, T time, D input_size,
    H hidden_size.

    Parameters, for layer k (and with the suffix _reverse for the other direction): weight_ih_lk (H, D), weight_hh_lk
    (H, H), bias_ih_lk and bias_hh_lk (H,); at first uniform within ± 1/√H. The chapter's symbols of the first layer
    can be read: `rnn.W_xh`, `rnn.W_hh`; `rnn.b_h` is the sum of the two biases.

    Args:
        num_layers: each layer reads the outputs of the one below.
        nonlinearity: g, one of "tanh", "relu", "sigmoid".
        bidirectional: a second RNN reads from the end; outputs are [forward; backward].
        dropout: the probability of a zero between layers, in training.
        learn_state: the state before the first step is a parameter, h_0 (layers · directions, H), at first 0.

    Calling it:
        x: (B, T, D).
        state: h before the first step, (layers · directions, B, H); zeros, or the learned one, if not given.
        lengths: (B,) integers from 1 to T, for padded batches: `out` is 0 beyond each end, the final state is that of
            each sequence's last step, and the other direction starts there.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> rnn = ts.nn.RNN(3, 5)
    >>> out, h_n = rnn(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, h_n.shape, rnn.W_xh.shape
    ((1, 2, 5), (1, 1, 5), (5, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        dropout: float = 0.0,
        learn_state: bool = False,
    ) -> None:
        self._choose(nonlinearity)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            learn_state=learn_state,
        )

    def _over_time(self, weights: Weights, state: Any, x: Tensor, reverse: bool, lengths: Any) -> tuple[Tensor, Any]:
        W, U, b_ih, b_hh = weights
        out, h = ops.rnn(
            x, state.h, W, U, b_ih + b_hh, nonlinearity=self.nonlinearity, reverse=reverse, lengths=lengths
        )
        return out, RNNState(h)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}")


class RNNCell(_RNN, _Cell):
    """One step of an RNN, for loops of one's own: h_t = g(W_hh h_{t-1} + W_xh x_t + b_h).

    Shapes: x_t (B, D), h (B, H) -> h_t (B, H). Parameters as RNN's, without suffix: weight_ih (H, D), weight_hh (H, H),
    bias_ih and bias_hh (H,).

    Args:
        nonlinearity: g, one of "tanh", "relu", "sigmoid".

    Calling it:
        x_t: (B, D); h: (B, H), zeros if not given.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> cell, h = ts.nn.RNNCell(3, 5), None
    >>> for x_t in ts.ops.unstack(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), 1):
    ...     h = cell(x_t, h)
    >>> h.shape
    (1, 5)
    """

    def __init__(self, input_size: int, hidden_size: int, *, nonlinearity: str = "tanh") -> None:
        self._choose(nonlinearity)
        super().__init__(input_size, hidden_size)

    def step(self, x_t: Tensor, state: RNNState) -> RNNStep:
        """The symbol of one step: what `ops.scan` runs, with RNNState(h)."""
        return ops.rnn_step(x_t, state.h, self.W_xh, self.W_hh, self.b_h, NONLINEARITIES[self.nonlinearity])


# -- LSTM


def _lstm_symbol(symbol: str, gate: str) -> property:
    def read(self: "_LSTM") -> Tensor:
        W, U, b_ih, b_hh = self._first()
        stored = b_ih + b_hh if symbol == "b" else W if symbol == "W" else U
        return getattr(lstm_gates(stored, symbol), gate)

    return property(read, doc=f"{symbol}_{gate} of the first layer, read-only.")


class _LSTM(_Recurrent):
    State = LSTMState
    gates = 4
    equation = "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)"
    first_weight = "W_f"

    W_i, W_f, W_c, W_o = (_lstm_symbol("W", gate) for gate in "ifco")
    U_i, U_f, U_c, U_o = (_lstm_symbol("U", gate) for gate in "ifco")
    b_i, b_f, b_c, b_o = (_lstm_symbol("b", gate) for gate in "ifco")


class LSTM(_LSTM, _Layer):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000).

        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)        what stays of the old memory
        i_t = σ(W_i x_t + U_i h_{t-1} + b_i)        how much comes in
        c̃_t = tanh(W_c x_t + U_c h_{t-1} + b_c)     what could come in
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)        what is shown
        h_t = o_t ⊙ tanh(c_t)

    Shapes: x (B, T, D) -> out (B, T, H · directions), LSTMState(h_n, c_n), each (layers · directions, B, H); B batch,
    T time, D input_size, H hidden_size.

    Parameters, for layer k (and with the suffix _reverse for the other direction): weight_ih_lk (4H, D), weight_hh_lk
    (4H, H), bias_ih_lk and bias_hh_lk (4H,), gates stacked i, f, c, o; at first uniform within ± 1/√H. The chapter's
    symbols of the first layer can be read: `lstm.W_f`, `lstm.U_f`; `lstm.b_f` is the sum of the two biases.

    Args:
        num_layers: each layer reads the outputs of the one below.
        bidirectional: a second LSTM reads from the end; outputs are [forward; backward].
        dropout: the probability of a zero between layers, in training.
        learn_state: the state before the first step is two parameters, h_0 and c_0, each (layers · directions, H), at
            first 0.

    Calling it:
        x: (B, T, D).
        state: LSTMState(h, c), each (layers · directions, B, H); zeros, or the learned one, if not given.
        lengths: (B,) integers from 1 to T, for padded batches: `out` is 0 beyond each end, the final state is that of
            each sequence's last step, and the other direction starts there.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> out, (h_n, c_n) = lstm(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, h_n.shape, lstm.W_f.shape
    ((1, 2, 5), (1, 1, 5), (5, 3))
    """

    def _over_time(self, weights: Weights, state: Any, x: Tensor, reverse: bool, lengths: Any) -> tuple[Tensor, Any]:
        W, U, b_ih, b_hh = weights
        return ops.lstm(x, state.h, state.c, W, U, b_ih + b_hh, reverse=reverse, lengths=lengths)


class LSTMCell(_LSTM, _Cell):
    """One step of an LSTM, for loops of one's own; its equations are those of `LSTM`.

    Shapes: x_t (B, D), LSTMState(h, c), each (B, H) -> LSTMState(h, c). Parameters as LSTM's, without suffix:
    weight_ih (4H, D), weight_hh (4H, H), bias_ih and bias_hh (4H,).

    Calling it:
        x_t: (B, D); state: LSTMState(h, c), zeros if not given.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> cell, state = ts.nn.LSTMCell(3, 5), None
    >>> for x_t in ts.ops.unstack(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), 1):
    ...     state = cell(x_t, state)
    >>> state.h.shape, state.c.shape
    ((1, 5), (1, 5))
    """

    def step(self, x_t: Tensor, state: LSTMState) -> LSTMStep:
        """All the symbols of one step: what `ops.scan` runs, with LSTMState(h, c)."""
        W, U, b_ih, b_hh = self._first()
        return ops.lstm_step(
            x_t, state.h, state.c, lstm_gates(W, "W"), lstm_gates(U, "U"), lstm_gates(b_ih + b_hh, "b")
        )


# -- GRU


def _gru_symbol(symbol: str, gate: str) -> property:
    def read(self: "_GRU") -> Tensor:
        if symbol == "b":
            return getattr(self._biases()[0], gate)
        return getattr(gru_gates(self._first().weight_ih if symbol == "W" else self._first().weight_hh, symbol), gate)

    return property(read, doc=f"{symbol}_{gate} of the first layer, read-only.")


class _GRU(_Recurrent):
    State = RNNState
    gates = 3
    equation = "r_t = σ(W_r x_t + U_r h_{t-1} + b_r)"
    first_weight = "W_r"
    reset_after: bool

    W_r, W_z, W_n = (_gru_symbol("W", gate) for gate in "rzn")
    U_r, U_z, U_n = (_gru_symbol("U", gate) for gate in "rzn")
    b_r, b_z, b_n = (_gru_symbol("b", gate) for gate in "rzn")

    @property
    def b_hn(self) -> Tensor:
        """b_hn of the first layer, read-only: the bias that r_t resets too."""
        if not self.reset_after:
            raise AttributeError(f"{type(self).__name__}: with reset_after=False there is no b_hn, only b_n")
        return self._biases()[1]

    def _biases(self) -> tuple[GRUGates, Any]:
        _, _, b_ih, b_hh = self._first()
        return gru_biases(b_ih, b_hh) if self.reset_after else (gru_gates(b_ih + b_hh, "b"), None)


class GRU(_GRU, _Layer):
    """The gated recurrent unit, in two conventions.

        r_t = σ(W_r x_t + U_r h_{t-1} + b_r)        how much of the old state the candidate sees
        z_t = σ(W_z x_t + U_z h_{t-1} + b_z)        how much of the old state stays
        n_t = tanh(W_n x_t + b_n + r_t ⊙ (U_n h_{t-1} + b_hn))      reset_after=True: PyTorch, cuDNN
        n_t = tanh(W_n x_t + U_n (r_t ⊙ h_{t-1}) + b_n)             reset_after=False: Cho et al., 2014
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}       z_t multiplies the old state, in both

    Shapes: x (B, T, D) -> out (B, T, H · directions), h_n (layers · directions, B, H); B batch, T time, D input_size,
    H hidden_size.

    Parameters, for layer k (and with the suffix _reverse for the other direction): weight_ih_lk (3H, D), weight_hh_lk
    (3H, H), bias_ih_lk and bias_hh_lk (3H,), gates stacked r, z, n; at first uniform within ± 1/√H. The symbols of the
    first layer can be read: `gru.W_z`, `gru.U_z`; `gru.b_r` and `gru.b_z` are sums of the two biases, `gru.b_n` and
    `gru.b_hn` stay apart (with reset_after=False, b_n is the sum too).

    Sources: Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder for Statistical Machine
    Translation", 2014; reset after the product: cuDNN, then PyTorch.

    Args:
        num_layers: each layer reads the outputs of the one below.
        reset_after: whether r_t acts after the product with U_n, or on h_{t-1} before it.
        bidirectional: a second GRU reads from the end; outputs are [forward; backward].
        dropout: the probability of a zero between layers, in training.
        learn_state: the state before the first step is a parameter, h_0 (layers · directions, H), at first 0.

    Calling it:
        x: (B, T, D).
        state: h before the first step, (layers · directions, B, H); zeros, or the learned one, if not given.
        lengths: (B,) integers from 1 to T, for padded batches: `out` is 0 beyond each end, the final state is that of
            each sequence's last step, and the other direction starts there.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> gru = ts.nn.GRU(3, 5)
    >>> out, h_n = gru(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, h_n.shape, gru.W_z.shape
    ((1, 2, 5), (1, 1, 5), (5, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        learn_state: bool = False,
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            learn_state=learn_state,
        )

    def _over_time(self, weights: Weights, state: Any, x: Tensor, reverse: bool, lengths: Any) -> tuple[Tensor, Any]:
        W, U, b_ih, b_hh = weights
        if self.reset_after:
            out, h = ops.gru(x, state.h, W, U, b_ih, b_hh, reverse=reverse, lengths=lengths)
        else:
            out, h = ops.gru_cho(x, state.h, W, U, b_ih + b_hh, reverse=reverse, lengths=lengths)
        return out, RNNState(h)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class GRUCell(_GRU, _Cell):
    """One step of a GRU, for loops of one's own; its equations are those of `GRU`.

    Shapes: x_t (B, D), h (B, H) -> h_t (B, H). Parameters as GRU's, without suffix: weight_ih (3H, D), weight_hh
    (3H, H), bias_ih and bias_hh (3H,).

    Args:
        reset_after: whether r_t acts after the product with U_n, or on h_{t-1} before it.

    Calling it:
        x_t: (B, D); h: (B, H), zeros if not given.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.
        TypeError: where the state is of another kind.

    >>> import tinygrad_seq as ts
    >>> cell, h = ts.nn.GRUCell(3, 5), None
    >>> for x_t in ts.ops.unstack(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), 1):
    ...     h = cell(x_t, h)
    >>> h.shape
    (1, 5)
    """

    def __init__(self, input_size: int, hidden_size: int, *, reset_after: bool = True) -> None:
        self.reset_after = reset_after
        super().__init__(input_size, hidden_size)

    def step(self, x_t: Tensor, state: RNNState) -> GRUStep:
        """All the symbols of one step: what `ops.scan` runs, with RNNState(h)."""
        W, U, _, _ = self._first()
        b, b_hn = self._biases()
        if self.reset_after:
            return ops.gru_step(x_t, state.h, gru_gates(W, "W"), gru_gates(U, "U"), b, b_hn)
        return ops.gru_cho_step(x_t, state.h, gru_gates(W, "W"), gru_gates(U, "U"), b)
