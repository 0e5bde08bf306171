"""A picture as DOT text: deterministic, edges last and outside of the frames, every label quoted."""

from __future__ import annotations

from itertools import pairwise

from . import names
from .style import (
    EDGE,
    FONT,
    NORM,
    SIZES,
    STYLES,
    Scale,
    edge_look,
    gradient_scale,
    is_round,
    lines,
    look,
    node_size,
    part_look,
)
from .value import Edge, Graph, Node, Summary, outline

CUT = "//"  # two short strokes


def dot(graph: Graph, drawing: bool = True) -> str:
    """The DOT text of a picture: to be drawn by Graphviz, or to be laid out and drawn by us."""
    out = [
        "digraph {",
        f'  graph [fontname="{FONT}", fontsize={SIZES.title}, nodesep=0.25, '
        + ("ranksep=0.5, rankdir=LR" if is_grid(graph) else "ranksep=0.35")
        + ", pad=0.1, labelloc=t"
        + (_heading(graph) if drawing else "")
        + "]",
        f'  node [fontname="{FONT}", fontsize={SIZES.label}, fixedsize=true, shape=box]',
        f'  edge [fontname="{FONT}", fontsize={SIZES.edge}, fontcolor="{EDGE.text}", color="{EDGE.line}", '
        "arrowsize=0.6]",
    ]
    for depth, item in outline(graph):
        indent = "  " * (depth + 1)
        if item is None:
            out.append(f"{indent}}}")
        elif isinstance(item, Node):
            out.append(f"{indent}{_node(item)}")
        elif item.kind == "column":
            out += [f"{indent}subgraph column_{item.id} {{", f"{indent}  graph [rank=same]"]
        else:
            frame = part_look(item)
            style = "rounded,filled,dashed" if frame.dashed else "rounded,filled"
            out += [
                f"{indent}subgraph cluster_{item.id} {{",
                f"{indent}  graph [label={quoted(item.label)}, tooltip={quoted(item.note or item.label)}, "
                f'fontsize={SIZES.part}, labeljust=l, style="{style}", color="{frame.line}", '
                f'fillcolor="{frame.fill}", margin=10' + (", penwidth=2.5" if frame.heavy else "") + "]",
            ]
    scale = gradient_scale(graph)
    if is_grid(graph):
        out += _grid_edges(graph, drawing, scale)
    else:
        out += [_edge(edge.source, edge.target, _line(edge, drawing, scale)) for edge in graph.edges]
    return "\n".join([*out, "}"]) + "\n"


def quoted(text: str) -> str:
    r"""A DOT string that shows exactly this text: backslashes and `&` have a meaning there, too.

    >>> print(quoted('a "b" \\N & <b>'))
    "a \"b\" \\N &amp; <b>"
    """
    shown = []
    for c in text.encode("utf-8", "replace").decode("utf-8"):
        if c == "\n":
            shown.append("\\n")
        elif c.isprintable():
            shown.append({'"': '\\"', "\\": "\\\\", "&": "&amp;"}.get(c, c))
        else:
            shown.append(" ")
    # Graphviz reads no piece longer than 16,384 bytes; what stands for a character has at most 5.
    pieces = ["".join(shown[k : k + 3000]) for k in range(0, len(shown), 3000)] or [""]
    return " + ".join(f'"{piece}"' for piece in pieces)


def tooltip(node: Node) -> str:
    """All that is known of a box, one line each."""
    about = [node.label if not node.equation else node.equation]
    about += [node.path] if node.path and node.path != node.label else []
    about += [text for text in (node.source, node.line) if text]
    about += [f"shape {names.shape(node.shape)}"] if node.shape is not None else []
    about += [f"dtype {node.dtype}"] if node.dtype else []
    about += [f"device {node.device}"] if node.device else []
    about += [f"operation {node.op}"] if node.op else []
    about += [f"{names.boxes(node.count)} folded"] if node.kind == "fold" else []
    about += [f"the first of {node.count:,}"] if node.kind != "fold" and node.count > 1 else []
    about += [_statistics(node.value)] if node.value is not None else []
    if node.gradient is not None:
        norm, _, _, least, largest, _ = node.gradient
        about += [f"{NORM} = {names.norm(norm)}, elements from {names.norm(least)} to {names.norm(largest)}"]
    return "\n".join(about)


def _statistics(value: Summary) -> str:
    mean, std, least, largest = (f"{x:.4g}".replace("-", "−") for x in value[1:5])
    numbers = ", ".join(f"{x:.4g}".replace("-", "−") for x in value.numbers)
    spread = f"mean {mean}, deviation {std}, from {least} to {largest}" if len(value.numbers) != 1 else ""
    return "\n".join(text for text in (spread, f"values {numbers}" if numbers else "") if text)


def edge_tooltip(edge: Edge) -> str:
    """What is known of an arrow; empty where it is nothing."""
    norm = f"{edge.label}: {NORM} = {names.norm(edge.gradient)}" if edge.gradient is not None else ""
    alpha = f"α = {edge.weight:.3g}" if edge.weight is not None else ""
    cut = "cut: no gradient comes back" if edge.cut else ""
    return "\n".join(text for text in (norm.removeprefix(": "), alpha, cut) if text)


def _heading(graph: Graph) -> str:
    legend = [f"{side} {words}" for side, words in graph.legend.items()]
    scale = gradient_scale(graph)
    legend += [scale.words] if scale is not None else []
    legend += [f"{CUT if mark == 'cut' else mark}: {words}" for mark, words in graph.marks.items()]
    text = "\n".join(line for line in (graph.title, graph.note, *legend) if line)
    return f", label={quoted(text)}, tooltip={quoted(text)}" if text else ""


def is_grid(graph: Graph) -> bool:
    """Whether time runs from left to right."""
    return any(part.kind == "column" for part in graph.parts)


def is_turned(graph: Graph) -> list[bool]:
    """Which edges of a grid are written from their target to their source: those that go left, and those that go up.

    Graphviz lays a grid out from left to right and, in a column, from top to bottom."""
    columns = {part.id: k for k, part in enumerate(graph.parts)}
    at = {node.id: (columns[node.part or ""], -(node.row or 0)) for node in graph.nodes}
    return [at[edge.source] > at[edge.target] for edge in graph.edges]


def _grid_edges(graph: Graph, drawing: bool, scale: Scale | None) -> list[str]:
    """All arrows, and invisible lines that hold the rows straight and in their order."""
    at: dict[str, dict[int, str]] = {part.id: {} for part in graph.parts}
    for node in graph.nodes:
        at[node.part or ""][node.row or 0] = node.id
    near: dict[tuple[str, str], bool] = {}  # neighbours, and whether on one row
    for column in at.values():
        near |= dict.fromkeys(pairwise(column[row] for row in sorted(column, reverse=True)), False)
    left: dict[int, str] = {}
    for before, column in zip([{}, *at.values()], at.values(), strict=False):
        near |= {(left[row], name): True for row, name in column.items() if row in left}
        if before and not before.keys() & column.keys():  # what stands on no common row is still one right of the other
            near[before[min(before)], column[min(column)]] = False
        left |= column
    rows = {node.id: node.row for node in graph.nodes}
    out, drawn = [], set()
    for edge, turned in zip(graph.edges, is_turned(graph), strict=True):
        if edge.weight is not None and not drawing:
            continue  # an arc over everything: we draw it where it needs no room
        tail, head = (edge.target, edge.source) if turned else (edge.source, edge.target)
        more = _line(edge, drawing, scale)
        more += ["dir=back"] if turned else []
        more += ["tailport=e", "headport=e"] if tail == head else []  # beside the box, for arrows go up from it
        if rows[tail] == rows[head]:  # others give way to what stands between
            more += ["weight=20" if (tail, head) in near and (tail, head) not in drawn else "weight=0"]
        drawn.add((tail, head))
        out.append(_edge(tail, head, more))
    return out + [f"  {a} -> {b} [style=invis, weight=20]" for a, b in near if (a, b) not in drawn]


def _node(node: Node) -> str:
    style = STYLES[node.kind]
    width, height = node_size(node)
    label, about = lines(node)
    more = ", peripheries=2" if style.double else ""
    drawn = look(node)
    corners = [word for word in style.style.split(",") if word != "dashed"] + ["dashed"] * drawn.dashed
    shape = "circle" if is_round(node) else style.shape
    group = f", group=row{node.row}" if node.row is not None else ""
    text = "\n".join([*label, about] if about else label)
    return (
        f"{node.id} [label={quoted(text)}, tooltip={quoted(tooltip(node))}, "
        f'shape={shape}, style="{",".join(corners)}", fillcolor="{drawn.fill}", color="{drawn.line}", '
        f"penwidth={2.5 if drawn.heavy else 1:g}, "
        f"width={width:g}, height={height:g}{more}{group}]"
    )


def _line(edge: Edge, drawing: bool, scale: Scale | None) -> list[str]:
    """What is written and drawn along an arrow."""
    label = f"{edge.label} {CUT}".strip() if edge.cut and drawing else edge.label
    # We draw labels on white, and a little away from the line.
    more = [f"label={quoted(label if drawing else f' {label} ')}"] if label else []
    line = edge_look(edge, scale)
    coloured = edge.side in ("-", "+") or edge.weight is not None or scale is not None
    more += [f'color="{line.color}"'] if coloured else []
    more += [f"style={line.dash}"] if line.dash else []
    if scale is not None:  # wide arrows have long heads
        more += [f"penwidth={line.width:g}", f"arrowsize={0.5 + 0.1 * line.width:g}"]
        tip = quoted(edge_tooltip(edge) or f"{NORM} not computed")
        more += [f"tooltip={tip}, labeltooltip={tip}"] if drawing else []
    elif edge.side == "+":
        more += ["penwidth=2"]
    elif edge.weight is not None:
        more += [f"penwidth={line.width:g}", f"tooltip={quoted(edge_tooltip(edge))}"]
    return more


def _edge(tail: str, head: str, more: list[str]) -> str:
    return f"  {tail} -> {head}" + (f" [{', '.join(more)}]" if more else "")
