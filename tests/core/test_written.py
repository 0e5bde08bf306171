"""Writing into a weight between forward and backward: an op that kept it says so, all others go on."""

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import Op


class SquareOfBoth(Op):
    def forward(self, be: object, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        return w * w + x * x

    def backward(self, g: np.ndarray, w: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * w * g, 2 * x * g


def weight(*shape: int) -> ts.Parameter:
    p = ts.Parameter(np.random.default_rng(0).standard_normal(shape))
    p.name = "W"
    return p


def by_step(p: ts.Parameter) -> None:
    p.grad = ts.tensor(np.ones(p.shape))
    ts.optim.SGD([p], lr=0.1).step()


def by_load(p: ts.Parameter) -> None:
    module = ts.nn.Module()
    module.weight = p
    module.load_state_dict({"weight": np.zeros(p.shape)})


def by_init(p: ts.Parameter) -> None:
    ts.nn.init.uniform(p, 0, 1)


WRITES = {"optimizer step": by_step, "load_state_dict": by_load, "init": by_init}
X = np.random.default_rng(1).standard_normal((3, 4))
# What keeps the weight's array, itself or as a view of it.
KEEPS: dict[str, Callable[[ts.Parameter], ts.Tensor]] = {
    "Mul": lambda W: (W * W).sum(),
    "MatMul": lambda W: (ts.tensor(X, requires_grad=True) @ W).sum(),
    "Linear": lambda W: ts.ops.linear(ts.tensor(X, requires_grad=True), W).sum(),
    "MatMul of W.T": lambda W: (ts.tensor(X, requires_grad=True) @ W.T).sum(),
    "MatMul of a reshaped W": lambda W: (ts.tensor(X, requires_grad=True) @ W.reshape(2, 2, 4).reshape(4, 4)).sum(),
    "Mul of W[0]": lambda W: (W[0] * ts.tensor(X[0], requires_grad=True)).sum(),
    "Mul of W[:, 1:]": lambda W: (W[:, np.int64(1)] * ts.tensor(X[0], requires_grad=True)).sum(),
    "Mul of a part of W": lambda W: (ts.ops.split(W, 2)[1] * ts.tensor(X[:2], requires_grad=True)).sum(),
    "Mul of a row of W": lambda W: (ts.ops.unstack(W)[1] * ts.tensor(X[0], requires_grad=True)).sum(),
    "Mul of W broadcast": lambda W: (ts.ops.broadcast_to(W[0], (3, 4)) * ts.tensor(X, requires_grad=True)).sum(),
    "softmax of W": lambda W: ts.ops.softmax(W).sum(),
    "an op of two inputs": lambda W: SquareOfBoth()(W, ts.tensor(1.0)).sum(),
}
# What keeps none of it: the sum, the derivative of tanh (which keeps its output), a gathered copy.
KEEPS_NOT: dict[str, Callable[[ts.Parameter], ts.Tensor]] = {
    "Add": lambda W: (W + 1.0).sum(),
    "Sub": lambda W: (2.0 - W.T).sum(),
    "Tanh": lambda W: ts.ops.tanh(W).sum(),
    "Exp": lambda W: ts.ops.exp(W).sum(),
    "embedding": lambda W: ts.ops.embedding(W, np.array([1, 1, 3])).sum(),
    "rows gathered, then kept": lambda W: (W[np.array([0, 2])] ** 2).sum(),
    "a copy in float32": lambda W: (W.astype(np.float32) ** 2).sum(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("what", KEEPS)
def test_an_op_that_kept_the_weight_raises(what: str, write: str) -> None:
    W = weight(4, 4)
    loss = KEEPS[what](W)
    WRITES[write](W)
    with pytest.raises(RuntimeError, match=r"needs the weight 'W' of shape \(4, 4\) as it was in the forward pass"):
        loss.backward()
    KEEPS[what](W).backward()  # a new forward pass is the cure


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("what", KEEPS_NOT)
def test_an_op_that_did_not_keep_it_goes_on(what: str, write: str) -> None:
    W = weight(4, 4)
    loss = KEEPS_NOT[what](W)
    expected = ts.grad(loss, W, retain_graph=True).data
    WRITES[write](W)
    np.testing.assert_array_equal(ts.grad(loss, W).data, expected)


def test_the_error_names_the_op_and_the_cure() -> None:
    W = weight(2, 2)
    loss = (W * W).sum()
    by_step(W)
    with pytest.raises(
        RuntimeError, match="^Mul needs the weight.*optimizer step or load_state_dict.*forward pass again"
    ):
        loss.backward()


def test_under_create_graph_too() -> None:
    W = weight(4, 4)
    loss = ts.ops.linear(ts.tensor(X), W).sum()
    by_step(W)
    with pytest.raises(RuntimeError, match="^Linear needs the weight"):
        ts.grad(loss, W, create_graph=True)


def test_an_lstm_between_forward_and_backward() -> None:
    lstm = ts.nn.LSTM(2, 3)
    lstm.weight_hh_l0.name = "weight_hh_l0"
    out, _ = lstm(ts.tensor([[[1.0, 2.0]]]))
    lstm.load_state_dict(lstm.state_dict())
    with pytest.raises(RuntimeError, match="^LSTMSequence needs the weight"):
        out.sum().backward()


def test_other_weights_do_not_matter() -> None:
    W, other = weight(4, 4), weight(4, 4)
    loss = (W * W).sum()
    by_step(other)
    loss.backward()
    np.testing.assert_array_equal(W.grad.data, 2 * W.data)


def test_an_output_made_from_the_weight_is_not_the_weight() -> None:
    """The op keeps a product, which has an array of its own."""
    W = weight(4, 4)
    y = W + 0.0
    loss = (y * y).sum()
    by_step(W)
    loss.backward()
    np.testing.assert_array_equal(W.grad.data, 1 + 2 * y.data)  # 1 was there: by_step gave it
