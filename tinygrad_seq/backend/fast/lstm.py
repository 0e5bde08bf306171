"""An LSTM over a whole sequence, compiled: WIDTH sequences at a time go through all steps, on one thread.

Gates keep PyTorch's order i, f, g, o. A step is one product of packed [W U] with [x_t; h_{t-1}] and one pass over its
result; where x is one-hot, W x is a row of a table, read from there. Steps are counted in the order in which they run:
t is T - 1 - step where the sequence is read from its end.
"""

from typing import Any

import numpy as np

from ..base import Kernel
from ..kernels.rows import OneHot
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

ONE, NO_INDEX = F32(1), np.empty(0, np.intp)


@jit
def _step(a: Any, c_prev: Any, gates: Any, c: Any, h: Any, n: int) -> None:
    """What follows the product, for n numbers a gate."""
    a_i, a_f, a_g, a_o = a[:n], a[n : 2 * n], a[2 * n : 3 * n], a[3 * n : 4 * n]
    i, f, g, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n : 4 * n]
    for k in range(n):
        i_k, f_k, g_k, o_k = sigmoid(a_i[k]), sigmoid(a_f[k]), tanh(a_g[k]), sigmoid(a_o[k])
        c_k = f_k * c_prev[k] + i_k * g_k
        i[k], f[k], g[k], o[k], c[k] = i_k, f_k, g_k, o_k, c_k
        h[k] = o_k * tanh(c_k)


@jit
def _step_back(gates: Any, c_prev: Any, c: Any, dy: Any, dh: Any, dc: Any, a: Any, n: int) -> None:
    """From the gradients of h and c to `a`, that of the product, and dc, that of c one step before."""
    i, f, g, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n : 4 * n]
    a_i, a_f, a_g, a_o = a[:n], a[n : 2 * n], a[2 * n : 3 * n], a[3 * n : 4 * n]
    for k in range(n):
        i_k, f_k, g_k, o_k, tanh_c = i[k], f[k], g[k], o[k], tanh(c[k])
        dh_k = dh[k] + dy[k]
        dc_k = dc[k] + dh_k * o_k * (ONE - tanh_c * tanh_c)
        a_i[k] = dc_k * g_k * (i_k * (ONE - i_k))
        a_f[k] = dc_k * c_prev[k] * (f_k * (ONE - f_k))
        a_g[k] = dc_k * i_k * (ONE - g_k * g_k)
        a_o[k] = dh_k * tanh_c * (o_k * (ONE - o_k))
        dc[k] = dc_k * f_k


@kernel
def _forward(
    first: int, end: int, sizes: Any, reverse: bool, lengths: Any, index: Any, table: Any, x: Any, h_0: Any, c_0: Any,
    W: Any, b: Any, y: Any, h_T: Any, c_T: Any, columns: Any, gates: Any, c: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, D_16, K = H * WIDTH, whole(D, WIDTH), whole(D, WIDTH) + whole(H, WIDTH)
    z, a, old = np.empty(K * WIDTH, F32), np.empty(whole(4 * H, ROWS) * WIDTH, F32), np.empty(n, F32)
    h = z[D_16 * WIDTH :]
    read, of_x = np.empty(WIDTH * 4 * H, F32), np.empty(4 * n, F32)
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        c_all, gates_all = c[block * (T + 1) * n :], gates[block * T * 4 * n :]
        columns_all = columns[block * T * K * WIDTH :]
        z[:], c_all[:n], of_x[:] = 0, 0, 0
        to_block(h_0, s * H, H, rows, H, h)
        to_block(c_0, s * H, H, rows, H, c_all)
        for step in range(T):
            t = T - 1 - step if reverse else step
            c_prev, c_t = c_all[step * n : (step + 1) * n], c_all[(step + 1) * n : (step + 2) * n]
            to_block(x, (s * T + t) * D, T * D, rows, D, z)
            keep_columns(z, K, columns_all, T * WIDTH, step)
            product(W, z, K, b, a, 4 * H)
            if index.size:
                for k in range(rows):
                    row = index[(s + k) * T + t] * 4 * H
                    read[k * 4 * H : (k + 1) * 4 * H] = table[row : row + 4 * H]
                to_block(read, 0, 4 * H, rows, 4 * H, of_x)
                add(of_x, a, 4 * n)
            ended = some_ended(lengths, s, rows, t)
            if ended:
                old[:] = h[:n]
            _step(a, c_prev, gates_all[step * 4 * n : (step + 1) * 4 * n], c_t, h, n)
            from_block(h, H, y, (s * T + t) * H, T * H, rows)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old, h, k, H)
                        copy_column(c_prev, c_t, k, H)
                        y[((s + k) * T + t) * H : ((s + k) * T + t + 1) * H] = 0
        from_block(h, H, h_T, s * H, H, rows)
        from_block(c_all[T * n :], H, c_T, s * H, H, rows)


@kernel
def _backward(
    first: int, end: int, sizes: Any, reverse: bool, lengths: Any, index: Any, dy: Any, dh_T: Any, dc_T: Any,
    WT: Any, UT: Any, columns: Any, gates: Any, c: Any, dx: Any, dh_0: Any, dc_0: Any, dW: Any, dU: Any, db: Any,
    dtable: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, M, K = H * WIDTH, whole(4 * H, ROWS), whole(D, WIDTH) + whole(H, WIDTH)
    K_a = whole(4 * H, WIDTH)
    a, tiles, sums = np.zeros(max(M, K_a) * WIDTH, F32), np.empty(M * T * WIDTH, F32), np.empty(4 * n, F32)
    dh, dc, dy_t = np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(n, F32), np.empty(n, F32)
    old_h, old_c, dx_t = np.empty(n, F32), np.empty(n, F32), np.empty(whole(D, ROWS) * WIDTH, F32)
    zeros, read = np.zeros(whole(max(D, H), ROWS), F32), np.empty(WIDTH * 4 * H, F32)
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        c_all, gates_all = c[block * (T + 1) * n :], gates[block * T * 4 * n :]
        columns_all = columns[block * T * K * WIDTH :]
        dh[:], dc[:], dy_t[:], sums[:] = 0, 0, 0, 0
        to_block(dh_T, s * H, H, rows, H, dh)
        to_block(dc_T, s * H, H, rows, H, dc)
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if reverse else step
            c_prev, c_t = c_all[step * n : (step + 1) * n], c_all[(step + 1) * n : (step + 2) * n]
            to_block(dy, (s * T + t) * H, T * H, rows, H, dy_t)
            ended = some_ended(lengths, s, rows, t)
            if ended:
                old_h[:], old_c[:] = dh[:n], dc
            _step_back(gates_all[step * 4 * n : (step + 1) * 4 * n], c_prev, c_t, dy_t, dh, dc, a, n)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old_c, dc, k, H)
                        a[k : 4 * n : WIDTH] = 0
            add(a, sums, 4 * n)
            if index.size:
                from_block(a, 4 * H, read, 0, 4 * H, rows)
                for k in range(rows):
                    row = index[(s + k) * T + t] * 4 * H
                    add(read[k * 4 * H : (k + 1) * 4 * H], dtable[row : row + 4 * H], 4 * H)
            keep_rows(a, 4 * H, tiles, T * WIDTH, step)
            product(UT, a, K_a, zeros, dh, H)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old_h, dh, k, H)
            if dx.size:
                product(WT, a, K_a, zeros, dx_t, D)
                from_block(dx_t, D, dx, (s * T + t) * D, T * D, rows)
        from_block(dh, H, dh_0, s * H, H, rows)
        from_block(dc, H, dc_0, s * H, H, rows)
        add_products(tiles, 4 * H, columns_all, T * WIDTH, dW, D)
        add_products(tiles, 4 * H, columns_all[whole(D, WIDTH) * T * WIDTH :], T * WIDTH, dU, H)
        add_rows(sums, 4 * H, db)


def _of(x: Any, W: Any, h_0: Any) -> tuple[Sizes, Any, Any, Any, Any]:
    """Sizes, index, table, x and W: where x is one-hot there is an index of a table, and no feature of x."""
    B, T, D, H = Sizes.of(x, h_0)
    if type(x) is OneHot:
        return Sizes(B, T, 0, H), (x.index.astype(np.intp) % W.shape[1]).reshape(-1), flat(W.T), empty(0), W[:, :0]
    return Sizes(B, T, D, H), NO_INDEX, empty(0), flat(x), W


def forward(be: Any, x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> Any:
    if few(*h_0.shape):
        return None
    sizes, index, table, x, W = _of(x, W, h_0)
    B, T, _, H = sizes
    y, h_T, c_T = empty(B, T, H), empty(B, H), empty(B, H)
    tape = columns, gates, c = sizes.room(T, sizes.K), sizes.room(T, 4 * H), sizes.room(T + 1, H)
    how = tuple(sizes), reverse, ends(lengths, sizes), index
    given = table, x, *map(flat, (h_0, c_0)), packed(W, U), padded(b, whole(4 * H, ROWS))
    split(lambda _, first, end: _forward(first, end, *how, *given, *map(flat, (y, h_T, c_T)), *tape), sizes.blocks)
    return (y, h_T, c_T), tape


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    x, h_0, _, W, U, b = inputs
    sizes, index, table, _, W = _of(x, W, h_0)
    B, T, D, H = sizes
    how = tuple(sizes), reverse, ends(lengths, sizes), index
    given = gradient(g[0], B, T, H), gradient(g[1], B, H), gradient(g[2], B, H), packed(W.T), packed(U.T)
    dx, dh_0, dc_0 = empty(B, T, D) if needs[0] else empty(0), empty(B, H), empty(B, H)
    sums = [np.zeros((parts_of(sizes.blocks), *p.shape), F32) for p in (W, U, b, table)]  # of each thread

    def work(part: int, first: int, end: int) -> None:
        _backward(first, end, *how, *given, *tape, *map(flat, (dx, dh_0, dc_0, *(each[part] for each in sums))))

    split(work, sizes.blocks)
    dW, dU, db, dtable = (each.sum(0) for each in sums)
    return dx if needs[0] else None, dh_0, dc_0, dtable.reshape(-1, 4 * H).T if index.size else dW, dU, db


lstm_sequence = Kernel(forward, backward)
