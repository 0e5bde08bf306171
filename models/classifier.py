"""A sequence classifier: one label for a whole sentence, read off the states of a recurrent layer."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.nn import evaluating

from .recurrent import check_word_dropout, drop_words, recurrent, within

POOLINGS = ("last", "mean", "max", "attention")


@dataclass(frozen=True)
class ClassifierConfig:
    """The sizes of a sequence classifier.

    Args:
        vocab_size: V, the number of symbols.
        num_classes: K, the number of labels.
        embedding_size: D, of each symbol's vector.
        hidden_size: H, of one direction.
        num_layers: recurrent layers, one above the other.
        pooling: how the states become one vector: "last", "mean", "max" or "attention".
        cell: "lstm", "gru" or "rnn".
        bidirectional: whether a second layer reads from the end.
        dropout: the probability of a zero, in training, on the embedding, between layers and before the output.
        word_dropout: the probability, in training, that a symbol is read as `unknown`: no single word may decide.
        unknown: the id of symbols that are not in the vocabulary.
        embedding_std: the deviation of the embeddings at first. Where words are many and most of them rare, a small one
            such as 0.1: what was hardly ever seen then says little, instead of something at random.

    Raises:
        ValueError: for another pooling.
    """

    vocab_size: int
    num_classes: int
    embedding_size: int = 64
    hidden_size: int = 64
    num_layers: int = 1
    pooling: str = "last"
    cell: str = "lstm"
    bidirectional: bool = True
    dropout: float = 0.0
    word_dropout: float = 0.0
    unknown: int = 3
    embedding_std: float = 1.0

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"ClassifierConfig: pooling is one of {', '.join(POOLINGS)}, got {self.pooling!r}")


class Classifier(ts.nn.Module):
    """Sequence classification, many to one: "This movie was great!" -> POSITIVE.

        e_t = E x_t
        h_t = [→h_t; ←h_t]                                an LSTM in each direction
        c = [→h_T; ←h_1]                                  "last": the state after the last step of either
          = Σ_t h_t / T                                   "mean"
          = max_t h_t                                     "max", each component by itself
          = Σ_t α_t h_t,  α = softmax_t(sᵀ h_t)           "attention", with a learned s in place of a decoder's state
        P(class) = softmax(W_hy c + b_y)

    Shapes: tokens (B, T), integers -> logits (B, K); s (2H,), W_hy (K, 2H), or H with one direction; b_y (K,).
    s begins at 0: attention begins as the mean.

    Calling it:
        lengths: (B,) integers from 1 to T, for padded batches: padding is never seen.

    Sources: max: Collobert and Weston (2008); attention: Yang et al. (2016), "Hierarchical Attention Networks", here
    with the dot product as the score.

    >>> model = Classifier(ClassifierConfig(vocab_size=10, num_classes=2, hidden_size=8, pooling="attention"))
    >>> model(ts.tensor([[4, 5, 6], [7, 0, 0]]), lengths=[3, 1]).shape, model.s.shape
    ((2, 2), (16,))
    """

    def __init__(self, config: ClassifierConfig) -> None:
        check_word_dropout("Classifier", config.word_dropout)
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.embedding_size)
        ts.nn.init.normal(self.embedding.weight, config.embedding_std)
        self.dropout = ts.nn.Dropout(config.dropout)
        self.encoder = recurrent(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        width = config.hidden_size * (2 if config.bidirectional else 1)
        if config.pooling == "attention":
            self.s = ts.nn.Parameter(np.zeros(width, np.float32))
            self.attention = ts.nn.Attention(ts.nn.DotScore())
        self.output = ts.nn.Linear(width, config.num_classes)

    def forward(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        if self.training and self.config.word_dropout:
            tokens = drop_words("Classifier", tokens, self.E, self.config.word_dropout, self.config.unknown)
        e = self.dropout(self.embedding(tokens))
        h, state = self.encoder(e, lengths=lengths)  # (B, T, 2H), 0 beyond the end of a sequence
        return self.output(self.dropout(self.pool(h, state, lengths)))

    def pool(self, h: ts.Tensor, state: Any, lengths: Any) -> ts.Tensor:
        """One vector for each sequence: (B, 2H)."""
        inside = None if lengths is None else within(lengths, h)
        match self.config.pooling:
            case "last":
                h_n = state.h if isinstance(state, ts.ops.LSTMState) else state  # (layers · directions, B, H)
                return ts.ops.concatenate([h_n[-2], h_n[-1]], axis=-1) if self.config.bidirectional else h_n[-1]
            case "mean":
                return h.mean(1) if inside is None else h.sum(1) / inside.sum(1, keepdims=True, dtype=h.dtype)
            case "max":
                return (h if inside is None else ts.ops.where(inside[..., None], h, -np.inf)).max(1)
            case _:
                return self.attention(ts.ops.broadcast_to(self.s, (len(h), *self.s.shape)), h, inside).context

    def loss(self, tokens: Any, classes: Any, lengths: Any = None) -> ts.Tensor:
        """The mean of -log P(class) in nats; classes: (B,), integers from 0 to K - 1."""
        return ts.ops.cross_entropy(self(tokens, lengths), classes)

    def predict(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        """The most likely class of each sequence: (B,), integers."""
        with evaluating(self):
            return self(tokens, lengths).argmax(-1)

    # The symbols of the equations.
    E = property(attrgetter("embedding.weight"), doc="The embeddings, (V, D).")
    W_hy = property(attrgetter("output.weight"))
    b_y = property(attrgetter("output.bias"))
