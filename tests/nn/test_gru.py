"""What is the GRU's own: its equations in both conventions, what z multiplies, its symbols."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn

B, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("reset_after", [True, False])
def test_it_computes_the_equations_of_its_convention(reset_after: bool) -> None:
    """In plain NumPy, with the symbols as the layer gives them."""
    gru, x = nn.GRU(D, H, reset_after=reset_after).to("float64"), RNG.standard_normal((B, T, D))
    for p in gru.parameters():
        p.data *= 3
    out, h_n = gru(ts.tensor(x))
    W, U, b = ({gate: getattr(gru, f"{s}_{gate}").data for gate in "rzn"} for s in "WUb")
    h = np.zeros((B, H))
    for t in range(T):
        r, z = (sigmoid(x[:, t] @ W[gate].T + h @ U[gate].T + b[gate]) for gate in "rz")
        if reset_after:
            n = np.tanh(x[:, t] @ W["n"].T + b["n"] + r * (h @ U["n"].T + gru.b_hn.data))
        else:
            n = np.tanh(x[:, t] @ W["n"].T + (r * h) @ U["n"].T + b["n"])
        h = (1 - z) * n + z * h
        np.testing.assert_allclose(out.data[:, t], h, rtol=1e-12)
    np.testing.assert_allclose(h_n.data[0], h, rtol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
def test_z_multiplies_the_old_state(reset_after: bool) -> None:
    """Where z is 1 the state stays what it was, whatever comes in; where it is 0 the state becomes the candidate."""
    gru = nn.GRU(D, H, reset_after=reset_after).to("float64")
    h, x = ts.tensor(RNG.standard_normal((1, B, H))), ts.tensor(RNG.standard_normal((B, T, D)))
    gru.bias_ih_l0.data[H : 2 * H] = 100
    np.testing.assert_allclose(gru(x, h)[1].data, h.data, rtol=1e-12)
    gru.bias_ih_l0.data[H : 2 * H] = -100
    _, last = gru(x[:, :1], h)
    cell = nn.GRUCell(D, H, reset_after=reset_after).to("float64")
    cell.load_state_dict({name.removesuffix("_l0"): a for name, a in gru.state_dict().items()})
    n_t = cell.step(x[:, 0], ts.ops.RNNState(h[0])).n_t
    np.testing.assert_allclose(last.data[0], n_t.data, rtol=1e-12)


def test_the_conventions_differ_in_the_candidate_alone() -> None:
    after, before = nn.GRUCell(D, H).to("float64"), nn.GRUCell(D, H, reset_after=False).to("float64")
    before.load_state_dict(after.state_dict())
    x_t, state = ts.tensor(RNG.standard_normal((B, D))), ts.ops.RNNState(ts.tensor(RNG.standard_normal((B, H))))
    a, b = after.step(x_t, state), before.step(x_t, state)
    np.testing.assert_allclose(a.r_t.data, b.r_t.data, rtol=1e-12)
    np.testing.assert_allclose(a.z_t.data, b.z_t.data, rtol=1e-12)
    assert np.abs(a.n_t.data - b.n_t.data).max() > 1e-3
    after.bias_hh.data[...] = before.bias_hh.data[...] = 0
    identity = np.concatenate([np.zeros((2 * H, H)), np.eye(H)])
    after.weight_hh.data[...] = before.weight_hh.data[...] = identity  # then r ⊙ (U h) = U (r ⊙ h)
    np.testing.assert_allclose(after.step(x_t, state).n_t.data, before.step(x_t, state).n_t.data, rtol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_the_symbols_are_the_slices(kind: type[nn.Module], reset_after: bool) -> None:
    part = kind(D, H, reset_after=reset_after)
    weight_ih, weight_hh, bias_ih, bias_hh = (p.data for p in part.parameters())
    for k, gate in enumerate("rzn"):
        rows = slice(k * H, (k + 1) * H)
        np.testing.assert_array_equal(getattr(part, f"W_{gate}").data, weight_ih[rows])
        np.testing.assert_array_equal(getattr(part, f"U_{gate}").data, weight_hh[rows])
        apart = gate == "n" and reset_after
        b = getattr(part, f"b_{gate}")
        np.testing.assert_array_equal(b.data, (bias_ih if apart else bias_ih + bias_hh)[rows])
        for symbol in "WUb":
            assert getattr(part, f"{symbol}_{gate}").name == f"{symbol}_{gate}"
            with pytest.raises(AttributeError):
                setattr(part, f"{symbol}_{gate}", 0)
    if reset_after:
        np.testing.assert_array_equal(part.b_hn.data, bias_hh[2 * H :])
        assert part.b_hn.name == "b_hn"
    else:
        with pytest.raises(AttributeError, match="reset_after=False there is no b_hn, only b_n"):
            part.b_hn  # noqa: B018


def test_three_quarters_of_an_lstm() -> None:
    assert 4 * nn.GRU(30, 20).num_parameters() == 3 * nn.LSTM(30, 20).num_parameters()
