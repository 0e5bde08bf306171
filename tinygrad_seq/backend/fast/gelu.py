"""GELU, exact and by tanh, in one pass each way: to compute σ and Φ again is faster than to keep and read them."""

import math
from typing import Any

from ..base import Kernel
from ..kernels.gelu import A, C
from .compiler import jit, kernel
from .sequence import F32, empty, flat
from .team import job, share, team
from .vector import near_sigmoid, normal, sigmoid

SCALE, CUBE, ONE = F32(2 * A), F32(2 * C), F32(1)  # 2u = SCALE x + CUBE x³, and ½ (1 + tanh u) = σ(2u)
DENSITY = F32(1 / math.sqrt(2 * math.pi))
FAR = F32(9.9)  # beyond it the slope is 0 or 1 in float32, but x³ grows until x³ · 0 is nan; |2u| ≤ 85 below it


@jit
def tanh_gelu(x: Any) -> Any:
    s = sigmoid(x * (SCALE + CUBE * (x * x)))
    return x * (F32(0) if x < -FAR else s)


@jit
def tanh_gelu_slope(x: Any) -> tuple[Any, Any]:
    """GELU, and its derivative."""
    near = -FAR if x < -FAR else x
    near = FAR if near > FAR else near
    square = near * near
    s = near_sigmoid(-near * (SCALE + CUBE * square))
    slope = near * (SCALE + F32(3) * CUBE * square) * (ONE - s)
    return x * (F32(0) if x < -FAR else s), s + s * slope


@jit
def exact_gelu_slope(x: Any) -> tuple[Any, Any]:
    below, density = normal(x)
    return x * below, below + x * (DENSITY * density)


@jit
def _tanh_part(part: int, parts: int, x: Any, y: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, y = x[first:end], y[first:end]
    for k in range(x.size):
        y[k] = tanh_gelu(x[k])


@jit
def _tanh_back_part(part: int, parts: int, x: Any, g: Any, dx: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, g, dx = x[first:end], g[first:end], dx[first:end]
    for k in range(x.size):
        dx[k] = g[k] * tanh_gelu_slope(x[k])[1]


@jit
def _exact_part(part: int, parts: int, x: Any, y: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, y = x[first:end], y[first:end]
    for k in range(x.size):
        y[k] = exact_gelu_slope(x[k])[0]


@jit
def _exact_back_part(part: int, parts: int, x: Any, g: Any, dx: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, g, dx = x[first:end], g[first:end], dx[first:end]
    for k in range(x.size):
        dx[k] = g[k] * exact_gelu_slope(x[k])[1]


# One by one, not made by a function: numba does not find closures again in its cache.
_tanh_job, _tanh_back_job = job(_tanh_part), job(_tanh_back_part)
_exact_job, _exact_back_job = job(_exact_part), job(_exact_back_part)


@kernel
def _tanh(team: Any, *inputs: Any) -> None:
    share(_tanh_job(inputs), team, inputs)


@kernel
def _tanh_back(team: Any, *inputs: Any) -> None:
    share(_tanh_back_job(inputs), team, inputs)


@kernel
def _exact(team: Any, *inputs: Any) -> None:
    share(_exact_job(inputs), team, inputs)


@kernel
def _exact_back(team: Any, *inputs: Any) -> None:
    share(_exact_back_job(inputs), team, inputs)


def _kernel(there: Any, back: Any) -> Kernel:
    def forward(be: Any, x: Any) -> tuple[Any, Any]:
        y = empty(*x.shape)
        there(team(x.size), flat(x), y.reshape(-1))
        return y, ()

    def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
        dx = empty(*g.shape)
        back(team(g.size), flat(inputs[0]), flat(g), dx.reshape(-1))
        return dx

    return Kernel(forward, backward)


gelu, exact_gelu = _kernel(_tanh, _tanh_back), _kernel(_exact, _exact_back)
