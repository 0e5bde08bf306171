"""A simple RNN over a whole sequence, features first: (T, F, B).

W x + b of all steps is one product before the loop, each step adds its U h, weight gradients are products after it.
"""

from collections.abc import Callable
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
    dead = dead_steps(be, lengths, T, reverse)
    xs, h = inputs_of(be, x, reverse), be.empty((T + 1, H, B), x.dtype)
    h[0] = h_0.T
    xp.add(for_each_step(W @ xs, T, B), b[:, None], out=h[1:])
    product = be.empty((H, B), x.dtype)
    for t in range(T):
        h_t = h[t + 1]
        h_t += xp.matmul(U, h[t], out=product)
        g(xp, h_t)
        if dead is not None:
            xp.copyto(h_t, h[t], where=dead[t])
    return (zero_beyond(batch_of(be, h[1:], reverse), dead, reverse), h[-1].T.copy()), (xs, h, dead)


def backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> Any:
    xp, (x, h_0, W, U, _), (xs, h, dead) = be.xp, inputs, tape
    (B, T, _), H = x.shape, h_0.shape[-1]
    slopes = NONLINEARITIES[nonlinearity][1](h[1:])  # of all steps at once; written over by da
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
    dW, dU = (summed(da, each, 8) for each in (xs, over_steps(h[:T])))
    dx = input_gradient(W, da, T, B, reverse) if needs[0] else None
    return dx, dh.T, dW, dU, da.sum(1)


rnn_sequence = Kernel(forward, backward)
