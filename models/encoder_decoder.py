"""Encoder and decoder without attention: all that is known of the source passes through one vector of a fixed size."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

import tinygrad_seq as ts

from .generation import SequenceToSequence, rows_of
from .recurrent import recurrent


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """The sizes of an encoder–decoder.

    Args:
        source_vocab_size, target_vocab_size: V of the source and of the target.
        embedding_size: D, of each symbol's vector.
        hidden_size: H, the size of the vector between the two.
        num_layers: of the encoder and of the decoder; there is one vector for each.
        cell: "rnn", "gru" or "lstm", whose vector is the pair h, c.
        embedding_std: the deviation of the embeddings at first; smaller where words are many and most of them rare.
        pad, bos, eos: symbols of the target: beyond its end, before its first symbol, after its last one.
    """

    source_vocab_size: int
    target_vocab_size: int
    embedding_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    cell: str = "gru"
    pad: int = 0
    bos: int = 1
    eos: int = 2
    embedding_std: float = 1.0


class EncoderDecoder(SequenceToSequence):
    """One recurrent layer reads the source, another writes the target from the first one's last state.

        h_j = f(h_{j-1}, x_j)                    x_1 … x_S the source
        s_0 = h_S                                the bottleneck: H numbers, however long the source is
        s_i = f'(s_{i-1}, y_{i-1})               y_0 = bos
        P(y_i) = softmax(W_o s_i + b_o)

    Shapes: source (B, S) and target_in (B, T), integers -> logits (B, T, V), at each place of what comes next.

    Training is by teacher forcing: the decoder reads the true symbols before, target_in, not its own. `loss` does it;
    `generate` writes.

    Calling it:
        source_lengths: (B,) integers from 1 to S, for padded batches: h_S is the state after the true last symbol.

    Sources: Sutskever, Vinyals and Le, 2014; in Cho et al., 2014, the decoder reads h_S at every step besides.

    >>> model = EncoderDecoder(EncoderDecoderConfig(source_vocab_size=10, target_vocab_size=7))
    >>> model(ts.tensor([[4, 5, 6, 0]]), ts.tensor([[1, 3, 5]]), source_lengths=[3]).shape
    (1, 3, 7)
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        self.config = config
        sizes = (config.embedding_size, config.hidden_size, config.num_layers)
        self.source_embedding = ts.nn.Embedding(config.source_vocab_size, config.embedding_size)
        self.encoder = recurrent(config.cell, *sizes)
        self.target_embedding = ts.nn.Embedding(config.target_vocab_size, config.embedding_size)
        for embedding in (self.source_embedding, self.target_embedding):
            embedding.weight.data *= config.embedding_std  # drawn with deviation 1
        self.decoder = recurrent(config.cell, *sizes)
        self.output = ts.nn.Linear(config.hidden_size, config.target_vocab_size)

    def forward(self, source: Any, target_in: Any, source_lengths: Any = None) -> ts.Tensor:
        s, _ = self.decoder(self.target_embedding(target_in), self.encode(source, source_lengths))
        return self.output(s)

    def encode(self, source: Any, source_lengths: Any = None) -> Any:
        """The state after each source's last symbol, with which the decoder begins: (layers, B, H)."""
        _, h_S = self.encoder(self.source_embedding(source), lengths=source_lengths)
        return h_S

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        s, state = self.decoder(self.target_embedding(tokens), state)
        return self.output(s[:, -1]), state

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return rows_of(state, rows, axis=1)

    # The symbols of the equations.
    W_o = property(attrgetter("output.weight"), doc="(V, H).")
    b_o = property(attrgetter("output.bias"), doc="(V,).")
