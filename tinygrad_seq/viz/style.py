"""How boxes look: soft fills told apart by colour-blind eyes, and shapes that tell them apart in grey."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from . import names
from .symbols import text_width
from .value import Edge, Graph, Node, Part

FONT = "Helvetica"


class Sizes(NamedTuple):
    """Points."""

    title: int
    part: int
    label: int
    shape: int
    edge: int


SIZES = Sizes(title=16, part=15, label=14, shape=10, edge=11)
LINE = 17.0  # points from one line of a label to the next
WIDEST = 260.0  # points of a line: wider equations are broken


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
    dash: str = ""  # "dashed", "dotted"


EDGE = EdgeStyle("#555555", "#333333")
STYLES = {
    "parameter": Style("#FCE3BF", "#8A5A00", "box", "filled"),
    "input": Style("#E6E6E6", "#4D4D4D", "ellipse", "filled"),
    "op": Style("#FFFFFF", "#33658A", "box", "rounded,filled"),
    "fused": Style("#D6E8F7", "#0B4F80", "box", "rounded,filled", True),
    "fold": Style("#F7F7F7", "#777777", "box", "rounded,filled,dashed"),
    "outside": Style("#FFFFFF", "#777777", "ellipse", "filled,dashed"),
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
    "derivative": Style("#F7F1FA", "#7A4E96", style="rounded,filled"),
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


def edge_look(edge: Edge, scale: Scale | None = None) -> Line:
    """The line of an arrow: by its gradient where the picture has a scale of them; an arrow of attention is the wider
    and darker, the more it carries."""
    if scale is not None:
        line = scale.line(edge.gradient)
        return line._replace(dash="dashed") if edge.cut else line
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


def lines(node: Node) -> tuple[list[str], str]:
    """What is written in a box: the lines of its label; and its shape, its dtype where that is not float32, its device
    where that is not the CPU, and how many boxes are folded in it."""
    label = wrapped(node.label or " ")
    if is_round(node) or node.label.startswith("…") or node.row is not None and node.kind == "fold":
        return label, ""  # … 46 steps … says itself what it stands for
    about = [names.shape(node.shape)] if node.shape is not None else []
    about += [node.dtype] if node.dtype and node.dtype != "float32" else []
    about += [node.device] if node.device not in ("", "cpu") else []
    folded = names.boxes(node.count) if node.kind == "fold" else ""
    return label, " · ".join(text for text in (" ".join(about), folded) if text)


def wrapped(label: str) -> list[str]:
    """A label on lines of about equal width, broken before +, −, ⊙ and /, where it is an equation that is wide."""
    wide = text_width(label, SIZES.label)
    most = 1.1 * wide / math.ceil(wide / WIDEST)
    found: list[str] = []
    for piece in re.split(r" (?=[+−⊙/-] )", label):
        longer = f"{found[-1]} {piece}" if found else piece
        if found and text_width(longer, SIZES.label) > most:
            found.append(piece)
        else:
            found[-1:] = [longer]
    return found


def is_round(node: Node) -> bool:
    """Whether a box is a small circle: +, −, × of two values, whose shape the next box shows."""
    return node.kind == "op" and not node.output and node.label in ("+", "−", "×", "÷", "⊙")


def node_size(node: Node) -> tuple[float, float]:
    """Width and height in inches. Fixed here, because renderers measure the same text differently."""
    if is_round(node):
        return 0.4, 0.4
    label, about = lines(node)
    wide = max([text_width(line, SIZES.label) for line in label] + [text_width(about, SIZES.shape * 1.2)])
    across = 1.2 if STYLES[node.kind].shape == "ellipse" else 1.0  # an ellipse is narrow where the second line stands
    high = (0.54 if about else 0.36) + (len(label) - 1) * LINE / 72
    return round(max(0.6, (wide * across + 14) / 72), 2), round(high, 2)


# -- gradients: arrows grow and darken with ‖∂L/∂·‖, so that they can be told apart in grey, too

RAMP = ("#B9DDA0", "#2A93B0", "#14296B")  # from the smallest to the largest
WIDTHS = (0.9, 4.6)
NOT_COMPUTED = Line("#BDBDBD", 0.8)
ZERO = Line("#8C8C8C", 0.8, "dotted")
NOT_FINITE = Line("#D5420A", 3.0, "dashed")


class Scale(NamedTuple):
    """The norms of a picture's gradients on a log scale, between two powers of ten."""

    low: int  # exponents
    high: int
    has: frozenset[Line]  # which lines there are off the scale

    def line(self, norm: float | None) -> Line:
        """How an arrow is drawn that carries a gradient of this norm.

        >>> scale = Scale(-6, -2, frozenset())
        >>> [scale.line(norm).width for norm in (1e-6, 1e-4, 1e-2)]
        [0.9, 2.75, 4.6]
        """
        if norm is None:
            return NOT_COMPUTED
        if not math.isfinite(norm):
            return NOT_FINITE
        if norm == 0:
            return ZERO
        return self.at((math.log10(norm) - self.low) / (self.high - self.low))

    def at(self, where: float) -> Line:
        """The line at a place on the scale, from 0 to 1."""
        k, part = divmod(min(where * (len(RAMP) - 1), len(RAMP) - 1 - 1e-9), 1)
        ends = [[int(color[c : c + 2], 16) for c in (1, 3, 5)] for color in RAMP[int(k) : int(k) + 2]]
        mixed = (round(a + (b - a) * part) for a, b in zip(*ends, strict=True))
        return Line("#" + "".join(f"{c:02X}" for c in mixed), round(WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * where, 2))

    @property
    def ticks(self) -> list[tuple[float, int]]:
        """Where the scale has a number, and the exponent of it: at its ends and near its middle."""
        powers = sorted({self.low, (self.low + self.high) // 2, self.high})
        return [((power - self.low) / (self.high - self.low), power) for power in powers]

    @property
    def others(self) -> list[tuple[Line, str]]:
        """The lines off the scale that the picture has, with what they mean."""
        words = {ZERO: "0", NOT_FINITE: "inf or NaN", NOT_COMPUTED: "not computed"}
        return [(line, text) for line, text in words.items() if line in self.has]

    @property
    def words(self) -> str:
        """The legend as one line of text."""
        ticks = [f"1e{power}".replace("-", "−") for _, power in self.ticks]
        ends = [f"{ticks[0]} (thin, pale)", *ticks[1:-1], f"{ticks[-1]} (wide, dark)"]
        looks = {ZERO: "dotted", NOT_FINITE: "dashed", NOT_COMPUTED: "grey"}
        return "; ".join([f"{NORM}: {' … '.join(ends)}", *(f"{looks[line]}: {text}" for line, text in self.others)])


NORM = "‖∂L/∂·‖"


def gradient_scale(graph: Graph) -> Scale | None:
    """The scale of a picture's gradients; None where none was computed."""
    norms = [edge.gradient for edge in graph.edges]
    if all(norm is None for norm in norms):
        return None
    powers = [math.log10(norm) for norm in norms if norm and math.isfinite(norm)]
    low, high = math.floor(min(powers, default=0.0)), math.ceil(max(powers, default=0.0))
    wide = Scale(low, max(high, low + 1), frozenset())
    lines = {wide.line(norm) for norm in norms}
    return wide._replace(has=frozenset(lines & {ZERO, NOT_FINITE, NOT_COMPUTED}))
