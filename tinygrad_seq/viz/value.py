"""A picture as a plain value: nodes, edges and the parts they are drawn in. Nothing here knows a tensor."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

FORMATS = ("svg", "png", "pdf", "dot", "json", "txt", "html")
KINDS = ("parameter", "input", "op", "fused", "fold", "outside")  # outside: what a part's own picture is joined to
MOST_NUMBERS = 12  # of an array, in a Summary


class Summary(NamedTuple):
    """What is told of an array: its size, and its numbers where they are few."""

    norm: float  # the root of the sum of squares
    mean: float
    std: float
    least: float
    largest: float
    numbers: tuple[float, ...] = ()  # all of them, in C order, where there are at most MOST_NUMBERS


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the picture."""

    id: str  # from the position in the graph: "n7"
    kind: str  # one of KINDS
    label: str  # what a person calls it: "fₜ = σ"
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    part: str | None = None  # the id of the part that it is drawn in
    op: str = ""  # the operation's own name: "Sigmoid"
    equation: str = ""  # "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)"
    output: bool = False  # one of the values that the picture was asked for
    count: int = 1  # how many boxes it stands for; more than one where boxes were folded
    row: int | None = None  # of a grid over time, counted from the bottom; its part is the column
    source: str = ""  # where the equation stands in the code: "lstm.py, line 41"
    # In a picture of two graphs: "-" only in the first, "+" only in the second, "=" in both; "" where boxes of several
    # sides were folded into one.
    side: str = ""
    device: str = ""  # "cpu", "cuda:0"
    line: str = ""  # the caller's own line that computed it: "train.py, line 12: h = cell(x, h)"
    value: Summary | None = None  # None: not noted
    gradient: Summary | None = None  # of ∂L/∂value; None: not computed
    path: str = ""  # a parameter's place in the model: "encoder.weight_hh_l0"; in a frame its label is the end of it


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from a value to where it is used."""

    source: str
    target: str
    label: str = ""
    side: str = ""  # as a Node's
    gradient: float | None = None  # ‖∂L/∂·‖ of the value that it carries; None: not computed
    weight: float | None = None  # α, where it is an arrow of attention: from 0 to 1
    cut: bool = False  # the value was detached on the way: no gradient goes back
    # Which values' gradients these are, by number, each with its norm: an arrow that stands for many counts each once.
    carries: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A frame around what a call of a module, an equation block, a time step, an opened operation or a derivative did;
    or a column of a grid, which has no frame."""

    id: str
    label: str  # "lstm: LSTM"
    kind: str  # "module", "equations", "step" (with a number in its label), "opened", "derivative", "named"; "column"
    parent: str | None = None
    note: str = ""  # where it stands in the source, for a tooltip
    side: str = ""  # as a Node's


class Size(NamedTuple):
    """How much of a graph a picture shows: shown + folded = all."""

    shown: int
    folded: int


@dataclass(frozen=True)
class Graph:
    """A picture of a computation: a plain value, drawn by `save`, `svg` and `text`, and compared by `==`.

    Nodes stand in the order of the computation. The same program gives the same Graph and the same DOT text.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([1.0, 2.0], requires_grad=True)
    >>> loss = (w * w).sum()
    >>> print(ts.graph(loss))
    0  w             (2,)  parameter
    1  ⊙ (0, 0)      (2,)
    2  loss = Σ (1)  ()  output
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    parts: tuple[Part, ...]
    sides: tuple[str, ...] = ()  # what the two graphs are called, in a picture of both: `graph_diff`
    # Makes the same picture with every fused operation opened and nothing folded: the page (.html) opens boxes with it.
    # It holds on to the computation; JSON and pickle leave it out.
    whole: Callable[[], Graph] | None = field(default=None, compare=False, repr=False)

    @property
    def legend(self) -> dict[str, str]:
        """What the sides of a picture of two graphs mean; empty for a picture of one."""
        used = {thing.side for things in (self.nodes, self.edges) for thing in things}
        return {
            side: f"only in {name}" + ("" if side in used else ": nothing")
            for side, name in zip("-+", self.sides, strict=False)
        }

    @property
    def marks(self) -> dict[str, str]:
        """What special arrows of a picture mean: "α", those of attention, and "cut"; empty where there are none.

        Where gradients are drawn, they decide how wide an arrow is, and α is in its tooltip alone."""
        found = {}
        if any(edge.weight is not None for edge in self.edges) and all(edge.gradient is None for edge in self.edges):
            found["α"] = "attention from 0 to 1, mean over the batch, and over heads if several"
        if any(edge.cut for edge in self.edges):
            found["cut"] = "a detached state goes on, and no gradient comes back"
        return found

    @property
    def size(self) -> Size:
        """How many boxes are shown, and how many are folded away."""
        shown = sum(node.kind != "fold" for node in self.nodes)
        return Size(shown, sum(node.count for node in self.nodes) - shown)

    @property
    def note(self) -> str:
        """What the picture says about what it does not show; empty where it shows everything."""
        shown, folded = self.size
        return f"{shown:,} of {shown + folded:,} boxes shown, {folded:,} folded" if folded else ""

    @property
    def dot(self) -> str:
        """The picture as DOT text, for Graphviz."""
        from .dot import dot

        return dot(self)

    def svg(self) -> str:
        """The picture as SVG text.

        Raises:
            RenderError: where no Graphviz is found, or it fails.
        """
        from .draw import svg

        return svg(self)

    def text(self) -> str:
        """The picture as lines of text: each value with the numbers of those it was made from, parts indented."""
        from .text import text

        return text(self)

    def json(self) -> str:
        """The value as JSON text: an object with the fields of Graph, Node, Edge and Part, as they are named here."""
        found = asdict(replace(self, whole=None))
        del found["whole"]
        return json.dumps(found, ensure_ascii=False, indent=1)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"whole": None}

    @staticmethod
    def from_json(text: str) -> Graph:
        """The value that `json` wrote: to compare a model with what it was, or to draw it elsewhere.

        Raises:
            ValueError: for text that is no Graph.
        """
        try:
            found = json.loads(text)
            return Graph(
                nodes=tuple(_node_from(node) for node in found.pop("nodes")),
                edges=tuple(_edge_from(edge) for edge in found.pop("edges")),
                parts=tuple(Part(**part) for part in found.pop("parts")),
                sides=tuple(found.pop("sides")),
                **found,
            )
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"from_json: expected what Graph.json wrote: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file, in the format that its suffix names: svg, png, pdf, dot, json, txt or html.

        An .html is a page for a browser, one file that needs no network: boxes open into their own pictures, everything
        can be searched, and a stepper walks the gradient back.

        Args:
            path: the file; an existing one is replaced, and stays whole where drawing fails.
        Returns:
            The path.
        Raises:
            ValueError: for a suffix that is not known.
            FileNotFoundError: where the folder does not exist.
            RenderError: where no Graphviz is found, or it fails.
        """
        path = Path(path)
        suffix = path.suffix.lower().removeprefix(".")
        if suffix not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise ValueError(f"save: {path.name!r} does not end in a format that is known: {known}")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"save: the folder {str(path.parent)!r} does not exist: make it first")
        return write(path, self._bytes(suffix))

    def _bytes(self, suffix: str) -> bytes:
        if suffix in ("png", "pdf"):
            from .draw import paint

            return paint(self, suffix)
        if suffix == "html":
            from .explorer import explorer

            return explorer(self).encode("utf-8", "replace")
        text = {"svg": self.svg, "dot": lambda: self.dot, "json": self.json, "txt": self.text}[suffix]()
        return text.encode("utf-8", "replace")

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        note = f", {self.note}" if self.note else ""
        return f"<Graph {self.title!r}: {len(self.nodes)} boxes, {len(self.edges)} arrows{note}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """For Jupyter: SVG, and text where no Graphviz is found; of these only what is asked for."""
        from .render import RenderError

        def asked(kind: str) -> bool:
            return (not include or kind in include) and kind not in (exclude or ())

        bundle = {"text/plain": self.text()} if asked("text/plain") else {}
        if asked("image/svg+xml"):
            try:
                bundle["image/svg+xml"] = self.svg()
            except RenderError as error:
                bundle["text/plain"] = f"{self.text()}\n\n{error}"
        return bundle


def _node_from(fields: dict[str, Any]) -> Node:
    """A Node from what JSON made of it: tuples have become lists."""

    def summary(found: Any) -> Summary | None:
        return None if found is None else Summary._make([*found[:-1], tuple(found[-1])])

    node = Node(**fields)
    shape = None if node.shape is None else tuple(node.shape)
    return replace(node, shape=shape, value=summary(node.value), gradient=summary(node.gradient))


def _edge_from(fields: dict[str, Any]) -> Edge:
    """An Edge from what JSON made of it."""
    edge = Edge(**fields)
    return replace(edge, carries=tuple((number, norm) for number, norm in edge.carries))


def write(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's files are the owner's alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def outline(graph: Graph) -> list[tuple[int, Node | Part | None]]:
    """(depth, node or part) in the order in which they are written down: of each part, what is given stands first,
    then what is computed from it; None after the last thing in a part."""
    inside: dict[str | None, list[Node | Part]] = {}
    parents: dict[str | None, str | None] = {}
    for part in graph.parts:
        inside.setdefault(part.parent, []).append(part)
        parents[part.id] = part.parent
    made = {edge.target for edge in graph.edges}
    at: dict[str | None, tuple[bool, int]] = {}
    for k, node in enumerate(graph.nodes):
        inside.setdefault(node.part, []).append(node)
        at[node.id] = (node.id in made, k)
        name = node.part
        while name is not None and name not in at:
            at[name] = (True, k)
            name = parents[name]
    for items in inside.values():
        items.sort(key=lambda item: at[item.id])
    found: list[tuple[int, Node | Part | None]] = []
    waiting: list[tuple[int, Node | Part | None]] = [(0, item) for item in reversed(inside.get(None, []))]
    while waiting:  # a loop, since parts may lie in parts to any depth
        depth, item = waiting.pop()
        found.append((depth, item))
        if isinstance(item, Part):
            waiting.append((depth, None))
            waiting += [(depth + 1, inner) for inner in reversed(inside[item.id])]
    return found


# -- folding: functions from a picture to a smaller one


def fold(graph: Graph, groups: Iterable[tuple[Iterable[str], str, str | None]]) -> Graph:
    """The picture with each group of boxes drawn as one, and all arrows between two of them as one. Its gradient is
    that of all the values that it carries: the root of the sum of squares of their norms.

    Args:
        groups: (ids of nodes, the label of the box that stands for them, the part it is drawn in). A box stands where
            the first of its nodes stood, and has the shape of what comes out of it, if that is one. Groups do not
            overlap; an empty group is left out.
    """
    of: dict[str, int] = {}
    boxes = []
    for k, (ids, label, part) in enumerate(groups):
        for name in ids:
            of[name] = k
        boxes.append((label, part))
    counts = [0] * len(boxes)
    outputs = [False] * len(boxes)
    sides: list[set[str]] = [set() for _ in boxes]
    for node in graph.nodes:
        if node.id in of:
            counts[of[node.id]] += node.count
            outputs[of[node.id]] |= node.output
            sides[of[node.id]].add(node.side)
    read = {edge.source for edge in graph.edges if of.get(edge.source, -1) != of.get(edge.target, -1)}
    results: list[set[tuple[Any, ...]]] = [set() for _ in boxes]
    for node in graph.nodes:
        if node.id in of and (node.output or node.id in read) and node.kind not in ("parameter", "input"):
            results[of[node.id]].add((node.shape, node.dtype, node.device))
    nodes: list[Node] = []
    new: dict[str, str] = {}
    place: dict[int, str] = {}
    for node in graph.nodes:
        k = of.get(node.id, -1)
        if k in place:
            new[node.id] = place[k]
            continue
        name = new[node.id] = f"n{len(nodes)}"
        if k >= 0:
            place[k] = name
            label, part = boxes[k]
            side = sides[k].pop() if len(sides[k]) == 1 else ""
            shape, dtype, device = results[k].pop() if len(results[k]) == 1 else (None, None, "")
            box = Node(name, "fold", label, shape, dtype, part, device=device)
            nodes.append(replace(box, output=outputs[k], count=counts[k], side=side))
        else:
            nodes.append(replace(node, id=name))
    edges: dict[tuple[str, str, str], str] = {}
    kept: list[Edge] = []
    carried: dict[tuple[str, str, str], dict[Any, float]] = {}  # the values whose gradients are known, with the norms
    cut: dict[tuple[str, str, str], bool] = {}  # whether all of them are
    folded = set(place.values())
    for edge in graph.edges:
        source, target = new[edge.source], new[edge.target]
        if source not in folded and target not in folded:
            kept.append(replace(edge, source=source, target=target))
            continue
        if source == target:
            continue
        # Many arrows become one: it keeps a label that all of them share.
        ends = source, target, edge.side
        before = edges.get(ends)
        edges[ends] = edge.label if before is None or before == edge.label else ""
        if edge.gradient is not None:  # where nothing says which value it is, its box and its label do
            values: dict[Any, float] = dict(edge.carries) or {(edge.source, edge.label, edge.gradient): edge.gradient}
            carried.setdefault(ends, {}).update(values)
        cut[ends] = cut.get(ends, True) and edge.cut
    for ends, label in edges.items():
        values = carried.get(ends, {})
        norm = math.hypot(*values.values()) if values else None
        known = tuple((value, n) for value, n in values.items() if isinstance(value, int))
        known = known if len(known) == len(values) else ()
        kept.append(Edge(*ends[:2], label, ends[2], norm, cut=cut[ends], carries=known))
    order = {node.id: k for k, node in enumerate(nodes)}
    kept.sort(key=lambda edge: order[edge.target])
    return without_empty_parts(replace(graph, nodes=tuple(nodes), edges=tuple(kept)))


def without_empty_parts(graph: Graph) -> Graph:
    """The picture with only the parts that hold something, numbered anew."""
    parents = {part.id: part.parent for part in graph.parts}
    used: set[str | None] = {None}
    for node in graph.nodes:
        name = node.part
        while name not in used:
            used.add(name)
            name = parents[name]  # type: ignore[index]
    kept = [part for part in graph.parts if part.id in used]
    new: dict[str | None, str | None] = {None: None} | {part.id: f"p{k}" for k, part in enumerate(kept)}
    return replace(
        graph,
        nodes=tuple(replace(node, part=new[node.part]) for node in graph.nodes),
        parts=tuple(replace(part, id=new[part.id] or "", parent=new[part.parent]) for part in kept),
    )


def join_steps(graph: Graph) -> Graph:
    """The picture with one frame instead of two where a time step holds an equation block and nothing else."""
    inside: dict[str | None, list[Node | Part]] = {}
    for part in graph.parts:
        inside.setdefault(part.parent, []).append(part)
    for node in graph.nodes:
        inside.setdefault(node.part, []).append(node)
    joined: dict[str | None, Part] = {}  # the id of an inner part -> the step around it
    labels: dict[str, tuple[str, str]] = {}
    for part in graph.parts:
        only = inside.get(part.id, [])
        if part.kind == "step" and len(only) == 1 and isinstance(only[0], Part) and only[0].kind == "equations":
            joined[only[0].id] = part
            labels[part.id] = (f"{part.label} · {only[0].label}", only[0].note)
    if not joined:
        return graph

    def home(name: str | None) -> str | None:
        return joined[name].id if name in joined else name

    parts = []
    for part in graph.parts:
        if part.id not in joined:
            label, note = labels.get(part.id, (part.label, part.note))
            parts.append(replace(part, label=label, note=note, parent=home(part.parent)))
    nodes = tuple(replace(node, part=home(node.part)) for node in graph.nodes)
    return without_empty_parts(Graph(graph.title, nodes, graph.edges, tuple(parts)))


def fold_steps(graph: Graph, first: int = 1, last: int = 1) -> Graph:
    """The picture with the middle of each run of more than `first + last + 1` time steps drawn as one box."""
    runs: dict[tuple[str | None, str], list[Part]] = {}
    for part in graph.parts:
        if part.kind == "step":  # the labels of one run differ in a number
            runs.setdefault((part.parent, re.sub(r"\d+", "", part.label)), []).append(part)
    top: dict[str, str] = {}  # a part that is folded away -> the outermost such part
    groups: dict[str, tuple[list[str], str, str | None]] = {}
    for (parent, _), steps in runs.items():
        middle = steps[first : len(steps) - last]
        if len(middle) < 2:
            continue
        group: tuple[list[str], str, str | None] = ([], f"… {len(middle):,} steps …", parent)
        for part in middle:
            top[part.id] = part.id
            groups[part.id] = group
    for part in graph.parts:  # parents stand before what they hold
        if part.parent in top:
            top[part.id] = top[part.parent]
    if not groups:
        return graph
    for node in graph.nodes:
        if node.part in top:
            groups[top[node.part]][0].append(node.id)
    unique = {id(group): group for name, group in groups.items() if top[name] == name}
    return fold(graph, [group for group in unique.values() if group[0]])


def depths(graph: Graph) -> dict[str | None, int]:
    """How many frames stand around what is in a part, itself included; 0 outside of all of them."""
    found: dict[str | None, int] = {None: 0}
    for part in graph.parts:  # parents stand before what they hold
        found[part.id] = found[part.parent] + 1
    return found


def close(graph: Graph, parts: Iterable[str]) -> Graph:
    """The picture with each of these parts drawn as one box, with the part's label; of nested ones the outermost.

    Args:
        parts: ids of parts. Where a part is closed, those in it are gone.
    Raises:
        ValueError: for an id that no part has.

    >>> import tinygrad_seq as ts
    >>> linear = ts.nn.Linear(2, 3)
    >>> y = ts.ops.tanh(linear(ts.tensor([[1.0, 2.0]])))
    >>> g = ts.graph(y)
    >>> print(ts.viz.close(g, [part.id for part in g.parts]))
    1 of 5 boxes shown, 4 folded
    0  linear: Linear  (1, 3)  4 boxes
    1  y = tanh (0)    (1, 3)  output
    """
    wanted = set(parts)
    if unknown := wanted - {part.id for part in graph.parts}:
        raise ValueError(f"close: expected ids of parts of this graph, got {', '.join(sorted(unknown))}")
    groups: dict[str | None, tuple[list[str], str, str | None]] = {}
    for part in graph.parts:  # parents stand before what they hold
        if part.parent in groups:
            groups[part.id] = groups[part.parent]
        elif part.id in wanted:
            groups[part.id] = [], part.label, part.parent
    for node in graph.nodes:
        if node.part in groups:
            groups[node.part][0].append(node.id)
    return fold(graph, {id(group): group for group in groups.values()}.values())


def fold_depth(graph: Graph, depth: int) -> Graph:
    """The picture with at most `depth` frames around each other; deeper ones are boxes. A time step is a frame, too."""
    return close(graph, [name for name, level in depths(graph).items() if name is not None and level > depth])


def fold_to(graph: Graph, most: int) -> Graph:
    """The picture with at most `most` boxes: first the innermost parts are closed, then the middle is folded."""
    while len(graph.nodes) > most and graph.parts:
        depth = depths(graph)
        deepest = max(depth.values())
        graph = close(graph, [part.id for part in graph.parts if depth[part.id] == deepest])
    if len(graph.nodes) <= most:
        return graph
    before = most // 3
    after = most - before - 1
    middle = [node.id for node in graph.nodes[before : len(graph.nodes) - after]]
    n = sum(node.count for node in graph.nodes[before : len(graph.nodes) - after])
    return fold(graph, [(middle, f"… {n:,} boxes …", None)])


def effort(graph: Graph) -> int:
    """How hard a layout in rows is: over how many rows all arrows run, together."""
    rows = {node.id: 0 for node in graph.nodes}
    sources: dict[str, list[str]] = {}
    for edge in graph.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    for node in graph.nodes:
        rows[node.id] = 1 + max((rows[name] for name in sources.get(node.id, ())), default=-1)
    spans = sum(abs(rows[edge.target] - rows[edge.source]) for edge in graph.edges)
    return spans * (2 if any(edge.label for edge in graph.edges) else 1)  # labels stand in rows of their own


def fold_to_fit(graph: Graph, most: int, hardest: int) -> Graph:
    """The picture with at most `most` boxes, and fewer where its layout would take Graphviz too long."""
    graph = fold_to(graph, most)
    while effort(graph) > hardest and len(graph.nodes) > 20:
        graph = fold_to(graph, len(graph.nodes) * 3 // 4)
    return graph
