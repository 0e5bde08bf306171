"""The table of operations: what each computes, said in NumPy, and on which inputs it is tried.

Every name in `tinygrad_seq.ops.__all__` has a row, and every row passes every check of `test_cases.py`: values against
NumPy, gradients to the second order, dtypes, memory layouts, backends. An empty array, a 0-d array or a pair of shapes
that broadcasts is a row of its own.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import special

import tinygrad_seq as ts
from tinygrad_seq import ops

Array = np.ndarray


class Input(NamedTuple):
    """How to make one input."""

    kind: str
    shape: tuple[int, ...] = ()
    given: Any = None

    def make(self, rng: np.random.Generator) -> Any:
        x = rng.standard_normal(self.shape)
        if self.kind == "given":
            return self.given
        if self.kind == "apart":  # no two equal, none at 0 or ½: where an op has a corner, no step of ε reaches it
            return rng.permutation(x.size).reshape(self.shape) - x.size / 2 + 0.3
        if self.kind == "positive":
            return np.abs(x) + 0.3
        if self.kind == "nonzero":
            return np.where(x < 0, x - 0.3, x + 0.3)
        if self.kind == "probabilities":
            return special.softmax(x, -1)
        if self.kind == "integers":
            return rng.integers(0, self.given, self.shape)
        if self.kind == "booleans":
            return x > 0
        return x


def any_(*shape: int) -> Input:
    return Input("any", shape)


def apart(*shape: int) -> Input:
    return Input("apart", shape)


def positive(*shape: int) -> Input:
    return Input("positive", shape)


def nonzero(*shape: int) -> Input:
    return Input("nonzero", shape)


def probabilities(*shape: int) -> Input:
    return Input("probabilities", shape)


def integers(below: int, *shape: int) -> Input:
    return Input("integers", shape, below)


def booleans(*shape: int) -> Input:
    return Input("booleans", shape)


def given(values: Any) -> Input:
    return Input("given", np.shape(values), values)


class Row(NamedTuple):
    """One operation on one choice of inputs."""

    op: str  # its name in tinygrad_seq.ops
    inputs: tuple[Input, ...]
    run: Callable[..., Any]  # on tensors
    numpy: Callable[..., Any]  # the same on arrays
    variant: str = ""
    order: int = 2  # to which gradients are checked numerically; 0: there are none
    fused: bool = False  # checked against its definition, too
    corner: Any = None  # the gradient of the sum, where a numeric one would step over a corner
    reads: bool = False  # the host must know values, such as how many are True: allowed to wait for the GPU

    @property
    def id(self) -> str:
        shapes = ",".join("x".join(map(str, i.shape)) or "0d" for i in self.inputs)
        return "-".join(part for part in (self.op, self.variant, shapes) if part).replace(" ", "_")

    def arrays(self, dtype: Any = np.float64) -> list[Any]:
        rng = np.random.default_rng(7)
        made = [np.asarray(i.make(rng)) for i in self.inputs]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in made]


ROWS: list[Row] = []


def row(op: str, inputs: Any, run: Any, numpy: Any, variant: str = "", **flags: Any) -> None:
    inputs = (inputs,) if isinstance(inputs, Input) else tuple(inputs)
    ROWS.append(Row(op, inputs, run, numpy, variant, **flags))


def using(fn: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """The function with these arguments after its inputs."""
    return lambda *xs: fn(*xs, *arguments, **options)


# -- each element by itself


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ANY_SHAPE: list[tuple[int, ...]] = [(2, 3), (), (1,), (0,), (2, 0, 3), (2, 1, 2)]

for name, kind, numpy in [
    ("abs", apart, np.abs),
    ("cos", any_, np.cos),
    ("erf", any_, special.erf),
    ("exp", any_, np.exp),
    ("log", positive, np.log),
    ("neg", any_, np.negative),
    ("relu", apart, lambda x: np.maximum(x, 0)),
    ("sigmoid", any_, special.expit),
    ("silu", any_, lambda x: x * special.expit(x)),
    ("sin", any_, np.sin),
    ("softplus", any_, lambda x: np.logaddexp(x, 0)),
    ("sqrt", positive, np.sqrt),
    ("tanh", any_, np.tanh),
]:
    for shape in ANY_SHAPE:
        row(name, kind(*shape), getattr(ops, name), numpy)

for shape in ANY_SHAPE:
    row("gelu", any_(*shape), ops.gelu, lambda x: x * special.ndtr(x), fused=True)
    row(
        "gelu",
        any_(*shape),
        lambda x: ops.gelu(x, "tanh"),
        gelu_tanh,
        "tanh",
        fused=True,
    )

row("abs", given([-1.0, 0.0, 2.0]), ops.abs, np.abs, "at 0", corner=[-1, 0, 1])
row("relu", given([-1.0, 0.0, 2.0]), ops.relu, lambda x: np.maximum(x, 0), "at 0", corner=[0, 0, 1])
row("sigmoid", given([-500.0, -20.0, 20.0, 500.0]), ops.sigmoid, special.expit, "large")
row("softplus", given([-200.0, -20.0, 20.0, 200.0]), ops.softplus, lambda x: np.logaddexp(x, 0), "large")
row("silu", given([-200.0, 200.0]), ops.silu, lambda x: x * special.expit(x), "large")
row("gelu", given([-20.0, 20.0]), ops.gelu, lambda x: x * special.ndtr(x), "large")

PAIRS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 1)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((), ()),
    ((1, 1), (3,)),
    ((2, 1, 3), (4, 1)),
    ((0, 3), (3,)),
    ((2, 0), (1,)),
    ((1, 3), (0, 1)),
]

for name, left, right, numpy in [
    ("add", any_, any_, np.add),
    ("sub", any_, any_, np.subtract),
    ("mul", any_, any_, np.multiply),
    ("div", any_, nonzero, np.divide),
    ("pow", positive, any_, np.power),
    ("maximum", any_, any_, np.maximum),
    ("minimum", any_, any_, np.minimum),
]:
    for p, q in PAIRS:
        row(name, (left(*p), right(*q)), getattr(ops, name), numpy)

for variant, kind, run in [
    ("x + 2", any_, lambda x: x + 2),
    ("2 + x", any_, lambda x: 2.0 + x),
    ("x - 2", any_, lambda x: x - 2),
    ("2 - x", any_, lambda x: 2.5 - x),
    ("x 2", any_, lambda x: x * 2),
    ("2 x", any_, lambda x: 0.5 * x),
    ("x / 2", any_, lambda x: x / 2),
    ("2 / x", nonzero, lambda x: 2 / x),
    ("2 ** x", any_, lambda x: 2**x),
    ("-x", any_, lambda x: -x),
    ("|x|", nonzero, abs),
    ("x ** 0", any_, lambda x: x**0),
    ("x ** 1", any_, lambda x: x**1),
    ("x ** 2", any_, lambda x: x**2),
    ("x ** 3", any_, lambda x: x**3),
    ("x ** -1", nonzero, lambda x: x**-1),
    ("x ** 0.5", positive, lambda x: x**0.5),
]:
    op = {"+": "add", "-": "sub", "/": "div", "**": "pow"}.get(variant.split()[1] if " " in variant else "", "mul")
    op = {"-x": "neg", "|x|": "abs"}.get(variant, op)
    for shape in [(2, 3), ()]:
        row(op, kind(*shape), run, run, variant)

row("pow", given([0.0, -1.0, 2.0]), lambda x: x**2, lambda x: x**2, "x ** 2 at 0")
row("pow", given([0.0, -1.0, 2.0]), lambda x: x**3, lambda x: x**3, "x ** 3 at 0")
row("mul", any_(2, 3), lambda x: x * (x.detach() * 0 + 2), lambda x: x * 2, "a constant")
row("maximum", given([1.0, 2.0]), lambda x: ops.maximum(x, 1.5), lambda x: np.maximum(x, 1.5), "a number")
row("minimum", given([1.0, 2.0]), lambda x: ops.minimum(1.5, x), lambda x: np.minimum(1.5, x), "a number")
row(
    "maximum",
    given([1.0, 2.0, 3.0]),
    lambda x: ops.maximum(x, 2.0),
    lambda x: np.maximum(x, 2.0),
    "a tie",
    corner=[0, 0.5, 1],
)
row(
    "minimum",
    given([[1.0, 2.0, 3.0]] * 2),
    lambda x: ops.minimum(x[0], x[1]),
    lambda x: x[0],
    "ties",
    corner=[[0.5] * 3] * 2,
)

for low, high in [(-0.5, 0.8), (None, 0.8), (-0.5, None), (-1, 1)]:
    for shape in ANY_SHAPE:
        row(
            "clip",
            apart(*shape),
            using(ops.clip, low, high),
            using(np.clip, low, high),
            f"{low}:{high}",
        )

for c, p, q in [
    ((2, 3), (2, 3), (2, 3)),
    ((2, 1), (3,), (2, 3)),
    ((3,), (), (2, 1)),
    ((), (2,), (2,)),
    ((2, 3), (), ()),
    ((), (), ()),
    ((0, 3), (3,), (1, 3)),
]:
    row("where", (booleans(*c), any_(*p), any_(*q)), ops.where, np.where)
row("where", any_(2, 3), lambda x: ops.where(x > 0, x, 0.0), lambda x: np.where(x > 0, x, 0.0), "a number")
row("where", any_(2, 3), lambda x: ops.where(x > 0, 1.0, x), lambda x: np.where(x > 0, 1.0, x), "a number first")
row("where", any_(2, 3), lambda x: ops.where(x > 0, x, x * x), lambda x: np.where(x > 0, x, x * x), "one tensor thrice")

# -- without gradient

for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    for p, q in PAIRS:
        row(name, (integers(3, *p), integers(3, *q)), getattr(ops, name), getattr(np, name), order=0)
    row(name, (any_(2, 3), given([0.0, 1.0, -1.0])), getattr(ops, name), getattr(np, name), "floats", order=0)
    row(name, any_(2, 3), using(getattr(ops, name), 0.5), using(getattr(np, name), 0.5), "a number", order=0)
for variant, run in [
    ("<", lambda a, b: a < b),
    ("<=", lambda a, b: a <= b),
    (">", lambda a, b: a > b),
    (">=", lambda a, b: a >= b),
    ("==", lambda a, b: a == b),
    ("!=", lambda a, b: a != b),
]:
    op = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}
    row(op[variant], (integers(3, 4), integers(3, 4)), run, run, "operator", order=0)
for name in ("logical_and", "logical_or"):
    for p, q in PAIRS:
        row(name, (booleans(*p), booleans(*q)), getattr(ops, name), getattr(np, name), order=0)
for shape in ANY_SHAPE:
    row("logical_not", booleans(*shape), ops.logical_not, np.logical_not, order=0)
    row("sign", apart(*shape), ops.sign, np.sign, order=0)
row("logical_and", integers(4, 5), lambda a: (a > 0) & (a < 3), lambda a: (a > 0) & (a < 3), "operator", order=0)
row("logical_or", integers(4, 5), lambda a: (a < 1) | (a > 2), lambda a: (a < 1) | (a > 2), "operator", order=0)
row("logical_not", integers(2, 5), lambda a: ~(a > 0), lambda a: ~(a > 0), "operator", order=0)
for axis in (None, 0, 1, -1):
    row("argmax", apart(2, 3), using(ops.argmax, axis), using(np.argmax, axis), f"{axis}", order=0)
for dtype in ("float64", "float32", "float16", "int64", "int32", "bool"):
    for shape in [(2, 3), (), (0, 3)]:
        row("astype", apart(*shape), using(ops.astype, dtype), using(np.ndarray.astype, dtype), dtype, order=0)
row("astype", any_(2, 3), lambda x: (ops.astype(x, "float64") * 2).to(x.dtype), lambda x: x * 2, "there and back")

# -- axes taken together

AXES: list[tuple[tuple[int, ...], Any]] = [
    ((2, 3), None),
    ((2, 3), 0),
    ((2, 3), -1),
    ((2, 3, 2), 1),
    ((2, 3, 2), (0, 2)),
    ((2, 3, 2), (-1, 1)),
    ((2, 3, 2), (2, 0, 1)),
    ((2, 3), ()),
    ((3,), 0),
    ((1, 3), 0),
    ((), None),
    ((), ()),
]
EMPTY: list[tuple[tuple[int, ...], Any]] = [((0,), None), ((2, 0), 1), ((2, 0), 0), ((0, 3), 1), ((2, 0, 3), (0, 2))]


def logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.exp(x).sum(axis, keepdims=keepdims))


for name, kind, numpy in [
    ("sum", any_, np.sum),
    ("mean", any_, np.mean),
    ("var", any_, np.var),
    ("std", apart, np.std),
    ("max", apart, np.max),
    ("min", apart, np.min),
    ("prod", any_, np.prod),
    ("logsumexp", any_, logsumexp),
]:
    for (shape, axis), keepdims in itertools.product(AXES, (False, True)):
        single = np.ones(shape).sum(axis).size == np.prod(shape)
        if name == "std" and single:  # the derivative of √ at 0
            continue
        row(
            name,
            kind(*shape),
            using(getattr(ops, name), axis, keepdims),
            using(numpy, axis=axis, keepdims=keepdims),
            f"{axis}{' keepdims' if keepdims else ''}",
        )
    for shape, axis in EMPTY:
        nothing = np.ones(shape).sum(axis).size == 0
        if name in ("sum", "prod") or nothing:
            row(
                name,
                kind(*shape),
                using(getattr(ops, name), axis),
                using(numpy, axis=axis),
                f"{axis} empty",
            )

for name in ("var", "std"):
    for axis, ddof in [(None, 1), (1, 1), ((0, 1), 2)]:
        row(
            name,
            apart(2, 3),
            using(getattr(ops, name), axis, ddof=ddof),
            using(getattr(np, name), axis=axis, ddof=ddof),
            f"{axis} ddof {ddof}",
        )
for values in ([0.0, 2.0, 3.0], [0.0, 0.0, 3.0, 4.0, 5.0], [0.0, 0.0, 0.0], [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]):
    row("prod", given(values), ops.prod, np.prod, "zeros")
row("prod", given([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]]), lambda x: ops.prod(x, 1), lambda x: np.prod(x, 1), "zeros")
TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
row("max", given(TIES), lambda x: ops.max(x, 1), lambda x: x.max(1), "ties", corner=[[0, 0.5, 0.5], [1 / 3] * 3])
row("max", given(TIES), ops.max, np.max, "ties", corner=[[0, 0.5, 0.5], [0, 0, 0]])
row("min", given(TIES), lambda x: ops.min(x, 1), lambda x: x.min(1), "ties", corner=[[1, 0, 0], [1 / 3] * 3])
row(
    "logsumexp",
    given([[1000.0, 1000.0], [-1000.0, -1001.0]]),
    lambda x: ops.logsumexp(x, 1),
    lambda x: special.logsumexp(x, 1),
    "large",
)
row(
    "logsumexp",
    given([[-np.inf, 0.5], [-np.inf, -np.inf]]),
    lambda x: ops.logsumexp(x, 1),
    lambda x: np.array([0.5, -np.inf]),
    "-inf",
    order=0,
)
for shape, axis in [((2, 3), 0), ((2, 3), 1), ((2, 3), -1), ((3,), 0), ((2, 0), 1), ((0, 2), 1)]:
    row("cumsum", any_(*shape), using(ops.cumsum, axis), using(np.cumsum, axis), f"{axis}")
for p, q in [
    ((3,), (2, 3)),
    ((2, 1), (2, 3)),
    ((), (2, 3)),
    ((2, 3), (2, 3)),
    ((1,), (0,)),
    ((1, 3), (4, 0, 3)),
    ((), ()),
]:
    row("broadcast_to", any_(*p), using(ops.broadcast_to, q), using(np.broadcast_to, q), f"{q}")

# -- moving elements


def moved(op: str, inputs: Any, *arguments: Any) -> None:
    """A row for a function whose NumPy counterpart has its name and arguments."""
    row(
        op,
        inputs,
        using(getattr(ops, op), *arguments),
        using(getattr(np, op), *arguments),
        ",".join(map(str, arguments)),
    )


def joined(fn: Callable[..., Any], axis: int) -> Callable[..., Any]:
    return lambda *xs: fn(xs, axis)


for shape, to in [
    ((2, 3), (3, 2)),
    ((2, 3), (-1,)),
    ((2, 3), (1, -1, 2)),
    ((), (1, 1)),
    ((1,), ()),
    ((0, 3), (3, 0)),
    ((2, 0), (0,)),
]:
    moved("reshape", any_(*shape), to)
row("reshape", any_(2, 3), lambda x: ops.reshape(x, 3, -1), lambda x: x.reshape(3, -1), "3, -1")
row("reshape", any_(2, 3), lambda x: x.reshape([6]), lambda x: x.reshape(6), "a list")
for shape in [(), (3,), (2, 3), (2, 3, 4), (0, 2)]:
    moved("transpose", any_(*shape))
for axes in [(1, 2, 0), (-1, 0, 1), (0, 1, 2)]:
    moved("transpose", any_(2, 3, 2), axes)
row("transpose", any_(2, 3, 2), lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1), "2, 0, 1")
row("transpose", any_(2, 3), lambda x: x.T, lambda x: x.T, ".T")
for a, b in [(0, 1), (0, -1), (1, 1), (-2, -1)]:
    moved("swapaxes", any_(2, 3, 2), a, b)
for a, b in [(0, 2), (0, -1), (-1, 0), (1, 1), (2, -2)]:
    moved("moveaxis", any_(2, 3, 2), a, b)
for shape, axis in [((2, 3), 0), ((2, 3), 1), ((2, 3), -1), ((2, 3), -3), ((), 0), ((0,), -1)]:
    moved("expand_dims", any_(*shape), axis)
for shape, axis in [
    ((1, 3, 1), None),
    ((1, 3, 1), 0),
    ((1, 3, 1), -1),
    ((1, 3, 1), (0, 2)),
    ((2, 3), None),
    ((), None),
    ((1, 0), 0),
    ((1,), ()),
]:
    moved("squeeze", any_(*shape), axis)
for shapes, axis in [
    (((2, 3), (1, 3)), 0),
    (((2, 3), (2, 1), (2, 2)), 1),
    (((2,), (3,)), -1),
    (((2, 3),), 0),
    (((0, 2), (3, 2)), 0),
    (((2, 2, 1), (2, 2, 2)), -1),
]:
    row(
        "concatenate",
        [any_(*s) for s in shapes],
        joined(ops.concatenate, axis),
        joined(np.concatenate, axis),
        f"{axis}",
    )
for shapes, axis in [
    (((2, 3), (2, 3)), 0),
    (((2, 3), (2, 3)), 1),
    (((2, 3),) * 3, -1),
    (((), ()), 0),
    (((2,),), 0),
    (((0, 2),) * 2, 1),
]:
    row("stack", [any_(*s) for s in shapes], joined(ops.stack, axis), joined(np.stack, axis), f"{axis}")
row(
    "stack", any_(2, 3), lambda x: ops.stack([x, x * x, x], 1), lambda x: np.stack([x, x * x, x], 1), "one tensor twice"
)
for shape, sections, axis in [
    ((4, 3), 2, 0),
    ((2, 6), 3, -1),
    ((5,), [1, 3], 0),
    ((2, 4), [0, 2, 2], 1),
    ((3,), 1, 0),
    ((3,), [], 0),
    ((0, 2), 2, 0),
]:
    moved("split", any_(*shape), sections, axis)
row("split", any_(5), lambda x: ops.split(x, [2])[1], lambda x: x[2:], "one part used")
row("split", any_(6), lambda x: (lambda a, b, c: a * c)(*ops.split(x, 3)), lambda x: x[:2] * x[4:], "two parts used")
for shape, axis in [((2, 3), 0), ((2, 3), 1), ((2, 3, 2), -2), ((3,), 0), ((2, 0), 0)]:
    row("unstack", any_(*shape), using(ops.unstack, axis), lambda x, a=axis: tuple(np.moveaxis(x, a, 0)), f"{axis}")
row("unstack", any_(3, 2), lambda x: ops.unstack(x)[1], lambda x: x[1], "one part used")
row("unstack", any_(3, 2), lambda x: (lambda a, b, c: a * c)(*x), lambda x: x[0] * x[2], "iterated")
for shape, widths in [
    ((2, 3), 1),
    ((2, 3), (1, 2)),
    ((2, 3), ((1, 2), (0, 3))),
    ((2, 3), ((1,), (2,))),
    ((3,), (0, 0)),
    ((0,), (2, 1)),
    ((2, 0), ((0, 0), (1, 1))),
]:
    moved("pad", any_(*shape), widths)
row("pad", any_(2, 2), lambda x: ops.pad(x, 1, 7.0), lambda x: np.pad(x, 1, constant_values=7.0), "fill 7")
row("pad", any_(), lambda x: ops.pad(x, 1), lambda x: x, "no axes")
for shape, axis in [((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), (0, 2)), ((), None), ((0, 2), 0)]:
    moved("flip", any_(*shape), axis)
for shape, repeats in [
    ((2, 3), 2),
    ((2, 3), (2, 1)),
    ((2, 3), (2, 1, 3)),
    ((3,), (2, 2)),
    ((2, 1), (1, 0)),
    ((), 3),
    ((), ()),
    ((0, 2), 2),
]:
    moved("tile", any_(*shape), repeats)
for shape, repeats, axis in [
    ((2, 3), 2, None),
    ((2, 3), 2, 0),
    ((2, 3), 3, -1),
    ((3,), [1, 0, 2], 0),
    ((2, 2), [2, 1], 1),
    ((), 3, None),
    ((0, 2), 2, 0),
    ((2, 2), 0, 0),
]:
    moved("repeat", any_(*shape), repeats, axis)

# -- indexing

M = np.array([[True, False, True], [False, False, True]])
INDICES: dict[str, tuple[tuple[int, ...], Any]] = {
    "an integer": ((4, 3), 1),
    "a negative integer": ((4, 3), -1),
    "integers": ((4, 3), (2, 0)),
    "a NumPy integer": ((4, 3), np.int64(2)),
    "a slice": ((4, 3), slice(1, 3)),
    "a step": ((5, 3), slice(None, None, 2)),
    "backwards": ((5, 3), slice(None, None, -2)),
    "an empty slice": ((4, 3), slice(2, 2)),
    "slices": ((4, 3), (slice(1, None), slice(None, -1))),
    "None": ((4, 3), None),
    "Ellipsis": ((2, 3, 2), (..., 1)),
    "None and Ellipsis": ((2, 3), (None, ..., None)),
    "()": ((2, 3), ()),
    "() of a number": ((), ()),
    "... of a number": ((), ...),
    "None of a number": ((), None),
    "a list": ((4, 3), [0, 2]),
    "a list with repeats": ((4, 3), [1, 1, 3, 1]),
    "an empty list": ((4, 3), []),
    "an array": ((4, 3), np.array([[0, 3], [3, -1]])),
    "an array of int32": ((4, 3), np.array([3, 0], np.int32)),
    "an array of uint8": ((4, 3), np.array([3, 0], np.uint8)),
    "a 0-d array": ((4, 3), np.array(2)),
    "an empty array": ((4, 3), np.zeros((0, 2), int)),
    "an array of a vector": ((4,), np.array([1, 1, 2])),
    "two arrays": ((4, 3), (np.array([0, 1, 1]), np.array([2, 0, 0]))),
    "two arrays that broadcast": ((4, 3), (np.array([[0], [1]]), np.array([2, 0, 0]))),
    "a slice and an array": ((2, 3), (slice(None), np.array([2, 2, 0]))),
    "an array and an integer": ((4, 3), (np.array([0, 2]), 1)),
    "arrays apart": ((2, 3, 4), (np.array([0, 1]), slice(None), np.array([3, 3]))),
    "an array, None and Ellipsis": ((2, 3, 4), (np.array([1, 0, 1]), None, ..., 2)),
    "a list and a slice": ((2, 3), (slice(None), [0, 0])),
    "a mask": ((2, 3), M),
    "a mask of rows": ((4, 3), np.array([True, False, True, True])),
    "a mask of columns": ((2, 3), (slice(None), np.array([True, False, True]))),
    "a list of booleans": ((3, 2), [True, False, True]),
    "a mask of nothing": ((2, 3), np.zeros((2, 3), bool)),
    "a mask and an integer": ((2, 3, 2), (M, 0)),
    "True": ((2, 3), True),
}
for variant, (shape, index) in INDICES.items():
    masks = any(np.asarray(part).dtype == bool for part in (index if isinstance(index, tuple) else (index,)))
    row("getitem", any_(*shape), lambda x, i=index: x[i], lambda x, i=index: x[i], variant, reads=masks)
for variant, indices in {"a tensor": np.array([2, 0, 2]), "a tensor of int32": np.array([[1], [1]], np.int32)}.items():
    row("getitem", (any_(3, 2), given(indices)), lambda x, i: x[i], lambda x, i: x[i], variant)
    row("getitem", (any_(2, 3), given(indices)), lambda x, i: x[:, i], lambda x, i: x[:, i], f"a slice and {variant}")
row("getitem", (any_(2, 3), given(M)), lambda x, m: x[m], lambda x, m: x[m], "a mask of a tensor", reads=True)
row("getitem", any_(2, 3), lambda x: x[x > 0], lambda x: x[x > 0], "a mask made of itself", reads=True)
row("getitem", any_(4, 3), lambda x: ops.getitem(x, (slice(1, 3), [0, 0])), lambda x: x[1:3, [0, 0]], "the function")

for shape, indices, axis in [
    ((4, 3), [1, 1, 0], 0),
    ((2, 3), [[2], [0]], -1),
    ((4, 3), [5, 0, 5], None),
    ((4, 3), 2, 0),
    ((3,), [-1], 0),
    ((3, 2), np.zeros(0, int), 0),
]:
    row("take", (any_(*shape), given(np.asarray(indices))), using(ops.take, axis), using(np.take, axis), f"{axis}")
row("take", any_(4, 3), lambda x: ops.take(x, [1, 1], 0), lambda x: x[[1, 1]], "a list")
for shape, index, axis in [
    ((2, 3), [[2], [0]], 1),
    ((2, 3), [[1, 1, 1, 0], [2, 0, 0, -1]], -1),
    ((4, 2), [[3, 0], [3, 1]], 0),
    ((3,), [2, 2], 0),
    ((2, 3), np.zeros((2, 0), int), 1),
]:
    row(
        "gather",
        (any_(*shape), given(np.asarray(index))),
        using(ops.gather, axis),
        using(np.take_along_axis, axis),
        f"{axis}",
    )


def scatter_add(x: Array, index: Array, values: Array, axis: int) -> Array:
    out = x.copy()
    for at in np.ndindex(index.shape):
        place = list(at)
        place[axis] = index[at]
        out[tuple(place)] += values[at]
    return out


for shape, index, axis in [
    ((2, 3), [[2, 2], [0, 2]], 1),
    ((4, 2), [[3, 0], [3, 1]], 0),
    ((3,), [1, 1, -1], 0),
    ((2, 3), np.zeros((2, 0), int), -1),
]:
    at = np.asarray(index)
    row(
        "scatter_add",
        (any_(*shape), given(at), any_(*at.shape)),
        using(ops.scatter_add, axis),
        using(scatter_add, axis),
        f"{axis}",
    )
for indices in ([1, 0, 1], [[2, 2], [0, 1]], 2, np.zeros((0, 2), int)):
    row("embedding", (any_(3, 2), given(np.asarray(indices))), ops.embedding, lambda E, i: E[i])
row("embedding", any_(3, 2), lambda E: ops.embedding(E, [[0, 2]]), lambda E: E[[[0, 2]]], "a list")
row(
    "embedding",
    (any_(3, 2), given(np.array([1, 0, 2, 1]))),
    lambda E, i: ops.embedding(E, i, 1),
    lambda E, i: E[i],
    "padding",
    corner=[[1, 1], [0, 0], [1, 1]],
)
row(
    "embedding",
    (any_(3, 2), given(np.array([1, 0, 2, 1]))),
    lambda E, i: ops.embedding(E, i, -1),
    lambda E, i: E[i],
    "padding from the end",
    corner=[[1, 1], [2, 2], [0, 0]],
)

# -- products

for p, q in [
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 2, 3), (3, 2)),
    ((2, 3), (2, 3, 2)),
    ((2, 2, 3), (2, 3, 1)),
    ((2, 1, 2, 3), (2, 3, 1)),
    ((1, 2, 3), (4, 3, 2)),
    ((2, 2, 3), (3,)),
    ((3,), (2, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 2, 0), (0, 3)),
    ((2, 0, 3), (3, 2)),
    ((0, 2, 3), (0, 3, 1)),
    ((2, 3), (3, 0)),
    ((0,), (0,)),
]:
    row("matmul", (any_(*p), any_(*q)), ops.matmul, np.matmul)
row("matmul", any_(2, 2), lambda x: x @ x.T @ x, lambda x: x @ x.T @ x, "operator")
for p, q in [((3,), (2,)), ((0,), (2,))]:
    row("outer", (any_(*p), any_(*q)), ops.outer, np.outer)
for subscripts, *shapes in [
    ("ij,jk->ik", (2, 3), (3, 2)),
    ("ij,jk", (2, 3), (3, 2)),
    ("ba,cb", (2, 3), (2, 2)),
    ("ij,kj->ik", (2, 3), (4, 3)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("i,i", (3,), (3,)),
    ("i,j->ij", (2,), (3,)),
    ("i,j->ji", (2,), (3,)),
    ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
    ("bhid,bhjd->bhij", (1, 2, 2, 3), (1, 2, 3, 3)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ji", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->ij", (2, 2, 3)),
    ("ii,i->i", (3, 3), (3,)),
    ("iii->i", (2, 2, 2)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 2)),
    ("...ij,...jk->...ik", (2, 3), (2, 3, 2)),
    ("...i,i->...", (2, 2, 3), (3,)),
    ("...,...", (2, 3), (3,)),
    ("i...->...i", (2, 3, 2)),
    ("i...,i...->...", (2, 3), (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 3)),
    ("i,j,k->ijk", (2,), (3,), (2,)),
    ("a,ab,abc->abc", (2,), (2, 3), (2, 3, 2)),
    ("ij,k->i", (2, 3), (4,)),
    ("ij,jk->k", (2, 3), (3, 2)),
    ("ij,j->ij", (2, 3), (1,)),
    ("ij,ij->ij", (2, 1), (2, 3)),
    ("i,i->", (3,), (1,)),
    ("i,i->", (1,), (3,)),
    ("ij,jk->ik", (2, 1), (3, 2)),
    ("ij,jk->ik", (2, 3), (1, 2)),
    ("bij,bjk->ik", (1, 2, 3), (2, 3, 2)),
    ("ij,ij,ij->i", (2, 3), (1, 3), (2, 1)),
    ("->", ()),
    (",i->i", (), (3,)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    ("ij,jk->ik", (2, 0), (0, 2)),
    ("Ab,bA->A", (2, 3), (3, 2)),
]:
    row(
        "einsum",
        [any_(*s) for s in shapes],
        lambda *xs, s=subscripts: ops.einsum(s, *xs),
        lambda *xs, s=subscripts: np.einsum(s, *xs),
        subscripts,
    )
for x, W in [
    ((2, 3), (4, 3)),
    ((3,), (2, 3)),
    ((2, 2, 3), (4, 3)),
    ((0, 3), (2, 3)),
    ((2, 0), (3, 0)),
    ((2, 1, 1), (1, 1)),
]:
    row("linear", (any_(*x), any_(*W)), ops.linear, lambda x, W: x @ W.T, fused=True)
    row("linear", (any_(*x), any_(*W), any_(W[0])), ops.linear, lambda x, W, b: x @ W.T + b, "bias", fused=True)

# -- normalization, softmax, dropout

for shape, axis in [
    ((2, 3), -1),
    ((2, 3), 0),
    ((2, 3, 2), 1),
    ((2, 3, 2), -2),
    ((3,), 0),
    ((2, 1), -1),
    ((0, 3), -1),
    ((2, 0, 3), 2),
]:
    row("softmax", any_(*shape), using(ops.softmax, axis), using(special.softmax, axis), f"{axis}", fused=True)
    row(
        "log_softmax",
        any_(*shape),
        using(ops.log_softmax, axis),
        using(special.log_softmax, axis),
        f"{axis}",
        fused=True,
    )
LARGE = [[1000.0, 999.0, -1000.0], [-2000.0, -2000.0, -2001.0]]
row("softmax", given(LARGE), ops.softmax, lambda x: special.softmax(x, -1), "large", fused=True)
row("log_softmax", given(LARGE), ops.log_softmax, lambda x: special.log_softmax(x, -1), "large", fused=True)


def layer_norm(x: Array, weight: Any = 1.0, bias: Any = 0.0, eps: float = 1e-5) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x: Array, weight: Any = 1.0) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


for shape in [(2, 3), (4,), (2, 2, 3), (0, 3), (2, 1)]:
    D = any_(shape[-1])
    row("layer_norm", any_(*shape), ops.layer_norm, layer_norm, fused=True)
    row("layer_norm", (any_(*shape), D), ops.layer_norm, layer_norm, "weight", fused=True)
    row(
        "layer_norm",
        (any_(*shape), D),
        lambda x, b: ops.layer_norm(x, bias=b),
        lambda x, b: layer_norm(x, bias=b),
        "bias",
        fused=True,
    )
    row("layer_norm", (any_(*shape), D, D), ops.layer_norm, layer_norm, "both", fused=True)
    row("rms_norm", nonzero(*shape), ops.rms_norm, rms_norm)
    row("rms_norm", (nonzero(*shape), D), ops.rms_norm, rms_norm, "weight")
row("layer_norm", any_(2, 3), lambda x: ops.layer_norm(x, eps=0.5), lambda x: layer_norm(x, eps=0.5), "eps", fused=True)


def dropped(x: Any, p: float) -> Any:
    ts.seed(3)
    return ops.dropout(x, p)


def dropped_by_ones(x: Array, p: float) -> Array:
    """The mask as dropout draws it for ones, which is all that can be said of it in NumPy."""
    ts.seed(3)
    return x * ops.dropout(np.ones(x.shape), p)


for shape in ANY_SHAPE:
    for p in (0.3, 0.5):
        row("dropout", any_(*shape), using(dropped, p), using(dropped_by_ones, p), f"{p}", fused=True)
row("dropout", any_(2, 3), lambda x: dropped(x, 0), lambda x: x, "0")

# -- losses


def cross_entropy(
    z: Array, t: Array, weight: Any = None, ignore: int | None = None, smoothing: float = 0.0
) -> np.floating[Any]:
    log_p = special.log_softmax(z, -1)
    total, count = 0.0, 0.0
    weight = np.ones(z.shape[-1]) if weight is None else weight
    for at in np.ndindex(t.shape):
        if t[at] != ignore:
            total -= (1 - smoothing) * weight[t[at]] * log_p[at][t[at]]
            total -= smoothing / z.shape[-1] * (weight * log_p[at]).sum()
            count += weight[t[at]]
    return np.float64(total / count)


W4 = np.array([1.0, 0.5, 2.0, 0.0])
for shape in [(3, 4), (4,), (2, 3, 4), (2, 1, 2, 4), (1, 1)]:
    for variant, options in {
        "": {},
        "ignore": {"ignore_index": 1},
        "ignore -100": {"ignore_index": -100},
        "smoothing": {"label_smoothing": 0.2},
        "ignore, smoothing": {"ignore_index": 1, "label_smoothing": 0.2},
        "all smoothing": {"label_smoothing": 1.0},
        "weight": {"weight": W4},
        "weight, ignore": {"weight": W4, "ignore_index": 1},
        "weight, smoothing": {"weight": W4, "label_smoothing": 0.1},
        "weight, ignore, smoothing": {"weight": W4, "ignore_index": 2, "label_smoothing": 0.1},
    }.items():
        V = shape[-1]
        targets = np.random.default_rng(1).permutation(np.arange(np.prod(shape[:-1], dtype=int)) % min(V, 3))
        if options.get("ignore_index") == -100:
            targets[::2] = -100 if targets.size > 1 else targets[::2]
        elif "ignore_index" in options and targets.size == 1:
            continue  # nothing would count
        static = {k: v for k, v in options.items() if k != "weight"}
        weight = options.get("weight")
        if weight is not None:
            weight = weight[:V]

        def run(z: Any, t: Any, static: Any = static, weight: Any = weight) -> Any:
            w = None if weight is None else ts.tensor(weight.astype(z.dtype), device=z.device)
            return ops.cross_entropy(z, t, weight=w, **static)

        row(
            "cross_entropy",
            (any_(*shape), given(targets.reshape(shape[:-1]))),
            run,
            lambda z, t, s=static, w=weight: cross_entropy(z, t, w, s.get("ignore_index"), s.get("label_smoothing", 0)),
            variant,
            fused=True,
        )
row(
    "cross_entropy",
    given([[1000.0, 0.0], [0.0, -1000.0]]),
    lambda z: ops.cross_entropy(z, [1, 1]),
    lambda z: np.float64(1000.0),
    "large",
    fused=True,
)
for shape in [(2, 3), (), (3,)]:
    row(
        "binary_cross_entropy_with_logits",
        (any_(*shape), given(np.full(shape, 0.3))),
        ops.binary_cross_entropy_with_logits,
        lambda z, t: (np.logaddexp(z, 0) - z * t).mean(),
    )
    row("mse_loss", (any_(*shape), any_(*shape)), ops.mse_loss, lambda x, t: ((x - t) ** 2).mean())
row(
    "binary_cross_entropy_with_logits",
    (given([-300.0, 300.0]), integers(2, 2)),
    ops.binary_cross_entropy_with_logits,
    lambda z, t: (np.logaddexp(z, 0) - z * t).mean(),
    "large",
)
for shape in [(3,), (2, 3), (2, 2, 3)]:
    row(
        "kl_div",
        (any_(*shape), probabilities(*shape)),
        lambda z, p: ops.kl_div(ops.log_softmax(z), p),
        lambda z, p: special.rel_entr(p, special.softmax(z, -1)).sum(-1).mean(),
    )
row(
    "kl_div",
    any_(2, 3),
    lambda z: ops.kl_div(ops.log_softmax(z), ts.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]], z.dtype, z.device)),
    lambda z: special.rel_entr([[0, 1, 0], [0.5, 0.5, 0]], special.softmax(z, -1)).sum(-1).mean(),
    "zeros",
)

# -- tags judged together


def each_path(e: Array, A: Array, a: Array, b: Array, lengths: Any = None) -> Iterator[dict[tuple[int, ...], Any]]:
    """For each sentence the score of every sequence of tags that it may have."""
    B, T, K = e.shape
    for e_b, n in zip(e, [T] * B if lengths is None else lengths, strict=True):
        yield {
            y: a[y[0]] + sum(e_b[t, y[t]] for t in range(n)) + sum(A[y[t - 1], y[t]] for t in range(1, n)) + b[y[-1]]
            for y in itertools.product(range(K), repeat=n)
        }


def crf_by_hand(*xs: Array, tags: Array, lengths: Any = None) -> tuple[Array, Array, Array]:
    paths = list(each_path(*xs, lengths))
    score = np.array([found[tuple(y[: len(next(iter(found)))])] for found, y in zip(paths, tags, strict=True)])
    log_Z = np.array([special.logsumexp(list(found.values())) for found in paths])
    return score, log_Z, score - log_Z


def viterbi_by_hand(*xs: Array, lengths: Any = None) -> tuple[Array, Array]:
    T = xs[0].shape[1]
    best = [max(found.items(), key=lambda path: path[1]) for found in each_path(*xs, lengths)]
    tags = [[*y, *[-1] * (T - len(y))] for y, _ in best]
    return np.array(tags, np.int64).reshape(len(best), T), np.array([score for _, score in best], xs[0].dtype)


for (B, T, K), lengths in [
    ((2, 3, 3), None),
    ((3, 4, 2), [4, 1, 2]),
    ((1, 1, 1), None),
    ((2, 3, 1), [3, 1]),
    ((2, 1, 3), None),
    ((0, 2, 3), None),
]:
    tags = np.random.default_rng(3).integers(0, K, (B, T))
    known = {"tags": tags, "lengths": np.full(B, T) if lengths is None else np.array(lengths)}
    xs = any_(B, T, K), any_(K, K), any_(K), any_(K)
    if B:
        row("crf", xs, using(ops.crf, **known), using(crf_by_hand, **known), f"lengths={lengths}")
    known["lengths"] = lengths
    row(
        "crf_log_likelihood",
        xs,
        using(ops.crf_log_likelihood, **known),
        lambda *xs, known=known: crf_by_hand(*xs, **known)[2],
        f"lengths={lengths}",
        fused=True,
    )
    how = {"lengths": lengths}
    row("viterbi", xs, using(ops.viterbi, **how), using(viterbi_by_hand, **how), f"lengths={lengths}", order=0)
row(
    "crf_step",
    (any_(2, 3), any_(2, 3), any_(3, 3)),
    ops.crf_step,
    lambda e, alpha, A: (e + special.logsumexp(alpha[:, :, None] + A, 1),),
)

# -- recurrence


def over_time(
    step: Callable[..., Any], x: Array, states: tuple[Array, ...], reverse: bool = False, lengths: Any = None
) -> tuple[Array, ...]:
    """h_1 … h_T, 0 beyond each end, and the last states; step(x_t, *states) gives the new ones, h first."""
    B, T, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    out = np.zeros((B, T, states[0].shape[1]), x.dtype)
    for t in reversed(range(T)) if reverse else range(T):
        runs = (t < lengths)[:, None]
        states = tuple(np.where(runs, new, old) for new, old in zip(step(x[:, t], *states), states, strict=True))
        out[:, t] = states[0] * runs
    return out, *states


def rnn_new(x: Array, h: Array, W: Array, U: Array, b: Array, nonlinearity: str = "tanh") -> Array:
    g = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": special.expit}[nonlinearity]
    return g(x @ W.T + h @ U.T + b)


def lstm_symbols(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> tuple[Array, ...]:
    i, f, g, o = np.split(x @ W.T + h @ U.T + b, 4, -1)
    c_t = special.expit(f) * c + special.expit(i) * np.tanh(g)
    return special.expit(f), special.expit(i), np.tanh(g), c_t, special.expit(o), special.expit(o) * np.tanh(c_t)


def gru_symbols(x: Array, h: Array, W: Array, U: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    (ir, iz, i_n), (hr, hz, hn) = np.split(x @ W.T + b_ih, 3, -1), np.split(h @ U.T + b_hh, 3, -1)
    r, z = special.expit(ir + hr), special.expit(iz + hz)
    n = np.tanh(i_n + r * hn)
    return r, z, n, (1 - z) * n + z * h


def gru_cho_symbols(x: Array, h: Array, W: Array, U: Array, b: Array) -> tuple[Array, ...]:
    (ir, iz, i_n), (Ur, Uz, Un) = np.split(x @ W.T + b, 3, -1), np.split(U, 3)
    r, z = special.expit(ir + h @ Ur.T), special.expit(iz + h @ Uz.T)
    n = np.tanh(i_n + (r * h) @ Un.T)
    return r, z, n, (1 - z) * n + z * h


def rnn(
    x: Array, h: Array, *p: Array, nonlinearity: str = "tanh", reverse: bool = False, lengths: Any = None
) -> tuple[Array, ...]:
    return over_time(lambda x_t, h: (rnn_new(x_t, h, *p, nonlinearity=nonlinearity),), x, (h,), reverse, lengths)


def lstm(x: Array, h: Array, c: Array, *p: Array, **options: Any) -> tuple[Array, ...]:
    return over_time(lambda x_t, h, c: lstm_symbols(x_t, h, c, *p)[5:2:-2], x, (h, c), **options)


def gru(x: Array, h: Array, *p: Array, **options: Any) -> tuple[Array, ...]:
    return over_time(lambda x_t, h: gru_symbols(x_t, h, *p)[-1:], x, (h,), **options)


def gru_cho(x: Array, h: Array, *p: Array, **options: Any) -> tuple[Array, ...]:
    return over_time(lambda x_t, h: gru_cho_symbols(x_t, h, *p)[-1:], x, (h,), **options)


def parameters(gates: int, D: int, H: int, biases: int = 1) -> tuple[Input, ...]:
    return any_(gates * H, D), any_(gates * H, H), *[any_(gates * H)] * biases


RECURRENT: list[tuple[str, Any, int, int, int]] = [  # name, in NumPy, states, gates, biases
    ("rnn", rnn, 1, 1, 1),
    ("lstm", lstm, 2, 4, 1),
    ("gru", gru, 1, 3, 2),
    ("gru_cho", gru_cho, 1, 3, 1),
]
for name, numpy, states, gates, biases in RECURRENT:
    for (B, T, D, H), options in [
        ((2, 3, 2, 2), {}),
        ((2, 3, 2, 2), {"reverse": True}),
        ((3, 3, 1, 2), {"lengths": [2, 3, 1]}),
        ((3, 3, 1, 2), {"lengths": [2, 3, 1], "reverse": True}),
        ((2, 1, 2, 1), {}),
        ((2, 1, 2, 2), {"reverse": True, "lengths": [1, 1]}),
        ((1, 3, 1, 2), {}),
        ((1, 3, 2, 1), {"lengths": [2]}),
        ((1, 1, 1, 1), {}),
        ((0, 2, 2, 2), {}),
    ]:
        row(
            name,
            (any_(B, T, D), *[any_(B, H)] * states, *parameters(gates, D, H, biases)),
            using(getattr(ops, name), **options),
            using(numpy, **options),
            ",".join(f"{k}={v}" for k, v in options.items()),
            fused=True,
        )
for nonlinearity in ("relu", "sigmoid"):
    for options in ({}, {"reverse": True, "lengths": [2, 3]}):
        row(
            "rnn",
            (any_(2, 3, 2), any_(2, 2), *parameters(1, 2, 2)),
            using(ops.rnn, nonlinearity=nonlinearity, **options),
            using(rnn, nonlinearity=nonlinearity, **options),
            ",".join([nonlinearity, *(f"{k}={v}" for k, v in options.items())]),
            fused=True,
        )


def lstm_step(x: Any, h: Any, c: Any, W: Any, U: Any, b: Any) -> Any:
    return ops.lstm_step(x, h, c, *(ops.lstm_gates(p, s) for p, s in ((W, "W"), (U, "U"), (b, "b"))))


def gru_step(x: Any, h: Any, W: Any, U: Any, b_ih: Any, b_hh: Any) -> Any:
    return ops.gru_step(x, h, ops.gru_gates(W, "W"), ops.gru_gates(U, "U"), *ops.gru_biases(b_ih, b_hh))


def gru_cho_step(x: Any, h: Any, W: Any, U: Any, b: Any) -> Any:
    return ops.gru_cho_step(x, h, *(ops.gru_gates(p, s) for p, s in ((W, "W"), (U, "U"), (b, "b"))))


for shape in [(2,), (0,)]:
    x, h = any_(*shape, 3), any_(*shape, 2)
    row("rnn_step", (x, h, *parameters(1, 3, 2)), ops.rnn_step, lambda *a: (rnn_new(*a),))
    row("lstm_step", (x, h, h, *parameters(4, 3, 2)), lstm_step, lstm_symbols)
    row("gru_step", (x, h, *parameters(3, 3, 2, 2)), gru_step, gru_symbols)
    row("gru_cho_step", (x, h, *parameters(3, 3, 2)), gru_cho_step, gru_cho_symbols)
row(
    "rnn_step",
    (any_(2, 3), any_(2, 2), *parameters(1, 3, 2)),
    using(ops.rnn_step, ops.sigmoid),
    lambda *a: (rnn_new(*a, nonlinearity="sigmoid"),),
    "sigmoid",
)
for shape in [(2,), (2, 3)]:
    row(
        "rnn_output",
        (any_(*shape, 2), any_(4, 2), any_(4)),
        ops.rnn_output,
        lambda h, W, b: (h @ W.T + b,),
    )
row("lstm_gates", any_(8, 3), lambda W: ops.lstm_gates(W, "W"), lambda W: tuple(np.split(W, 4)))
row("gru_gates", any_(6, 3), lambda W: ops.gru_gates(W, "W"), lambda W: tuple(np.split(W, 3)))
row(
    "gru_biases",
    (any_(6), any_(6)),
    ops.gru_biases,
    lambda b, b_h: (b[:2] + b_h[:2], b[2:4] + b_h[2:4], b[4:], b_h[4:]),
)


class Sums(NamedTuple):
    s: Any


class SumStep(NamedTuple):
    s_t: Any


def scanned(x: Any, s: Any, **options: Any) -> Any:
    return ops.scan(lambda x_t, state: SumStep(ops.tanh(state.s + x_t)), Sums(s), x, **options)


def scanned_by_hand(x: Array, s: Array, reverse: bool = False, lengths: Any = None) -> tuple[Array, ...]:
    out = np.zeros_like(x)
    for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        runs = np.full(len(x), True) if lengths is None else t < np.asarray(lengths)
        runs = runs.reshape(-1, *[1] * (s.ndim - 1))
        s = np.where(runs, np.tanh(s + x[:, t]), s)
        out[:, t] = s * runs
    return out, s


row("scan", (any_(2, 3, 2), any_(2, 2)), scanned, scanned_by_hand)
row(
    "scan",
    (any_(2, 3, 2), any_(2, 2)),
    lambda x, s: scanned(x, s, reverse=True),
    lambda x, s: scanned_by_hand(x, s, True),
    "reverse",
)
row(
    "scan",
    (any_(2, 3, 2), any_(2, 2), given(np.array([3, 1]))),
    lambda x, s, n: scanned(x, s, lengths=n.data),
    lambda x, s, n: scanned_by_hand(x, s, False, n),
    "lengths",
)
row("scan", (any_(1, 1, 2), any_(1, 2)), scanned, scanned_by_hand)
for shape in ((), (2,), (2, 3)):  # a state of other ranks than (B, H)
    row(
        "scan",
        (any_(2, 3, *shape), any_(2, *shape)),
        using(scanned, lengths=[3, 1]),
        using(scanned_by_hand, lengths=[3, 1]),
        "a list of lengths",
    )


# -- attention


def seen(S: int, T: int, mask: Any = None, causal: bool = False) -> Array:
    """(..., S, T): which keys each query sees."""
    past = np.tri(S, T, T - S, dtype=bool) if causal else np.ones((S, T), bool)
    return past if mask is None else past & mask


def weights(e: Array, mask: Array) -> Array:
    """softmax over what is seen; 0 where nothing is."""
    exponentials = np.where(mask, np.exp(e - np.where(mask, e, -np.inf).max(-1, keepdims=True, initial=-1e9)), 0)
    total = exponentials.sum(-1, keepdims=True)
    return exponentials / np.where(total == 0, 1, total)


def sdpa(q: Array, k: Array, v: Array, mask: Any = None, causal: bool = False) -> tuple[Array, ...]:
    e = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    alpha = weights(e, seen(q.shape[-2], k.shape[-2], mask, causal))
    return e, alpha, alpha @ v


SOME = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, False]])  # one sees none
for shapes, options in [
    (((2, 3, 2), (2, 3, 2), (2, 3, 2)), {}),
    (((2, 3, 2), (2, 3, 2), (2, 3, 2)), {"causal": True}),
    (((3, 2), (4, 2), (4, 3)), {"mask": SOME}),
    (((3, 2), (4, 2), (4, 1)), {"mask": SOME, "causal": True}),
    (((2, 1, 3, 1), (2, 1, 4, 1), (2, 1, 4, 2)), {"mask": SOME.any(0)}),
    (((2, 2, 3, 1), (2, 2, 4, 1), (2, 2, 4, 2)), {"mask": np.stack([SOME, ~SOME])[:, None]}),
    (((2, 2, 3, 2), (2, 1, 4, 2), (4, 1)), {}),  # heads that share their keys
    (((3, 2), (4, 2), (4, 2)), {"causal": True}),
    (((4, 2), (2, 2), (2, 2)), {"causal": True}),  # the first queries see nothing
    (((1, 1), (1, 1), (1, 1)), {}),
    (((0, 3, 2), (0, 2, 2), (0, 2, 2)), {"causal": True}),
    (((0, 2), (3, 2), (3, 2)), {}),
]:
    row(
        "scaled_dot_product_attention",
        [any_(*shape) for shape in shapes],
        using(ops.scaled_dot_product_attention, **options),
        lambda q, k, v, options=options: sdpa(q, k, v, **options)[-1],
        ",".join(options),
        fused=True,
    )
row(
    "scaled_dot_product_attention",
    (any_(3, 2), any_(4, 2), any_(4, 2), given(SOME)),
    ops.scaled_dot_product_attention,
    lambda q, k, v, mask: sdpa(q, k, v, mask)[-1],
    "the mask a tensor",
)
row("attention", (any_(2, 3, 2), any_(2, 4, 2), any_(2, 4, 3)), ops.attention, sdpa)
row("attention", (any_(3, 2), any_(4, 2), any_(4, 3), given(SOME)), ops.attention, sdpa)
row("self_attention", any_(2, 3, 2), ops.self_attention, lambda x: sdpa(x, x, x)[-1:])
row("masked_softmax", any_(2, 3), ops.masked_softmax, lambda e: special.softmax(e, -1), fused=True)
row("masked_softmax", (any_(2, 3, 4), given(SOME)), ops.masked_softmax, weights, "the mask a tensor")
for shape in [(2, 3, 4), (3, 4), (0, 3, 4)]:
    row("masked_softmax", any_(*shape), using(ops.masked_softmax, SOME), using(weights, SOME), "mask", fused=True)
row(
    "masked_softmax",
    given([1e3, -1e3, 2.0]),
    using(ops.masked_softmax, [False, True, True]),
    using(weights, [False, True, True]),
    "large where nobody looks",
    fused=True,
)


def heads(
    Q: Array, K: Any, V: Any, W_in: Array, b_in: Any, W_out: Array, b_out: Any, mask: Any = None, causal: bool = False
) -> tuple[Array, ...]:
    """Of two heads: what each gives, their scores and weights together, and the output."""
    K = Q if K is None else K
    V = K if V is None else V
    q, k, v = (x @ W.T for x, W in zip((Q, K, V), np.split(W_in, 3), strict=True))
    if b_in is not None:
        q, k, v = (x + b for x, b in zip((q, k, v), np.split(b_in, 3), strict=True))
    q, k, v = (x.reshape(*x.shape[:2], 2, Q.shape[2] // 2).swapaxes(1, 2) for x in (q, k, v))
    score, alpha, out = sdpa(q, k, v, mask, causal)
    concat = out.swapaxes(1, 2).reshape(Q.shape) @ W_out.T
    return out[:, 0], out[:, 1], score, alpha, concat if b_out is None else concat + b_out


def multi_head(*xs: Any) -> Any:
    """The equations alone, on the stored parameters."""
    Q, K, V, *parameters = xs
    return ops.multi_head(Q, K, V, ops.head_weights(*parameters, 2), [None] * 2, [None] * 2)


def without(absent: tuple[int, ...], fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The function with None at some places, and its inputs at the others."""

    def run(*xs: Any) -> Any:
        waiting = list(xs)
        return fn(*(None if k in absent else waiting.pop(0) for k in range(len(xs) + len(absent))), **options)

    return run


def network(x: Array, W_1: Array, b_1: Any, W_2: Array, b_2: Any, f: Callable[[Array], Array]) -> Array:
    h = f(x @ W_1.T + (0 if b_1 is None else b_1))
    return h @ W_2.T + (0 if b_2 is None else b_2)


for f, numpy in [
    ("relu", lambda u: np.maximum(u, 0)),
    ("gelu", lambda u: u * special.ndtr(u)),
    ("gelu_tanh", gelu_tanh),
]:
    for shape in [(2, 3, 4), (4,), (0, 4)]:
        inputs = (apart(*shape), apart(5, 4), apart(5), any_(3, 5), any_(3))
        row(
            "feed_forward",
            inputs,
            using(ops.feed_forward, f),
            lambda *xs, f=numpy: network(*xs, f=f),
            f,
            fused=True,
        )
        row(
            "feed_forward",
            [inputs[k] for k in (0, 1, 3)],
            without((2, 4), ops.feed_forward, activation=f),
            without((2, 4), network, f=numpy),
            f"{f} without biases",
            fused=True,
        )


FOUR = (any_(2, 3, 4), any_(2, 4, 4), any_(2, 4, 4), any_(12, 4), any_(12), any_(4, 4), any_(4))
for absent, options in [
    ((1, 2), {}),
    ((1, 2, 4, 6), {"causal": True}),
    ((2,), {"mask": SOME}),
    ((2,), {"mask": np.stack([SOME, ~SOME]), "causal": True}),  # a mask for each head
    ((), {"mask": np.array([[True, True, False, False], [True, True, True, True]])[:, None, None]}),
    ((4,), {}),
]:
    row(
        "multi_head_attention",
        [x for k, x in enumerate(FOUR) if k not in absent],
        without(absent, ops.multi_head_attention, heads=2, **options),
        without(absent, lambda *xs, options=options: heads(*xs, **options)[-1]),
        ",".join(options),
        fused=True,
    )


def each(Q: Array, K: Array, V: Array, W: Array, b: Array) -> Iterator[Array]:
    """The queries, keys and values of one head."""
    return (x @ W_x.T + b_x for x, W_x, b_x in zip((Q, K, V), np.split(W, 3), np.split(b, 3), strict=True))


row(
    "multi_head_attention",
    (any_(2, 2, 2), any_(2, 2, 2), any_(6, 2), any_(6), any_(2, 2), any_(2)),
    without((1,), ops.multi_head_attention, heads=1),
    without((1,), lambda Q, K, V, W, b, W_o, b_o: sdpa(*each(Q, Q, V, W, b))[-1] @ W_o.T + b_o),
    "values of their own",
    fused=True,
)
row(
    "multi_head_attention",
    (any_(0, 2, 4), any_(12, 4), any_(12), any_(4, 4), any_(4)),
    without((1, 2), ops.multi_head_attention, heads=2),
    without((1, 2), lambda *xs: heads(*xs)[-1]),
    fused=True,
)
row("multi_head", FOUR, multi_head, heads)


def by_head(W: Array, b: Array, W_o: Array, b_o: Array) -> tuple[Array, ...]:
    W_i, b_i = W.reshape(3, 2, 2, 4).swapaxes(-1, -2), b.reshape(3, 2, 2)
    return *W_i.reshape(6, 4, 2), *b_i.reshape(6, 2), W_o.T, b_o


row("head_weights", FOUR[3:], using(ops.head_weights, 2), by_head)


def dots(s: Array, h: Array) -> Array:
    return np.einsum("bd,btd->bt" if s.ndim == 2 else "bsd,btd->bst", s, h)


def mlp(s: Array, h: Array, W_1: Array, W_2: Array, v: Array) -> Array:
    a, b = s @ W_1.T, h @ W_2.T
    return np.tanh(a[:, None] + b if s.ndim == 2 else a[:, :, None] + b[:, None]) @ v


for s in [(2, 3), (2, 4, 3), (1, 1), (0, 3)]:  # one s a sequence, or several
    h = (s[0], 2, s[-1])
    row("dot_score", (any_(*s), any_(*h)), lambda s, h: ops.dot_score(s, h).dot, dots)
    row(
        "scaled_dot_score",
        (any_(*s), any_(*h)),
        lambda s, h: ops.scaled_dot_score(s, h).scaled_dot,
        lambda s, h: dots(s, h) / np.sqrt(s.shape[-1]),
    )
    row(
        "bilinear_score",
        (any_(*s), any_(*h[:2], 2), any_(s[-1], 2)),
        lambda s, h, W: ops.bilinear_score(s, h, W).bilinear,
        lambda s, h, W: dots(s @ W, h),
    )
    row(
        "mlp_score",
        (any_(*s), any_(*h[:2], 2), any_(3, s[-1]), any_(3, 2), any_(3)),
        lambda *xs: ops.mlp_score(*xs).mlp,
        mlp,
    )
    row(
        "mlp_score",
        (any_(*s), any_(*h[:2], 2), any_(3, s[-1]), any_(3, 2), any_(3)),
        lambda s, h, W_1, W_2, v: ops.mlp_score(s, h, W_1, W_2, v, h @ W_2.T).mlp,
        mlp,
        "keys",
    )


def attended(s: Array, h: Array, mask: Any = None) -> tuple[Array, ...]:
    e = dots(s, h)
    alpha = weights(e, seen(1, e.shape[-1])[0] if mask is None else mask)
    return e, alpha, np.einsum("bt,bte->be" if s.ndim == 2 else "bst,bte->bse", alpha, h)


def attend(*xs: Any) -> Any:
    return ops.attend(lambda s, h: ops.dot_score(s, h).dot, *xs)


row("attend", (any_(2, 3), any_(2, 4, 3)), attend, attended)
row("attend", (any_(2, 3), any_(2, 4, 3), given(SOME[:2])), attend, attended)
row("attend", (any_(2, 3, 3), any_(2, 4, 3), given(SOME)), attend, attended)


def gru_attention_decoder(
    y: Array, s: Array, h: Array, keys: Array, W_1: Array, v: Array, *cell: Array, mask: Any = None
) -> tuple[Array, ...]:
    steps = []
    for t in range(y.shape[1]):
        e = np.tanh((s @ W_1.T)[:, None] + keys) @ v
        alpha = weights(e, np.broadcast_to(True if mask is None else mask, e.shape))
        c = np.einsum("bs,bse->be", alpha, h)
        s = gru_symbols(np.concatenate([y[:, t], c], -1), s, *cell)[-1]
        steps.append((e, alpha, c, s))
    return tuple(np.stack(symbol, 1) for symbol in zip(*steps, strict=True))


DECODERS: list[tuple[tuple[int, ...], Any]] = [  # B, T, S, D, E, H, A, and a mask
    ((2, 3, 2, 1, 2, 2, 1), None),
    ((3, 2, 4, 1, 1, 1, 2), SOME),
    ((2, 2, 4, 1, 2, 1, 1), SOME[2]),
    ((2, 1, 3, 2, 1, 1, 1), None),
    ((2, 2, 1, 1, 1, 1, 1), None),
    ((1, 3, 2, 1, 1, 2, 1), np.array([[False, True]])),
    ((1, 1, 1, 1, 1, 1, 1), None),
    ((0, 2, 2, 2, 1, 1, 1), None),
]
for (B, T, S, D, E, H, A), mask in DECODERS:
    row(
        "gru_attention_decoder",
        (
            *(any_(B, T, D), any_(B, H), any_(B, S, E), any_(B, S, A), any_(A, H), any_(A)),
            *parameters(3, D + E, H, 2),
        ),
        using(ops.gru_attention_decoder, mask=mask),
        using(gru_attention_decoder, mask=mask),
        "" if mask is None else "mask",
        fused=True,
    )
row(
    "attention_state",
    (any_(2, 3), any_(2, 3), any_(2, 3)),
    lambda s, y, c: ops.attention_state(lambda s, y, c: ops.tanh(s + y * c), s, y, c).state,
    lambda s, y, c: np.tanh(s + y * c),
)
row(
    "luong_state",
    (any_(2, 3), any_(2, 3)),
    lambda s, y: ops.luong_state(lambda s, y: ops.tanh(s * y), s, y).state,
    lambda s, y: np.tanh(s * y),
)
row(
    "luong_output",
    (any_(2, 3), any_(2, 2), any_(4, 5)),
    lambda c, s, W_c: ops.luong_output(c, s, W_c).output_t,
    lambda c, s, W_c: np.tanh(c @ W_c[:, :3].T + s @ W_c[:, 3:].T),
)


def rows() -> Iterator[Row]:
    """Every row once, with names that tell them apart."""
    seen: dict[str, int] = {}
    for each in ROWS:
        seen[each.id] = seen.get(each.id, 0) + 1
        yield each if seen[each.id] == 1 else each._replace(variant=f"{each.variant} ({seen[each.id]})")
