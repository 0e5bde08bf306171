"""One Adam step on flat arrays, in one pass."""

from typing import Any

import numpy as np

from .compiler import kernel
from .sequence import F32


@kernel
def _adam(g: Any, m: Any, v: Any, u: Any, b1: Any, rest1: Any, b2: Any, rest2: Any, eps: Any, rate: Any) -> None:
    for k in range(g.size):
        m_k = b1 * m[k] + rest1 * g[k]
        v_k = b2 * v[k] + rest2 * (g[k] * g[k])
        m[k], v[k] = m_k, v_k
        u[k] = rate * (m_k / (np.sqrt(v_k) + eps))


def adam(g: Any, m: Any, v: Any, work: Any, lr: float, b1: float, b2: float, eps: float, step: int) -> Any:
    """As `kernels.adam`."""
    u, scale = work[0], (1 - b2**step) ** 0.5
    _adam(g, m, v, u, *map(F32, (b1, 1 - b1, b2, 1 - b2, eps * scale, lr * scale / (1 - b1**step))))
    return u
