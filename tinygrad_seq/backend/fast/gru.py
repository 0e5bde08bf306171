"""A GRU whose r acts after the product, over a whole sequence, compiled as the LSTM is.

Gates are held in the order n, r, z, u, with u = U_n h_{t-1} + b_hn: what x goes into, n r z, and what h goes into,
r z u, are each one block.
"""

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

ONE = F32(1)


@jit
def _step(a_n: Any, a_rz: Any, a_u: Any, gates: Any, h: Any, h_prev: Any, size: int) -> None:
    """What follows the products, for `size` numbers a gate; h_prev keeps what h was."""
    n, r, z, u = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size : 4 * size]
    a_r, a_z = a_rz[:size], a_rz[size : 2 * size]
    for k in range(size):
        h_k, r_k, z_k, u_k = h[k], sigmoid(a_r[k]), sigmoid(a_z[k]), a_u[k]
        n_k = tanh(a_n[k] + r_k * u_k)
        n[k], r[k], z[k], u[k], h_prev[k] = n_k, r_k, z_k, u_k, h_k
        h[k] = n_k + z_k * (h_k - n_k)


@jit
def _step_back(gates: Any, h_prev: Any, dy: Any, dh: Any, a: Any, back: Any, size: int) -> None:
    """From the gradient of h to `a`, those of the products, and `back`, what goes straight to h one step before."""
    n, r, z, u = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size : 4 * size]
    a_n, a_r, a_z, a_u = a[:size], a[size : 2 * size], a[2 * size : 3 * size], a[3 * size : 4 * size]
    for k in range(size):
        n_k, r_k, z_k, u_k, dh_k = n[k], r[k], z[k], u[k], dh[k] + dy[k]
        back[k] = dh_k * z_k
        dn = dh_k * (ONE - z_k) * (ONE - n_k * n_k)
        a_n[k] = dn
        a_r[k] = dn * u_k * (r_k * (ONE - r_k))
        a_z[k] = dh_k * (h_prev[k] - n_k) * (z_k * (ONE - z_k))
        a_u[k] = dn * r_k


@kernel
def _forward(
    first: int, end: int, sizes: Any, reverse: bool, lengths: Any, x: Any, h_0: Any, W_n: Any, WU_rz: Any, U_n: Any,
    b_n: Any, b_rz: Any, b_hn: Any, y: Any, h_T: Any, columns: Any, gates: Any, hs: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, D_16, H_16 = H * WIDTH, whole(D, WIDTH), whole(H, WIDTH)
    K = D_16 + H_16
    z, a_rz = np.empty(K * WIDTH, F32), np.empty(whole(2 * H, ROWS) * WIDTH, F32)
    a_n, a_u = np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(whole(H, ROWS) * WIDTH, F32)
    h = z[D_16 * WIDTH :]
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        z[:] = 0
        to_block(h_0, s * H, H, rows, H, h)
        for step in range(T):
            t = T - 1 - step if reverse else step
            h_prev = hs[here * H + step * n : here * H + (step + 1) * n]
            to_block(x, (s * T + t) * D, T * D, rows, D, z)
            keep_columns(z, K, columns[here * K :], T * WIDTH, step)
            product(W_n, z, D_16, b_n, a_n, H)
            product(WU_rz, z, K, b_rz, a_rz, 2 * H)
            product(U_n, h, H_16, b_hn, a_u, H)
            _step(a_n, a_rz, a_u, gates[here * 4 * H + step * 4 * n :], h, h_prev, n)
            from_block(h, H, y, (s * T + t) * H, T * H, rows)
            if some_ended(lengths, s, rows, t):
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(h_prev, h, k, H)
                        y[((s + k) * T + t) * H : ((s + k) * T + t + 1) * H] = 0
        from_block(h, H, h_T, s * H, H, rows)


@kernel
def _backward(
    first: int, end: int, sizes: Any, reverse: bool, lengths: Any, dy: Any, dh_T: Any, WT: Any, UT: Any,
    columns: Any, gates: Any, hs: Any, dx: Any, dh_0: Any, dW: Any, dU: Any, db_ih: Any, db_hh: Any,
) -> None:  # fmt: skip
    B, T, D, H = sizes
    n, D_16, M = H * WIDTH, whole(D, WIDTH), whole(3 * H, ROWS)
    K, K_a = D_16 + whole(H, WIDTH), whole(3 * H, WIDTH)
    a, sums = np.zeros((H + max(M, K_a)) * WIDTH, F32), np.empty(4 * n, F32)
    tiles_x, tiles_h = np.empty(M * T * WIDTH, F32), np.empty(M * T * WIDTH, F32)
    dh, dx_t = np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(whole(D, ROWS) * WIDTH, F32)
    back, old, dy_t = np.empty(n, F32), np.empty(n, F32), np.empty(n, F32)
    zeros = np.zeros(whole(max(D, H), ROWS), F32)
    for block in range(first, end):
        s, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        dh[:], dy_t[:], sums[:] = 0, 0, 0
        to_block(dh_T, s * H, H, rows, H, dh)
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if reverse else step
            h_prev = hs[here * H + step * n : here * H + (step + 1) * n]
            to_block(dy, (s * T + t) * H, T * H, rows, H, dy_t)
            ended = some_ended(lengths, s, rows, t)
            if ended:
                old[:] = dh[:n]
            _step_back(gates[here * 4 * H + step * 4 * n :], h_prev, dy_t, dh, a, back, n)
            if ended:
                for k in range(rows):
                    if t >= lengths[s + k]:
                        copy_column(old, back, k, H)
                        a[k : 4 * n : WIDTH] = 0
            add(a, sums, 4 * n)
            keep_rows(a, 3 * H, tiles_x, T * WIDTH, step)
            keep_rows(a[n:], 3 * H, tiles_h, T * WIDTH, step)
            product(UT, a[n:], K_a, zeros, dh, H)
            add(back, dh, n)
            if dx.size:
                product(WT, a, K_a, zeros, dx_t, D)
                from_block(dx_t, D, dx, (s * T + t) * D, T * D, rows)
        from_block(dh, H, dh_0, s * H, H, rows)
        add_products(tiles_x, 3 * H, columns[here * K :], T * WIDTH, dW, D)
        add_products(tiles_h, 3 * H, columns[here * K + D_16 * T * WIDTH :], T * WIDTH, dU, H)
        add_rows(sums, 3 * H, db_ih)
        add_rows(sums[n:], 3 * H, db_hh)


def forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b_ih: Any, b_hh: Any, reverse: bool, lengths: Any) -> Any:
    if few(*h_0.shape):
        return None
    sizes = B, T, _, H = Sizes.of(x, h_0)
    y, h_T = empty(B, T, H), empty(B, H)
    tape = sizes.room(T, sizes.K), sizes.room(T, 4 * H), sizes.room(T, H)
    how = tuple(sizes), reverse, ends(lengths, sizes)
    rz, n = slice(0, 2 * H), slice(2 * H, 3 * H)
    weights = packed(W[n]), packed(W[rz], U[rz]), packed(U[n])
    biases = (padded(b, whole(b.size, ROWS)) for b in (b_ih[n], b_ih[rz] + b_hh[rz], b_hh[n]))
    given = flat(x), flat(h_0), *weights, *biases
    split(lambda _, first, end: _forward(first, end, *how, *given, flat(y), flat(h_T), *tape), sizes.blocks)
    return (y, h_T), tape


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    x, h_0, W, U, _, _ = inputs
    sizes = B, T, D, H = Sizes.of(x, h_0)
    how = tuple(sizes), reverse, ends(lengths, sizes)
    given = gradient(g[0], B, T, H), gradient(g[1], B, H), packed(np.roll(W, H, 0).T), packed(U.T)
    dx, dh_0 = empty(B, T, D) if needs[0] else empty(0), empty(B, H)
    sums = [np.zeros((parts_of(sizes.blocks), *p.shape), F32) for p in inputs[2:]]  # of each thread

    def work(part: int, first: int, end: int) -> None:
        _backward(first, end, *how, *given, *tape, *map(flat, (dx, dh_0, *(each[part] for each in sums))))

    split(work, sizes.blocks)
    dW, dU, db_ih, db_hh = (each.sum(0) for each in sums)
    return dx if needs[0] else None, dh_0, np.roll(dW, -H, 0), dU, np.roll(db_ih, -H), db_hh


gru_sequence = Kernel(forward, backward)
