"""What is the LSTM's own: its equations and its symbols."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn

B, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_it_computes_the_chapter_s_equations() -> None:
    """In plain NumPy, with the symbols as the layer gives them."""
    lstm, x = nn.LSTM(D, H).to("float64"), RNG.standard_normal((B, T, D))
    out, (h_n, c_n) = lstm(ts.tensor(x))
    W, U, b = ({gate: getattr(lstm, f"{s}_{gate}").data for gate in "ifco"} for s in "WUb")
    h = c = np.zeros((B, H))
    for t in range(T):
        a = {gate: x[:, t] @ W[gate].T + h @ U[gate].T + b[gate] for gate in "ifco"}
        c = sigmoid(a["f"]) * c + sigmoid(a["i"]) * np.tanh(a["c"])
        h = sigmoid(a["o"]) * np.tanh(c)
        np.testing.assert_allclose(out.data[:, t], h, rtol=1e-12)
    np.testing.assert_allclose(h_n.data[0], h, rtol=1e-12)
    np.testing.assert_allclose(c_n.data[0], c, rtol=1e-12)


@pytest.mark.parametrize("part", [nn.LSTM(D, H, 2), nn.LSTMCell(D, H)], ids=["layer", "cell"])
def test_the_chapter_s_symbols_are_the_slices(part: nn.Module) -> None:
    weight_ih, weight_hh, bias_ih, bias_hh = (p.data for p in part.parameters()[:4])
    for k, gate in enumerate("ifco"):
        rows = slice(k * H, (k + 1) * H)
        np.testing.assert_array_equal(getattr(part, f"W_{gate}").data, weight_ih[rows])
        np.testing.assert_array_equal(getattr(part, f"U_{gate}").data, weight_hh[rows])
        np.testing.assert_array_equal(getattr(part, f"b_{gate}").data, (bias_ih + bias_hh)[rows])
        for symbol in "WUb":
            assert getattr(part, f"{symbol}_{gate}").name == f"{symbol}_{gate}"
            with pytest.raises(AttributeError):
                setattr(part, f"{symbol}_{gate}", 0)
    assert len(part.parameters()) == (8 if isinstance(part, nn.LSTM) else 4), "they are no parameters of their own"


def test_symbols_are_differentiable() -> None:
    lstm = nn.LSTM(D, H)
    (lstm.W_f * 2).sum().backward()
    expected = np.zeros((4, H, D))
    expected[1] = 2
    np.testing.assert_array_equal(lstm.weight_ih_l0.grad.data, expected.reshape(4 * H, D))


def test_both_biases_get_the_same_gradient() -> None:
    lstm = nn.LSTM(D, H)
    lstm(ts.tensor(RNG.standard_normal((B, T, D)).astype(np.float32)))[0].sum().backward()
    np.testing.assert_array_equal(lstm.bias_ih_l0.grad.data, lstm.bias_hh_l0.grad.data)
