"""Equations as code: a block of named symbols, known by its id, its LaTeX and its source line.

An equation block is a function that returns all its symbols in a NamedTuple. That one habit names the nodes in
pictures, gives gate activations to plot, and lets an error show the equation with the shapes put in.
"""

import functools
import inspect
import linecache
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .op import Op, Slot, same_kind
from .state import scope, state
from .tensor import Tensor


class Equation(NamedTuple):
    """One equation of the chapter, as the code has it."""

    id: str  # "lstm.f"
    symbol: str  # the left side as a person writes it: "fₜ"
    latex: str  # r"f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f)"
    text: str  # the same for a terminal: "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)"
    field: str  # of the block's symbols: "f_t"
    file: str
    first_line: int  # of the block that it stands in

    @property
    def line(self) -> int:
        """Where the code has it: the line that assigns the symbol; the block's first where no line does."""
        for line in range(self.first_line, len(linecache.getlines(self.file)) + 1):
            text = linecache.getline(self.file, line).strip()
            if re.match(rf"{self.field}\b[^=]* = ", text):  # the decorator's own keyword has no spaces
                return line
            if text.startswith("return "):
                break
        return self.first_line


class Block(NamedTuple):
    """An equation block: its equations by field name, and where they stand."""

    name: str
    equations: dict[str, Equation]
    file: str
    line: int


EQUATIONS: dict[str, Equation] = {}  # all that are registered, by id


def equations(name: str, **latex: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    r"""Make a function an equation block: it is registered, its symbols name the nodes, its errors show the shapes.

    Args:
        name: of the block; the equation of the field `f_t` has the id "name.f", that of a field `output` the id "name".
        latex: for each field that the function returns, its equation in LaTeX, left side first. A field without one is
            a symbol that is recorded, but has no equation of its own.
    Raises:
        ValueError: where another function has registered the same id.

    >>> from typing import NamedTuple
    >>> import tinygrad_seq as ts
    >>> class Step(NamedTuple):
    ...     h_t: ts.Tensor
    >>> @ts.equations("leaky", h_t=r"h_t = \tanh(a h_{t-1} + x_t)")
    ... def leaky(x_t, h_prev, a):
    ...     h_t = ts.ops.tanh(a * h_prev + x_t)
    ...     return Step(h_t)
    >>> leaky.block.equations["h_t"].text
    'h_t = tanh(a h_{t-1} + x_t)'
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        code = function.__code__
        file, line = inspect.getsourcefile(function) or "", code.co_firstlineno
        found = {
            field: Equation(_id(name, field), unicode(tex.split(" = ")[0]), tex, plain(tex), field, file, line)
            for field, tex in latex.items()
        }
        own = (function.__module__, function.__qualname__)
        for id in (equation.id for equation in found.values()):
            if _OWNERS.get(id, own) != own:
                raise ValueError(
                    f"equations: the id {id!r} is that of an equation in {EQUATIONS[id].file}: "
                    "choose another name for this block"
                )
        for equation in found.values():
            _OWNERS[equation.id], EQUATIONS[equation.id] = own, equation
        block = Block(name, found, file, line)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                with scope(block):
                    symbols = function(*args, **kwargs)
                    if not hasattr(symbols, "_fields"):
                        raise TypeError(
                            f"{name}: an equation block returns its symbols, {', '.join(found)}, in a NamedTuple; "
                            f"got {type(symbols).__name__}"
                        )
                    if state.recorder is not None:
                        state.recorder.report(symbols)
            except (ValueError, TypeError) as error:
                described = _with_shapes(error, code, name)
                if described is error:
                    raise
                raise described from error
            for field, equation in found.items():
                symbol: Any = getattr(symbols, field, None)
                if hasattr(symbol, "_fields") and len(symbol) == 1:  # a state of one part
                    symbol = symbol[0]
                if isinstance(symbol, Tensor):
                    _name(symbol, equation.symbol, equation)
                elif isinstance(symbol, list | tuple) and not hasattr(symbol, "_fields"):  # head_i: one for each i
                    for i, each in enumerate(symbol, start=1):
                        _name(each, equation.symbol.replace("_i", f"_{i}"), equation)
            return symbols

        run.block = block  # type: ignore[attr-defined]
        return run

    return decorate


_OWNERS: dict[str, tuple[str, str]] = {}  # id -> module and name of the function that has it


def _id(name: str, field: str) -> str:
    return name if field == "output" else f"{name}.{field.removesuffix('_t')}"


def _name(symbol: Any, name: str, equation: Equation) -> None:
    if isinstance(symbol, Tensor) and isinstance(symbol.place, Op | Slot):
        symbol.place.name, symbol.place.equation = name, equation


def _with_shapes(error: Exception, code: Any, name: str) -> Exception:
    """The same error with the line of the block that it happened in, and the shapes of the symbols on that line."""
    trace = sys.exc_info()[2]
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    if trace is None:
        return error
    line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
    shapes = {}
    for words in re.findall(r"[A-Za-z_][\w.]*", line.partition(" = ")[2] or line):
        path, *rest = words.split(".")
        found = trace.tb_frame.f_locals.get(path)
        while rest and not isinstance(found, Tensor):  # W.f.T: the tensor is W.f
            part = rest.pop(0)
            found, path = getattr(found, part, None), f"{path}.{part}"
        if isinstance(found, Tensor):
            shapes[path] = found.shape
    put_in = ", ".join(f"{path} {shape}" for path, shape in shapes.items())
    return same_kind(error, "\n    ".join([f"{name}: {line}", *([f"with {put_in}"] if put_in else []), str(error)]))


# Of time alone. Unicode has some letters too, but not all: W_i beside W_f would be written in two ways.
_SUBSCRIPTS = dict(zip("0123456789t+-", "₀₁₂₃₄₅₆₇₈₉ₜ₊₋", strict=True))
_ACCENTS = {r"\tilde": "\u0303", r"\vec": "\u20d7", r"\overrightarrow": "\u20d7", r"\overleftarrow": "\u20d6"}
_UPRIGHT = (r"\mathrm", r"\text", r"\operatorname")
_WORDS = {
    r"\sigma": "σ", r"\odot": "⊙", r"\alpha": "α", r"\sum": "Σ", r"\prod": "∏", r"\sqrt": "√", r"\cdot": "·",
    r"\top": "ᵀ", r"\in": "∈", r"\Phi": "Φ", r"\mu": "μ", r"\epsilon": "ε", r"\gamma": "γ", r"\beta": "β",
    r"\lVert": "‖", r"\rVert": "‖", r"\partial": "∂", r"\ldots": "…", r"\left": "", r"\right": "", r"\quad": " ",
}  # fmt: skip


def plain(latex: str) -> str:
    r"""LaTeX as a terminal shows it.

    >>> plain(r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t")
    'c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t'
    >>> plain(r"\alpha_{ij} = \frac{\exp(e_{ij})}{\sum_k \exp(e_{ik})}")
    'α_{ij} = exp(e_{ij}) / Σ_k exp(e_{ik})'
    """
    text = latex
    while (fraction := re.search(rf"\\frac{_BRACES}{_BRACES}", text)) is not None:
        above, below = fraction[1][1:-1], fraction[2][1:-1]
        text = text[: fraction.start()] + f"{_factor(above)} / {_factor(below)}" + text[fraction.end() :]
    for accent, mark in _ACCENTS.items():
        text = re.sub(rf"{re.escape(accent)}\{{(\w)\}}", rf"\1{mark}", text)
    for word in _UPRIGHT:
        text = re.sub(rf"{re.escape(word)}\{{([^}}]*)\}}", r"\1", text)
    text = re.sub(rf"\\sqrt{_BRACES}", lambda root: f"√{_factor(root[1][1:-1])}", text)
    text = re.sub(r"\\[a-zA-Z]+", lambda word: _WORDS.get(word[0], word[0][1:]), text)
    return re.sub(r"\\[,;! ]", " ", text).replace("∂ ", "∂").replace("^ᵀ", "ᵀ")


_BRACES = r"(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})"  # a group in braces, three deep


def _factor(text: str) -> str:
    """A part of a fraction or under a root, in parentheses where it is a sum."""
    return f"({text})" if re.search(r" [+-] ", re.sub(r"\([^()]*\)|\\sqrt\{.*\}", "", text)) else text


def unicode(latex: str) -> str:
    r"""A symbol with Unicode subscripts, where they exist.

    >>> unicode("h_{t-1}"), unicode(r"\tilde{c}_t"), unicode("W_f")
    ('hₜ₋₁', 'c̃ₜ', 'W_f')
    """

    def lower(subscript: re.Match[str]) -> str:
        text = subscript[1] or subscript[2]
        if all(c in _SUBSCRIPTS for c in text):
            return "".join(_SUBSCRIPTS[c] for c in text)
        return f"_{text}" if len(text) == 1 else f"_{{{text}}}"

    return re.sub(r"_(?:\{([^}]*)\}|(\w))", lower, plain(latex))
