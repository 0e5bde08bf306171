"""From a tensor to its picture: walk back, open what was asked for, draw plumbing as edges, give names."""

from __future__ import annotations

import builtins
import inspect
import math
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Leaf, Op, Tensor
from ..core.equations import Block, Equation
from ..core.op import Slot
from ..core.state import Derivative, Scope, Step, setting
from ..core.tensor import Constant, Place, next_number
from ..nn import Module
from ..ops.attention_decoder import GRUAttentionDecoder
from . import names
from .gradients import Gradients, summary, together
from .repeats import fold_repeats
from .value import Edge, Graph, Node, Part, Summary, fold_depth, fold_steps, fold_to, fold_to_fit, join_steps

# These move elements about without computing anything: an arrow says enough.
PLUMBING = {
    "Reshape", "Transpose", "SwapAxes", "GetItem", "Split", "Stack", "Unstack", "BroadcastTo", "Same", "AsType",
    "ToDevice", "Hooked",
}  # fmt: skip
MOST_OPENED = 100_000  # operations that the whole picture may have from definitions; what has more stays closed
MOST = 400  # boxes that a picture has; more are folded
HARDEST = 3000  # rows that all arrows run over together: about a second of Graphviz; 5000 are six
WIDEST_SUM = 8  # terms that one + takes
_Called = tuple[dict[Any, str], dict[int, str], list[tuple[str, Module]]]  # what names.from_variables finds


def graph(
    value: Any,
    *,
    open: Any = (),
    depth: int | None = None,
    repeats: bool = False,
    equations: bool = False,
    time: bool | str = False,
    grad: bool = False,
    title: str | None = None,
) -> Graph:
    """The picture of how a value was computed. The computation needs no preparation, and may have been differentiated.

    Boxes are named by, in this order: a tensor's own `name` or its symbol in an equation, its path in the model
    (`lstm.weight_ih_l0`), the variable that holds it where this function is called, the operation. Calls of modules,
    equation blocks and time steps are frames. What moves elements without computing (reshape, split, indexing) is part
    of an arrow. Of more than three time steps the first and the last are drawn; of three or more equal blocks in a row,
    as the layers of a Transformer, the first, whose frame says `× 12`; of more than 400 boxes the rest is folded. The
    picture says how many boxes it shows and how many are folded.

    Args:
        value: a Tensor, or a list or tuple of them.
        open: fused operations to draw as their equations: a name ("lstm", "softmax"), several, or Python's `all`.
        depth: how many frames are drawn around each other; a deeper one is closed: one box, with the shape of what
            comes out and the number of boxes in it. With 1, the parts of a model are boxes.
        repeats: True draws each of the equal blocks in a row.
        equations: True writes the whole equation into the box of a symbol: `f_t = σ(W_f x_t + U_f h_{t-1} + b_f)`.
        time: True draws each step of each recurrent layer as one box: time from left to right, layers from bottom to
            top. Arrows of attention have its weights, unless backward has freed them, and a detached state is an arrow
            that is cut. "rolled" draws each layer as one box, whose state comes back to it.
        grad: True shows on each arrow how large ‖∂L/∂·‖ is, where · is the value that the arrow carries and L is
            `value`, a loss of one element: by colour and width, on a log scale. It takes the time of a backward pass
            and leaves the graph as it is; hooks do not run, and no `.grad` is touched.
        title: what stands above the picture.
    Returns:
        A Graph: a plain value that can `save` itself.
    Raises:
        TypeError: for what is not a Tensor.
        ValueError: for a tensor that has no graph, a name in `open` that no fused operation of this graph has, a depth
            below 1, `time` where nothing is recurrent, `time` with one of `depth`, `repeats`, `equations`, or `grad`
            for what is no single tensor of one element.
        RuntimeError: for `grad` where backward has freed what operations kept, or a weight was written into since.

    >>> import tinygrad_seq as ts
    >>> x, W = ts.tensor([[1.0, 2.0]]), ts.tensor([[3.0], [4.0]], requires_grad=True)
    >>> y = ts.ops.sigmoid(x @ W)
    >>> g = ts.graph(y)
    >>> [(node.kind, node.label, node.shape) for node in g.nodes]
    [('input', 'x', (1, 2)), ('parameter', 'W', (2, 1)), ('op', '@', (1, 1)), ('op', 'y = σ', (1, 1))]
    """
    return build(
        value,
        sys._getframe(1).f_locals,
        open=open,
        depth=depth,
        repeats=repeats,
        equations=equations,
        time=time,
        grad=grad,
        title=title,
    )


def build(
    value: Any,
    variables: Mapping[str, Any],
    *,
    open: Any = (),
    depth: int | None = None,
    repeats: bool = False,
    equations: bool = False,
    time: bool | str = False,
    grad: bool = False,
    title: str | None = None,
) -> Graph:
    """As `graph`, with the caller's variables given."""
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int)):
        raise TypeError(f"graph: depth is a whole number from 1 on, or None, got {depth!r}")
    if depth is not None and depth < 1:
        raise ValueError(f"graph: depth counts the frames that are drawn around each other, from 1 on, got {depth}")
    if time and (depth is not None or repeats or equations):
        raise ValueError(
            "graph: time draws each step as one box: depth, repeats and equations are for pictures without it"
        )
    outputs = _tensors(value)
    if grad:
        _check_loss(outputs)
    found = _Ops(outputs, open, grad, bool(time))
    called = names.from_variables({name: x for name, x in variables.items() if name not in ("In", "Out")})
    picture = _Picture(found, called, equations, Gradients(found, outputs[0]) if grad else None)
    heading = "" if title is None else names.clean(title, 2 * names.LONGEST)
    if time:
        from .grid import ROLLED, grid  # which is built on this file

        if time not in (True, ROLLED):
            raise ValueError(f'graph: time is True, False or "{ROLLED}", got {time!r}')
        drawn = fold_to(grid(found, picture, heading, time == ROLLED), MOST)
    else:
        drawn = fold_steps(join_steps(picture.draw(heading)))
        drawn = drawn if repeats else fold_repeats(drawn)
        drawn = drawn if depth is None else fold_depth(drawn, depth)
        drawn = fold_to_fit(drawn, MOST, HARDEST)
    return replace(drawn, whole=partial(_whole, outputs, open, equations, grad, _kept(called, found), heading))


def _whole(outputs: list[Tensor], open: Any, equations: bool, grad: bool, called: _Called, heading: str) -> Graph:
    """The picture with every fused operation opened and nothing folded."""
    try:
        found = _Ops(outputs, builtins.all, grad, False, MOST_OPENED)
        gradients = Gradients(found, outputs[0]) if grad else None
    except ValueError:  # a definition that cannot be opened
        found = _Ops(outputs, open, grad, False)
        gradients = Gradients(found, outputs[0]) if grad else None
    except RuntimeError:  # backward has freed since what the operations kept
        return _whole(outputs, open, equations, False, called, heading)
    return join_steps(_Picture(found, called, equations, gradients).draw(heading))


def _kept(called: _Called, found: _Ops) -> _Called:
    """The names of what is in the graph: a picture holds on to its own computation, and to no other one."""
    places, arrays, modules = called
    there: set[Any] = {*found.outputs, *found.ops}
    for op in found.ops:
        there.update(place for place in op.sources if place is not None)
        there.update(x for x in op.constants or () if isinstance(x, Constant))
    held = {id(x) for op in found.ops for _, x in _hidden(op)}
    return (
        {place: name for place, name in places.items() if place in there},
        {key: name for key, name in arrays.items() if key in held},
        modules,
    )


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


def _check_loss(outputs: list[Tensor]) -> None:
    if len(outputs) > 1 or outputs[0].size != 1:
        given = f"{len(outputs)} tensors" if len(outputs) > 1 else f"a tensor of shape {outputs[0].shape}"
        raise ValueError(
            f"graph: grad=True shows the gradients of one loss of one element, got {given}: reduce first, as in "
            "ts.graph(t.sum(), grad=True)"
        )


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

    def __init__(self, outputs: list[Tensor], open: Any, grad: bool, time: bool, most: float = math.inf) -> None:
        self.left = most  # operations that definitions may still make
        self.grad, self.time = grad, time
        self.everything = open is builtins.all or open is True
        self.wanted = () if self.everything else _words(open)
        self.used: set[str] = set()
        self.closed: set[str] = set()
        self.opened: dict[Op, _Opened] = {}
        self.on_zeros: set[int] = set()  # ids of those whose definitions ran on zeros
        self.alias: dict[Any, Any] = {}  # the inputs that a definition ran on -> what stands for them
        self.inputs: dict[Leaf, str] = {}  # what a definition calls them
        self.constants: dict[Any, str] = {}
        self.names: dict[Any, str] = {}  # given to outputs of what was opened
        self.outputs = [_place(t) for t in outputs]
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
        self.devices = self._devices(outputs)

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
            if self.grad and op.kept is None:
                raise RuntimeError(
                    "graph: grad=True differentiates the loss again, and backward has freed what the operations kept: "
                    "draw before backward, or call backward(retain_graph=True)"
                )
            if isinstance(op, FusedOp) and self._asked_for(op) and self._open(op):
                waiting.append(place)
                continue
            seen.add(op)
            ops.append(op)
            waiting += [source for source in op.sources if source is not None]
        return ops

    def _devices(self, outputs: list[Tensor]) -> dict[Any, str]:
        """Where each operation, leaf and constant is: nothing notes it, but all that leads to an output is with it."""
        devices: dict[Any, str] = {}
        for place, t in zip(map(self.resolve, self.outputs), outputs, strict=True):
            devices[place.op if type(place) is Slot else place] = t.device
        for op in reversed(self.ops):
            here = devices[op]
            if type(op).__name__ == "ToDevice":
                here = "cpu" if op.device != "cpu" else "cuda:0"  # type: ignore[attr-defined]
            for source, constant in zip(op.sources, op.constants or repeat(None), strict=False):
                place = constant if source is None else self.resolve(source)
                if isinstance(place, Place | Constant):
                    devices.setdefault(place.op if type(place) is Slot else place, here)
        return devices

    def _asked_for(self, op: FusedOp) -> bool:
        if self.everything:
            return True
        found = [word for word in self.wanted if names.matches(op, [word])]
        self.used.update(found)
        if found or (self.time and _drawn_by_steps(op, self.grad)):
            return True
        self.closed.add(names.op_label(op))
        return False

    def _open(self, op: FusedOp) -> bool:
        """Run the definition on what the operation kept, where its values are asked for; else on zeros of the shapes
        that were noted, for the arrays themselves may be freed by now. False where it makes more operations than may
        be."""
        inputs: list[Any] = []
        constants = op.constants or [None] * len(op.sources)
        true = self.grad or (isinstance(op, GRUAttentionDecoder) and self.time and as_it_was(op))
        if not true:
            self.on_zeros.add(id(op))
        arrays = op.kept[0] if true else [None] * len(op.sources)
        for source, constant, name, array in zip(op.sources, constants, _input_names(op), arrays, strict=True):
            if source is not None:
                leaf = Leaf(source.shape, source.dtype)
                self.alias[leaf] = source
                self.inputs[leaf] = name
                inputs.append(Tensor(_zeros(source) if array is None else array, leaf))
            elif isinstance(constant, Constant):  # as a leaf: what its parts are used for belongs in the picture
                leaf = Leaf(constant.shape, constant.dtype)
                self.alias[leaf] = constant
                self.inputs[leaf] = name
                self.constants.setdefault(constant, name)
                inputs.append(Tensor(_zeros(constant) if array is None else array, leaf))
            else:
                inputs.append(constant)
        static = op.static if true else {key: _on_host(x) for key, x in op.static.items()}
        first = next_number()
        try:
            state = setting(scope=Scope(op.scope, op), grad=True, fused=True, recorder=None, tracer=None)
            with state, np.errstate(all="ignore"):
                outputs = op.definition(*inputs, **static)
        except Exception as error:
            raise ValueError(f"graph: {names.op_label(op)} cannot be opened: its definition raised: {error}") from error
        places = [_place(t) for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
        last = next_number()
        if first - last > self.left:
            return False
        self.left -= first - last
        self.opened[op] = _Opened(op, places, first, last)
        return True

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


def _over_time(op: Op) -> bool:
    """Whether an operation is a recurrence over a whole sequence."""
    return isinstance(op, FusedOp) and "reverse" in op.static and any(name.endswith("_0") for name in op.names)


def _drawn_by_steps(op: Op, grad: bool) -> bool:
    """Whether each step over time is drawn from the definition: of a decoder, whose arrows of attention begin in it;
    with gradients of every recurrence, since those at each step are the definition's."""
    return isinstance(op, GRUAttentionDecoder) or (grad and _over_time(op))


def as_it_was(op: Op) -> bool:
    """Whether what an operation kept still is what it was computed from: not freed by backward, nor written into by an
    optimizer."""
    return op.kept is not None and not any(type(source) is Leaf and source.written < op.number for source in op.sources)


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


class _Input(NamedTuple):
    """An arrow into a box."""

    where: Any  # it begins at: an op or a place
    label: str = ""
    carries: Any = None  # the place that is read, of whose gradient the arrow tells


class _Box:
    """A node in the making."""

    def __init__(self, kind: str, where: Any, label: str, shape: Any, dtype: Any) -> None:
        self.kind, self.where, self.label, self.shape, self.dtype = kind, where, label, shape, dtype
        self.name = ""  # what a person calls the value
        self.equation: Any = None
        self.inputs: list[_Input] = []
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
    def __init__(
        self, found: _Ops, called: _Called, equations: bool = False, gradients: Gradients | None = None
    ) -> None:
        self.found, self.equations, self.gradients = found, equations, gradients
        places, self.arrays, modules = called
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
        self.values: dict[tuple[Any, int], Summary] = {}  # (operation, which output) or (leaf, 0) -> what was traced
        self._read_notes()
        self.losses: dict[Derivative, str] = {}  # nameless tensors that were differentiated -> "L"
        self.gradient_names: dict[Any, str] = {}
        for op in found.ops:  # the first that was differentiated is L
            if op.gradient_of is not None:
                self._differentiated(op.gradient_of[0])

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

    def _read_notes(self) -> None:
        """What `trace` had the operations note; an opened one's notes are about its definition's outputs."""
        for op in [*self.found.ops, *self.found.opened]:
            if op.note is None:
                continue
            made = self.found.opened[op].outputs if op in self.found.opened else None
            for k, value in enumerate(op.note.outputs):
                place = op if made is None else self.found.resolve(made[k])
                key = (place.op, place.index) if type(place) is Slot else (place, k if made is None else 0)
                if value is not None:
                    self.values[key] = value
            for source, constant, value in zip(op.sources, op.constants or repeat(None), op.note.inputs, strict=False):
                if value is not None:
                    self.values.setdefault((constant if source is None else self.found.resolve(source), 0), value)

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
            waiting += [given.where for given in box.inputs]
        for place in outputs:
            self.boxes[self._key(self._origin(place).where)].output = True
        for box in self.boxes.values():
            for given in box.inputs:
                self.boxes[self._key(given.where)].uses += 1
        self._merge()
        return self._finish(title)

    def _key(self, where: Any) -> Any:
        """What a box is found by: the operation, for all of its outputs, but for pieces."""
        return where.op if type(where) is Slot and where not in self.pieces else where

    # -- plumbing

    def _before_plumbing(self, place: Any) -> Any:
        """An output that is a symbol of an equation, as in c_i = squeeze(α h), or a gradient: the product is c_i."""
        if type(place).__name__ not in ("Reshape", "Transpose", "SwapAxes"):
            return place
        if place.equation is None and place.gradient_of is None:
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
        elif kind not in ("Split", "Unstack", "Same", "Hooked") and op.shape != source.shape:
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
        return names.pretty(name) if name else self._gradient_name(where)

    def _gradient_name(self, where: Any) -> str:
        """∂L/∂W, where it is one, and W has a name of its own."""
        if getattr(where, "gradient_of", None) is None:
            return ""
        if where not in self.gradient_names:
            of, by = self._derivative(where)
            known = all(by) and not any("∂" in name for name in by)
            self.gradient_names[where] = names.derivative(of, by) if known else ""
        return self.gradient_names[where]

    def _derivative(self, where: Any) -> tuple[str, list[str]]:
        """What was differentiated, and with respect to what: once, or again and again."""
        derivative, place = where.gradient_of
        outer: Any = derivative.of[0] if len(derivative.of) == 1 else None
        if getattr(outer, "gradient_of", None) is not None and outer.name is None:
            of, by = self._derivative(outer)
            return of, [*by, self._name_of(place) if type(place) is Leaf else ""]
        # Of a constant gradient nothing else is known.
        label = _op_label(place) if isinstance(where, Constant) else ""
        return self._differentiated(derivative), [self._name_of(place) or label]

    def _differentiated(self, derivative: Derivative) -> str:
        """The name of the loss; of those without L, L′ …"""
        place = derivative.of[0]
        if derivative.walk is not None:
            return _op_label(place)
        name = self._name_of(place) if len(derivative.of) == 1 and place is not None else ""
        return name or self.losses.setdefault(derivative, "L" + "′" * len(self.losses))

    def _name_of(self, place: Any) -> str:
        return self._name(self.found.resolve(place))

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
            box.inputs = [_Input(origin.where, origin.label, op)]
            box.local = True
            return box
        if isinstance(op, Leaf):
            box = _Box("parameter", op, self._name(op) or "tensor", op.shape, op.dtype)
            box.local = op in self.paths or (bool(op.name) and op not in self.variables)
            return box
        if isinstance(op, Constant):
            name = self._name(op)
            box = _Box("input", op, name or self.found.constants.get(op) or "constant", op.shape, op.dtype)
            box.local = op not in self.variables
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
            box.inputs.append(_Input(where, shown, source))
        for name, array in _hidden(op):
            # Known by the array itself: two operations on the same tokens have one input.
            place = self.hidden.setdefault(id(array), Constant(array.shape, array.dtype))
            self.kept.append(array)
            self.found.devices[place] = backend_of(array).device_of(array)
            if op.note is not None and (value := summary(array)) is not None:
                self.values[place, 0] = value
            if place not in self.boxes:
                self.boxes[place] = _Box(
                    "input", place, names.pretty(self.arrays.get(id(array), name)), array.shape, array.dtype
                )
                self.boxes[place].local = id(array) not in self.arrays
            box.inputs.append(_Input(place))
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
        where, label, _ = box.inputs[0]
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
        where, label, _ = box.inputs[0]
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
                for where in (given.where for given in self.boxes[op].inputs):
                    if where in self.pieces:
                        order.setdefault(self._key(self.boxes[where].inputs[0].where))
                    order.setdefault(self._key(where))
                order.setdefault(op)
        for place in self.boxes:  # an output that no operation made
            order.setdefault(place)
        ids = {where: f"n{k}" for k, where in enumerate(order)}
        parts = _Parts(self)
        homes = {where: parts.of(where.scope) for where in order if isinstance(where, Op)}
        for where in reversed(order):  # what uses a value comes before it
            here = homes.setdefault(where, None)
            for place in (given.where for given in self.boxes[where].inputs):
                if not isinstance(place, Op) and place in self.boxes and self.boxes[place].local:
                    homes[place] = parts.common(homes[place], here) if place in homes else here
        for where in homes:  # a module's own constant, as PE; but x_t is given to a block
            if isinstance(where, Constant) and self._name(where) and homes[where] not in parts.paths:
                homes[where] = None
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
            label = f"{name} = {box.label}" if name else box.label
            path = self.paths.get(where, "")
            if self.equations and box.equation:
                label = _written(name, box.equation)
            elif path and label == names.pretty(path):
                label = names.pretty(parts.relative(path, homes[where]))
            nodes.append(
                Node(
                    ids[where],
                    box.kind,
                    label,
                    None if shape is None else tuple(int(n) for n in shape),
                    None if dtype is None else str(dtype),
                    homes[where],
                    type(where).__name__ if isinstance(where, Op) else "",
                    box.equation.text if box.equation else "",
                    box.output,
                    source=self._source(box.equation) if box.equation else "",
                    device=self.found.devices[where.op if type(where) is Slot else where],
                    line=_line(where.op if type(where) is Slot else where),
                    value=self._value(where, box),
                    gradient=self._gradient(where),
                    path=path,
                )
            )
        edges = []
        values: dict[Any, int] = {}  # what arrows carry, in the order in which they do
        for where in order:
            for place, label, carries in self.boxes[where].inputs:
                source = self._key(place)
                if source is not place and len(self.boxes[source].slots) > 1:
                    label = self._name(place) or label or f"output {place.index}"
                norm = None if self.gradients is None else self.gradients.norm(carries)
                carried: tuple[tuple[int, float], ...] = ()
                if self.gradients is not None and norm is not None:
                    value = self.gradients.outside(carries)
                    carried = ((values.setdefault(value, len(values)), norm),)
                edges.append(Edge(ids[source], ids[where], label, gradient=norm, carries=carried))
        return Graph(title, tuple(nodes), tuple(edges), tuple(parts.parts))

    def _value(self, where: Any, box: _Box) -> Summary | None:
        """What was traced of a box that is one value."""
        if type(where) is Slot:
            return self.values.get((where.op, where.index))
        if len(box.slots) > 1:
            return None
        return self.values.get((self.symbols.get(where, where), min(box.slots, default=0)))

    def _gradient(self, where: Any) -> Summary | None:
        """Of the value of a box; of all its outputs in use, where there are several."""
        if self.gradients is None:
            return None
        places = list(self.boxes[where].slots.values()) or [where]
        found = [(self.gradients.of(place), int(np.prod(place.shape))) for place in places]
        return together([(told, size) for told, size in found if told is not None])

    def _source(self, equation: Equation) -> str:
        if equation.id not in self.sources:
            self.sources[equation.id] = names.source(equation.file, equation.line)
        return self.sources[equation.id]


def _written(name: str, equation: Equation) -> str:
    """An equation in the box of its symbol; that of head_i, in the box of head_2, has a 2 for the i."""
    right = equation.text.partition(" = ")[2].replace(" - ", " − ")
    if equation.symbol.endswith("_i") and (k := name.removeprefix(equation.symbol[:-1])).isdecimal():
        right = re.sub(r"_i\b", f"_{k}", right)
    return f"{name or equation.symbol} = {right}"


def _line(where: Any) -> str:
    """The caller's line that computed a box, if it was traced: inside of what was opened, that of the call."""
    if not isinstance(where, Op):
        return ""
    scope = where.scope
    while where.note is None:
        while scope is not None and not isinstance(scope.owner, FusedOp):
            scope = scope.parent
        if scope is None:
            return ""
        where, scope = scope.owner, scope.parent
    return str(where.note.text)


class _Parts:
    """The frames, made from the scopes that operations noted."""

    def __init__(self, picture: _Picture) -> None:
        self.picture = picture
        self.parts: list[Part] = []
        self.known: dict[int, str] = {}
        self.parents: dict[str, str | None] = {}
        self.paths: dict[str, str] = {}  # of the modules

    def of(self, scope: Scope | None) -> str | None:
        """The id of a scope's part."""
        new = []
        while scope is not None and id(scope) not in self.known:
            new.append(scope)
            scope = scope.parent
        part = None if scope is None else self.known[id(scope)]
        for scope in reversed(new):
            name = f"p{len(self.parts)}"
            self.parts.append(Part(name, *self._describe(scope.owner, part), part, self._note(scope.owner)))
            self.parents[name] = part
            if isinstance(scope.owner, Module):
                self.paths[name] = self.picture.module_paths.get(id(scope.owner), "")
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

    def relative(self, path: str, part: str | None) -> str:
        """A path as it is called in a frame: weight, in the frame of output."""
        while part is not None:
            around = self.paths.get(part)
            if around and path.startswith(f"{around}."):
                return path[len(around) + 1 :]
            part = self.parents[part]
        return path

    def _describe(self, owner: Any, parent: str | None) -> tuple[str, str]:
        if isinstance(owner, Module):
            path = self.relative(self.picture.module_paths.get(id(owner), ""), parent)
            kind = type(owner).__name__
            return names.clean(f"{path}: {kind}" if path else kind), "module"
        if isinstance(owner, Block):
            return names.clean(owner.name), "equations"
        if isinstance(owner, FusedOp):
            return names.op_label(owner), "opened"
        if isinstance(owner, Derivative):
            return f"backward of {self.picture._differentiated(owner)}", "derivative"
        return names.clean(owner), "step" if isinstance(owner, Step) else "named"

    def _note(self, owner: Any) -> str:
        if isinstance(owner, Block):
            return names.source(owner.file, owner.line)
        if isinstance(owner, Module):
            path = self.picture.module_paths.get(id(owner), "")
            return names.clean(f"{path}: {type(owner).__name__}" if path else type(owner).__name__, 2 * names.LONGEST)
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


def _op_label(place: Any) -> str:
    op = place.op if type(place) is Slot else place
    return names.op_label(op) if isinstance(op, Op) else ""


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


_OWN = (
    "kept", "inputs", "tape", "grad", "constants", "sources", "dtype", "outputs", "number", "scope", "shape", "note",
)  # fmt: skip
