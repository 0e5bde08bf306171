"""The page for a browser: all pictures are laid out beforehand, a small script opens, finds and steps through them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

from . import names
from .build import HARDEST, MOST
from .inside import Tree, but_for_names, called
from .page import inline_svg
from .rules import local_rule
from .value import Edge, Graph, Node, Summary, depths, fold_depth, fold_steps, fold_to_fit

MOST_PICTURES = 150  # of parts; what lies deeper has none
AT_ONCE = 30  # boxes up to which a part's picture shows what its own parts hold
LEVELS = 9  # that have a tab, and a key


def explorer(graph: Graph) -> str:
    """The text of a page that shows a picture, the parts it is made of, and the way of the gradient through it.

    Raises:
        RenderError: where no Graphviz is found, or it fails.
    """
    book = _Book(graph)
    svgs = [
        f'<section class="picture" id="picture{k}"{" hidden" if k else ""}>\n{_svg(picture, k)}</section>'
        for k, picture in enumerate(book.pictures)
    ]
    here = Path(__file__)
    parts = {
        "title": html.escape(graph.title or "Computation graph"),
        "style": here.with_suffix(".css").read_text(encoding="utf-8"),
        "script": here.with_suffix(".js").read_text(encoding="utf-8"),
        "data": in_script(book.data()),
        "pictures": "\n".join(svgs),
    }
    page = here.with_suffix(".html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)  # in one go: what users wrote stays


def in_script(data: Any) -> str:
    r"""JSON that may stand inside of <script>: nothing in it ends the script or opens a comment.

    >>> in_script("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    unsafe = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return re.sub("[<>&\u2028\u2029]", lambda found: unsafe[found[0]], text)


class _Shown(NamedTuple):
    """One picture of the page."""

    name: str  # in the trail
    graph: Graph
    part: str | None = None  # of the whole, whose inside it shows; None: a level
    opens: dict[str, int] = {}  # a box -> the picture of what it holds


class _Book:
    """All pictures: the one that was asked for, its levels, and each part that can be opened from them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole = graph if graph.whole is None else graph.whole()
        self.tree = Tree(self.whole)
        self.pictures: list[_Shown] = [_Shown("as drawn", graph), *self._levels()]
        self.tabs = len(self.pictures)
        self.of_part: dict[str, int] = {}  # a part of the whole -> its picture
        self.like: dict[Any, int] = {}  # what a picture is but for the names in it -> the picture
        self.equal: dict[int, int] = {}  # a picture -> how many parts look like this
        self.without = 0  # parts that have none
        k = 0
        while k < len(self.pictures):  # more are found on the way
            picture = self.pictures[k]
            opens = {
                box: there
                for box, part in self.tree.parts_of(picture.graph, picture.part).items()
                if (there := self._picture_of(part)) is not None
            }
            self.pictures[k] = picture._replace(opens=opens)
            k += 1

    def _levels(self) -> list[_Shown]:
        """The whole with no frame, with one around another, two … and with all of them."""
        folded = fold_steps(self.whole)
        deepest = max(depths(folded).values())
        tabs = {level: str(level) for level in range(1, min(deepest - 1, LEVELS) + 1)}
        if sum(part.parent is None for part in folded.parts) > 1:  # else it is one box, or nearly so
            tabs = {0: "closed"} | tabs
        tabs[deepest] = "all"
        found = [_Shown(name, self._drawn(fold_depth(folded, level))) for level, name in tabs.items()]
        # No tab for a level that is the same picture as the one before it.
        different = [a for a, b in zip(found, [None, *found], strict=False) if b is None or a.graph != b.graph]
        return [] if [level.graph for level in different] == [self.graph] else different

    def _drawn(self, graph: Graph, part: str | None = None) -> Graph:
        """A picture as it is drawn: of bearable size, and with closed operations as they look."""
        return self.tree.with_fused(fold_to_fit(graph, MOST, HARDEST), part)

    def _picture_of(self, part: str) -> int | None:
        part = self.tree.innermost(part)
        if part in self.of_part:
            return self.of_part[part]
        inside = self.tree.inside(part)
        same = but_for_names(inside)
        if same in self.like:
            k = self.of_part[part] = self.like[same]
            self.equal[k] += 1
            return k
        if len(self.pictures) >= self.tabs + MOST_PICTURES:
            self.without += 1
            return None
        k = self.of_part[part] = self.like[same] = len(self.pictures)
        self.equal[k] = 1
        self.pictures.append(_Shown(self.tree.name(part), self._fitted(inside, part), part))
        return k

    def _fitted(self, inside: Graph, part: str) -> Graph:
        """The inside of a part: as many levels of it as can be taken in at once."""
        inside = fold_steps(inside)
        shown = inside
        for level in range(max(depths(inside).values()), -1, -1):
            shown = fold_depth(inside, level)
            if len(shown.nodes) <= AT_ONCE:
                break
        return self._drawn(shown, part)

    def data(self) -> dict[str, Any]:
        """What the script must know."""
        return {
            "tabs": [picture.name for picture in self.pictures[: self.tabs]],
            "pictures": [self._told(k, picture) for k, picture in enumerate(self.pictures)],
            "leftOut": self.left_out,
        }

    @property
    def left_out(self) -> str:
        """What the page says about what it does not show."""
        closed = 0 if self.graph.whole is None else sum(node.kind == "fused" for node in self.whole.nodes)
        said = [f"{self.without:,} more parts have no picture on this page"] if self.without else []
        return "; ".join(said + ([f"{closed:,} operations stay closed"] if closed else []))

    def _around(self, part: str | None) -> int | None:
        """The picture of the part that holds this one, for the trail."""
        parent = part
        while parent is not None:
            parent = self.tree.parts[parent].parent
            inner = None if parent is None else self.tree.innermost(parent)
            if inner is not None and inner != part and inner in self.of_part:
                return self.of_part[inner]
        return None

    def _told(self, k: int, picture: _Shown) -> dict[str, Any]:
        graph = picture.graph
        arrows: dict[str, list[int]] = {}
        for n, edge in enumerate(graph.edges):
            arrows.setdefault(edge.target, []).append(n)
        around = self.tree.around(graph, picture.part)
        at = {node.id: n for n, node in enumerate(graph.nodes)}
        shapes = {node.id: node.shape for node in graph.nodes}
        same = self.equal.get(k, 1)
        boxes: list[dict[str, Any]] = []
        for node in graph.nodes:
            leading = arrows.get(node.id, [])
            shown = "" if node.shape is None else names.shape(node.shape)
            rule = local_rule(node, [graph.edges[n] for n in leading])
            box: dict[str, Any] = {
                "label": node.label,
                "kind": node.kind,
                "facts": _facts(node, around[node.part]),
                "find": [node.label, *around[node.part], node.path, node.op, node.equation, shown],
                "gradient": _size(node.gradient),
                "rule": [rule.forward, rule.words],
                "gets": [
                    [letter, way + _stretched(way, shapes[graph.edges[n].source], node, graph.edges[n])]
                    for n, (letter, way) in zip(leading, rule.inputs, strict=True)
                ],
            }
            if node.id in picture.opens:
                box["opens"] = picture.opens[node.id]
            boxes.append(box)
        return {
            "name": picture.name,
            "around": self._around(picture.part),
            "start": _start(graph),
            "order": [] if graph.sides else way_back(graph),
            "note": f"one picture for {same:,} equal parts; the names are those of the first" if same > 1 else "",
            "boxes": boxes,
            "arrows": [[at[edge.source], at[edge.target]] for edge in graph.edges],
        }


# -- the way of the gradient


def way_back(graph: Graph) -> list[int]:
    """The boxes in the order in which the gradient comes to them: always the newest one whose gradient is complete, as
    the engine has it. Empty where there is no such order."""
    at = {node.id: k for k, node in enumerate(graph.nodes)}
    sources: dict[int, list[int]] = {}
    users = [0] * len(graph.nodes)
    for edge in graph.edges:
        sources.setdefault(at[edge.target], []).append(at[edge.source])
        users[at[edge.source]] += 1
    complete = [-k for k, n in enumerate(users) if not n]
    heapify(complete)
    order = []
    while complete:
        order.append(-heappop(complete))
        for k in sources.get(order[-1], ()):
            users[k] -= 1
            if not users[k]:
                heappush(complete, -k)
    if len(order) < len(graph.nodes):
        return []
    kinds = [node.kind for node in graph.nodes]
    return [k for k in order if kinds[k] in ("op", "fused", "fold") or (kinds[k] == "outside" and k in sources)]


def _start(graph: Graph) -> str:
    """Where the gradient of a picture begins; empty where there is none, as in a picture of two computations."""
    if graph.sides or not graph.nodes:
        return ""
    outputs = [node for node in graph.nodes if node.output]
    if not way_back(graph):
        return "Boxes of this picture use each other's values: the gradient has a way through it once they are opened."
    if any(node.kind == "outside" for node in graph.nodes) or not outputs:
        return "The gradient comes from what uses this part."
    ends = ", ".join(called(node) or node.label for node in outputs)
    if len(outputs) == 1 and outputs[0].shape == ():
        return f"The gradient begins at L = {ends}, where ∂L/∂L = 1."
    return f"The gradient begins at {ends}, with what backward is given."


# -- what is told of a box


def _facts(node: Node, path: Iterable[str]) -> list[tuple[str, str]]:
    shape = "" if node.shape is None else names.shape(node.shape)
    told = [
        ("equation", node.equation),
        ("path", node.path),
        ("in", " › ".join(path)),
        ("shape", shape),
        ("dtype", node.dtype or ""),
        ("device", node.device),
        ("operation", node.op),
        ("holds", f"{node.count:,} boxes" if node.count > 1 else ""),
        ("defined in", node.source),
        ("your line", node.line),
    ]
    if node.kind not in ("fold", "outside"):
        told.append(("value", _summary(node.value) or "not noted"))
    if node.kind not in ("fold", "outside", "input"):
        told.append(("gradient", _summary(node.gradient) or "not computed"))
    return [(name, text) for name, text in told if text]


def _size(found: Summary | None) -> str:
    """The numbers of an array where they are few, else its norm."""
    if found is None:
        return ""
    return ", ".join(map(_short, found.numbers)) or f"norm {_short(found.norm)}"


def _summary(found: Summary | None) -> str:
    if found is None or found.numbers:
        return _size(found)
    return (
        f"{_size(found)}, mean {_short(found.mean)} ± {_short(found.std)}, "
        f"from {_short(found.least)} to {_short(found.largest)}"
    )


def _short(x: float) -> str:
    return f"{x:.4g}".replace("-", "−")


def _stretched(way: str, shape: tuple[int, ...] | None, node: Node, edge: Edge) -> str:
    """What the engine adds where an input was stretched to the shape of the output."""
    if not way or edge.label[:1] in ("[", "(") or node.op not in _BROADCAST or shape is None or node.shape is None:
        return ""
    return f", added up to {names.shape(shape)}" if len(shape) <= len(node.shape) and shape != node.shape else ""


_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Where", "BroadcastTo")


def _svg(picture: _Shown, k: int) -> str:
    """A picture as a part of the page, which says its title. Its boxes can be chosen: it is no single image."""
    name = html.escape(picture.graph.title or picture.name)
    text = inline_svg(replace(picture.graph, title="").svg(), name, f"p{k}-")
    text = text.replace("<title>Computation graph</title>", f'<title id="title{k}">{name}</title>', 1)
    return text.replace('role="img"', 'role="group"', 1)
