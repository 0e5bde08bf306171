"""GELU by tanh as x σ(2u), in one pass each way: to compute σ again is faster than to keep and read it."""

from typing import Any

from ..base import Kernel
from ..kernels.gelu import A, C
from .compiler import jit, kernel
from .sequence import F32, empty, flat
from .team import job, share, team
from .vector import sigmoid

SCALE, CUBE, ONE = F32(2 * A), F32(2 * C), F32(1)  # 2u = SCALE x + CUBE x³


@jit
def _gelu_part(part: int, parts: int, x: Any, y: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, y = x[first:end], y[first:end]
    for k in range(x.size):
        y[k] = x[k] * sigmoid(x[k] * (SCALE + CUBE * (x[k] * x[k])))


@jit
def _gelu_back_part(part: int, parts: int, x: Any, g: Any, dx: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, g, dx = x[first:end], g[first:end], dx[first:end]
    for k in range(x.size):
        square = x[k] * x[k]
        s = sigmoid(x[k] * (SCALE + CUBE * square))
        slope = x[k] * (SCALE + F32(3) * CUBE * square) * (ONE - s)
        dx[k] = g[k] * (s + s * slope)


_gelu_job, _gelu_back_job = job(_gelu_part), job(_gelu_back_part)


@kernel
def _gelu(team: Any, *inputs: Any) -> None:
    share(_gelu_job(inputs), team, inputs)


@kernel
def _gelu_back(team: Any, *inputs: Any) -> None:
    share(_gelu_back_job(inputs), team, inputs)


def _forward(be: Any, x: Any) -> tuple[Any, Any]:
    y = empty(*x.shape)
    _gelu(team(x.size), flat(x), y.reshape(-1))
    return y, ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any) -> Any:
    dx = empty(*g.shape)
    _gelu_back(team(g.size), flat(inputs[0]), flat(g), dx.reshape(-1))
    return dx


gelu = Kernel(_forward, _backward)
