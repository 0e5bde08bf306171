"""The LSTM layer: shapes, states, lengths, directions, and the chapter's symbols."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn

B, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)


def layer(*args: int, **options: Any) -> nn.LSTM:
    ts.seed(1)
    return nn.LSTM(*(args or (D, H)), **options).to("float64")


def batch(b: int = B, t: int = T, d: int = D) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal((b, t, d)), requires_grad=True)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def by_the_equations(lstm: nn.LSTM, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chapter's equations for the first layer, in plain NumPy, with the symbols as the layer gives them."""
    W, U, b = ({gate: getattr(lstm, f"{s}_{gate}").data for gate in "ifco"} for s in "WUb")
    h = c = np.zeros((len(x), lstm.hidden_size))
    out = []
    for t in range(x.shape[1]):
        a = {gate: x[:, t] @ W[gate].T + h @ U[gate].T + b[gate] for gate in "ifco"}
        c = sigmoid(a["f"]) * c + sigmoid(a["i"]) * np.tanh(a["c"])
        h = sigmoid(a["o"]) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1), h, c


def test_it_computes_the_chapter_s_equations() -> None:
    lstm, x = layer(), batch()
    out, state = lstm(x)
    expected, h, c = by_the_equations(lstm, x.data)
    np.testing.assert_allclose(out.data, expected, rtol=1e-12)
    np.testing.assert_allclose(state.h.data[0], h, rtol=1e-12)
    np.testing.assert_allclose(state.c.data[0], c, rtol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("b", "t"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_shapes(layers: int, bidirectional: bool, b: int, t: int) -> None:
    lstm, directions = layer(D, H, layers, bidirectional=bidirectional), 2 if bidirectional else 1
    out, state = lstm(batch(b, t))
    assert out.shape == (b, t, directions * H)
    assert type(state) is ts.ops.LSTMState
    assert state.h.shape == state.c.shape == (layers * directions, b, H)
    h_n, c_n = state
    assert h_n is state.h and c_n is state.c
    # The last layer's state is the output at its own last step.
    np.testing.assert_array_equal(state.h.data[-directions], out.data[:, -1, :H])
    if bidirectional:
        np.testing.assert_array_equal(state.h.data[-1], out.data[:, 0, H:])


def test_stacked_layers_read_the_layer_below() -> None:
    lstm, x = layer(D, H, 2), batch()
    out, state = lstm(x)
    below, above = nn.LSTM(D, H).to("float64"), nn.LSTM(H, H).to("float64")
    values = lstm.state_dict()
    below.load_state_dict({name: array for name, array in values.items() if name.endswith("l0")})
    above.load_state_dict({name.replace("l1", "l0"): array for name, array in values.items() if name.endswith("l1")})
    middle, first = below(x)
    top, second = above(middle)
    np.testing.assert_array_equal(out.data, top.data)
    np.testing.assert_array_equal(state.h.data, np.concatenate([first.h.data, second.h.data]))
    np.testing.assert_array_equal(state.c.data, np.concatenate([first.c.data, second.c.data]))


def test_the_other_direction_reads_from_the_end() -> None:
    lstm, x = layer(bidirectional=True), batch()
    out, state = lstm(x)
    back = nn.LSTM(D, H).to("float64")
    values = lstm.state_dict()
    back.load_state_dict({name.removesuffix("_reverse"): values[name] for name in values if name.endswith("_reverse")})
    flipped, final = back(ts.tensor(x.data[:, ::-1]))
    np.testing.assert_allclose(out.data[..., H:], flipped.data[:, ::-1], rtol=1e-13)
    np.testing.assert_allclose(state.h.data[1], final.h.data[0], rtol=1e-13)


@pytest.mark.parametrize("lengths", [[5, 3, 1], [1, 5, 2], [5, 5, 5], [2, 2, 2]])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}])
def test_lengths_are_the_sequences_one_by_one(lengths: list[int], options: dict[str, Any]) -> None:
    lstm, x = layer(D, H, **options), batch()
    out, state = lstm(x, lengths=lengths)
    weights = [RNG.standard_normal(a.shape) for a in (out.data, state.h.data, state.c.data)]
    loss = sum(((a * w).sum() for a, w in zip((out, *state), weights, strict=True)), ts.tensor(0.0))
    g, *gs = ts.grad(loss, [x, *lstm.parameters()])

    total = ts.tensor(0.0)
    for k, n in enumerate(lengths):
        alone, last = lstm(x[k : k + 1, :n])
        # A batch of one takes other routes through the matrix product: equal but for the last bits.
        np.testing.assert_allclose(out.data[k, :n], alone.data[0], rtol=1e-13, atol=1e-15)
        assert (out.data[k, n:] == 0).all(), "exactly 0 beyond the end"
        np.testing.assert_allclose(state.h.data[:, k], last.h.data[:, 0], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(state.c.data[:, k], last.c.data[:, 0], rtol=1e-13, atol=1e-15)
        total = total + (alone * weights[0][k : k + 1, :n]).sum()
        total = total + (last.h * weights[1][:, k : k + 1]).sum() + (last.c * weights[2][:, k : k + 1]).sum()
    expected, *expecteds = ts.grad(total, [x, *lstm.parameters()])
    np.testing.assert_allclose(g.data, expected.data, rtol=1e-10, atol=1e-14)
    for k, n in enumerate(lengths):
        assert (g.data[k, n:] == 0).all(), "no gradient beyond the end"
    for a, b in zip(gs, expecteds, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-13)


def test_what_stands_beyond_the_end_does_not_matter() -> None:
    lstm, x = layer(bidirectional=True), batch()
    lengths = [5, 2, 3]
    out, state = lstm(x, lengths=lengths)
    other = x.data.copy()
    for k, n in enumerate(lengths):
        other[k, n:] = 1e6
    out2, state2 = lstm(ts.tensor(other), lengths=lengths)
    np.testing.assert_array_equal(out.data, out2.data)
    np.testing.assert_array_equal(state.h.data, state2.h.data)
    np.testing.assert_array_equal(state.c.data, state2.c.data)


@pytest.mark.parametrize("kind", [list, tuple, np.array, ts.tensor, lambda n: np.array(n, np.int32)])
def test_lengths_as_list_array_or_tensor(kind: Any) -> None:
    lstm, x = layer(), batch()
    expected, _ = lstm(x, lengths=[2, 5, 1])
    np.testing.assert_array_equal(lstm(x, lengths=kind([2, 5, 1]))[0].data, expected.data)


def test_full_lengths_are_no_lengths() -> None:
    lstm, x = layer(bidirectional=True), batch()
    np.testing.assert_array_equal(lstm(x, lengths=[T] * B)[0].data, lstm(x)[0].data)


def test_a_state_given_goes_on_where_it_was() -> None:
    lstm, x = layer(D, H, 2), batch()
    out, state = lstm(x)
    first, between = lstm(x[:, :2])
    second, last = lstm(x[:, 2:], between)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], 1), out.data, rtol=1e-13)
    np.testing.assert_allclose(last.c.data, state.c.data, rtol=1e-13)
    again, _ = lstm(x[:, 2:], (between.h, between.c))  # a bare pair, as PyTorch takes it
    np.testing.assert_array_equal(again.data, second.data)
    cut = ts.ops.LSTMState(*(s.detach() for s in between))
    np.testing.assert_array_equal(lstm(x[:, 2:], cut)[0].data, second.data)


def test_gradients_flow_into_the_state() -> None:
    lstm, x = layer(), batch()
    h, c = (ts.tensor(RNG.standard_normal((1, B, H)), requires_grad=True) for _ in range(2))
    out, _ = lstm(x, (h, c))
    gh, gc = ts.grad(out.sum(), [h, c])
    assert np.abs(gh.data).min() > 0 and np.abs(gc.data).min() > 0


def test_dropout_between_layers_in_training_alone() -> None:
    ts.seed(0)
    lstm, x = nn.LSTM(D, H, 2, dropout=0.5), ts.tensor(RNG.standard_normal((B, T, D)).astype(np.float32))
    a, b = lstm(x)[0].data, lstm(x)[0].data
    assert not np.array_equal(a, b)
    lstm.eval()
    a, b = lstm(x)[0].data, lstm(x)[0].data
    np.testing.assert_array_equal(a, b)
    one = nn.LSTM(D, H, 1, dropout=0.5)
    np.testing.assert_array_equal(one(x)[0].data, one(x)[0].data, "the last layer's output is not dropped")


# -- names


def test_parameters_have_pytorch_s_names_and_shapes() -> None:
    names = [name for name, _ in layer(D, H, 2, bidirectional=True).named_parameters()]
    assert names == [
        f"{name}_l{k}{end}"
        for k in (0, 1)
        for end in ("", "_reverse")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    shapes = {name: p.shape for name, p in layer(D, H, 2, bidirectional=True).named_parameters()}
    assert shapes["weight_ih_l0"] == (4 * H, D) and shapes["weight_ih_l1_reverse"] == (4 * H, 2 * H)
    assert shapes["weight_hh_l1"] == (4 * H, H) and shapes["bias_hh_l0"] == (4 * H,)


def test_the_chapter_s_symbols_are_the_slices() -> None:
    lstm = layer()
    bias = lstm.bias_ih_l0.data + lstm.bias_hh_l0.data
    for k, gate in enumerate("ifco"):
        rows = slice(k * H, (k + 1) * H)
        np.testing.assert_array_equal(getattr(lstm, f"W_{gate}").data, lstm.weight_ih_l0.data[rows])
        np.testing.assert_array_equal(getattr(lstm, f"U_{gate}").data, lstm.weight_hh_l0.data[rows])
        np.testing.assert_array_equal(getattr(lstm, f"b_{gate}").data, bias[rows])
        assert getattr(lstm, f"W_{gate}").name == f"W_{gate}"
        with pytest.raises(AttributeError):
            setattr(lstm, f"W_{gate}", 0)
    assert len(lstm.parameters()) == 4, "they are no parameters of their own"


def test_symbols_are_differentiable() -> None:
    lstm = layer()
    (lstm.W_f * 2).sum().backward()
    expected = np.zeros((4, H, D))
    expected[1] = 2
    np.testing.assert_array_equal(lstm.weight_ih_l0.grad.data, expected.reshape(4 * H, D))


def test_both_biases_get_the_same_gradient() -> None:
    lstm = layer()
    lstm(batch())[0].sum().backward()
    np.testing.assert_array_equal(lstm.bias_ih_l0.grad.data, lstm.bias_hh_l0.grad.data)


# -- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes(dtype: str) -> None:
    lstm = nn.LSTM(D, H, 2, bidirectional=True).to(dtype)
    x = ts.tensor(RNG.standard_normal((B, T, D)), dtype=dtype, requires_grad=True)
    out, state = lstm(x, lengths=[1, 5, 2])
    assert out.dtype == state.h.dtype == state.c.dtype == dtype
    (out.sum() + state.c.sum()).backward()
    assert x.grad.dtype == dtype and all(p.grad.dtype == dtype for p in lstm.parameters())


# -- bad input


def test_wrong_input_names_the_equation() -> None:
    for shape in ((B, T, D + 1), (B, D), (T,)):
        with pytest.raises(ValueError) as caught:
            layer()(ts.tensor(np.ones(shape)))
        assert "f_t = σ(W_f x_t + U_f h_{t-1} + b_f) with W_f (4, 2)" in str(caught.value)
        assert f"expected x of shape (B, T, 2), got {shape}" in str(caught.value)


def test_no_time_steps() -> None:
    with pytest.raises(ValueError, match=r"at least one time step, got x of shape \(3, 0, 2\)"):
        layer()(ts.tensor(np.ones((B, 0, D))))


def test_wrong_states() -> None:
    good, bad = ts.tensor(np.zeros((1, B, H))), ts.tensor(np.zeros((B, H)))
    with pytest.raises(
        ValueError, match=r"expected h of shape \(layers · directions, B, H\) = \(1, 3, 4\), got \(3, 4\)"
    ):
        layer()(batch(), (bad, good))
    with pytest.raises(ValueError, match="expected c of shape"):
        layer()(batch(), (good, bad))


@pytest.mark.parametrize(
    ("lengths", "kind", "words"),
    [
        ([1, 2], ValueError, r"lengths: expected 3 integers, one for each sequence, got int64 \(2,\)"),
        ([1.0, 2.0, 3.0], ValueError, "lengths: expected 3 integers"),
        ([0, 1, 2], IndexError, "lengths"),
        ([1, 2, 6], IndexError, "lengths"),
    ],
)
def test_wrong_lengths(lengths: list[Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        layer()(batch(), lengths=lengths)


def test_wrong_constructor_arguments() -> None:
    with pytest.raises(ValueError, match="LSTM: num_layers is at least 1, got 0"):
        nn.LSTM(2, 3, 0)
    with pytest.raises(ValueError, match="LSTM: dropout is a probability"):
        nn.LSTM(2, 3, 2, dropout=1.0)
    with pytest.raises(ValueError, match="a layer's sizes are positive integers"):
        nn.LSTM(0, 3)
    with pytest.raises(ValueError, match="a layer's sizes are positive integers"):
        nn.LSTM(2, 0)


# -- opened


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
def test_opened_it_computes_the_same(options: dict[str, Any], lengths: list[int] | None) -> None:
    lstm, x = layer(D, H, **options), batch()

    def run() -> list[np.ndarray]:
        out, state = lstm(x, lengths=lengths)
        loss = (out**2).sum() + (state.h * state.c).sum()
        return [out.data, *(s.data for s in state), *(g.data for g in ts.grad(loss, [x, *lstm.parameters()]))]

    fused = run()
    with ts.definitions():
        opened = run()
    for a, b in zip(fused, opened, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_under_no_grad_it_is_the_same() -> None:
    lstm, x = layer(bidirectional=True), batch()
    out, _ = lstm(x)
    with ts.no_grad():
        again, state = lstm(x)
    np.testing.assert_array_equal(out.data, again.data)
    assert not again.requires_grad and not state.c.requires_grad
