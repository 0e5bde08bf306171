"""Dropout: a place's random bits are computed anew in the backward pass, so that nothing is kept."""

from typing import Any

import numpy as np

from ..base import Kernel
from .compiler import jit, kernel
from .sequence import F32, empty, flat
from .team import job, share, team


@jit
def random_bits(key: Any, place: int) -> Any:
    """The 32 random bits of a place: `Backend.keep_mask`."""
    x = np.uint64((place >> 1) + 1) * np.uint64(0x9E3779B97F4A7C15) + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return np.uint32(x >> np.uint64((place & 1) << 5))


def dropping(p: float, key: int) -> tuple[int, int, float]:
    """What the bits of a number must reach to keep it, their key as a signed integer, and what it is multiplied by."""
    return min(round(p * 2**32), 2**32 - 1), key - (key >> 63 << 64), 1 / (1 - p)


@jit
def _drop_part(part: int, parts: int, x: Any, y: Any, threshold: int, key: int, factor: Any) -> None:
    first, end = x.size * part // parts, x.size * (part + 1) // parts
    x, y = x[first:end], y[first:end]
    bits, enough = np.uint64(key), np.uint32(threshold)
    for k in range(x.size):
        y[k] = x[k] * (factor if random_bits(bits, first + k) >= enough else F32(0))


_drop_job = job(_drop_part)


@kernel
def _drop(team: Any, *inputs: Any) -> None:
    share(_drop_job(inputs), team, inputs)


def _forward(be: Any, x: Any, p: float, key: int) -> Any:
    y, (threshold, signed, factor) = empty(*x.shape), dropping(p, key)
    _drop(team(x.size), flat(x), y.reshape(-1), threshold, signed, F32(factor))
    return y, ()


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, p: float, key: int) -> Any:
    return _forward(be, g, p, key)[0]


dropout = Kernel(_forward, _backward)
