"""Where everything stands: Graphviz decides, and we draw. Its own drawing differs between its versions and fonts."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from . import render
from .dot import dot, is_grid, is_turned
from .value import Graph

Point = tuple[float, float]  # points, y downwards


class Box(NamedTuple):
    """Centre, width and height."""

    x: float
    y: float
    width: float
    height: float


class Curve(NamedTuple):
    """Bézier curves end to end: 1 + 3 n points, and where the arrow's head ends."""

    points: list[Point]
    head: Point | None


class Layout(NamedTuple):
    """The places of a picture's nodes, parts and edges (by their order), in points."""

    width: float
    height: float
    nodes: dict[str, Box]
    parts: dict[str, Box]
    edges: list[tuple[list[Curve], Point | None]]  # curves, and the middle of the label


def layout(graph: Graph) -> Layout:
    """Let Graphviz place everything.

    Raises:
        RenderError: where no Graphviz is found, or it fails.
    """
    if not graph.nodes:
        return Layout(0, 0, {}, {}, [])
    try:
        found = json.loads(render.run(dot(graph, drawing=False), "json0"))
        return _read(found, graph)
    except (KeyError, ValueError, IndexError) as error:
        raise render.RenderError(f"Graphviz answered with something else than a layout: {error!r}") from error


def _read(found: dict[str, Any], graph: Graph) -> Layout:
    left, bottom, right, top = map(float, found["bb"].split(","))

    def point(text: str) -> Point:
        x, y = text.split(",")[:2]
        return float(x) - left, top - float(y)

    nodes, parts, names = {}, {}, {}
    for thing in found.get("objects", []):
        name = thing["name"]
        if "bb" in thing:
            x0, y0, x1, y1 = map(float, thing["bb"].split(","))
            box = Box((x0 + x1) / 2 - left, top - (y0 + y1) / 2, x1 - x0, y1 - y0)
            parts[name.removeprefix("cluster_")] = box
        elif "pos" in thing:  # not a column of a grid
            names[thing["_gvid"]] = name
            nodes[name] = Box(*point(thing["pos"]), float(thing["width"]) * 72, float(thing["height"]) * 72)
    # Edges are found by their ends; those between the same two nodes stand in the order of the text.
    waiting: dict[tuple[str, str], list[Any]] = {}
    for edge in sorted(found.get("edges", []), key=lambda edge: edge["_gvid"]):
        waiting.setdefault((names[edge["tail"]], names[edge["head"]]), []).append(edge)
    edges: list[tuple[list[Curve], Point | None]] = []
    passing = is_grid(graph) and _passing(graph)
    turned = is_turned(graph) if is_grid(graph) else [False] * len(graph.edges)
    for wanted, back in zip(graph.edges, turned, strict=True):
        if is_grid(graph) and wanted.weight is not None:
            arc = _arc(nodes, nodes[wanted.source], nodes[wanted.target])
            edges.append(([arc], _at(arc, 0.5) if wanted.label else None))
            continue
        ends = (wanted.target, wanted.source) if back else (wanted.source, wanted.target)
        edge = waiting[ends].pop(0)
        curves = []
        for spline in edge["pos"].split(";"):
            head, points = None, []
            for word in spline.split():
                if word[:2] in ("e,", "s,"):  # the head of an arrow that is written backwards is its start
                    head = point(word[2:])
                else:
                    points.append(point(word))
            curves.append(Curve(points[::-1] if back else points, head))
        edges.append((curves, point(edge["lp"]) if "lp" in edge else None))
    if passing:
        edges = [
            (curves, at if at is None or edge.source == edge.target else _aside(curves, at))
            for edge, (curves, at) in zip(graph.edges, edges, strict=True)
        ]
    return _with_room(Layout(right - left, top - bottom, nodes, parts, edges))


def _arc(nodes: dict[str, Box], a: Box, b: Box) -> Curve:
    """An arrow of attention: up from one box, over all that stands between, and down left of the column of the other,
    so that nothing is crossed. What goes farther goes higher."""
    x, y = a.x, a.y - a.height / 2
    end_x, end_y = b.x - b.width / 2 - 4, b.y - b.height / 4 - 4
    between = [box.y - box.height / 2 for box in nodes.values() if a.x - 1 < box.x < b.x + 1]
    apex = min([y, end_y, *between]) - 8 - 0.09 * abs(end_x - x)
    high = (8 * apex - y - end_y) / 6  # a Bézier curve reaches three quarters of the way to its control points
    return Curve([(x, y), (x + 12, high), (end_x - 12, high), (end_x, end_y)], (end_x + 4, end_y + 4))


def _at(curve: Curve, t: float) -> Point:
    """Where a single Bézier curve is at t, from 0 to 1."""
    r = 1 - t
    x, y = (
        r**3 * a + 3 * r * r * t * b + 3 * r * t * t * c + t**3 * d for a, b, c, d in zip(*curve.points, strict=True)
    )
    return x, y


def _with_room(placed: Layout) -> Layout:
    """The same, moved down where arcs reach above the rest."""
    single = [curve for curves, _ in placed.edges for curve in curves if len(curve.points) == 4]
    down = max(0.0, 6 - min((_at(curve, k / 20)[1] for curve in single for k in range(21)), default=6))
    if not down:
        return placed
    nodes = {name: box._replace(y=box.y + down) for name, box in placed.nodes.items()}
    parts = {name: box._replace(y=box.y + down) for name, box in placed.parts.items()}

    def moved(p: Point | None) -> Any:
        return None if p is None else (p[0], p[1] + down)

    edges = [
        ([Curve([moved(p) for p in curve.points], moved(curve.head)) for curve in curves], moved(at))
        for curves, at in placed.edges
    ]
    return Layout(placed.width, placed.height + down, nodes, parts, edges)


def _passing(graph: Graph) -> bool:
    """Whether arrows of a grid pass by a box of their own column: they swing through the middle between two columns."""
    nodes = {node.id: node for node in graph.nodes}
    ends = [(nodes[edge.source], nodes[edge.target]) for edge in graph.edges]
    return any(a.part == b.part and abs((a.row or 0) - (b.row or 0)) > 1 for a, b in ends)


def _aside(curves: list[Curve], label: Point) -> Point:
    """A label's place out of the middle between two columns."""
    across = [x for curve in curves for x, _ in [*curve.points, curve.head or curve.points[0]]]
    return min(across) + 0.22 * (max(across) - min(across)), label[1]
