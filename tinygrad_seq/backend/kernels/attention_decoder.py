"""A GRU decoder with MLP attention over a whole target, sequences first: (T, B, F).

W y + b of all steps stands in the gates before the loop; a step adds what c and s bring. Gates are held in the order
n, r, z, u with u = U_n s + b_hn, each a matrix (B, H) of its own: what x = [y; c] goes into, n r z, and what s goes
into, r z u, are each one block. The gradients of weights, of h and of y are products over all steps, after the loop.
"""

from typing import Any

from ..base import Kernel
from .gru import _new_state, _sigmoid, _through_state
from .sequence import summed
from .softmax import masked_softmax, softmax


def _by_gate(W: Any) -> Any:
    """(3H, F), in the order r, z, n, as (3, F, H) in the order n, r, z: one product for each gate."""
    H = len(W) // 3
    n_first = W.reshape(3, H, *W.shape[1:])[[2, 0, 1]]
    return n_first.swapaxes(1, 2).copy()


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
    WT, UT, W_1T = _by_gate(W), U.reshape(3, H, H).swapaxes(1, 2).copy(), W_1.T.copy()  # U stays r z n
    b = xp.roll(b_ih, H).reshape(3, 1, H)
    b[1:, 0] += b_hh[: 2 * H].reshape(2, H)
    for halved in (WT[1:], b[1:], UT[:2]):
        halved *= 0.5  # σ(a) = ½ tanh(½ a) + ½
    b_hn, W_yT, W_cT = b_hh[2 * H :], WT[:, :D], WT[:, D:]
    ys, gates = y.swapaxes(0, 1).copy(), be.empty((T, 4, B, H), y.dtype)
    xp.add(ys[:, None] @ W_yT, b, out=gates[:, :3])
    ss, ths = be.empty((T + 1, B, H), y.dtype), be.empty((T, B, S, A), y.dtype)
    scores, alphas, cs = (be.empty((T, B, n), y.dtype) for n in (S, S, E))
    ss[0] = s_0
    product, t1 = be.empty((3, B, H), y.dtype), be.empty((B, H), y.dtype)
    for t in range(T):
        s, th, a, c = ss[t], ths[t], gates[t], cs[t]
        n, r, z, u = a
        xp.add(keys, (s @ W_1T)[:, None], out=th)
        xp.tanh(th, out=th)
        scores[t] = (th.reshape(B * S, A) @ v).reshape(B, S)
        if mask is None:
            alphas[t] = softmax.forward(be, scores[t], -1)[0]
        else:
            alphas[t] = masked_softmax.forward(be, scores[t], mask)[0]
        xp.matmul(alphas[t, :, None], h, out=c[:, None])
        a[:3] += xp.matmul(c, W_cT, out=product)
        xp.matmul(s, UT, out=product)
        a[1:3] += product[:2]
        _sigmoid(xp, a[1:3])
        xp.add(product[2], b_hn, out=u)
        n += xp.multiply(r, u, out=t1)
        _new_state(xp, s, n, z, ss[t + 1])
    outputs = tuple(each.swapaxes(0, 1).copy() for each in (scores, alphas, cs, ss[1:]))
    return outputs, (ys, gates, ss, ths, alphas, cs)


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, mask: Any, parts: Any) -> Any:
    xp, (ys, gates, ss, ths, alphas, cs) = be.xp, tape
    _, _, h, keys, W_1, v, W, U, _, _ = inputs
    (T, B, D), (_, S, E), H, A = ys.shape, h.shape, U.shape[1], len(v)
    W_nrz, U_rzn = xp.roll(W, H, 0), U.reshape(3, H, H)
    W_c = W_nrz[:, D:].reshape(3, H, E)
    dscores, dalphas, dcontexts, dss = (None if each is None else each.swapaxes(0, 1) for each in g)
    dcs, dqs = be.empty((T, B, E), v.dtype), be.empty((T, B, A), v.dtype)  # of c, and of W_1 s
    # tanh' = 1 - tanh²: its 1 and its tanh² are summed apart.
    ones, squares, dv = xp.zeros((B, S, 1), v.dtype), xp.zeros(keys.shape, v.dtype), xp.zeros((1, A), v.dtype)
    ds, t1, back = xp.zeros((B, H), v.dtype), be.empty((B, H), v.dtype), be.empty((B, H), v.dtype)
    slopes = be.empty((2 * B, H), v.dtype)
    for t in reversed(range(T)):
        th, alpha, a, dc, dq = ths[t], alphas[t], gates[t], dcs[t], dqs[t]
        n, r, z, u = a
        if dss is not None:
            ds += dss[t]
        _through_state(xp, ds, ss[t], n, a[1:3].reshape(2 * B, H), back, slopes, t1)
        xp.multiply(n, u, out=t1)  # dr
        xp.multiply(n, r, out=u)  # du
        xp.multiply(slopes[:B], t1, out=r)
        xp.sum(a[:3] @ W_c, 0, out=dc)
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
        de = de[:, :, None]
        ones += de
        th *= de
        squares += th
        xp.sum(a[1:] @ U_rzn, 0, out=ds)
        ds += back
        ds += dq @ W_1
    da = gates.swapaxes(1, 2).reshape(T * B, 4 * H)  # n r z u, of each step and sequence
    dx_side, ds_side = da[:, : 3 * H], da[:, H:]
    xs, before = xp.concatenate([ys, cs], -1).reshape(T * B, D + E), ss[:T].reshape(T * B, H)
    dy = summed(dx_side, W_nrz[:, :D].T, 3).reshape(T, B, D).swapaxes(0, 1) if needs[0] else None
    dh = alphas.transpose(1, 2, 0) @ dcs.swapaxes(0, 1)
    dkeys = xp.subtract(ones, squares, out=squares)
    dkeys *= v
    dW_1 = summed(dqs.reshape(T * B, A).T, before.T, 16)
    dW = xp.roll(summed(dx_side.T, xs.T, 16), -H, 0)
    dU = summed(ds_side.T, before.T, 16)
    return dy, ds, dh, dkeys, dW_1, dv[0], dW, dU, xp.roll(dx_side.sum(0), -H), ds_side.sum(0)


gru_attention_decoder = Kernel(_forward, _backward)
