"""Truncated backpropagation through time, against gradients made step by step with one cut state."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.train import detach, truncated_bptt

B, T, D, H = 2, 11, 3, 4
RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((B, T, D))
TARGETS = RNG.standard_normal((B, T, H))

CELLS = {"rnn": ts.nn.RNN, "lstm": ts.nn.LSTM, "gru": ts.nn.GRU}


def made(cell: str) -> Any:
    ts.seed(1)
    return CELLS[cell](D, H).to("float64")


def losses(layer: Any, k1: int, k2: int, state: Any = None) -> list[tuple[float, list[np.ndarray]]]:
    found = []
    for loss, _ in truncated_bptt(layer, ts.tensor(INPUTS), ts.tensor(TARGETS), state, k1=k1, k2=k2, loss=squares):
        found.append((loss.item(), [g.numpy() for g in ts.grad(loss, layer.parameters())]))
    return found


def squares(outputs: ts.Tensor, targets: ts.Tensor) -> ts.Tensor:
    assert outputs.shape == targets.shape
    return ((outputs - targets) ** 2).sum()


def by_brute_force(layer: Any, k1: int, k2: int) -> list[tuple[float, list[np.ndarray]]]:
    """One step at a time; for each loss the whole past is run again, and cut once, k2 steps before its end."""
    found = []
    for begin in range(0, T, k1):
        end = min(begin + k1, T)
        state: Any = None
        total = ts.tensor(0.0, dtype="float64")
        for t in range(end):
            if t == end - k2:
                state = detach(state)
            with ts.no_grad() if t < end - k2 else nullcontext():
                out, state = layer(ts.tensor(INPUTS[:, t : t + 1]), state)
            if t >= max(begin, end - k2):
                total = total + squares(out, ts.tensor(TARGETS[:, t : t + 1]))
        found.append((total.item(), [g.numpy() for g in ts.grad(total, layer.parameters())]))
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (2, 5), (3, 4), (1, 4), (4, 9), (4, 2), (5, 1), (3, 100), (100, 100)])
def test_every_loss_has_the_gradient_of_k2_steps(cell: str, k1: int, k2: int) -> None:
    layer = made(cell)
    ours, expected = losses(layer, k1, k2), by_brute_force(layer, k1, k2)
    assert len(ours) == len(expected) == -(-T // k1)
    for (a, gs), (b, hs) in zip(ours, expected, strict=True):
        assert abs(a - b) < 1e-12 * abs(b)
        for g, h in zip(gs, hs, strict=True):
            np.testing.assert_allclose(g, h, rtol=1e-10, atol=1e-12)


def test_k2_matters() -> None:
    """What the gradients are compared with differs from what another k2 gives: the test above could fail."""
    layer = made("rnn")
    a, b = losses(layer, 3, 4)[-1], losses(layer, 3, 5)[-1]
    assert abs(a[0] - b[0]) < 1e-12
    assert max(np.abs(g - h).max() for g, h in zip(a[1], b[1], strict=True)) > 1e-4


def test_the_state_goes_on_and_has_no_graph() -> None:
    layer = made("lstm")
    inputs, targets = ts.tensor(INPUTS), ts.tensor(TARGETS)
    *_, (_, last) = truncated_bptt(layer, inputs, targets, k1=3, k2=5, loss=squares)
    whole = layer(inputs)[1]
    for part, expected in zip(last, whole, strict=True):
        assert not part.requires_grad
        np.testing.assert_allclose(part.numpy(), expected.numpy(), rtol=1e-12)
    first = layer(inputs[:, :4])[1]
    (given, _), *_ = truncated_bptt(layer, inputs[:, 4:], targets[:, 4:], first, k1=7, k2=7, loss=squares)
    np.testing.assert_allclose(given.item(), squares(layer(inputs)[0][:, 4:], targets[:, 4:]).item(), rtol=1e-12)


def test_each_update_is_seen_by_the_next_loss() -> None:
    layer = made("gru")
    optimizer = ts.optim.SGD(layer.parameters(), lr=0.01)
    seen = []
    for _ in range(30):
        for loss, _ in truncated_bptt(layer, ts.tensor(INPUTS), ts.tensor(TARGETS), k1=4, k2=6, loss=squares):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
    assert sum(seen[-3:]) < 0.8 * sum(seen[:3])


def test_bad_arguments() -> None:
    layer, x = made("rnn"), ts.tensor(INPUTS)
    with pytest.raises(ValueError, match="k1 and k2 are at least 1, got k1=0 and k2=3"):
        next(truncated_bptt(layer, x, x, k1=0, k2=3))
    with pytest.raises(ValueError, match=r"same batch and time.*got \(2, 11, 3\) and \(2, 10, 3\)"):
        next(truncated_bptt(layer, x, x[:, 1:], k1=2, k2=3))
    for given in (x[:, :0], x[0, 0], INPUTS.tolist()):
        with pytest.raises(ValueError, match=r"arrays or tensors \(B, T, …\)"):
            next(truncated_bptt(layer, given, given, k1=2, k2=3))


def test_a_given_state_is_a_constant_for_every_loss() -> None:
    """No gradient goes back further than the first step, and no walk comes to a graph that is freed."""
    layer = made("rnn")
    before = ts.tensor(np.zeros((1, B, H)), requires_grad=True)
    for loss, _ in truncated_bptt(layer, ts.tensor(INPUTS), ts.tensor(TARGETS), before * 2, k1=2, k2=6, loss=squares):
        loss.backward()
    assert before.grad is None


def test_detach() -> None:
    x = ts.tensor([1.0], requires_grad=True)
    state = ts.ops.LSTMState(x, x * 2)
    cut = detach([state, (x,), None])
    assert isinstance(cut, list) and isinstance(cut[0], ts.ops.LSTMState) and cut[2] is None
    assert not any(t.requires_grad for t in (*cut[0], *cut[1]))
