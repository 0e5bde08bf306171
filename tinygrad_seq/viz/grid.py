"""A recurrence as a textbook draws it: time to the right, layers upwards, each step of each layer one box."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable
from itertools import pairwise, repeat
from typing import Any, NamedTuple

from ..core import FusedOp, Leaf, Op
from ..core.op import Slot
from ..core.state import Derivative, Scope, Step
from ..core.tensor import Constant
from ..nn.recurrent import _Cell
from ..ops.elementwise import Elementwise
from . import names
from .build import PLUMBING, _hidden, _Ops, _over_time, _Picture
from .gradients import together
from .value import Edge, Graph, Node, Part, Summary

ENDS = 2  # steps that are drawn at each end of a long sequence
ENDS_WITH_GRADIENTS = 5  # where it is to be seen how they fade
ROLLED = "rolled"
ALL, LAST = -1, -2  # instead of a step: the whole sequence, and what is left after its last step
PASSES = PLUMBING | {"Concatenate"}  # what these are made from is where their arrows begin
AT_EACH_STEP = {"Linear", "Embed", "Softmax", "LogSoftmax", "LayerNorm", "Gelu", "Dropout"}  # they never mix steps


class _Row:
    """What happens at each step of one sequence: a layer in one direction, or what is read, or said, at each step."""

    def __init__(self, kind: str, T: int, ends: int, rolled: bool) -> None:
        self.kind, self.T = kind, T
        self.ends = ends  # steps that are drawn at each end, where there are many
        self.rolled = rolled  # one box for all steps
        self.name = ""  # the symbol, or a name, of what is computed
        self.fields: list[str] = []  # of the state that it carries
        self.reverse = False
        self.derivative = False  # of another row: it has its symbols
        self.shape: tuple[int, ...] | None = None
        self.dtype: Any = None
        self.op = ""
        self.weights: dict[str, str] = {}  # their symbols -> the parameters behind them
        self.parameters: dict[Leaf, None] = {}  # all of these
        self.start: list[str] = []  # the fields of the state before the first step, where it comes from nowhere
        self.outputs: set[int] = set()  # which of its boxes the picture was asked for
        self.symbol: Callable[[str], str] = str  # a symbol -> the same with the layer's number and its direction
        self.column = self.level = self.depth = 0

    @property
    def recurrent(self) -> bool:
        return bool(self.fields)

    @property
    def folded(self) -> int:
        """How many steps the box in the middle stands for."""
        return self.T - 2 * self.ends if self.T > 2 * self.ends + 1 and not self.rolled else 0

    @property
    def places(self) -> list[int]:
        """The steps that have a box; ALL stands for those in the middle."""
        if not self.folded:
            return list(range(1 if self.rolled else self.T))
        return [*range(self.ends), ALL, *range(self.T - self.ends, self.T)]

    def steps(self, k: int) -> Iterable[int]:
        """The steps that one of its boxes shows."""
        if self.rolled:
            return range(self.T)
        t = self.places[k]
        return range(self.ends, self.T - self.ends) if t == ALL else (t,)

    def place(self, t: int) -> int:
        """Which of its boxes shows a step."""
        if self.rolled:
            return 0
        if t == LAST:
            t = 0 if self.reverse else self.T - 1
        if not self.folded or t < self.ends:
            return t
        return self.ends if t < self.T - self.ends else t - self.folded + 1


class _Rest:
    """All operations between the same rows, as one box: what comes before the recurrence, between two, or after."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.output = False
        self.column = self.level = 0


class _From(NamedTuple):
    """Where a value comes from: a row's step, all of its steps, a box beside the rows, or a place outside of both."""

    what: Any
    t: int = ALL


def grid(found: _Ops, picture: _Picture, title: str, rolled: bool = False) -> Graph:
    """The picture in which each step of each layer is one box; rolled, each layer, whose state comes back to it.

    Raises:
        ValueError: where nothing is repeated over time.
    """
    return _Grid(found, picture, rolled).draw(title)


class _Grid:
    def __init__(self, found: _Ops, picture: _Picture, rolled: bool) -> None:
        self.found, self.picture, self.rolled = found, picture, rolled
        self.rows: list[_Row] = []
        self.steps: dict[Op, tuple[_Row, int]] = {}  # operations in a loop over time
        self.whole: dict[Op, _Row] = {}  # operations over all of time
        self.given: dict[Any, _Row] = {}  # sequences that no row computes
        self.rest: dict[Op, None] = {}
        self.weights: set[Any] = set()  # what is computed from parameters alone
        self.boxes: dict[Op, _Rest] = {}  # the box of each operation in `rest`, when they are known
        self.memo: dict[Any, tuple[_From, ...]] = {}
        # What the definition of an opened operation calls what it was given.
        self.symbols = {found.resolve(place): name for place, name in found.inputs.items()}
        self.pairs: dict[tuple[_From, _From], dict[str, None]] = {}  # arrows and their labels
        self.above: dict[_Row, dict[_Row, None]] = {}  # a row -> those that read it at the same step
        # What arrows carry, under their labels: a place or, of a sequence, its part at one step.
        self.carried: dict[tuple[_From, _From], dict[str, dict[tuple[Any, int | None], None]]] = {}

    def draw(self, title: str) -> Graph:
        self._find_loops()
        if not self.rows and not any(map(_over_time, self.found.ops)):
            raise ValueError(
                "graph: time=True draws a recurrence, and there is none here: neither a recurrent layer, nor "
                "ts.ops.scan, nor a cell in a loop"
            )
        for op in self.found.ops:
            self._classify(op)
        self._demote_sequences()
        self.memo.clear()  # what was a weight may now be a box
        self._collect_rest()
        for op, row in self.whole.items():
            self._connect_whole(op, row)
        self._connect_loops()
        self._connect_rest()
        for place in map(self.found.resolve, self.found.outputs):
            for source in self._origins(place):
                if isinstance(source.what, _Row):
                    source.what.outputs |= (
                        {source.what.place(source.t)} if source.t != ALL else set(range(len(source.what.places)))
                    )
                elif isinstance(source.what, _Rest):
                    source.what.output = True
        self._arrange()
        return self._finish(title)

    # -- which operation belongs where

    def _row(self, kind: str, T: int) -> _Row:
        return _Row(kind, T, ENDS if self.picture.gradients is None else ENDS_WITH_GRADIENTS, self.rolled)

    def _find_loops(self) -> None:
        """Steps of scans, and calls of one cell in a loop of one's own."""
        self.loops: dict[_Row, list[list[Op]]] = {}
        runs: dict[Any, tuple[_Row | None, int]] = {}
        where: dict[int, tuple[_Row, int]] = {}  # a step's scope -> its row, and which step it is
        read: dict[int, set[Any]] = {}  # a step's scope -> the ops that it reads
        for op in self.found.ops:
            if (scope := _step_scope(op.scope)) is not None:
                read.setdefault(id(scope), set()).update(self._makers(op))
        for op in self.found.ops:
            scope = _step_scope(op.scope)
            if scope is None:
                continue
            if id(scope) not in where:
                owner = scope.owner
                key = (id(scope.parent), None if isinstance(owner, Step) else id(owner))
                row, last = runs.get(key, (None, -1))
                t = owner.t if isinstance(owner, Step) else last + 1
                # Another run over time: of a cell, where it does not go on from its last call.
                if row is None or (
                    abs(t - last) != 1 if isinstance(owner, Step) else read[id(scope)].isdisjoint(self.loops[row][-1])
                ):
                    row = self._row("op", 0)
                    row.op, row.derivative = _called(scope), _is_derivative(scope)
                    self.rows.append(row)
                    self.loops[row] = []
                # The derivative of a loop of one's own begins at its end.
                row.reverse = row.T > 0 and t < last if isinstance(owner, Step) else row.derivative
                row.T += 1
                runs[key] = (row, t)
                where[id(scope)] = (row, len(self.loops[row]))
                self.loops[row].append([])
            row, k = where[id(scope)]
            self.loops[row][k].append(op)
            self.steps[op] = (row, k)
        self.read_whole = {self.found.resolve(s) for op in self.steps for s in op.sources if s is not None}
        for row, steps in self.loops.items():
            if row.reverse:
                for k, ops in enumerate(steps):
                    self.steps |= {op: (row, row.T - 1 - k) for op in ops}

    def _makers(self, op: Op) -> set[Any]:
        """The ops that an op reads, through plumbing."""
        found: set[Any] = set()
        waiting = [s for s in op.sources if s is not None]
        while waiting:
            place = self.found.resolve(waiting.pop())
            maker = place.op if type(place) is Slot else place
            if isinstance(maker, Op) and maker not in found:
                found.add(maker)
                waiting += [s for s in maker.sources if s is not None] if type(maker).__name__ in PLUMBING else []
        return found

    def _classify(self, op: Op) -> None:
        both = self._both_directions(op)
        if op in self.steps or (self._passes(op) and not both):
            return
        made_of_weights = all(map(self._is_weight, op.sources)) and not any(map(_is_array, op.constants or ()))
        if made_of_weights and not _hidden(op) and not _over_time(op):
            self.weights.add(op)
            return
        if isinstance(op, FusedOp) and _over_time(op):
            assert op.outputs is not None
            row = self._row("fused", op.outputs[0].shape[1])
            row.reverse = op.static["reverse"]
            row.fields = [name[:-2] for name in _parameters(op) if name.endswith("_0")]
            row.name, row.op = row.fields[0], names.op_label(op)
            row.shape = (op.outputs[0].shape[0], *op.outputs[0].shape[2:])
            row.dtype = op.outputs[0].dtype
        elif both:
            row = self._row("op", op.shape[1])
            row.name, row.op = _base(self._name(op)) or "h", names.op_label(op)
            row.shape, row.dtype = (op.shape[0], *op.shape[2:]), op.dtype
        elif (T := self._step_by_step(op)) is not None:
            row = self._row("fused" if isinstance(op, FusedOp) else "op", T)
            row.name = self._name(op) or names.op_label(op)
            row.shape, row.dtype, row.op = (op.shape[0], *op.shape[2:]), op.dtype, names.op_label(op)
        else:
            self.rest[op] = None
            return
        self.rows.append(row)
        self.whole[op] = row

    def _passes(self, op: Any) -> bool:
        if type(op).__name__ not in PASSES or op in self.steps or op in self.whole:
            return False
        return type(op).__name__ != "GetItem" or not _rearranges_time(op)

    def _both_directions(self, op: Op) -> bool:
        """Whether an operation joins what two rows say at each step: h_t = [→h_t; ←h_t]."""
        if type(op).__name__ != "Concatenate" or op in self.steps or len(op.shape) < 3:
            return False
        origins = [origin for source in op.sources if source is not None for origin in self._origins(source)]
        return len({o.what for o in origins}) > 1 and all(
            isinstance(o.what, _Row) and o.t == ALL and o.what.T == op.shape[1] for o in origins
        )

    def _is_weight(self, place: Any) -> bool:
        if place is None:
            return True
        here = self.found.resolve(place)
        while len(before := self._before(here)) == 1:  # Wᵀ
            (here,) = before
        return isinstance(here, Leaf) or (here.op if type(here) is Slot else here) in self.weights

    def _step_by_step(self, op: Op) -> int | None:
        """How many steps an operation has that treats each step of a row by itself."""
        kind = type(op).__name__
        known = isinstance(op, Elementwise) or kind in AT_EACH_STEP
        # What each step of a decoder reads as a whole, such as the keys of a score, is no row: too many arrows.
        known = known or (kind == "MatMul" and self._is_weight(op.sources[1]) and op not in self.read_whole)
        if not known or op.shape is None or len(op.shape) < 3:
            return None
        if kind == "Embed":
            return op.shape[1]
        sources = [source for source in op.sources if source is not None and not self._is_weight(source)]
        if not sources and any(map(_is_array, op.constants or ())):  # the input itself
            return op.shape[1]
        origins = [origin for source in sources for origin in self._origins(source)]
        steps = {o.what.T if isinstance(o.what, _Row) and o.t == ALL else None for o in origins}
        return op.shape[1] if steps == {op.shape[1]} else None

    # -- where a value comes from

    def _origins(self, place: Any) -> tuple[_From, ...]:
        """A loop, since plumbing may be chained to any length."""
        place = self.found.resolve(place)
        waiting = [place]
        while waiting:
            here = waiting[-1]
            needed = [p for p in self._before(here) if p not in self.memo]
            if needed:
                waiting += needed
                continue
            waiting.pop()
            if here not in self.memo:
                self.memo[here] = self._origin(here)
        return self.memo[place]

    def _before(self, place: Any) -> list[Any]:
        op = place.op if type(place) is Slot else place
        return [self.found.resolve(s) for s in op.sources if s is not None] if self._passes(op) else []

    def _origin(self, place: Any) -> tuple[_From, ...]:
        op = place.op if type(place) is Slot else place
        if op in self.steps:
            return (_From(*self.steps[op]),)
        if op in self.whole:
            recurrent = type(place) is Slot and place.index > 0
            return (_From(self.whole[op], LAST if recurrent else ALL),)
        if not self._passes(op):
            return (_From(self.boxes.get(op) or (op if op in self.rest else place)),)
        before = [self.memo[p] for p in self._before(op)]
        kind = type(op).__name__
        if kind == "Unstack":
            return self._item(op, place.index, before[0])
        if kind == "GetItem" and isinstance(t := _time_index(op), int):
            return self._item(op, t % op.sources[0].shape[1], before[0])
        found = tuple(dict.fromkeys(source for sources in before for source in sources))
        rows = {source.what for source in found}
        if kind == "Stack" and len(rows) == 1 and len(found) == getattr(found[0].what, "T", 0):
            return (_From(found[0].what),)
        return found

    def _item(self, op: Op, t: int, before: tuple[_From, ...]) -> tuple[_From, ...]:
        """One step of a sequence, or one of several values that were stacked."""
        source = self.found.resolve(op.sources[0])
        if type(source).__name__ == "Stack" and getattr(op, "axis", 1) == source.axis:
            return self.memo[self.found.resolve(source.sources[t])] if source.sources[t] is not None else ()
        T = len(op.outputs) if op.outputs is not None else op.sources[0].shape[1]
        return tuple(_From(s.what, t) if s.t == ALL and getattr(s.what, "T", T) == T else s for s in before)

    # -- arrows

    def _connect_whole(self, op: Op, row: _Row) -> None:
        constants = op.constants or [None] * len(op.sources)
        first = row.T - 1 if row.reverse else 0
        parameters = _parameters(op) or [""] * len(op.sources)
        for name, source, constant in zip(parameters, op.sources, constants, strict=False):
            if name.endswith("_0"):
                origins = self._origins(source) if source is not None else ()
                known = [o for o in origins if isinstance(o.what, _Row | _Rest)]
                for origin in known:
                    self._arrow(origin, _From(row, first), name[:-2], source)
                if not known:
                    row.start.append(name[:-2])
            elif source is not None and self._is_weight(source) and not (row.recurrent and name == "x"):
                self._weight(row, name if row.recurrent else "", source)
            elif source is not None or isinstance(constant, Constant):
                for origin in self._origins(source) if source is not None else (_From(constant),):
                    self._reads(row, origin, row.T, source)
        for name, array in _hidden(op) if not row.recurrent else ():
            if id(array) not in self.given:
                self.given[id(array)] = self._sequence(array, self.picture.arrays.get(id(array), name))
            self._reads(row, _From(self.given[id(array)]), row.T)
        if row.recurrent:
            row_ends = [_From(row, t) for t in range(len(row.places))]
            for here, there in pairwise(reversed(row_ends) if row.reverse else row_ends):
                self.pairs.setdefault((here, there), {})[", ".join(row.fields)] = None

    def _reads(self, row: _Row, origin: _From, T: int, place: Any = None) -> None:
        """A row reads a sequence, each of its steps at the same step."""
        what = origin.what
        if not isinstance(what, _Row):
            what = self._given(what, T)
        if origin.t in (ALL, LAST) and what.T == T and what is not row:
            self.above.setdefault(what, {})[row] = None
            for k in range(len(row.places)):
                self.pairs.setdefault((_From(what, k), _From(row, k)), {})[""] = None
                self._carry(_From(what, k), _From(row, k), "", place, _From(row, k))
        elif what is not row:  # a part of another row, or one step of it: that row comes first
            self._arrow(_From(what, LAST), _From(row, row.T - 1 if row.reverse else 0), "", place)

    def _given(self, place: Any, T: int) -> _Row:
        """The row of a sequence that no row computes."""
        if place not in self.given:
            array = place.ops[-1] if isinstance(place, _Rest) else place
            row = self.given[place] = self._sequence(array, self._name(array) or "x")
            if isinstance(place, _Rest):
                self._arrow(_From(place), _From(row), "", array)
        return self.given[place]

    def _sequence(self, array: Any, name: str) -> _Row:
        row = self._row("input", array.shape[1])
        row.name, row.dtype = name, array.dtype
        row.shape = (array.shape[0], *array.shape[2:])
        self.rows.insert(0, row)
        return row

    def _connect_loops(self) -> None:
        for row, steps in self.loops.items():
            order = range(row.T - 1, -1, -1) if row.reverse else range(row.T)
            fresh = self._fresh_constants(steps) if not row.derivative else []
            carried: dict[str, Any] = {}  # the symbols that go on, with one of their places
            uses: dict[Any, int] = {}
            for k, ops in zip(order, steps, strict=True):
                outside = dict.fromkeys(s for op in ops for s in op.sources if s is not None)
                for source in outside:
                    for origin in self._origins(source):
                        if origin.what is row and origin.t == k:
                            continue
                        if origin.what is row:
                            symbol = self._carried(source)
                            if symbol:
                                carried[symbol] = source
                            self._arrow(origin, _From(row, k), symbol, source)
                        elif (
                            origin.t == ALL
                            and not isinstance(origin.what, _Row | _Rest)
                            and self._is_weight(origin.what)
                        ):
                            uses[origin.what] = uses.get(origin.what, 0) + 1
                        else:
                            self._read_in_a_loop(row, k, origin, source)
                last = ops[-1]
            order_of = {place: k for k, place in enumerate(self.picture.paths)}
            for place in sorted(uses, key=lambda place: order_of.get(place, len(order_of))):
                if uses[place] > 1 or row.T == 1:
                    self._weight(row, self.symbols.get(place, ""), place)
            row.fields = sorted(carried, key=lambda symbol: (symbol != "h", symbol)) or ["h"]
            if not carried and row.derivative:
                row.fields = ["∂"]
            elif not carried:
                for source, target in list(self.pairs):
                    if source.what is row and target.what is row:
                        self.pairs[source, target] = {"h": None}
                        found = self.carried.pop((source, target), {})
                        self.carried[source, target] = {"h": {part: None for parts in found.values() for part in parts}}
            row.name = row.fields[0]
            state = carried.get(row.name, last)
            row.shape, row.dtype = state.shape, state.dtype
            if fresh:
                given = self._row("input", row.T)
                given.name, given.shape, given.dtype = "x", tuple(fresh[0].shape), fresh[0].dtype
                self.rows.insert(0, given)
                self._reads(row, _From(given), row.T)
            first = self._boxed(_From(row, order[0]))
            filled = any(
                target == first and source.what is not row and row not in self.above.get(source.what, ())
                for source, target in self.pairs
            )
            row.start = [] if filled or row.derivative else row.fields

    def _carried(self, place: Any) -> str:
        """The symbol that goes on to the next step; behind the choice between the new and the old, for lengths."""
        place = self.found.resolve(place)
        name = self._name(place)
        if not name and type(place).__name__ == "Where":
            name = next(filter(None, (self._name(self.found.resolve(s)) for s in place.sources if s is not None)), "")
        return _base(name)

    def _read_in_a_loop(self, row: _Row, k: int, origin: _From, place: Any) -> None:
        what = origin.what
        if not isinstance(what, _Row) and origin.t >= 0:  # one step of it
            what = self._given(what, row.T)
        if not isinstance(what, _Row | _Rest):
            return
        if isinstance(what, _Row) and origin.t == k and what.T == row.T:
            self.above.setdefault(what, {})[row] = None
        self._arrow(_From(what, origin.t), _From(row, k), "", place)

    @staticmethod
    def _fresh_constants(steps: list[list[Op]]) -> list[Constant]:
        """What each step reads that no other does and that has no gradient: x_t."""
        if len(steps) < 2:
            return []
        first, second = ([c for op in ops for c in op.constants or () if _is_array(c)] for ops in steps[:2])
        return [c for c in second if c not in first and c.dtype.kind != "b"]  # no mask of the lengths

    def _demote_sequences(self) -> None:
        """What is computed from leaves alone is no weight where it is read as a sequence."""
        waiting = [op.sources[0] for op, row in self.whole.items() if row.recurrent]
        for source in dict.fromkeys(source for op in self.steps for source in op.sources):
            if type(source) is Slot and type(source.op).__name__ == "Unstack":
                waiting.append(source.op.sources[0])
        seen: set[Any] = set()
        while waiting:
            place = waiting.pop()
            here = None if place is None else self.found.resolve(place)
            op: Any = here.op if type(here) is Slot else here
            if op in seen or not (op in self.weights or self._passes(op)):
                continue
            seen.add(op)
            if op in self.weights:
                self.weights.remove(op)
                self.rest[op] = None
            waiting += op.sources
        self.rest = {op: None for op in self.found.ops if op in self.rest}

    def _collect_rest(self) -> None:
        """One box for all operations between the same rows."""
        behind: dict[Op, frozenset[int]] = {}
        for op in self.rest:
            found: set[int] = set()
            for source in op.sources:
                for origin in self._origins(source) if source is not None else ():
                    what = origin.what
                    found |= behind[what] if what in behind else {id(what)} if isinstance(what, _Row) else set()
            behind[op] = frozenset(found)
        ahead: dict[Op, set[int]] = {op: set() for op in self.rest}
        for user in reversed(self.found.ops):
            mine = ahead[user] if user in self.rest else self._row_of(user)
            if not mine:
                continue
            for source in user.sources:
                for origin in self._origins(source) if source is not None else ():
                    if origin.what in ahead:
                        ahead[origin.what] |= mine
        boxes: dict[Any, _Rest] = {}
        for op in self.rest:
            self.boxes[op] = boxes.setdefault((behind[op], frozenset(ahead[op])), _Rest())
            self.boxes[op].ops.append(op)
        for place, origins in self.memo.items():
            self.memo[place] = tuple(dict.fromkeys(_From(self.boxes.get(o.what, o.what), o.t) for o in origins))

    def _row_of(self, op: Op) -> set[int]:
        row = self.steps[op][0] if op in self.steps else self.whole.get(op)
        return set() if row is None else {id(row)}

    def _connect_rest(self) -> None:
        for op, box in self.boxes.items():
            for source in op.sources:
                for origin in self._origins(source) if source is not None else ():
                    what = origin.what
                    if isinstance(what, _Row | _Rest) and what is not box:
                        self._arrow(origin, _From(box), "", source)

    def _arrow(self, source: _From, target: _From, label: str, place: Any) -> None:
        """An arrow between boxes that carries a place; from all steps of a row it is one for each of its boxes."""
        what = source.what
        if isinstance(what, _Row) and source.t == ALL:
            sources = [_From(what, k) for k in range(len(what.places))]
        else:
            sources = [self._boxed(source)]
        if isinstance(target.what, _Row) and target.t == ALL:
            targets = [_From(target.what, k) for k in range(len(target.what.places))]
        else:
            targets = [self._boxed(target)]
        for a in sources:
            for b in targets:
                if a != b:
                    self.pairs.setdefault((a, b), {})[label] = None
                self._carry(a, b, label, place, a if source.t == ALL else b if target.t == ALL else None)

    def _carry(self, source: _From, target: _From, label: str, place: Any, part: _From | None) -> None:
        """Note what an arrow carries: a place or, where it belongs to the steps of a box, these parts of it."""
        if self.picture.gradients is None or place is None:
            return
        steps: Iterable[int | None] = (None,)
        if part is not None and isinstance(part.what, _Row) and len(place.shape) > 2 and place.shape[1] == part.what.T:
            steps = part.what.steps(part.t)
        carried = self.carried.setdefault((source, target), {}).setdefault(label, {})
        carried |= dict.fromkeys((place, t) for t in steps)

    def _norm(self, parts: Iterable[tuple[Any, int | None]]) -> float | None:
        """Of the gradient of several values together; None where none of them has one."""
        gradients = self.picture.gradients
        found = [] if gradients is None else [gradients.norm(place, t) for place, t in parts]
        norms = [norm for norm in found if norm is not None]
        return math.hypot(*norms) if norms else None

    def _drawn(self, ids: dict[Any, str], source: _From, target: _From, labels: Iterable[str]) -> list[Edge]:
        """The arrows between two boxes: one, or one for each part of the state, each with its gradient."""
        carried = self.carried.get((source, target), {})
        norms = {label: self._norm(carried.get(label, ())) for label in labels}
        ends = ids[source], ids[target]
        if len(norms) > 1 and source != target and all(label and norm is not None for label, norm in norms.items()):
            return [Edge(*ends, label, gradient=norm) for label, norm in norms.items()]
        whole = self._norm(dict.fromkeys(part for parts in carried.values() for part in parts))
        return [Edge(*ends, ", ".join(filter(None, norms)), gradient=whole)]

    def _state(self, row: _Row, k: int) -> Summary | None:
        """Of the gradient of the state in a box, where it shows one step of a loop."""
        gradients, steps = self.picture.gradients, self.loops.get(row, [])
        if gradients is None or row.rolled or row.places[k] == ALL or not steps:
            return None
        t = row.places[k]
        ops = steps[row.T - 1 - t if row.reverse else t]
        found = {self._carried(op): op for op in ops if op.outputs is None}  # the last one of each symbol
        state = [found[field] for field in row.fields if field in found] or ops[-1:]
        parts = [(gradients.of(op), math.prod(op.shape)) for op in state if op.outputs is None]
        return together([(summary, size) for summary, size in parts if summary is not None])

    @staticmethod
    def _boxed(end: _From) -> _From:
        return _From(end.what, end.what.place(end.t)) if isinstance(end.what, _Row) else _From(end.what)

    # -- names

    def _name(self, place: Any) -> str:
        return self.picture._name(place)

    def _weight(self, row: _Row, symbol: str, place: Any) -> None:
        """Note a weight of a row, by its symbol in the definition, or else by its path."""
        found = self._leaves(place)
        row.parameters |= dict.fromkeys(found)
        leaves = [(self._name(leaf) or "tensor", names.shape(leaf.shape)) for leaf in found]
        if symbol:
            row.weights[symbol] = f"{symbol} = " + " + ".join(f"{path} {shape}" for path, shape in leaves)
        for path, shape in leaves if not symbol else ():
            row.weights[path] = f"{path} {shape}"

    def _leaves(self, place: Any) -> list[Leaf]:
        found: dict[Leaf, None] = {}
        waiting = [self.found.resolve(place)]
        while waiting:
            here = waiting.pop()
            here = here.op if type(here) is Slot else here
            if isinstance(here, Op):
                waiting += [self.found.resolve(s) for s in reversed(here.sources) if s is not None]
            elif isinstance(here, Leaf):
                found[here] = None
        return list(found)

    # -- where everything stands

    def _arrange(self) -> None:
        """Blocks of rows that go on together stand one right of the other; in each, rows stand on what they read."""
        block = {row: row for row in self.rows}

        def root(row: _Row) -> _Row:
            while block[row] is not row:
                block[row] = row = block[block[row]]
            return row

        for below, users in self.above.items():
            for user in users:
                block[root(user)] = root(below)
        for _ in self.rows:  # depths settle: there is no circle among rows at the same step
            changed = False
            for below, users in self.above.items():
                for user in users:
                    if user.depth <= below.depth:
                        user.depth, changed = below.depth + 1, True
            if not changed:
                break
        blocks: dict[_Row, list[_Row]] = {}
        for row in self.rows:
            blocks.setdefault(root(row), []).append(row)
        sources: dict[Any, list[Any]] = {}  # what a row, or a box beside the rows, reads
        for source, target in self.pairs:
            sources.setdefault(target.what, []).append(source.what)
        through: dict[_Rest, set[_Row]] = {}
        for box in dict.fromkeys(self.boxes.values()):  # boxes between two blocks pass on what they wait for
            through[box] = set()
            for what in sources.get(box, ()):
                through[box] |= {root(what)} if isinstance(what, _Row) else through.get(what, set())
        waits: dict[_Row, set[_Row]] = {name: set() for name in blocks}
        for row in self.rows:
            for what in sources.get(row, ()):
                waits[root(row)] |= {root(what)} if isinstance(what, _Row) else through[what]
        column = 0
        for name in _in_turn(waits):
            rows = sorted(blocks[name], key=lambda row: row.depth)
            recurrent = [row for row in rows if row.recurrent and not row.derivative]
            layers = sorted({row.depth for row in recurrent})
            both = any(row.reverse for row in recurrent) and not all(row.reverse for row in recurrent)
            for level, row in enumerate(rows):
                row.level, row.column = level, column + 2
                if row in recurrent or len(row.name) == 1 and row.kind == "op":
                    layer = sum(d <= row.depth for d in layers) if len(layers) > 1 else 0  # 0: below all layers
                    number = str(layer).translate(names.SUPERSCRIPTS) if layer else ""
                    arrow = ("\u20d6" if row.reverse else "\u20d7") if both and row.recurrent else ""
                    row.symbol = f"{{}}{arrow}{number}".format
            column += 3 + max(len(row.places) for row in rows)
        users_of = {s.what: t.what for s, t in reversed(self.pairs) if isinstance(t.what, _Row)}
        taken = {(row.column + k, row.level) for row in self.rows for k in range(-2, len(row.places) + row.reverse)}
        for box in dict.fromkeys(self.boxes.values()):
            behind = sources.get(box)
            if behind:  # what it reads ends there, or is itself a box beside the rows
                box.column, box.level = max(
                    (b.column + len(b.places) if isinstance(b, _Row) else b.column, b.level) for b in behind
                )
            elif box in users_of:
                box.column, box.level = users_of[box].column - 1, users_of[box].level
                taken.discard((box.column, box.level))
            while (box.column, box.level) in taken:
                box.level += 1
            taken.add((box.column, box.level))

    # -- the value

    def _finish(self, title: str) -> Graph:
        boxes: list[tuple[int, int, Any, _Maker]] = []
        extra: list[tuple[Any, _From, str, float | None]] = []
        for row in self.rows:
            for k, t in enumerate(row.places):
                boxes.append((row.column + k, row.level, _From(row, k), _step_node(row, k, t, self._state(row, k))))
            first = _From(row, len(row.places) - 1 if row.reverse else 0)
            if row.start and not self.rolled:
                column = row.column + len(row.places) if row.reverse else row.column - 1
                label = ", ".join(_indexed(row.symbol(field), row.T + 1 if row.reverse else 0) for field in row.start)
                node = _node("input", label, row.shape, row.dtype, row.level)
                boxes.append((column, row.level, (row, "start"), node))
                extra.append(((row, "start"), first, ", ".join(row.fields), None))
            if row.weights:
                node = _node("parameter", _weights_label(row), None, None, row.level, "\n".join(row.weights.values()))
                boxes.append((row.column - 2, row.level, (row, "weights"), node))
                norm = self._norm((leaf, None) for leaf in row.parameters)
                extra.append(((row, "weights"), _From(row, 0), "", norm))
        for box in dict.fromkeys(self.boxes.values()):
            boxes.append((box.column, box.level, _From(box), self._rest_node(box)))
        boxes.sort(key=lambda item: item[:2])
        ids: dict[Any, str] = {}
        nodes: list[Node] = []
        parts: list[Part] = []
        columns: dict[int, str] = {}
        times = {row.column + k: t for row in self.rows for k, t in enumerate(row.places)}
        for k, (column, _, key, make) in enumerate(boxes):
            if column not in columns:
                columns[column] = f"p{len(columns)}"
                time = "beside" if column not in times else "each t" if self.rolled else f"t = {times[column] + 1}"
                parts.append(Part(columns[column], "…" if times.get(column) == ALL else time, "column"))
            ids[key] = f"n{k}"
            nodes.append(make(f"n{k}", columns[column]))
        edges = [edge for (a, b), labels in self.pairs.items() for edge in self._drawn(ids, a, b, labels)]
        edges += [Edge(ids[a], ids[b], label, gradient=norm) for a, b, label, norm in extra]
        order = {node.id: k for k, node in enumerate(nodes)}
        if self.rolled:
            circles = [at for at in map(_From, self.rows, repeat(0)) if at.what.recurrent]
            edges += [edge for at in circles for edge in self._drawn(ids, at, at, at.what.fields)]
        edges.sort(key=lambda edge: (order[edge.target], order[edge.source]))
        return Graph(title, tuple(nodes), tuple(edges), tuple(parts))

    def _rest_node(self, box: _Rest) -> _Maker:
        last = box.ops[-1]
        name = self._name(last)
        label = f"{name} = {names.op_label(last)}" if name else names.op_label(last)
        if len(box.ops) > 1:
            label = name or f"… {names.op_label(last)}"
            n = len(box.ops)
            return lambda id, part: Node(id, "fold", label, part=part, output=box.output, count=n, row=box.level)
        kind = "fused" if isinstance(last, FusedOp) else "op"
        shape = last.shape if last.outputs is None else None
        gradient = self.picture.gradients.of(last) if self.picture.gradients is not None else None
        return _node(kind, label, shape, last.dtype, box.level, output=box.output, gradient=gradient)


_Maker = Callable[[str, str], Node]  # from the node's id and its part's


def _node(
    kind: str,
    label: str,
    shape: Any,
    dtype: Any,
    level: int,
    about: str = "",
    output: bool = False,
    op: str = "",
    gradient: Summary | None = None,
) -> _Maker:
    dims = None if shape is None else tuple(int(n) for n in shape)
    kind_of_number = None if dtype is None else str(dtype)
    return lambda id, part: Node(
        id, kind, label, dims, kind_of_number, part, op, about, output, row=level, gradient=gradient
    )


def _step_node(row: _Row, k: int, t: int, gradient: Summary | None) -> _Maker:
    output = k in row.outputs
    if t == ALL:
        label = f"… {row.folded:,} steps …"
        return lambda id, part: Node(id, "fold", label, part=part, output=output, count=row.folded, row=row.level)
    label = ", ".join(_indexed(row.symbol(name), None if row.rolled else t + 1) for name in row.fields or [row.name])
    kind = "op" if row.recurrent else row.kind
    return _node(kind, label, row.shape, row.dtype, row.level, output=output, op=row.op, gradient=gradient)


def _indexed(name: str, t: int | None) -> str:
    """A symbol at one step, or at any; a name of several letters stays as it is, for its place says when.

    >>> _indexed("h", 12), _indexed("h", None), _indexed("embedding", 12), _indexed("∂L/∂h", 2)
    ('h₁₂', 'hₜ', 'embedding', '∂L/∂h₂')
    """
    letters = re.sub(r"^∂.*∂|[\u20d6\u20d7⁰¹²³⁴⁵⁶⁷⁸⁹]", "", name)
    return name + ("ₜ" if t is None else str(t).translate(_LOW)) if len(letters) == 1 else name


def _weights_label(row: _Row) -> str:
    """The first of several paths, for a cell has four; symbols as they are, for they are short."""
    shown = [path.rpartition(".")[2] if row.recurrent else path for path in row.weights]
    if len("".join(shown)) >= 16:
        shown = [shown[0], *["…"][: len(shown) - 1]]
    return ", ".join(re.sub(r"^(\w)_(\w{2,})$", r"\1_{\2}", name) for name in shown)  # W_{xh} is drawn beside b_h


def _in_turn(waits: dict[_Row, set[_Row]]) -> list[_Row]:
    """Each after all that it waits for; where some wait for each other, in the order given."""
    left = {name: len(others - {name}) for name, others in waits.items()}
    users: dict[_Row, list[_Row]] = {}
    for name, others in waits.items():
        for other in others - {name}:
            users.setdefault(other, []).append(name)
    found: dict[_Row, None] = {}
    ready = [name for name, n in left.items() if not n]
    for candidate in waits:
        while ready or candidate not in found:
            name = ready.pop(0) if ready else candidate
            if name in found:
                continue
            found[name] = None
            for user in users.get(name, ()):
                left[user] -= 1
                if not left[user]:
                    ready.append(user)
    return list(found)


_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _base(name: str) -> str:
    """A symbol without its index: h of hₜ, of h^k_t and of h_3; ∂L/∂h of ∂L/∂hₜ."""
    match = re.match(r"((?:∂.*/∂)?\w)(?:[₀-₉ₜᵢ^_]|$)", name)
    return match[1] if match else ""


def _called(step: Scope) -> str:
    """What runs a loop: the cell, or the layer whose operation was opened."""
    if not isinstance(step.owner, Step):
        return type(step.owner).__name__
    around = step.parent.owner if step.parent is not None else None
    return names.op_label(around) if isinstance(around, FusedOp) else ""


def _is_derivative(scope: Scope | None) -> bool:
    """Whether a step is one back in time. For a derivative, the definition of a fused operation first runs forward."""
    while scope is not None and not isinstance(scope.owner, Derivative | FusedOp):
        scope = scope.parent
    return scope is not None and isinstance(scope.owner, Derivative)


def _step_scope(scope: Scope | None) -> Scope | None:
    """The outermost step of a loop over time around an operation."""
    found = None
    while scope is not None:
        if isinstance(scope.owner, Step | _Cell):
            found = scope
        scope = scope.parent
    return found


def _parameters(op: Op) -> list[str]:
    """What a fused operation's definition calls its inputs, as Python writes it."""
    if not isinstance(op, FusedOp):
        return []
    return list(inspect.signature(type(op).definition).parameters)[1 : 1 + len(op.sources)]


def _time_index(op: Any) -> Any:
    """t of x[:, t]."""
    index = op.index
    return index[1] if isinstance(index, tuple) and len(index) > 1 and index[0] == slice(None) else None


def _rearranges_time(op: Any) -> bool:
    """Whether an index takes some of the steps, or takes them in another order: x[:, 1:], x[:, ::-1]."""
    t = _time_index(op)
    return len(op.sources[0].shape) > 2 and t is not None and not isinstance(t, int) and t != slice(None)


def _is_array(constant: Any) -> bool:
    return isinstance(constant, Constant) and len(constant.shape) > 0
