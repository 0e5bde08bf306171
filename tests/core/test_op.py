"""Writing an op: what its backward may ask for, and what its errors say."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import FusedOp, Op

ONE = ts.tensor([1.0], requires_grad=True)


def test_backward_may_ask_for_inputs_and_out_alone() -> None:
    with pytest.raises(TypeError, match=r"^Bad.backward asks for \['y'\]; it may ask for \['a', 'b', 'out'\]$"):

        class Bad(Op):
            def forward(self, be: Any, a: Any, b: Any) -> Any:
                return a * b

            def backward(self, g: Any, a: Any, y: Any) -> Any:
                return g * y, g * a


def test_an_op_of_any_number_of_inputs_may_ask_for_out_alone() -> None:
    with pytest.raises(TypeError, match=r"Bad.backward asks for \['xs'\]; it may ask for \['out'\]"):

        class Bad(Op):
            def forward(self, be: Any, *xs: Any) -> Any:
                return sum(xs)

            def backward(self, g: Any, xs: Any) -> Any:
                return g


def test_an_op_with_several_outputs_cannot_ask_for_out() -> None:
    class Both(Op):
        def forward(self, be: Any, x: Any) -> Any:
            return x + 1, x + 2

        def backward(self, g: Any, out: Any) -> Any:
            return g[0] * out

    with pytest.raises(TypeError, match="Both has several outputs: its backward cannot ask for `out`"):
        Both()(ts.tensor([1.0], requires_grad=True))


def test_the_order_of_what_backward_asks_for_is_free() -> None:
    class Quotient(Op):
        def forward(self, be: Any, a: Any, b: Any) -> Any:
            return a / b

        def backward(self, g: Any, out: Any, b: Any) -> Any:
            return g / b, -g * out / b

    a, b = ts.tensor(3.0, requires_grad=True), ts.tensor(4.0, requires_grad=True)
    da, db = ts.grad(Quotient()(a, b), [a, b], create_graph=True)
    assert (da.item(), db.item()) == (0.25, -0.1875)
    assert ts.grad(db, b).item() == pytest.approx(2 * 3 / 64)


def test_a_family_of_ops_needs_no_backward() -> None:
    class Family(Op):
        scale = 1.0

        def forward(self, be: Any, x: Any) -> Any:
            return x * self.scale

    class Twice(Family):
        scale = 2.0

        def backward(self, g: Any) -> Any:
            return g * self.scale

    x = ts.tensor(3.0, requires_grad=True)
    assert ts.grad(Twice()(x), x).item() == 2


def test_arrays_in_arrays_out() -> None:
    assert type(ts.ops.tanh(np.ones(2))) is np.ndarray
    assert type(ts.ops.softmax(np.ones(2))) is np.ndarray
    assert all(type(part) is np.ndarray for part in ts.ops.split(np.ones(2), 2))


@pytest.mark.parametrize("make", [lambda: ts.ops.exp(ONE).place, lambda: ts.ops.softmax(ONE).place])
def test_an_applied_op_is_a_node_and_cannot_be_applied_again(make: Any) -> None:
    op = make()
    with pytest.raises(RuntimeError, match=r"this (Exp|Softmax) was applied before and is a node of that graph"):
        op(ONE * 2)
    with ts.no_grad():
        op(ONE)  # this makes no node


def test_an_input_of_an_op_may_have_a_default() -> None:
    class Scale(Op):
        def forward(self, be: Any, x: Any, factor: Any = 3.0) -> Any:
            self.inputs = 1 if factor == 3.0 else 2
            return x * factor

        def backward(self, g: Any) -> Any:
            return (g * 3.0,) if self.inputs == 1 else (g * 2.0, None)

    x = ts.tensor(5.0, requires_grad=True)
    assert (Scale()(x).item(), Scale()(x, 2.0).item()) == (15, 10)
    assert (ts.grad(Scale()(x), x).item(), ts.grad(Scale()(x, 2.0), x).item()) == (3, 2)


def test_an_op_may_be_applied_in_a_way_of_its_own() -> None:
    class Family(Op):
        def __call__(self, *inputs: Any) -> Any:
            return super().__call__(*(x * 2 for x in inputs))

    class Exp(Family):
        def forward(self, be: Any, x: Any) -> Any:
            return be.xp.exp(x)

        def backward(self, g: Any, out: Any) -> Any:
            return g * out

    x = ts.tensor(0.0, requires_grad=True)
    assert ts.grad(Exp()(x), x).item() == 2


def test_ops_that_only_differ_in_their_inputs_number() -> None:
    """One input, two and more are applied each in a way of their own; all of them tell a tensor from an array."""

    class Sum(Op):
        def forward(self, be: Any, *xs: Any) -> Any:
            return sum(xs)

        def backward(self, g: Any) -> Any:
            return tuple(g for _ in self.sources)

    class SumOfOne(Sum):
        def forward(self, be: Any, a: Any) -> Any:
            return a + 0

        def backward(self, g: Any) -> Any:
            return g

    class SumOfTwo(Sum):
        def forward(self, be: Any, a: Any, b: Any) -> Any:
            return a + b

        def backward(self, g: Any) -> Any:
            return g, g

    array = np.ones(2, np.float32)
    x, c = ts.tensor(array, requires_grad=True), ts.tensor(array)
    for inputs in ((x,), (x, c), (c, x), (x, 1.0), (array, x), (c,), (c, array), (1.0, c), (array,), (array, array)):
        general, special = Sum()(*inputs), (SumOfOne, SumOfTwo)[len(inputs) - 1]()(*inputs)
        assert type(general) is type(special)
        assert np.array_equal(ts.core.value(general), ts.core.value(special))
        if isinstance(general, ts.Tensor) and general.requires_grad:
            assert special.place.sources == general.place.sources
            told = [
                [(type(m), getattr(m, "shape", m)) for m in out.place.constants or ()] for out in (general, special)
            ]
            assert told[0] == told[1]
    with pytest.raises(TypeError, match=r"SumOfTwo.__call__\(\) missing 1 required positional argument: 'b'"):
        SumOfTwo()(x)


def test_no_gradient_is_computed_for_a_constant() -> None:
    x, g = ts.tensor([3.0], requires_grad=True), np.ones(1, np.float32)
    for c in (ts.tensor([2.0]), 2.0):
        for left in (x - c, x * c, x / c):
            assert [part is None for part in left.place.pull_back(g, False)] == [False, True]
        for right in (c * x, c / x):
            assert [part is None for part in right.place.pull_back(g, False)] == [True, False]


def test_gradient_none_means_none() -> None:
    class First(Op):
        def forward(self, be: Any, a: Any, b: Any) -> Any:
            return a + 0 * b

        def backward(self, g: Any) -> Any:
            return g, None

    a, b = ts.tensor(1.0, requires_grad=True), ts.tensor(1.0, requires_grad=True)
    First()(a, b).backward()
    assert a.grad.item() == 1 and b.grad is None


def test_the_number_of_gradients_must_fit() -> None:
    class TooFew(Op):
        def forward(self, be: Any, a: Any, b: Any) -> Any:
            return a + b

        def backward(self, g: Any) -> Any:
            return g

    a = ts.tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match="TooFew.backward gave 1 gradients? for 2 inputs"):
        TooFew()(a, a).backward()


# -- errors name the op and its inputs


def test_mismatched_shapes_name_the_op_and_both() -> None:
    a, b = ts.tensor(np.ones((2, 3))), ts.tensor(np.ones((4, 5), np.float32))
    with pytest.raises(ValueError, match=r"^Add of a \(2, 3\) float64, b \(4, 5\) float32: .*broadcast"):
        a + b
    with pytest.raises(ValueError, match=r"^MatMul of a \(2, 3\) float64, b \(4, 5\) float32: "):
        a @ b
    with pytest.raises(ValueError, match=r"^Concatenate of 0 \(2, 3\) float64, 1 \(4, 5\) float32: "):
        ts.ops.concatenate([a, b])
    with pytest.raises(ValueError, match=r"^Reshape of x \(2, 3\) float64: "):
        a.reshape(7)
    with pytest.raises(IndexError, match=r"^GetItem of x \(2, 3\) float64: "):
        a[5]


def test_an_error_that_numpy_makes_of_more_than_a_text() -> None:
    with pytest.raises(TypeError, match=r"^Add of a \(1,\) float32, b = 'a': ufunc 'add' did not contain a loop"):
        ts.tensor([1.0]) + "a"
    with pytest.raises(ValueError, match="^CumSum of x"):
        ts.ops.cumsum(ts.tensor([1.0]), 3)


def test_a_fused_op_names_its_inputs_too() -> None:
    class Fails(FusedOp):
        kernel = "softmax"

        def definition(self, x: Any, axis: int) -> Any:
            return x

    with pytest.raises(ValueError, match=r"^Fails of x \(2, 3\) float64: "):
        Fails(axis=7)(ts.tensor(np.ones((2, 3))))


def test_other_errors_pass_as_they_are() -> None:
    class Interrupted(Op):
        def forward(self, be: Any, x: Any) -> Any:
            raise KeyboardInterrupt

        def backward(self, g: Any) -> Any:
            return g

    class Broken(Interrupted):
        def forward(self, be: Any, x: Any) -> Any:
            raise ZeroDivisionError("my own")

        def backward(self, g: Any) -> Any:
            return g

    with pytest.raises(KeyboardInterrupt):
        Interrupted()(ts.tensor(1.0))
    with pytest.raises(ZeroDivisionError, match="^my own$"):
        Broken()(ts.tensor(1.0))


# -- promotion is NumPy's


@pytest.mark.parametrize("a", ["float16", "float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("b", ["float16", "float32", "float64", "int64"])
def test_promotion_between_tensors(a: str, b: str) -> None:
    x, y = ts.tensor([1, 1], dtype=a), ts.tensor([1, 1], dtype=b)
    assert (x + y).dtype == (x.data + y.data).dtype == np.result_type(a, b)
    assert (x * y).dtype == np.result_type(a, b)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_numbers_do_not_widen(dtype: str) -> None:
    x = ts.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    y = ((x * 2 + 1.5) / 3 - 1) ** 2
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype
    assert (x + np.float64(1)).dtype == np.float64, "a NumPy scalar does, as it says what it is"
