"""The checks of gradients find each of the usual mistakes, and name it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import ops
from tinygrad_seq.backend import Kernel, backend_for
from tinygrad_seq.core import FusedOp, Op
from tinygrad_seq.testing import check_fused, check_grads

RNG = np.random.default_rng(1)
X = RNG.standard_normal((3, 4))
Y = RNG.standard_normal((3, 4))
SQUARE = RNG.standard_normal((3, 3))


def wrong(fn: Callable[..., Any], inputs: Any, order: int = 2, check: Callable[..., None] = check_grads) -> str:
    with pytest.raises(AssertionError) as caught:
        check(fn, inputs, order)
    return str(caught.value)


def op(backward: Callable[..., Any], forward: Callable[..., Any] = lambda self, be, x: x * x, **extra: Any) -> Any:
    """A function that applies an op made of a forward and a backward."""
    kind = type("Made", (Op,), {"forward": forward, "backward": backward, **extra})
    return lambda *xs: kind()(*xs)


# What is right passes


@pytest.mark.parametrize(
    ("fn", "inputs"),
    [
        (lambda x: x * 3.0, X),
        (lambda x: x, X),
        (lambda x, y: x + y, [X, X]),
        (lambda x: (x, x * x, ops.sum(x)), X),
        (lambda x: ops.tanh(x), 0.5),
        (lambda x: ops.tanh(x), ts.tensor(0.5)),
        (lambda x: x * x, np.zeros((0, 3))),
        (lambda x: ops.sign(x) * 2.0, X),
        (lambda x: x * ops.sign(x), X),
        (lambda x, i: x[i], [X, np.array([0, 0, 2])]),
        (lambda x, y: x if y is None else x * y, [X, None]),
        (lambda x: x.detach() * 2.0, np.zeros((0, 3))),
        (lambda x: ops.exp(ops.sin(x)), [ts.tensor([0.1, 0.2], dtype="float32", requires_grad=True)]),
        (lambda *xs: xs[0] * xs[1], [X, X]),
    ],
)
def test_right_ones_pass(fn: Any, inputs: Any) -> None:
    for order in (1, 2, 3):
        check_grads(fn, inputs, order)


def test_inputs_and_randomness_are_left_alone() -> None:
    x = ts.tensor(X, requires_grad=True)
    ts.seed(4)
    check_fused(lambda x: (ts.ops.softmax(x), x * x), [x])
    first = ops.dropout(np.ones(50))
    ts.seed(4)
    np.testing.assert_array_equal(first, ops.dropout(np.ones(50)))
    np.testing.assert_array_equal(x.numpy(), X)
    assert x.grad is None


def test_on_a_device(strict: Any) -> None:
    with strict.reading():
        check_fused(lambda x: ops.softmax(x), strict.tensor(X))


# What is wrong is named


def test_the_message_names_order_input_element_and_values() -> None:
    def fn(a: Any, weight: Any) -> Any:
        return a + op(lambda self, g, x: g * x)(weight)

    text = wrong(fn, [X, X])
    assert "order 1" in text
    assert "input 1 (weight), shape (3, 4)," in text
    assert "wrong in 12 of 12 elements" in text
    assert "worst at [" in text and "analytic" in text and "numeric" in text
    named = ts.tensor(X)
    named.name = "W_f"
    assert "input 1 (W_f)" in wrong(fn, [X, named])


@pytest.mark.parametrize(
    ("fn", "inputs", "words"),
    [
        (op(lambda self, g, x: g * x), X, "a factor of 2: the gradient is 0.5 times"),
        (op(lambda self, g, x: 4 * g * x), X, "a factor of 2: the gradient is 2 times"),
        (op(lambda self, g, x: 7 * g * x), X, "a constant factor: the gradient is 3.5 times"),
        (op(lambda self, g, x: -2 * g * x), X, "a sign"),
        (op(lambda self, g, x: 0 * g), X, "no gradient flows"),
        (op(lambda self, g, x: None), X, "no gradient flows"),
        (lambda x: ts.tensor(np.tanh(x.data)) + 0 * x, X, "no gradient flows"),
        (op(lambda self, g: g, lambda self, be, x: x * 0), X, "does not depend on its input"),
        (
            op(lambda self, g: g, lambda self, be, x: x.T),
            SQUARE,
            "a transpose: the gradient would be right with axes 0 and 1",
        ),
        (
            op(lambda self, g: g, lambda self, be, x: x[:, ::-1]),
            X,
            "an order: the gradient would be right with axis 1 reversed",
        ),
        (op(lambda self, g, x: g / x, lambda self, be, x: x * 1), np.zeros(3), "a division by zero"),
        # a mean where a sum was meant: 1/T, and a sum for a mean: T
        (op(lambda self, g: ops.broadcast_to(g, (3, 4)) / 3, lambda self, be, x: x.sum(0)), X, "axis 0 of input 0"),
        (op(lambda self, g: ops.broadcast_to(g, (3, 4)), lambda self, be, x: x.mean(0)), X, "axis 0 of input 0"),
        # the gradient of the last step alone
        (
            op(lambda self, g: g[-1], lambda self, be, b: np.stack([b * 1, b * 2, b * 3][::-1])),
            X[0],
            "place 2 of axis 0 of output 0 alone",
        ),
        (op(lambda self, g, x: 2 * g * x + (np.arange(12.0).reshape(3, 4) == 5)), X, "none of the usual"),
    ],
)
def test_usual_mistakes_are_named(fn: Any, inputs: Any, words: str) -> None:
    with np.errstate(all="ignore"):
        text = wrong(fn, inputs, order=1)
    assert words in text.split("likely:")[1]


def test_a_missing_sum_over_time() -> None:
    """The gradient of a weight that is used at each step, from one step only."""

    class LastStep(Op):
        def forward(self, be: Any, x: Any, W: Any) -> Any:
            return x @ W

        def backward(self, g: Any, x: Any, W: Any) -> Any:
            return g @ W.swapaxes(0, 1), x[:, -1].swapaxes(0, 1) @ g[:, -1]

    text = wrong(lambda x, W: LastStep()(x, W), [RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 2))])
    assert "input 1 (W)" in text
    assert "a missing sum over time or batch: the gradient is that of place 2 of axis 1 of output 0 alone" in text


def test_wrong_elements_with_something_in_common() -> None:
    def backward(self: Any, g: Any) -> Any:
        return g * (np.arange(4) != 2)

    assert "wrong in 3 of 12 elements, all at 2 of axis 1" in wrong(op(backward, lambda self, be, x: x * 1), X)


def test_an_array_hidden_on_self() -> None:
    """The first gradient is right, and the second one lacks a part: only the second order sees it."""

    class Hidden(Op):
        def forward(self, be: Any, x: Any) -> Any:
            self.square = x * x
            return self.square * x

        def backward(self, g: Any) -> Any:
            return g * 3 * self.square

    check_grads(lambda x: Hidden()(x), X, order=1)
    text = wrong(lambda x: Hidden()(x), X)
    assert "order 2: the derivative of the gradient of input 0" in text
    assert "an array hidden on self" in text

    class HalfHidden(Hidden):
        def backward(self, g: Any, x: Any) -> Any:
            return g * 3 * self.square + 0 * x

    assert "hidden on self" in wrong(lambda x: HalfHidden()(x), X)


def test_a_gradient_that_create_graph_changes() -> None:
    class Zeros(Op):
        def forward(self, be: Any, x: Any) -> Any:
            return x * x

        def backward(self, g: Any, x: Any) -> Any:
            return 2 * g * x if not isinstance(g, ts.Tensor) else 0 * g * x

    text = wrong(lambda x: Zeros()(x), X)
    assert "order 1: the gradient of input 0" in text and "is another with create_graph=True" in text


def test_what_cannot_be_checked() -> None:
    with pytest.raises(ValueError, match="different values in two calls"):
        check_grads(lambda x: ops.dropout(x), np.ones(50))
    with pytest.raises(ValueError, match="no tensor of floating-point numbers"):
        check_grads(lambda x: x > 0, X)
    with pytest.raises(ValueError, match="must return tensors, got float"):
        check_grads(lambda x: 1.0, X)
    with pytest.raises(ValueError, match="no fused operation"):
        check_fused(lambda x: x * 2, X)


# Kernels that are not their definition


def _right(be: Any, x: Any, y: Any) -> Any:
    return (x * y * y, x + y), ()


def _right_back(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    (x, y), (g, h) = inputs, g
    dx, dy = 0, 0
    if g is not None:
        dx, dy = dx + g * y * y, dy + 2 * g * x * y
    if h is not None:
        dx, dy = dx + h, dy + h
    return dx, dy


class Pair(FusedOp):
    kernel = "pair"

    def definition(self, x: Any, y: Any) -> Any:
        return x * y * y, x + y


def _value(be: Any, x: Any, y: Any) -> Any:
    return (x * y, x + y), ()


def _shape(be: Any, x: Any, y: Any) -> Any:
    return (x * y * y, (x + y).sum(0)), ()


def _input_written(be: Any, x: Any, y: Any) -> Any:
    outputs, tape = _right(be, x, y)
    x += 1
    return outputs, tape


def _first_output_only(*args: Any) -> Any:
    g = args[3]
    return _right_back(*args[:3], [g[0] if g[0] is not None else 0 * g[1], g[1] if g[0] is not None else None], args[4])


def _all_or_nothing(*args: Any) -> Any:
    dx, dy = _right_back(*args)
    return (dx, dy) if all(args[4]) else (dx, dx)


def _gradient_written(*args: Any) -> Any:
    found = _right_back(*args)
    if args[3][0] is not None:
        args[3][0][...] *= 2
    return found


def _same_array_forgotten(*args: Any) -> Any:
    x, y = args[2]
    dx, dy = _right_back(*args)
    return dx, (dy if x is not y and not np.array_equal(x, y) else 0 * dy)


@pytest.mark.parametrize(
    ("forward", "backward", "words"),
    [
        (_value, _right_back, "the kernel's output 0 differs in"),
        (_shape, _right_back, "the kernel's output 1 has shape (4,), not (3, 4)"),
        (
            _right,
            lambda *args: tuple(2 * g for g in _right_back(*args)),
            "from all outputs: the kernel's gradient of input 0 (x)",
        ),
        (_right, lambda *args: _right_back(*args)[::-1], "from all outputs: the kernel's gradient of input 0 (x)"),
        (_right, _first_output_only, "from output 1 alone: the kernel's gradient of input 0 (x)"),
        (_right, _all_or_nothing, "where input 0 (x) is constant: the kernel's gradient of input 1 (y)"),
        (_input_written, _right_back, "wrote"),
        (_right, _gradient_written, "the gradient of output 0, into which the kernel wrote"),
        (_right, _same_array_forgotten, "input 0 (x, also given as y)"),
    ],
)
def test_kernels_that_differ(monkeypatch: Any, forward: Any, backward: Any, words: str) -> None:
    monkeypatch.setitem(backend_for("cpu").kernels, "pair", Kernel(forward, backward))
    assert words in wrong(lambda x, y: Pair()(x, y), [X, Y], check=check_fused)


def test_a_kernel_that_is_its_definition(monkeypatch: Any) -> None:
    monkeypatch.setitem(backend_for("cpu").kernels, "pair", Kernel(_right, _right_back))
    check_fused(lambda x, y: Pair()(x, y), [X, Y])
    check_fused(Pair(), [X, Y])
    check_fused(ops.softmax(ts.tensor(X, requires_grad=True), axis=0).place, X)


def test_inputs_of_booleans() -> None:
    mask = X[0] > 0
    assert mask.any() and not mask.all()
    check_fused(lambda e, mask: ops.masked_softmax(e, mask), [X, mask])
