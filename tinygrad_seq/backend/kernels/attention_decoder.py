"""A GRU decoder with MLP attention over a whole target: the cell features first, (T, F, B), attention by sequences.

What a step multiplies, [s_{t-1}; 1; y_t; c_t], lies in one array. W y + b of all steps is there before the loop. Gates
are held in the order n, r, z, u, q with u = U_n s + b_hn, as in `gru`, and q = W_1 s: what y and c go into, n r z, and
what s goes into, r z u q, are each one block. In the loop back q becomes the gradient of W_1 s, as n r z u become those
of their sums, so that the gradients of all weights are products over all steps, after it.
"""

from typing import Any

from ..base import Kernel
from .gru import TERMS, _new_state, _sigmoid, _through_state
from .sequence import WeightGradients, batch_of, in_tiles, input_gradient, multiply, output_gradients, plan
from .softmax import masked_softmax, softmax


def _forward(
    be: Any,
    y: Any,
    s_0: Any,
    h: Any,
    keys: Any,
    W_1: Any,
    v: Any,
    W: Any,
    U: Any,
    b_ih: Any,
    b_hh: Any,
    mask: Any,
    parts: Any,
) -> tuple[Any, Any]:
    xp, (B, T, D), (_, S, E), H, A = be.xp, y.shape, h.shape, s_0.shape[1], len(v)
    Wb = xp.roll(xp.concatenate([b_ih[:, None], W], 1), H, 0)  # n r z
    Wb[H:, 0] += b_hh[: 2 * H]
    UW_1, b_hn = xp.concatenate([U, W_1], 0), b_hh[2 * H :, None]  # r z u q
    for rows in (Wb[H:], UW_1[: 2 * H]):
        rows *= 0.5  # σ(a) = ½ tanh(½ a) + ½
    W_y, W_c, UW_1 = (in_tiles(be, each, B) for each in (Wb[:, : 1 + D], Wb[:, 1 + D :], UW_1))
    given = be.empty((T + 1, H + 1 + D + E, B), y.dtype)
    given[0, :H], given[:, H], given[:T, H + 1 : H + 1 + D] = s_0.T, 1, y.transpose(1, 2, 0)
    gates, bent = be.empty((T, 4 * H + A, B), y.dtype), be.empty((T, B, S, A), y.dtype)
    projected = multiply(be, W_y, given[:T, H : H + 1 + D], be.empty((T, 3 * H, B), y.dtype))
    scores, alphas, q, c = (be.empty(shape, y.dtype) for shape in ((T, B, S), (T, B, S), (B, A), (B, 1, E)))
    product, half = be.empty((3 * H, B), y.dtype), xp.full((), 0.5, y.dtype)
    for t in range(T):
        s, a, th, of_y = given[t, :H], gates[t], bent[t], projected[t]
        n, r, z, u = a[: 4 * H].reshape(4, H, B)
        multiply(be, UW_1, s, a[H:])
        xp.copyto(q, a[4 * H :].T)
        xp.add(keys, q[:, None], out=th)
        xp.tanh(th, out=th)
        scores[t] = (th.reshape(B * S, A) @ v).reshape(B, S)
        weights = softmax.forward(be, scores[t], -1) if mask is None else masked_softmax.forward(be, scores[t], mask)
        alphas[t] = weights[0]
        given[t, H + 1 + D :] = xp.matmul(alphas[t, :, None], h, out=c)[:, 0].T
        of_y += multiply(be, W_c, given[t, H + 1 + D :], product)
        rz = a[H : 3 * H]
        rz += of_y[H:]
        _sigmoid(xp, rz, half)
        u += b_hn
        xp.multiply(r, u, out=n)
        n += of_y[:H]
        _new_state(xp, s, n, z, given[t + 1, :H])
    of_all = (each.swapaxes(0, 1).copy() for each in (scores, alphas))
    contexts, states = batch_of(be, given[:T, H + 1 + D :], False), batch_of(be, given[1:, :H], False)
    return (*of_all, contexts, states), (given, gates, bent, alphas)


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, parts: Any) -> Any:
    xp, (given, gates, bent, alphas) = be.xp, tape
    _, _, h, keys, W_1, v, W, U, _, _ = inputs
    (T, B, S, A), E, H = bent.shape, h.shape[2], U.shape[1]
    D = W.shape[1] - E
    nrz = xp.roll(W, H, 0)
    W_cT, UW_1T = in_tiles(be, nrz[:, D:].T, B), in_tiles(be, xp.concatenate([U, W_1], 0).T, B)
    dscores, dalphas, dcontexts = (None if each is None else each.swapaxes(0, 1) for each in g[:3])
    dstates = output_gradients(g[3], None, False)
    dcs, dc_t, dq = (be.empty(shape, v.dtype) for shape in ((T, B, E), (E, B), (B, A)))
    # tanh' = 1 - tanh²: its 1 and its tanh² are summed apart.
    ones, squares, dv = xp.zeros((B, S, 1), v.dtype), xp.zeros(keys.shape, v.dtype), xp.zeros((1, A), v.dtype)
    dx_side, before = gates[:, : 3 * H], given[:T]
    how = plan(be.alone, T, B, H, H, TERMS)  # a target is short: help begins too late
    sums = WeightGradients(be, how, (dx_side, before[:, H:]), (gates[:, H:], before[:, : H + 1]))
    ds, t1, slopes, back = (xp.zeros((n, B), v.dtype) for n in (H, H, 2 * H, H))
    for t in reversed(range(T)):
        a, th, alpha, dc = gates[t], bent[t], alphas[t], dcs[t]
        n, r, z, u = a[: 4 * H].reshape(4, H, B)
        if dstates is not None:
            ds += dstates[t]
        _through_state(xp, ds, given[t, :H], n, a[H : 3 * H], back, slopes, t1)
        xp.multiply(n, u, out=t1)  # dr
        xp.multiply(n, r, out=u)  # du
        xp.multiply(slopes[:H], t1, out=r)
        xp.copyto(dc, multiply(be, W_cT, a[: 3 * H], dc_t).T)
        if dcontexts is not None:
            dc += dcontexts[t]
        de = (h @ dc[:, :, None])[:, :, 0]  # dα
        if dalphas is not None:
            de += dalphas[t]
        de -= (alpha * de).sum(-1, keepdims=True)
        de *= alpha
        if dscores is not None:
            de += dscores[t]
        dv += de.reshape(1, B * S) @ th.reshape(B * S, A)
        th *= th
        xp.subtract(de.sum(-1, keepdims=True), (de[:, None] @ th)[:, 0], out=dq)
        dq *= v
        a[4 * H :] = dq.T
        de = de[:, :, None]
        ones += de
        th *= de
        squares += th
        multiply(be, UW_1T, a[H:], ds)
        ds += back
        sums.through(t)
    dbW, dUW_1 = sums.total()
    dbW = xp.roll(dbW, -H, 0)
    dy = input_gradient(be, nrz[:, :D], dx_side, False) if needs[0] else None
    dh = alphas.transpose(1, 2, 0) @ dcs.swapaxes(0, 1)
    dkeys = xp.subtract(ones, squares, out=squares)
    dkeys *= v
    return dy, ds.T, dh, dkeys, dUW_1[3 * H :, :H], dv[0], dbW[:, 1:], dUW_1[: 3 * H, :H], dbW[:, 0], dUW_1[: 3 * H, H]


gru_attention_decoder = Kernel(_forward, _backward)
