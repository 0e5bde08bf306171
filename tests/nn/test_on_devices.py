"""Layers on every backend: a forward and a backward pass in which the host never waits, with the same numbers."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from small_layers import LAYERS, LanguageModel, Translates, X
from tinygrad_seq import nn


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
