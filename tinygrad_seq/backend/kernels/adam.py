"""One Adam step, in place, chunk by chunk through the cache."""

from typing import Any

PASSES = 64  # a number's operations, counted as `pieces` counts: about 15 passes, among them a root and a division


def adam(
    be: Any, parts: list[Any], lr: float, b1: float, b2: float, eps: float, l2: float, decay: float, step: float
) -> None:
    """Change [p, g, m, v] of each parameter, flat arrays; g stays.

    g ← g + l2 p;  m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;
    p ← p - lr · ((m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + decay p)
    """
    xp, total = be.xp, sum(p.size for p, *_ in parts)
    scale = (1 - b2**step) ** 0.5
    rate = lr * scale / (1 - b1**step)

    def work(piece: slice) -> None:
        room = be.empty((2, max((chunk.stop for chunk in be.chunks(total)[:1]), default=0)), parts[0][0].dtype)
        start = 0
        for arrays in parts:
            size = arrays[0].size
            first, end = max(piece.start - start, 0), min(piece.stop - start, size)
            start += size
            for chunk in be.chunks(max(end - first, 0)):
                p, g, m, v = (a[first + chunk.start : first + chunk.stop] for a in arrays)
                t, u = room[:, : p.size]
                if l2:
                    xp.multiply(p, l2, out=u)
                    u += g
                    g = u
                m *= b1
                xp.multiply(g, 1 - b1, out=t)
                m += t
                v *= b2
                xp.multiply(g, g, out=t)
                t *= 1 - b2
                v += t
                xp.sqrt(v, out=t)
                t += eps * scale
                xp.divide(m, t, out=t)
                t *= rate
                if decay:
                    xp.multiply(p, lr * decay, out=u)
                    t += u
                p -= t

    be.each(work, be.pieces(total, PASSES * total))
