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
from .page import inline_svg
from .rules import local_rule
from .value import Edge, Graph, Node, Part, Summary, close, depths, fold_steps, fold_to_fit

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
    note: str = ""


class _Book:
    """All pictures: the one that was asked for, its levels, and each part that can be opened from them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole = graph if graph.whole is None else graph.whole()
        self.tree = _Tree(self.whole)
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
        names = {level: str(level) for level in range(1, min(deepest - 1, LEVELS) + 1)}
        if sum(part.parent is None for part in folded.parts) > 1:  # else it is one box, or nearly so
            names = {0: "closed"} | names
        names[deepest] = "all"
        found = [_Shown(name, self._closed(folded, level)) for level, name in names.items()]
        # No tab for a level that is the same picture as the one before it.
        different = [a for a, b in zip(found, [None, *found], strict=False) if b is None or a.graph != b.graph]
        return [] if [level.graph for level in different] == [self.graph] else different

    def _closed(self, graph: Graph, level: int, part: str | None = None) -> Graph:
        """A picture with at most so many frames around each other; what lies deeper is in boxes."""
        shown = close(graph, [name for name, n in depths(graph).items() if name is not None and n > level])
        return self.tree.with_fused(fold_to_fit(shown, MOST, HARDEST), part)

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
            shown = self._closed(inside, level, part)
            if len(shown.nodes) <= AT_ONCE:
                break
        return shown

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
        return f"{self.without:,} more parts have no picture on this page" if self.without else ""

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
                "find": [
                    node.label,
                    *around[node.part],
                    node.path,
                    node.op,
                    node.equation,
                    shown,
                ],
                "gradient": _size(node.gradient),
                "rule": [rule.forward, rule.words],
                "gets": [
                    [called, way + _stretched(way, shapes[graph.edges[n].source], node, graph.edges[n])]
                    for n, (called, way) in zip(leading, rule.inputs, strict=True)
                ],
            }
            if node.id in picture.opens:
                box["opens"] = picture.opens[node.id]
            if node.output:
                box["output"] = True
            boxes.append(box)
        return {
            "name": picture.name,
            "around": self._around(picture.part),
            "start": _start(graph),
            "order": [] if graph.sides else way_back(graph),
            "note": f"one picture for {same:,} equal parts; the names are those of the first" if same > 1 else "",
            "boxes": boxes,
            "arrows": [[at[edge.source], at[edge.target], edge.label] for edge in graph.edges],
        }


class _Tree:
    """The parts of the whole picture, and where a box of another picture is found among them."""

    def __init__(self, whole: Graph) -> None:
        self.whole = whole
        self.parts = {part.id: part for part in whole.parts if part.kind != "column"}
        self.children: dict[str | None, list[str]] = {}
        for part in self.parts.values():
            self.children.setdefault(part.parent, []).append(part.id)
        self.boxes: dict[str | None, list[int]] = {}  # directly in a part
        for k, node in enumerate(whole.nodes):
            self.boxes.setdefault(node.part, []).append(k)
        self.coming: dict[str, list[Edge]] = {}
        self.going: dict[str, list[Edge]] = {}
        for edge in whole.edges:
            self.coming.setdefault(edge.target, []).append(edge)
            self.going.setdefault(edge.source, []).append(edge)
        self.nodes = {node.id: node for node in whole.nodes}
        self.places: dict[tuple[str, ...], list[str]] = {}
        for path, found in ((self.path(name), name) for name in self.parts):
            self.places.setdefault(path, []).append(found)

    def path(self, part: str | None) -> tuple[str, ...]:
        """The labels of a part and of those around it, outermost first. A step that holds one block has the labels of
        both in one frame, which counts as two."""
        found: list[str] = []
        while part is not None:
            found = self.parts[part].label.split(" · ") + found
            part = self.parts[part].parent
        return tuple(found)

    def name(self, part: str) -> str:
        """What the trail calls a part: with those that hold nothing else."""
        found = [self.parts[part].label]
        parent = self.parts[part].parent
        while parent is not None and self.innermost(parent) == part:
            found.insert(0, self.parts[parent].label)
            parent = self.parts[parent].parent
        return " · ".join(found)

    def innermost(self, part: str) -> str:
        """The part itself, or the one that is all it holds."""
        while part not in self.boxes and len(self.children.get(part, ())) == 1:
            (part,) = self.children[part]
        return part

    def around(self, graph: Graph, part: str | None) -> dict[str | None, tuple[str, ...]]:
        """The path of each frame of a picture that shows the inside of a part; under None, of what is in no frame."""
        found: dict[str | None, tuple[str, ...]] = {None: self.path(part)}
        for inner in graph.parts:
            # A frame that stands for equal ones too says so: "layers.0: Layer × 12".
            labels = () if inner.kind == "column" else re.sub(r" × [\d,]+$", "", inner.label).split(" · ")
            found[inner.id] = (*found[inner.parent], *labels)
        return found

    def parts_of(self, graph: Graph, part: str | None) -> dict[str, str]:
        """The boxes of a picture that stand for parts of the whole."""
        around = self.around(graph, part)
        found: dict[tuple[str, ...], list[str]] = {}
        folded: list[Node] = []
        for node in graph.nodes:
            label = node.label.rpartition(" = ")[2] if node.kind == "fused" else node.label
            if node.kind == "fold" and re.fullmatch(r"… [\d,]+ steps …", label):
                folded.append(node)
            elif node.kind in ("fold", "fused"):
                found.setdefault((*around[node.part], *label.split(" · ")), []).append(node.id)
        opens: dict[str, str] = {}
        for path, boxes in found.items():
            there = self.places.get(path, [])
            if len(there) == len(boxes):  # fewer boxes than parts: some are folded, and nobody knows which
                opens |= dict(zip(boxes, there, strict=True))
        shown = {*found, *around.values()}
        for node in folded:
            steps = [name for name in self._steps_in(around[node.part]) if self.path(name) not in shown]
            if steps:
                opens[node.id] = steps[0]
        return opens

    def with_fused(self, graph: Graph, part: str | None) -> Graph:
        """The picture in which a closed part that is an operation opened is drawn as that operation, with its name."""
        fused: dict[str, Node] = {}
        places = self.parts_of(graph, part)
        for node in graph.nodes:
            found = places.get(node.id)
            if node.kind == "fold" and found is not None and self.parts[found].kind == "opened":
                results = {_called(result) for result in self._results(found)}
                name = results.pop() if len(results) == 1 else ""
                fused[node.id] = replace(node, kind="fused", label=f"{name} = {node.label}" if name else node.label)
        return replace(graph, nodes=tuple(fused.get(node.id, node) for node in graph.nodes))

    def _results(self, part: str) -> list[Node]:
        """The boxes in a part that are used outside of it, or not at all."""
        nodes = self.within(part)
        inside = {node.id for node in nodes}
        return [
            node
            for node in nodes
            if node.kind not in ("parameter", "input")
            and (node.output or any(edge.target not in inside for edge in self.going.get(node.id, ())))
        ]

    def within(self, part: str) -> list[Node]:
        """All boxes in a part, in their order."""
        waiting, indices = [part], []
        while waiting:
            name = waiting.pop()
            waiting += self.children.get(name, [])
            indices += self.boxes.get(name, [])
        return [self.whole.nodes[k] for k in sorted(indices)]

    def _steps_in(self, path: tuple[str, ...]) -> list[str]:
        homes: list[str | None] = [*self.places.get(path, [])] if path else [None]
        return [name for home in homes for name in self.children.get(home, ()) if self.parts[name].kind == "step"]

    def inside(self, part: str) -> Graph:
        """What a part holds, as a picture of its own: what it is joined to outside stands at its ends."""
        nodes = self.within(part)
        within = {node.id for node in nodes}
        below = {part}
        for inner in self.parts.values():  # parents stand before what they hold
            if inner.parent in below:
                below.add(inner.id)
        around: set[str | None] = {None}
        parent = self.parts[part].parent
        while parent is not None:
            around.add(parent)
            parent = self.parts[parent].parent
        ends = _Ends(self, around)
        before = [edge for node in nodes for edge in self.coming.get(node.id, ())]
        after = [edge for node in nodes for edge in self.going.get(node.id, ()) if edge.target not in within]
        edges = [edge if edge.source in within else ends.into(edge) for edge in before]
        edges += [ends.out_of(edge) for edge in after]
        parts = [
            replace(inner, parent=None if inner.parent == part else inner.parent)
            for inner in self.parts.values()
            if inner.id in below - {part}
        ]
        nodes = [replace(node, part=None if node.part == part else node.part) for node in nodes]
        sides = self.whole.sides
        return _numbered(
            Graph(self.parts[part].label, tuple([*ends.before, *nodes, *ends.after]), tuple(edges), tuple(parts), sides)
        )


class _Ends:
    """What stands outside of a part and is joined to it: each neighbour once before it and once after it."""

    def __init__(self, tree: _Tree, around: set[str | None]) -> None:
        self.tree, self.around = tree, around
        self.known: dict[tuple[str, bool], Node] = {}

    @property
    def before(self) -> list[Node]:
        return [node for (_, after), node in self.known.items() if not after]

    @property
    def after(self) -> list[Node]:
        return [node for (_, after), node in self.known.items() if after]

    def into(self, edge: Edge) -> Edge:
        node = self.tree.nodes[edge.source]
        end, hidden = self._end(node, False)
        return replace(edge, source=end.id, label=edge.label or (_called(node) if hidden else ""))

    def out_of(self, edge: Edge) -> Edge:
        end, _ = self._end(self.tree.nodes[edge.target], True)
        return replace(edge, target=end.id)

    def _end(self, node: Node, after: bool) -> tuple[Node, bool]:
        """The box of a neighbour, and whether that is a part that hides the node."""
        home = node.part
        part: Part | None = None
        while home not in self.around:  # the outermost part that holds it and not us
            part = self.tree.parts[home or ""]
            home = part.parent
        key = (part.id if part else node.id, after)
        if key not in self.known:
            name = f"o{len(self.known)}"
            if part is not None:
                end = Node(name, "outside", part.label)
            elif node.kind in ("parameter", "input"):
                end = replace(node, id=name, part=None)
            else:
                end = replace(node, id=name, part=None, kind="outside", label=_called(node) or node.label, output=False)
            self.known[key] = end
        return self.known[key], part is not None


def _called(node: Node) -> str:
    """The name in a label, where it has one."""
    return node.label.rpartition(" = ")[0] if node.kind in ("op", "fused") else ""


def _numbered(graph: Graph) -> Graph:
    """The picture with the ids that a picture has: n0, n1 … in its order; arrows stand by their targets."""
    new = {node.id: f"n{k}" for k, node in enumerate(graph.nodes)}
    order = {name: k for k, name in enumerate(new.values())}
    edges = [replace(edge, source=new[edge.source], target=new[edge.target]) for edge in graph.edges]
    return replace(
        graph,
        nodes=tuple(replace(node, id=new[node.id]) for node in graph.nodes),
        edges=tuple(sorted(edges, key=lambda edge: order[edge.target])),
    )


def but_for_names(graph: Graph) -> Any:
    """What is equal for two parts that do the same under names that differ in their numbers: layers.3 and layers.4."""
    parts = {part.id: k for k, part in enumerate(graph.parts)}
    nodes = []
    for node in graph.nodes:
        name, _, label = node.label.rpartition(" = ") if node.op else (node.label, "", "")
        about = replace(
            node, id="", label=f"{_no_number(name)} = {label}", part=None, line="", path=_no_number(node.path)
        )
        nodes.append((about, parts.get(node.part or "")))
    frames = [
        (part.kind, part.label if part.kind in ("opened", "equations") else _no_number(part.label), part.parent)
        for part in graph.parts
    ]
    edges = []
    for edge in graph.edges:
        moved = edge.label[:1] in ("[", "(")
        edges.append(replace(edge, label=edge.label if moved else _no_number(edge.label)))
    return tuple(nodes), tuple((a, b, parts.get(c or "")) for a, b, c in frames), tuple(edges)


def _no_number(name: str) -> str:
    return re.sub(r"[\d₀-₉]+", "#", name)


# -- what is told of a box


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
    called = ", ".join(_called(node) or node.label for node in outputs)
    if len(outputs) == 1 and outputs[0].shape == ():
        return f"The gradient begins at L = {called}, where ∂L/∂L = 1."
    return f"The gradient begins at {called}, with what backward is given."


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
