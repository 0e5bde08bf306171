"""Layers made of an equation block and a scan: values, lengths, states, gradients of both orders."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn
from tinygrad_seq.testing import check_grads

B, T, D, H = 3, 4, 2, 3
RNG = np.random.default_rng(0)

VARIANTS = {
    "peephole": lambda: nn.PeepholeLSTM(D, H),
    "layer norm": lambda: nn.LayerNormLSTM(D, H),
    "residual": lambda: nn.ResidualRNN(D, H, 3),
}


@pytest.fixture(params=VARIANTS)
def layer(request: pytest.FixtureRequest) -> Any:
    ts.seed(2)
    made = VARIANTS[request.param]().to("float64")
    for p in made.parameters():
        p.data += 0.5 * RNG.standard_normal(p.shape)
    return made


def batch(b: int = B, t: int = T) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal((b, t, D)), requires_grad=True)


def parts(state: Any) -> tuple[ts.Tensor, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def row(state: Any, k: int) -> ts.Tensor:
    """What a state (B, H), or (layers, B, H), says of sequence k."""
    return state.data[..., k, :]


@pytest.mark.parametrize("lengths", [[4, 2, 1], [2, 2, 2]])
def test_lengths_are_the_sequences_one_by_one(layer: Any, lengths: list[int]) -> None:
    x = batch()
    out, state = layer(x, lengths=lengths)
    for k, n in enumerate(lengths):
        alone, last = layer(x[k : k + 1, :n])
        np.testing.assert_allclose(out.data[k, :n], alone.data[0], rtol=1e-12, atol=1e-14)
        for a, b in zip(parts(state), parts(last), strict=True):
            np.testing.assert_allclose(row(a, k), row(b, 0), rtol=1e-12, atol=1e-14)
    g = ts.grad(out.sum(), x)
    for k, n in enumerate(lengths):
        assert (g.data[k, n:] == 0).all(), "no gradient beyond the end"


def test_outputs_beyond_the_end_are_exactly_0(layer: Any) -> None:
    out, _ = layer(batch(), lengths=[4, 2, 1])
    assert (out.data[1, 2:] == 0).all() and (out.data[2, 1:] == 0).all()


def test_a_state_given_goes_on_where_it_was(layer: Any) -> None:
    x = batch()
    out, state = layer(x)
    first, between = layer(x[:, :1])
    second, last = layer(x[:, 1:], between)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], 1), out.data, rtol=1e-12, atol=1e-14)
    for a, b in zip(parts(last), parts(state), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_one_sequence_and_one_step(layer: Any) -> None:
    assert layer(batch(1, 1))[0].shape == (1, 1, H)


def test_wrong_states(layer: Any) -> None:
    x = batch()
    name, (*lead, _) = type(layer).__name__, parts(layer(x)[1])[0].shape[:-1]
    good, bad = (ts.tensor(np.zeros((*lead, n, H))) for n in (B, 1))
    n = 1 if isinstance(layer, nn.ResidualRNN) else 2
    with pytest.raises(ValueError, match=rf"{name}: expected h of shape"):
        layer(x, (bad,) * n)  # which would broadcast
    for wrong in (3, (good,) * (n + 1)):
        with pytest.raises(TypeError, match=rf"{name}: expected a state of tensors \(h"):
            layer(x, wrong)
    np.testing.assert_array_equal(layer(x, [good] * n)[0].data, layer(x)[0].data)


def test_no_time_steps(layer: Any) -> None:
    with pytest.raises(ValueError, match="expected at least one time step"):
        layer(ts.tensor(np.ones((B, 0, D))))
    with pytest.raises(ValueError, match="expected at least one time step"):
        layer(ts.tensor(np.ones(D)))


def test_a_wrong_input_shows_the_equation_with_the_shapes_put_in(layer: Any) -> None:
    words = {
        nn.PeepholeLSTM: "peephole: f_t = sigmoid(x_t @ W.f.T + h_prev @ U.f.T + p.f * c_prev + b.f)\n"
        "    with x_t (3, 5), W.f (3, 2)",
        nn.LayerNormLSTM: "layer_norm_lstm: a_t = LN_x(x_t @ W.T) + LN_h(h_prev @ U.T) + b\n"
        "    with x_t (3, 5), W (12, 2)",
        nn.ResidualRNN: "linear: y = x Wᵀ + b with x (3, 4, 5), W (3, 2)",
    }
    with pytest.raises(ValueError) as caught:
        layer(ts.tensor(np.ones((B, T, 5))))
    assert str(caught.value).startswith(words[type(layer)])


@pytest.mark.parametrize("lengths", [None, [2, 1]])
def test_second_derivatives(layer: Any, lengths: list[int] | None) -> None:
    """By the input, the state and every parameter."""
    names = [name for name, _ in layer.named_parameters()]
    x = RNG.standard_normal((2, 2, D))
    _, state = layer(ts.tensor(x))
    n = len(parts(state))
    original = dict(layer.named_parameters())

    def run(x: ts.Tensor, *rest: ts.Tensor) -> Any:
        given = type(state)(*rest[:n]) if isinstance(state, tuple) else rest[0]
        for name, p in zip(names, rest[n:], strict=True):
            owner, _, attribute = name.rpartition(".")
            at: Any = layer
            for step in filter(None, owner.split(".")):
                at = at[int(step)] if step.isdigit() else getattr(at, step)
            setattr(at, attribute, p)  # the layer with tensors in its parameters' places
        return layer(x, given, lengths)

    states = [RNG.standard_normal(part.shape) for part in parts(state)]
    check_grads(run, [x, *states, *(p.data for p in original.values())])


# -- their equations, in plain NumPy


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def normalized(a: np.ndarray, norm: nn.LayerNorm) -> np.ndarray:
    a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + norm.eps)
    return a * norm.weight.data + (0 if norm.bias is None else norm.bias.data)


def test_peephole_s_equations() -> None:
    layer, x = nn.PeepholeLSTM(D, H).to("float64"), RNG.standard_normal((B, T, D))
    layer.p.data *= 5
    out, state = layer(ts.tensor(x))
    (W, U, b), (p_i, p_f, p_o) = (p.data for p in (layer.W, layer.U, layer.b)), np.split(layer.p.data, 3)
    h = c = np.zeros((B, H))
    for t in range(T):
        i, f, g, o = np.split(x[:, t] @ W.T + h @ U.T + b, 4, -1)
        old, c = c, sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
        h = sigmoid(o + p_o * c) * np.tanh(c)  # o sees the new cell
        np.testing.assert_allclose(out.data[:, t], h, rtol=1e-12)
        assert not np.allclose(sigmoid(o + p_o * old), sigmoid(o + p_o * c))
    np.testing.assert_allclose(state.c.data, c, rtol=1e-12)


def test_without_peepholes_it_is_the_lstm() -> None:
    layer, lstm, x = nn.PeepholeLSTM(D, H).to("float64"), nn.LSTM(D, H).to("float64"), batch()
    layer.p.data[...] = 0
    zero = np.zeros(4 * H)
    lstm.load_state_dict(dict(zip(lstm.state_dict(), (layer.W, layer.U, layer.b, zero), strict=True)))
    np.testing.assert_allclose(layer(x)[0].data, lstm(x)[0].data, rtol=1e-12)


def test_layer_norm_s_equations() -> None:
    layer, x = nn.LayerNormLSTM(D, H).to("float64"), RNG.standard_normal((B, T, D))
    for p in layer.parameters():
        p.data += 0.3 * RNG.standard_normal(p.shape)
    out, state = layer(ts.tensor(x))
    W, U, b = (p.data for p in (layer.W, layer.U, layer.b))
    h = c = np.zeros((B, H))
    for t in range(T):
        a = normalized(x[:, t] @ W.T, layer.LN_x) + normalized(h @ U.T, layer.LN_h) + b
        i, f, g, o = np.split(a, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normalized(c, layer.LN_c))
        np.testing.assert_allclose(out.data[:, t], h, rtol=1e-11)
    np.testing.assert_allclose(state.c.data, c, rtol=1e-11)


def test_residual_s_equations() -> None:
    layer, x = nn.ResidualRNN(D, H, 3).to("float64"), RNG.standard_normal((B, T, D))
    out, h_n = layer(ts.tensor(x))
    y = x @ layer.inputs.weight.data.T + layer.inputs.bias.data
    for k, cell in enumerate(layer.cells):
        h, below = np.zeros((B, H)), y
        y = np.zeros_like(below)
        for t in range(T):
            h = np.tanh(h @ cell.W_hh.data.T + below[:, t] @ cell.W_xh.data.T + cell.b_h.data)
            y[:, t] = below[:, t] + h
        np.testing.assert_allclose(h_n.data[k], h, rtol=1e-12)
    np.testing.assert_allclose(out.data, y, rtol=1e-12)


def test_the_skip_connections_carry_the_gradient_down() -> None:
    """Past layers whose weights are 0 no gradient comes through a plain stack, and all of it through this one."""
    residual, plain = nn.ResidualRNN(D, H, 8), nn.RNN(H, H, 8)
    for p in [*plain.parameters(), *(p for cell in residual.cells for p in cell.parameters())]:
        p.data[...] = 0
    x = ts.tensor(RNG.standard_normal((B, T, D)).astype(np.float32), requires_grad=True)
    g = ts.grad(residual(x)[0].sum(), x)
    expected = np.broadcast_to(residual.inputs.weight.data.sum(0), g.shape)
    np.testing.assert_allclose(g.data, expected, rtol=1e-5)
    wide = ts.tensor(np.ones((B, T, H), np.float32), requires_grad=True)
    assert not ts.grad(plain(wide)[0].sum(), wide).data.any()


def test_their_symbols_are_recorded(layer: Any) -> None:
    with ts.record() as r:
        out, _ = layer(batch(), lengths=[4, 2, 1])
    recorded = r[type(layer).__name__.lower()]
    if isinstance(layer, nn.ResidualRNN):
        np.testing.assert_array_equal(recorded[2].y_t.data, out.data)
    else:
        np.testing.assert_array_equal(recorded.h_t.data, out.data)
        assert recorded.f_t.shape == (B, T, H)
