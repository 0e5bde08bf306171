"""Equal blocks in a row, as the layers of a Transformer: one is drawn, and its frame says how many there are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from .value import Edge, Graph, Node, Part, depths, without_empty_parts

LEAST = 3  # two layers are both drawn


def fold_repeats(graph: Graph) -> Graph:
    """The picture with one of each run of at least three equal parts, each of which reads the one before.

    The first of them is drawn: its frame says `× 12`, and each box in it counts for twelve. Equal are parts that hold
    the same boxes, arrows and frames, and read the same from outside; their own labels differ in numbers only.
    """
    for depth in range(max(depths(graph).values()), 0, -1):  # inner runs first: outer parts are equal with them too
        runs = [run for siblings in _blocks(graph, depth) for run in _runs(siblings)]
        if runs:
            graph = _fold(graph, runs)
    return graph


@dataclass(slots=True, eq=False)
class _Block:
    """A part with all that it holds."""

    part: Part
    nodes: list[Node] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)  # of the boxes, where weight_ih_l3 of layer 3 is weight_ih_l#
    at: dict[str, int] = field(default_factory=dict)  # a box's number in it
    frames: list[tuple[str, str, int]] = field(default_factory=list)  # in it: (kind, label, the frame around it)
    homes: list[int] = field(default_factory=list)  # in which frame each box is
    inner: list[tuple[int, int, str]] = field(default_factory=list)  # arrows between its boxes
    read: list[Edge] = field(default_factory=list)  # arrows into it
    given: list[Edge] = field(default_factory=list)  # arrows out of it

    def add(self, node: Node, frame: int) -> None:
        label = node.label
        own = re.findall(r"\d+", self.part.label)
        if own and node.kind == "parameter" and self.part.kind != "module":  # in which labels are relative
            label = re.sub(rf"(?<!\d){own[-1]}(?!\d)", "#", label)
        self.at[node.id] = len(self.nodes)
        self.nodes.append(node)
        self.labels.append(label)
        self.homes.append(frame)

    def chain(self, before: _Block) -> list[tuple[int, int, str]]:
        """The arrows from the block before."""
        return [
            (before.at[edge.source], self.at[edge.target], edge.label) for edge in self.read if edge.source in before.at
        ]

    def aside(self, after: _Block) -> list[tuple[int, str, str]]:
        """The arrows to anything but the block after it."""
        return [(self.at[edge.source], edge.target, edge.label) for edge in self.given if edge.target not in after.at]


def _blocks(graph: Graph, depth: int) -> list[list[_Block]]:
    """The parts of one depth, those beside each other whose labels differ in numbers only together."""
    found: dict[str, _Block] = {}
    around: dict[str | None, tuple[_Block, int]] = {}  # a frame -> the block that it is in, and its number there
    level = depths(graph)
    for part in graph.parts:  # parents stand before what they hold
        if level[part.id] == depth and part.kind not in ("step", "column"):  # sequences are folded as such
            block = found[part.id] = _Block(part)
            around[part.id] = block, 0
        elif part.parent in around:
            block, k = around[part.parent]
            block.frames.append((part.kind, part.label, k))
            around[part.id] = block, len(block.frames)
    of: dict[str, _Block] = {}
    for node in graph.nodes:
        if node.part in around:
            block, frame = around[node.part]
            of[node.id] = block
            block.add(node, frame)
    for edge in graph.edges:
        source, target = of.get(edge.source), of.get(edge.target)
        if source is not None and source is target:
            source.inner.append((source.at[edge.source], source.at[edge.target], edge.label))
            continue
        if source is not None:
            source.given.append(edge)
        if target is not None:
            target.read.append(edge)
    siblings: dict[tuple[str | None, str, str], list[_Block]] = {}
    for block in found.values():
        part = block.part
        siblings.setdefault((part.parent, part.kind, re.sub(r"\d+", "", part.label)), []).append(block)
    return list(siblings.values())


def _runs(blocks: list[_Block]) -> list[list[_Block]]:
    runs: list[list[_Block]] = []
    for block in blocks:
        if runs and _continues(runs[-1], block):
            runs[-1].append(block)
        else:
            runs.append([block])
    return [run for run in runs if len(run) >= LEAST]


def _continues(run: list[_Block], block: _Block) -> bool:
    """Whether a block is one more of a run: the same inside; what it reads comes from the last one in the same way, or
    from where the others have it; and nothing but the next one reads the last, but for what reads all of them."""
    first, last = run[0], run[-1]
    if (block.frames, block.homes, block.inner) != (first.frames, first.homes, first.inner):
        return False
    if len(block.read) != len(first.read) or not (chain := block.chain(last)):
        return False
    if last.labels != first.labels or any(node.output for node in last.nodes):
        return False
    ends = {edge.source for edge in block.given}
    for k, (node, other) in enumerate(zip(block.nodes, first.nodes, strict=True)):
        labels = [block.labels[k], first.labels[k]]
        if node.output or node.id in ends:  # what comes out of the last may have a name: the caller's variable
            labels = [label.rpartition(" = ")[2] for label in labels]
        if labels[0] != labels[1] or _does(node) != _does(other):
            return False
    for ours, theirs in zip(block.read, first.read, strict=True):
        if block.at[ours.target] != first.at[theirs.target]:
            return False
        if ours.source not in last.at and (ours.source, ours.label) != (theirs.source, theirs.label):
            return False
    if len(run) == 1:
        return True
    return chain == last.chain(run[-2]) and last.aside(block) == run[-2].aside(last)


def _does(node: Node) -> tuple[Any, ...]:
    return node.kind, node.op, node.equation, node.shape, node.dtype, node.device, node.count, node.side


def _fold(graph: Graph, runs: list[list[_Block]]) -> Graph:
    frames = {part.id: part for part in graph.parts}
    boxes = {node.id: node for node in graph.nodes}
    stands: dict[str, str] = {}  # a box that is not drawn -> the one that stands for it
    ends: set[str] = set()  # the boxes of each last block
    for run in runs:
        first, last, n = run[0], run[-1], len(run)
        part = first.part
        frames[part.id] = replace(
            part, label=f"{part.label} × {n}", note=f"{part.note or part.label}: the first of {n} that are alike"
        )
        for k, node in enumerate(first.nodes):
            end = last.nodes[k]
            label = node.label if first.labels[k] == last.labels[k] else end.label
            boxes[node.id] = replace(node, label=label, output=end.output, count=n * node.count)
            stands |= {block.nodes[k].id: node.id for block in run[1:]}
            ends.add(end.id)
    nodes = [boxes[node.id] for node in graph.nodes if node.id not in stands]
    new = {node.id: f"n{k}" for k, node in enumerate(nodes)}
    # By their ends: what reads all blocks has an arrow from the one that is drawn, with that one's gradient.
    own = {(edge.source, edge.target, edge.label) for edge in graph.edges if edge.source not in stands}
    edges = []
    for edge in graph.edges:
        moved = replace(edge, source=stands.get(edge.source, edge.source))
        drawn = edge.source not in stands
        drawn |= edge.source in ends and (moved.source, moved.target, moved.label) not in own
        if drawn and edge.target not in stands:
            edges.append(replace(moved, source=new[moved.source], target=new[moved.target]))
    return without_empty_parts(
        replace(
            graph,
            nodes=tuple(replace(node, id=new[node.id]) for node in nodes),
            edges=tuple(edges),
            parts=tuple(frames.values()),
        )
    )
