"""Module: what it finds in its attributes, and how its values travel."""

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn


class Nested(nn.Module):
    """Parts in every kind of container."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 3)
        self.layers = [nn.Linear(3, 3), nn.Linear(3, 3, bias=False)]
        self.pair = (nn.Dropout(0.5), nn.LayerNorm(3))
        self.heads = {"a": nn.Linear(3, 1), "b": [nn.Linear(3, 2)]}
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.table = ts.tensor(np.arange(3.0))
        self.steps = ts.tensor([1, 2])
        self.name, self.size, self.nothing = "nested", 3, None


NAMES = [
    "first.weight",
    "first.bias",
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
    "pair.1.weight",
    "pair.1.bias",
    "heads.a.weight",
    "heads.a.bias",
    "heads.b.0.weight",
    "heads.b.0.bias",
    "scale",
]


class Tied(nn.Module):
    """The output layer is the embedding's table."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Any) -> ts.Tensor:
        return self.output(self.embedding(tokens))


# -- walking


def test_names_and_order() -> None:
    model = Nested()
    assert [name for name, _ in model.named_parameters()] == NAMES == list(model.state_dict())
    assert [name for name, _ in model.named_modules()] == [
        "", "first", "layers.0", "layers.1", "pair.0", "pair.1", "heads.a", "heads.b.0",
    ]  # fmt: skip
    assert len(model.parameters()) == len(NAMES)
    assert model.num_parameters() == sum(p.size for p in model.parameters()) == 9 + 12 + 9 + 6 + 4 + 8 + 3


def test_a_shared_module_is_one() -> None:
    model = nn.Module()
    model.a = nn.Linear(2, 2)
    model.b = model.a
    model.many = [model.a] * 3
    assert len(model.parameters()) == 2
    assert [name for name, _ in model.named_modules()] == ["", "a"]
    assert len(model.state_dict()) == 10, "every name is there, as in PyTorch"


def test_a_part_that_knows_its_whole() -> None:
    whole = nn.Module()
    whole.part = nn.Linear(2, 2)
    whole.part.whole = whole
    whole.me = whole
    assert list(whole.state_dict()) == ["part.weight", "part.bias"]
    assert len(list(whole.named_modules())) == 2
    assert not whole.eval().part.training
    assert "whole: Module(…)" in repr(whole)


def test_attributes_are_seen_as_they_change() -> None:
    model = nn.Module()
    assert model.parameters() == []
    model.layers = []
    model.layers.append(nn.Linear(1, 1))
    assert len(model.parameters()) == 2
    model.layers.clear()
    assert model.parameters() == []


def test_train_and_eval_reach_every_part() -> None:
    model = Nested()
    assert model.training and model.pair[0].training
    assert model.eval() is model
    assert not any(m.training for _, m in model.named_modules())
    assert model.train() is model and model.heads["b"][0].training
    assert not model.train(False).training


def test_forward_is_asked_for() -> None:
    with pytest.raises(NotImplementedError, match="Nested has no forward method"):
        Nested()(1)


def test_repr_shows_the_tree_with_shapes_and_counts() -> None:
    text = repr(Nested())
    assert text.splitlines() == [
        "Nested()  51 parameters",
        "  first: Linear(2, 3)  9 parameters",
        "    weight: (3, 2)",
        "    bias: (3,)",
        "  layers.0: Linear(3, 3)  12 parameters",
        "    weight: (3, 3)",
        "    bias: (3,)",
        "  layers.1: Linear(3, 3, bias=False)  9 parameters",
        "    weight: (3, 3)",
        "  pair.0: Dropout(0.5)",
        "  pair.1: LayerNorm(3)  6 parameters",
        "    weight: (3,)",
        "    bias: (3,)",
        "  heads.a: Linear(3, 1)  4 parameters",
        "    weight: (1, 3)",
        "    bias: (1,)",
        "  heads.b.0: Linear(3, 2)  8 parameters",
        "    weight: (2, 3)",
        "    bias: (2,)",
        "  scale: (3,)",
    ]
    assert "1,024 parameters" in repr(nn.Linear(32, 32, bias=False))
    assert repr(nn.LSTM(2, 3, 2, bidirectional=True, dropout=0.1)).startswith(
        "LSTM(2, 3, num_layers=2, bidirectional=True, dropout=0.1)"
    )
    assert repr(nn.Embedding(4, 2, padding_idx=-1)).startswith("Embedding(4, 2, padding_idx=3)")


# -- values


def test_state_dict_is_a_copy_and_comes_back() -> None:
    model, other = Nested(), Nested()
    state = model.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    other.load_state_dict(state)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert not np.shares_memory(a.data, b.data)
    state["scale"][...] = 9
    assert model.scale.data[0] == other.scale.data[0] == 1


def test_load_keeps_array_dtype_and_gradient_place() -> None:
    model = nn.Linear(2, 2).to("float64")
    array, place = model.weight.data, model.weight.place
    model.load_state_dict({"weight": np.ones((2, 2), np.float32), "bias": [1, 2]})
    assert model.weight.data is array and model.weight.place is place and array.dtype == np.float64
    assert array.tolist() == [[1, 1], [1, 1]] and model.bias.data.tolist() == [1, 2]


def test_load_takes_tensors() -> None:
    model = nn.Linear(1, 1)
    model.load_state_dict({"weight": ts.tensor([[3.0]]), "bias": ts.Parameter(np.array([4.0]))})
    assert (model.weight.item(), model.bias.item()) == (3, 4)


def test_every_mistake_is_listed_and_nothing_is_loaded() -> None:
    model = Nested()
    before = model.state_dict()
    state = {name: np.zeros_like(array) for name, array in before.items()}
    del state["first.bias"], state["layers.1.weight"]
    state["scale"] = np.zeros(4)
    state["heads.a.weight"] = np.zeros((3, 1))
    state["other"] = np.zeros(2)
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "load_state_dict of Nested:",
        "  missing: first.bias (3,)",
        "  missing: layers.1.weight (3, 3)",
        "  wrong shape: heads.a.weight: expected (1, 3), got (3, 1)",
        "  wrong shape: scale: expected (3,), got (4,)",
        "  unexpected: other (2,)",
    ]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# -- tying


def test_a_tied_weight_is_one_parameter_with_two_names() -> None:
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["embedding.weight", "output.bias"]
    assert model.num_parameters() == 15 + 5
    assert set(model.state_dict()) == {"embedding.weight", "output.weight", "output.bias"}


def test_tying_survives() -> None:
    model = Tied()
    model.load_state_dict(Tied().state_dict())
    assert model.embedding.weight is model.output.weight
    model.to("float64")
    assert model.embedding.weight is model.output.weight and model.output.weight.dtype == np.float64
    copied = copy.deepcopy(model)
    assert copied.embedding.weight is copied.output.weight is not model.output.weight
    assert type(copied.output.weight) is nn.Parameter and copied.output.weight.requires_grad
    model.embedding.weight.data[...] = 0
    assert copied.output.weight.data.any()


def test_a_tied_weight_gets_both_gradients() -> None:
    model = Tied().to("float64")
    tokens, targets = np.array([0, 1, 1]), np.array([2, 3, 4])
    loss = ts.ops.cross_entropy(model(tokens), targets)
    both = ts.grad(loss, model.embedding.weight).data
    apart = Tied().to("float64")
    apart.load_state_dict(model.state_dict())
    apart.output.weight = nn.Parameter(model.output.weight.data.copy())
    loss = ts.ops.cross_entropy(apart(tokens), targets)
    a, b = ts.grad(loss, [apart.embedding.weight, apart.output.weight])
    np.testing.assert_allclose(both, a.data + b.data, rtol=1e-12)


def test_loading_a_tied_weight_by_one_name_or_by_two() -> None:
    model = Tied()
    state = Tied().state_dict()
    one = {name: array for name, array in state.items() if name != "output.weight"}
    model.load_state_dict(one)
    np.testing.assert_array_equal(model.output.weight.data, state["embedding.weight"])
    with pytest.raises(ValueError, match="embedding.weight and output.weight are one parameter here, but their values"):
        model.load_state_dict(state | {"output.weight": state["output.weight"] + 1})
    with pytest.raises(ValueError, match=r"missing: embedding.weight = output.weight \(5, 3\)"):
        model.load_state_dict({"output.bias": state["output.bias"]})


# -- moving


def test_to_a_dtype_moves_parameters_gradients_and_float_constants() -> None:
    model = Nested()
    (model.first(ts.tensor([[1.0, 2.0]])) * model.scale).sum().backward()
    assert model.to("float64") is model
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}
    assert model.scale.grad.dtype == np.float64
    assert model.table.dtype == np.float64 and model.steps.dtype == np.int64
    assert model.to(np.float16).scale.dtype == np.float16
    with pytest.raises(TypeError, match="to: parameters are floating-point numbers, got 'int64'"):
        model.to("int64")
    with pytest.raises(ValueError, match="unknown device 'cuda:x'"):
        model.to("cuda:x")


@pytest.mark.parametrize("kind", [ts.optim.SGD, ts.optim.Adam, ts.optim.RMSprop])
def test_an_optimizer_goes_on_after_to(kind: Any) -> None:
    def run(model: nn.Module, opt: ts.optim.Optimizer, x: np.ndarray) -> float:
        opt.zero_grad()
        loss = (model(ts.tensor(x)) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.item()

    model = nn.Linear(3, 2)
    opt = kind(model.parameters(), lr=0.01)
    x = np.random.default_rng(0).standard_normal((4, 3))
    losses = [run(model, opt, x.astype(np.float32)) for _ in range(3)]
    model.to("float64")
    losses += [run(model, opt, x) for _ in range(3)]
    assert model.weight.dtype == np.float64 and model.weight.grad.dtype == np.float64
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_a_frozen_weight_stays_where_it_is() -> None:
    model = nn.Linear(3, 2)
    opt = ts.optim.Adam(model.parameters(), lr=0.1)
    model.weight.requires_grad = False
    before, bias = model.weight.data.copy(), model.bias.data.copy()
    for _ in range(2):
        opt.zero_grad()
        (model(ts.tensor(np.ones((1, 3), np.float32))) ** 2).sum().backward()
        opt.step()
    np.testing.assert_array_equal(model.weight.data, before)
    assert not np.array_equal(model.bias.data, bias)
    assert "weight" in model.state_dict()


def test_deepcopy_is_a_model_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), ts.ops.tanh, nn.LSTM(2, 1))
    copied = copy.deepcopy(model)
    assert repr(copied) == repr(model)
    ts.optim.SGD(copied.parameters(), lr=1.0)
    copied.parameters()[0].data[...] = 0
    assert model.parameters()[0].data.any()
