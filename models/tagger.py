"""A sequence tagger: a label for each token, read off a recurrent layer that sees the whole sentence."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import tinygrad_seq as ts
from tinygrad_seq.backend import backend_of
from tinygrad_seq.data import Words
from tinygrad_seq.nn import evaluating
from tinygrad_seq.ops.index import beside, integers

from .recurrent import check_word_dropout, drop_words, recurrent, within

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
        num_characters: the number of characters that words are spelled with; 0 for a tagger that does not look into
            words.
        character_size: of each character's vector, and of one direction of what is known of a word by its characters.
        word_dropout: the probability, in training, that a symbol is read as `unknown`: so the model learns what to do
            with one, from its characters and from its neighbours.
        unknown: the id of symbols that are not in the vocabulary.
        embedding_std: the deviation of the embeddings at first. Where words are many and most of them rare, a small one
            such as 0.1: what was hardly ever seen then says little, instead of something at random.
        crf: whether tags are judged together, by a conditional random field, and not each by itself.
        miss_cost: added in training to the score of the tag `outside` wherever another one is right. Where names are
            few, a tagger loses little by leaving them out: so it loses more, and finds more of them.
        outside: the tag of tokens that are in no name, "O".
    """

    vocab_size: int
    num_tags: int
    embedding_size: int = 64
    hidden_size: int = 64
    num_layers: int = 1
    cell: str = "lstm"
    bidirectional: bool = True
    dropout: float = 0.0
    num_characters: int = 0
    character_size: int = 32
    word_dropout: float = 0.0
    unknown: int = 3
    embedding_std: float = 1.0
    crf: bool = False
    miss_cost: float = 0.0
    outside: int = 0


class Tagger(ts.nn.Module):
    """Sequence labelling, many to many and aligned: "John loves New York" -> B-PER O B-LOC I-LOC.

        e_t = E x_t                           or, with characters, e_t = [E x_t; →g_C; ←g_1]
        h_t = [→h_t; ←h_t]                    what an LSTM knows from the left, and one from the right
        P(tag_t) = softmax(W_hy h_t + b_y)    each tag by itself, given the sentence

    g_1 … g_C are the states of an LSTM in each direction over the characters of the word: how it begins and ends is
    known of words that are new. With `crf` the scores W_hy h_t + b_y are the emissions of a conditional random field
    (`nn.CRF`), which knows besides which tag follows which, and all tags of a sentence are chosen together.

    Shapes: tokens (B, T), integers, or `data.Words` with characters -> scores (B, T, K); W_hy (K, 2H), or (K, H) with
    one direction; b_y (K,).

    Calling it:
        lengths: (B,) integers from 1 to T, for padded batches: padding changes no tag. Scores beyond the end are those
            of no token; `loss` and `predict` leave them out.
    Raises:
        ValueError: for a `word_dropout`, `miss_cost` or `outside` that is none.
        TypeError: for words without characters where it reads them, and the other way round.

    Source: Graves and Schmidhuber (2005), "Framewise phoneme classification with bidirectional LSTM"; with a CRF for
    words Huang, Xu and Yu (2015), with characters besides Lample et al. (2016), "Neural Architectures for Named Entity
    Recognition", whose word dropout is for rare words alone. For `miss_cost` Mohit et al. (2012), "Recall-oriented
    learning of named entities in Arabic Wikipedia".

    >>> model = Tagger(TaggerConfig(vocab_size=10, num_tags=3, embedding_size=4, hidden_size=8))
    >>> model(ts.tensor([[4, 5, 6]])).shape, model.W_hy.shape
    ((1, 3, 3), (3, 16))
    >>> model = Tagger(TaggerConfig(vocab_size=10, num_tags=3, num_characters=9, crf=True))
    >>> words, lengths = ts.data.pad_words([[4, 3], [5]], [[[7, 8], [4, 6, 6]], [[5, 7, 8]]])
    >>> model.predict(words, lengths).shape
    (2, 2)
    """

    def __init__(self, config: TaggerConfig) -> None:
        check_word_dropout("Tagger", config.word_dropout)
        if config.miss_cost < 0 or not 0 <= config.outside < config.num_tags:
            raise ValueError(
                "Tagger: expected miss_cost of at least 0 and outside, a tag, from 0 to "
                f"{config.num_tags - 1}, got {config.miss_cost} and {config.outside}"
            )
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.embedding_size)
        ts.nn.init.normal(self.embedding.weight, config.embedding_std)
        self.spelling = Spelling(config) if config.num_characters else None
        self.dropout = ts.nn.Dropout(config.dropout)
        self.encoder = recurrent(
            config.cell,
            config.embedding_size + (2 * config.character_size if config.num_characters else 0),
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.output = ts.nn.Linear(config.hidden_size * (2 if config.bidirectional else 1), config.num_tags)
        self.crf = ts.nn.CRF(config.num_tags) if config.crf else None

    def forward(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        e = self.dropout(self.embed(tokens))
        h, _ = self.encoder(e, lengths=lengths)
        return self.output(self.dropout(h))

    def embed(self, tokens: Any) -> ts.Tensor:
        """The vector of each token, (B, T, …), made of its word and of its characters."""
        if isinstance(tokens, Words) != (self.spelling is not None):
            raise TypeError(
                f"Tagger: with num_characters={self.config.num_characters} expected tokens that are "
                f"{'data.Words' if self.spelling is not None else 'ids'}, got {type(tokens).__name__}"
            )
        ids = tokens.ids if self.spelling is not None else tokens
        if self.training and self.config.word_dropout:
            ids = drop_words("Tagger", ids, self.E, self.config.word_dropout, self.config.unknown)
        e = self.embedding(ids)
        if self.spelling is None:
            return e
        return ts.ops.concatenate([e, ts.ops.embedding(self.spelling(tokens.characters), tokens.spelling)], -1)

    def loss(self, tokens: Any, tags: Any, lengths: Any = None) -> ts.Tensor:
        """The mean over all tags but padding of -log P(tag), in nats; with a CRF -log P(tags) of all, by their number.

        Args:
            tags: (B, T), integers from 0 to K - 1, and -1 beyond the end, as `data.pad_batch(tags, pad=-1)` gives them.
        """
        scores = self(tokens, lengths)
        if self.training and self.config.miss_cost:
            scores = scores + self._cost(tags)
        if self.crf is not None:
            return self.crf.loss(scores, tags, lengths)
        return ts.ops.cross_entropy(scores, tags, ignore_index=NO_TAG)

    def _cost(self, tags: Any) -> Any:
        """(B, T, K): `miss_cost` at `outside` where another tag is right, else 0."""
        outside, table = self.config.outside, self.E
        right = beside(table, integers("Tagger", tags))
        cost = backend_of(right).xp.zeros((*right.shape, self.config.num_tags), table.dtype)
        cost[..., outside] = self.config.miss_cost * ((right != outside) & (right != NO_TAG))
        return cost

    def predict(self, tokens: Any, lengths: Any = None) -> ts.Tensor:
        """The most likely tag of each token, with a CRF the most likely tags of each sentence: (B, T), integers.

        -1 beyond the end.
        """
        with evaluating(self):
            scores = self(tokens, lengths)
            if self.crf is not None:
                return self.crf.decode(scores, lengths)
        tags = scores.argmax(-1)
        return tags if lengths is None else ts.ops.where(within(lengths, scores), tags, NO_TAG)

    # The symbols of the equations.
    E = property(attrgetter("embedding.weight"), doc="The embeddings, (V, D).")
    W_hy = property(attrgetter("output.weight"))
    b_y = property(attrgetter("output.bias"))


class Spelling(ts.nn.Module):
    """What is known of words by their characters: the last states of an LSTM in each direction, side by side.

    Shapes: characters (W, C), integers, 0 beyond the end of a word -> (W, 2 · character_size).

    >>> Spelling(TaggerConfig(10, 3, num_characters=9))(ts.tensor([[7, 8, 0], [4, 6, 6]])).shape
    (2, 64)
    """

    def __init__(self, config: TaggerConfig) -> None:
        size = config.character_size
        self.embedding = ts.nn.Embedding(config.num_characters, size)
        ts.nn.init.normal(self.embedding.weight, config.embedding_std)
        self.encoder = recurrent(config.cell, size, size, 1, bidirectional=True)

    def forward(self, characters: Any) -> ts.Tensor:
        characters = beside(self.embedding.weight, integers("Spelling", characters))
        _, state = self.encoder(self.embedding(characters), lengths=(characters != 0).sum(-1))
        g = state.h if isinstance(state, ts.ops.LSTMState) else state  # (2, W, …)
        return ts.ops.concatenate([g[0], g[1]], -1)
