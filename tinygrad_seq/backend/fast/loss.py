"""Mean cross entropy, row by row: the exponentials are kept for the backward pass, and become the gradient there."""

from typing import Any

import numpy as np

from ..base import Kernel
from .compiler import kernel, reduction
from .norm import _sum
from .sequence import F32, flat
from .vector import exp


@reduction
def _highest(z: Any) -> Any:
    found = z[0]
    for k in range(z.size):
        found = max(found, z[k])
    return found


@kernel
def _losses(z: Any, targets: Any, e: Any, share: Any) -> float:
    """The sum of the losses. e becomes exp(z - z's largest), share 1 / its sum; targets below 0 do not count."""
    total = 0.0
    for m in range(z.shape[0]):
        if targets[m] < 0:
            continue
        z_m, e_m = z[m], e[m]
        highest = _highest(z_m)
        for k in range(z_m.size):
            e_m[k] = exp(z_m[k] - highest)
        row = _sum(e_m)
        share[m] = F32(1) / row
        total += np.log(row) - (z_m[targets[m]] - highest)
    return total


@kernel
def _losses_back(e: Any, targets: Any, share: Any, scale: Any) -> None:
    for m in range(e.shape[0]):
        e_m = e[m]
        if targets[m] < 0:
            e_m[:] = 0
            continue
        factor = share[m] * scale
        for k in range(e_m.size):
            e_m[k] *= factor
        e_m[targets[m]] -= scale


def _forward(be: Any, logits: Any, weight: Any, targets: Any, ignore_index: Any, smoothing: float) -> Any:
    if weight is not None or smoothing:
        return None
    t = targets.reshape(-1).astype(np.int64)
    if ignore_index is not None:
        t[t == ignore_index] = -1
    z = flat(logits).reshape(t.size, -1)
    e, share = np.empty(z.shape, F32), np.empty(t.size, F32)
    size = F32(t.size if ignore_index is None else np.count_nonzero(t >= 0))
    return F32(_losses(z, t, e, share)) / size, (e, t, share, size)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, targets: Any, ignore_index: Any, smoothing: float
) -> Any:
    e, t, share, size = tape
    _losses_back(e, t, share, F32(g / size))
    return e.reshape(inputs[0].shape), None


cross_entropy = Kernel(_forward, _backward)
