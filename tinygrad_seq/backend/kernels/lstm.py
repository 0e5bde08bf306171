"""An LSTM over a whole sequence, features first: (T, F, B), so that every gate is one contiguous block.

W x + b of all steps is one product before the loop, each step adds its U h, weight gradients are products after it.
Gates are held in the order i, f, o, g; the rows of i, f, o are halved once, since σ(a) = ½ tanh(½ a) + ½.
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

IFOG = [0, 1, 3, 2]  # from PyTorch's order i, f, g, o, and back


def gates_first(a: Any, H: int) -> Any:
    """(4H, K), or (4H,) as (4H, 1), in PyTorch's order of gates to ours, and back."""
    return a.reshape(4, H, -1)[IFOG].reshape(4 * H, -1)


def forward(
    be: Any, x: Any, h_0: Any, c_0: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any
) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    U, Wb = gates_first(U, H), with_bias(be, W, b, [slice(k * H, (k + 1) * H) for k in IFOG])
    for M in (U, Wb):
        M[: 3 * H] *= 0.5
    U, Wb = in_tiles(be, U, B, T), in_tiles(be, Wb, B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    z, gates = factors_of(be, x, h_0, reverse), be.empty((T, 4 * H, B), x.dtype)
    multiply(be, Wb, z[:T, H:], gates)
    h, c, tanh_c = z[:, :H], be.empty((T + 1, H, B), x.dtype), be.empty((T, H, B), x.dtype)
    c[0] = c_0.T
    products, product = be.empty((4 * H, B), x.dtype), be.empty((H, B), x.dtype)
    for t in range(T):
        a, h_t, c_t = gates[t], h[t + 1], c[t + 1]
        a += multiply(be, U, h[t], products)
        xp.tanh(a, out=a)
        s = a[: 3 * H]
        s *= 0.5
        s += 0.5
        i, f, o, g = a.reshape(4, H, B)
        xp.multiply(f, c[t], out=c_t)
        c_t += xp.multiply(i, g, out=product)
        xp.multiply(o, xp.tanh(c_t, out=tanh_c[t]), out=h_t)
        if dead is not None:
            xp.copyto(h_t, h[t], where=dead[t])
            xp.copyto(c_t, c[t], where=dead[t])
    y = zero_beyond(batch_of(be, h[1:], reverse), dead, reverse)
    return (y, h[-1].T.copy(), c[-1].T.copy()), (z, gates, c, tanh_c, dead)


def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, reverse: bool, lengths: Any) -> Any:
    xp, (x, h_0, _, W, U, _), (z, gates, c, tanh_c, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    UT = in_tiles(be, gates_first(U, H).T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh, dc = (state_gradient(be, d, H, B, x.dtype) for d in g[1:])
    t1, t2, s1 = be.empty((H, B), x.dtype), be.empty((H, B), x.dtype), be.empty((3 * H, B), x.dtype)
    mul, sub = xp.multiply, xp.subtract
    for t in reversed(range(T)):
        a, y = gates[t], tanh_c[t]
        i, f, o, n = a.reshape(4, H, B)
        s = a[: 3 * H]
        if dy is not None:
            dh += dy[t]
        if dead is not None:
            past_h, past_c = dh * dead[t], dc * dead[t]
        mul(y, y, out=t1)
        sub(1, t1, out=t1)
        t1 *= o
        t1 *= dh
        dc += t1  # dc += dh o (1 - tanh² c)
        dh *= y  # do
        mul(dc, n, out=t1)  # di
        mul(dc, i, out=t2)
        mul(n, n, out=n)
        sub(1, n, out=n)
        n *= t2  # dg (1 - g²)
        mul(dc, c[t], out=t2)  # df
        dc *= f
        sub(1, s, out=s1)
        s *= s1  # σ (1 - σ) of i, f, o
        i *= t1
        f *= t2
        o *= dh
        if dead is not None:
            a *= ~dead[t]
            dc *= ~dead[t]
            dc += past_c
        multiply(be, UT, a, dh)
        if dead is not None:
            dh += past_h
    dM, db = (gates_first(each, H) for each in weight_gradients(be, gates, z[:T, :-1]))
    dx = input_gradient(be, gates_first(W, H), gates, reverse) if needs[0] else None
    return dx, dh.T, dc.T, dM[:, H:], dM[:, :H], db[:, 0]


lstm_sequence = Kernel(forward, backward)
