"""A simple RNN over a whole sequence, features first: (T, F, B).

W x + b of all steps is one product before the loop, each step adds its U h, weight gradients are products after it.
"""

from collections.abc import Callable
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


def _sigmoid(xp: Any, a: Any) -> None:
    a *= 0.5
    xp.tanh(a, out=a)
    a *= 0.5
    a += 0.5


# name -> g, in place, and its derivative by g's value
NONLINEARITIES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (lambda xp, a: xp.tanh(a, out=a), lambda h: 1 - h * h),
    "relu": (lambda xp, a: xp.maximum(a, 0, out=a), lambda h: (h > 0).astype(h.dtype)),
    "sigmoid": (_sigmoid, lambda h: h * (1 - h)),
}


def forward(
    be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> tuple[Any, Any]:
    xp, (B, T, _), H = be.xp, x.shape, h_0.shape[-1]
    g = NONLINEARITIES[nonlinearity][0]
    U, Wb = in_tiles(be, U, B, T), in_tiles(be, with_bias(be, W, b, [slice(0, H)]), B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    z = factors_of(be, x, h_0, reverse)
    h, projected, product = z[:, :H], be.empty((T, H, B), x.dtype), be.empty((H, B), x.dtype)
    multiply(be, Wb, z[:T, H:], projected)
    for t in range(T):
        h_t = h[t + 1]
        xp.add(projected[t], multiply(be, U, h[t], product), out=h_t)
        g(xp, h_t)
        if dead is not None:
            xp.copyto(h_t, h[t], where=dead[t])
    return (zero_beyond(batch_of(be, h[1:], reverse), dead, reverse), h[-1].T.copy()), (z, dead)


def backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> Any:
    (x, h_0, W, U, _), (z, dead) = inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    slopes = NONLINEARITIES[nonlinearity][1](z[1:, :H])  # of all steps at once; written over by da
    UT = in_tiles(be, U.T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    if dead is not None:
        slopes *= ~dead
    for t in reversed(range(T)):
        da = slopes[t]
        if dy is not None:
            dh += dy[t]
        da *= dh
        if dead is None:
            multiply(be, UT, da, dh)
        else:
            past = dh * dead[t]
            multiply(be, UT, da, dh)
            dh += past
    dM, db = weight_gradients(be, slopes, z[:T, :-1])
    dx = input_gradient(be, W, slopes, reverse) if needs[0] else None
    return dx, dh.T, dM[:, H:], dM[:, :H], db


rnn_sequence = Kernel(forward, backward)
