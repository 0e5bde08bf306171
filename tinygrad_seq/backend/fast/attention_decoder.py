"""A GRU decoder with MLP attention over a whole target, compiled: the cell as in `gru`, attention a sequence at a time.

Sequences run side by side in blocks for the products with weights. What attends, W_1 s, and the context lie row by row,
and so do the states of the encoder and their keys. The tanh of the score is computed again in the backward pass, from
W_1 s, which is faster than to keep it.
"""

from typing import Any

import numpy as np

from ..base import Kernel
from ..threads import parts_of, split
from .compiler import jit, kernel, reduction
from .gru import _step, _step_back
from .norm import _sum_of_products
from .sequence import F32, add, add_rows, empty, few, flat, gradient, packed, padded
from .vector import (
    ROWS,
    WIDTH,
    add_products,
    exp,
    from_block,
    keep_columns,
    keep_rows,
    product,
    tanh,
    to_block,
    whole,
)

ONE, LOWEST = F32(1), F32(np.finfo(F32).min)


@reduction
def _score(q: Any, key: Any, v: Any) -> Any:
    """vᵀ tanh(q + key)."""
    total = F32(0)
    for k in range(v.size):
        total += v[k] * tanh(q[k] + key[k])
    return total


@jit
def _weights(score: Any, sees: Any, alpha: Any) -> None:
    """alpha = softmax(score) of what is seen, all of it where `sees` is empty."""
    S, highest, total = score.size, LOWEST, F32(0)
    for j in range(S):
        if (not sees.size or sees[j]) and score[j] > highest:
            highest = score[j]
    for j in range(S):
        alpha[j] = exp(score[j] - highest) if not sees.size or sees[j] else F32(0)
        total += alpha[j]
    total = total if total != F32(0) else ONE
    for j in range(S):
        alpha[j] /= total


@jit
def _add_times(factor: Any, a: Any, total: Any) -> None:
    """total += factor a."""
    for k in range(a.size):
        total[k] += factor * a[k]


@jit
def _score_back(de: Any, q: Any, key: Any, v: Any, dq: Any, dkey: Any, dv: Any) -> None:
    """Add what the gradient of one score means for those of what it is computed from."""
    for k in range(v.size):
        t = tanh(q[k] + key[k])
        da = de * v[k] * (ONE - t * t)
        dv[k] += de * t
        dq[k] += da
        dkey[k] += da


@kernel
def _forward(
    first: int, end: int, sizes: Any, sees: Any, y: Any, s_0: Any, h: Any, keys: Any, v: Any, W_1: Any, W_n: Any,
    WU_rz: Any, U_n: Any, b_n: Any, b_rz: Any, b_hn: Any, score: Any, alpha: Any, context: Any, s: Any, qs: Any,
    columns: Any, gates: Any, states: Any,
) -> None:  # fmt: skip
    B, T, S, D, E, H, A = sizes
    n, D_16, H_16 = H * WIDTH, whole(D, WIDTH), whole(H, WIDTH)
    K_x = D_16 + whole(E, WIDTH)
    K = K_x + H_16
    z, a_rz = np.empty(K * WIDTH, F32), np.empty(whole(2 * H, ROWS) * WIDTH, F32)
    a_n, a_u = np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(whole(H, ROWS) * WIDTH, F32)
    q_t, zeros = np.empty(whole(A, ROWS) * WIDTH, F32), np.zeros(whole(A, ROWS), F32)
    c_t, s_t = z[D_16 * WIDTH :], z[K_x * WIDTH :]
    for block in range(first, end):
        b_0, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        z[:] = 0
        to_block(s_0, b_0 * H, H, rows, H, s_t)
        for t in range(T):
            product(W_1, s_t, H_16, zeros, q_t, A)
            from_block(q_t, A, qs, (b_0 * T + t) * A, T * A, rows)
            for b in range(b_0, b_0 + rows):
                at_t = b * T + t
                q, c = qs[at_t * A : (at_t + 1) * A], context[at_t * E : (at_t + 1) * E]
                score_b, alpha_b = score[at_t * S : (at_t + 1) * S], alpha[at_t * S : (at_t + 1) * S]
                for j in range(S):
                    score_b[j] = _score(q, keys[(b * S + j) * A : (b * S + j + 1) * A], v)
                _weights(score_b, sees[b * S : (b + 1) * S], alpha_b)
                c[:] = 0
                for j in range(S):
                    _add_times(alpha_b[j], h[(b * S + j) * E : (b * S + j + 1) * E], c)
            to_block(y, (b_0 * T + t) * D, T * D, rows, D, z)
            to_block(context, (b_0 * T + t) * E, T * E, rows, E, c_t)
            keep_columns(z, K, columns[here * K :], T * WIDTH, t)
            product(W_n, z, K_x, b_n, a_n, H)
            product(WU_rz, z, K, b_rz, a_rz, 2 * H)
            product(U_n, s_t, H_16, b_hn, a_u, H)
            s_prev = states[here * H + t * n : here * H + (t + 1) * n]
            _step(a_n, a_rz, a_u, gates[here * 4 * H + t * 4 * n :], s_t, s_prev, n)
            from_block(s_t, H, s, (b_0 * T + t) * H, T * H, rows)


@kernel
def _backward(
    first: int, end: int, sizes: Any, dscore: Any, dalpha: Any, dcontext: Any, ds: Any, h: Any, keys: Any, v: Any,
    WT_y: Any, WT_c: Any, UWT: Any, alpha: Any, qs: Any, columns: Any, gates: Any, states: Any, dy: Any, ds_0: Any,
    dh: Any, dkeys: Any, dW_1: Any, dv: Any, dW_y: Any, dW_c: Any, dU: Any, db_ih: Any, db_hh: Any,
) -> None:  # fmt: skip
    B, T, S, D, E, H, A = sizes
    n, D_16, H_16 = H * WIDTH, whole(D, WIDTH), whole(H, WIDTH)
    K_x, K_a = D_16 + whole(E, WIDTH), whole(3 * H, WIDTH)
    K, M, M_q = K_x + H_16, whole(3 * H, ROWS), whole(A, ROWS)
    # The gradients of n, r, z, u and, where a new square begins, of W_1 s; beyond them what a last tile reads.
    a = np.zeros((H + K_a + max(M_q, whole(A, WIDTH)) + ROWS) * WIDTH, F32)
    a_q, sums = a[(H + K_a) * WIDTH :], np.empty(4 * n, F32)
    tiles_x, tiles_s = np.empty(M * T * WIDTH, F32), np.empty(M * T * WIDTH, F32)
    tiles_q = np.empty(M_q * T * WIDTH, F32)
    ds_t, dc_t = np.empty(whole(H, ROWS) * WIDTH, F32), np.empty(whole(E, ROWS) * WIDTH, F32)
    dy_t = np.empty(whole(D, ROWS) * WIDTH, F32)
    back, given = np.empty(n, F32), np.empty(n, F32)
    dc_rows, dq_rows = np.empty(WIDTH * E, F32), np.empty(WIDTH * A, F32)
    de, dv_t = np.empty(S, F32), np.empty(A, F32)
    zeros = np.zeros(whole(max(D, E, H), ROWS), F32)
    for block in range(first, end):
        b_0, rows = block * WIDTH, min(WIDTH, B - block * WIDTH)
        here = block * T * WIDTH
        ds_t[:], given[:], sums[:], a[:] = 0, 0, 0, 0
        for t in range(T - 1, -1, -1):
            s_prev = states[here * H + t * n : here * H + (t + 1) * n]
            to_block(ds, (b_0 * T + t) * H, T * H, rows, H, given)
            _step_back(gates[here * 4 * H + t * 4 * n :], s_prev, given, ds_t, a, back, n)
            add(a, sums, 4 * n)
            keep_rows(a, 3 * H, tiles_x, T * WIDTH, t)
            keep_rows(a[n:], 3 * H, tiles_s, T * WIDTH, t)
            product(WT_c, a, K_a, zeros, dc_t, E)
            from_block(dc_t, E, dc_rows, 0, E, rows)
            if dy.size:
                product(WT_y, a, K_a, zeros, dy_t, D)
                from_block(dy_t, D, dy, (b_0 * T + t) * D, T * D, rows)
            dq_rows[:], dv_t[:] = 0, 0
            for k in range(rows):
                b, at_t = b_0 + k, (b_0 + k) * T + t
                q, alpha_b = qs[at_t * A : (at_t + 1) * A], alpha[at_t * S : (at_t + 1) * S]
                dc, dq = dc_rows[k * E : (k + 1) * E], dq_rows[k * A : (k + 1) * A]
                if dcontext.size:
                    _add_times(ONE, dcontext[at_t * E : (at_t + 1) * E], dc)
                along = F32(0)
                for j in range(S):
                    at_j = b * S + j
                    de[j] = _sum_of_products(dc, h[at_j * E : (at_j + 1) * E])
                    if dalpha.size:
                        de[j] += dalpha[at_t * S + j]
                    along += alpha_b[j] * de[j]
                for j in range(S):
                    at_j = b * S + j
                    _add_times(alpha_b[j], dc, dh[at_j * E : (at_j + 1) * E])
                    de[j] = alpha_b[j] * (de[j] - along)
                    if dscore.size:
                        de[j] += dscore[at_t * S + j]
                    part = slice(at_j * A, (at_j + 1) * A)
                    _score_back(de[j], q, keys[part], v, dq, dkeys[part], dv_t)
            add(dv_t, dv, A)
            to_block(dq_rows, 0, A, rows, A, a_q)
            keep_rows(a_q, A, tiles_q, T * WIDTH, t)
            product(UWT, a[n:], K_a + whole(A, WIDTH), zeros, ds_t, H)
            add(back, ds_t, n)
        from_block(ds_t, H, ds_0, b_0 * H, H, rows)
        kept = columns[here * K :]
        add_products(tiles_x, 3 * H, kept, T * WIDTH, dW_y, D)
        add_products(tiles_x, 3 * H, kept[D_16 * T * WIDTH :], T * WIDTH, dW_c, E)
        add_products(tiles_s, 3 * H, kept[K_x * T * WIDTH :], T * WIDTH, dU, H)
        add_products(tiles_q, A, kept[K_x * T * WIDTH :], T * WIDTH, dW_1, H)
        add_rows(sums, 3 * H, db_ih)
        add_rows(sums[n:], 3 * H, db_hh)


def _sizes(y: Any, s_0: Any, h: Any, keys: Any) -> tuple[int, ...]:
    """B, T, S, D, E, H, A."""
    (B, T, D), (_, S, E) = y.shape, h.shape
    return B, T, S, D, E, s_0.shape[1], keys.shape[2]


def forward(
    be: Any, y: Any, s_0: Any, h: Any, keys: Any, W_1: Any, v: Any, W: Any, U: Any, b_ih: Any, b_hh: Any,
    mask: Any, parts: Any,
) -> Any:  # fmt: skip
    sizes = B, T, S, D, E, H, A = _sizes(y, s_0, h, keys)
    if few(2 * B, H // 2):  # attention, about half of the work, is computed for those alone that there are
        return None
    outputs = score, alpha, context, s = empty(B, T, S), empty(B, T, S), empty(B, T, E), empty(B, T, H)
    blocks = -(-B // WIDTH)
    steps, K = blocks * T * WIDTH, sum(int(whole(width, WIDTH)) for width in (D, E, H))
    tape = empty(B * T * A), empty(steps * K), empty(steps * 4 * H), empty(steps * H)
    sees = np.zeros(0, bool) if mask is None else np.ascontiguousarray(np.broadcast_to(mask, (B, S))).reshape(-1)
    rz, n = slice(0, 2 * H), slice(2 * H, 3 * H)
    weights = packed(W_1), packed(W[n, :D], W[n, D:]), packed(W[rz, :D], W[rz, D:], U[rz]), packed(U[n])
    biases = (padded(b, whole(b.size, ROWS)) for b in (b_ih[n], b_ih[rz] + b_hh[rz], b_hh[n]))
    given = *map(flat, (y, s_0, h, keys, v)), *weights, *biases
    made = *map(flat, outputs), *tape
    split(lambda _, first, end: _forward(first, end, sizes, sees, *given, *made), blocks)
    return outputs, (alpha, *tape)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, parts: Any) -> Any:
    y, s_0, h, keys, W_1, v, W, U, _, _ = inputs
    sizes = B, T, S, D, E, H, A = _sizes(y, s_0, h, keys)
    alpha, *kept = tape
    n_first = np.roll(W, H, 0)
    given = (
        *(empty(0) if each is None else flat(each) for each in g[:3]), gradient(g[3], B, T, H),
        *map(flat, (h, keys, v)), packed(n_first[:, :D].T), packed(n_first[:, D:].T), packed(U.T, W_1.T),
        flat(alpha), *kept,
    )  # fmt: skip
    dy, ds_0 = empty(B, T, D) if needs[0] else empty(0), empty(B, H)
    dh, dkeys, blocks = np.zeros(h.shape, F32), np.zeros(keys.shape, F32), -(-B // WIDTH)
    shapes = W_1.shape, v.shape, (3 * H, D), (3 * H, E), U.shape, (3 * H,), (3 * H,)
    sums = [np.zeros((parts_of(blocks), *shape), F32) for shape in shapes]  # of each thread

    def work(part: int, first: int, end: int) -> None:
        made = dy, ds_0, dh, dkeys, *(each[part] for each in sums)
        _backward(first, end, sizes, *given, *map(flat, made))

    split(work, blocks)
    dW_1, dv, dW_y, dW_c, dU, db_ih, db_hh = (each.sum(0) for each in sums)
    dW = np.roll(np.concatenate([dW_y, dW_c], 1), -H, 0)
    return dy if needs[0] else None, ds_0, dh, dkeys, dW_1, dv, dW, dU, np.roll(db_ih, -H), db_hh


gru_attention_decoder = Kernel(forward, backward)
