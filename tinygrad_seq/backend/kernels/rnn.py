"""A simple RNN over a whole sequence, features first: (T, F, B).

W x + b is there before the loop reads it, each step adds its U h, weight gradients are products of many steps.
"""

from collections.abc import Callable
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
    sigmoid,
    state_gradient,
    with_bias,
    zero_beyond,
)

# name -> g, in place, and its derivative by g's value
NONLINEARITIES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (lambda xp, a: xp.tanh(a, out=a), lambda h: 1 - h * h),
    "relu": (lambda xp, a: xp.maximum(a, 0, out=a), lambda h: (h > 0).astype(h.dtype)),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
}


def forward(
    be: Any, x: Any, h_0: Any, W: Any, U: Any, b: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> tuple[Any, Any]:
    xp, (B, T, D), H = be.xp, x.shape, h_0.shape[-1]
    how = plan(be, T, B, H * H, H * (D + 1))
    g = NONLINEARITIES[nonlinearity][0]
    U, Wb = in_tiles(be, U, B, T), in_tiles(be, with_bias(be, W, b, [slice(0, H)]), B, T, True)
    dead = dead_steps(be, lengths, T, reverse)
    z, of_x, of_h = factors_of(be, x, h_0, reverse)
    projected, product = be.empty((T, H, B), x.dtype), be.empty((H, B), x.dtype)
    # Lists of views, one for each step: to index takes as long as a small pass.
    h, given, in_rows = list(of_h[:, 1:]), list(projected), in_tiles_of(U, product)
    projected_later = project(be, Wb, of_x[:T], projected, how)
    for t in range(T):
        if t in projected_later:
            projected_later[t]()
        xp.matmul(U, h[t], out=in_rows)
        g(xp, xp.add(given[t], product, h[t + 1]))
        if dead is not None:
            xp.copyto(h[t + 1], h[t], where=dead[t])
    y = zero_beyond(batch_of(be, of_h[1:, 1:], reverse), dead, reverse)
    return (y, h[T].T.copy()), (z, dead)


def backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, nonlinearity: str, reverse: bool, lengths: Any
) -> Any:
    xp, (x, h_0, W, U, _), (z, dead) = be.xp, inputs, tape
    (B, T, D), H = x.shape, h_0.shape[-1]
    # Of 256 terms the error of b was twice PyTorch's.
    how = plan(be, T, B, H * H, H * (H + D + 1), terms=128)
    slopes = NONLINEARITIES[nonlinearity][1](z[1:, D + 1 :])  # of all steps at once; written over by da
    UT = in_tiles(be, U.T, B, T)
    dy = output_gradients(g[0], dead, reverse)
    dh = state_gradient(be, g[1], H, B, x.dtype)
    if dead is not None:
        slopes *= ~dead
    das, in_rows = list(slopes), in_tiles_of(UT, dh)
    sums = WeightGradients(be, how, (slopes, z[:T]))
    for t in reversed(range(T)):
        if dy is not None:
            xp.add(dh, dy[t], dh)
        past = None if dead is None else dh * dead[t]
        xp.multiply(das[t], dh, das[t])
        xp.matmul(UT, das[t], out=in_rows)
        if past is not None:
            xp.add(dh, past, dh)
        sums.through(t)
    (dM,) = sums.total()
    dx = input_gradient(be, W, slopes, reverse) if needs[0] else None
    return dx, dh.T, dM[:, :D], dM[:, D + 1 :], dM[:, D]


rnn_sequence = by_batch(Kernel(forward, backward), 2, lambda x, h, *_: h.shape[1] ** 2)
