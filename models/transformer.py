"""The Transformer for pairs: an encoder reads the source, a decoder writes the target, all by attention."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts

from .generation import SequenceToSequence
from .recurrent import within


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of a Transformer; but for the vocabularies, those of the paper's base model without more arguments.

    Args:
        source_vocab_size, target_vocab_size: V of the source and of the target.
        d_model: D, the width; nhead: heads of attention; dim_feedforward: the width of the network in each layer.
        num_layers: of the encoder and of the decoder.
        dropout: the probability of a zero, in training: of embeddings, of attention weights, in each layer's network,
            and of what it adds.
        max_len: the longest source and target.
        pad, bos, eos: symbols of the target: beyond its end, before its first symbol, after its last one.
    """

    source_vocab_size: int
    target_vocab_size: int
    d_model: int = 512
    nhead: int = 8
    num_layers: int = 6
    dim_feedforward: int = 2048
    dropout: float = 0.1
    max_len: int = 1024
    pad: int = 0
    bos: int = 1
    eos: int = 2


class TransformerState(NamedTuple):
    """What is known before the next symbol is written."""

    memory: ts.Tensor  # (B, S, D): the source, read
    mask: Any  # bool (B, 1, 1, S), which of it is no padding; or None
    cache: ts.nn.KVCache  # the target so far


class Transformer(SequenceToSequence):
    """Self-attention instead of recurrence: each symbol sees the whole source, and of the target all before it.

        x = √D E[source] + PE                          PE: sines and cosines of the position
        memory = Encoder(x)                            num_layers times: self-attention, then a small network
        y = √D E'[bos, y_1 … y_{i-1}] + PE
        s = Decoder(y, memory)                         causal self-attention, attention over memory, the network
        P(y_i) = softmax(W_o s_i + b_o)

    Shapes: source (B, S) and target_in (B, T), integers -> logits (B, T, V), at each place of what comes next.

    Training is by teacher forcing: the decoder reads the true symbols before, target_in, not its own, and all places
    are computed at once. `loss` does it; `generate` writes, with a cache of what was computed.

    Calling it:
        source_lengths: (B,) integers from 1 to S, for padded batches: padding is never attended to.
    Raises:
        ValueError: where a source or target is longer than max_len.

    Source: Vaswani et al., 2017. As PyTorch's, encoder and decoder end in a norm of their own; E and W_o are not tied.

    >>> model = Transformer(TransformerConfig(10, 7, d_model=8, nhead=2, num_layers=1, dim_feedforward=16))
    >>> model(ts.tensor([[4, 5, 6, 0]]), ts.tensor([[1, 3, 5]]), source_lengths=[3]).shape
    (1, 3, 7)
    """

    def __init__(self, config: TransformerConfig) -> None:
        self.config = config
        D = config.d_model
        self.source_embedding = ts.nn.Embedding(config.source_vocab_size, D)
        self.target_embedding = ts.nn.Embedding(config.target_vocab_size, D)
        for embedding in (self.source_embedding, self.target_embedding):
            ts.nn.init.normal(embedding.weight, D**-0.5)  # √D E is then as large as the positions
        self.positions = ts.nn.SinusoidalPositions(D, config.max_len)
        self.dropout = ts.nn.Dropout(config.dropout)
        self.layers = ts.nn.Transformer(
            D, config.nhead, config.num_layers, config.num_layers, config.dim_feedforward, dropout=config.dropout
        )
        self.output = ts.nn.Linear(D, config.target_vocab_size)

    def forward(self, source: Any, target_in: Any, source_lengths: Any = None) -> ts.Tensor:
        memory, mask, _ = self.encode(source, source_lengths)
        y = self._embed(self.target_embedding, target_in)
        return self.output(self.layers.decoder(y, memory, memory_mask=mask, causal=True))

    def _embed(self, embedding: ts.nn.Embedding, tokens: Any, start: int = 0) -> ts.Tensor:
        return self.dropout(self.positions(self.config.d_model**0.5 * embedding(tokens), start))

    def encode(self, source: Any, source_lengths: Any = None) -> TransformerState:
        """The source, read, and an empty target."""
        x = self._embed(self.source_embedding, source)
        mask = None if source_lengths is None else within(source_lengths, x)[:, None, None, :]
        return TransformerState(self.layers.encoder(x, mask), mask, ts.nn.KVCache())

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, TransformerState]:
        memory, mask, cache = state
        y = self._embed(self.target_embedding, tokens, len(cache))
        s = self.layers.decoder(y, memory, memory_mask=mask, causal=True, cache=cache)
        return self.output(s[:, -1]), state

    def select(self, state: Any, rows: np.ndarray) -> TransformerState:
        memory, mask, cache = state
        cache.select(rows)
        return TransformerState(memory[rows], None if mask is None else mask[rows], cache)
