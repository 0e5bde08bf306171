"""A simple RNN over a whole sequence, features first: (T, F, B).

[h; x; 1] is one operand and [U W b] the other: a step is a single product, and so are all the weight gradients.
"""

from collections.abc import Callable
from typing import Any

from ..base import Kernel
from .sequence import (
    batch_of,
    dead_steps,
    input_gradient,
    output_gradients,
    over_steps,
    state_gradient,
    steps_of,
    weight_gradient,
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
    xp, (B, T, D), H = be.xp, x.shape, h_0.shape[-1]
    g = NONLINEARITIES[nonlinearity][0]
    M = xp.concatenate([U, W, b[:, None]], 1)
    dead = dead_steps(be, lengths, T, reverse)
    hx1 = be.empty((T + 1, H + D + 1, B), x.dtype)
    hx1[:T, H : H + D] = steps_of(x, reverse)
    hx1[:, -1] = 1
    hx1[0, :H] = h_0.T
    for t in range(T):
        h_t = hx1[t + 1, :H]
        xp.matmul(M, hx1[t], out=h_t)
        g(xp, h_t)
        if dead is not None:
            xp.copyto(h_t, hx1[t, :H], where=dead[t])
    h = hx1[1:, :H]
    return (zero_beyond(batch_of(be, h, reverse), dead, reverse), h[-1].T.copy()), (hx1, dead)


def backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> Any:
    xp, (x, h_0, W, U, _), (hx1, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
    slopes = NONLINEARITIES[nonlinearity][1](hx1[1:, :H])  # of all steps at once; written over by da
    UT = U.T.copy()
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
            xp.matmul(UT, da, out=dh)
        else:
            past = dh * dead[t]
            xp.matmul(UT, da, out=dh)
            dh += past
    da = over_steps(slopes)
    dM = weight_gradient(da, over_steps(hx1[:T]))
    dx = input_gradient(W, da, T, B, reverse) if needs[0] else None
    return dx, dh.T, dM[:, H : H + D], dM[:, :H], dM[:, -1]


rnn_sequence = Kernel(forward, backward)
