"""A picture as an indented tree, readable over ssh."""

from __future__ import annotations

import re

from rich.cells import cell_len

from . import names
from .style import NORM
from .value import Graph, Node, Part, outline

COLUMN = 48  # where shapes stand at the latest, so that they are seen in a terminal of 80


def text(graph: Graph) -> str:
    """Each value with the numbers of those it was made from; of two graphs, lines and numbers have a - or a + where
    only the first or the second has them."""
    shown = [(depth, item) for depth, item in outline(graph) if item is not None]
    numbers = {node.id: str(k) for k, node in enumerate(item for _, item in shown if isinstance(item, Node))}
    sources: dict[str, list[str]] = {}
    for edge in graph.edges:
        about = f" α {edge.weight:.2f}" if edge.weight is not None else " cut" if edge.cut else ""
        sources.setdefault(edge.target, []).append(edge.side.strip("=") + numbers[edge.source] + about)
    wide = len(str(len(graph.nodes) - 1))
    rows = [_row(depth, item, numbers, sources, wide) for depth, item in shown]
    column = min(max((cell_len(left) for left, right in rows if right), default=0), COLUMN)
    out = [f"{left}{' ' * (column - cell_len(left))}  {right}".rstrip() for left, right in rows]
    if graph.sides:
        out = [f"{item.side.strip('='):1} {row}" for (_, item), row in zip(shown, out, strict=True)]
    legend = [f"{side} {words}" for side, words in graph.legend.items()]
    legend += [f"{mark}: {words}" for mark, words in graph.marks.items()]
    return "\n".join([*(line for line in (graph.title, graph.note) if line), *legend, *out])


def _row(
    depth: int, item: Node | Part, numbers: dict[str, str], sources: dict[str, list[str]], wide: int
) -> tuple[str, str]:
    if isinstance(item, Part):
        return f"{' ' * wide}  {'  ' * depth}{item.label}", ""
    made = f" ({', '.join(_runs(sources[item.id]))})" if item.id in sources else ""
    about = names.shape(item.shape) if item.shape is not None else ""
    about += f" {item.dtype}" if item.dtype and item.dtype != "float32" else ""
    about += f" {item.device}" if item.device not in ("", "cpu") else ""
    kind = item.kind if item.kind in ("parameter", "input") else ""
    folded = names.boxes(item.count) if item.kind == "fold" and not item.label.startswith("…") else ""
    norm = f"{NORM} {names.norm(item.gradient.norm)}" if item.gradient is not None else ""
    words = [word for word in (about, kind, folded, "output" if item.output else "", norm) if word]
    return f"{numbers[item.id]:>{wide}}  {'  ' * depth}{item.label}{made}", "  ".join(words)


def _runs(words: list[str]) -> list[str]:
    """Numbers, of which four and more that follow each other are written by their ends.

    >>> _runs(["3", "4", "5", "6", "9", "+10"])
    ['3 … 6', '9', '+10']
    """
    runs: list[list[str]] = []
    for word in words:
        before = runs[-1][-1] if runs else ""
        number = re.fullmatch(r"([+-]?)(\d+)", before)
        if number and word == f"{number[1]}{int(number[2]) + 1}":
            runs[-1].append(word)
        else:
            runs.append([word])
    return [word for run in runs for word in ([f"{run[0]} … {run[-1]}"] if len(run) > 3 else run)]
