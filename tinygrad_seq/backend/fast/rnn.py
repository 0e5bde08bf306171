"""A simple RNN over a whole sequence, compiled as the LSTM is."""

from typing import Any

import numpy as np

from ..base import Kernel
from ..threads import parts_of, split
from .compiler import jit, kernel
from .sequence import (
    F32,
    Sizes,
    add,
    add_rows,
    copy_column,
    empty,
    ends,
    few,
    flat,
    gradient,
    packed,
    padded,
    some_ended,
)
from .vector import (
    ROWS,
    WIDTH,
    add_products,
    from_block,
    keep_columns,
    keep_rows,
    product,
    sigmoid,
    tanh,
    to_block,
    whole,
)

ZERO, ONE = F32(0), F32(1)
KINDS = {"tanh": 0, "relu": 1, "sigmoid": 2}


@jit
def _step(kind: int, a: Any, h: Any, n: int) -> None:
    """h = g(a)."""
    if kind == 0:
        for k in range(n):
            h[k] = tanh(a[k])
    elif kind == 1:
        for k in range(n):
            h[k] = ZERO if a[k] < ZERO else a[k]
    else:
        for k in range(n):
            h[k] = sigmoid(a[k])


@jit
def _step_back(kind: int, h: Any, dy: Any, dh: Any, a: Any, n: int) -> None:
    """From the gradient of h to that of what g was taken of, by h itself."""
    if kind == 0:
        for k in range(n):
            a[k] = (dh[k] + dy[k]) * (ONE - h[k] * h[k])
    elif kind == 1:
        for k in range(n):
            a[k] = dh[k] + dy[k] if h[k] > ZERO else ZERO
    else:
        for k in range(n):
            a[k] = (dh[k] + dy[k]) * (h[k] * (ONE - h[k]))


@kernel
def _forward(
    first: int, end: int, sizes: Any, kind: int, reverse: bool, lengths: Any, x: Any, h_0: Any, W: Any, b: Any,
    y: Any, h_T: Any, columns: Any, hs: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, D_16, K = H * WIDTH, whole(D, WIDTH), whole(D, WIDTH) + whole(H, WIDTH)
    z, a, old = np.empty(K * WIDTH, F32), np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(n, F32)
    h = z[D_16 * WIDTH :]
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        z[:] = 0
        to_block(h_0, s * H, H, rows, H, h)
        for step in range(T):
            t = T - 1 - step if reverse else step
            to_block(x, (s * T + t) * D, T * D, rows, D, z)
            keep_columns(z, K, columns[here * K :], T * WIDTH, step)
            product(W, z, K, b, a, H)
            ended = some_ended(lengths, s, rows, t)
            if ended:
                old[:] = h[:n]
            _step(kind, a, h, n)
            hs[here * H + step * n : here * H + (step + 1) * n] = h[:n]
            from_block(h, H, y, (s * T + t) * H, T * H, rows)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old, h, k, H)
                        y[((s + k) * T + t) * H : ((s + k) * T + t + 1) * H] = 0
        from_block(h, H, h_T, s * H, H, rows)


@kernel
def _backward(
    first: int, end: int, sizes: Any, kind: int, reverse: bool, lengths: Any, dy: Any, dh_T: Any, WT: Any, UT: Any,
    columns: Any, hs: Any, dx: Any, dh_0: Any, dW: Any, dU: Any, db: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, D_16, M, K_a = H * WIDTH, whole(D, WIDTH), whole(H, ROWS), whole(H, WIDTH)
    K = D_16 + K_a
    a, sums, tiles = np.zeros(max(M, K_a) * WIDTH, F32), np.empty(n, F32), np.empty(M * T * WIDTH, F32)
    dh, dx_t = np.empty(M * WIDTH, F32), np.empty(whole(D, ROWS) * WIDTH, F32)
    old, dy_t, zeros = np.empty(n, F32), np.empty(n, F32), np.zeros(whole(max(D, H), ROWS), F32)
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        dh[:], dy_t[:], sums[:] = 0, 0, 0
        to_block(dh_T, s * H, H, rows, H, dh)
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if reverse else step
            to_block(dy, (s * T + t) * H, T * H, rows, H, dy_t)
            _step_back(kind, hs[here * H + step * n :], dy_t, dh, a, n)
            ended = some_ended(lengths, s, rows, t)
            if ended:
                old[:] = dh[:n]
                for k in range(rows):
                    if t >= lengths[s + k]:
                        a[k:n:WIDTH] = 0
            add(a, sums, n)
            keep_rows(a, H, tiles, T * WIDTH, step)
            product(UT, a, K_a, zeros, dh, H)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old, dh, k, H)
            if dx.size:
                product(WT, a, K_a, zeros, dx_t, D)
                from_block(dx_t, D, dx, (s * T + t) * D, T * D, rows)
        from_block(dh, H, dh_0, s * H, H, rows)
        add_products(tiles, H, columns[here * K :], T * WIDTH, dW, D)
        add_products(tiles, H, columns[here * K + D_16 * T * WIDTH :], T * WIDTH, dU, H)
        add_rows(sums, H, db)


def forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, nonlinearity: str, reverse: bool, lengths: Any) -> Any:
    if few(*h_0.shape):
        return None
    sizes = B, T, _, H = Sizes.of(x, h_0)
    y, h_T = empty(B, T, H), empty(B, H)
    tape = sizes.room(T, sizes.K), sizes.room(T, H)
    how = tuple(sizes), KINDS[nonlinearity], reverse, ends(lengths, sizes)
    given = flat(x), flat(h_0), packed(W, U), padded(b, whole(H, ROWS))
    split(lambda _, first, end: _forward(first, end, *how, *given, flat(y), flat(h_T), *tape), sizes.blocks)
    return (y, h_T), tape


def backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> Any:
    x, h_0, W, U, _ = inputs
    sizes = B, T, D, H = Sizes.of(x, h_0)
    how = tuple(sizes), KINDS[nonlinearity], reverse, ends(lengths, sizes)
    given = gradient(g[0], B, T, H), gradient(g[1], B, H), packed(W.T), packed(U.T)
    dx, dh_0 = empty(B, T, D) if needs[0] else empty(0), empty(B, H)
    sums = [np.zeros((parts_of(sizes.blocks), *p.shape), F32) for p in inputs[2:]]  # of each thread

    def work(part: int, first: int, end: int) -> None:
        _backward(first, end, *how, *given, *tape, *map(flat, (dx, dh_0, *(each[part] for each in sums))))

    split(work, sizes.blocks)
    return dx if needs[0] else None, dh_0, *(each.sum(0) for each in sums)


rnn_sequence = Kernel(forward, backward)
