"""The insides of parts as pictures of their own, and which part a box of another picture stands for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from .value import Edge, Graph, Node, Part


class Tree:
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
                results = {called(result) for result in self._results(found)}
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

    def __init__(self, tree: Tree, around: set[str | None]) -> None:
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
        return replace(edge, source=end.id, label=edge.label or (called(node) if hidden else ""))

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
                end = replace(node, id=name, part=None, kind="outside", label=called(node) or node.label, output=False)
            self.known[key] = end
        return self.known[key], part is not None


def called(node: Node) -> str:
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
