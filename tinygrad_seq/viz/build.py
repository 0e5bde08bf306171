"""From a tensor to its picture: walk back, open what was asked for, draw plumbing as edges, give names."""

from __future__ import annotations

import builtins
import inspect
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Leaf, Op, Tensor
from ..core.equations import Block, Equation
from ..core.op import Slot
from ..core.state import Scope, Step, setting
from ..core.tensor import Constant, next_number
from ..nn import Module
from . import names
from .value import Edge, Graph, Node, Part, fold_steps, fold_to, fold_to_fit, join_steps

# These move elements about without computing anything: an arrow says enough.
PLUMBING = {
    "Reshape", "Transpose", "SwapAxes", "GetItem", "Split", "Stack", "Unstack", "BroadcastTo", "Same", "AsType",
    "ToDevice",
}  # fmt: skip
MOST = 400  # boxes that a picture has; more are folded
HARDEST = 3000  # rows that all arrows run over together: about a second of Graphviz; 5000 are six
WIDEST_SUM = 8  # terms that one + takes


def graph(value: Any, *, open: Any = (), time: bool | str = False, title: str | None = None) -> Graph:
    """The picture of how a value was computed. The computation needs no preparation, and may have been differentiated.

    Boxes are named by, in this order: a tensor's own `name` or its symbol in an equation, its path in the model
    (`lstm.weight_ih_l0`), the variable that holds it where this function is called, the operation. Calls of modules,
    equation blocks and time steps are frames. What moves elements without computing (reshape, split, indexing) is part
    of an arrow. Of more than three time steps the first and the last are drawn; of more than 400 boxes the rest is
    folded, and the picture says so.

    Args:
        value: a Tensor, or a list or tuple of them.
        open: fused operations to draw as their equations: a name ("lstm", "softmax"), several, or Python's `all`.
        time: True draws each step of each recurrent layer as one box: time from left to right, layers from bottom to
            top. Arrows of attention have its weights, unless backward has freed them, and a detached state is an arrow
            that is cut. "rolled" draws each layer as one box, whose state comes back to it.
        title: what stands above the picture.
    Returns:
        A Graph: a plain value that can `save` itself.
    Raises:
        TypeError: for what is not a Tensor.
        ValueError: for a tensor that has no graph, a name in `open` that no fused operation of this graph has, or
            `time` where nothing is recurrent.

    >>> import tinygrad_seq as ts
    >>> x, W = ts.tensor([[1.0, 2.0]]), ts.tensor([[3.0], [4.0]], requires_grad=True)
    >>> y = ts.ops.sigmoid(x @ W)
    >>> g = ts.graph(y)
    >>> [(node.kind, node.label, node.shape) for node in g.nodes]
    [('input', 'x', (1, 2)), ('parameter', 'W', (2, 1)), ('op', '@', (1, 1)), ('op', 'y = σ', (1, 1))]
    """
    return build(value, sys._getframe(1).f_locals, open=open, time=time, title=title)


def build(
    value: Any, variables: Mapping[str, Any], *, open: Any = (), time: bool | str = False, title: str | None = None
) -> Graph:
    """As `graph`, with the caller's variables given."""
    outputs = _tensors(value)
    found = _Ops([_place(t) for t in outputs], open)
    picture = _Picture(found, variables)
    heading = "" if title is None else names.clean(title, 2 * names.LONGEST)
    if time:
        from .grid import ROLLED, grid  # which is built on this file

        if time not in (True, ROLLED):
            raise ValueError(f'graph: time is True, False or "{ROLLED}", got {time!r}')
        return fold_to(grid(found, picture, heading, time == ROLLED), MOST)
    return fold_to_fit(fold_steps(join_steps(picture.draw(heading))), MOST, HARDEST)


def _tensors(value: Any) -> list[Tensor]:
    flat: list[Tensor] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Tensor):
            flat.append(item)
        elif isinstance(item, list | tuple):
            waiting += reversed(item)
        else:
            raise TypeError(f"graph: expected a Tensor or a list of them, got {type(item).__name__}")
    if not flat:
        raise ValueError("graph: expected at least one tensor, got none")
    if all(t.place is None for t in flat):
        raise ValueError(
            "graph: this tensor has no graph: nothing it was made from has requires_grad=True, or it was made under "
            "no_grad() or detached"
        )
    return flat


def _place(t: Tensor) -> Any:
    return t.as_constant() if t.place is None else t.place


# -- the operations, with those opened that were asked for


class _Opened(NamedTuple):
    op: FusedOp
    outputs: list[Any]  # the places that its definition made
    first: int  # the definition's operations have numbers below `first` and above `last`
    last: int


class _Ops:
    """All operations that lead to the outputs, in the order of the computation."""

    def __init__(self, outputs: list[Any], open: Any) -> None:
        self.everything = open is builtins.all or open is True
        self.wanted = () if self.everything else _words(open)
        self.used: set[str] = set()
        self.closed: set[str] = set()
        self.opened: dict[Op, _Opened] = {}
        self.alias: dict[Any, Any] = {}  # the inputs that a definition ran on -> what stands for them
        self.inputs: dict[Leaf, str] = {}  # what a definition calls them
        self.constants: dict[Any, str] = {}
        self.names: dict[Any, str] = {}  # given to outputs of what was opened
        self.outputs = outputs
        ops = self._walk()
        missing = [word for word in self.wanted if word not in self.used]
        if missing:
            there = ", ".join(repr(name) for name in sorted(self.closed | {names.op_label(op) for op in self.opened}))
            raise ValueError(
                f"graph: open={missing[0]!r} names no fused operation here"
                + (f"; there are {there}" if there else ": there are none")
            )
        keys: dict[Op, tuple[int, ...]] = {}
        self.starts = [-opened.first for opened in self.opened.values()]  # rises: numbers fall
        self.order = list(self.opened.values())
        self.ops = sorted(ops, key=lambda op: self._key(op, keys))

    def resolve(self, place: Any) -> Any:
        """The place that a picture shows for this one: inside of what was opened, outside of its definition."""
        given = None
        while True:
            if type(place) is Slot and place.op in self.opened:
                inner = self.opened[place.op].outputs[place.index]
            elif isinstance(place, Op) and place in self.opened:
                inner = self.opened[place].outputs[0]
            elif place in self.alias:
                place = self.alias[place]
                continue
            else:
                if given is not None and place.name is None:
                    self.names.setdefault(place, given)
                return place
            given = place.name or given
            place = inner

    def _walk(self) -> list[Op]:
        ops: list[Op] = []
        seen: set[Any] = set()
        waiting = list(self.outputs)
        while waiting:
            place = self.resolve(waiting.pop())
            op = place.op if type(place) is Slot else place
            if not isinstance(op, Op) or op in seen:
                continue
            if isinstance(op, FusedOp) and self._asked_for(op):
                self._open(op)
                waiting.append(place)
                continue
            seen.add(op)
            ops.append(op)
            waiting += [source for source in op.sources if source is not None]
        return ops

    def _asked_for(self, op: FusedOp) -> bool:
        if self.everything:
            return True
        found = [word for word in self.wanted if names.matches(op, [word])]
        self.used.update(found)
        if not found:
            self.closed.add(names.op_label(op))
        return bool(found)

    def _open(self, op: FusedOp) -> None:
        """Run the definition on zeros of the shapes that were noted: the arrays themselves may be freed by now."""
        inputs: list[Any] = []
        constants = op.constants or [None] * len(op.sources)
        for source, constant, name in zip(op.sources, constants, _input_names(op), strict=True):
            if source is not None:
                leaf = Leaf(source.shape, source.dtype)
                self.alias[leaf] = source
                self.inputs[leaf] = name
                inputs.append(Tensor(_zeros(source), leaf))
            elif isinstance(constant, Constant):  # as a leaf: what its parts are used for belongs in the picture
                leaf = Leaf(constant.shape, constant.dtype)
                self.alias[leaf] = constant
                self.inputs[leaf] = name
                self.constants.setdefault(constant, name)
                inputs.append(Tensor(_zeros(constant), leaf))
            else:
                inputs.append(constant)
        static = {key: _on_host(x) for key, x in op.static.items()}
        first = next_number()
        try:
            with setting(scope=Scope(op.scope, op), grad=True, fused=True), np.errstate(all="ignore"):
                outputs = op.definition(*inputs, **static)
        except Exception as error:
            raise ValueError(f"graph: {names.op_label(op)} cannot be opened: its definition raised: {error}") from error
        places = [_place(t) for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
        self.opened[op] = _Opened(op, places, first, next_number())

    def _key(self, op: Op, keys: dict[Op, tuple[int, ...]]) -> tuple[int, ...]:
        """Sorts by the order of the computation; what a definition did comes where its operation stood."""
        chain = []
        while op not in keys:
            chain.append(op)
            k = bisect_right(self.starts, -op.number) - 1
            if k < 0 or op.number < self.order[k].last:
                break
            op = self.order[k].op
        for op in reversed(chain):
            k = bisect_right(self.starts, -op.number) - 1
            inside = k >= 0 and op.number > self.order[k].last
            keys[op] = (*(keys[self.order[k].op] if inside else ()), -op.number)
        return keys[chain[0]] if chain else keys[op]


def _words(open: Any) -> tuple[str, ...]:
    if isinstance(open, str):
        return (open,)
    if isinstance(open, Iterable):
        found = tuple(open)
        if all(isinstance(word, str) for word in found):
            return found
    raise TypeError(f"graph: open is a name, several names, or Python's `all`, got {open!r}")


def _zeros(where: Any) -> Any:
    return np.zeros(where.shape, where.dtype)


def _on_host(x: Any) -> Any:
    return backend_of(x).to_numpy(x) if hasattr(x, "dtype") else x


# -- what is drawn


class _Box:
    """A node in the making."""

    def __init__(self, kind: str, where: Any, label: str, shape: Any, dtype: Any) -> None:
        self.kind, self.where, self.label, self.shape, self.dtype = kind, where, label, shape, dtype
        self.name = ""  # what a person calls the value
        self.equation: Any = None
        self.inputs: list[tuple[Any, str]] = []  # (where from: an op or a place; the edge's label)
        self.uses = 0
        self.output = False
        self.slots: dict[int, Any] = {}  # outputs in use, where there are several
        self.local = False  # drawn beside what uses it


class _Origin(NamedTuple):
    """Where an arrow begins, after all plumbing, and what is written on it."""

    where: Any
    label: str = ""
    named: bool = False


class _Picture:
    def __init__(self, found: _Ops, variables: Mapping[str, Any]) -> None:
        self.found = found
        places, self.arrays, modules = names.from_variables(
            {name: x for name, x in variables.items() if name not in ("In", "Out")}
        )
        self.variables: dict[Any, str] = {}
        for place, name in places.items():
            self.variables.setdefault(found.resolve(place), name)
        self.paths: dict[Any, str] = {}  # parameter's place -> path
        self.module_paths: dict[int, str] = {}
        self._name_modules(modules)
        self.boxes: dict[Any, _Box] = {}
        self.origins: dict[Any, _Origin] = {}
        self.hidden: dict[int, Constant] = {}  # arrays that an operation holds -> the mark of each
        self.kept: list[Any] = []  # those arrays, so that no other gets the id of one
        self.pieces: dict[Slot, str] = {}  # outputs of Unstack that are boxes of their own -> their labels
        self.symbols: dict[Op, Op] = {}  # an operation -> the plumbing after it, which an equation names
        self.sources: dict[str, str] = {}  # an equation's id -> where it stands in the code
        self.ends: set[Any] = set()  # operations that are outputs: drawn, even if they are plumbing

    def _name_modules(self, modules: list[tuple[str, Module]]) -> None:
        roots: dict[int, Module] = {}
        seen: set[int] = set()
        for op in self.found.ops:
            scope, outermost = op.scope, None
            while scope is not None and id(scope) not in seen:
                seen.add(id(scope))
                outermost = scope.owner if isinstance(scope.owner, Module) else outermost
                scope = scope.parent
            if scope is None and outermost is not None:
                roots.setdefault(id(outermost), outermost)
        called = {id(module): name for name, module in reversed(modules) if name != "self"}
        several = len(roots) > 1
        for module in [*roots.values(), *(module for _, module in modules)]:
            name = called.get(id(module), "")
            prefix = f"{name}." if several and name else ""
            for path, part in module.named_modules():
                self.module_paths.setdefault(id(part), f"{prefix}{path}" if path else name)
            for path, p in module.named_parameters():
                if p.place is not None:
                    self.paths.setdefault(p.place, prefix + path)

    def draw(self, title: str) -> Graph:
        outputs = [self._before_plumbing(self.found.resolve(place)) for place in self.found.outputs]
        self.ends = {place.op if type(place) is Slot else place for place in outputs}
        self._find_pieces()
        for op in self.found.ops:  # sources come first
            if self._is_plumbing(op):
                self.origins[op] = self._through(op)
        waiting = [self._origin(place).where for place in outputs]
        while waiting:
            where = waiting.pop()
            op = self._key(where)
            if op in self.boxes:
                if op is not where:
                    self.boxes[op].slots[where.index] = where
                continue
            box = self.boxes[op] = self._box(op)
            if op is not where:
                box.slots[where.index] = where
            waiting += [place for place, _ in box.inputs]
        for place in outputs:
            self.boxes[self._key(self._origin(place).where)].output = True
        for box in self.boxes.values():
            for where, _ in box.inputs:
                self.boxes[self._key(where)].uses += 1
        self._merge()
        return self._finish(title)

    def _key(self, where: Any) -> Any:
        """What a box is found by: the operation, for all of its outputs, but for pieces."""
        return where.op if type(where) is Slot and where not in self.pieces else where

    # -- plumbing

    def _before_plumbing(self, place: Any) -> Any:
        """An output that is a symbol of an equation, as in c_i = squeeze(α h): the product is drawn as c_i."""
        if type(place).__name__ not in ("Reshape", "Transpose", "SwapAxes") or place.equation is None:
            return place
        source = self.found.resolve(place.sources[0])
        if not isinstance(source, Op) or self._own_name(source) or source.outputs is not None:
            return place
        self.symbols[source] = place
        return self._before_plumbing(source)

    def _find_pieces(self) -> None:
        """x_t is a box where it is used more than once, as in each step of a recurrence: one arrow, then several."""
        uses: dict[Slot, int] = {}
        for op in self.found.ops:
            for source in op.sources:
                if type(source) is Slot and type(source.op).__name__ == "Unstack":
                    uses[source] = uses.get(source, 0) + 1
        for slot, n in uses.items():
            op = slot.op
            if n < 2 or self._own_name(slot) or type(self.found.resolve(op.sources[0])).__name__ == "Stack":
                continue
            name = self.found.inputs.get(op.sources[0]) or self._name(self.found.resolve(op.sources[0]))
            if len(name) == 1:
                self.pieces[slot] = names.pretty(f"{name}_{{{slot.index + 1}}}")
            else:
                self.pieces[slot] = f"{name}[{':, ' * op.axis}{slot.index}]"  # type: ignore[attr-defined]

    def _is_plumbing(self, op: Op) -> bool:
        if type(op).__name__ not in PLUMBING or len(op.sources) != 1 or op in self.ends:
            return False
        return type(op).__name__ != "GetItem" or op.views  # with an array as its index it looks something up

    def _origin(self, place: Any) -> _Origin:
        place = self.found.resolve(place)
        op = self._key(place)
        passed = self.origins.get(op)
        if passed is None:
            return _Origin(place)
        if type(place) is Slot:
            source = self.found.resolve(op.sources[0])
            if type(op).__name__ == "Unstack" and type(source).__name__ == "Stack" and source.axis == op.axis:
                passed = self._input(source, place.index)  # stacked and taken apart again: nothing happened
            name = self._own_name(place) or (self.variables.get(place, "") if not passed.named else "")
            if name:
                return _Origin(passed.where, name, True)
            if not passed.named and len(op.outputs) > 1:
                return _Origin(passed.where, f"[{place.index}]", False)
        return passed

    def _through(self, op: Op) -> _Origin:
        passed = self._input(op, 0)
        name = self._own_name(op) or (self.variables.get(op, "") if not passed.named else "")
        if name:
            return _Origin(passed.where, name, True)
        if passed.named:
            return passed
        source = op.sources[0]
        kind = type(op).__name__
        label = passed.label
        if kind in ("Transpose", "SwapAxes") and len(source.shape) == 2:
            label += "ᵀ"
        elif kind == "GetItem":
            label += names.index_label(op.index)  # type: ignore[attr-defined]
        elif kind == "AsType":
            label = str(op.dtype)
        elif kind not in ("Split", "Unstack", "Same") and op.shape != source.shape:
            label = names.shape(op.shape)
        return _Origin(passed.where, label, False)

    def _input(self, op: Op, k: int) -> _Origin:
        source = op.sources[k]
        if source is None:
            assert op.constants is not None
            return _Origin(op.constants[k])
        return self._origin(source)

    # -- boxes

    def _own_name(self, where: Any) -> str:
        name = where.name or self.found.names.get(where)
        return names.pretty(name) if name else ""

    def _name(self, where: Any) -> str:
        own = self._own_name(where)
        if own:
            return own
        path = self.paths.get(where) or self.variables.get(where)
        return names.pretty(path) if path else ""

    def _box(self, op: Any) -> _Box:
        if op in self.pieces:
            box = _Box("op", op, self.pieces[op], op.shape, op.dtype)
            origin = self._input(op.op, 0)
            box.inputs = [(origin.where, origin.label)]
            box.local = True
            return box
        if isinstance(op, Leaf):
            box = _Box("parameter", op, self._name(op) or "tensor", op.shape, op.dtype)
            box.local = op in self.paths or (bool(op.name) and op not in self.variables)
            return box
        if isinstance(op, Constant):
            name = self._name(op)
            box = _Box("input", op, name or self.found.constants.get(op) or "constant", op.shape, op.dtype)
            box.local = not name
            return box
        kind = "fused" if isinstance(op, FusedOp) else "op"
        symbol = self.symbols.get(op, op)
        box = _Box(kind, op, names.op_label(op), symbol.shape, op.dtype)
        box.name, box.equation = self._name(symbol), symbol.equation
        labels = _input_names(op)
        for k, source in enumerate(op.sources):
            if source is None and not isinstance((op.constants or [])[k], Constant):
                continue  # a number, which is part of the label, or nothing
            origin = self._input(op, k)
            where = origin.where
            if isinstance(where, Constant) and not self._name(where) and where not in self.boxes:
                self.boxes[where] = self._box(where)
                self.boxes[where].label = labels[k] or _long_name(op, k) or self.boxes[where].label
            shown = origin.label if origin.label or len(op.sources) == 1 else labels[k]
            if shown == self._name(where) or (where in self.boxes and shown == self.boxes[where].label):
                shown = ""
            box.inputs.append((where, shown))
        for name, array in _hidden(op):
            # Known by the array itself: two operations on the same tokens have one input.
            place = self.hidden.setdefault(id(array), Constant(array.shape, array.dtype))
            self.kept.append(array)
            if place not in self.boxes:
                self.boxes[place] = _Box(
                    "input", place, names.pretty(self.arrays.get(id(array), name)), array.shape, array.dtype
                )
                self.boxes[place].local = id(array) not in self.arrays
            box.inputs.append((place, ""))
        return box

    # -- several operations that a person sees as one

    def _merge(self) -> None:
        for op in self.found.ops:
            box = self.boxes.get(op)
            if box is None:
                continue
            if type(op).__name__ == "Div":
                self._merge_mean(op, box)
            elif type(op).__name__ == "Add":
                self._merge_sum(op, box)

    def _merge_mean(self, op: Op, box: _Box) -> None:
        n = (op.constants or [None])[-1]
        if len(box.inputs) != 1 or not isinstance(n, int):
            return
        where, label = box.inputs[0]
        inner = self.boxes.get(where)
        if label or inner is None or type(where).__name__ != "Sum" or not self._alone(inner):
            return
        before, after = (int(np.prod(shape)) for shape in (where.sources[0].shape, where.shape))
        if before == n * after:
            axis = names.op_label(where).removeprefix(names.OPS["Sum"])
            box.label, box.inputs = "mean" + axis, inner.inputs
            del self.boxes[where]

    def _merge_sum(self, op: Op, box: _Box) -> None:
        """a + b + c is one sum of three, where nobody names or uses a + b."""
        if len(box.inputs) < 2:
            return
        where, label = box.inputs[0]
        inner = self.boxes.get(where)
        if (
            not label
            and inner is not None
            and type(where).__name__ == "Add"
            and 2 <= len(inner.inputs) < WIDEST_SUM
            and self._alone(inner)
            and where.scope is op.scope
        ):
            box.inputs = [*inner.inputs, *box.inputs[1:]]
            del self.boxes[where]

    @staticmethod
    def _alone(box: _Box) -> bool:
        return not box.name and not box.output and box.uses == 1

    # -- the value

    def _finish(self, title: str) -> Graph:
        order: dict[Any, None] = {}
        for op in self.found.ops:
            if op in self.boxes:
                for where, _ in self.boxes[op].inputs:
                    if where in self.pieces:
                        order.setdefault(self._key(self.boxes[where].inputs[0][0]))
                    order.setdefault(self._key(where))
                order.setdefault(op)
        for place in self.boxes:  # an output that no operation made
            order.setdefault(place)
        ids = {where: f"n{k}" for k, where in enumerate(order)}
        parts = _Parts(self)
        homes = {where: parts.of(where.scope) for where in order if isinstance(where, Op)}
        for where in reversed(order):  # what uses a value comes before it
            here = homes.setdefault(where, None)
            for place, _ in self.boxes[where].inputs:
                if not isinstance(place, Op) and place in self.boxes and self.boxes[place].local:
                    homes[place] = parts.common(homes[place], here) if place in homes else here
        nodes = []
        for where in order:
            box = self.boxes[where]
            name = box.name
            shape, dtype = box.shape, box.dtype
            if box.slots:  # one of several outputs
                slots = [box.slots[k] for k in sorted(box.slots)]
                name = ", ".join(filter(None, map(self._name, slots)))
                if len(slots) == 1:
                    shape, dtype, box.equation = slots[0].shape, slots[0].dtype, slots[0].equation
            nodes.append(
                Node(
                    ids[where],
                    box.kind,
                    f"{name} = {box.label}" if name else box.label,
                    None if shape is None else tuple(int(n) for n in shape),
                    None if dtype is None else str(dtype),
                    homes[where],
                    type(where).__name__ if isinstance(where, Op) else "",
                    box.equation.text if box.equation else "",
                    box.output,
                    source=self._source(box.equation) if box.equation else "",
                )
            )
        edges = []
        for where in order:
            for place, label in self.boxes[where].inputs:
                source = self._key(place)
                if source is not place and len(self.boxes[source].slots) > 1:
                    label = self._name(place) or label or f"output {place.index}"
                edges.append(Edge(ids[source], ids[where], label))
        return Graph(title, tuple(nodes), tuple(edges), tuple(parts.parts))

    def _source(self, equation: Equation) -> str:
        if equation.id not in self.sources:
            self.sources[equation.id] = names.source(equation.file, equation.line)
        return self.sources[equation.id]


class _Parts:
    """The frames, made from the scopes that operations noted."""

    def __init__(self, picture: _Picture) -> None:
        self.picture = picture
        self.parts: list[Part] = []
        self.known: dict[int, str] = {}
        self.parents: dict[str, str | None] = {}

    def of(self, scope: Scope | None) -> str | None:
        """The id of a scope's part."""
        new = []
        while scope is not None and id(scope) not in self.known:
            new.append(scope)
            scope = scope.parent
        part = None if scope is None else self.known[id(scope)]
        for scope in reversed(new):
            name = f"p{len(self.parts)}"
            self.parts.append(Part(name, *self._describe(scope.owner), part, self._note(scope.owner)))
            self.parents[name] = part
            part = self.known[id(scope)] = name
        return part

    def common(self, a: str | None, b: str | None) -> str | None:
        """The innermost part that holds both."""
        parents = self.parents
        above = set()
        while a is not None:
            above.add(a)
            a = parents[a]
        while b is not None and b not in above:
            b = parents[b]
        return b

    def _describe(self, owner: Any) -> tuple[str, str]:
        if isinstance(owner, Module):
            path = self.picture.module_paths.get(id(owner), "")
            kind = type(owner).__name__
            return names.clean(f"{path}: {kind}" if path else kind), "module"
        if isinstance(owner, Block):
            return names.clean(owner.name), "equations"
        if isinstance(owner, FusedOp):
            return names.op_label(owner), "opened"
        return names.clean(owner), "step" if isinstance(owner, Step) else "named"

    @staticmethod
    def _note(owner: Any) -> str:
        if isinstance(owner, Block):
            return names.source(owner.file, owner.line)
        return ""


def _input_names(op: Op) -> list[str]:
    """What a fused op calls its inputs."""
    n = len(op.sources)
    if not isinstance(op, FusedOp):
        return [""] * n
    found = list(inspect.signature(type(op).definition).parameters.values())[1:]
    if any(p.kind is p.VAR_POSITIONAL for p in found) or len(found) < n:
        return [""] * n
    return [names.pretty(p.name) for p in found[:n]]


def _long_name(op: Op, k: int) -> str:
    """What an operation calls an input, where that says something: a condition, but not a and b."""
    name = op.names[k] if k < len(op.names) else ""
    return name if len(name) > 1 else ""


def _hidden(op: Op) -> list[tuple[str, Any]]:
    """Arrays that are no inputs of an operation and yet decide what it computes: tokens, targets, a condition."""
    given = dict(op.static) if isinstance(op, FusedOp) else {key: x for key, x in vars(op).items() if key not in _OWN}
    index = given.pop("index", None)
    if isinstance(index, tuple):
        given |= {f"index {k}": part for k, part in enumerate(index)}
    elif index is not None:
        given["indices"] = index
    return [(name, x) for name, x in given.items() if hasattr(x, "dtype") and getattr(x, "shape", None)]


_OWN = ("kept", "inputs", "tape", "grad", "constants", "sources", "dtype", "outputs", "number", "scope", "shape")
