"""What is the RNN's own: its equations, its nonlinearities, its symbols."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn

B, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)
G = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


@pytest.mark.parametrize("nonlinearity", G)
def test_it_computes_the_chapter_s_equation(nonlinearity: str) -> None:
    rnn, x = nn.RNN(D, H, nonlinearity=nonlinearity).to("float64"), RNG.standard_normal((B, T, D))
    out, h_n = rnn(ts.tensor(x))
    h = np.zeros((B, H))
    for t in range(T):
        h = G[nonlinearity](h @ rnn.W_hh.data.T + x[:, t] @ rnn.W_xh.data.T + rnn.b_h.data)
        np.testing.assert_allclose(out.data[:, t], h, rtol=1e-12)
    np.testing.assert_allclose(h_n.data[0], h, rtol=1e-12)


@pytest.mark.parametrize("part", [nn.RNN(D, H, 2), nn.RNNCell(D, H)], ids=["layer", "cell"])
def test_the_chapter_s_symbols(part: nn.Module) -> None:
    suffix = "_l0" if isinstance(part, nn.RNN) else ""
    assert part.W_xh is getattr(part, f"weight_ih{suffix}")
    assert part.W_hh is getattr(part, f"weight_hh{suffix}")
    b_ih, b_hh = getattr(part, f"bias_ih{suffix}"), getattr(part, f"bias_hh{suffix}")
    np.testing.assert_array_equal(part.b_h.data, b_ih.data + b_hh.data)
    assert part.b_h.name == "b_h"
    for symbol in ("W_xh", "W_hh", "b_h"):
        with pytest.raises(AttributeError):
            setattr(part, symbol, 0)


def test_what_is_read_off_the_state() -> None:
    """y_t = W_hy h_t + b_y, over all steps at once."""
    out, _ = nn.RNN(D, H)(ts.tensor(RNG.standard_normal((B, T, D)).astype(np.float32)))
    W_hy, b_y = RNG.standard_normal((7, H)), RNG.standard_normal(7)
    (y_t,) = ts.ops.rnn_output(out, ts.tensor(W_hy), ts.tensor(b_y))
    np.testing.assert_allclose(y_t.data, out.data @ W_hy.T + b_y, rtol=1e-12)


def test_an_unknown_nonlinearity_is_refused() -> None:
    for call in (
        lambda: nn.RNN(2, 3, nonlinearity="softsign"),
        lambda: nn.RNNCell(2, 3, nonlinearity="softsign"),
        lambda: ts.ops.rnn(*[ts.tensor([[[1.0]]])] * 5, nonlinearity="softsign"),
    ):
        with pytest.raises(ValueError, match="nonlinearity is one of tanh, relu, sigmoid, got 'softsign'"):
            call()


def test_its_derivatives_are_the_chapter_s() -> None:
    """At most 1 for tanh, at most ¼ for the sigmoid: what a gradient is multiplied by at each step back."""
    a = ts.tensor(np.linspace(-4, 4, 81)[None, None], requires_grad=True)
    zero, one = ts.tensor(np.zeros((81, 81))), ts.tensor(np.eye(81))
    for nonlinearity, most in (("tanh", 1), ("sigmoid", 0.25), ("relu", 1)):
        out, _ = ts.ops.rnn(a, zero[:1], one, zero, zero[0], nonlinearity=nonlinearity)
        slope = ts.grad(out.sum(), a).data
        assert slope.max() == pytest.approx(most, abs=1e-12) and slope.min() >= 0
