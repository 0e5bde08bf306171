"""One Adam step on flat arrays."""

from typing import Any


def adam(be: Any, g: Any, m: Any, v: Any, work: Any, lr: float, b1: float, b2: float, eps: float, step: int) -> Any:
    """Update the moments m and v in place; return what to take away from the parameters, in `work`.

    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  change = lr · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)
    """
    xp, (t, u) = be.xp, work
    scale = (1 - b2**step) ** 0.5
    rate = lr * scale / (1 - b1**step)
    for part in be.chunks(g.size):
        g_k, m_k, v_k, u_k = (a[part] for a in (g, m, v, u))
        t_k = t[: g_k.size]  # always the same
        m_k *= b1
        xp.multiply(g_k, 1 - b1, out=t_k)
        m_k += t_k
        v_k *= b2
        xp.multiply(g_k, g_k, out=t_k)
        t_k *= 1 - b2
        v_k += t_k
        xp.sqrt(v_k, out=t_k)
        t_k += eps * scale
        xp.divide(m_k, t_k, out=u_k)
        u_k *= rate
    return u
