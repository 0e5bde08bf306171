"""The network of a Transformer's layer: products of many rows, and between them its activation, chunk by chunk."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..base import Kernel
from .gelu import OPERATIONS, exact_form, exact_slope, tanh_form, tanh_slope
from .linear import affine, operations, rows, weight_gradients


class _Activation(NamedTuple):
    """f: form(be, u, t, h) has h = f(u), and in t what slope(be, u, t, dh, du) and again(be, u, t) need.

    slope has du = dh f'(u), and again f(u) in the place of t, of which nothing is needed where it is not kept.
    """

    form: Callable[..., None]
    slope: Callable[..., None]
    again: Callable[..., Any]
    keeps: bool


def _relu_form(be: Any, u: Any, t: Any, h: Any) -> None:
    be.xp.maximum(u, 0, out=h)


def _relu_slope(be: Any, u: Any, t: Any, dh: Any, du: Any) -> None:
    be.xp.multiply(dh, u > 0, out=du)


def _relu_again(be: Any, u: Any, t: Any) -> None:
    be.xp.maximum(u, 0, out=t)


def _gelu_again(be: Any, u: Any, t: Any) -> None:
    t *= u


ACTIVATIONS = {
    "relu": _Activation(_relu_form, _relu_slope, _relu_again, False),
    "gelu": _Activation(exact_form, exact_slope, _gelu_again, True),
    "gelu_tanh": _Activation(tanh_form, tanh_slope, _gelu_again, True),
}


def _operations(x: Any, W_1: Any, W_2: Any) -> int:
    numbers = len(rows(x)) * len(W_1)
    return operations(x, W_1) + numbers * (OPERATIONS + 2 * len(W_2))


def _drop(h: Any, mask: Any, p: float) -> None:
    if mask is not None:
        h *= mask
        h *= 1 / (1 - p)


def _forward(
    be: Any, x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any, activation: str, dropout: float, key: int
) -> tuple[Any, Any]:
    f, x_rows, F = ACTIVATIONS[activation], rows(x), len(W_1)
    shape, y = (len(x_rows), F), be.empty((*x.shape[:-1], len(W_2)), x.dtype)
    u, t = be.empty(shape, x.dtype), be.empty(shape, x.dtype) if f.keeps else None
    mask = be.keep_mask(key, shape, dropout) if dropout else None

    def work(here: slice) -> None:
        affine(be, x_rows[here], W_1, b_1, u[here])
        h = be.empty((here.stop - here.start, F), x.dtype)
        for part in be.chunks(len(h), F):
            u_part, t_part, mask_part = (None if a is None else a[here][part] for a in (u, t, mask))
            f.form(be, u_part, t_part, h[part])
            _drop(h[part], mask_part, dropout)
        affine(be, h, W_2, b_2, rows(y)[here])

    be.each(work, be.pieces(len(x_rows), _operations(x, W_1, W_2)))
    return y, (u, t, mask)


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, activation: str, dropout: float, key: int) -> Any:
    f, (u, t, mask), (x, W_1, _, W_2, _) = ACTIVATIONS[activation], tape, inputs
    g, x_rows, F, all_operations = rows(g), rows(x), len(W_1), 2 * _operations(x, W_1, W_2)
    h, du = be.empty(u.shape, u.dtype) if t is None else t, be.empty(u.shape, u.dtype)
    dx, dW_1, db_1, dW_2, db_2 = (
        be.empty(a.shape, u.dtype) if need else None for a, need in zip(inputs, needs, strict=True)
    )

    def work(here: slice) -> None:
        dh = g[here] @ W_2
        for part in be.chunks(len(dh), F):
            u_part, h_part, du_part = (a[here][part] for a in (u, h, du))
            mask_part = None if mask is None else mask[here][part]
            _drop(dh[part], mask_part, dropout)
            f.slope(be, u_part, h_part, dh[part], du_part)
            f.again(be, u_part, h_part)
            _drop(h_part, mask_part, dropout)
        if dx is not None:
            be.xp.matmul(du[here], W_1, out=rows(dx)[here])

    be.each(work, be.pieces(len(x_rows), all_operations))
    products = [(du, x_rows, dW_1, db_1), (g, h, dW_2, db_2)]
    pieces = [be.pieces(d.shape[1], all_operations) for d, *_ in products]

    def work_on_weights(some: slice) -> None:
        """The same share of the rows of each weight."""
        for (d, a, dW, db), of in zip(products, pieces, strict=True):
            for here in of[some]:
                dW_here, db_here = (None if d is None else d[here] for d in (dW, db))
                weight_gradients(be, d[:, here], a, dW_here, db_here)

    be.each(work_on_weights, be.pieces(max(map(len, pieces)), all_operations))
    return dx, dW_1, db_1, dW_2, db_2


feed_forward = Kernel(_forward, _backward)
