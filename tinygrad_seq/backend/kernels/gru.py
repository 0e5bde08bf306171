"""A GRU over a whole sequence, in both conventions, features first: (T, F, B).

W x + b is there before the loop reads it; each step adds its U h. Gates are held in the order n, r, z,
and, where r acts after the product, u = U_n h + b_hn as a fourth: what x goes into, n r z, and what h goes into, r z u,
are each one block. σ(a) = ½ tanh(½ a) + ½, and the rows of r and z are halved once.
"""

from typing import Any

from ..base import Kernel
from .sequence import (
    WeightGradients,
    batch_of,
    by_batch,
    dead_steps,
    factors_of,
    in_tiles,
    in_tiles_of,
    input_gradient,
    multiply,
    output_gradients,
    plan,
    project,
    state_gradient,
    with_bias,
    zero_beyond,
)

TERMS = 128  # of a sum over steps: with 256 the error of weight_hh was 2.5 times PyTorch's


def _sigmoid(xp: Any, a: Any, half: Any) -> None:
    """σ of what was halved already; a ½ in an array, which is faster than a number of Python's."""
    xp.tanh(a, a)
    xp.multiply(a, half, a)
    xp.add(a, half, a)


def _new_state(xp: Any, h: Any, n: Any, z: Any, h_t: Any) -> None:
    """n = tanh(n) and h_t = (1 - z) n + z h = n + z (h - n)."""
    xp.tanh(n, n)
    xp.subtract(h, n, h_t)
    xp.multiply(h_t, z, h_t)
    xp.add(h_t, n, h_t)


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
    xp, (B, T, D), H = be.xp, x.shape, h_0.shape[-1]
    how = plan(be, T, B, 3 * H * H, 3 * H * (D + 1))
    Wb = with_bias(be, W, b_ih, [slice(2 * H, 3 * H), slice(0, 2 * H)])  # n r z
    Wb[H:, -1] += b_hh[: 2 * H]
    bU = be.empty((3 * H, 1 + H), x.dtype)  # r z u
    bU[: 2 * H, 0], bU[2 * H :, 0], bU[:, 1:] = 0, b_hh[2 * H :], U
    for rows in (Wb[H:], bU[: 2 * H]):
        rows *= 0.5
    bU, Wb = in_tiles(be, bU, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    (s, of_x, of_h), gates = factors_of(be, x, h_0, reverse), be.empty((T, 4 * H, B), x.dtype)
    projected, half = be.empty((T, 3 * H, B), x.dtype), xp.full((), 0.5, x.dtype)
    # Lists of views, one for each step: to index takes as long as a small pass.
    bh, h, n_of_x, rz_of_x = list(of_h), list(of_h[:, 1:]), list(projected[:, :H]), list(projected[:, H:])
    n, r, z, u, rz = (list(gates[:, k * H : m * H]) for k, m in ((0, 1), (1, 2), (2, 3), (3, 4), (1, 3)))
    in_rows = list(in_tiles_of(bU, gates[:, H:]))
    projected_later = project(be, Wb, of_x[:T], projected, how)
    for t in range(T):
        if t in projected_later:
            projected_later[t]()
        xp.matmul(bU, bh[t], out=in_rows[t])
        xp.add(rz[t], rz_of_x[t], rz[t])
        _sigmoid(xp, rz[t], half)
        xp.multiply(r[t], u[t], n[t])
        xp.add(n[t], n_of_x[t], n[t])
        _new_state(xp, h[t], n[t], z[t], h[t + 1])
        if dead is not None:
            xp.copyto(h[t + 1], h[t], where=dead[t])
    y = zero_beyond(batch_of(be, of_h[1:, 1:], reverse), dead, reverse)
    return (y, h[T].T.copy()), (s, gates, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _, _), (s, gates, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
    how = plan(be, T, B, 3 * H * H, 3 * H * (H + D + 1), TERMS)
    UT = in_tiles(be, U.T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh, back = state_gradient(be, g[1], H, B, x.dtype), be.empty((H, B), x.dtype)
    of_x, of_h, in_rows = gates[:, : 3 * H], gates[:, H:], in_tiles_of(UT, dh)
    a, a_h = list(gates.reshape(T, 4, H, B)), list(of_h)
    sums = WeightGradients(be, how, (of_x, s[:T, : D + 1]), (of_h, s[:T, D:]))
    for chunk in be.chunks(T, 2 * H * B)[::-1]:
        z = _slopes(be, s[chunk, D + 1 :], gates[chunk], None if dead is None else dead[chunk])
        for t in range(chunk.stop - 1, chunk.start - 1, -1):
            if dy is not None:
                xp.add(dh, dy[t], dh)
            xp.multiply(z[t - chunk.start], dh, back)
            xp.multiply(a[t], dh, a[t])
            xp.matmul(UT, a_h[t], out=in_rows)
            xp.add(dh, back, dh)
        sums.through(chunk.start)
    dWb, dbU = sums.total()
    dWb = xp.roll(dWb, -H, 0)
    dx = input_gradient(be, xp.roll(W, H, 0), of_x, reverse) if needs[0] else None
    return dx, dh.T, dWb[:, :D], dbU[:, 1:], dWb[:, D], dbU[:, 0]


def _slopes(be: Any, h: Any, gates: Any, dead: Any) -> Any:
    """For some steps: z, what goes straight to h_{t-1}; the gates n r z u become ∂h_t/∂a of n r z, and ∂h_t/∂u.

    Where a sequence is past its end, h goes through, and nothing else does.
    """
    xp, H = be.xp, h.shape[1]
    n, r, z, u = (gates[:, k * H : (k + 1) * H] for k in range(4))
    rz, kept, by_z = gates[:, H : 3 * H], z.copy(), h - n
    rest = 1 - rz
    n *= n
    xp.subtract(1, n, out=n)
    n *= rest[:, H:]  # (1 - z) (1 - n²)
    rest *= rz  # σ (1 - σ)
    xp.multiply(by_z, rest[:, H:], out=z)
    u *= n
    u *= rest[:, :H]  # by a_r
    r *= n  # by u
    by_r = u.copy()
    xp.copyto(u, r)
    xp.copyto(r, by_r)
    if dead is not None:
        gates *= ~dead
        xp.copyto(kept, 1, where=dead)
    return kept


def cho_forward(be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    Wb = with_bias(be, W, b, [slice(2 * H, 3 * H), slice(0, 2 * H)])  # n r z
    U_rz, U_n = U[: 2 * H].copy(), in_tiles(be, U[2 * H :], B, T)
    for rows in (Wb[H:], U_rz):
        rows *= 0.5
    U_rz, Wb = in_tiles(be, U_rz, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    (s, of_x, of_h), gates = factors_of(be, x, h_0, reverse), be.empty((T, 3 * H, B), x.dtype)
    multiply(be, Wb, of_x[:T], gates)
    rhs = be.empty((T, H, B), x.dtype)
    half = xp.full((), 0.5, x.dtype)
    p_rz, p_n = be.empty((2 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        h, h_t, a = of_h[t, 1:], of_h[t + 1, 1:], gates[t]
        n, r, z = a.reshape(3, H, B)
        rz = a[H:]
        rz += multiply(be, U_rz, h, p_rz)
        _sigmoid(xp, rz, half)
        n += multiply(be, U_n, xp.multiply(r, h, out=rhs[t]), p_n)
        _new_state(xp, h, n, z, h_t)
        if dead is not None:
            xp.copyto(h_t, h, where=dead[t])
    y = zero_beyond(batch_of(be, of_h[1:, 1:], reverse), dead, reverse)
    return (y, of_h[T, 1:].T.copy()), (s, gates, rhs, dead)


def cho_backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, W, U, _), (s, gates, rhs, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
    how = plan(be, T, B, 3 * H * H, 3 * H * (H + D + 1), TERMS)
    UT_rz, UT_n = in_tiles(be, U[: 2 * H].T, B, T), in_tiles(be, U[2 * H :].T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    t1, slopes, back = (be.empty((n, B), x.dtype) for n in (H, 2 * H, H))
    sums = WeightGradients(be, how, (gates, s[:T, : D + 1]), (gates[:, H:], s[:T, D + 1 :]), (gates[:, :H], rhs))
    for t in reversed(range(T)):
        h, a = s[t, D + 1 :], gates[t]
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
        sums.through(t)
    dWb, dU_rz, dU_n = sums.total()
    dWb = xp.roll(dWb, -H, 0)
    dx = input_gradient(be, xp.roll(W, H, 0), gates, reverse) if needs[0] else None
    return dx, dh.T, dWb[:, :D], xp.concatenate([dU_rz, dU_n], 0), dWb[:, D]


gru_sequence = by_batch(Kernel(forward, backward), 2, lambda x, h, *_: 3 * h.shape[1] ** 2)
gru_cho_sequence = Kernel(cho_forward, cho_backward)
