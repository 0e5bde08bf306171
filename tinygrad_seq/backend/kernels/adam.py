"""One Adam step, in place, chunk by chunk through the cache."""

from typing import Any

PASSES = 64  # a number's operations, counted as `pieces` counts: about 15 passes, among them a root and a division


def adam(
    be: Any,
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
) -> None:
    """Change parameters ps, flat arrays, and m and v, which belong to all of them, one after another; gs stay.

    g ← g + l2 p;  m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;
    p ← p - lr · ((m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + decay p)
    """
    xp, total = be.xp, m.size
    scale = (1 - b2**step) ** 0.5
    rate = lr * scale / (1 - b1**step)
    chunks = be.chunks(total)
    p_parts, g_parts = _in_chunks(ps, chunks), _in_chunks(gs, chunks)

    def work(piece: slice) -> None:
        room = be.empty((4, max((chunk.stop for chunk in chunks[:1]), default=0)), m.dtype)
        for some_p, some_g, chunk in zip(p_parts[piece], g_parts[piece], chunks[piece], strict=True):
            t, u, joined_p, joined_g = room[:, : chunk.stop - chunk.start]
            p, g, m_k, v_k = _joined(xp, some_p, joined_p), _joined(xp, some_g, joined_g), m[chunk], v[chunk]
            if l2:
                xp.multiply(p, l2, out=u)
                u += g
                g = u
            m_k *= b1
            xp.multiply(g, 1 - b1, out=t)
            m_k += t
            v_k *= b2
            xp.multiply(g, g, out=t)
            t *= 1 - b2
            v_k += t
            xp.sqrt(v_k, out=t)
            t += eps * scale
            xp.divide(m_k, t, out=t)
            t *= rate
            if decay:
                xp.multiply(p, lr * decay, out=u)
                t += u
            p -= t
            if len(some_p) > 1:
                start = 0
                for part in some_p:
                    part[...] = p[start : start + part.size]
                    start += part.size

    be.each(work, be.pieces(len(chunks), PASSES * total))


def _in_chunks(arrays: list[Any], chunks: list[slice]) -> list[list[Any]]:
    """For each chunk of arrays, taken one after another, the parts of them that lie in it."""
    found: list[list[Any]] = []
    k = start = 0  # of the array that is not at its end
    for chunk in chunks:
        parts = []
        at = chunk.start
        while at < chunk.stop:
            a = arrays[k]
            part = a[at - start : chunk.stop - start]
            if part.size:
                parts.append(part)
            at += part.size
            if at == start + a.size:
                k, start = k + 1, at
        found.append(parts)
    return found


def _joined(xp: Any, parts: list[Any], out: Any) -> Any:
    """Small arrays side by side: of 52 parameters of a GPT few fill a chunk, and each pass over one costs a call."""
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, out=out)
