"""A small one of every layer, with an input for it: one row each in `LAYERS`, for the tests that all layers pass."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq import nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 3)).astype(np.float32)
SEEN = np.array([[True] * 4, [True, True, False, False]])
TOKENS = np.array([[0, 1, 1, 3], [3, 2, 0, 0]])


class LanguageModel(nn.Module):
    """Embedding, LSTM, output layer tied to the embedding: what the demo trains."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(4, 3, padding_idx=0)
        self.dropout = nn.Dropout(0.2)
        self.lstm = nn.LSTM(3, 3, 2, dropout=0.1)
        self.norm = nn.LayerNorm(3)
        self.output = nn.Linear(3, 4)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: ts.Tensor) -> ts.Tensor:
        out, _ = self.lstm(self.dropout(self.embedding(tokens)))
        return self.output(self.norm(out))


class Reads(nn.Module):
    """Attention of the first state over all, with one sequence padded."""

    def __init__(self, score: nn.Module) -> None:
        self.linear, self.attention = nn.Linear(3, 3), nn.Attention(score)

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        h = self.linear(x)
        return self.attention(h[:, 0], h, SEEN).context


class Translates(nn.Module):
    """A Transformer whose target is the beginning of its source."""

    def __init__(self, **options: Any) -> None:
        self.positions, self.learned = nn.SinusoidalPositions(3), nn.LearnedPositions(5, 3)
        self.model = nn.Transformer(3, 3, 2, 1, 4, **options)

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        mask = SEEN[:, None, None]
        return self.model(self.positions(x), self.learned(x[:, :3]), mask, memory_mask=mask, causal=True)


LAYERS: dict[str, tuple[Callable[[], nn.Module], np.ndarray, dict[str, Any]]] = {  # name -> layer, input, options
    "Linear": (lambda: nn.Linear(3, 2), X, {}),
    "Embedding": (lambda: nn.Embedding(4, 3, padding_idx=1), TOKENS, {}),
    "Dropout": (lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), X, {}),
    "LayerNorm": (lambda: nn.LayerNorm(3), X, {}),
    "RNN": (lambda: nn.RNN(3, 2), X, {}),
    "RNN, relu": (lambda: nn.RNN(3, 2, 2, nonlinearity="relu"), X, {}),
    "RNN, sigmoid": (lambda: nn.RNN(3, 2, nonlinearity="sigmoid", learn_state=True), X, {}),
    "LSTM": (lambda: nn.LSTM(3, 2), X, {}),
    "GRU": (lambda: nn.GRU(3, 2, learn_state=True), X, {}),
    "GRU, reset before": (lambda: nn.GRU(3, 2, reset_after=False), X, {}),
    "RNN, stacked, both directions": (lambda: nn.RNN(3, 2, 2, bidirectional=True), X, {"lengths": [4, 2]}),
    "LSTM, stacked, both directions": (lambda: nn.LSTM(3, 2, 2, bidirectional=True), X, {"lengths": [4, 2]}),
    "GRU, stacked, both directions": (lambda: nn.GRU(3, 2, 2, bidirectional=True), X, {"lengths": [4, 2]}),
    "GRU, reset before, both directions": (
        lambda: nn.GRU(3, 2, reset_after=False, bidirectional=True, learn_state=True),
        X,
        {"lengths": [4, 2]},
    ),
    "RNNCell": (lambda: nn.RNNCell(3, 2), X[:, 0], {}),
    "LSTMCell": (lambda: nn.LSTMCell(3, 2), X[:, 0], {}),
    "GRUCell": (lambda: nn.GRUCell(3, 2), X[:, 0], {}),
    "GRUCell, reset before": (lambda: nn.GRUCell(3, 2, reset_after=False), X[:, 0], {}),
    "PeepholeLSTM": (lambda: nn.PeepholeLSTM(3, 2), X, {"lengths": [4, 2]}),
    "LayerNormLSTM": (lambda: nn.LayerNormLSTM(3, 2), X, {"lengths": [4, 2]}),
    "ResidualRNN": (lambda: nn.ResidualRNN(3, 2, 3), X, {"lengths": [4, 2]}),
    "language model": (LanguageModel, TOKENS, {}),
    "DotScore": (lambda: Reads(nn.DotScore()), X, {}),
    "ScaledDotScore": (lambda: Reads(nn.ScaledDotScore()), X, {}),
    "BilinearScore": (lambda: Reads(nn.BilinearScore(3, 3)), X, {}),
    "MLPScore": (lambda: Reads(nn.MLPScore(3, 3, 2)), X, {}),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(3, 3, dropout=0.2), X, {"causal": True}),
    "MultiheadAttention, mask": (lambda: nn.MultiheadAttention(3, 1, bias=False), X, {"mask": SEEN[:, None, None]}),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(3, 3, 4, activation="gelu"), X, {}),
    "CRF": (lambda: nn.CRF(3), X, {"tags": np.array([[0, 2, 1, 1], [2, 0, -1, -1]]), "lengths": [4, 2]}),
    "Transformer": (Translates, X, {}),
    "Transformer, norm first": (lambda: Translates(norm_first=True, activation="gelu_tanh"), X, {}),
}
