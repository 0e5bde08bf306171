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
from .state import scope
from .tensor import Tensor


class Equation(NamedTuple):
    """One equation of the chapter, as the code has it."""

    id: str  # "lstm.f"
    symbol: str  # the left side as a person writes it: "fₜ"
    latex: str  # r"f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f)"
    text: str  # the same for a terminal: "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)"


class Block(NamedTuple):
    """An equation block: its equations by field name, and where they stand."""

    name: str
    equations: dict[str, Equation]
    file: str
    line: int


BLOCKS: dict[str, Block] = {}


def equations(name: str, **latex: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    r"""Make a function an equation block: it is registered, its symbols name the nodes, its errors show the shapes.

    Args:
        name: of the block; the equation of the field `f_t` has the id "name.f".
        latex: for each field that the function returns, its equation in LaTeX, left side first.

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
        found = {
            field: Equation(f"{name}.{field.removesuffix('_t')}", unicode(tex.split(" = ")[0]), tex, plain(tex))
            for field, tex in latex.items()
        }
        code = function.__code__
        block = BLOCKS[name] = Block(name, found, inspect.getsourcefile(function) or "", code.co_firstlineno)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                with scope(block):
                    symbols = function(*args, **kwargs)
            except (ValueError, TypeError) as error:
                raise _with_shapes(error, code, name) from error
            for field, equation in found.items():
                symbol = getattr(symbols, field, None)
                if isinstance(symbol, Tensor) and isinstance(symbol.place, Op | Slot):
                    symbol.place.name, symbol.place.equation = equation.symbol, equation
            return symbols

        run.block = block  # type: ignore[attr-defined]
        return run

    return decorate


def _with_shapes(error: Exception, code: Any, name: str) -> Exception:
    """The same error with the line of the block that it happened in, and the shapes of the symbols on that line."""
    trace = sys.exc_info()[2]
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    if trace is None:
        return error
    line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
    shapes = {}
    for words in re.findall(r"[A-Za-z_][\w.]*", line.partition("=")[2]):
        path, *rest = words.split(".")
        found = trace.tb_frame.f_locals.get(path)
        while rest and not isinstance(found, Tensor):  # W.f.T: the tensor is W.f
            part = rest.pop(0)
            found, path = getattr(found, part, None), f"{path}.{part}"
        if isinstance(found, Tensor):
            shapes[path] = found.shape
    return same_kind(
        error,
        f"{name}: {line}\n    with {', '.join(f'{path} {shape}' for path, shape in shapes.items())}\n    {error}",
    )


# Of time alone. Unicode has some letters too, but not all: W_i beside W_f would be written in two ways.
_SUBSCRIPTS = dict(zip("0123456789t+-", "₀₁₂₃₄₅₆₇₈₉ₜ₊₋", strict=True))
_WORDS = {
    r"\sigma": "σ", r"\odot": "⊙", r"\alpha": "α", r"\sum": "Σ", r"\sqrt": "√", r"\tanh": "tanh", r"\exp": "exp",
    r"\cdot": "·", r"\top": "ᵀ", r"\in": "∈", r"\log": "log", r"\max": "max", r"\softmax": "softmax", r"\Phi": "Φ",
    r"\mu": "μ", r"\epsilon": "ε", r"\gamma": "γ", r"\beta": "β", r"\lVert": "‖", r"\rVert": "‖", r"\partial": "∂",
}  # fmt: skip


def plain(latex: str) -> str:
    r"""LaTeX as a terminal shows it.

    >>> plain(r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t")
    'c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t'
    """
    text = re.sub(r"\\tilde\{(\w)\}", "\\1\u0303", latex)
    text = re.sub(r"\\(?:mathrm|text|operatorname)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\[a-zA-Z]+", lambda word: _WORDS.get(word[0], word[0][1:]), text)
    return re.sub(r"\\[,;! ]", " ", text)


def unicode(latex: str) -> str:
    r"""A symbol with Unicode subscripts, where they exist.

    >>> unicode("h_{t-1}"), unicode(r"\tilde{c}_t"), unicode("W_f")
    ('hₜ₋₁', 'c̃ₜ', 'W_f')
    """

    def lower(subscript: re.Match[str]) -> str:
        text = subscript[1] or subscript[2]
        return "".join(_SUBSCRIPTS[c] for c in text) if all(c in _SUBSCRIPTS for c in text) else f"_{text}"

    return re.sub(r"_(?:\{([^}]*)\}|(\w))", lower, plain(latex))
