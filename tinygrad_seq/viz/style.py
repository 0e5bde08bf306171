"""How boxes look: soft fills told apart by colour-blind eyes, and shapes that tell them apart in grey."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from . import names
from .value import Edge, Node, Part

FONT = "Helvetica"


class Sizes(NamedTuple):
    """Points."""

    title: int
    part: int
    label: int
    shape: int
    edge: int


SIZES = Sizes(title=16, part=15, label=14, shape=10, edge=11)


class Style(NamedTuple):
    fill: str
    line: str
    shape: str = "box"
    style: str = "filled"
    double: bool = False


class EdgeStyle(NamedTuple):
    line: str
    text: str


class Line(NamedTuple):
    """How an arrow is drawn."""

    color: str
    width: float  # points
    dash: str = ""  # "dashed"


EDGE = EdgeStyle("#555555", "#333333")
STYLES = {
    "parameter": Style("#FCE3BF", "#8A5A00", "box", "filled"),
    "input": Style("#E6E6E6", "#4D4D4D", "ellipse", "filled"),
    "op": Style("#FFFFFF", "#33658A", "box", "rounded,filled"),
    "fused": Style("#D6E8F7", "#0B4F80", "box", "rounded,filled", True),
    "fold": Style("#F7F7F7", "#777777", "box", "rounded,filled,dashed"),
    "output": Style("#D3EFE3", "#006B4C"),
}
# In a picture of two graphs; - is dashed and + is heavy, for those who print it.
SIDES = {
    "-": Style("#FBE3D3", "#B84A00"),
    "+": Style("#D3E8F7", "#0063A3"),
    "=": Style("#FFFFFF", "#8A8A8A"),
}
PARTS = {
    "module": Style("#F8F8F6", "#A9A9A0", style="rounded,filled"),
    "equations": Style("#FFFFFF", "#33658A", style="rounded,filled,dashed"),
    "step": Style("#FFFFFF", "#A9A9A0", style="rounded,filled"),
    "named": Style("#FFFFFF", "#A9A9A0", style="rounded,filled"),
    "opened": Style("#EEF5FB", "#0B4F80", style="rounded,filled"),
}


class Look(NamedTuple):
    """How one thing is drawn."""

    fill: str
    line: str
    dashed: bool = False
    heavy: bool = False


def look(node: Node) -> Look:
    """The colours and the outline of a box: those of its kind, of an output, or of the graph that alone has it."""
    dashed = "dashed" in STYLES[node.kind].style
    if node.side:
        style = SIDES[node.side]
        return Look(style.fill, style.line, node.side == "-" or (dashed and node.side == "="), node.side == "+")
    style = STYLES["output" if node.output else node.kind]
    return Look(style.fill, style.line, dashed, node.output)


def edge_look(edge: Edge) -> Line:
    """The line of an arrow; an arrow of attention is the wider and darker, the more it carries."""
    if edge.side in ("-", "+"):
        return Line(SIDES[edge.side].line, 1.8 if edge.side == "+" else 1.1, "dashed" if edge.side == "-" else "")
    if edge.weight is not None:
        grey = round(215 - 190 * edge.weight)
        return Line("#" + f"{grey:02X}" * 3, round(0.7 + 3.3 * edge.weight, 2))
    return Line(EDGE.line, 1.1, "dashed" if edge.cut else "")


def part_look(part: Part) -> Look:
    """The colours and the outline of a frame."""
    style = PARTS[part.kind]
    if part.side:  # fills are left to the boxes
        return Look(PARTS["module"].fill, SIDES[part.side].line, part.side == "-", part.side == "+")
    return Look(style.fill, style.line, "dashed" in style.style)


def lines(node: Node) -> list[str]:
    """What is written in a box: its label, its shape, and its dtype where that is not float32."""
    shown = [node.label or " "]
    if node.kind == "fold" or is_round(node):
        return shown
    about = names.shape(node.shape) if node.shape is not None else ""
    if node.dtype and node.dtype != "float32":
        about = f"{about} {node.dtype}".strip()
    return [*shown, about] if about else shown


def is_round(node: Node) -> bool:
    """Whether a box is a small circle: +, −, × of two values, whose shape the next box shows."""
    return node.kind == "op" and not node.output and node.label in ("+", "−", "×", "÷", "⊙")


def text_width(text: str, size: float) -> float:
    """The width of text in points, in a wide font: what is there may be Helvetica, Arial or DejaVu Sans."""
    total = 0.0
    for c in text:
        if unicodedata.combining(c):
            continue
        if c in "ijl.,:;'|!()[]{} ·":
            total += 0.38
        elif c in "mwMW@⊙—…%" or unicodedata.east_asian_width(c) in "WF":
            total += 1.0
        elif c in "ftr" or "ₐ" <= c <= "ₜ" or "₀" <= c <= "₎":
            total += 0.42
        else:
            total += 0.75 if c.isupper() else 0.62
    return total * size


def node_size(node: Node) -> tuple[float, float]:
    """Width and height in inches. Fixed here, because renderers measure the same text differently."""
    if is_round(node):
        return 0.4, 0.4
    shown = lines(node)
    wide = max(text_width(line, SIZES.shape * 1.2 if k else SIZES.label) for k, line in enumerate(shown))
    across = 1.2 if STYLES[node.kind].shape == "ellipse" else 1.0  # an ellipse is narrow where the second line stands
    return round(max(0.6, (wide * across + 14) / 72), 2), 0.36 if len(shown) == 1 else 0.54
