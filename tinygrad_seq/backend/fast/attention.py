"""Attention whose weights fit one tile, head by head: scores, softmax and what they gather while they are in the cache.

Scores are (keys, queries), so that a loop over queries is vector code; where causal, it begins near the diagonal.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..base import Kernel
from ..kernels.attention import TILE, projections
from .blas import SGEMM, multiply
from .compiler import jit, kernel
from .linear import affine, affine_back
from .sequence import F32, empty, flat
from .team import job, share, team
from .vector import WIDTH, exp

LOW = F32(np.finfo(F32).min / 4)  # the score of what a query does not see
NO_MASK = np.empty(0, np.bool_)


class Sizes(NamedTuple):
    """N heads of S queries, T keys, d features of a key and E of a value; query i sees keys up to i + past."""

    N: int
    S: int
    T: int
    d: int
    E: int
    past: int
    mask_sequence: int  # how far apart the masks of two sequences lie, and of two heads
    mask_head: int


# -- all pairs of a head


@jit
def _begin(j: int, past: int) -> int:
    """Where a loop over the queries that see key j begins: at a whole vector, so some before them may not see it."""
    return max(j - past, 0) // WIDTH * WIDTH


@jit
def _weights(e: Any, S: int, T: int, past: int, scale: Any, mask: Any, highest: Any, total: Any) -> None:
    """e (T, S), scores, becomes their softmax over the keys; highest and total are room for S numbers."""
    highest[:], total[:] = LOW if mask.size or past + 1 < T else F32(-np.inf), F32(0)
    for j in range(T):
        here = _begin(j, past)
        if mask.size:
            for i in range(here, S):
                if not mask[j * S + i]:
                    e[j * S + i] = LOW
        for i in range(here, min(j - past, S)):
            e[j * S + i] = LOW
        e_j, highest_j = e[j * S + here : (j + 1) * S], highest[here:]
        for i in range(e_j.size):
            highest_j[i] = max(highest_j[i], e_j[i])
    for j in range(T):
        here = _begin(j, past)
        e[j * S : min(j * S + here, (j + 1) * S)] = 0
        e_j, highest_j, total_j = e[j * S + here : (j + 1) * S], highest[here:], total[here:]
        for i in range(e_j.size):
            weight = exp((e_j[i] - highest_j[i]) * scale)
            e_j[i] = weight
            total_j[i] += weight
    for i in range(S):
        total[i] = F32(0) if highest[i] == LOW else F32(1) / total[i]  # 0: it sees nothing
    for j in range(T):
        here = _begin(j, past)
        e_j, share_j = e[j * S + here : (j + 1) * S], total[here:]
        for i in range(e_j.size):
            e_j[i] *= share_j[i]


@jit
def _score_gradients(alpha: Any, de: Any, S: int, T: int, past: int, scale: Any, along: Any) -> None:
    """de (T, S), the gradient of the weights, becomes that of the scores; along is room for S numbers."""
    along[:] = F32(0)
    for j in range(T):
        here = _begin(j, past)
        alpha_j, de_j, along_j = alpha[j * S + here : (j + 1) * S], de[j * S + here : (j + 1) * S], along[here:]
        for i in range(de_j.size):
            along_j[i] += alpha_j[i] * de_j[i]
    for j in range(T):
        here = _begin(j, past)
        de[j * S : min(j * S + here, (j + 1) * S)] = 0
        alpha_j, de_j, along_j = alpha[j * S + here : (j + 1) * S], de[j * S + here : (j + 1) * S], along[here:]
        for i in range(de_j.size):
            de_j[i] = alpha_j[i] * ((de_j[i] - along_j[i]) * scale)


# -- shared


@jit
def _attend_part(
    part: int,
    parts: int,
    sgemm: int,
    q: Any,
    q_row: int,
    k: Any,
    k_row: int,
    v: Any,
    v_row: int,
    mask: Any,
    e: Any,
    out: Any,
    out_row: int,
    sizes: Any,
) -> None:
    N, S, T, d, E, past, mask_sequence, mask_head = sizes
    highest, total, scale = np.empty(S, F32), np.empty(S, F32), F32(1 / np.sqrt(d))
    count = e.size // (S * T)
    for each in range(count * part // parts, count * (part + 1) // parts):
        b, n = each // N, each % N
        q_here, k_here = b * S * q_row + n * d, b * T * k_row + n * d
        v_here, out_here = b * T * v_row + n * E, b * S * out_row + n * E
        multiply(sgemm, T, S, d, k, k_here, k_row, False, q, q_here, q_row, True, e, each * T * S, S, False)
        mask_here = b * mask_sequence + n * mask_head
        seen = mask[mask_here : mask_here + T * S] if mask.size else mask
        _weights(e[each * T * S : (each + 1) * T * S], S, T, past, scale, seen, highest, total)
        multiply(sgemm, S, E, T, e, each * T * S, S, True, v, v_here, v_row, False, out, out_here, out_row, False)


_attend_job = job(_attend_part)


@kernel
def _attend(team: Any, *inputs: Any) -> None:
    share(_attend_job(inputs), team, inputs)


@jit
def _attend_back_part(
    part: int,
    parts: int,
    sgemm: int,
    q: Any,
    q_row: int,
    k: Any,
    k_row: int,
    v: Any,
    v_row: int,
    alpha: Any,
    g: Any,
    g_row: int,
    dq: Any,
    dk: Any,
    dv: Any,
    sizes: Any,
) -> None:
    N, S, T, d, E, past, _, _ = sizes
    de, along, scale = np.empty(T * S, F32), np.empty(S, F32), F32(1 / np.sqrt(d))
    count = alpha.size // (S * T)
    for each in range(count * part // parts, count * (part + 1) // parts):
        b, n = each // N, each % N
        q_here, k_here = b * S * q_row + n * d, b * T * k_row + n * d
        v_here, g_here = b * T * v_row + n * E, b * S * g_row + n * E
        here = each * T * S
        multiply(sgemm, T, S, E, v, v_here, v_row, False, g, g_here, g_row, True, de, 0, S, False)
        _score_gradients(alpha[here : here + T * S], de, S, T, past, scale, along)
        multiply(sgemm, T, E, S, alpha, here, S, False, g, g_here, g_row, False, dv, v_here, v_row, False)
        multiply(sgemm, T, d, S, de, 0, S, False, q, q_here, q_row, False, dk, k_here, k_row, False)
        multiply(sgemm, S, d, T, de, 0, S, True, k, k_here, k_row, False, dq, q_here, q_row, False)


_attend_back_job = job(_attend_back_part)


@kernel
def _attend_back(team: Any, *inputs: Any) -> None:
    share(_attend_back_job(inputs), team, inputs)


def _fits(S: int, T: int, dropout: float) -> bool:
    return bool(SGEMM) and 0 < S <= TILE and T <= TILE and not dropout


def _masks(mask: Any, S: int, T: int) -> tuple[Any, int, int]:
    """A mask as (keys, queries), of each sequence and head that has its own, and how far apart these lie."""
    if mask is None:
        return NO_MASK, 0, 0
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    B, N = mask.shape[:2]
    turned = np.ascontiguousarray(np.broadcast_to(mask, (B, N, S, T)).swapaxes(-1, -2))
    return turned.reshape(-1), 0 if B == 1 else N * T * S, 0 if N == 1 else T * S


# -- one head


def _forward(be: Any, Q: Any, K: Any, V: Any, mask: Any, causal: bool, dropout: float, key: int) -> Any:
    (*lead, S, d), (T, E) = Q.shape, V.shape[-2:]
    if not _fits(S, T, dropout) or not (K.flags.c_contiguous and V.flags.c_contiguous):  # not to copy a cache
        return None
    if mask is not None:
        mask = np.broadcast_to(mask, (*lead, *mask.shape[-2:])).reshape(-1, 1, *mask.shape[-2:])
    seen, *apart = _masks(mask, S, T)
    sizes = Sizes(1, S, T, d, E, T - S if causal else T, *apart)
    inputs = flat(Q), d, flat(K), d, flat(V), E
    weights, out = empty(math.prod(lead) * T * S), empty(*Q.shape[:-1], E)
    _attend(team(weights.size), SGEMM, *inputs, seen, weights, out.reshape(-1), E, sizes)
    return out, (inputs, weights, sizes)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, causal: bool, dropout: float, key: int
) -> Any:
    laid_out, weights, sizes = tape
    gs = tuple(empty(*x.shape) for x in inputs)
    _attend_back(team(weights.size), SGEMM, *laid_out, weights, flat(g), sizes.E, *(x.reshape(-1) for x in gs), sizes)
    return gs


attention = Kernel(_forward, _backward)


# -- many heads


def _heads_forward(
    be: Any,
    Q: Any,
    K: Any,
    V: Any,
    W_in: Any,
    b_in: Any,
    W_out: Any,
    b_out: Any,
    heads: int,
    mask: Any,
    causal: bool,
    dropout: float,
    key: int,
) -> Any:
    (B, S, D), T = Q.shape, (Q if K is None else K).shape[1]
    if not _fits(S, T, dropout):
        return None
    parts: list[Any] = []
    for x, first, end in projections(Q, K, V):
        width = (end - first) * D
        y = empty(x.shape[0] * x.shape[1] * width)
        affine(flat(x), W_in[first * D : end * D], None if b_in is None else b_in[first * D : end * D], y)
        for n in range(end - first):
            parts += [y[n * D :], width]
    seen, *apart = _masks(mask, S, T)
    sizes = Sizes(heads, S, T, D // heads, D // heads, T - S if causal else T, *apart)
    weights, concat, y = empty(B * heads * T * S), empty(B * S * D), empty(B, S, D)
    _attend(team(weights.size), SGEMM, *parts, seen, weights, concat, D, sizes)
    affine(concat, W_out, b_out, y.reshape(-1))
    return y, (parts, weights, concat, sizes)


def _heads_backward(
    be: Any,
    tape: Any,
    inputs: Any,
    g: Any,
    needs: Any,
    heads: int,
    mask: Any,
    causal: bool,
    dropout: float,
    key: int,
) -> Any:
    Q, K, V, W_in, b_in, W_out, b_out = inputs
    (parts, weights, concat, sizes), D = tape, Q.shape[-1]
    g, dconcat = flat(g), empty(Q.size)
    dW_in, dW_out = empty(*W_in.shape), empty(*W_out.shape)
    db_in, db_out = (None if b is None else np.zeros(b.shape, F32) for b in (b_in, b_out))
    affine_back(concat, W_out, g, dconcat, dW_out.reshape(-1), db_out)
    dys, dparts = [], []
    for x, first, end in projections(Q, K, V):
        dys.append(empty(x.size * (end - first)))
        dparts += [dys[-1][n * D :] for n in range(end - first)]
    _attend_back(team(weights.size), SGEMM, *parts, weights, dconcat, D, *dparts, sizes)
    dxs: list[Any] = [None, None, None]
    for dy, (x, first, end) in zip(dys, projections(Q, K, V), strict=True):
        here = slice(first * D, end * D)
        if needs[first]:
            dxs[first] = empty(*x.shape)
        affine_back(
            flat(x),
            W_in[here],
            dy,
            None if dxs[first] is None else dxs[first].reshape(-1),
            dW_in[here].reshape(-1),
            None if db_in is None else db_in[here],
        )
    return *dxs, dW_in, db_in, dW_out, db_out


multi_head_attention = Kernel(_heads_forward, _heads_backward)
