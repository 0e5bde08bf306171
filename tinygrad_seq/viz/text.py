"""A picture as an indented tree, readable over ssh."""

from __future__ import annotations

from . import names
from .value import Graph


def text(graph: Graph) -> str:
    """Each value with the numbers of those it was made from."""
    parts = {part.id: part for part in graph.parts}
    numbers = {node.id: str(k) for k, node in enumerate(graph.nodes)}
    sources: dict[str, list[str]] = {}
    for edge in graph.edges:
        sources.setdefault(edge.target, []).append(numbers[edge.source])
    wide = len(str(len(graph.nodes)))
    rows: list[tuple[str, str]] = []
    here: list[str] = []
    for node in graph.nodes:
        chain: list[str] = []
        name = node.part
        while name is not None:
            chain.append(name)
            name = parts[name].parent
        chain.reverse()
        same = 0
        while same < min(len(here), len(chain)) and here[same] == chain[same]:
            same += 1
        for depth, name in enumerate(chain[same:], same):
            rows.append((f"{' ' * wide}  {'  ' * depth}{parts[name].label}", ""))
        here = chain
        made = f" ({', '.join(sources[node.id])})" if node.id in sources else ""
        about = names.shape(node.shape) if node.shape is not None else ""
        about += f" {node.dtype}" if node.dtype and node.dtype != "float32" else ""
        kind = node.kind if node.kind in ("parameter", "input") else ""
        words = [word for word in (about, kind, "output" if node.output else "") if word]
        rows.append((f"{numbers[node.id]:>{wide}}  {'  ' * len(chain)}{node.label}{made}", "  ".join(words)))
    column = min(max((len(left) for left, right in rows if right), default=0), 60)
    shown = [f"{left:<{column}}  {right}".rstrip() for left, right in rows]
    return "\n".join([*(line for line in (graph.title, graph.note) if line), *shown])
