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
    inputs_and_one,
    output_gradients,
    over_steps,
    state_gradient,
    weight_gradient,
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
    Mx = xp.roll(xp.concatenate([W, b_ih[:, None]], 1), H, 0)  # n r z
    Mh = xp.concatenate([U, b_hh[:, None]], 1)  # r z u
    Mx[H:] *= 0.5
    Mh[: 2 * H] *= 0.5
    dead = dead_steps(be, lengths, T, reverse)
    x1, gates = inputs_and_one(be, x, reverse), be.empty((T, 4 * H, B), x.dtype)
    gates[:, : 3 * H] = for_each_step(Mx @ x1, T, B)
    h1 = be.empty((T + 1, H + 1, B), x.dtype)
    h1[:, H] = 1
    h1[0, :H] = h_0.T
    product, t1 = be.empty((3 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        h, h_t, a = h1[t, :H], h1[t + 1, :H], gates[t]
        n, r, z, u = a.reshape(4, H, B)
        xp.matmul(Mh, h1[t], out=product)
        rz = a[H : 3 * H]
        rz += product[: 2 * H]
        _sigmoid(xp, rz)
        u[...] = product[2 * H :]
        n += xp.multiply(r, u, out=t1)
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    h = h1[1:, :H]
    return (zero_beyond(batch_of(be, h, reverse), dead, reverse), h[-1].T.copy()), (x1, h1, gates, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _, _), (x1, h1, gates, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
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
        _through_state(xp, dh, h1[t, :H], n, rz, back, slopes, t1)
        xp.multiply(n, u, out=t1)  # dr
        xp.multiply(n, r, out=u)  # du
        xp.multiply(slopes[:H], t1, out=r)
        xp.matmul(UT, a[H:], out=dh)
        dh += back
        if dead is not None:
            dh += past
    dx_side, dh_side = over_steps(gates[:, : 3 * H]), over_steps(gates[:, H:])
    dMx = xp.roll(weight_gradient(dx_side, x1), -H, 0)
    dMh = weight_gradient(dh_side, over_steps(h1[:T]))
    dx = input_gradient(xp.roll(W, H, 0), dx_side, T, B, reverse, parts=3) if needs[0] else None
    return dx, dh.T, dMx[:, :D], dMh[:, :H], dMx[:, D], dMh[:, H]


def cho_forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    Mx = xp.roll(xp.concatenate([W, b[:, None]], 1), H, 0)  # n r z
    Mx[H:] *= 0.5
    U_rz, U_n = U[: 2 * H] * 0.5, U[2 * H :]
    dead = dead_steps(be, lengths, T, reverse)
    x1, gates = inputs_and_one(be, x, reverse), be.empty((T, 3 * H, B), x.dtype)
    gates[...] = for_each_step(Mx @ x1, T, B)
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
    return (zero_beyond(batch_of(be, h, reverse), dead, reverse), h[-1].T.copy()), (x1, hs, gates, rhs, dead)


def cho_backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _), (x1, hs, gates, rhs, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
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
    dMx = xp.roll(weight_gradient(da, x1), -H, 0)
    dU = xp.concatenate([weight_gradient(da[H:], over_steps(hs[:T])), weight_gradient(da[:H], over_steps(rhs))], 0)
    dx = input_gradient(xp.roll(W, H, 0), da, T, B, reverse, parts=3) if needs[0] else None
    return dx, dh.T, dMx[:, :D], dU, dMx[:, D]


gru_sequence = Kernel(forward, backward)
gru_cho_sequence = Kernel(cho_forward, cho_backward)
