"""What a person calls things: operations, parameters, and the caller's own variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..core import FusedOp, Op, Tensor
from ..core.equations import unicode
from ..nn import Module

OPS = {
    "Add": "+", "Sub": "−", "Mul": "×", "Div": "÷", "Neg": "−( )", "MatMul": "@", "Sigmoid": "σ", "Tanh": "tanh",
    "Exp": "exp", "Log": "log", "Sqrt": "√", "Abs": "|·|", "Sum": "Σ", "Relu": "ReLU", "LogSumExp": "log Σ exp",
    "Gelu": "GELU", "ExactGelu": "exact GELU", "Embed": "embedding", "LSTMSequence": "LSTM sequence",
    "Concatenate": "concatenate",
    "Where": "where", "CumSum": "running Σ", "Erf": "erf",
}  # fmt: skip
INFIX = ("Add", "Sub", "Mul", "Div")  # small round nodes; a number joins the label
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 60  # characters of a label


def clean(text: Any, longest: int = LONGEST) -> str:
    """A name on one line, of bearable length, without characters that no picture can show.

    >>> clean("a\\n  b\\x00")
    'a b'
    """
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def pretty(name: str) -> str:
    """A name with subscripts, where it is a symbol: x_t and h_{t-1} are, loss_total is not.

    >>> pretty("x_t"), pretty("h_{t-1}"), pretty("c_tilde_t"), pretty("loss_total")
    ('xₜ', 'hₜ₋₁', 'c̃ₜ', 'loss_total')
    """
    name = re.sub(r"^([^\W_])_tilde(?=_)", r"\\tilde{\1}", name)  # as Python spells it
    # Only where Unicode has the subscript, for all of a family: W_i next to W_f would look odd with and without one.
    symbol = re.fullmatch(r"(\\tilde\{\w\}|\w)_([t\d]|\{[t\d+-]*\})", name)
    return clean(unicode(name) if symbol else name)


def number(x: Any) -> str:
    """A number as a person writes it.

    >>> number(0.5), number(-2.0), number(1e-12)
    ('0.5', '−2', '1e−12')
    """
    if isinstance(x, bool):
        return str(x)
    return (f"{x:,}" if isinstance(x, int) else f"{x:.6g}").replace("-", "−")


def norm(x: float) -> str:
    """A norm as a person writes it.

    >>> norm(0.012345), norm(1.5e-8), norm(0.0), norm(float("inf")), norm(float("nan"))
    ('0.0123', '1.5e−8', '0', 'inf', 'NaN')
    """
    digits, e, power = f"{x:.3g}".partition("e")
    return (f"{digits}e{int(power)}" if e else digits.replace("nan", "NaN")).replace("-", "−")


def derivative(of: str, by: list[str]) -> str:
    """A derivative as it is written.

    >>> derivative("L", ["W"]), derivative("f", ["x", "x"]), derivative("f", ["x", "y"])
    ('∂L/∂W', '∂²f/∂x²', '∂²f/∂x∂y')
    """
    order = str(len(by)).translate(SUPERSCRIPTS) if len(by) > 1 else ""
    below = f"∂{by[0]}{order}" if len(set(by)) == 1 else "".join(f"∂{name}" for name in by)
    return clean(f"∂{order}{of}/{below}")


def shape(dims: Iterable[int]) -> str:
    """(2, 3) for a picture."""
    sizes = tuple(dims)
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def boxes(n: int) -> str:
    """How many boxes: "1 box", "1,203 boxes"."""
    return f"{n:,} box" + ("es" if n != 1 else "")


def source(file: str, line: int) -> str:
    """A place in the code, without the folders, which differ between machines: "lstm.py, line 41"."""
    return f"{file.replace(chr(92), '/').rpartition('/')[2]}, line {line}"


def words(name: str) -> str:
    """A class name as words.

    >>> words("CrossEntropy"), words("LSTMSequence")
    ('cross entropy', 'LSTM sequence')
    """
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z]|\b|_|\d)|[A-Z]?[a-z]+|\d+|[A-Z]+|[^\W\d_]+", name)
    return " ".join(part if part.isupper() and len(part) > 1 else part.lower() for part in parts) or name


def op_label(op: Op) -> str:
    """What a person calls an operation, with the numbers that are part of it."""
    kind = type(op).__name__
    label = OPS.get(kind) or words(kind)
    if kind == "Power":
        n = getattr(op, "n", None)
        return "( )" + str(n).translate(SUPERSCRIPTS) if isinstance(n, int) else f"( )^{number(n)}"
    if kind == "Mul" and not any(isinstance(x, int | float) for x in op.constants or ()):
        return "⊙"
    if kind in INFIX and op.constants:
        left, right = op.constants
        if isinstance(left, int | float):
            return f"{number(left)} {label}"
        if isinstance(right, int | float):
            return f"{label} {number(right)}"
    if kind == "GetItem":
        return index_label(op.index) if op.views else "take"  # type: ignore[attr-defined]
    if kind == "AsType":
        return f"to {op.dtype}"
    if isinstance(op, FusedOp):  # such as: LSTM sequence, reverse
        return ", ".join([label, *(key for key, x in op.static.items() if x is True)])
    axis = getattr(op, "axis", None)
    if kind in ("Sum", "Max", "Min", "LogSumExp", "Concatenate") and axis is not None:
        axes = ", ".join(map(number, axis if isinstance(axis, tuple) else (axis,)))
        return f"{label} over axis {axes}" if kind != "Concatenate" else f"{label} axis {axes}"
    if kind == "Clip":
        low, high = ("…" if x is None else number(x) for x in (getattr(op, "low", None), getattr(op, "high", None)))
        return f"clip {low} to {high}"
    return label


def matches(op: FusedOp, wanted: Iterable[str]) -> bool:
    """Whether one of the words asked for names this fused op: "lstm", "lstm_sequence", "LSTM sequence", "softmax"."""
    names = {plain(text) for text in (type(op).__name__, op.kernel, op_label(op))}
    names |= {name.removesuffix("sequence") for name in names}
    return any(plain(word) in names for word in wanted)


def plain(text: str) -> str:
    """A name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", text).lower()


def from_variables(variables: Mapping[str, Any]) -> tuple[dict[Any, str], dict[int, str], list[tuple[str, Module]]]:
    """What the caller's variables call places and constants, arrays (by id), and modules."""
    places: dict[Any, str] = {}
    arrays: dict[int, str] = {}
    modules: list[tuple[str, Module]] = []

    def note(name: str, x: Any) -> None:
        if isinstance(x, Tensor):
            where = x.constant if x.place is None else x.place
            if where is not None:
                places.setdefault(where, name)
            arrays.setdefault(id(x.data), name)
        elif isinstance(x, Module):
            modules.append((name, x))
        elif hasattr(x, "dtype") and hasattr(x, "shape"):
            arrays.setdefault(id(x), name)

    # Not what is private, and not what only tools name: ".0" in a comprehension, "@py_assert1" under pytest.
    named = [(name, x) for name, x in variables.items() if name.isidentifier() and not name.startswith("_")]
    for name, x in named:
        note(name, x)
    for name, x in named:  # after the plain variables, whose names are shorter
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            for field, item in zip(x._fields, x, strict=True):
                note(f"{name}.{field}", item)
        elif isinstance(x, list | tuple) and len(x) <= 1000:
            for k, item in enumerate(x):
                note(f"{name}[{k}]", item)
        elif isinstance(x, dict) and len(x) <= 1000:
            for key, item in x.items():
                if isinstance(key, str | int):
                    note(f"{name}[{key!r}]", item)
    # Whoever goes through a list of modules leaves a variable for the last one, which is no name for it.
    order = {name: k for k, (name, _) in enumerate(named)}
    modules.sort(key=lambda found: order[found[0].partition(".")[0].partition("[")[0]])
    return places, arrays, modules


def index_label(index: Any) -> str:
    """An index as it is written: [:, −1]."""
    parts = index if isinstance(index, tuple) else (index,)
    shown = []
    for part in parts:
        if isinstance(part, slice):
            ends = [("" if end is None else str(end)) for end in (part.start, part.stop)]
            shown.append(":".join(ends) + ("" if part.step is None else f":{part.step}"))
        elif part is Ellipsis:
            shown.append("…")
        elif part is None or isinstance(part, int):
            shown.append(str(part))
        else:
            shown.append("·")
    return f"[{', '.join(shown)}]"
