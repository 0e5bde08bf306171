"""One Adam step, in place: one call and one pass for all parameters, whose numbers the team shares."""

from typing import Any

import numpy as np

from .compiler import jit, kernel
from .many import addresses, array_at, plain, sizes
from .sequence import F32
from .team import job, share, team


@jit
def _adam_part(part: int, parts: int, ps: Any, gs: Any, sizes: Any, m: Any, v: Any, options: Any) -> None:
    b1, rest1, b2, rest2, eps, rate, l2, decay = options
    low, high, start = m.size * part // parts, m.size * (part + 1) // parts, 0
    for a in range(sizes.size):
        first, end = max(low - start, 0), min(high - start, sizes[a])
        if first < end:
            p, g = array_at(ps[a], sizes[a])[first:end], array_at(gs[a], sizes[a])[first:end]
            m_a, v_a = m[start + first : start + end], v[start + first : start + end]
            for k in range(p.size):
                p_k = p[k]
                g_k = g[k] + l2 * p_k if l2 else g[k]  # 0 times inf would be nan
                m_k = b1 * m_a[k] + rest1 * g_k
                v_k = b2 * v_a[k] + rest2 * (g_k * g_k)
                m_a[k], v_a[k] = m_k, v_k
                change = rate * (m_k / (np.sqrt(v_k) + eps))
                p[k] = p_k - (change + decay * p_k if decay else change)
        start += sizes[a]


_adam_job = job(_adam_part)


@kernel
def _adam(team: Any, *inputs: Any) -> None:
    share(_adam_job(inputs), team, inputs)


def adam(
    ps: list[Any],
    gs: list[Any],
    m: Any,
    v: Any,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    l2: float,
    decay: float,
    step: float,
) -> Any:
    """As `kernels.adam`; gives ps, or None where it is left to that."""
    if not (plain(ps, written=True) and plain(gs)):
        return None
    scale = (1 - b2**step) ** 0.5
    rate = lr * scale / (1 - b1**step)
    options = tuple(map(F32, (b1, 1 - b1, b2, 1 - b2, eps * scale, rate, l2, lr * decay)))
    _adam(team(m.size), addresses(ps), addresses(gs), sizes(ps), m, v, options)
    return ps
