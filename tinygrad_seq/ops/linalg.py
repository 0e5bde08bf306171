"""Products: matmul of any rank, einsum, outer, and the linear map with its bias."""

import math
from typing import Any

import numpy as np

from ..core import FusedOp, Op
from .reduce import sum
from .shape import broadcast_to, expand_dims, squeeze


class MatMul(Op):
    broadcasts = True  # over the leading axes

    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return be.matmul(a, b)

    def backward(self, g: Any, a: Any, b: Any) -> Any:
        da = g @ b.swapaxes(-1, -2) if self.sources[0] else None
        if not self.sources[1]:
            return da, None
        if b.ndim == 2:  # one product over all leading axes, not one each and a sum
            rows = math.prod(a.shape[:-1])
            return da, a.reshape(rows, a.shape[-1]).swapaxes(0, 1) @ g.reshape(rows, g.shape[-1])
        return da, a.swapaxes(-1, -2) @ g


class Einsum(Op):
    """Two tensors by letters: every letter of one stands in the other or in the output, and at most once in each."""

    broadcasts = True  # an axis of size 1 stretches

    def __init__(self, a: str, b: str, out: str) -> None:
        self.a, self.b, self.out = a, b, out

    def forward(self, be: Any, a: Any, b: Any) -> Any:
        return be.xp.einsum(f"{self.a},{self.b}->{self.out}", a, b, optimize=True)

    def backward(self, g: Any, a: Any, b: Any) -> Any:
        return self.pull(g, b, self.b, self.a, self.sources[0]), self.pull(g, a, self.a, self.b, self.sources[1])

    def pull(self, g: Any, other: Any, letters: str, own: str, source: Any) -> Any:
        """The gradient of one input, from the other; the same at every place to which the other was stretched."""
        if source is None:
            return None
        g = Einsum(self.out, letters, own)(g, other)
        return g if g.shape == source.shape else broadcast_to(g, np.broadcast_shapes(g.shape, source.shape))


class Linear(FusedOp):
    """y = x Wᵀ + b."""

    kernel = "linear"

    def definition(self, x: Any, W: Any, b: Any) -> Any:
        y = x @ W.swapaxes(0, 1)
        return y if b is None else y + b


def matmul(a: Any, b: Any) -> Any:
    """a @ b: matrices on the last two axes, the axes before them broadcast; a vector is a row on the left, a column
    on the right, and its axis goes."""
    try:
        m, n = a.ndim, b.ndim
    except AttributeError:  # a list or a number, which NumPy takes too
        return matmul(*(v if hasattr(v, "ndim") else np.asarray(v) for v in (a, b)))
    if not m or not n:
        raise ValueError(f"matmul: expected at least one axis each, got shapes {a.shape} and {b.shape}")
    if m > 1 and n > 1:
        return MatMul()(a, b)
    y = MatMul()(a if m > 1 else expand_dims(a, 0), b if n > 1 else expand_dims(b, 1))
    y = y if n > 1 else squeeze(y, -1)
    return y if m > 1 else squeeze(y, -1 if n == 1 else -2)


def outer(a: Any, b: Any) -> Any:
    """a_i b_j of two vectors: (M,), (N,) -> (M, N)."""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: expected two vectors, got shapes {a.shape} and {b.shape}")
    return expand_dims(a, 1) * b


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """y = x Wᵀ + b.

    Args:
        x: (..., D); W: (H, D), PyTorch's layout; b: (H,) or None.
    Returns:
        (..., H).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    if x.ndim < 1 or W.ndim != 2 or x.shape[-1] != W.shape[1] or (b is not None and b.shape != (W.shape[0],)):
        bias = f" + b {b.shape}" if b is not None else ""
        raise ValueError(
            f"linear: y = x Wᵀ + b with x {x.shape}, W {W.shape}{bias}: the last axis of x must be W's second, "
            f"{W.shape[-1]}, and b must have W's first, {W.shape[0]}"
        )
    return Linear()(x, W, b)


def einsum(subscripts: str, *xs: Any) -> Any:
    """Products and sums by letters, as NumPy's einsum: repeated letters, `...` and the implicit output included.

    >>> import tinygrad_seq as ts
    >>> a, b = ts.tensor([[1.0, 2.0]]), ts.tensor([[3.0], [4.0]])
    >>> ts.ops.einsum("ij,jk->ik", a, b)
    tensor([[11.]])
    """
    inputs, output = _letters(subscripts, [x.ndim for x in xs])
    terms = [_diagonal(x, letters) for x, letters in zip(xs, inputs, strict=True)]
    while True:
        terms = [_sum_alone(k, terms, output) for k in range(len(terms))]
        if len(terms) == 1:
            break
        (a, a_letters), (b, b_letters), *rest = terms
        later = set(output).union(*(letters for _, letters in rest))
        out = "".join(c for c in dict.fromkeys(a_letters + b_letters) if c in later)
        if not rest:
            out = output
        terms = [(Einsum(a_letters, b_letters, out)(a, b), out), *rest]
    y, letters = terms[0]
    return y if letters == output else y.transpose(tuple(letters.index(c) for c in output))


def _letters(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """One letter for each axis of each input and of the output."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} names {len(inputs)} inputs, got {len(ndims)}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    spans = [n - len(term.replace("...", "")) for term, n in zip(inputs, ndims, strict=True)]
    widest = max((span for term, span in zip(inputs, spans, strict=True) if "..." in term), default=0)
    for k, (term, span, n) in enumerate(zip(inputs, spans, ndims, strict=True)):
        if span < 0 or (span and "..." not in term):
            raise ValueError(f"einsum: {term!r} of {subscripts!r} does not fit input {k}, which has {n} axes")
        inputs[k] = term.replace("...", "".join(free[widest - span : widest]))
    dots = "".join(free[:widest])
    if not arrow:
        joined = "".join(inputs)
        output = dots + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots))
    output = output.replace("...", dots)
    unknown = [c for c in output if c not in "".join(inputs)]
    if unknown or len(set(output)) < len(output):
        raise ValueError(f"einsum: the output of {subscripts!r} must name letters of the inputs, each once")
    return inputs, output


def _diagonal(x: Any, letters: str) -> tuple[Any, str]:
    """x with each letter once: "ii" keeps x[i, i]."""
    for c in letters:
        while letters.count(c) > 1:
            i, j = letters.index(c), letters.rindex(c)
            rest = [a for a in range(x.ndim) if a not in (i, j)]
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum: the letter {c!r} stands for sizes {x.shape[i]} and {x.shape[j]}")
            along = np.arange(x.shape[i])
            x = x.transpose((i, j, *rest))[along, along]
            letters = c + "".join(letters[a] for a in rest)
    return x, letters


def _sum_alone(k: int, terms: list[tuple[Any, str]], output: str) -> tuple[Any, str]:
    """Input k, summed over the letters that stand nowhere else."""
    x, letters = terms[k]
    elsewhere = set(output).union(*(other for j, (_, other) in enumerate(terms) if j != k))
    alone = [c for c in letters if c not in elsewhere]
    if not alone:
        return x, letters
    return sum(x, tuple(letters.index(c) for c in alone)), "".join(c for c in letters if c not in alone)
