"""Operations on each element: arithmetic with broadcasting, functions, comparison and logic."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Op, Tensor, value
from ..core.op import explain

_ONE = {np.dtype(kind): np.ones((), kind) for kind in ("float16", "float32", "float64")}


def _one_minus(x: Any) -> Any:
    """1 - x: NumPy takes twice as long where the 1 is Python's."""
    return (_ONE.get(x.dtype, 1) if type(x) is np.ndarray else 1) - x


class Elementwise(Op):
    broadcasts = True


class Add(Elementwise):
    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return be.add(a, b)

    def backward(self, g: Any) -> Any:
        return g, g


class Sub(Elementwise):
    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return a - b

    def backward(self, g: Any) -> Any:
        return g, None if self.sources[1] is None else -g


class Mul(Elementwise):
    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return a * b

    def backward(self, g: Any, a: Any, b: Any) -> Any:
        to_a, to_b = self.sources
        return None if to_a is None else g * b, None if to_b is None else g * a


class Div(Elementwise):
    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return a / b

    def backward(self, g: Any, b: Any, out: Any) -> Any:
        to_a, to_b = self.sources
        return None if to_a is None else g / b, None if to_b is None else -g * out / b


class Neg(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return -x

    def backward(self, g: Any) -> Any:
        return -g


class Power(Op):
    """x to the power of a number."""

    def __init__(self, n: float) -> None:
        self.n = n

    def forward(self, be: Any, x: Any) -> Any:
        return x**self.n

    def backward(self, g: Any, x: Any) -> Any:
        return g * self.n * x ** (self.n - 1) if self.n else g * 0


class Pow(Elementwise):
    """a to the power of b, where b is a tensor; a > 0, as its derivative by b asks for log a."""

    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return a**b

    def backward(self, g: Any, a: Any, b: Any, out: Any) -> Any:
        da = g * b * a ** (b - 1) if self.sources[0] else None
        if not self.sources[1]:
            return da, None
        if hasattr(a, "dtype"):
            return da, g * out * log(a)
        return da, g * out * (math.log(a) if a > 0 else math.nan)  # as NumPy's log has it, where Python's raises


class Exp(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.exp(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * out


class Log(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.log(x)

    def backward(self, g: Any, x: Any) -> Any:
        return g / x


class Sqrt(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.sqrt(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * 0.5 / out


class Abs(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.abs(x)

    def backward(self, g: Any, x: Any) -> Any:
        return g * sign(x)


class Sin(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.sin(x)

    def backward(self, g: Any, x: Any) -> Any:
        return g * cos(x)


class Cos(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.cos(x)

    def backward(self, g: Any, x: Any) -> Any:
        return -g * sin(x)


class Tanh(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.tanh(x)

    def backward(self, g: Any, out: Any) -> Any:
        return g * _one_minus(out * out)


class Sigmoid(Op):
    """σ(x) = 1 / (1 + e⁻ˣ), by ½ tanh(½ x) + ½, which never overflows."""

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.tanh(x * 0.5) * 0.5 + 0.5

    def backward(self, g: Any, out: Any) -> Any:
        return g * out * _one_minus(out)


class Relu(Op):
    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.maximum(x, 0)

    def backward(self, g: Any, out: Any) -> Any:
        return g * (out > 0)


class Softplus(Op):
    """log(1 + eˣ)."""

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.logaddexp(x, 0.0)

    def backward(self, g: Any, x: Any) -> Any:
        return g * sigmoid(x)


class Erf(Op):
    """(2/√π) ∫₀ˣ exp(-s²) ds."""

    def forward(self, be: Any, x: Any) -> Any:
        return be.erf(x)

    def backward(self, g: Any, x: Any) -> Any:
        return g * (2 / math.sqrt(math.pi)) * exp(-x * x)


class Maximum(Elementwise):
    """The larger of two; where they are equal each gets half of the gradient."""

    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return be.xp.maximum(a, b)

    def backward(self, g: Any, a: Any, b: Any) -> Any:
        share = where(a > b, 1.0, where(a < b, 0.0, 0.5))
        return g * astype(share, g.dtype), g * astype(1 - share, g.dtype)


class Minimum(Elementwise):
    """The smaller of two; where they are equal each gets half of the gradient."""

    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return be.xp.minimum(a, b)

    def backward(self, g: Any, a: Any, b: Any) -> Any:
        share = where(a < b, 1.0, where(a > b, 0.0, 0.5))
        return g * astype(share, g.dtype), g * astype(1 - share, g.dtype)


class Clip(Op):
    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def forward(self, be: Any, x: Any) -> Any:
        y = x if self.low is None else be.xp.maximum(x, self.low)
        return y if self.high is None else be.xp.minimum(y, self.high)

    def backward(self, g: Any, x: Any, out: Any) -> Any:
        return g * (x == out)


class Where(Elementwise):
    """a where the condition holds, b elsewhere."""

    def forward(self, be: Any, condition: Any, a: Any, b: Any) -> Any:
        return be.xp.where(condition, a, b)

    def backward(self, g: Any, condition: Any) -> Any:
        return None, g * condition, g * ~condition


class AsType(Op):
    def __init__(self, dtype: Any) -> None:
        self.to = dtype

    def forward(self, be: Any, x: Any) -> Any:
        return x.astype(self.to)

    def backward(self, g: Any) -> Any:
        return astype(g, self.sources[0].dtype)


class Gelu(FusedOp):
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""

    kernel = "gelu"

    def definition(self, x: Any) -> Any:
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class ExactGelu(FusedOp):
    """x · ½ (1 + erf(x / √2))."""

    kernel = "exact_gelu"

    def definition(self, x: Any) -> Any:
        return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


# `Add()(a, b)` is `Add()(a, b)`, called by CPython in a shorter way: 3 % of an operation on 1×1 tensors.


def add(a: Any, b: Any) -> Any:
    """a + b, broadcast."""
    return Add()(a, b)


def sub(a: Any, b: Any) -> Any:
    """a - b, broadcast."""
    return Sub()(a, b)


def mul(a: Any, b: Any) -> Any:
    """a · b by elements, broadcast."""
    return Mul()(a, b)


def div(a: Any, b: Any) -> Any:
    """a / b by elements, broadcast."""
    return Div()(a, b)


def neg(x: Any) -> Any:
    """-x."""
    return Neg()(x)


def pow(a: Any, b: Any) -> Any:
    """a to the power of b: of a number, or by elements of a tensor (then a > 0, where b's gradient is wanted)."""
    if isinstance(b, int | float) and not isinstance(b, bool):
        return Power(b)(a)
    return Pow()(a, b)


def exp(x: Any) -> Any:
    """eˣ."""
    return Exp()(x)


def log(x: Any) -> Any:
    """The natural logarithm."""
    return Log()(x)


def sqrt(x: Any) -> Any:
    """√x."""
    return Sqrt()(x)


def abs(x: Any) -> Any:
    """|x|; the derivative at 0 is 0."""
    return Abs()(x)


def sin(x: Any) -> Any:
    """sin x, of radians."""
    return Sin()(x)


def cos(x: Any) -> Any:
    """cos x, of radians."""
    return Cos()(x)


def tanh(x: Any) -> Any:
    """tanh x; its derivative is at most 1."""
    return Tanh()(x)


def sigmoid(x: Any) -> Any:
    """σ(x) = 1 / (1 + e⁻ˣ); its derivative is at most ¼."""
    return Sigmoid()(x)


def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    return Relu()(x)


def silu(x: Any) -> Any:
    """x σ(x)."""
    return x * sigmoid(x)


def softplus(x: Any) -> Any:
    """log(1 + eˣ), a smooth relu."""
    return Softplus()(x)


def erf(x: Any) -> Any:
    """The error function (2/√π) ∫₀ˣ exp(-s²) ds."""
    return Erf()(x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x Φ(x), with Φ the normal distribution's cumulative function (Hendrycks and Gimpel, 2016).

    Args:
        approximate: "none": exact, x · ½ (1 + erf(x / √2)), as BERT has it;
            "tanh": ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), as GPT-2 has it.

    >>> import tinygrad_seq as ts
    >>> ts.ops.gelu(ts.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.15865526,  0.        ,  0.8413447 ])
    """
    if approximate == "tanh":
        return Gelu()(x)
    if approximate != "none":
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', got {approximate!r}")
    return ExactGelu()(x)


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b by elements; equal ones share the gradient."""
    return Maximum()(a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b by elements; equal ones share the gradient."""
    return Minimum()(a, b)


def clip(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """x kept between two numbers, either of which may be None; no gradient where it was cut."""
    if low is None and high is None:
        raise ValueError("clip: give at least one of low and high")
    return Clip(low, high)(x)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition (bool) holds, b elsewhere, broadcast."""
    condition = value(condition)
    if getattr(getattr(condition, "dtype", None), "kind", None) != "b":
        raise TypeError(f"where: the condition is a bool array, got {getattr(condition, 'dtype', type(condition))}")
    return Where()(condition, a, b)


def astype(x: Any, dtype: Any) -> Any:
    """x in another dtype; the gradient comes back in x's. Integers and booleans have none."""
    kind = np.dtype(dtype).kind
    if kind not in "fiub":
        raise TypeError(f"astype: expected a dtype of floating-point numbers, integers or booleans, got {dtype!r}")
    if isinstance(x, Tensor) and kind != "f":
        return Tensor(x.data.astype(dtype))
    return AsType(dtype)(x)


def in_float32(run: Callable[..., Any], *inputs: Any) -> Any:
    """run(*inputs), with float16 as float32 inside: its squares overflow from 256 on, its sums from 65,520."""
    narrow = [x is not None and x.dtype == np.float16 for x in inputs]
    if not any(narrow):
        return run(*inputs)
    y = run(*(astype(x, np.float32) if is_narrow else x for x, is_narrow in zip(inputs, narrow, strict=True)))
    alone = all(x is None or is_narrow for x, is_narrow in zip(inputs, narrow, strict=True))
    return astype(y, np.float16) if alone else y


# Without gradient: their results are constants.


def _constant(name: str, *inputs: Any) -> Any:
    arrays = [value(x) for x in inputs]
    try:
        y = getattr(backend_of(*arrays).xp, name)(*arrays)
    except Exception as error:
        raise explain(name, "ab", arrays, error) from error
    return Tensor(y) if any(isinstance(x, Tensor) for x in inputs) else y


def sign(x: Any) -> Any:
    """-1, 0 or 1; no gradient."""
    return _constant("sign", x)


def equal(a: Any, b: Any) -> Any:
    """Whether a = b, by elements; no gradient."""
    return _constant("equal", a, b)


def not_equal(a: Any, b: Any) -> Any:
    """Whether a ≠ b, by elements; no gradient."""
    return _constant("not_equal", a, b)


def less(a: Any, b: Any) -> Any:
    """Whether a < b, by elements; no gradient."""
    return _constant("less", a, b)


def less_equal(a: Any, b: Any) -> Any:
    """Whether a ≤ b, by elements; no gradient."""
    return _constant("less_equal", a, b)


def greater(a: Any, b: Any) -> Any:
    """Whether a > b, by elements; no gradient."""
    return _constant("greater", a, b)


def greater_equal(a: Any, b: Any) -> Any:
    """Whether a ≥ b, by elements; no gradient."""
    return _constant("greater_equal", a, b)


def logical_and(a: Any, b: Any) -> Any:
    """a and b, by elements; no gradient."""
    return _constant("logical_and", a, b)


def logical_or(a: Any, b: Any) -> Any:
    """a or b, by elements; no gradient."""
    return _constant("logical_or", a, b)


def logical_not(x: Any) -> Any:
    """not x, by elements; no gradient."""
    return _constant("logical_not", x)
