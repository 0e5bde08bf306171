"""One Adam step, in place, in one pass that the team shares."""

from typing import Any

import numpy as np

from .compiler import jit, kernel
from .sequence import F32
from .team import job, share, team


@jit
def _adam_part(part: int, parts: int, p: Any, g: Any, m: Any, v: Any, options: Any) -> None:
    first, end = p.size * part // parts, p.size * (part + 1) // parts
    p, g, m, v = p[first:end], g[first:end], m[first:end], v[first:end]
    b1, rest1, b2, rest2, eps, rate, l2, decay = options
    for k in range(p.size):
        p_k = p[k]
        g_k = g[k] + l2 * p_k if l2 else g[k]  # 0 times inf would be nan
        m_k = b1 * m[k] + rest1 * g_k
        v_k = b2 * v[k] + rest2 * (g_k * g_k)
        m[k], v[k] = m_k, v_k
        change = rate * (m_k / (np.sqrt(v_k) + eps))
        p[k] = p_k - (change + decay * p_k if decay else change)


_adam_job = job(_adam_part)


@kernel
def _adam(team: Any, *inputs: Any) -> None:
    share(_adam_job(inputs), team, inputs)


def adam(parts: list[Any], lr: float, b1: float, b2: float, eps: float, l2: float, decay: float, step: float) -> None:
    """As `kernels.adam`."""
    scale = (1 - b2**step) ** 0.5
    rate = lr * scale / (1 - b1**step)
    options = tuple(map(F32, (b1, 1 - b1, b2, 1 - b2, eps * scale, rate, l2, lr * decay)))
    for p, g, m, v in parts:
        _adam(team(p.size), p, np.ascontiguousarray(g), m, v, options)
