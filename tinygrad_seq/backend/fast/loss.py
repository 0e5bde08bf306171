"""Mean cross entropy, row by row. The exponentials are computed again for the gradient: to keep them costs more."""

from typing import Any

import numpy as np

from ..base import Kernel
from .compiler import jit, kernel, reduction
from .lanes import highest
from .sequence import F32, flat
from .team import job, share, team
from .vector import exp


@reduction
def _sum_of_powers(z: Any, high: Any) -> Any:
    """Σ exp(z - high)."""
    total = F32(0)
    for k in range(z.size):
        total += exp(z[k] - high)
    return total


@jit
def _losses_part(part: int, parts: int, z: Any, targets: Any, highs: Any, shares: Any, losses: Any) -> None:
    """The loss of each row; of its softmax, exp(z - high) share, both numbers. Targets below 0 do not count."""
    rows = z.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        losses[m] = 0.0
        if targets[m] < 0:
            continue
        z_m = z[m]
        high = highest(z_m)
        total = _sum_of_powers(z_m, high)
        highs[m], shares[m] = high, F32(1) / total
        losses[m] = np.log(total) - (z_m[targets[m]] - high)


@jit
def _losses_back_part(
    part: int, parts: int, z: Any, targets: Any, highs: Any, shares: Any, scale: Any, dz: Any
) -> None:
    rows = z.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        z_m, dz_m = z[m], dz[m]
        if targets[m] < 0:
            dz_m[:] = 0
            continue
        high, factor = highs[m], shares[m] * scale
        for k in range(z_m.size):
            dz_m[k] = exp(z_m[k] - high) * factor
        dz_m[targets[m]] -= scale


_losses_job, _losses_back_job = job(_losses_part), job(_losses_back_part)


@kernel
def _losses(team: Any, *inputs: Any) -> None:
    share(_losses_job(inputs), team, inputs)


@kernel
def _losses_back(team: Any, *inputs: Any) -> None:
    share(_losses_back_job(inputs), team, inputs)


def _forward(be: Any, logits: Any, weight: Any, targets: Any, ignore_index: Any, smoothing: float) -> Any:
    if weight is not None or smoothing:
        return None
    t = targets.reshape(-1).astype(np.int64)
    if ignore_index is not None:
        t[t == ignore_index] = -1
    z = flat(logits).reshape(t.size, -1)
    highs, shares, losses = np.empty(t.size, F32), np.empty(t.size, F32), np.empty(t.size)
    size = F32(t.size if ignore_index is None else np.count_nonzero(t >= 0))
    _losses(team(z.size), z, t, highs, shares, losses)
    return F32(losses.sum()) / size, (t, highs, shares, size)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, targets: Any, ignore_index: Any, smoothing: float
) -> Any:
    *kept, size = tape
    z = flat(inputs[0]).reshape(len(kept[0]), -1)
    dz = np.empty(z.shape, F32)
    _losses_back(team(z.size), z, *kept, F32(g / size), dz)
    return dz.reshape(inputs[0].shape), None


cross_entropy = Kernel(_forward, _backward)
