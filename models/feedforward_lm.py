"""A feed-forward language model: the last n words, each as a vector, and no memory of those before."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

import tinygrad_seq as ts

from .generation import Autoregressive


@dataclass(frozen=True)
class FeedForwardLMConfig:
    """The sizes of a feed-forward language model.

    Args:
        vocab_size: V, the number of symbols.
        window: n, how many symbols it sees; 1 is a bigram model.
        embedding_size: D, of each symbol's vector.
        hidden_size: H.

    Raises:
        ValueError: the window is below 1.
    """

    vocab_size: int
    window: int = 3
    embedding_size: int = 64
    hidden_size: int = 128

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"FeedForwardLMConfig: the window is at least 1 symbol, got {self.window}")


class FeedForwardLM(Autoregressive):
    """The probability of the next symbol, given the last n: the neural model with a fixed window.

        x_t = [E w_{t-n+1}; …; E w_t]                w one-hot, E the table of embeddings; zeros before the first symbol
        h_t = tanh(W_xh x_t + b_h)
        P(w_{t+1}) = softmax(W_hy h_t + b_y)

    What stands further back than n symbols has no influence at all. Compare `LanguageModel`, which has a memory.

    Shapes: tokens (B, T), integers -> logits (B, T, V); E (V, D), W_xh (H, n · D), b_h (H,), W_hy (V, H), b_y (V,).

    Source: Bengio, Ducharme, Vincent and Jauvin (2003), "A Neural Probabilistic Language Model", without its direct
    connections from x to the output, which are optional there.

    >>> model = FeedForwardLM(FeedForwardLMConfig(vocab_size=10, window=2, embedding_size=4, hidden_size=8))
    >>> model(ts.tensor([[1, 2, 3]])).shape, model.W_xh.shape
    ((1, 3, 10), (8, 8))
    """

    def __init__(self, config: FeedForwardLMConfig) -> None:
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.embedding_size)
        self.hidden = ts.nn.Linear(config.window * config.embedding_size, config.hidden_size)
        self.output = ts.nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, tokens: Any) -> ts.Tensor:
        n, e = self.config.window, self.embedding(tokens)
        T = e.shape[1]
        e = ts.ops.pad(e, ((0, 0), (n - 1, 0), (0, 0)))
        x = ts.ops.concatenate([e[:, k : k + T] for k in range(n)], axis=-1)  # (B, T, n · D)
        h = ts.ops.tanh(self.hidden(x))
        return self.output(h)

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        """The state is the window: the last n symbols, (B, n) or less."""
        seen = tokens if state is None else np.concatenate([state, tokens], axis=1)
        seen = seen[:, -self.config.window :]
        return self(seen)[:, -1], seen

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return state[rows]

    # The symbols of the equations.
    E = property(attrgetter("embedding.weight"), doc="The embeddings, (V, D).")
    W_xh = property(attrgetter("hidden.weight"))
    b_h = property(attrgetter("hidden.bias"))
    W_hy = property(attrgetter("output.weight"))
    b_y = property(attrgetter("output.bias"))
