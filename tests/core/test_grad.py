"""`grad`: of what, with respect to what, and how often."""

import math

import numpy as np
import pytest

import tinygrad_seq as ts


def leaf(*values: float) -> ts.Tensor:
    return ts.tensor(np.array(values), requires_grad=True)


def test_third_derivatives_of_tanh() -> None:
    x = ts.tensor(np.linspace(-2, 2, 9), requires_grad=True)
    y = ts.ops.tanh(x)
    d1 = ts.grad(y.sum(), x, create_graph=True)
    d2 = ts.grad(d1.sum(), x, create_graph=True)
    d3 = ts.grad(d2.sum(), x)
    t = np.tanh(x.data)
    np.testing.assert_allclose(d1.data, 1 - t**2, rtol=1e-14)
    np.testing.assert_allclose(d2.data, -2 * t * (1 - t**2), rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(d3.data, -2 * (1 - t**2) * (1 - 3 * t**2), rtol=1e-13)


def test_fourth_derivative_through_backward_with_create_graph() -> None:
    x = leaf(1.5)
    y = x**5
    for order in range(1, 5):
        x.grad = None
        y.backward(create_graph=True)
        y = x.grad
        assert y.item() == pytest.approx(math.perm(5, order) * 1.5 ** (5 - order), rel=1e-14)
    x.grad = None  # it holds the graph, and the graph holds x


def test_create_graph_accumulates_differentiably() -> None:
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    (x**2).backward(create_graph=True)
    total = x.grad
    assert total.item() == 12 + 4
    assert ts.grad(total, x).item() == 12 + 2
    x.grad = None


def test_mixed_second_derivatives() -> None:
    x, y = leaf(0.3), leaf(0.7)
    f = ts.ops.sin(x * y)
    dx = ts.grad(f, x, create_graph=True)
    assert ts.grad(dx, y).item() == pytest.approx(math.cos(0.21) - 0.21 * math.sin(0.21))


def test_several_inputs_give_a_tuple_and_touch_no_grad() -> None:
    x, y = leaf(2.0), leaf(3.0)
    h = x * y
    h.retain_grad()
    gs = ts.grad(h * x, [y, x, h])
    assert isinstance(gs, tuple)
    assert [g.item() for g in gs] == [4, 12, 2]
    assert x.grad is y.grad is h.grad is None


def test_several_outputs_are_added_and_weighted() -> None:
    x = leaf(2.0)
    a, b = x * x, x**3
    assert ts.grad([a, b], x, retain_graph=True).item() == 4 + 12
    assert ts.grad([a, b], x, [np.array([10.0]), np.array([1.0])], retain_graph=True).item() == 40 + 12
    assert ts.grad([a, b], x, [None, ts.tensor(np.array([2.0]))], retain_graph=True).item() == 4 + 24
    constant = ts.tensor([1.0])
    assert ts.grad([a, constant], x).item() == 4


def test_an_output_twice() -> None:
    x = leaf(2.0)
    y = x * x
    assert ts.grad([y, y], x).item() == 8


def test_an_output_as_input() -> None:
    x = leaf(2.0)
    y = x * x
    assert [g.item() for g in ts.grad(y * 3, [y, x])] == [3, 12]
    assert ts.grad(y, y).item() == 1


def test_zeros_where_independent() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0)
    gx, gy = ts.grad(x.sum(), [x, y])
    assert gy.data.tolist() == [0] and gx.data.tolist() == [1, 1]
    h = y * 2
    assert ts.grad(x.sum(), h).data.tolist() == [0]
    newer = x * 2  # made after what is differentiated
    older = x * 3
    assert ts.grad((older * 1).sum(), newer).data.tolist() == [0, 0]


def test_with_respect_to_an_intermediate_leaves_what_is_below() -> None:
    x = leaf(2.0)
    below = ts.ops.tanh(x * x)
    middle = below * below
    top = ts.ops.exp(middle)
    g = ts.grad(top, middle)
    assert g.item() == pytest.approx(math.exp(math.tanh(4) ** 2))
    middle.backward()  # still there, though what lay above was freed
    t = math.tanh(4)
    assert x.grad.item() == pytest.approx(2 * t * (1 - t * t) * 4)
    with pytest.raises(RuntimeError, match="gone through this graph already"):
        top.backward()


def test_with_respect_to_one_of_several_outputs() -> None:
    x = leaf(1.0, 2.0)
    a, b = ts.ops.split(x, 2)
    ga, gb = ts.grad((a * b * b).sum(), [a, b], create_graph=True)
    assert (ga.item(), gb.item()) == (4, 4)
    assert ts.grad(gb, a).item() == 4


def test_with_respect_to_the_states_of_an_lstm() -> None:
    ts.seed(0)
    lstm = ts.nn.LSTM(2, 3).to("float64")
    x = ts.tensor(np.ones((1, 2, 2)))
    out, (h, _) = lstm(x)
    np.testing.assert_array_equal(ts.grad((out * 2).sum(), out).data, np.full((1, 2, 3), 2.0))
    out, (h, c) = lstm(x)
    gh, gc = ts.grad((h * c).sum(), [h, c])
    np.testing.assert_array_equal(gh.data, c.data)
    np.testing.assert_array_equal(gc.data, h.data)


def test_leaf_hooks_are_heard_by_grad() -> None:
    x = leaf(2.0)
    x.register_hook(lambda g: g * 10)
    assert ts.grad(x * x, x).item() == 40


def test_gradient_penalty_trains() -> None:
    """A loss of a gradient, differentiated by the weights: what create_graph is for."""
    w, x = leaf(0.5, -0.3), leaf(1.0, 2.0)
    y = ts.ops.tanh((w * x).sum())
    gx = ts.grad(y, x, create_graph=True)
    (gx * gx).sum().backward()
    t = math.tanh(0.5 - 0.6)
    s, w_, x_ = 1 - t * t, w.data, x.data
    # |∇x y|² = s² |w|²;  ds/dw = -2 t s x
    np.testing.assert_allclose(w.grad.data, 2 * s * (-2 * t * s * x_) * (w_ @ w_) + 2 * s * s * w_, rtol=1e-12)


def test_create_graph_under_no_grad_still_builds_the_graph_of_the_gradient() -> None:
    x = leaf(2.0)
    y = x**3
    with ts.no_grad():
        g = ts.grad(y, x, create_graph=True)
    assert ts.grad(g, x).item() == 12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_sum_exp_where_all_is_minus_infinity(dtype: str) -> None:
    """There no element has a part in the sum: its gradients are 0, and those of the rows beside it what they are."""
    x = ts.tensor(np.array([[-np.inf, -np.inf], [0.0, np.log(3)]], dtype), requires_grad=True)
    with np.errstate(divide="ignore"):  # log 0
        first = ts.grad(ts.ops.logsumexp(x, 1).sum(), x, create_graph=True)
    assert first.dtype == dtype
    np.testing.assert_allclose(first.numpy(), [[0, 0], [0.25, 0.75]], rtol=1e-6)
    second = ts.grad(first[:, 0].sum(), x).numpy()
    np.testing.assert_allclose(second, [[0, 0], [0.1875, -0.1875]], rtol=1e-6)
