"""One Adam step on flat arrays."""

from typing import Any


def adam(be: Any, g: Any, m: Any, v: Any, work: Any, lr: float, b1: float, b2: float, eps: float, step: int) -> Any:
    """Update the moments m and v in place; return what to take away from the parameters, in `work`.

    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  change = lr · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)
    """
    xp, (t, u) = be.xp, work
    m *= b1
    xp.multiply(g, 1 - b1, out=t)
    m += t
    v *= b2
    xp.multiply(g, g, out=t)
    t *= 1 - b2
    v += t
    scale = (1 - b2**step) ** 0.5
    xp.sqrt(v, out=t)
    t += eps * scale
    xp.divide(m, t, out=u)
    u *= lr * scale / (1 - b1**step)
    return u
