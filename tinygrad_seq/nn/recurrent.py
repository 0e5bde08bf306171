"""Recurrent layers over batches of sequences. PyTorch's parameter names, shapes and gate order; batch first."""

from typing import Any

from .. import ops
from ..backend import backend_of
from ..core import Parameter, Tensor, value
from ..ops.recurrent import LSTMState, checked_lengths, lstm_gates
from . import init
from .layers import new_parameter
from .module import Module


def _symbol(parameter: str, symbol: str, gate: str) -> property:
    def read(self: "LSTM") -> Tensor:
        return getattr(lstm_gates(self.parameter_of(parameter), symbol), gate)

    return property(read, doc=f"{symbol}_{gate} of the first layer, read-only.")


class LSTM(Module):
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

    Calling it:
        x: (B, T, D).
        state: LSTMState(h, c), each (layers · directions, B, H); zeros if not given.
        lengths: (B,) integers from 1 to T, for padded batches: `out` is 0 beyond each end, the final state is that of
            each sequence's last step, and the other direction starts there.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> out, (h_n, c_n) = lstm(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> out.shape, h_n.shape, lstm.W_f.shape
    ((1, 2, 5), (1, 1, 5), (5, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"LSTM: num_layers is at least 1, got {num_layers}")
        if not 0 <= dropout < 1:
            raise ValueError(f"LSTM: dropout is a probability, 0 <= dropout < 1, got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.dropout = bidirectional, dropout
        for suffix, size in self._directions():
            shapes = {
                "weight_ih": (4 * hidden_size, size),
                "weight_hh": (4 * hidden_size, hidden_size),
                "bias_ih": (4 * hidden_size,),
                "bias_hh": (4 * hidden_size,),
            }
            for name, shape in shapes.items():
                p = new_parameter(*shape)
                bound = hidden_size**-0.5
                init.uniform(p, -bound, bound)
                setattr(self, f"{name}_{suffix}", p)

    def _directions(self) -> list[tuple[str, int]]:
        """(suffix of the parameters' names, input size) of each layer and direction, in the order of h_n."""
        wide = self.hidden_size * (2 if self.bidirectional else 1)
        ends = ["", "_reverse"] if self.bidirectional else [""]
        return [(f"l{k}{end}", wide if k else self.input_size) for k in range(self.num_layers) for end in ends]

    def forward(
        self, x: Tensor, state: LSTMState | tuple[Tensor, Tensor] | None = None, lengths: Any = None
    ) -> tuple[Tensor, LSTMState]:
        if x.ndim != 3 or x.shape[-1] != self.input_size:
            raise ValueError(
                f"LSTM: f_t = σ(W_f x_t + U_f h_{{t-1}} + b_f) with W_f {(self.hidden_size, self.input_size)}: "
                f"expected x of shape (B, T, {self.input_size}), got {x.shape}"
            )
        directions = self._directions()
        h_0, c_0 = self._zero_state(x, len(directions)) if state is None else state
        expected = (len(directions), x.shape[0], self.hidden_size)
        for name, s in (("h", h_0), ("c", c_0)):
            if s.shape != expected:
                raise ValueError(
                    f"LSTM: expected {name} of shape (layers · directions, B, H) = {expected}, got {s.shape}"
                )
        if lengths is not None:
            lengths = checked_lengths(lengths, x)
        per_layer = 2 if self.bidirectional else 1
        last: list[LSTMState] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = ops.dropout(x, self.dropout)
            outputs = []
            for k in range(layer * per_layer, (layer + 1) * per_layer):
                suffix = directions[k][0]
                W, U, b_ih, b_hh = (
                    getattr(self, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                out, final = ops.lstm(
                    x, h_0[k], c_0[k], W, U, b_ih + b_hh, reverse=suffix.endswith("reverse"), lengths=lengths
                )
                outputs.append(out)
                last.append(final)
            x = outputs[0] if per_layer == 1 else ops.concatenate(outputs, axis=-1)
        return x, LSTMState(*(ops.stack(field, 0) for field in zip(*last, strict=True)))

    def _zero_state(self, x: Tensor, n: int) -> LSTMState:
        zeros = backend_of(value(x)).xp.zeros((n, x.shape[0], self.hidden_size), x.dtype)
        return LSTMState(Tensor(zeros), Tensor(zeros))

    def parameter_of(self, name: str) -> Tensor:
        """A parameter of the first layer; "bias" is the sum of the two that PyTorch keeps."""
        if name == "bias":
            return self._first("bias_ih") + self._first("bias_hh")
        return self._first(name)

    def _first(self, name: str) -> Parameter:
        return getattr(self, f"{name}_l0")

    W_i, W_f, W_c, W_o = (_symbol("weight_ih", "W", gate) for gate in "ifco")
    U_i, U_f, U_c, U_o = (_symbol("weight_hh", "U", gate) for gate in "ifco")
    b_i, b_f, b_c, b_o = (_symbol("bias", "b", gate) for gate in "ifco")

    def extra_repr(self) -> str:
        more = [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        more += ["bidirectional=True"] if self.bidirectional else []
        more += [f"dropout={self.dropout}"] if self.dropout else []
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *more])
