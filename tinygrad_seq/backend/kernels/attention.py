"""Scaled dot-product attention in tiles of queries and keys, and the heads around it.

The weights of all pairs are never held at once: the softmax of a row is renormalised as more of its keys come in, and
the backward pass computes each tile again from the logarithm of the row's sum. Where one tile holds all pairs, its
weights are kept instead. Tiles are (..., keys, queries), so that sums over keys add whole rows, which NumPy does fast.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..base import Kernel
from .linear import affine, operations, rows, weight_gradients

TILE = 256  # queries, and keys, of a tile


class How(NamedTuple):
    """What the weights depend on beside queries and keys."""

    mask: Any
    causal: bool
    dropout: float
    key: int


def _tiles(S: int, T: int, causal: bool) -> Iterator[tuple[slice, list[slice]]]:
    """For each tile of queries its tiles of keys; where causal, without those that lie in the future as a whole."""
    for i in range(0, S, TILE):
        end = min(i + TILE, S)
        seen = min(end + T - S, T) if causal else T
        yield slice(i, end), [slice(j, min(j + TILE, T)) for j in range(0, seen, TILE)]


def _scale(q: Any) -> Any:
    """1 / √d."""
    return q.dtype.type(q.shape[-1] ** -0.5)


def _columns(be: Any, x: Any, tile: slice, scale: Any) -> Any:
    """Rows of x (..., S, d) as columns, (..., d, n), scaled; laid out anew, since a product with them is faster so."""
    columns = x[..., tile, :].swapaxes(-1, -2)
    return be.xp.multiply(columns, scale, out=be.empty(columns.shape, x.dtype))


def _scores(be: Any, columns: Any, k: Any, how: How, S: int, queries: slice, keys: slice) -> Any:
    """e of a tile; where a query does not see a key, it lies too low to leave a weight."""
    xp, T = be.xp, k.shape[-2]
    e = k[..., keys, :] @ columns
    if how.causal and keys.stop - 1 > queries.start + T - S:  # the diagonal runs through it
        e += _low(k) * (xp.arange(keys.start, keys.stop)[:, None] > xp.arange(queries.start, queries.stop) + T - S)
    if how.mask is not None:
        mask = xp.broadcast_to(how.mask, (*how.mask.shape[:-2], S, T))[..., queries, keys]
        e += _low(k) * ~mask.swapaxes(-1, -2)
    return e


def _low(x: Any) -> Any:
    """Taken from any score nothing of it is left, and twice this is still finite."""
    return x.dtype.type(np.finfo(x.dtype).min / 4)


def kept_tile(be: Any, key: int, lead: tuple[int, ...], p: float, queries: slice, keys: slice) -> Any:
    """Which weights of a tile dropout keeps: a function of the key and the tile."""
    number = (queries.start // TILE << 32) + keys.start // TILE
    shape = (*lead, keys.stop - keys.start, queries.stop - queries.start)
    return be.keep_mask((key + number * 0xD1B54A32D192ED03) % 2**64, shape, p)


def kept_weights(be: Any, key: int, shape: tuple[int, ...], p: float, dtype: Any) -> Any:
    """What dropout multiplies the weights (..., S, T) by: 0, or 1 / (1 - p), which keeps the mean."""
    *lead, S, T = shape
    out = be.empty(shape, dtype)
    for queries, row in _tiles(S, T, False):
        for keys in row:
            out[..., queries, keys] = kept_tile(be, key, tuple(lead), p, queries, keys).swapaxes(-1, -2)
    out *= 1 / (1 - p)
    return out


def _factor(be: Any, how: How, q: Any, queries: slice, keys: slice) -> Any:
    """The same for one tile."""
    kept = kept_tile(be, how.key, q.shape[:-2], how.dropout, queries, keys)
    return kept * q.dtype.type(1 / (1 - how.dropout))


def _forward(be: Any, q: Any, k: Any, v: Any, out: Any, how: How) -> tuple[Any, Any]:
    """softmax(q kᵀ / √d) v into `out`. Returns the weights if one tile holds them all, else the logarithms of the sums.

    q: (..., S, d); k: (..., T, d); v: (..., T, E); out: (..., S, E).
    """
    if 0 < q.shape[-2] <= TILE and k.shape[-2] <= TILE:
        return _whole(be, q, k, v, out, how), None
    return None, _tiled(be, q, k, v, out, how)


def _whole(be: Any, q: Any, k: Any, v: Any, out: Any, how: How) -> Any:
    xp, S, T = be.xp, q.shape[-2], k.shape[-2]
    queries, keys = slice(0, S), slice(0, T)
    e = _scores(be, _columns(be, q, queries, _scale(q)), k, how, S, queries, keys)
    highest = e.max(-2, keepdims=True)
    e -= highest
    xp.exp(e, out=e)
    e *= _inverse(xp, highest, _sum(xp, e))
    used = e * _factor(be, how, q, queries, keys) if how.dropout else e
    xp.matmul(used.swapaxes(-1, -2), v, out=out)
    return e


def _tiled(be: Any, q: Any, k: Any, v: Any, out: Any, how: How) -> Any:
    xp, S, T, lead, low = be.xp, q.shape[-2], k.shape[-2], q.shape[:-2], _low(q)
    log_sums = be.empty((*lead, 1, S), q.dtype)
    for queries, row in _tiles(S, T, how.causal):
        columns, n = _columns(be, q, queries, _scale(q)), queries.stop - queries.start
        highest, total = xp.full((*lead, 1, n), low), xp.zeros((*lead, 1, n), q.dtype)
        o = xp.zeros((*lead, n, v.shape[-1]), q.dtype)
        for keys in row:
            e = _scores(be, columns, k, how, S, queries, keys)
            higher = xp.maximum(highest, e.max(-2, keepdims=True))
            e -= higher
            xp.exp(e, out=e)
            fade = xp.exp(highest - higher)  # what is left of the tiles before
            total *= fade
            total += _sum(xp, e)
            if how.dropout:
                e *= _factor(be, how, q, queries, keys)
            o *= fade.swapaxes(-1, -2)
            o += e.swapaxes(-1, -2) @ v[..., keys, :]
            highest = higher
        out[..., queries, :] = o * _inverse(xp, highest, total).swapaxes(-1, -2)
        log_sums[..., queries] = xp.where(highest > low / 2, highest + xp.log(xp.maximum(total, 1)), -low)
    return log_sums


def _sum(xp: Any, e: Any) -> Any:
    """Over the keys, as a product: faster than a reduction of short rows."""
    return xp.ones((1, e.shape[-2]), e.dtype) @ e


def _inverse(xp: Any, highest: Any, total: Any) -> Any:
    """1 / total, and 0 for a query that has seen nothing."""
    return (highest > _low(highest) / 2) / xp.maximum(total, 1)


def _backward(be: Any, tape: Any, q: Any, k: Any, v: Any, out: Any, g: Any, how: How, gs: tuple[Any, ...]) -> None:
    """The gradients of q, k and v from g, that of `out`, into the three arrays `gs`."""
    xp, S, T, (weights, log_sums), (dq, dk, dv) = be.xp, q.shape[-2], k.shape[-2], tape, gs
    if weights is None:
        for x in gs:
            x[...] = 0
    # Σ_j α_ij dα_ij, of each query; this, dα and so de are over √d from the start.
    along = ((g * out) @ xp.full((g.shape[-1], 1), _scale(q), q.dtype)).swapaxes(-1, -2)
    for queries, row in _tiles(S, T, how.causal):
        q_i, g_i = q[..., queries, :], g[..., queries, :]
        q_columns = None if weights is not None else _columns(be, q, queries, _scale(q))
        g_columns = _columns(be, g, queries, _scale(q))
        for keys in row:
            k_j, v_j = k[..., keys, :], v[..., keys, :]
            alpha = weights
            if alpha is None:
                alpha = _scores(be, q_columns, k, how, S, queries, keys)
                alpha -= log_sums[..., queries]
                xp.exp(alpha, out=alpha)
            used, de = alpha, v_j @ g_columns
            if how.dropout:
                factor = _factor(be, how, q, queries, keys)
                used = alpha * factor
                de *= factor
            de -= along[..., queries]
            de *= alpha
            if weights is not None:
                xp.matmul(used, g, out=dv)
                xp.matmul(de, q, out=dk)
                xp.matmul(de.swapaxes(-1, -2), k, out=dq)
            else:
                dv[..., keys, :] += used @ g_i
                dk[..., keys, :] += de @ q_i
                dq[..., queries, :] += de.swapaxes(-1, -2) @ k_j


# -- one head


def _attention_forward(
    be: Any, Q: Any, K: Any, V: Any, mask: Any, causal: bool, dropout: float, key: int
) -> tuple[Any, Any]:
    out = be.empty((*Q.shape[:-1], V.shape[-1]), Q.dtype)
    return out, (out, _forward(be, Q, K, V, out, How(mask, causal, dropout, key)))


def _attention_backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, causal: bool, dropout: float, key: int
) -> Any:
    out, kept = tape
    gs = tuple(be.empty(x.shape, x.dtype) for x in inputs)
    Q, K, V = inputs
    _backward(be, kept, Q, K, V, out, g, How(mask, causal, dropout, key), gs)
    return gs


attention = Kernel(_attention_forward, _attention_backward)


# -- many heads


def projections(Q: Any, K: Any, V: Any) -> list[tuple[Any, int, int]]:
    """Which of q, k, v (0, 1, 2) each input is projected to, in one product: (input, first, end)."""
    groups: list[tuple[Any, int, int]] = []
    for part, x in enumerate((Q, K, V)):
        if x is None:  # the input before serves for this, too
            x, first, _ = groups.pop()
            groups.append((x, first, part + 1))
        else:
            groups.append((x, part, part + 1))
    return groups


def _by_head(y: Any, heads: int, D: int) -> Any:
    """(B, T, parts · D) as views (parts, B, N, T, d)."""
    B, T, width = y.shape
    return y.reshape(B, T, width // D, heads, D // heads).transpose(2, 0, 3, 1, 4)


def _pieces(be: Any, Q: Any, K: Any, W_in: Any, how: How) -> list[slice]:
    """Of the batch, for threads; as a whole with dropout, whose random numbers are those of whole tiles."""
    B, S, D = Q.shape
    pairs = 4 * B * S * (Q if K is None else K).shape[1] * D
    return be.pieces(B, 0 if how.dropout else operations(Q, W_in) + pairs, begins=True)


def _of(how: How, here: slice) -> How:
    """The same for some sequences of a batch."""
    mask = how.mask
    return how if mask is None or mask.ndim < 4 or len(mask) == 1 else how._replace(mask=mask[here])


def _heads_forward(
    be: Any, Q: Any, K: Any, V: Any, W_in: Any, b_in: Any, W_out: Any, b_out: Any, heads: int, **static: Any
) -> tuple[Any, Any]:
    (B, _, D), how, groups = Q.shape, How(**static), projections(Q, K, V)
    ys = [be.empty((B, x.shape[1], (end - first) * D), Q.dtype) for x, first, end in groups]
    concat, out = be.empty(Q.shape, Q.dtype), be.empty(Q.shape, Q.dtype)

    def work(here: slice) -> Any:
        for y, (x, first, end) in zip(ys, groups, strict=True):
            b = None if b_in is None else b_in[first * D : end * D]
            affine(be, rows(x[here]), W_in[first * D : end * D], b, rows(y[here]))
        q, k, v = _parts(ys, here, heads, D)
        (o,) = _parts([concat], here, heads, D)
        kept = _forward(be, q, k, v, o, _of(how, here))
        affine(be, rows(concat[here]), W_out, b_out, rows(out[here]))
        return kept

    pieces = _pieces(be, Q, K, W_in, how)
    return out, (ys, concat, list(zip(pieces, be.each(work, pieces), strict=True)))


def _parts(ys: list[Any], here: slice, heads: int, D: int) -> list[Any]:
    """Queries, keys and values of some sequences, head by head."""
    return [part for y in ys for part in _by_head(y[here], heads, D)]


def _heads_backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, heads: int, **static: Any) -> Any:
    Q, K, V, W_in, b_in, W_out, b_out = inputs
    (ys, concat, done), D, how, groups = tape, Q.shape[2], How(**static), projections(Q, K, V)
    dys = [be.empty(y.shape, Q.dtype) for y in ys]
    dxs: list[Any] = [None, None, None]
    for x, first, _ in groups:
        dxs[first] = be.empty(x.shape, Q.dtype) if needs[first] else None

    def work(some: slice) -> None:
        for here, kept in done[some]:
            dout = (rows(g[here]) @ W_out).reshape(Q[here].shape)
            q, k, v = _parts(ys, here, heads, D)
            (out,), (dout,) = _parts([concat], here, heads, D), _parts([dout], slice(None), heads, D)
            _backward(be, kept, q, k, v, out, dout, _of(how, here), tuple(_parts(dys, here, heads, D)))
            for dy, (_, first, end) in zip(dys, groups, strict=True):
                if dxs[first] is not None:
                    be.xp.matmul(rows(dy[here]), W_in[first * D : end * D], out=rows(dxs[first][here]))

    all_operations = 4 * operations(Q, W_in)
    be.each(work, be.pieces(len(done), all_operations))
    dW_in, dW_out = (be.empty(W.shape, Q.dtype) for W in (W_in, W_out))
    db_in, db_out = (None if b is None else be.empty(b.shape, Q.dtype) for b in (b_in, b_out))
    products = [(rows(g), rows(concat), dW_out, db_out)]
    for dy, (x, first, end) in zip(dys, groups, strict=True):
        here = slice(first * D, end * D)
        products.append((rows(dy), rows(x), dW_in[here], None if db_in is None else db_in[here]))

    def work_on_weights(some: slice) -> None:
        """The same share of the rows of each weight."""
        for dy, x, dW, db in products:
            n = len(dW) // D
            here = slice(some.start * n, some.stop * n)
            weight_gradients(be, dy[:, here], x, dW[here], None if db is None else db[here])

    be.each(work_on_weights, be.pieces(D, all_operations))
    return *dxs, dW_in, db_in, dW_out, db_out


multi_head_attention = Kernel(_heads_forward, _heads_backward)
