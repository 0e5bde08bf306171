"""A sequence tagger: a label for each token, read off a recurrent layer that sees the whole sentence."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import tinygrad_seq as ts
from tinygrad_seq.nn import evaluating

from .recurrent import recurrent, within

NO_TAG = -1  # beyond the end of a sequence


@dataclass(frozen=True)
class TaggerConfig:
    """The sizes of a sequence tagger.

    Args:
        vocab_size: V, the number of symbols.
        num_tags: K, the number of labels.
        embedding_size: D, of each symbol's vector.
        hidden_size: H, of one direction.
        num_layers: recurrent layers, one above the other.
        cell: "lstm", "gru" or "rnn".
        bidirectional: whether a label may depend on what comes after its token.
        dropout: the probability of a zero, in training, on the embedding, between layers and before the output.
    """

    vocab_size: int
    num_tags: int
    embedding_size: int = 64
    hidden_size: int = 64
    num_layers: int = 1
    cell: str = "lstm"
    bidirectional: bool = True
    dropout: float = 0.0


class Tagger(ts.nn.Module):
    """Sequence labelling, many to many and aligned: "John loves New York" -> B-PER O B-LOC I-LOC.

        e_t = E x_t
        h_t = [→h_t; ←h_t]                    what an LSTM knows from the left, and one from the right
        P(tag_t) = softmax(W_hy h_t + b_y)    each tag by itself, given the sentence

    Shapes: tokens (B, T), integers -> logits (B, T, K); W_hy (K, 2H), or (K, H) with one direction; b_y (K,).

    Calling it:
        lengths: (B,) integers from 1 to T, for padded batches: padding changes no tag. Logits beyond the end are those
            of no token; `loss` and `predict` leave them out.

    Source: Graves and Schmidhuber (2005), "Framewise phoneme classification with bidirectional LSTM"; for words
    Huang, Xu and Yu (2015), without their CRF.

    >>> model = Tagger(TaggerConfig(vocab_size=10, num_tags=3, embedding_size=4, hidden_size=8))
    >>> model(ts.tensor([[4, 5, 6]])).shape, model.W_hy.shape
    ((1, 3, 3), (3, 16))
    """

    def __init__(self, config: TaggerConfig) -> None:
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = ts.nn.Dropout(config.dropout)
        self.encoder = recurrent(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.output = ts.nn.Linear(config.hidden_size * (2 if config.bidirectional else 1), config.num_tags)

    def forward(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        e = self.dropout(self.embedding(tokens))
        h, _ = self.encoder(e, lengths=lengths)
        return self.output(self.dropout(h))

    def loss(self, tokens: Any, tags: Any, lengths: Any = None) -> ts.Tensor:
        """The mean of -log P(tag) over all tags but padding, in nats.

        Args:
            tags: (B, T), integers from 0 to K - 1, and -1 beyond the end, as `data.pad_batch(tags, pad=-1)` gives them.
        """
        return ts.ops.cross_entropy(self(tokens, lengths), tags, ignore_index=NO_TAG)

    def predict(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        """The most likely tag of each token: (B, T), integers, -1 beyond the end."""
        with evaluating(self):
            logits = self(tokens, lengths)
        tags = logits.argmax(-1)
        return tags if lengths is None else ts.ops.where(within(lengths, logits), tags, NO_TAG)

    # The symbols of the equations.
    E = property(attrgetter("embedding.weight"), doc="The embeddings, (V, D).")
    W_hy = property(attrgetter("output.weight"))
    b_y = property(attrgetter("output.bias"))
