"""What two pictures share and what they do not: one picture of both."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from . import names
from .build import HARDEST, MOST
from .value import Edge, Graph, Node, Part, fold_to_fit, without_empty_parts

COMMUTATIVE = ("Add", "Mul")  # which input comes first says nothing


def graph_diff(a: Graph, b: Graph, *, title: str | None = None) -> Graph:
    """One picture of two graphs: what both have is drawn once, what only one has in that one's colour and outline.

    Two boxes are the same where they are called, computed and shaped alike. In this order, each box at most once:

    1. what is the same computation: the same operation under the same name on the same inputs, back to the beginning;
    2. what stands alike: outputs, and then, along the arrows of what is the same already, boxes that say the same;
    3. what is the same under other names: computations, the largest first, and then what leads alike to the same. Such
       a box shows both names, `hₜ → c̃ₜ = tanh`.

    A frame is the same where its label and the frames around it are. A box that both have stands in the innermost frame
    that both have it in. Gradients are left out, for those of two losses are two scales. The time is about linear in
    boxes and arrows; the same two graphs give the same picture.

    Args:
        a, b: two graphs; their titles name them in the legend.
        title: what stands above the picture; both titles, if not given.
    Returns:
        A Graph, whose nodes, edges and parts say on which `side` they are: "-" only in a, "+" only in b, "=" in both.
    Raises:
        TypeError: for what is not a Graph, or a title that is no text.
        ValueError: for a grid over time, or a picture of two graphs.

    >>> import tinygrad_seq as ts
    >>> x, W = ts.tensor([[1.0, 2.0]]), ts.tensor([[3.0], [4.0]], requires_grad=True)
    >>> a, b = ts.graph(ts.ops.sigmoid(x @ W), title="before"), ts.graph(ts.ops.tanh(x @ W), title="after")
    >>> print(ts.graph_diff(a, b))
    before → after
    - only in before
    + only in after
      0  x          (1, 2)  input
      1  W          (2, 1)  parameter
      2  @ (0, 1)   (1, 1)
    - 3  σ (-2)     (1, 1)  output
    + 4  tanh (+2)  (1, 1)  output
    """
    for given in (a, b):
        if not isinstance(given, Graph):
            raise TypeError(
                f"graph_diff: expected two graphs, got {type(given).__name__}: draw a tensor first, ts.graph(loss)"
            )
        if any(part.kind == "column" for part in given.parts):
            raise ValueError("graph_diff: compares graphs, not grids: draw both without time=True")
        if given.sides:
            raise ValueError(
                f"graph_diff: expected two graphs, got the difference of {given.sides[0]} and {given.sides[1]}: "
                "compare one of these"
            )
    if not isinstance(title, str | None):
        raise TypeError(f"graph_diff: expected a text as title, got {type(title).__name__}")
    first, second = _Side(a), _Side(b)
    pairs = _match(first, second)
    parts, frames = _frames(a.parts, b.parts)
    union, places = _union(first, second, pairs, frames)
    nodes, edges = _in_order(union, _arrows(first, second, places))
    sides = (a.title or "the first", b.title or "the second")
    heading = f"{sides[0]} → {sides[1]}" if title is None else names.clean(title, 2 * names.LONGEST)
    if sides[0] == sides[1]:
        sides = (f"the first {sides[0]}", f"the second {sides[1]}")
    both = Graph(heading, nodes, edges, parts, sides)
    return fold_to_fit(without_empty_parts(both), MOST, HARDEST)


class _Side:
    """One of the two graphs: its boxes by number, with the arrows into and out of each."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = tuple(replace(node, gradient=None) for node in graph.nodes)
        at = {node.id: k for k, node in enumerate(graph.nodes)}
        self.arrows = [(at[edge.source], at[edge.target], edge.label) for edge in graph.edges]
        self.sources: list[list[tuple[int, str]]] = [[] for _ in graph.nodes]
        self.targets: list[list[tuple[int, str]]] = [[] for _ in graph.nodes]
        for source, target, label in self.arrows:
            self.sources[target].append((source, label))
            self.targets[source].append((target, label))


def _called(node: Node) -> tuple[str, str]:
    """What a box is called, and what it does: "fₜ" and "σ"."""
    name, equals, rest = node.label.partition(" = ")
    if equals:
        return name, rest
    return (node.path or node.label, "") if node.kind in ("parameter", "input") else ("", node.label)


def _says(node: Node) -> tuple[Any, ...]:
    return (node.path or node.label, *_does(node))


def _does(node: Node) -> tuple[Any, ...]:
    return (_called(node)[1], node.kind, node.op, node.shape, node.dtype, node.count)


# -- which boxes are the same


def _match(a: _Side, b: _Side) -> dict[int, int]:
    """The boxes of a that are boxes of b."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()

    def pair(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        new = []
        for u, v in found:
            if u not in pairs and v not in taken:
                pairs[u] = v
                taken.add(v)
                new.append((u, v))
        return new

    def spread(describe: Callable[[Node], tuple[Any, ...]], *along: str) -> None:
        """Along the arrows of all pairs; where several are described alike, only if there are as many on both sides."""
        waiting = list(pairs.items())
        while waiting:
            u, v = waiting.pop()
            for arrows in along:
                near, far = getattr(a, arrows)[u], getattr(b, arrows)[v]
                left = _grouped(((describe(a.nodes[k]), label), k) for k, label in near if k not in pairs)
                right = _grouped(((describe(b.nodes[k]), label), k) for k, label in far if k not in taken)
                for key, group in left.items():
                    if len(group) == len(right.get(key, ())):
                        waiting += pair(zip(group, right[key], strict=True))

    ours, theirs = _computations(a, b, _says, {})
    buckets = _grouped((key, v) for v, key in enumerate(theirs))
    for key, group in _grouped((key, u) for u, key in enumerate(ours)).items():
        pair(zip(group, buckets.get(key, ()), strict=False))
    certain = set(pairs)
    ends = [_grouped((_says(node), k) for k, node in enumerate(side.nodes) if node.output) for side in (a, b)]
    for key, group in ends[0].items():
        pair(zip(group, ends[1].get(key, ()), strict=False))
    spread(_says, "sources", "targets")
    ours, theirs = _computations(a, b, _does, pairs)
    buckets = _grouped((key, v) for v, key in enumerate(theirs) if v not in taken)
    for bucket in buckets.values():
        bucket.reverse()
    height = [0] * len(a.nodes)
    for u in range(len(a.nodes)):
        height[u] = 1 + max((height[source] for source, _ in a.sources[u] if source not in pairs), default=0)
    for u in sorted(range(len(a.nodes)), key=lambda u: -height[u]):
        bucket = buckets.get(ours[u], [])
        while bucket and bucket[-1] in taken:
            bucket.pop()
        if u in pairs or not a.sources[u] or not bucket:
            continue
        waiting = [(u, bucket[-1])]
        while waiting:  # with all that leads to it
            for x, y in pair([waiting.pop()]):
                inputs = zip(_inputs(a, x, ours), _inputs(b, y, theirs), strict=True)
                waiting += [(i, j) for (_, _, i), (_, _, j) in inputs]
    spread(_does, "sources")
    for u in _knotted(a, b, pairs) - certain:
        del pairs[u]
    return pairs


def _knotted(a: _Side, b: _Side, pairs: dict[int, int]) -> set[int]:
    """The paired boxes of a that would stand before and after themselves: what comes first in a comes last in b."""
    at = {v: u for u, v in pairs.items()}
    arrows = {(source, target) for source, target, _ in a.arrows}
    # Boxes of b that are none of a have negative numbers.
    arrows |= {(at.get(source, ~source), at.get(target, ~target)) for source, target, _ in b.arrows}
    for _ in ("from the beginning", "from the end"):
        after: dict[int, list[int]] = {}
        missing = Counter(target for _, target in arrows)
        for source, target in arrows:
            after.setdefault(source, []).append(target)
        waiting = [k for k in after if not missing[k]]
        while waiting:
            for target in after.pop(waiting.pop(), ()):
                missing[target] -= 1
                if not missing[target]:
                    waiting.append(target)
        arrows = {(target, source) for source, targets in after.items() for target in targets}
    return {k for arrow in arrows for k in arrow if k in pairs}


def _computations(
    a: _Side, b: _Side, describe: Callable[[Node], tuple[Any, ...]], pairs: dict[int, int]
) -> tuple[list[int], list[int]]:
    """A number for each box: equal where it and all that leads to it are described alike. Pairs are equal already."""
    known: dict[Any, int] = {}
    back = {v: u for u, v in pairs.items()}
    found = []
    for side, same in ((a, {u: u for u in pairs}), (b, back)):
        numbers: list[int] = []
        for k, node in enumerate(side.nodes):
            key: Any = same[k] if k in same else (
                describe(node),
                *((number, label) for number, label, _ in _inputs(side, k, numbers)),
            )  # fmt: skip
            numbers.append(known.setdefault(key, len(known)))
        found.append(numbers)
    return found[0], found[1]


def _inputs(side: _Side, k: int, numbers: list[int]) -> list[tuple[int, str, int]]:
    """What a box is computed from, (number, label, box), in the order that says something."""
    # A folded box may stand before what leads to it, which has no number then.
    found = [(numbers[source] if source < len(numbers) else -1, label, source) for source, label in side.sources[k]]
    return sorted(found) if side.nodes[k].op in COMMUTATIVE else found


def _grouped(items: Iterable[tuple[Any, int]]) -> dict[Any, list[int]]:
    """The different numbers under each key, in their order."""
    groups: dict[Any, dict[int, None]] = {}
    for key, k in items:
        groups.setdefault(key, {})[k] = None
    return {key: list(group) for key, group in groups.items()}


# -- both in one


class _Frames:
    """Where the frames of both graphs are now."""

    def __init__(self) -> None:
        self.a: dict[str | None, str | None] = {None: None}
        self.b: dict[str | None, str | None] = {None: None}
        self.parents: dict[str | None, str | None] = {}
        self.paths: dict[str | None, str] = {}  # of the modules

    def inside(self, part: str | None, path: str) -> bool:
        """Whether a frame is in one of a module that a path begins with: a label can be the rest of the path."""
        while part is not None and not path.startswith(f"{self.paths.get(part) or '?'}."):
            part = self.parents[part]
        return part is not None

    def common(self, inner: str | None, other: str | None) -> str | None:
        """The innermost frame around both."""
        around = {None, other}
        while other is not None:
            other = self.parents[other]
            around.add(other)
        while inner not in around:
            inner = self.parents[inner]
        return inner


def _frames(a: tuple[Part, ...], b: tuple[Part, ...]) -> tuple[tuple[Part, ...], _Frames]:
    """The frames of both, each once."""
    frames = _Frames()
    parts: list[Part] = []
    free: dict[Any, list[int]] = {}  # the frames of b that no frame of a is yet

    def add(part: Part, to: dict[str | None, str | None], side: str) -> None:
        to[part.id] = f"p{len(parts)}"
        parts.append(replace(part, id=f"p{len(parts)}", parent=to[part.parent], side=side))

    for part in b:
        add(part, frames.b, "+")
        free.setdefault((parts[-1].parent, part.kind, part.label), []).append(len(parts) - 1)
    for waiting in free.values():
        waiting.reverse()
    for part in a:
        waiting = free.get((frames.a[part.parent], part.kind, part.label), [])
        if waiting:
            k = waiting.pop()
            frames.a[part.id] = parts[k].id
            parts[k] = replace(parts[k], side="=")
        else:
            add(part, frames.a, "-")
    frames.parents = {part.id: part.parent for part in parts}
    frames.paths = {part.id: part.note.partition(": ")[0] for part in parts if part.kind == "module"}
    return tuple(parts), frames


def _union(
    a: _Side, b: _Side, pairs: dict[int, int], frames: _Frames
) -> tuple[list[Node], tuple[dict[int, int], dict[int, int]]]:
    """The boxes of both, each once, and where those of either now are. What only a has comes before what follows it."""
    back = {v: u for u, v in pairs.items()}
    before: dict[int, list[int]] = {}
    following = len(b.nodes)
    for u in reversed(range(len(a.nodes))):
        if u in pairs:
            following = pairs[u]
        else:
            before.setdefault(following, []).append(u)
    nodes: list[Node] = []
    of_a: dict[int, int] = {}
    of_b: dict[int, int] = {}
    for v in range(len(b.nodes) + 1):
        for u in reversed(before.get(v, ())):
            of_a[u] = len(nodes)
            nodes.append(replace(a.nodes[u], part=frames.a[a.nodes[u].part], side="-"))
        if v == len(b.nodes):
            break
        of_b[v], node = len(nodes), b.nodes[v]
        if v in back:
            of_a[back[v]], other = len(nodes), a.nodes[back[v]]
            part = frames.common(frames.b[node.part], frames.a[other.part])
            label = _both_names(other, node)
            if label != node.path and node.path.endswith(label) and not frames.inside(part, node.path):
                label = node.path
            nodes.append(replace(node, label=label, part=part, output=node.output or other.output, side="="))
        else:
            nodes.append(replace(node, part=frames.b[node.part], side="+"))
    return nodes, (of_a, of_b)


def _both_names(a: Node, b: Node) -> str:
    if a.path == b.path and (a.path or a.label == b.label):
        return b.label
    called = " → ".join(name for name in (_called(a)[0], _called(b)[0]) if name)
    return " = ".join(text for text in (called, _called(b)[1]) if text)


def _arrows(a: _Side, b: _Side, places: tuple[dict[int, int], dict[int, int]]) -> list[tuple[int, int, str, str]]:
    """The arrows of both, (source, target, label, side). The same are those between the same boxes, into one place."""

    def keys(side: _Side, place: dict[int, int]) -> list[tuple[int, int, str, int]]:
        count: Counter[int] = Counter()
        found = []
        for source, target, label in side.arrows:
            k = 0 if side.nodes[target].op in COMMUTATIVE else count[target]
            count[target] += 1
            found.append((place[source], place[target], label, k))
        return found

    left = keys(a, places[0])
    only = Counter(left)
    edges = []
    for key in keys(b, places[1]):
        shared = only[key] > 0
        only[key] -= shared
        edges.append((*key[:3], "=" if shared else "+"))
    for key in left:
        if only[key] > 0:
            only[key] -= 1
            edges.append((*key[:3], "-"))
    return edges


def _in_order(nodes: list[Node], edges: list[tuple[int, int, str, str]]) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
    """Boxes with what leads to them before them; of what is ready, first what both have."""
    missing = Counter(target for _, target, _, _ in edges)
    targets: dict[int, list[int]] = {}
    for source, target, _, _ in edges:
        targets.setdefault(source, []).append(target)
    turns = [("=-+".index(node.side), k) for k, node in enumerate(nodes)]
    ready = [turn for turn in turns if not missing[turn[1]]]
    heapq.heapify(ready)
    order: dict[int, int] = {}
    for first in range(len(nodes)):  # a folded picture may have a circle: its first box does not wait
        if not ready and first not in order:
            ready = [turns[first]]
        while ready:
            k = heapq.heappop(ready)[1]
            order[k] = len(order)
            for target in targets.get(k, ()):
                missing[target] -= 1
                if not missing[target] and target not in order:
                    heapq.heappush(ready, turns[target])
    edges = sorted(edges, key=lambda edge: order[edge[1]])
    return (
        tuple(replace(nodes[k], id=f"n{n}") for k, n in order.items()),
        tuple(Edge(f"n{order[source]}", f"n{order[target]}", label, side) for source, target, label, side in edges),
    )
