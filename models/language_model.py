"""A recurrent language model: embedding, RNN, GRU or LSTM, and an output layer that shares the embedding's table."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts

from .generation import Autoregressive, rows_of
from .recurrent import recurrent


@dataclass(frozen=True)
class LanguageModelConfig:
    """The sizes of a recurrent language model.

    Args:
        vocab_size: V, the number of symbols.
        hidden_size: H, of the embedding and of the states alike, since they share a table with the output.
        num_layers: recurrent layers, one above the other.
        dropout: the probability of a zero, in training, on the embedding, between layers and before the output.
        cell: "lstm", "gru" or "rnn".
    """

    vocab_size: int
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    cell: str = "lstm"


class LMStep(NamedTuple):
    """The symbols of one step of an RNN language model."""

    e_t: Any  # (B, D), the vector of the word that was read
    h_t: Any  # (B, H), hidden state
    p: Any  # (B, V), the probability of each word that may come next


@ts.equations(
    "lm",
    e_t=r"e_t = E x_t",
    h_t=r"h_t = g(W_{hh} h_{t-1} + W_{he} e_t)",
    p=r"P(w_{t+1}) = \text{softmax}(W_{hy} h_t)",
)
def lm_step(
    x_t: Any, h_prev: Any, E: Any, W_he: Any, W_hh: Any, W_hy: Any, g: Callable[[Any], Any] = ts.ops.tanh
) -> LMStep:
    """One step of an RNN language model, as `LanguageModel` with the cell "rnn" takes it where its biases are 0.

    x_t: (B,), integers; h: (B, H); E: (V, D), the embeddings as rows; W_he: (H, D), W_hh: (H, H), W_hy: (V, H).
    """
    e_t = ts.ops.embedding(E, x_t)
    h_t = g(h_prev @ W_hh.T + e_t @ W_he.T)
    p = ts.ops.softmax(h_t @ W_hy.T)
    return LMStep(e_t, h_t, p)


class LanguageModel(Autoregressive):
    """The probability of the next symbol, given all before it.

        e_t = E x_t                                  x_t one-hot, E the table of embeddings
        h_t = g(W_hh h_{t-1} + W_he e_t + b_h)       the cell "rnn"; or an LSTM, or a GRU
        P(w_{t+1}) = softmax(W_hy h_t + b_y)         W_hy = E: weight tying (Press and Wolf, 2017)

    Shapes: tokens (B, T), integers -> logits (B, T, V) and the state after the last token, an LSTMState(h, c) or an
    RNNState(h), each (layers, B, H). The layer's path is the cell's name: `model.lstm.W_f`, `model.gru.W_z`.

    Source: Mikolov et al. (2010), "Recurrent neural network based language model".

    >>> model = LanguageModel(LanguageModelConfig(vocab_size=10, hidden_size=8))
    >>> logits, state = model(ts.tensor([[1, 2, 3]]))
    >>> logits.shape, state.h.shape
    ((1, 3, 10), (1, 1, 8))
    >>> model.W_hy is model.E
    True
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.hidden_size)
        # As small as the Linear's weight that it also is, it would be so faint an input that the LSTM learns slower:
        # after 400 steps of the demo's task at H 128, rate 0.008, the held-out loss was 2.07 that way, 1.58 this way.
        ts.nn.init.normal(self.embedding.weight, std=0.3)
        self.dropout = ts.nn.Dropout(config.dropout)
        layer = recurrent(
            config.cell, config.hidden_size, config.hidden_size, config.num_layers, dropout=config.dropout
        )
        setattr(self, config.cell, layer)
        self.output = ts.nn.Linear(config.hidden_size, config.vocab_size)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Any, state: Any = None) -> tuple[ts.Tensor, Any]:
        e = self.dropout(self.embedding(tokens))
        h, state = getattr(self, self.config.cell)(e, state)
        if self.config.cell != "lstm":
            state = ts.ops.RNNState(state)
        return self.output(self.dropout(h)), state

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        logits, state = self(tokens, state)
        return logits[:, -1], state

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return rows_of(state, rows, axis=1)

    # The chapter's symbols; those of the hidden state are the cell's, and here for "rnn", of the first layer.
    E = property(attrgetter("embedding.weight"), doc="The embeddings, (V, H).")
    W_he = property(attrgetter("rnn.W_xh"))
    W_hh = property(attrgetter("rnn.W_hh"))
    b_h = property(attrgetter("rnn.b_h"))
    W_hy = property(attrgetter("output.weight"), doc="The output layer's weight, (V, H): the embeddings.")
    b_y = property(attrgetter("output.bias"))
