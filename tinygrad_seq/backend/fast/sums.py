"""a + b, shared among threads by rows, as what comes before and after it is: its rows lie in their cores' caches."""

from typing import Any

import numpy as np

from .compiler import jit, kernel
from .team import job, share, team


@jit
def _add_part(part: int, parts: int, D: int, a: Any, b: Any, y: Any) -> None:
    rows = a.size // D
    first, end = rows * part // parts * D, rows * (part + 1) // parts * D
    a, b, y = a[first:end], b[first:end], y[first:end]
    for k in range(a.size):
        y[k] = a[k] + b[k]


_add_job = job(_add_part)


@kernel
def _add(team: Any, *inputs: Any) -> None:
    share(_add_job(inputs), team, inputs)


def add(a: Any, b: Any, out: Any) -> Any:
    """a + b, into `out`, which may be one of them, or a new array; None where that is left to NumPy."""
    if a.shape != b.shape or not a.flags.c_contiguous or not b.flags.c_contiguous:
        return None
    y = np.empty(a.shape, a.dtype) if out is None else out
    _add(team(a.size), a.shape[-1], a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y
