"""The warning for a state that is carried through training undetached; it names the tensor, and has no false alarms."""

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.nn import carried
from tinygrad_seq.nn.carried import GraphGrowthWarning

X = ts.tensor(np.ones((2, 3, 4), np.float32))


def update(layer: ts.nn.Module, loss: ts.Tensor) -> None:
    loss.backward(retain_graph=True)
    ts.optim.SGD(layer.parameters(), lr=0.1).step()


@pytest.mark.parametrize("kind", [ts.nn.RNN, ts.nn.LSTM, ts.nn.GRU])
def test_a_state_of_the_step_before(kind: Any) -> None:
    layer = kind(4, 5)
    out, memory = layer(X)
    update(layer, out.sum())
    name = "memory.h" if kind is ts.nn.LSTM else "memory"
    with pytest.warns(
        GraphGrowthWarning, match=rf"^{kind.__name__}: the state '{name}' was made before the last update"
    ) as caught:
        layer(X, memory)
    assert caught[0].filename == __file__


def test_a_tuple_without_names_as_pytorch_s_users_write_it() -> None:
    layer = ts.nn.LSTM(4, 5)
    out, (h, c) = layer(X)
    update(layer, out.sum())
    with pytest.warns(GraphGrowthWarning, match="LSTM: the state 'h' was made before the last update"):
        layer(X, (h, c))
    with pytest.warns(GraphGrowthWarning, match="LSTM: the state 'c' was made before the last update"):
        layer(X, [h.detach(), c])


def test_through_a_model_that_has_the_layer_inside() -> None:
    model = ts.models.LanguageModel(ts.models.LanguageModelConfig(5, 4))
    tokens = np.array([[1, 2, 3]])
    logits, state = model(tokens)
    update(model, logits.sum())
    with pytest.warns(GraphGrowthWarning, match=r"LSTM: the state 'state.h' was made before"):
        model(tokens, state)


def test_a_cell() -> None:
    cell = ts.nn.GRUCell(4, 5)
    h = cell(X[:, 0])
    update(cell, h.sum())
    with pytest.warns(GraphGrowthWarning, match="GRUCell: the state 'h' was made before"):
        cell(X[:, 1], h)


@pytest.mark.parametrize("kind", [ts.nn.PeepholeLSTM, ts.nn.LayerNormLSTM, ts.nn.ResidualRNN])
def test_a_variant(kind: Any) -> None:
    layer = kind(4, 5, 2) if kind is ts.nn.ResidualRNN else kind(4, 5)
    out, memory = layer(X)
    update(layer, out.sum())
    with pytest.warns(GraphGrowthWarning, match=f"{kind.__name__}: the state 'memory.*' was made before"):
        layer(X, memory)


def test_a_graph_that_grows_without_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "LONGEST", 20)
    layer = ts.nn.LSTM(4, 5)
    state = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            _, state = layer(X, state)
        with ts.no_grad():
            _, state = layer(X, state)
        state = None
        for _ in range(20):
            _, state = layer(X, state)
    with pytest.warns(GraphGrowthWarning, match="'state.h' carries the graph of the last 20 calls"):
        layer(X, state)


def test_a_long_loop_in_one_forward_pass_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "LONGEST", 5)

    class Loop(ts.nn.Module):
        def __init__(self) -> None:
            self.cell = ts.nn.LSTMCell(4, 5)

        def forward(self, x: ts.Tensor, state: Any = None) -> Any:
            for x_t in ts.ops.unstack(x, 1):
                state = self.cell(x_t, state)
            return state

    loop, x, state = Loop(), ts.tensor(np.ones((1, 20, 4), np.float32)), None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            state = loop(x, state)
    with pytest.warns(GraphGrowthWarning, match="'state.h' carries the graph of the last 5 calls"):
        loop(x, state)


def test_what_is_right_is_let_be() -> None:
    layer, other = ts.nn.LSTM(4, 5), ts.nn.LSTM(4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = None
        for _ in range(3):  # detached
            out, state = layer(X, state)
            update(layer, out.sum())
            state = ts.train.detach(state)
        out, state = layer(X)
        decoder = ts.nn.LSTM(4, 5)  # made, its weights written, after the state that it starts from
        update(other, other(X)[0].sum())
        decoder(X, state)
        layer(X, state)
        with ts.no_grad():
            for _ in range(3):
                _, state = layer(X, state)
