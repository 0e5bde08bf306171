"""The local rule of each operation: what it does to the gradient that arrives. The page's stepper shows these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..core import FusedOp, Op
from . import names
from .value import Edge, Node


class Rule(NamedTuple):
    """One operation's derivative, in expressions that NumPy can evaluate: a test compares them with the engine.

    g is the gradient that arrives at the output, out. Inputs have the names that the operation's `forward` gives them.
    """

    forward: str  # out
    backward: tuple[str, ...]  # what each input gets; "": nothing; of an operation on a list, one for all of them
    words: str


RULES = {
    # by elements
    "Add": Rule("a + b", ("g", "g"), "A sum hands the gradient on to each term."),
    "Sub": Rule("a - b", ("g", "-g"), "What is taken away gets the gradient with its sign turned."),
    "Mul": Rule("a * b", ("g * b", "g * a"), "Each factor gets the gradient times the other factor."),
    "Div": Rule("a / b", ("g / b", "-g * out / b"), "The quotient rule, with a / b written as out."),
    "Neg": Rule("-x", ("-g",), "The sign turns."),
    "Power": Rule("x**n", ("n * g * x**(n - 1)",), "The power rule."),
    "Pow": Rule("a**b", ("g * b * a**(b - 1)", "g * out * log(a)"), "The power rule, and that of an exponential."),
    "Exp": Rule("exp(x)", ("g * out",), "The exponential is its own derivative."),
    "Log": Rule("log(x)", ("g / x",), "The derivative of log x is 1 / x."),
    "Sqrt": Rule("sqrt(x)", ("g / (2 * out)",), "The derivative of √x is 1 / (2 √x)."),
    "Abs": Rule("abs(x)", ("g * sign(x)",), "The sign of x decides; at 0 nothing goes through."),
    "Sin": Rule("sin(x)", ("g * cos(x)",), "The derivative of sin is cos."),
    "Cos": Rule("cos(x)", ("-g * sin(x)",), "The derivative of cos is −sin."),
    "Tanh": Rule("tanh(x)", ("g * (1 - out**2)",), "At most 1, and nearly 0 where tanh is saturated."),
    "Sigmoid": Rule("sigmoid(x)", ("g * out * (1 - out)",), "At most ¼, and nearly 0 where σ is saturated."),
    "Relu": Rule("maximum(x, 0)", ("g * (x > 0)",), "The gradient goes through where x is positive, and nowhere else."),
    "Softplus": Rule("log(1 + exp(x))", ("g * sigmoid(x)",), "The derivative of a smooth ReLU is σ."),
    "Erf": Rule("erf(x)", ("g * exp(-x**2) * 2 / sqrt(pi)",), "The derivative is the bell curve."),
    "Maximum": Rule(
        "maximum(a, b)",
        ("g * ((a > b) + (a == b) / 2)", "g * ((b > a) + (a == b) / 2)"),
        "The larger one gets the gradient; equal ones share it.",
    ),
    "Minimum": Rule(
        "minimum(a, b)",
        ("g * ((a < b) + (a == b) / 2)", "g * ((b < a) + (a == b) / 2)"),
        "The smaller one gets the gradient; equal ones share it.",
    ),
    "Clip": Rule("clip(x, low, high)", ("g * (x == out)",), "The gradient goes through where nothing was cut."),
    "Where": Rule(
        "where(condition, a, b)",
        ("", "g * condition", "g * (1 - condition)"),
        "Each element of the gradient goes to the one that was chosen.",
    ),
    "AsType": Rule("astype(x)", ("g",), "The gradient comes back in the dtype of x."),
    "ToDevice": Rule("copy(x)", ("g",), "The gradient comes back to the device of x."),
    "Same": Rule("x", ("g",), "Nothing changes."),
    "Hooked": Rule("x", ("g",), "Nothing changes, but what a hook of the module changes."),
    # axes taken together
    "Sum": Rule("sum(x)", ("stretch(g)",), "Every element that was added up gets the same gradient."),
    "Max": Rule("max(x)", ("stretch(g) * share(x == stretch(out))",), "The largest gets all; equal ones share it."),
    "Min": Rule("min(x)", ("stretch(g) * share(x == stretch(out))",), "The smallest gets all; equal ones share it."),
    "LogSumExp": Rule("log(sum(exp(x)))", ("stretch(g) * exp(x - stretch(out))",), "The gradient times softmax(x)."),
    "CumSum": Rule("cumsum(x)", ("flip(cumsum(flip(g)))",), "The running sum of the gradient, from the end."),
    # products
    "MatMul": Rule("a @ b", ("g @ T(b)", "T(a) @ g"), "Each factor gets the gradient times the other one, transposed."),
    "Einsum": Rule("einsum(a, b)", ("einsum(g, b)", "einsum(g, a)"), "The gradient with the other factor, alike."),
    # elements moved about
    "Reshape": Rule("reshape(x)", ("reshape(g)",), "The gradient takes the shape of x again."),
    "Transpose": Rule("transpose(x)", ("transpose(g)",), "The gradient is transposed back."),
    "SwapAxes": Rule("swapaxes(x)", ("swapaxes(g)",), "The same two axes are exchanged again."),
    "BroadcastTo": Rule("stretch(x)", ("g",), "The gradient is added up over the stretched axes."),
    "Concatenate": Rule("concatenate(x)", ("split(g)",), "Each piece gets its part of the gradient."),
    "Split": Rule("split(x)", ("concatenate(g)",), "The gradients of the pieces are joined."),
    "Stack": Rule("stack(x)", ("unstack(g)",), "Each layer of the stack gets its own gradient."),
    "Unstack": Rule("unstack(x)", ("stack(g)",), "The gradients of the parts are stacked."),
    "Pad": Rule("pad(x)", ("unpad(g)",), "The border's gradient goes nowhere."),
    "GetItem": Rule("x[index]", ("add_at(index, g)",), "It is added where x was read, 0 elsewhere."),
    "ScatterAdd": Rule("add_at(index, values)", ("g[index]",), "Each value gets the gradient of its place."),
    "Embed": Rule("table[index]", ("add_at(index, g)",), "Each row gets the gradients of all places that read it."),
    "Gather": Rule("take(x, index)", ("add_at(index, g)",), "It is added where x was read, 0 elsewhere."),
    "AddAlong": Rule("add_at(index, values)", ("take(g, index)",), "Each value gets the gradient of its place."),
}  # fmt: skip
MEAN = Rule("sum(x) / n", ("stretch(g) / n",), "Each of the n elements gets an equal part of the gradient.")
INFIX = {"Add": "+", "Sub": "−", "Mul": "×", "Div": "÷"}


class Local(NamedTuple):
    """What the stepper says at one box."""

    forward: str  # "out = a ⊙ b"
    words: str
    inputs: list[
        tuple[str, str]
    ]  # for each arrow: what the rule calls that input, and what the input gets: ("a", "g ⊙ b")


def local_rule(node: Node, arrows: Sequence[Edge]) -> Local:
    """The rule of a box, for the arrows that lead to it in this order."""
    label = node.label.rpartition(" = ")[2]
    nothing = [("", "")] * len(arrows)
    if node.kind == "fold":
        return Local("", f"The gradient passes through {node.count:,} boxes.", nothing)
    if node.kind == "outside":
        return Local("", "The gradient comes in from here.", nothing)
    if node.row is not None:
        return Local("", "One step: its gradient goes to the step before, the input and the weights.", nothing)
    if node.op in RULES:
        return _told(node.op, label, len(arrows))
    if node.op or node.kind == "fused":
        return Local("", _own_words(node.op, label), nothing)
    return Local("", "A part of a value: its gradient is put back where it was taken from.", nothing)


def _told(op: str, label: str, n: int) -> Local:
    """The rule of an operation of ours, with n arrows that lead to its box."""
    forward, backward, words = RULES[op]
    called = next(list(found.names) for found in operations() if found.__name__ == op)
    number = _number(op, label)
    if op == "Div" and label.startswith("mean"):  # a sum and a division, drawn as one box
        (forward, backward, words), called = MEAN, ["x"]
    elif op == "Add" and n > 2:  # several sums, drawn as one box
        called, backward = _numbered(n), ("g",) * n
        forward = " + ".join(called)
    elif number is not None:
        k, text = number
        forward, way = (re.sub(rf"\b{called[k]}\b", text, told) for told in (forward, backward[1 - k]))
        called, backward = [called[1 - k]], (way,)
    elif not called:  # a list
        called, backward = _numbered(n), backward * n
    inputs = [(name, pretty(way)) for name, way in zip(called, backward, strict=True)]
    if len(inputs) > n:  # one of them is a number that the picture does not show, and nobody knows which
        words += "".join(f" {name} gets {way}." for name, way in inputs if way)
        inputs = [("", "")] * n
    return Local(f"out = {pretty(forward)}", words, inputs + [("", "")] * (n - len(inputs)))


def _numbered(n: int) -> list[str]:
    """x₁, x₂, x₃."""
    return [f"x{k + 1}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) for k in range(n)]


def _number(op: str, label: str) -> tuple[int, str] | None:
    """The number that joined the label of + − × ÷: which input it is, and its text."""
    sign = INFIX.get(op)
    left, _, right = label.partition(" ")
    if sign is None or not right:
        return None
    return (1, right) if left == sign else (0, left) if right == sign else None


def _own_words(op: str, label: str) -> str:
    """What is said of a fused operation, or of one that is not ours."""
    found = [kind for kind in operations() if kind.__name__ == op]
    if not found:  # a closed part of the picture: the name is in its label
        plain = names.plain(label.partition(",")[0])
        found = [kind for kind in operations() if plain == names.plain(names.OPS.get(kind.__name__, kind.__name__))]
    about = (found[0].__doc__ or "").strip().partition("\n\n")[0] if found else ""
    about = " ".join(about.split())
    if found and issubclass(found[0], FusedOp):
        return f"One kernel computes this derivative. Its definition: {about}"
    return f"An operation with its own derivative. {about}".strip()


def operations(kind: type[Op] = Op) -> Iterator[type[Op]]:
    """All classes of operations, a user's own among them."""
    for found in kind.__subclasses__():
        yield found
        yield from operations(found)


def pretty(expression: str) -> str:
    """An expression as it is written by hand.

    >>> pretty("g * (1 - out**2)"), pretty("g @ T(b)"), pretty("n * g * x**(n - 1)")
    ('g ⊙ (1 − out²)', 'g bᵀ', 'n · g ⊙ xⁿ⁻¹')
    """
    text = re.sub(r"T\((\w)\)", r"\1ᵀ", expression)
    text = re.sub(
        r"\b([\dn][\d.,]*) \* | \* (?=−?\d)", lambda found: f"{found[1] or ' '}{' ' * bool(found[1])}· ", text
    )
    text = re.sub(r"\bsum\(", "Σ(", text)
    for old, new in (
        ("**2", "²"), ("**(n - 1)", "ⁿ⁻¹"), ("**(b - 1)", "ᵇ⁻¹"), ("**n", "ⁿ"), ("**b", "ᵇ"), (" @ ", " "),
        (" * ", " ⊙ "), ("==", "="), ("-", "−"), ("sigmoid(", "σ("), ("sqrt(pi)", "√π"), ("sqrt(", "√("),
    ):  # fmt: skip
        text = text.replace(old, new)
    return re.sub(r"√\((\w)\)", r"√\1", text)
