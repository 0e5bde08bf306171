"""Jacobians of recurrent states, against numeric ones and against the chapter's product."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.ops.lstm import LSTMState, LSTMStep
from tinygrad_seq.ops.rnn import RNNState
from tinygrad_seq.train import largest_singular_values, state_jacobians

B, T, D, H = 2, 5, 3, 4
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((B, T, D))


def cell_and_state(kind: str) -> tuple[Any, Any]:
    ts.seed(0)
    cell = getattr(ts.nn, kind)(D, H).to("float64")
    parts = 2 if kind == "LSTMCell" else 1
    state = (LSTMState if parts == 2 else RNNState)(*(ts.tensor(RNG.standard_normal((B, H))) for _ in range(parts)))
    return cell, state


def after(cell: Any, state: Any, x: np.ndarray) -> Any:
    symbols = cell.step(ts.tensor(x), state)
    return type(state)(*(ts.tensor(getattr(symbols, f"{field}_t").numpy()) for field in state._fields))


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_each_jacobian_is_the_numeric_one(kind: str) -> None:
    cell, state = cell_and_state(kind)
    found = state_jacobians(cell.step, state, ts.tensor(XS))
    K = H * len(state)
    assert found.shape == (T, B, K, K) and not found.requires_grad
    eps = 1e-6
    for t in range(T):
        flat = np.concatenate([part.numpy() for part in state], -1)
        for j in range(K):
            moved = []
            for step in (eps, -eps):
                there = flat.copy()
                there[:, j] += step
                parts = type(state)(*(ts.tensor(part) for part in np.split(there, len(state), -1)))
                moved.append(np.concatenate([p.numpy() for p in after(cell, parts, XS[:, t])], -1))
            column = (moved[0] - moved[1]) / (2 * eps)
            np.testing.assert_allclose(found.numpy()[t, :, :, j], column, rtol=1e-6, atol=1e-8)
        state = after(cell, state, XS[:, t])


def test_an_array_is_as_good_as_a_tensor_and_nothing_is_recorded() -> None:
    cell, state = cell_and_state("LSTMCell")
    with ts.record() as r:
        found = state_jacobians(cell.step, state, XS)
    np.testing.assert_array_equal(found.numpy(), state_jacobians(cell.step, state, ts.tensor(XS)).numpy())
    assert len(r) == 0


def test_along_the_cell_path_the_product_is_that_of_the_forget_gates() -> None:
    """c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t with gates that see no c: ∂c_T/∂c_1 = ∏ f_t, a diagonal matrix."""
    cell, start = cell_and_state("LSTMCell")

    class Cell(ts.nn.Module):
        def step(self, x_t: Any, state: LSTMState) -> LSTMStep:
            return cell.step(x_t, LSTMState(state.h.detach(), state.c))

    xs = ts.tensor(XS)
    jacobians = state_jacobians(Cell().step, start, xs).numpy()[1:, :, H:, H:]  # of c by c
    product = ts.train.gradient_at_start(np.broadcast_to(np.eye(H), (B, H, H)), list(jacobians)).product
    symbols, _ = ts.ops.scan(cell.step, start, xs)
    forget = symbols.f_t.numpy()[:, 1:].prod(1)
    np.testing.assert_allclose(product, forget[:, :, None] * np.eye(H), rtol=1e-12, atol=1e-15)


def test_singular_values_are_those_of_the_whole_product() -> None:
    jacobians = RNG.standard_normal((T, B, H, H))
    found = largest_singular_values(ts.tensor(jacobians))
    assert found.shape == (T, B)
    for b in range(B):
        product = np.eye(H)
        for t in reversed(range(T)):
            assert found[t, b] == pytest.approx(np.linalg.norm(product, 2), rel=1e-12)
            product = product @ jacobians[t, b]
    assert (found[-1] == 1).all()


def test_on_the_device_without_a_sync(device: Any) -> None:
    cell, state = cell_and_state("LSTMCell")
    here = state_jacobians(cell.step, state, ts.tensor(XS)).numpy()
    cell.to(device.device)
    there = state_jacobians(cell.step, LSTMState(*(device.tensor(p.numpy()) for p in state)), device.tensor(XS))
    np.testing.assert_allclose(device.host(there), here, rtol=1e-12, atol=1e-14)
