"""The network of a Transformer's layer: rows of u = x W_1ᵀ + b_1 are multiplied by W_2 while f(u) lies in the cache."""

from typing import Any

import numpy as np

from ..base import Kernel
from ..threads import num_threads
from .blas import SGEMM
from .compiler import jit, kernel
from .dropout import dropping, random_bits
from .gelu import exact_gelu_slope, tanh_gelu, tanh_gelu_slope
from .linear import NOTHING, PRODUCTS, affine, affine_back, few_rows, worth
from .products import HIGH, LEAST, multiply
from .sequence import F32, empty, flat
from .team import job, share, team

RELU, GELU, GELU_TANH = range(3)
KINDS = {"relu": RELU, "gelu": GELU, "gelu_tanh": GELU_TANH}
AT_ONCE = 1 << 18  # numbers of f(u), a megabyte: half of a core's own cache


@jit
def _rows_at_once(F: int) -> int:
    return max(LEAST, AT_ONCE // F // HIGH * HIGH)


@jit
def _activate(kind: int, u: Any, h: Any) -> None:
    """h = f(u)."""
    if kind == RELU:
        for k in range(h.size):
            h[k] = F32(0) if u[k] < F32(0) else u[k]
    elif kind == GELU:
        for k in range(h.size):
            h[k] = exact_gelu_slope(u[k])[0]
    else:
        for k in range(h.size):
            h[k] = tanh_gelu(u[k])


@jit
def _activate_back(kind: int, u: Any, dh: Any, h: Any) -> None:
    """h = f(u), and u becomes dh f'(u)."""
    if kind == RELU:
        for k in range(h.size):
            h[k] = F32(0) if u[k] < F32(0) else u[k]
            u[k] = dh[k] if u[k] > F32(0) else F32(0)
    elif kind == GELU:
        for k in range(h.size):
            h[k], slope = exact_gelu_slope(u[k])
            u[k] = dh[k] * slope
    else:
        for k in range(h.size):
            h[k], slope = tanh_gelu_slope(u[k])
            u[k] = dh[k] * slope


@jit
def _drop(h: Any, first: int, threshold: int, key: int, factor: Any) -> None:
    bits, enough = np.uint64(key), np.uint32(threshold)
    for k in range(h.size):
        h[k] *= factor if random_bits(bits, first + k) >= enough else F32(0)


@jit
def _forward_part(
    part: int, parts: int, sgemm: int, kind: int, drops: Any, x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any,
    u: Any, y: Any, D: int, F: int, E: int,
) -> None:  # fmt: skip
    threshold, key, factor = drops
    rows = u.size // F
    first, end = rows * part // parts, rows * (part + 1) // parts
    most = min(_rows_at_once(F), end - first)
    h = np.empty(most * F, F32)
    for m in range(first, end, _rows_at_once(F)):
        n = min(most, end - m)
        multiply(sgemm, n, F, D, x, m * D, D, False, W_1, 0, D, True, u, m * F, F, b_1)
        _activate(kind, u[m * F : (m + n) * F], h[: n * F])
        if threshold:
            _drop(h[: n * F], m * F, threshold, key, factor)
        multiply(sgemm, n, E, F, h, 0, F, False, W_2, 0, F, True, y, m * E, E, b_2)


@jit
def _back_part(
    part: int, parts: int, sgemm: int, kind: int, drops: Any, W_1: Any, W_2: Any, u: Any, g: Any, h: Any, dx: Any,
    D: int, F: int, E: int,
) -> None:  # fmt: skip
    """h anew, u becomes its own gradient, and dx."""
    threshold, key, factor = drops
    rows, none = u.size // F, np.empty(0, F32)
    first, end = rows * part // parts, rows * (part + 1) // parts
    most = min(_rows_at_once(F), end - first)
    dh = np.empty(most * F, F32)
    for m in range(first, end, _rows_at_once(F)):
        n = min(most, end - m)
        h_here, u_here, dh_here = h[m * F : (m + n) * F], u[m * F : (m + n) * F], dh[: n * F]
        multiply(sgemm, n, F, E, g, m * E, E, False, W_2, 0, F, False, dh, 0, F, none)
        if threshold:
            _drop(dh_here, m * F, threshold, key, factor)
        _activate_back(kind, u_here, dh_here, h_here)
        if threshold:
            _drop(h_here, m * F, threshold, key, factor)
        if dx.size:
            multiply(sgemm, n, D, F, u, m * F, F, False, W_1, 0, D, False, dx, m * D, D, none)


_forward_job, _back_job = job(_forward_part), job(_back_part)


@kernel
def _inside(kind: int, drops: Any, u: Any, h: Any) -> None:
    """h = dropout(f(u))."""
    threshold, key, factor = drops
    _activate(kind, u, h)
    if threshold:
        _drop(h, 0, threshold, key, factor)


@kernel
def _there(team: Any, *inputs: Any) -> None:
    share(_forward_job(inputs), team, inputs)


@kernel
def _back(team: Any, *inputs: Any) -> None:
    share(_back_job(inputs), team, inputs)


def _drops(p: float, key: int) -> tuple[int, int, Any]:
    """threshold, 0 without dropout, key and factor."""
    threshold, signed, factor = dropping(p, key)
    return threshold, signed, F32(factor)


def _forward(be: Any, x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any, activation: str, dropout: float, key: int) -> Any:
    (F, D), E = W_1.shape, len(W_2)
    rows = x.size // D
    if not worth(2 * rows * F * (D + E)):
        return None
    u, y = empty(rows * F), empty(*x.shape[:-1], E)
    biases = [NOTHING if b is None else flat(b) for b in (b_1, b_2)]
    weights = flat(W_1), biases[0], flat(W_2), biases[1]
    if few_rows(rows, num_threads()):
        h = empty(rows * F)
        affine(flat(x), W_1, b_1, u)
        _inside(KINDS[activation], _drops(dropout, key), u, h)
        affine(h, W_2, b_2, y.reshape(-1))
        return y, u
    desks = team(rows * F * (D + E) // PRODUCTS)
    _there(desks, SGEMM, KINDS[activation], _drops(dropout, key), flat(x), *weights, u, y.reshape(-1), D, F, E)
    return y, u


def _backward(be: Any, u: Any, inputs: Any, g: Any, needs: Any, activation: str, dropout: float, key: int) -> Any:
    x, W_1, b_1, W_2, b_2 = inputs
    (F, D), E = W_1.shape, len(W_2)
    h, g = empty(u.size), flat(g)
    dx, dW_1, dW_2 = (empty(a.size) if needs[k] else NOTHING for k, a in ((0, x), (1, W_1), (3, W_2)))
    db_1, db_2 = (np.zeros(n, F32) if need else None for n, need in ((F, needs[2]), (E, needs[4])))
    desks = team(u.size * (D + E) // PRODUCTS)
    _back(desks, SGEMM, KINDS[activation], _drops(dropout, key), flat(W_1), flat(W_2), u, g, h, dx, D, F, E)
    affine_back(flat(x), W_1, u, None, dW_1 if needs[1] else None, db_1)
    affine_back(h, W_2, g, None, dW_2 if needs[3] else None, db_2)
    shaped = [d.reshape(a.shape) if d.size else None for d, a in ((dx, x), (dW_1, W_1), (dW_2, W_2))]
    return shaped[0], shaped[1], db_1, shaped[2], db_2


feed_forward = Kernel(_forward, _backward)
