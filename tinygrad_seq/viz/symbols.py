"""Text with subscripts: which pieces of a label stand lower or higher, and how wide it is."""

from __future__ import annotations

import re
import unicodedata

SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊₋", "0123456789aehijklmnoprstuvx+−", strict=True))
MARKS = re.compile(
    rf"(?P<transpose>ᵀ)|(?P<low>[{''.join(SUBSCRIPTS)}]+)"
    r"|\^(?:(?P<up>[^\W_])|\{(?P<raised>[^{}]*)\})(?:_(?P<below>[^\W_])(?=\W|$))?"
    r"|(?<![\w.])(?P<base>\w[\u0303\u20d6\u20d7]?)_(?P<letter>[^\W_])(?=ᵀ|\W|$)"
    r"|_\{(?P<braced>[^{}]*)\}"
)
SMALL = 0.72  # a subscript's size
LOW = 0.25  # and how far below the line it stands
HIGH = -0.35


def runs(text: str) -> list[tuple[str, float]]:
    """Pieces of text and how far each is lowered: fₜ, W_f and h_{t-1} have a subscript, weight_ih_l0 has none; what
    follows ^ is raised.

    >>> runs("fₜ = σ"), runs("W_f"), runs("weight_ih_l0")
    ([('f', 0), ('t', 0.25), (' = σ', 0)], [('W', 0), ('f', 0.25)], [('weight_ih_l0', 0)])
    """
    found: list[tuple[str, float]] = []
    at = 0
    for match in MARKS.finditer(text):
        found.append((text[at : match.start()] + (match["base"] or ""), 0))
        high = "T" if match["transpose"] else match["up"] or match["raised"]
        low = "".join(map(SUBSCRIPTS.__getitem__, match["low"] or "")) or match["letter"] or match["braced"]
        for piece, shift in ((high, HIGH), (low or match["below"], LOW)):
            if piece:
                found.append((piece.replace("-", "−"), shift))
        at = match.end()
    found.append((text[at:], 0))
    return [piece for piece in found if piece[0]]


def text_width(text: str, size: float) -> float:
    """The width of text in points, in a wide font: what is there may be Helvetica, Arial or DejaVu Sans."""
    return sum(_width(piece) * (SMALL if shift else 1) for piece, shift in runs(text)) * size


def _width(text: str) -> float:
    total = 0.0
    for c in text:
        if unicodedata.combining(c):
            continue
        if c in "ijl.,:;'|!()[]{} ·":
            total += 0.38
        elif c in "mwMW@⊙—…%" or unicodedata.east_asian_width(c) in "WF":
            total += 1.0
        elif c in "ftr":
            total += 0.42
        else:
            total += 0.75 if c.isupper() else 0.62
    return total
