"""A picture as DOT text: deterministic, edges last and outside of the frames, every label quoted."""

from __future__ import annotations

from . import names
from .style import EDGE, FONT, SIZES, STYLES, edge_look, is_round, lines, look, node_size, part_look
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
            frame = part_look(item)
            style = "rounded,filled,dashed" if frame.dashed else "rounded,filled"
            out += [
                f"{indent}subgraph cluster_{item.id} {{",
                f"{indent}  graph [label={quoted(item.label)}, tooltip={quoted(item.note or item.label)}, "
                f'fontsize={SIZES.part}, labeljust=l, style="{style}", color="{frame.line}", '
                f'fillcolor="{frame.fill}", margin=10' + (", penwidth=2.5" if frame.heavy else "") + "]",
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
    about += [node.source] if node.source else []
    about += [f"shape {names.shape(node.shape)}"] if node.shape is not None else []
    about += [f"dtype {node.dtype}"] if node.dtype else []
    about += [f"operation {node.op}"] if node.op else []
    about += [f"{node.count:,} boxes folded"] if node.kind == "fold" else []
    return "\n".join(about)


def _heading(graph: Graph) -> str:
    legend = [f"{side} {words}" for side, words in graph.legend.items()]
    text = "\n".join(line for line in (graph.title, graph.note, *legend) if line)
    return f", label={quoted(text)}, tooltip={quoted(text)}" if text else ""


def _node(node: Node) -> str:
    style = STYLES[node.kind]
    width, height = node_size(node)
    more = ", peripheries=2" if style.double else ""
    drawn = look(node)
    corners = [word for word in style.style.split(",") if word != "dashed"] + ["dashed"] * drawn.dashed
    shape = "circle" if is_round(node) else style.shape
    return (
        f"{node.id} [label={quoted(chr(10).join(lines(node)))}, tooltip={quoted(tooltip(node))}, "
        f'shape={shape}, style="{",".join(corners)}", fillcolor="{drawn.fill}", color="{drawn.line}", '
        f"penwidth={2.5 if drawn.heavy else 1:g}, "
        f"width={width:g}, height={height:g}{more}]"
    )


def _edge(edge: Edge, drawing: bool) -> str:
    # We draw labels on white, and a little away from the line.
    more = [f"label={quoted(edge.label if drawing else f' {edge.label} ')}"] if edge.label else []
    line = edge_look(edge)
    more += [f'color="{line.line}"'] if edge.side in ("-", "+") else []
    more += ["style=dashed"] if line.dashed else []
    more += ["penwidth=2"] if line.heavy else []
    return f"{edge.source} -> {edge.target}" + (f" [{', '.join(more)}]" if more else "")
