"""Linear, Embedding, Dropout, LayerNorm, Sequential."""

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn

RNG = np.random.default_rng(0)


def floats(*shape: int) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal(shape).astype(np.float32))


LAYERS: dict[str, Callable[[], tuple[nn.Module, ts.Tensor]]] = {
    "Linear": lambda: (nn.Linear(3, 2), floats(4, 3)),
    "Linear without bias": lambda: (nn.Linear(3, 2, bias=False), floats(2, 4, 3)),
    "Embedding": lambda: (nn.Embedding(4, 3), ts.tensor([[0, 1], [2, 3]])),
    "LayerNorm": lambda: (nn.LayerNorm(3), floats(2, 4, 3)),
    "LayerNorm without bias": lambda: (nn.LayerNorm(3, bias=False), floats(4, 3)),
    "LSTM": lambda: (nn.LSTM(3, 2), floats(2, 4, 3)),
    "LSTM, stacked, both directions": lambda: (nn.LSTM(3, 2, 2, bidirectional=True, dropout=0.1), floats(2, 4, 3)),
    "Sequential": lambda: (nn.Sequential(nn.Linear(3, 4), ts.ops.tanh, nn.LayerNorm(4), nn.Linear(4, 1)), floats(2, 3)),
}


@pytest.mark.parametrize("optimizer", [ts.optim.SGD, ts.optim.Adam])
@pytest.mark.parametrize("name", LAYERS)
def test_every_parameter_gets_a_gradient_and_moves(name: str, optimizer: Callable[..., ts.optim.Optimizer]) -> None:
    ts.seed(0)
    layer, x = LAYERS[name]()
    out = layer(x)
    out = out[0] if isinstance(out, tuple) else out
    (out * floats(*out.shape)).sum().backward()
    before = layer.state_dict()
    for path, p in layer.named_parameters():
        assert p.grad is not None and p.grad.shape == p.shape, path
        assert np.abs(p.grad.data).max() > 0, path
    optimizer(layer.parameters(), lr=0.1).step()
    for path, p in layer.named_parameters():
        assert not np.array_equal(p.data, before[path]), path
        assert np.isfinite(p.data).all(), path


# -- Linear


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3), (0, 3)])
def test_linear(shape: tuple[int, ...]) -> None:
    layer, x = nn.Linear(3, 5), floats(*shape)
    y = layer(x)
    assert y.shape == (*shape[:-1], 5) and y.dtype == np.float32
    np.testing.assert_allclose(y.data, x.data @ layer.weight.data.T + layer.bias.data, rtol=1e-5, atol=1e-6)
    assert layer.weight.shape == (5, 3) and layer.bias.shape == (5,)
    assert nn.Linear(3, 5, bias=False).bias is None


def test_linear_says_the_equation_with_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"y = x Wᵀ \+ b with x \(2, 4\), W \(5, 3\) \+ b \(5,\): the last axis of x"):
        nn.Linear(3, 5)(floats(2, 4))


@pytest.mark.parametrize("sizes", [(0, 2), (2, -1), (2.0, 3), (2, "3")])
def test_sizes_are_positive_integers(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a layer's sizes are positive integers, got"):
        nn.Linear(*sizes)


# -- Embedding


@pytest.mark.parametrize("tokens", [[1, 2, 2], [[0], [4]], 3, np.zeros((0, 2), int), np.array([1], np.uint8)])
def test_embedding(tokens: object) -> None:
    layer = nn.Embedding(5, 3)
    e = layer(ts.tensor(tokens))
    np.testing.assert_array_equal(e.data, layer.weight.data[np.asarray(tokens)])
    np.testing.assert_array_equal(layer(np.asarray(tokens)).data, e.data)


def test_embedding_adds_up_repeated_rows() -> None:
    layer = nn.Embedding(4, 2)
    layer(ts.tensor([1, 1, 3])).sum().backward()
    assert layer.weight.grad.data.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


@pytest.mark.parametrize("padding_idx", [0, 2, -1])
def test_padding_row_is_zero_and_gets_no_gradient(padding_idx: int) -> None:
    layer = nn.Embedding(4, 2, padding_idx=padding_idx)
    row = padding_idx % 4
    assert not layer.weight.data[row].any() and layer.weight.data[(row + 1) % 4].all()
    tokens = np.array([0, 1, 2, 3, row])
    for create_graph in (False, True):
        g = ts.grad((layer(tokens) * 2).sum(), layer.weight, create_graph=create_graph)
        expected = np.full((4, 2), 2.0)
        expected[row] = 0
        np.testing.assert_array_equal(g.data, expected)
    (layer(tokens) ** 2).sum().backward()
    ts.optim.Adam(layer.parameters(), lr=0.1).step()
    assert not layer.weight.data[row].any(), "it stays 0"


def test_embedding_errors() -> None:
    layer = nn.Embedding(4, 2)
    with pytest.raises(IndexError, match="embedding: the table has 4 rows: expected integers from 0 to 3, got 4"):
        layer(ts.tensor([0, 4]))
    with pytest.raises(IndexError, match="got -1"):
        layer(ts.tensor([-1]))
    with pytest.raises(TypeError, match="embedding: expected integers, got float32"):
        layer(ts.tensor([1.0]))
    with pytest.raises(TypeError, match="embedding: expected integers, got bool"):
        layer(ts.tensor([True]))
    with pytest.raises(ValueError, match="padding_idx is one of the 4 rows, got 4"):
        nn.Embedding(4, 2, padding_idx=4)


# -- Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_statistics(p: float) -> None:
    ts.seed(0)
    n = 200_000
    y = nn.Dropout(p)(ts.tensor(np.ones(n))).data
    kept = y != 0
    assert abs(kept.mean() - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    np.testing.assert_allclose(y[kept], 1 / (1 - p))
    # Neighbours are independent: of two in a row, (1 - p)² are both kept.
    assert abs((kept[1:] & kept[:-1]).mean() - (1 - p) ** 2) < 0.005


def test_dropout_gradient_has_the_same_mask() -> None:
    x = ts.tensor(np.ones((50, 7)), requires_grad=True)
    y = nn.Dropout(0.4)(x)
    for create_graph in (True, False):
        g = ts.grad(y.sum(), x, create_graph=create_graph, retain_graph=True)
        np.testing.assert_allclose(g.data, y.data)


def test_dropout_in_evaluation_is_the_identity() -> None:
    layer, x = nn.Dropout(0.9), floats(3, 4)
    assert layer.eval()(x) is x
    assert layer.train()(x) is not x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_repeats_with_the_seed_and_not_otherwise() -> None:
    layer, x = nn.Dropout(0.5), floats(100)

    def draw() -> np.ndarray:
        return layer(x).data

    ts.seed(5)
    a, b = draw(), draw()
    ts.seed(5)
    np.testing.assert_array_equal(draw(), a)
    np.testing.assert_array_equal(draw(), b)
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_p_is_a_probability(p: float) -> None:
    with pytest.raises(ValueError, match="Dropout: p is a probability, 0 <= p < 1, got"):
        nn.Dropout(p)


# -- LayerNorm


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6)])
def test_layer_norm(shape: tuple[int, ...]) -> None:
    layer, x = nn.LayerNorm(6).to("float64"), RNG.standard_normal(shape) * 3 + 5
    assert layer.weight.data.tolist() == [1] * 6 and layer.bias.data.tolist() == [0] * 6
    layer.weight.data[...], layer.bias.data[...] = RNG.standard_normal((2, 6))
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * layer.weight.data + layer.bias.data
    np.testing.assert_allclose(layer(ts.tensor(x)).data, expected, rtol=1e-10)


def test_layer_norm_of_a_constant_row_is_its_bias() -> None:
    layer = nn.LayerNorm(4)
    np.testing.assert_allclose(layer(ts.tensor(np.full((2, 4), 3.0, np.float32))).data, 0, atol=1e-6)


def test_layer_norm_size() -> None:
    with pytest.raises(
        ValueError, match=r"layer_norm: weight has the size of x's last axis: expected \(3,\), got \(4,\)"
    ):
        nn.LayerNorm(4)(floats(2, 3))


# -- Sequential


def test_sequential_names_and_order() -> None:
    model = nn.Sequential(nn.Linear(3, 4), ts.ops.relu, nn.Linear(4, 2))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x = floats(5, 3)
    first, last = getattr(model, "0"), getattr(model, "2")
    np.testing.assert_array_equal(model(x).data, last(ts.ops.relu(first(x))).data)
    assert nn.Sequential()(x) is x
    many = nn.Sequential(*[nn.Linear(1, 1) for _ in range(12)])
    assert [name for name, _ in many.named_modules()][1:] == [str(k) for k in range(12)]
