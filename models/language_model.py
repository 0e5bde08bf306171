"""A recurrent language model: embedding, LSTM, and an output layer that shares the embedding's table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.core.random import numpy_generator


@dataclass(frozen=True)
class LanguageModelConfig:
    """The sizes of a recurrent language model.

    Args:
        vocab_size: V, the number of symbols.
        hidden_size: H, of the embedding and of the LSTM alike, since they share a table with the output.
        num_layers: LSTMs, one above the other.
        dropout: the probability of a zero, in training, on the embedding, between layers and before the output.
    """

    vocab_size: int
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0


class LanguageModel(ts.nn.Module):
    """The probability of the next symbol, given all before it.

        e_t = E x_t                          x_t one-hot, E the table of embeddings
        h_t = LSTM(e_t, h_{t-1})
        P(x_{t+1}) = softmax(E h_t + b)      the same table again: weight tying (Press and Wolf, 2017)

    Shapes: tokens (B, T), integers -> logits (B, T, V) and the state after the last token.

    >>> model = LanguageModel(LanguageModelConfig(vocab_size=10, hidden_size=8))
    >>> logits, state = model(ts.tensor([[1, 2, 3]]))
    >>> logits.shape, state.h.shape
    ((1, 3, 10), (1, 1, 8))
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        self.config = config
        self.embedding = ts.nn.Embedding(config.vocab_size, config.hidden_size)
        # As small as the Linear's weight that it also is, it would be so faint an input that the LSTM learns slower:
        # after 400 steps of the demo's task at H 128, rate 0.008, the held-out loss was 2.07 that way, 1.58 this way.
        ts.nn.init.normal(self.embedding.weight, std=0.3)
        self.dropout = ts.nn.Dropout(config.dropout)
        self.lstm = ts.nn.LSTM(config.hidden_size, config.hidden_size, config.num_layers, dropout=config.dropout)
        ts.nn.init.lstm_forget_bias(self.lstm)
        self.output = ts.nn.Linear(config.hidden_size, config.vocab_size)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Any, state: ts.ops.LSTMState | None = None) -> tuple[ts.Tensor, ts.ops.LSTMState]:
        e = self.dropout(self.embedding(tokens))
        h, state = self.lstm(e, state)
        return self.output(self.dropout(h)), state

    def generate(self, prompt: Sequence[int] | np.ndarray, n: int, *, temperature: float = 1.0) -> list[int]:
        """n symbols that follow the prompt, each drawn from the model's distribution given all before it.

        Args:
            prompt: at least one symbol.
            temperature: logits are divided by it; below 1 the likely becomes more likely, near 0 it is certain.
        """
        if not len(prompt):
            raise ValueError("generate: the prompt needs at least one symbol")
        if temperature <= 0:
            raise ValueError(f"generate: the temperature is above 0, got {temperature}")
        rng, was_training = numpy_generator(), self.training
        self.eval()
        tokens, drawn = np.asarray(prompt).reshape(1, -1), []
        try:
            with ts.no_grad():
                state = None
                for _ in range(n):
                    logits, state = self(tokens, state)
                    p = ts.ops.softmax(logits[0, -1] / temperature).numpy().astype(np.float64)
                    drawn.append(int(rng.choice(len(p), p=p / p.sum())))
                    tokens = np.array([[drawn[-1]]])
        finally:
            self.train(was_training)
        return drawn
