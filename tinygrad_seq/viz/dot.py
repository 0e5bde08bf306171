"""A picture as DOT text: deterministic, edges last and outside of the frames, every label quoted."""

from __future__ import annotations

from . import names
from .style import EDGE, FONT, PARTS, SIZES, STYLES, is_round, lines, node_size
from .value import Edge, Graph, Node, outline


def dot(graph: Graph, drawing: bool = True) -> str:
    """The DOT text of a picture: to be drawn by Graphviz, or to be laid out and drawn by us."""
    out = [
        "digraph {",
        f'  graph [fontname="{FONT}", fontsize={SIZES.title}, nodesep=0.25, ranksep=0.35, pad=0.1, labelloc=t'
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
        else:
            style = PARTS[item.kind]
            out += [
                f"{indent}subgraph cluster_{item.id} {{",
                f"{indent}  graph [label={quoted(item.label)}, tooltip={quoted(item.note or item.label)}, "
                f'fontsize={SIZES.part}, labeljust=l, style="{style.style}", color="{style.line}", '
                f'fillcolor="{style.fill}", margin=10]',
            ]
    out += [f"  {_edge(edge, drawing)}" for edge in graph.edges]
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
    return f'"{"".join(shown)}"'


def tooltip(node: Node) -> str:
    """All that is known of a box, one line each."""
    about = [node.label if not node.equation else node.equation]
    about += [f"shape {names.shape(node.shape)}"] if node.shape is not None else []
    about += [f"dtype {node.dtype}"] if node.dtype else []
    about += [f"operation {node.op}"] if node.op else []
    about += [f"{node.count:,} boxes folded"] if node.kind == "fold" else []
    return "\n".join(about)


def _heading(graph: Graph) -> str:
    text = "\n".join(line for line in (graph.title, graph.note) if line)
    return f", label={quoted(text)}, tooltip={quoted(text)}" if text else ""


def _node(node: Node) -> str:
    style = STYLES[node.kind]
    width, height = node_size(node)
    more = ", peripheries=2" if style.double else ""
    fill, line, pen = style.fill, style.line, 1.0
    if node.output:
        fill, line, pen = STYLES["output"].fill, STYLES["output"].line, 2.5
    shape = "circle" if is_round(node) else style.shape
    return (
        f"{node.id} [label={quoted(chr(10).join(lines(node)))}, tooltip={quoted(tooltip(node))}, "
        f'shape={shape}, style="{style.style}", fillcolor="{fill}", color="{line}", penwidth={pen:g}, '
        f"width={width:g}, height={height:g}{more}]"
    )


def _edge(edge: Edge, drawing: bool) -> str:
    # We draw labels on white, and a little away from the line.
    label = f" [label={quoted(edge.label if drawing else f' {edge.label} ')}]" if edge.label else ""
    return f"{edge.source} -> {edge.target}{label}"
