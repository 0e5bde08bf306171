"""Attention, head by head, WIDTH queries at a time: their scores, softmax and what they gather stay in the cache.

Scores are (keys, WIDTH), with a query in each lane. Keys that none of these queries sees are left out: where causal,
and at the end of padded sequences. Weights are not kept: the backward pass computes them again, which costs less than
to write and read them.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..base import Kernel
from ..kernels.attention import TILE, projections
from .compiler import jit, kernel
from .dropout import dropping, random_bits
from .lanes import exp, first_lanes, lanes, larger, load, number, square, store, total, turn, where
from .linear import PRODUCTS, affine, affine_back
from .products import READY
from .sequence import F32, empty, flat
from .team import job, share, team
from .vector import WIDTH, at, transposed, whole

LOW = F32(np.finfo(F32).min / 4)  # the score of what a query does not see
NO_MASK = np.empty(0, np.bool_)
SQUARE = WIDTH * WIDTH


class Sizes(NamedTuple):
    """N heads of S queries, T keys, d features of a key and E of a value; query i sees keys up to i + past."""

    N: int
    S: int
    T: int
    d: int
    E: int
    past: int
    mask_sequence: int  # how far apart the masks of two sequences lie, of two heads, two keys and two queries
    mask_head: int
    mask_key: int
    mask_query: int
    threshold: int  # dropout keeps a weight whose 32 random bits are no less; 0: all
    key: int
    factor: float  # what it multiplies that weight by


# -- of one head


@jit
def _turned(x: Any, first: int, row: int, n: int, features: int, out: Any) -> None:
    """n rows of x as blocks of WIDTH columns: (n / WIDTH, features, WIDTH)."""
    for m in range(0, n, WIDTH):
        for f in range(0, features, WIDTH):
            source, to = first + m * row + f, m * features + f * WIDTH
            if n - m >= WIDTH and features - f >= WIDTH:
                transposed(at(x, source), row, at(out, to), WIDTH)
            else:
                for r in range(min(WIDTH, n - m)):
                    for c in range(min(WIDTH, features - f)):
                        out[to + c * WIDTH + r] = x[source + r * row + c]


@jit
def _strips(x: Any, first: int, row: int, n: int, features: int, out: Any) -> None:
    """n rows of x as strips of WIDTH features: (features / WIDTH, n, WIDTH), the last filled up with zeros."""
    for f in range(0, features, WIDTH):
        width = min(WIDTH, features - f)
        for m in range(n):
            source, to = first + m * row + f, (f * n) + m * WIDTH
            if width == WIDTH:
                store(out, to, load(x, source))
            else:
                store(out, to, lanes(F32(0)))
                for c in range(width):
                    out[to + c] = x[source + c]


@jit
def _into_rows(found: Any, out: Any, first: int, row: int, n: int, width: int) -> None:
    """n rows of a square, `width` features of each, to where they belong."""
    for m in range(n):
        if width == WIDTH:
            store(out, first + m * row, load(found, m * WIDTH))
        else:
            for c in range(width):
                out[first + m * row + c] = found[m * WIDTH + c]


@jit
def _seen(mask: Any, mask_here: int, T: int, sizes: Any) -> int:
    """How many keys are left without those at the end that a mask of keys hides."""
    if mask.size and not sizes.mask_query:
        while T and not mask[mask_here + (T - 1) * sizes.mask_key]:
            T -= 1
    return T


@jit
def _hide(e: Any, seen: int, i: int, n: int, mask: Any, mask_here: int, sizes: Any) -> None:
    """LOW where one of the queries from i on does not see a key, and in the rows that fill up the last square."""
    low = lanes(LOW)
    if mask.size:
        for j in range(seen):
            here = mask_here + j * sizes.mask_key + i * sizes.mask_query
            if not sizes.mask_query:
                if not mask[here]:
                    store(e, j * WIDTH, low)
            elif n == WIDTH:
                store(e, j * WIDTH, where(mask, here, load(e, j * WIDTH), low))
            else:
                for m in range(n):
                    if not mask[here + m]:
                        e[j * WIDTH + m] = LOW
    for j in range(max(i + sizes.past + 1, 0), seen):
        store(e, j * WIDTH, first_lanes(j - sizes.past - i, low, load(e, j * WIDTH)))
    for j in range(seen, whole(seen, WIDTH)):
        store(e, j * WIDTH, low)


@jit
def _weights(e: Any, rows: int, lowest: Any, scale: Any, highest: Any, share: Any, i: int) -> None:
    """e, scores, becomes exp((e - highest) scale); that times `share` is the softmax over the keys."""
    high = lanes(lowest)
    highs = high, high, high, high
    for j in range(0, rows * WIDTH, 4 * WIDTH):  # four at a time, since each waits for the one before
        highs = (
            larger(highs[0], load(e, j)),
            larger(highs[1], load(e, j + WIDTH)),
            larger(highs[2], load(e, j + 2 * WIDTH)),
            larger(highs[3], load(e, j + 3 * WIDTH)),
        )
    high = larger(larger(highs[0], highs[1]), larger(highs[2], highs[3]))
    store(highest, i, high)
    total, scales = lanes(F32(0)), lanes(scale)
    for j in range(0, rows * WIDTH, WIDTH):
        weight = exp((load(e, j) - high) * scales)
        store(e, j, weight)
        total = total + weight
    store(share, i, total)
    for m in range(i, i + WIDTH):
        share[m] = F32(0) if highest[m] == LOW else F32(1) / share[m]  # 0: it sees nothing


@jit
def _weights_again(e: Any, rows: int, scale: Any, highest: Any, share: Any, i: int) -> None:
    """e, scores, becomes their softmax."""
    high, times, scales = load(highest, i), load(share, i), lanes(scale)
    for j in range(0, rows * WIDTH, WIDTH):
        store(e, j, exp((load(e, j) - high) * scales) * times)


@jit
def _score_gradients(alpha: Any, de: Any, rows: int, scale: Any) -> None:
    """de, the gradient of the weights, becomes that of the scores."""
    zero, scales = lanes(F32(0)), lanes(scale)
    sums = zero, zero, zero, zero
    for j in range(0, rows * WIDTH, 4 * WIDTH):
        sums = (
            sums[0] + load(alpha, j) * load(de, j),
            sums[1] + load(alpha, j + WIDTH) * load(de, j + WIDTH),
            sums[2] + load(alpha, j + 2 * WIDTH) * load(de, j + 2 * WIDTH),
            sums[3] + load(alpha, j + 3 * WIDTH) * load(de, j + 3 * WIDTH),
        )
    along = (sums[0] + sums[1]) + (sums[2] + sums[3])
    for j in range(0, rows * WIDTH, WIDTH):
        store(de, j, load(alpha, j) * ((load(de, j) - along) * scales))


@jit
def _drop(a: Any, seen: int, i: int, each: int, factor: Any, sizes: Any) -> None:
    """a, of the weights of the queries from i on, times 0 or `factor`, as dropout has it for each."""
    key, threshold = np.uint64(sizes.key), np.uint32(sizes.threshold)
    for j in range(seen):
        first = (each * sizes.T + j) * sizes.S + i
        for m in range(WIDTH):  # beyond n is nobody's
            a[j * WIDTH + m] *= factor if random_bits(key, first + m) >= threshold else F32(0)


# -- shared


@jit
def _attend_part(
    part: int,
    parts: int,
    q: Any,
    q_row: int,
    k: Any,
    k_row: int,
    v: Any,
    v_row: int,
    mask: Any,
    highest: Any,
    share: Any,
    out: Any,
    out_row: int,
    sizes: Any,
) -> None:
    N, S, T, d, E = sizes.N, sizes.S, sizes.T, sizes.d, sizes.E
    keys, queries, scale, factor = whole(T, WIDTH), whole(S, WIDTH), F32(1 / np.sqrt(d)), F32(sizes.factor)
    k_turned, q_turned = np.zeros(keys * d, F32), np.zeros(WIDTH * d, F32)
    v_strips, e, found = np.empty(T * whole(E, WIDTH), F32), np.empty(keys * WIDTH, F32), np.empty(SQUARE, F32)
    lowest = LOW if mask.size or sizes.past + 1 < T else F32(-np.inf)
    count = share.size // queries
    for each in range(count * part // parts, count * (part + 1) // parts):
        b, head = each // N, each % N
        mask_here = b * sizes.mask_sequence + head * sizes.mask_head
        all_seen = _seen(mask, mask_here, T, sizes)
        _turned(k, b * T * k_row + head * d, k_row, all_seen, d, k_turned)
        _strips(v, b * T * v_row + head * E, v_row, all_seen, E, v_strips)
        for i in range(0, S, WIDTH):
            n = min(WIDTH, S - i)
            seen = min(max(i + n + sizes.past, 0), all_seen)
            _turned(q, (b * S + i) * q_row + head * d, q_row, n, d, q_turned)
            for j in range(0, seen, WIDTH):
                square(k_turned, j * d, q_turned, 0, d, e, j * WIDTH)
            _hide(e, seen, i, n, mask, mask_here, sizes)
            _weights(e, whole(seen, WIDTH), lowest, scale, highest, share, each * queries + i)
            if sizes.threshold:
                _drop(e, seen, i, each, factor, sizes)
            for f in range(0, E, WIDTH):
                square(e, 0, v_strips, f * all_seen, seen, found, 0)
                for m in range(WIDTH):
                    store(found, m * WIDTH, load(found, m * WIDTH) * lanes(share[each * queries + i + m]))
                _into_rows(found, out, (b * S + i) * out_row + head * E + f, out_row, n, min(WIDTH, E - f))


_attend_job = job(_attend_part)


@kernel
def _attend(team: Any, *inputs: Any) -> None:
    share(_attend_job(inputs), team, inputs)


@jit
def _attend_back_part(
    part: int,
    parts: int,
    q: Any,
    q_row: int,
    k: Any,
    k_row: int,
    v: Any,
    v_row: int,
    mask: Any,
    highest: Any,
    share: Any,
    g: Any,
    g_row: int,
    dq: Any,
    dk: Any,
    dv: Any,
    sizes: Any,
) -> None:
    N, S, T, d, E = sizes.N, sizes.S, sizes.T, sizes.d, sizes.E
    keys, queries, scale, factor = whole(T, WIDTH), whole(S, WIDTH), F32(1 / np.sqrt(d)), F32(sizes.factor)
    k_turned, v_turned, k_strips = np.zeros(keys * d, F32), np.zeros(keys * E, F32), np.empty(T * whole(d, WIDTH), F32)
    q_turned, g_turned = np.zeros(WIDTH * d, F32), np.zeros(WIDTH * E, F32)
    q_strips, g_strips = np.empty(S * whole(d, WIDTH), F32), np.empty(S * whole(E, WIDTH), F32)
    alpha, de, found = np.empty(keys * WIDTH, F32), np.empty(keys * WIDTH, F32), np.empty(SQUARE, F32)
    used_turned, de_turned = np.empty(keys * queries, F32), np.empty(keys * queries, F32)
    count = share.size // queries
    for each in range(count * part // parts, count * (part + 1) // parts):
        b, head = each // N, each % N
        mask_here = b * sizes.mask_sequence + head * sizes.mask_head
        all_seen = _seen(mask, mask_here, T, sizes)
        q_here, k_here, v_here = b * S * q_row + head * d, b * T * k_row + head * d, b * T * v_row + head * E
        g_here = b * S * g_row + head * E
        _turned(k, k_here, k_row, all_seen, d, k_turned)
        _turned(v, v_here, v_row, all_seen, E, v_turned)
        _strips(k, k_here, k_row, all_seen, d, k_strips)
        _strips(q, q_here, q_row, S, d, q_strips)
        _strips(g, g_here, g_row, S, E, g_strips)
        for i in range(0, S, WIDTH):
            n = min(WIDTH, S - i)
            seen = min(max(i + n + sizes.past, 0), all_seen)
            _turned(q, q_here + i * q_row, q_row, n, d, q_turned)
            _turned(g, g_here + i * g_row, g_row, n, E, g_turned)
            for j in range(0, seen, WIDTH):
                square(k_turned, j * d, q_turned, 0, d, alpha, j * WIDTH)
                square(v_turned, j * E, g_turned, 0, E, de, j * WIDTH)
            for j in range(seen, whole(seen, WIDTH)):
                store(de, j * WIDTH, lanes(F32(0)))
            _hide(alpha, seen, i, n, mask, mask_here, sizes)
            rows = whole(seen, WIDTH)
            _weights_again(alpha, rows, scale, highest, share, each * queries + i)
            if sizes.threshold:
                _drop(de, seen, i, each, factor, sizes)
            _score_gradients(alpha, de, rows, scale)
            if sizes.threshold:
                _drop(alpha, seen, i, each, factor, sizes)
            for f in range(0, d, WIDTH):
                square(de, 0, k_strips, f * all_seen, seen, found, 0)
                _into_rows(found, dq, q_here + i * q_row + f, q_row, n, min(WIDTH, d - f))
            for j in range(0, seen, WIDTH):
                turn(alpha, j * WIDTH, used_turned, j * queries + i * WIDTH)
                turn(de, j * WIDTH, de_turned, j * queries + i * WIDTH)
        for j in range(0, T, WIDTH):
            n = min(WIDTH, T - j)
            i = min(max(j - sizes.past, 0) // WIDTH * WIDTH, S) if j < all_seen else S  # from where these keys are seen
            for f in range(0, E, WIDTH):
                square(used_turned, j * queries + i * WIDTH, g_strips, f * S + i * WIDTH, S - i, found, 0)
                _into_rows(found, dv, v_here + j * v_row + f, v_row, n, min(WIDTH, E - f))
            for f in range(0, d, WIDTH):
                square(de_turned, j * queries + i * WIDTH, q_strips, f * S + i * WIDTH, S - i, found, 0)
                _into_rows(found, dk, k_here + j * k_row + f, k_row, n, min(WIDTH, d - f))


_attend_back_job = job(_attend_back_part)


@kernel
def _attend_back(team: Any, *inputs: Any) -> None:
    share(_attend_back_job(inputs), team, inputs)


# -- one query a sequence, as each new token has it: keys and values are read where a cache has them


@jit
def _attend_one_part(
    part: int,
    parts: int,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    highest: Any,
    share: Any,
    out: Any,
) -> None:
    """k: (B, N, T, d) and v: (B, N, T, E), whose features lie side by side; q: (B · N · d); out: (B · N · E)."""
    (_, N, T, d), E = k.shape, v.shape[3]
    e, scale = np.empty(whole(T, WIDTH), F32), F32(1 / np.sqrt(d))
    (k_sequence, k_head, k_row, _), (v_sequence, v_head, v_row, _) = k.strides, v.strides
    count = highest.size // WIDTH
    for each in range(count * part // parts, count * (part + 1) // parts):
        b, head = each // N, each % N
        k_here, v_here = (b * k_sequence + head * k_head) // 4, (b * v_sequence + head * v_head) // 4
        mask_here = each * T
        high = LOW if mask.size else F32(-np.inf)
        for j in range(T):
            if mask.size and not mask[mask_here + j]:
                e[j] = LOW
                continue
            here, products, score = k_here + j * k_row // 4, lanes(F32(0)), F32(0)
            for f in range(0, d - WIDTH + 1, WIDTH):
                products = products + load(q, each * d + f) * load(k, here + f)
            for f in range(d // WIDTH * WIDTH, d):
                score += q[each * d + f] * number(k, here + f)
            score += total(products)
            e[j] = score
            high = max(high, score)
        for j in range(T, e.size):
            e[j] = LOW
        sums, scales, highs = lanes(F32(0)), lanes(scale), lanes(high)
        for j in range(0, T, WIDTH):
            weight = exp((load(e, j) - highs) * scales)
            store(e, j, weight)
            sums = sums + first_lanes(T - j, weight, lanes(F32(0)))
        highest[each * WIDTH], share[each * WIDTH] = high, F32(0) if high == LOW else F32(1) / total(sums)
        for f in range(0, E - WIDTH + 1, WIDTH):
            found = lanes(F32(0))
            for j in range(T):
                found = found + lanes(e[j]) * load(v, v_here + j * v_row // 4 + f)
            store(out, each * E + f, found * lanes(share[each * WIDTH]))
        for f in range(E // WIDTH * WIDTH, E):
            some = F32(0)
            for j in range(T):
                some += e[j] * number(v, v_here + j * v_row // 4 + f)
            out[each * E + f] = some * share[each * WIDTH]


_attend_one_job = job(_attend_one_part)


@kernel
def _attend_one(team: Any, *inputs: Any) -> None:
    share(_attend_one_job(inputs), team, inputs)


# -- what both need


def _fits(S: int, T: int) -> bool:
    return 0 < S <= TILE and T <= TILE


def _masks(mask: Any, T: int) -> tuple[Any, tuple[int, int, int, int]]:
    """A mask, flat, and how far apart lie those of sequences, heads, keys and queries; 0: they share one."""
    if mask is None:
        return NO_MASK, (0, 0, 0, 0)
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    B, N, queries, _ = mask.shape
    turned = np.ascontiguousarray(np.broadcast_to(mask, (B, N, queries, T)).swapaxes(-1, -2))
    n = T * queries
    return turned.reshape(-1), (0 if B == 1 else N * n, 0 if N == 1 else n, queries, int(queries > 1))


# -- one head


def _in_rows(x: Any) -> bool:
    """Whether the features of a row lie side by side, and all rows whole numbers apart."""
    return bool(x.strides[-1] == 4 and x.flags.aligned)


def _forward(be: Any, Q: Any, K: Any, V: Any, mask: Any, causal: bool, dropout: float, key: int) -> Any:
    (*lead, S, d), (T, E) = Q.shape, V.shape[-2:]
    if not _fits(S, T):
        return None
    if mask is not None:
        mask = np.atleast_2d(mask)
        mask = np.broadcast_to(mask, (*lead, *mask.shape[-2:])).reshape(-1, 1, *mask.shape[-2:])
    seen, apart = _masks(mask, T)
    sizes = Sizes(1, S, T, d, E, T - S if causal else T, *apart, *dropping(dropout, key))
    count, out = math.prod(lead), empty(*Q.shape[:-1], E)
    highest, share = (np.zeros(count * whole(S, WIDTH), F32) for _ in range(2))
    if S == 1 and len(lead) == 2 and not dropout and _in_rows(K) and _in_rows(V):
        work = count * T * (d + E) // PRODUCTS
        _attend_one(team(work), flat(Q), K, V, seen, highest, share, out.reshape(-1))
        return out, (None, seen, highest, share, sizes)
    if not (K.flags.c_contiguous and V.flags.c_contiguous):  # not to copy a cache
        return None
    inputs = flat(Q), d, flat(K), d, flat(V), E
    _attend(team(count * S * T), *inputs, seen, highest, share, out.reshape(-1), E, sizes)
    return out, (inputs, seen, highest, share, sizes)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, causal: bool, dropout: float, key: int
) -> Any:
    laid_out, *kept, sizes = tape
    if laid_out is None:
        laid_out = [part for x in inputs for part in (flat(x), x.shape[-1])]
    gs = tuple(empty(*x.shape) for x in inputs)
    work = math.prod(inputs[0].shape[:-1]) * sizes.T
    _attend_back(team(work), *laid_out, *kept, flat(g), sizes.E, *(x.reshape(-1) for x in gs), sizes)
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
    if not READY or not _fits(S, T):
        return None
    parts: list[Any] = []
    for x, first, end in projections(Q, K, V):
        width = (end - first) * D
        y = empty(x.shape[0] * x.shape[1] * width)
        affine(flat(x), W_in[first * D : end * D], None if b_in is None else b_in[first * D : end * D], y)
        for n in range(end - first):
            parts += [y[n * D :], width]
    seen, apart = _masks(mask, T)
    sizes = Sizes(heads, S, T, D // heads, D // heads, T - S if causal else T, *apart, *dropping(dropout, key))
    parts += [seen, *(empty(B * heads * whole(S, WIDTH)) for _ in range(2))]
    concat, y = empty(B * S * D), empty(B, S, D)
    _attend(team(B * heads * S * T), *parts, concat, D, sizes)
    affine(concat, W_out, b_out, y.reshape(-1))
    return y, (parts, concat, sizes)


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
    (parts, concat, sizes), D = tape, Q.shape[-1]
    g, dconcat = flat(g), empty(Q.size)
    dW_in, dW_out = empty(*W_in.shape), empty(*W_out.shape)
    db_in, db_out = (None if b is None else np.zeros(b.shape, F32) for b in (b_in, b_out))
    affine_back(concat, W_out, g, dconcat, dW_out.reshape(-1), db_out)
    dys, dparts = [], []
    for x, first, end in projections(Q, K, V):
        dys.append(empty(x.size * (end - first)))
        dparts += [dys[-1][n * D :] for n in range(end - first)]
    _attend_back(team(len(Q) * heads * sizes.S * sizes.T), *parts, dconcat, D, *dparts, sizes)
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
