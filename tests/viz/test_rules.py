"""The rules that the page's stepper shows are those that the engine goes by."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import tinygrad_seq as ts
from tinygrad_seq.core import FusedOp, Op
from tinygrad_seq.core.fused import Same
from tinygrad_seq.nn.hooks import Hooked
from tinygrad_seq.ops import elementwise, index, linalg, reduce, shape
from tinygrad_seq.viz import Edge, Node, rules
from tinygrad_seq.viz.rules import RULES, local_rule

OURS = [op for op in rules.operations() if op.__module__.startswith("tinygrad_seq.")]
PRIMITIVE = [op for op in OURS if "backward" in vars(op)]  # not Checkpoint, whose rule is that of what it holds
FUSED = [op for op in OURS if issubclass(op, FusedOp) and "definition" in vars(op)]


def some(*dims: int) -> Any:
    return np.random.default_rng(3).standard_normal(dims)


def positive(*dims: int) -> Any:
    return np.abs(some(*dims)) + 0.3


TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, -1.0]])
ROWS = np.array([2, 0, 2])
ALONG = np.array([[2, 0], [1, 1]])

EXAMPLES: list[tuple[Op, list[Any]]] = [
    (elementwise.Add(), [some(2, 3), some(3)]),
    (elementwise.Sub(), [some(2, 3), some(3)]),
    (elementwise.Mul(), [some(2, 3), some(3)]),
    (elementwise.Div(), [some(2, 3), positive(3)]),
    (elementwise.Neg(), [some(2, 3)]),
    (elementwise.Power(3), [some(2, 3)]),
    (elementwise.Power(-0.5), [positive(2, 3)]),
    (elementwise.Pow(), [positive(2, 3), some(2, 3)]),
    (elementwise.Exp(), [some(2, 3)]),
    (elementwise.Log(), [positive(2, 3)]),
    (elementwise.Sqrt(), [positive(2, 3)]),
    (elementwise.Abs(), [some(2, 3)]),
    (elementwise.Sin(), [some(2, 3)]),
    (elementwise.Cos(), [some(2, 3)]),
    (elementwise.Tanh(), [some(2, 3)]),
    (elementwise.Sigmoid(), [some(2, 3)]),
    (elementwise.Relu(), [some(2, 3)]),
    (elementwise.Softplus(), [some(2, 3)]),
    (elementwise.Erf(), [some(2, 3)]),
    (elementwise.Maximum(), [TIES, TIES[::-1].copy()]),
    (elementwise.Minimum(), [TIES, TIES[::-1].copy()]),
    (elementwise.Clip(-0.5, 0.5), [some(2, 3)]),
    (elementwise.Where(), [some(2, 3) > 0, some(2, 3), some(2, 3)]),
    (elementwise.AsType(np.float64), [some(2, 3)]),
    (Same(), [some(2, 3)]),
    (reduce.Sum(None, False), [some(2, 3)]),
    (reduce.Sum((0, 2), False), [some(2, 3, 4)]),
    (reduce.Max(1, False), [TIES]),
    (reduce.Min(1, True), [TIES]),
    (reduce.LogSumExp(-1, False), [some(2, 3)]),
    (reduce.CumSum(1), [some(2, 3)]),
    (linalg.MatMul(), [some(2, 3), some(3, 4)]),
    (linalg.MatMul(), [some(5, 2, 3), some(5, 3, 4)]),
    (linalg.Einsum("bij", "bkj", "bik"), [some(2, 3, 4), some(2, 5, 4)]),
    (shape.Reshape((6,)), [some(2, 3)]),
    (shape.Transpose((2, 0, 1)), [some(2, 3, 4)]),
    (shape.SwapAxes(0, 2), [some(2, 3, 4)]),
    (shape.BroadcastTo((4, 2, 3)), [some(2, 1)]),
    (shape.Concatenate(1), [some(2, 3), some(2, 1)]),
    (shape.Split((1, 3), 1), [some(2, 5)]),
    (shape.Stack(1), [some(2, 3), some(2, 3)]),
    (shape.Unstack(1), [some(2, 3)]),
    (shape.Pad(((1, 0), (0, 2)), 0.0), [some(2, 3)]),
    (index.GetItem((slice(None), 1)), [some(2, 3)]),
    (index.GetItem(ROWS), [some(3, 2)]),
    (index.ScatterAdd((4, 2), ROWS), [some(3, 2)]),
    (index.Embed(ROWS, None), [some(3, 2)]),
    (index.Gather(ALONG, 1), [some(2, 3)]),
    (index.AddAlong((2, 3), ALONG, 1), [some(2, 2)]),
    (Hooked(tuple), [some(2, 3), some(3)]),
]


def test_every_operation_has_a_rule_and_an_example() -> None:
    moved = {"ToDevice"}  # needs a GPU to come back from
    assert {op.__name__ for op in PRIMITIVE} == set(RULES) == {type(op).__name__ for op, _ in EXAMPLES} | moved


def words(op: Any, arrays: list[Any], g: Any) -> dict[str, Any]:
    """What the words in a rule's expressions mean for one operation."""
    x = arrays[0]

    def again(forward: Callable[[Any], Any], backward: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda v: forward(v) if v is x else backward(v)

    def stretch(v: Any) -> Any:
        if type(op) is shape.BroadcastTo:
            return np.broadcast_to(v, op.to)
        axes = tuple(range(x.ndim)) if op.axis is None else op.axis
        return np.broadcast_to(v if op.keepdims else np.expand_dims(v, axes), x.shape)

    def einsum(p: Any, q: Any) -> Any:
        letters = [(arrays[0], op.a), (arrays[1], op.b), (g, op.out)]
        given = [next(text for array, text in letters if array is v) for v in (p, q)]
        (left,) = [text for _, text in letters if text not in given]
        return np.einsum(f"{given[0]},{given[1]}->{left}", p, q)

    def add_at(at: Any, values: Any) -> Any:
        y = np.zeros(op.to if hasattr(op, "to") else x.shape)
        if hasattr(op, "axis"):
            rows = np.arange(len(values))[:, None]
            at = (rows, at)
        np.add.at(y, at, values)
        return y

    def unpad(v: Any) -> Any:
        return v[tuple(slice(a, n - b) for (a, b), n in zip(op.widths, v.shape, strict=True))]

    axis = getattr(op, "axis", None)
    return {
        "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "sin": np.sin, "cos": np.cos,
        "tanh": np.tanh, "sigmoid": special.expit, "erf": special.erf, "pi": np.pi, "where": np.where,
        "maximum": np.maximum, "minimum": np.minimum, "clip": np.clip, "copy": np.copy,
        "astype": lambda v: v.astype(op.to), "stretch": stretch, "einsum": einsum, "add_at": add_at, "unpad": unpad,
        "T": lambda v: v.swapaxes(-1, -2), "n": getattr(op, "n", None),
        "low": getattr(op, "low", None), "high": getattr(op, "high", None), "index": getattr(op, "index", None),
        "share": lambda v: v / v.sum(axis, keepdims=True), "sum": lambda v: v.sum(axis, keepdims=op.keepdims),
        "max": lambda v: v.max(axis, keepdims=op.keepdims), "min": lambda v: v.min(axis, keepdims=op.keepdims),
        "cumsum": lambda v: np.cumsum(v, axis), "flip": lambda v: np.flip(v, axis),
        "reshape": again(lambda v: v.reshape(op.to), lambda v: v.reshape(x.shape)),
        "transpose": again(lambda v: v.transpose(op.axes), lambda v: v.transpose(np.argsort(op.axes))),
        "swapaxes": lambda v: v.swapaxes(op.axis1, op.axis2),
        "concatenate": lambda v: np.concatenate(v, axis), "split": lambda v: np.split(v, op.cuts, axis),
        "stack": lambda v: np.stack(v, axis), "unstack": lambda v: [np.take(v, k, axis) for k in range(v.shape[axis])],
        "pad": lambda v: np.pad(v, op.widths), "take": lambda v, at: np.take_along_axis(v, at, axis),
    }  # fmt: skip


@pytest.mark.parametrize(("op", "arrays"), EXAMPLES, ids=[type(op).__name__ for op, _ in EXAMPLES])
def test_a_rule_is_what_the_engine_does(op: Any, arrays: list[Any]) -> None:
    made = [ts.tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]
    y = op(*made)
    if isinstance(y, tuple):
        out: Any = [part.data for part in y]
        g: Any = [some(*part.shape) + 1 for part in y]
    else:
        out = y.data
        g = some(*y.shape) + 1
    found = op.backward(g, *op.kept)
    rule = RULES[type(op).__name__]
    meant = words(op, arrays, g) | {"g": g, "out": out}
    meant |= dict(zip(op.names, arrays, strict=True)) if op.names else {"x": arrays}
    computed = evaluated(rule.forward, meant)
    for mine, theirs in zip(computed, out, strict=True) if isinstance(out, list) else [(computed, out)]:
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    if op.names:
        expected = [evaluated(told, meant) if told else None for told in rule.backward]
    else:  # one rule for a list of inputs
        expected = evaluated(rule.backward[0], meant)
    got = found if isinstance(found, tuple | list) else [found]
    assert len(got) == len(expected)
    for mine, theirs in zip(expected, got, strict=True):
        if mine is None:
            assert theirs is None
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def evaluated(expression: str, meant: dict[str, Any]) -> Any:
    return eval(expression, {"__builtins__": {}}, meant)


def told(label: str, op: str, n: int, kind: str = "op") -> rules.Local:
    return local_rule(Node("n0", kind, label, op=op), [Edge(f"n{k}", "n0") for k in range(n)])


def test_numbers_in_a_label_stand_in_the_rule() -> None:
    assert told("y = × 2.5", "Mul", 1)[::2] == ("out = a · 2.5", [("a", "g · 2.5")])
    assert told("1 −", "Sub", 1)[::2] == ("out = 1 − b", [("b", "−g")])
    assert told("÷ −3", "Div", 1)[::2] == ("out = a / −3", [("a", "g / −3")])
    assert told("⊙", "Mul", 2)[::2] == ("out = a ⊙ b", [("a", "g ⊙ b"), ("b", "g ⊙ a")])


def test_boxes_that_stand_for_several_operations() -> None:
    assert told("loss = mean", "Div", 1).inputs == [("x", "stretch(g) / n")]
    assert told("+", "Add", 3)[::2] == ("out = x₁ + x₂ + x₃", [("x₁", "g"), ("x₂", "g"), ("x₃", "g")])
    assert told("concatenate axis 0", "Concatenate", 2).inputs == [("x₁", "split(g)"), ("x₂", "split(g)")]
    assert "45 boxes" in local_rule(Node("n0", "fold", "lstm: LSTM", count=45), []).words


def test_inputs_that_get_nothing() -> None:
    assert told("embedding", "Embed", 2).inputs == [("table", "add_at(index, g)"), ("", "")]
    assert told("where", "Where", 3).inputs[0] == ("condition", "")


def test_a_number_that_the_picture_does_not_show() -> None:
    rule = told("maximum", "Maximum", 1)
    assert rule.inputs == [("", "")] and "a gets g ⊙ ((a > b) + (a = b) / 2)" in rule.words


@pytest.mark.parametrize("op", FUSED, ids=lambda op: op.__name__)
def test_a_fused_operation_says_its_definition(op: type[FusedOp]) -> None:
    assert op.__doc__ is not None
    first = " ".join(op.__doc__.strip().partition("\n\n")[0].split())
    closed = Node("n0", "fused", f"y = {rules.names.OPS.get(op.__name__) or rules.names.words(op.__name__)}, reverse")
    for node in (Node("n0", "fused", "y", op=op.__name__), closed):  # as it was drawn, and as a part that was closed
        rule = local_rule(node, [Edge("n1", "n0")])
        assert first in rule.words and rule.inputs == [("", "")]


def test_an_operation_of_ones_own() -> None:
    class Twice(Op):
        """2 x."""

        def forward(self, be: Any, x: Any) -> Any:
            return 2 * x

        def backward(self, g: Any) -> Any:
            return 2 * g

    assert told("twice", "Twice", 1).words == "An operation with its own derivative. 2 x."
    assert told("unknown", "FromAnotherProgram", 1).words == "An operation with its own derivative."
