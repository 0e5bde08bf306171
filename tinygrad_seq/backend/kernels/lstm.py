"""An LSTM over a whole sequence, features first: (T, F, B), so that every gate is one contiguous block.

W x + b is there before the loop reads it, each step adds its U h, weight gradients are products of many steps. Gates
are held in the order o, i, f, g, then c_{t-1}: so [i f] meets [g c_{t-1}], and what the gradient of c goes into, i f g,
is one block. σ(a) = ½ tanh(½ a) + ½, and the rows of o, i, f are halved once.
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
    output_gradients,
    plan,
    project,
    state_gradient,
    with_bias,
    zero_beyond,
)


def forward(
    be: Any, x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any
) -> tuple[Any, Any]:
    xp, (B, T, D), H = be.xp, x.shape, h_0.shape[-1]
    how = plan(be, T, B, 4 * H * H, 4 * H * (D + 1))
    U, Wb = xp.roll(U, H, 0), with_bias(be, W, b, [slice(3 * H, 4 * H), slice(0, 3 * H)])
    for M in (U, Wb):
        M[: 3 * H] *= 0.5
    U, Wb = in_tiles(be, U, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    (z, of_x, of_h), gates = factors_of(be, x, h_0, reverse), be.empty((T, 5 * H, B), x.dtype)
    shapes = (4 * H, B), (2 * H, B), (T, H, B), (H, B)
    product, both, tanh_c, c_T = (be.empty(shape, x.dtype) for shape in shapes)
    ig, fc, in_rows, half = both[:H], both[H:], in_tiles_of(U, product), xp.full((), 0.5, x.dtype)
    # Lists of views, one for each step: to index takes as long as a small pass.
    h, c, tanh = list(of_h[:, 1:]), [*gates[:, 4 * H :], c_T], list(tanh_c)
    a, s, o, i_f, g_c = (list(gates[:, k * H : n * H]) for k, n in ((0, 4), (0, 3), (0, 1), (1, 3), (3, 5)))
    c[0][...] = c_0.T
    projected_later = project(be, Wb, of_x[:T], gates[:, : 4 * H], how)
    for t in range(T):
        if t in projected_later:
            projected_later[t]()
        xp.matmul(U, h[t], out=in_rows)
        xp.add(a[t], product, a[t])
        xp.tanh(a[t], a[t])
        xp.multiply(s[t], half, s[t])
        xp.add(s[t], half, s[t])
        xp.multiply(i_f[t], g_c[t], both)
        xp.add(ig, fc, c[t + 1])
        xp.multiply(o[t], xp.tanh(c[t + 1], tanh[t]), h[t + 1])
        if dead is not None:
            xp.copyto(h[t + 1], h[t], where=dead[t])
            xp.copyto(c[t + 1], c[t], where=dead[t])
    y = zero_beyond(batch_of(be, of_h[1:, 1:], reverse), dead, reverse)
    return (y, h[T].T.copy(), c_T.T.copy()), (z, gates, tanh_c, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, _, W, U, _), (z, gates, tanh_c, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
    how = plan(be, T, B, 4 * H * H, 4 * H * (H + D + 1))
    UT = in_tiles(be, xp.roll(U, H, 0).T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh, dc = (state_gradient(be, d, H, B, x.dtype) for d in g[1:])
    da, product, in_rows = gates[:, : 4 * H], be.empty((H, B), x.dtype), in_tiles_of(UT, dh)
    a, do, difg = list(da), list(da[:, :H]), list(da[:, H:].reshape(T, 3, H, B))
    sums = WeightGradients(be, how, (da, z[:T]))
    for chunk in be.chunks(T, 2 * H * B)[::-1]:
        f, to_c = _slopes(be, gates[chunk], tanh_c[chunk], None if dead is None else dead[chunk])
        for t in range(chunk.stop - 1, chunk.start - 1, -1):
            if dy is not None:
                xp.add(dh, dy[t], dh)
            past = None if dead is None else dh * dead[t]
            xp.add(dc, xp.multiply(to_c[t - chunk.start], dh, product), dc)
            xp.multiply(do[t], dh, do[t])
            xp.multiply(difg[t], dc, difg[t])
            xp.multiply(dc, f[t - chunk.start], dc)
            xp.matmul(UT, a[t], out=in_rows)
            if past is not None:
                xp.add(dh, past, dh)
        sums.through(chunk.start)
    dM = xp.roll(sums.total()[0], -H, 0)
    dx = input_gradient(be, xp.roll(W, H, 0), da, reverse) if needs[0] else None
    return dx, dh.T, dc.T, dM[:, :D], dM[:, D + 1 :], dM[:, D]


def _slopes(be: Any, gates: Any, tanh_c: Any, dead: Any) -> tuple[Any, Any]:
    """For some steps: ∂c_t/∂c_{t-1} and ∂h_t/∂c_t; the gates become ∂h_t/∂a_o, and ∂c_t/∂a of i, f, g.

    Where a sequence is past its end, c goes through, and nothing else does.
    """
    xp, H = be.xp, gates.shape[1] // 5
    s, if_, of_i_f = gates[:, : 3 * H], gates[:, H : 3 * H], gates[:, 3 * H :]
    o, i, f, g, _ = (gates[:, k * H : (k + 1) * H] for k in range(5))
    rest = 1 - s
    rest *= s  # σ (1 - σ)
    kept = f.copy()
    to_c = tanh_c * tanh_c
    xp.subtract(1, to_c, out=to_c)
    to_c *= o
    by_g = g * g
    xp.subtract(1, by_g, out=by_g)
    by_g *= i
    xp.multiply(tanh_c, rest[:, :H], out=o)
    xp.multiply(of_i_f, rest[:, H:], out=if_)
    xp.copyto(g, by_g)
    if dead is not None:
        for each in (to_c, gates[:, : 4 * H]):
            each *= ~dead
        xp.copyto(kept, 1, where=dead)
    return kept, to_c


lstm_sequence = by_batch(Kernel(forward, backward), 3, lambda x, h, *_: 4 * h.shape[1] ** 2)
