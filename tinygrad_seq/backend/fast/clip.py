"""What clipping asks of all gradients: the sum of their squares, and each times a number. The team shares them."""

from typing import Any

import numpy as np

from .compiler import jit, kernel, reduction
from .many import addresses, array_at, plain, sizes
from .sequence import F32
from .team import SIZE, job, share, team

PART = 4096  # numbers whose squares are added up in float32


@reduction
def _sum_of_squares(a: Any) -> Any:
    total = F32(0)
    for k in range(a.size):
        total += a[k] * a[k]
    return total


@jit
def _squares_part(part: int, parts: int, arrays: Any, sizes: Any, total: int, sums: Any) -> None:
    low, high, start = total * part // parts, total * (part + 1) // parts, 0
    for a in range(sizes.size):
        first, end = max(low - start, 0), min(high - start, sizes[a])
        for k in range(first, end, PART):
            sums[part] += np.float64(_sum_of_squares(array_at(arrays[a], sizes[a])[k : min(k + PART, end)]))
        start += sizes[a]


@jit
def _scaled_part(part: int, parts: int, arrays: Any, sizes: Any, total: int, factor: Any, outs: Any) -> None:
    low, high, start = total * part // parts, total * (part + 1) // parts, 0
    for a in range(sizes.size):
        first, end = max(low - start, 0), min(high - start, sizes[a])
        if first < end:
            x, y = array_at(arrays[a], sizes[a])[first:end], array_at(outs[a], sizes[a])[first:end]
            for k in range(x.size):
                y[k] = x[k] * factor
        start += sizes[a]


_squares_job, _scaled_job = job(_squares_part), job(_scaled_part)


@kernel
def _squares(team: Any, *inputs: Any) -> None:
    share(_squares_job(inputs), team, inputs)


@kernel
def _scaled(team: Any, *inputs: Any) -> None:
    share(_scaled_job(inputs), team, inputs)


def squares(arrays: list[Any]) -> Any:
    """Σ of all squares; None where that is left to NumPy."""
    if not plain(arrays):
        return None
    numbers = sizes(arrays)
    total = int(numbers.sum())
    desks = team(total)
    sums = np.zeros(desks[SIZE], np.float64)
    _squares(desks, addresses(arrays), numbers, total, sums)
    return F32(sums.sum())


def scaled(arrays: list[Any], factor: Any) -> Any:
    """Each times a number, new arrays; None where that is left to NumPy."""
    if not plain(arrays):
        return None
    numbers, outs = sizes(arrays), [np.empty(a.shape, F32) for a in arrays]
    total = int(numbers.sum())
    _scaled(team(total), addresses(arrays), numbers, total, F32(factor), addresses(outs))
    return outs
