"""Layers on every backend: a forward and a backward pass in which the host never waits, with the same numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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


LAYERS: dict[str, tuple[Callable[[], nn.Module], np.ndarray, dict[str, Any]]] = {
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
    "Transformer": (Translates, X, {}),
    "Transformer, norm first": (lambda: Translates(norm_first=True, activation="gelu_tanh"), X, {}),
}


def run(name: str, place: Any, create_graph: bool) -> dict[str, np.ndarray]:
    make, x, options = LAYERS[name]
    ts.seed(0)
    layer = make().to(place.device)
    out = layer(place.tensor(x), **options)
    out = out[0] if isinstance(out, tuple) else out
    weights = place.tensor(np.random.default_rng(1).standard_normal(out.shape).astype(np.float32))
    gs = ts.grad((out * weights).sum(), layer.parameters(), create_graph=create_graph)
    return {"out": place.host(out)} | {
        path: place.host(g) for (path, _), g in zip(layer.named_parameters(), gs, strict=True)
    }


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_it_computes_on_the_cpu(name: str, create_graph: bool, device: Any) -> None:
    there = run(name, device, create_graph)
    here = run(name, device._replace(name="numpy", device="cpu"), create_graph)
    for path, array in here.items():
        np.testing.assert_allclose(there[path], array, rtol=2e-5, atol=1e-6, err_msg=path)


def test_a_model_moves_there_and_back_with_its_tie_and_its_values(device: Any) -> None:
    model = LanguageModel()
    before = model.state_dict()
    model.table, model.steps = ts.tensor([1.0, 2.0]), ts.tensor([1, 2])
    assert model.to("cuda") is model
    assert model.embedding.weight is model.output.weight
    assert {t.device for t in (*model.parameters(), model.table, model.steps)} == {"cuda:0"}
    with device.reading():
        state = model.state_dict()
        assert all(type(array) is np.ndarray for array in state.values())
        model.load_state_dict({name: array * 2 for name, array in state.items()})
        model.to("cpu")
    assert {p.device for p in model.parameters()} == {"cpu"}
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name] * 2)


def test_initial_weights_are_the_same_wherever_they_go(device: Any) -> None:
    ts.seed(3)
    here = nn.LSTM(3, 2).state_dict()
    ts.seed(3)
    there = nn.LSTM(3, 2).to("cuda")
    with device.reading():
        for name, array in there.state_dict().items():
            np.testing.assert_array_equal(array, here[name])
        nn.init.orthogonal(there.weight_hh_l0)
        nn.init.lstm_forget_bias(there, 2.0)
        assert device.host(there.b_f).tolist() == [2, 2]


def test_generation_with_a_cache_waits_for_nothing(device: Any) -> None:
    def run(place: Any) -> list[np.ndarray]:
        ts.seed(0)
        model = Translates().to(place.device).eval()
        x, rows, cache = place.tensor(X), place.tensor(np.array([1, 0])), nn.KVCache()
        found = []
        with ts.no_grad():
            memory = model.model.encoder(model.positions(x))
            for t in range(3):
                y = model.learned(x[:, t : t + 1], start=len(cache))
                found.append(model.model.decoder(y, memory, causal=True, cache=cache))
                cache.select(rows)
        return [place.host(y) for y in found]

    for there, here in zip(run(device), run(device._replace(name="numpy", device="cpu")), strict=True):
        np.testing.assert_allclose(there, here, rtol=2e-5, atol=1e-6)
