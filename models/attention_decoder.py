"""Encoder and decoder with attention: the decoder looks at all states of the encoder before each symbol it writes."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.backend import backend_of

from .generation import SequenceToSequence, rows_of
from .recurrent import recurrent, within


@dataclass(frozen=True)
class AttentionDecoderConfig:
    """The sizes of an encoder–decoder with attention.

    Args:
        source_vocab_size, target_vocab_size: V of the source and of the target.
        embedding_size: D, of each symbol's vector.
        hidden_size: H, of the decoder's state and of an encoder state [→h_j; ←h_j], so an even number.
        score: how well an encoder state fits the decoder's: "dot", "scaled_dot", "bilinear" or "mlp".
        order: "bahdanau": attention first, scored by s_{i-1}; "luong": the cell first, attention scored by the new s_i.
        cell: "rnn", "gru" or "lstm".
        embedding_std: the deviation of the embeddings at first; smaller where words are many and most of them rare.
        pad, bos, eos: symbols of the target: beyond its end, before its first symbol, after its last one.
    """

    source_vocab_size: int
    target_vocab_size: int
    embedding_size: int = 64
    hidden_size: int = 128
    score: str = "mlp"
    order: str = "bahdanau"
    cell: str = "gru"
    pad: int = 0
    bos: int = 1
    eos: int = 2
    embedding_std: float = 1.0


class Memory(NamedTuple):
    """The encoded source, which the decoder looks at."""

    h: ts.Tensor  # (B, S, H)
    mask: ts.Tensor | None  # (B, S), where the source has symbols
    keys: ts.Tensor | None  # W_2 h of the MLP score, (B, S, H)


class Reading(NamedTuple):
    """What is carried from one written symbol to the next."""

    memory: Memory
    s: Any  # the cell's state, each (B, H)


class DecoderStep(NamedTuple):
    """The symbols of one step of the decoder; over time (B, T, …)."""

    score: Any  # e_ij, (B, S)
    alpha: Any  # α_ij, (B, S): the alignment
    context: Any  # c_i, (B, H)
    output_t: Any  # (B, H), from which y_i is predicted
    h_t: Any  # (B, H), the cell's state


class LSTMDecoderStep(NamedTuple):
    """The same, where the cell is an LSTM."""

    score: Any
    alpha: Any
    context: Any
    output_t: Any
    h_t: Any
    c_t: Any  # (B, H)


class AttentionDecoder(SequenceToSequence):
    """A bidirectional layer reads the source; the decoder looks at all its states before each symbol it writes.

        h_j = [→h_j; ←h_j]                       x_1 … x_S the source
        s_0 = tanh(W_s [→h_S; ←h_1] + b_s)
        e_ij = score(s_{i-1}, h_j)               order "bahdanau"
        α_ij = exp(e_ij) / Σ_k exp(e_ik)
        c_i = Σ_j α_ij h_j
        s_i = f(s_{i-1}, y_{i-1}, c_i)           y_0 = bos
        P(y_i) = softmax(W_o s_i + b_o)

    In Luong's order the new state asks:

        s_i = f(s_{i-1}, y_{i-1})                order "luong"
        e_ij = score(s_i, h_j), α_ij and c_i as above
        s̃_i = tanh(W_c [c_i; s_i])
        P(y_i) = softmax(W_o s̃_i + b_o)

    Shapes: source (B, S) and target_in (B, T), integers -> logits (B, T, V), at each place of what comes next.

    Training is by teacher forcing: the decoder reads the true symbols before, target_in, not its own. `loss` does it;
    `generate` writes. `ts.record()` gives the alignment: `r["attention"].alpha`, (B, T, S); of what `generate` writes
    symbol by symbol, `r["attention"][i].alpha`, (B, 1, S). An LSTM's c_0 is 0.

    Calling it:
        source_lengths: (B,) integers from 1 to S, for padded batches: nothing is read or looked at beyond the end.

    Sources: Bahdanau, Cho and Bengio, 2015, whose s_0 is made from ←h_1 alone, and whose P(y_i) has a maxout layer that
    reads s_{i-1}, y_{i-1} and c_i; Luong, Pham and Manning, 2015, without feeding s̃_{i-1} to the cell.

    >>> model = AttentionDecoder(AttentionDecoderConfig(source_vocab_size=10, target_vocab_size=7))
    >>> with ts.record() as r:
    ...     logits = model(ts.tensor([[4, 5, 6, 0]]), ts.tensor([[1, 3]]), source_lengths=[3])
    >>> logits.shape, r["attention"].alpha.shape
    ((1, 2, 7), (1, 2, 4))
    """

    def __init__(self, config: AttentionDecoderConfig) -> None:
        self.config = config
        D, H = config.embedding_size, config.hidden_size
        if H % 2:
            raise ValueError(f"AttentionDecoder: hidden_size is even, for two directions of half of it, got {H}")
        if config.order not in ("bahdanau", "luong"):
            raise ValueError(f"AttentionDecoder: expected an order that is bahdanau or luong, got {config.order!r}")
        self.source_embedding = ts.nn.Embedding(config.source_vocab_size, D)
        self.encoder = recurrent(config.cell, D, H // 2, 1, bidirectional=True)
        self.bridge = ts.nn.Linear(H, H)
        self.target_embedding = ts.nn.Embedding(config.target_vocab_size, D)
        for embedding in (self.source_embedding, self.target_embedding):
            embedding.weight.data *= config.embedding_std  # drawn with deviation 1
        self.attention = ts.nn.Attention(new_score(config.score, H))
        if config.order == "bahdanau":
            self.cell = new_cell(config.cell, D + H, H)
        else:
            self.cell = new_cell(config.cell, D, H)
            self.combine = ts.nn.Linear(2 * H, H, bias=False)
        self.output = ts.nn.Linear(H, config.target_vocab_size)

    def forward(self, source: Any, target_in: Any, source_lengths: Any = None) -> ts.Tensor:
        symbols, _ = self.decode(target_in, self.encode(source, source_lengths))
        return self.output(symbols.output_t)

    def encode(self, source: Any, source_lengths: Any = None) -> Reading:
        """The encoder's states, and the decoder's first."""
        h, ends = self.encoder(self.source_embedding(source), lengths=source_lengths)
        h_S, h_1 = ts.ops.unstack(h_of(ends), 0)
        s_0 = ts.ops.tanh(self.bridge(ts.ops.concatenate([h_S, h_1], -1)))
        mask = None if source_lengths is None else ts.Tensor(within(source_lengths, h))
        score = self.attention.score
        keys = score.keys(h) if isinstance(score, ts.nn.MLPScore) else None
        if self.config.cell == "lstm":
            return Reading(Memory(h, mask, keys), ts.ops.LSTMState(s_0, zeros_like(s_0)))
        return Reading(Memory(h, mask, keys), ts.ops.RNNState(s_0))

    def decode(self, target_in: Any, reading: Reading) -> tuple[Any, Reading]:
        """The symbols of each step, over time, and what is carried on."""
        memory, s_0 = reading
        y = self.target_embedding(target_in)
        kind = self.config.score, self.config.order, self.config.cell
        hooked = any(part.has_hooks for part in (self.attention, self.attention.score, self.cell))
        if y.shape[1] > 1 and kind == ("mlp", "bahdanau", "gru") and not hooked:  # a hook is called at each step
            symbols = self._decode_at_once(y, memory, s_0)
            return symbols, Reading(memory, ts.ops.RNNState(symbols.h_t[:, -1]))
        symbols, s_T = ts.ops.scan(lambda y_prev, s_prev: self.decoder_step(y_prev, s_prev, memory), s_0, y)
        return symbols, Reading(memory, s_T)

    def _decode_at_once(self, y: ts.Tensor, memory: Memory, s_0: Any) -> DecoderStep:
        """The same by one operation, whose kernel arranges the weights for many steps."""
        score, cell = self.attention.score, self.cell
        weights = score.W_1, score.v, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
        parts = ts.ops.DecoderParts(self.attention, score, cell)
        h, mask, keys = memory
        symbols = ts.ops.gru_attention_decoder(y, s_0.h, h, keys, *weights, mask=mask, parts=parts)
        return DecoderStep(*symbols, symbols.h_t)

    def decoder_step(self, y_prev: ts.Tensor, s_prev: Any, memory: Memory) -> DecoderStep | LSTMDecoderStep:
        """One step.  y_prev: (B, D), the vector of the symbol before."""
        if self.config.order == "bahdanau":
            attended = self.attention(s_prev.h, *memory)
            s = ts.ops.attention_state(self._f, s_prev, y_prev, attended.context).state
            output = h_of(s)
        else:
            s = ts.ops.luong_state(self._f, s_prev, y_prev).state
            attended = self.attention(h_of(s), *memory)
            output = ts.ops.luong_output(attended.context, h_of(s), self.W_c).output_t
        seen = attended.score, attended.alpha, attended.context
        if isinstance(s, ts.ops.LSTMState):
            return LSTMDecoderStep(*seen, output, s.h, s.c)
        return DecoderStep(*seen, output, s)

    def _f(self, s_prev: Any, *inputs: ts.Tensor) -> Any:
        """The cell, which reads what it is given side by side: [y_{i-1}; c_i], or y_{i-1} alone."""
        x = inputs[0] if len(inputs) == 1 else ts.ops.concatenate(inputs, -1)
        return self.cell(x, s_prev if self.config.cell == "lstm" else s_prev.h)

    def step(self, tokens: np.ndarray, state: Reading) -> tuple[ts.Tensor, Reading]:
        symbols, state = self.decode(tokens, state)
        return self.output(symbols.output_t[:, -1]), state

    def select(self, state: Reading, rows: np.ndarray) -> Reading:
        return rows_of(state, rows)

    # The symbols of the equations; those of the score and of f are `attention.score`'s and `cell`'s.
    W_s = property(attrgetter("bridge.weight"), doc="(H, H).")
    b_s = property(attrgetter("bridge.bias"), doc="(H,).")
    W_c = property(attrgetter("combine.weight"), doc="(H, 2H), in Luong's order.")
    W_o = property(attrgetter("output.weight"), doc="(V, H).")
    b_o = property(attrgetter("output.bias"), doc="(V,).")


def new_score(name: str, H: int) -> Any:
    """A score of states that have H numbers each."""
    scores = {
        "dot": ts.nn.DotScore,
        "scaled_dot": ts.nn.ScaledDotScore,
        "bilinear": lambda: ts.nn.BilinearScore(H, H),
        "mlp": lambda: ts.nn.MLPScore(H, H, H),
    }
    if name not in scores:
        raise ValueError(f"AttentionDecoder: expected a score that is one of {', '.join(scores)}, got {name!r}")
    return scores[name]()


def new_cell(name: str, input_size: int, hidden_size: int) -> Any:
    """One step of what `recurrent` runs over time; an LSTM's forget gates are open here too."""
    cell = {"rnn": ts.nn.RNNCell, "gru": ts.nn.GRUCell, "lstm": ts.nn.LSTMCell}[name](input_size, hidden_size)
    if name == "lstm":
        ts.nn.init.lstm_forget_bias(cell)
    return cell


def h_of(s: Any) -> ts.Tensor:
    """The part of a cell's state that others see."""
    return s.h if isinstance(s, ts.ops.LSTMState) else s


def zeros_like(x: ts.Tensor) -> ts.Tensor:
    return ts.Tensor(backend_of(x.data).xp.zeros_like(x.data))
