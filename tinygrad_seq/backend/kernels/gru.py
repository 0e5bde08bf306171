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
    factors_of,
    in_tiles,
    input_gradient,
    multiply,
    output_gradients,
    state_gradient,
    weight_gradients,
    with_bias,
    zero_beyond,
)

TERMS = 128  # of a sum over steps: with 256 the error of weight_hh was 2.5 times PyTorch's


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
    Wb = with_bias(be, W, b_ih, [slice(2 * H, 3 * H), slice(0, 2 * H)])  # n r z
    Wb[H:, -1] += b_hh[: 2 * H]
    U, b_hn = U.copy(), b_hh[2 * H :, None]  # r z u
    for rows in (Wb[H:], U[: 2 * H]):
        rows *= 0.5
    U, Wb = in_tiles(be, U, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    s, gates = factors_of(be, x, h_0, reverse), be.empty((T, 4 * H, B), x.dtype)
    projected = multiply(be, Wb, s[:T, H:], be.empty((T, 3 * H, B), x.dtype))
    for t in range(T):
        h, h_t, a = s[t, :H], s[t + 1, :H], gates[t]
        n, r, z, u = a.reshape(4, H, B)
        multiply(be, U, h, a[H:])
        u += b_hn
        rz = a[H : 3 * H]
        rz += projected[t, H:]
        _sigmoid(xp, rz)
        xp.multiply(r, u, out=n)
        n += projected[t, :H]
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    y = zero_beyond(batch_of(be, s[1:, :H], reverse), dead, reverse)
    return (y, s[T, :H].T.copy()), (s, gates, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _, _), (s, gates, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    UT = in_tiles(be, U.T, B, T)
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
        _through_state(xp, dh, s[t, :H], n, rz, back, slopes, t1)
        xp.multiply(n, u, out=t1)  # dr
        xp.multiply(n, r, out=u)  # du
        xp.multiply(slopes[:H], t1, out=r)
        multiply(be, UT, a[H:], dh)
        dh += back
        if dead is not None:
            dh += past
    dx_side = gates[:, : 3 * H]
    dW, db_ih = (xp.roll(each, -H, 0) for each in weight_gradients(be, dx_side, s[:T, H:-1], TERMS))
    dU, db_hh = weight_gradients(be, gates[:, H:], s[:T, :H], TERMS)
    dx = input_gradient(be, xp.roll(W, H, 0), dx_side, reverse) if needs[0] else None
    return dx, dh.T, dW, dU, db_ih, db_hh


def cho_forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    Wb = with_bias(be, W, b, [slice(2 * H, 3 * H), slice(0, 2 * H)])  # n r z
    U_rz, U_n = U[: 2 * H].copy(), in_tiles(be, U[2 * H :], B, T)
    for rows in (Wb[H:], U_rz):
        rows *= 0.5
    U_rz, Wb = in_tiles(be, U_rz, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    s, gates = factors_of(be, x, h_0, reverse), be.empty((T, 3 * H, B), x.dtype)
    multiply(be, Wb, s[:T, H:], gates)
    rhs = be.empty((T, H, B), x.dtype)
    p_rz, p_n = be.empty((2 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        h, h_t, a = s[t, :H], s[t + 1, :H], gates[t]
        n, r, z = a.reshape(3, H, B)
        rz = a[H:]
        rz += multiply(be, U_rz, h, p_rz)
        _sigmoid(xp, rz)
        n += multiply(be, U_n, xp.multiply(r, h, out=rhs[t]), p_n)
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    y = zero_beyond(batch_of(be, s[1:, :H], reverse), dead, reverse)
    return (y, s[T, :H].T.copy()), (s, gates, rhs, dead)


def cho_backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _), (s, gates, rhs, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    UT_rz, UT_n = in_tiles(be, U[: 2 * H].T, B, T), in_tiles(be, U[2 * H :].T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    t1, slopes, back = (be.empty((n, B), x.dtype) for n in (H, 2 * H, H))
    for t in reversed(range(T)):
        h, a = s[t, :H], gates[t]
        n, r, z = a.reshape(3, H, B)
        rz = a[H:]
        if dy is not None:
            dh += dy[t]
        if dead is not None:
            past = dh * dead[t]
            dh *= ~dead[t]
        _through_state(xp, dh, h, n, rz, back, slopes, t1)
        multiply(be, UT_n, n, t1)  # d(r h)
        back += xp.multiply(t1, r, out=dh)
        t1 *= h  # dr
        xp.multiply(slopes[:H], t1, out=r)
        multiply(be, UT_rz, rz, dh)
        dh += back
        if dead is not None:
            dh += past
    dW, db = (xp.roll(each, -H, 0) for each in weight_gradients(be, gates, s[:T, H:-1], TERMS))
    dU_rz, _ = weight_gradients(be, gates[:, H:], s[:T, :H], TERMS)
    dU_n, _ = weight_gradients(be, gates[:, :H], rhs, TERMS)
    dx = input_gradient(be, xp.roll(W, H, 0), gates, reverse) if needs[0] else None
    return dx, dh.T, dW, xp.concatenate([dU_rz, dU_n], 0), db


gru_sequence = Kernel(forward, backward)
gru_cho_sequence = Kernel(cho_forward, cho_backward)
