"""A GRU over a whole sequence, in both conventions, features first: (T, F, B).

W x + b of all steps stands in the gates before the loop; each step adds its U h. Gates are held in the order n, r, z,
and, where r acts after the product, u = U_n h + b_hn as a fourth: what x goes into, n r z, and what h goes into, r z u,
are each one block. σ(a) = ½ tanh(½ a) + ½, and the rows of r and z are halved once.
"""

from typing import Any

from ..base import Kernel
from .sequence import (
    batch_of,
    dead_steps,
    for_each_step,
    input_gradient,
    inputs_of,
    output_gradients,
    over_steps,
    state_gradient,
    summed,
    zero_beyond,
)


def _sigmoid(xp: Any, a: Any) -> None:
    """σ of what was halved already."""
    xp.tanh(a, out=a)
    a *= 0.5
    a += 0.5


def _new_state(xp: Any, h: Any, n: Any, z: Any, h_t: Any) -> None:
    """n = tanh(n) and h_t = (1 - z) n + z h = n + z (h - n)."""
    xp.tanh(n, out=n)
    xp.subtract(h, n, out=h_t)
    h_t *= z
    h_t += n


def _through_state(xp: Any, dh: Any, h: Any, n: Any, rz: Any, back: Any, slopes: Any, dz: Any) -> None:
    """Back through _new_state: n and z become the gradients of what their tanh and σ were taken of.

    `back` becomes what goes straight to h_{t-1}; `slopes`, σ (1 - σ) of r and z.
    """
    H = len(n)
    z = rz[H:]
    xp.multiply(dh, z, out=back)
    xp.subtract(h, n, out=dz)
    dz *= dh
    dh -= back  # dn
    n *= n
    xp.subtract(1, n, out=n)
    n *= dh
    xp.subtract(1, rz, out=slopes)
    slopes *= rz
    xp.multiply(slopes[H:], dz, out=z)


def forward(
    be: Any, x: Any, h_0: Any, W: Any, U: Any, b_ih: Any, b_hh: Any, reverse: bool, lengths: Any
) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    W, b = xp.roll(W, H, 0), xp.roll(b_ih, H)[:, None]  # n r z
    U, b_hn = U.copy(), b_hh[2 * H :, None]  # r z u
    b[H:, 0] += b_hh[: 2 * H]
    for rows in (W[H:], b[H:], U[: 2 * H]):
        rows *= 0.5
    dead = dead_steps(be, lengths, T, reverse)
    xs, gates = inputs_of(be, x, reverse), be.empty((T, 4 * H, B), x.dtype)
    xp.add(for_each_step(W @ xs, T, B), b, out=gates[:, : 3 * H])
    hs = be.empty((T + 1, H, B), x.dtype)
    hs[0] = h_0.T
    product, t1 = be.empty((3 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        h, h_t, a = hs[t], hs[t + 1], gates[t]
        n, r, z, u = a.reshape(4, H, B)
        xp.matmul(U, h, out=product)
        rz = a[H : 3 * H]
        rz += product[: 2 * H]
        _sigmoid(xp, rz)
        xp.add(product[2 * H :], b_hn, out=u)
        n += xp.multiply(r, u, out=t1)
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    h = hs[1:]
    return (zero_beyond(batch_of(be, h, reverse), dead, reverse), h[-1].T.copy()), (xs, hs, gates, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _, _), (xs, hs, gates, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    UT = U.T.copy()
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    t1, slopes, back = (be.empty((n, B), x.dtype) for n in (H, 2 * H, H))
    for t in reversed(range(T)):
        a = gates[t]
        n, r, z, u = a.reshape(4, H, B)
        rz = a[H : 3 * H]
        if dy is not None:
            dh += dy[t]
        if dead is not None:
            past = dh * dead[t]
            dh *= ~dead[t]
        _through_state(xp, dh, hs[t], n, rz, back, slopes, t1)
        xp.multiply(n, u, out=t1)  # dr
        xp.multiply(n, r, out=u)  # du
        xp.multiply(slopes[:H], t1, out=r)
        xp.matmul(UT, a[H:], out=dh)
        dh += back
        if dead is not None:
            dh += past
    dx_side, dh_side = over_steps(gates[:, : 3 * H]), over_steps(gates[:, H:])
    dW, dU = xp.roll(summed(dx_side, xs, 16), -H, 0), summed(dh_side, over_steps(hs[:T]), 16)
    dx = input_gradient(xp.roll(W, H, 0), dx_side, T, B, reverse, parts=3) if needs[0] else None
    return dx, dh.T, dW, dU, xp.roll(dx_side.sum(1), -H), dh_side.sum(1)


def cho_forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    W, b = xp.roll(W, H, 0), xp.roll(b, H)[:, None]  # n r z
    U_rz, U_n = U[: 2 * H].copy(), U[2 * H :]
    for rows in (W[H:], b[H:], U_rz):
        rows *= 0.5
    dead = dead_steps(be, lengths, T, reverse)
    xs, gates = inputs_of(be, x, reverse), be.empty((T, 3 * H, B), x.dtype)
    xp.add(for_each_step(W @ xs, T, B), b, out=gates)
    hs, rhs = be.empty((T + 1, H, B), x.dtype), be.empty((T, H, B), x.dtype)
    hs[0] = h_0.T
    p_rz, p_n = be.empty((2 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        h, h_t, a = hs[t], hs[t + 1], gates[t]
        n, r, z = a.reshape(3, H, B)
        rz = a[H:]
        rz += xp.matmul(U_rz, h, out=p_rz)
        _sigmoid(xp, rz)
        n += xp.matmul(U_n, xp.multiply(r, h, out=rhs[t]), out=p_n)
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    h = hs[1:]
    return (zero_beyond(batch_of(be, h, reverse), dead, reverse), h[-1].T.copy()), (xs, hs, gates, rhs, dead)


def cho_backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _), (xs, hs, gates, rhs, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    UT_rz, UT_n = U[: 2 * H].T.copy(), U[2 * H :].T.copy()
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    t1, slopes, back = (be.empty((n, B), x.dtype) for n in (H, 2 * H, H))
    for t in reversed(range(T)):
        h, a = hs[t], gates[t]
        n, r, z = a.reshape(3, H, B)
        rz = a[H:]
        if dy is not None:
            dh += dy[t]
        if dead is not None:
            past = dh * dead[t]
            dh *= ~dead[t]
        _through_state(xp, dh, h, n, rz, back, slopes, t1)
        xp.matmul(UT_n, n, out=t1)  # d(r h)
        back += xp.multiply(t1, r, out=dh)
        t1 *= h  # dr
        xp.multiply(slopes[:H], t1, out=r)
        xp.matmul(UT_rz, rz, out=dh)
        dh += back
        if dead is not None:
            dh += past
    da = over_steps(gates)
    dW = xp.roll(summed(da, xs, 16), -H, 0)
    dU = xp.concatenate([summed(da[H:], over_steps(hs[:T]), 16), summed(da[:H], over_steps(rhs), 16)], 0)
    dx = input_gradient(xp.roll(W, H, 0), da, T, B, reverse, parts=3) if needs[0] else None
    return dx, dh.T, dW, dU, xp.roll(da.sum(1), -H)


gru_sequence = Kernel(forward, backward)
gru_cho_sequence = Kernel(cho_forward, cho_backward)
