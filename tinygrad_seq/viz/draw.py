"""A picture drawn: the same shapes as SVG text, and by matplotlib as PNG and PDF."""

from __future__ import annotations

import html
import math
import warnings
from typing import Any, NamedTuple

from . import render
from .dot import dot, edge_tooltip, tooltip
from .layout import Box, Curve, Point, layout
from .style import (
    EDGE,
    LINE,
    NORM,
    SIDES,
    SIZES,
    STYLES,
    Line,
    Scale,
    edge_look,
    gradient_scale,
    is_round,
    lines,
    look,
    node_size,
    part_look,
)
from .symbols import SMALL, runs, text_width
from .value import Edge, Graph, Node

MARGIN = 8.0
SWATCH = 26.0  # the width of a box in the legend
BAR = 150.0  # and of a scale
ARROWS = 110.0  # and of the arrows in it
FAMILY = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
NARROW = 0.93  # DejaVu Sans is wider than the fonts that a browser takes: matplotlib draws it a little smaller


class Shape(NamedTuple):
    """A closed outline or an open line: straight pieces and Bézier curves."""

    path: list[tuple[str, list[Point]]]  # SVG's letters: M, L, C, Z
    fill: str = "none"
    line: str = "none"
    width: float = 1.0
    dash: str = ""  # a key of DASHES


# On and off, in points.
DASHES = {"dashed": (5.0, 3.0), "dotted": (1.0, 2.5)}


class Words(NamedTuple):
    """Text on one line; x is its middle or, with anchor "start", its beginning; y its base."""

    x: float
    y: float
    text: str
    size: float
    color: str
    anchor: str = "middle"
    bold: bool = False
    halo: bool = False  # a white rim, for text that lies on lines


class Group(NamedTuple):
    """What belongs to one node, edge or part."""

    kind: str
    id: str
    title: str
    items: list[Shape | Words]


class Scene(NamedTuple):
    width: float
    height: float
    groups: list[Group]


def svg(graph: Graph) -> str:
    """The picture as SVG text, with a title and a description for those who cannot see it."""
    drawn = scene(graph)
    title = graph.title or "Computation graph"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_f(drawn.width)}pt" '
        f'height="{_f(drawn.height)}pt" viewBox="0 0 {_f(drawn.width)} {_f(drawn.height)}" font-family="{FAMILY}">',
        f"<title>{_escape(title)}</title>",
        f"<desc>{_escape(graph.text())}</desc>",
        f'<rect width="{_f(drawn.width)}" height="{_f(drawn.height)}" fill="#FFFFFF"/>',
    ]
    for group in drawn.groups:
        out.append(f'<g class="{group.kind}" id="{group.id}">')
        if group.title:
            out.append(f"<title>{_escape(group.title)}</title>")
        out += [_svg_shape(item) if isinstance(item, Shape) else _svg_words(item) for item in group.items]
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def paint(graph: Graph, form: str) -> bytes:
    """The picture as PNG or PDF: by matplotlib, which has every sign we use; without it, by Graphviz."""
    try:
        from .plots import new_figure

        figure = new_figure(1, 1)
    except ImportError:
        if form == "pdf" and render.find().pure:
            raise render.RenderError(
                "graphviz-pure draws no PDF: install matplotlib (pip install 'tinygrad-seq[viz]') or Graphviz itself"
            ) from None
        return render.run(dot(graph), form, None, "-Gdpi=144")
    return _paint(scene(graph), figure, form)


# -- what is drawn


def scene(graph: Graph) -> Scene:
    """Everything in the picture, from back to front."""
    place = layout(graph)
    heading = [(graph.title, SIZES.title, "#1A1A1A")] if graph.title else []
    heading += [(graph.note, SIZES.edge, "#555555")] if graph.note else []
    legend_width = max((text_width(text, SIZES.label) for text in graph.legend.values()), default=0.0) + SWATCH + 8
    scale = gradient_scale(graph)
    bar, bar_width = _scale(scale) if scale is not None else ([], 0.0)
    marks = {mark: f"{mark}: {words}" for mark, words in graph.marks.items()}
    marks_width = max((text_width(text, SIZES.label * 0.85) for text in marks.values()), default=0.0) + ARROWS + 8
    widths = [place.width, legend_width, bar_width, marks_width if marks else 0.0]
    wide = max([*widths, *(text_width(text, size) for text, size, _ in heading)]) + 2 * MARGIN
    groups: list[Group] = []
    y = MARGIN
    words: list[Shape | Words] = []
    for text, size, color in heading:
        y += size * 1.25
        words.append(Words(wide / 2, y - size * 0.2, text, size, color))
    for side, text in graph.legend.items():
        y += SIZES.label * 1.5
        left = (wide - legend_width) / 2
        words.append(_swatch(Box(left + SWATCH / 2, y - 7, SWATCH, 12), side))
        words.append(Words(left + SWATCH + 8, y - 3, text, SIZES.label * 0.85, SIDES[side].line, "start"))
    if bar:
        words += [_moved(item, (wide - bar_width) / 2, y) for item in bar]
        y += SIZES.label * 2.2
    for mark, text in marks.items():
        y += SIZES.label * 1.5
        left = (wide - marks_width) / 2
        words += _mark(mark, left, y - 7)
        words.append(Words(left + ARROWS + 8, y - 3, text, SIZES.label * 0.85, EDGE.text, "start"))
    if words:
        groups.append(Group("heading", "heading", "", words))
        y += 6
    dx, dy = (wide - place.width) / 2, y

    def moved(p: Point) -> Point:
        return p[0] + dx, p[1] + dy

    def moved_box(box: Box) -> Box:
        return Box(box.x + dx, box.y + dy, box.width, box.height)

    front: list[Shape | Words] = []  # what no line may cross
    for part in graph.parts:
        if part.kind == "column":
            continue
        box, style = moved_box(place.parts[part.id]), part_look(part)
        # Smaller than the room that it was given: it is bold, and its font may be wider than Graphviz thought.
        corner = (box.x - box.width / 2 + 9, box.y - box.height / 2 + 18)
        front.append(Words(*corner, part.label, SIZES.part * 0.8, "#444444", "start", True, True))
        frame = _rectangle(box, 8, style.fill, style.line, 2.0 if style.heavy else 1.0, style.dashed)
        groups.append(Group("part", part.id, part.note or part.label, [frame]))
    for k, (edge, (curves, _)) in enumerate(zip(graph.edges, place.edges, strict=True)):
        items: list[Shape | Words] = []
        for curve in curves:
            whole = Curve([moved(p) for p in curve.points], curve.head and moved(curve.head))
            items += _arrow(whole, edge_look(edge, scale))
            items += _strokes(whole) if edge.cut else []
        groups.append(Group("edge", f"e{k}", edge_tooltip(edge), items))
    for node in graph.nodes:
        groups.append(Group("node", node.id, tooltip(node), _box(node, moved_box(place.nodes[node.id]))))
    for edge, (_, at) in zip(graph.edges, place.edges, strict=True):
        if at is not None and edge.label:
            x, low = moved(at)
            front.append(Words(x, low + SIZES.edge * 0.35, edge.label, SIZES.edge, EDGE.text, halo=True))
    if front:
        groups.append(Group("labels", "labels", "", front))
    return Scene(wide, place.height + y + MARGIN, groups)


def _box(node: Node, box: Box) -> list[Shape | Words]:
    style = STYLES[node.kind]
    fill, line, dashed, heavy = look(node)
    pen = 2.4 if heavy else 1.2
    corner = 9.0 if "rounded" in style.style else 0.0
    items: list[Shape | Words] = []
    box = Box(box.x, box.y, *(72 * size for size in node_size(node)))  # Graphviz counts the second border in
    if style.double:
        outer = Box(box.x, box.y, box.width + 8, box.height + 8)
        items.append(_rectangle(outer, corner + 3, "#FFFFFF", line, pen))
    if style.shape == "ellipse" or is_round(node):
        items.append(_ellipse(box, fill, line, pen, dashed))
    else:
        items.append(_rectangle(box, corner, fill, line, pen, dashed))
    label, about = lines(node)
    more = (len(label) - 1) * LINE / 2
    base = box.y - more + (-1.5 if about else SIZES.label * 0.35)
    items += [Words(box.x, base + k * LINE, text, SIZES.label, "#111111") for k, text in enumerate(label)]
    if about:
        items.append(Words(box.x, box.y + more + 12, about, SIZES.shape, "#4A4A4A"))
    return items


def _rectangle(box: Box, r: float, fill: str, line: str, width: float, dashed: bool = False) -> Shape:
    x0, y0, x1, y1 = (
        box.x - box.width / 2, box.y - box.height / 2, box.x + box.width / 2, box.y + box.height / 2,
    )  # fmt: skip
    if not r:
        path = [("M", [(x0, y0)]), ("L", [(x1, y0)]), ("L", [(x1, y1)]), ("L", [(x0, y1)]), ("Z", [])]
        return Shape(path, fill, line, width, "dashed" * dashed)
    k = r * 0.45  # how far a quarter of a circle's control points stand from its corner
    path = [
        ("M", [(x0 + r, y0)]), ("L", [(x1 - r, y0)]), ("C", [(x1 - k, y0), (x1, y0 + k), (x1, y0 + r)]),
        ("L", [(x1, y1 - r)]), ("C", [(x1, y1 - k), (x1 - k, y1), (x1 - r, y1)]),
        ("L", [(x0 + r, y1)]), ("C", [(x0 + k, y1), (x0, y1 - k), (x0, y1 - r)]),
        ("L", [(x0, y0 + r)]), ("C", [(x0, y0 + k), (x0 + k, y0), (x0 + r, y0)]), ("Z", []),
    ]  # fmt: skip
    return Shape(path, fill, line, width, "dashed" * dashed)


def _ellipse(box: Box, fill: str, line: str, width: float, dashed: bool) -> Shape:
    x, y, a, b = box.x, box.y, box.width / 2, box.height / 2
    p, q = a * 0.5523, b * 0.5523
    path = [
        ("M", [(x - a, y)]), ("C", [(x - a, y - q), (x - p, y - b), (x, y - b)]),
        ("C", [(x + p, y - b), (x + a, y - q), (x + a, y)]), ("C", [(x + a, y + q), (x + p, y + b), (x, y + b)]),
        ("C", [(x - p, y + b), (x - a, y + q), (x - a, y)]), ("Z", []),
    ]  # fmt: skip
    return Shape(path, fill, line, width, "dashed" * dashed)


def _swatch(box: Box, side: str) -> Shape:
    """A small box of the legend."""
    fill, line, dashed, heavy = look(Node("", "op", "", side=side))
    return _rectangle(box, 3, fill, line, 2.4 if heavy else 1.2, dashed)


def _scale(scale: Scale) -> tuple[list[Shape | Words], float]:
    """The legend of gradients, on one line, and its width: the scale, then what is off it."""
    size = SIZES.label * 0.85
    x, middle, low = text_width(NORM, size) + 8, 9.0, 27.0
    items: list[Shape | Words] = [Words(0, middle + size * 0.35, NORM, size, EDGE.text, "start")]
    pieces = 30
    for k in range(pieces):
        line = scale.at((k + 0.5) / pieces)
        left, right = x + BAR * k / pieces, x + BAR * (k + 1) / pieces
        # Twice as wide as the arrows, and a little over its neighbour, so that no gap shows.
        edges = [(left, middle - line.width), (right + 0.3, middle - line.width)]
        edges += [(px, 2 * middle - py) for px, py in reversed(edges)]
        path = [("M", edges[:1]), *(("L", [corner]) for corner in edges[1:]), ("Z", [])]
        items.append(Shape(path, line.color))
    for where, power in scale.ticks:
        items.append(Words(x + BAR * where, low, f"10^{{{power}}}", size * 0.85, EDGE.text))
    x += BAR + 24
    for line, text in scale.others:
        items.append(Shape([("M", [(x, middle)]), ("L", [(x + SWATCH, middle)])], "none", *line))
        items.append(Words(x + SWATCH + 6, middle + size * 0.35, text, size, EDGE.text, "start"))
        x += SWATCH + 6 + text_width(text, size) + 16
    return items, x - 10


def _moved(item: Shape | Words, dx: float, dy: float) -> Shape | Words:
    if isinstance(item, Words):
        return item._replace(x=item.x + dx, y=item.y + dy)
    return item._replace(path=[(letter, [(x + dx, y + dy) for x, y in points]) for letter, points in item.path])


def _mark(mark: str, left: float, y: float) -> list[Shape | Words]:
    """The arrows that a line of the legend explains."""
    looks = [Edge("", "", cut=True)] if mark == "cut" else [Edge("", "", weight=alpha) for alpha in (0.0, 0.5, 1.0)]
    wide = ARROWS / len(looks)
    items: list[Shape | Words] = []
    for k, edge in enumerate(looks):
        x = left + k * wide
        end = x + wide - 14
        curve = Curve([(x + (end - x) * n / 3, y) for n in range(4)], (end + 6, y))
        items += _arrow(curve, edge_look(edge)) + (_strokes(curve) if edge.cut else [])
    return items


def _strokes(curve: Curve) -> list[Shape | Words]:
    """Two short strokes across an arrow, behind its label."""
    pieces = (len(curve.points) - 1) // 3
    k, t = divmod(0.75 * pieces, 1)
    p = curve.points[3 * int(k) :][:4]
    x, y = (_bezier([point[axis] for point in p], t) for axis in (0, 1))
    nearly = _bezier([point[0] for point in p], t + 0.01), _bezier([point[1] for point in p], t + 0.01)
    dx, dy = nearly[0] - x, nearly[1] - y
    length = math.hypot(dx, dy) or 1.0
    dx, dy = dx / length, dy / length
    items: list[Shape | Words] = []
    for at in (-2.0, 2.0):  # slanted, as in //
        px, py = x + at * dx, y + at * dy
        ends = [(px + side * (2 * dx - 6 * dy), py + side * (2 * dy + 6 * dx)) for side in (-1, 1)]
        items.append(Shape([("M", ends[:1]), ("L", ends[1:])], "none", EDGE.line, 1.5))
    return items


def _bezier(p: list[float], t: float) -> float:
    """Where a Bézier curve is at t, on one axis."""
    s = 1 - t
    return s**3 * p[0] + 3 * s * s * t * p[1] + 3 * s * t * t * p[2] + t**3 * p[3]


def _arrow(curve: Curve, style: Line) -> list[Shape | Words]:
    points = curve.points
    path = [("M", points[:1])] + [("C", points[k : k + 3]) for k in range(1, len(points) - 2, 3)]
    items: list[Shape | Words] = [Shape(path, "none", *style)]
    if curve.head is not None:
        (x, y), (hx, hy) = points[-1], curve.head
        length = math.hypot(hx - x, hy - y) or 1.0
        half = max(2.6, 1.2 * style.width + 0.8)
        nx, ny = (y - hy) / length * half, (hx - x) / length * half
        items.append(
            Shape(
                [("M", [(hx, hy)]), ("L", [(x + nx, y + ny)]), ("L", [(x - nx, y - ny)]), ("Z", [])],
                style.color,
                style.color,
                0.6,
            )
        )
    return items


# -- SVG


def _f(x: float) -> str:
    return f"{x:.2f}".rstrip("0").rstrip(".")


def _escape(text: str) -> str:
    safe = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return html.escape(safe, quote=False)


def _svg_shape(shape: Shape) -> str:
    path = "".join(letter + " ".join(f"{_f(x)},{_f(y)}" for x, y in points) for letter, points in shape.path)
    dashes = f' stroke-dasharray="{" ".join(map(_f, DASHES[shape.dash]))}"' if shape.dash else ""
    return (
        f'<path d="{path}" fill="{shape.fill}" stroke="{shape.line}" stroke-width="{_f(shape.width)}" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def _svg_words(words: Words) -> str:
    inside = []
    at = 0.0  # how far below the line we are
    for text, low in runs(words.text):
        small = f' font-size="{_f(words.size * SMALL)}"' if low else ""
        shift = f' dy="{_f((low - at) * words.size)}"' if low != at else ""
        inside.append(f"<tspan{shift}{small}>{_escape(text)}</tspan>" if shift or small else _escape(text))
        at = low
    more = f' text-anchor="{words.anchor}"' if words.anchor != "start" else ""
    more += ' font-weight="600"' if words.bold else ""
    more += ' stroke="#FFFFFF" stroke-width="3" stroke-linejoin="round" paint-order="stroke"' if words.halo else ""
    return (
        f'<text x="{_f(words.x)}" y="{_f(words.y)}" font-size="{_f(words.size)}" fill="{words.color}"'
        f' xml:space="preserve"{more}>{"".join(inside)}</text>'
    )


# -- matplotlib


def _paint(drawn: Scene, figure: Any, form: str) -> bytes:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath, text_to_path

    from .plots import figure_bytes

    figure.set_layout_engine("none")
    figure.set_size_inches(drawn.width / 72, drawn.height / 72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawn.width)
    axes.set_ylim(drawn.height, 0)
    axes.axis("off")
    codes = {"M": Path.MOVETO, "L": Path.LINETO, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}
    fonts = {bold: FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal") for bold in (False, True)}

    def add(path: Any, **style: Any) -> None:
        axes.add_patch(PathPatch(path, clip_on=False, capstyle="butt", joinstyle="round", **style))

    def shape(item: Shape) -> None:
        points, kinds = [], []
        for letter, stops in item.path:
            points += stops or [(0.0, 0.0)]
            kinds += [codes[letter]] * max(1, len(stops))
        # matplotlib counts in widths of the line
        dashes = (0, tuple(n / max(1.0, item.width) for n in DASHES[item.dash])) if item.dash else "solid"
        add(Path(points, kinds), facecolor=item.fill, edgecolor=item.line, linewidth=item.width, linestyle=dashes)

    def width_of(text: str, size: float, font: Any) -> float:
        # A space at the end counts for nothing: measured between two letters.
        both = text_to_path.get_text_width_height_descent(f"|{text}|", font, False)[0]
        ends = text_to_path.get_text_width_height_descent("||", font, False)[0]
        return (both - ends) * size / text_to_path.FONT_SCALE

    def words(item: Words) -> None:
        font = fonts[item.bold]
        font.set_size(text_to_path.FONT_SCALE)
        pieces = [(text, item.size * (SMALL if low else 1), low) for text, low in runs(item.text)]
        widths = [width_of(text, size, font) for text, size, _ in pieces]
        x = item.x - sum(widths) * NARROW / 2 if item.anchor == "middle" else item.x
        for (text, size, low), wide in zip(pieces, widths, strict=True):
            y = item.y + low * item.size
            path = TextPath((0, 0), text, size=size * NARROW, prop=font, usetex=False)
            if len(path.vertices):
                placed = Path(path.vertices * (1, -1) + (x, y), path.codes)
                if item.halo:
                    add(placed, facecolor="white", edgecolor="white", linewidth=3, snap=False)
                add(placed, facecolor=item.color, edgecolor="none", linewidth=0, snap=False)
            x += wide * NARROW

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that no font has is drawn as an empty box
        for group in drawn.groups:
            for item in group.items:
                (shape if isinstance(item, Shape) else words)(item)  # type: ignore[arg-type]
        return figure_bytes(figure, form, 144)
