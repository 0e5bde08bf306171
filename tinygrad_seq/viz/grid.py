"""A recurrence as a textbook draws it: time to the right, layers upwards, each step of each layer one box."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise, repeat, zip_longest
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Leaf, Op, Tensor
from ..core.op import Slot
from ..core.state import Derivative, Scope, Step, setting
from ..core.tensor import Constant, Cut, Piece
from ..nn import Module
from ..nn.recurrent import _Cell
from ..ops.attention import MultiHeadAttention, ScaledDotProductAttention
from ..ops.elementwise import Elementwise
from . import names
from .build import MOST, PLUMBING, _hidden, _Ops, _over_time, _Picture, as_it_was
from .gradients import together
from .value import Edge, Graph, Node, Part, Summary

ENDS = 2  # steps that are drawn at each end of a long sequence
ENDS_WITH_GRADIENTS = 5  # where it is to be seen how they fade
ROLLED = "rolled"
ALL, LAST = -1, -2  # instead of a step: the whole sequence, and what is left after its last step
PASSES = PLUMBING | {"Concatenate"}  # what these are made from is where their arrows begin
AT_EACH_STEP = {
    "Linear",
    "Embed",
    "Softmax",
    "LogSoftmax",
    "LayerNorm",
    "Gelu",
    "ExactGelu",
    "Dropout",
}  # they never mix steps


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
        self.module: Any = None  # what runs it: a cell, or the layer of a fused sequence
        self.called = ""  # what a person calls that
        self.after: list[tuple[_Row, int]] = []  # the steps of other rows whose states it begins with
        self.before = 0  # the steps of the same layer that were before it
        self.goes_on = False  # with weights that are in the margin already
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


class _Layers(_Row):
    """All rows of the layers in the middle of a deep stack, as one."""

    def __init__(self, layers: int, rows: list[_Row]) -> None:
        super().__init__("fold", rows[0].T, rows[0].ends, rows[0].rolled)
        self.rows = rows
        self.name = f"… {layers:,} layers …"
        first = next((row for row in rows if row.recurrent), rows[0])
        self.fields, self.reverse, self.before = first.fields, first.reverse, first.before
        self.parameters = {leaf: None for row in rows for leaf in row.parameters}
        self.outputs = set().union(*(row.outputs for row in rows))
        self.start = first.start
        self.weights = {name: about for row in rows for name, about in row.weights.items()}
        self.goes_on = all(row.goes_on for row in rows if row.weights)


class _Pieces(_Layers):
    """Rows of many pieces of a sequence, as one box."""

    def __init__(self, pieces: int, rows: list[_Row]) -> None:
        super().__init__(0, rows)
        self.name = f"… {pieces:,} pieces …"
        self.start, self.weights = [], {}

    @property
    def places(self) -> list[int]:
        return [ALL]

    def place(self, t: int) -> int:
        return 0


class _Rest:
    """All operations between the same rows, as one box: what comes before the recurrence, between two, or after."""

    def __init__(self, name: str = "") -> None:
        self.name = name  # where it is not that of its last operation
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
        self.keys: set[Op] = set()  # sequences made for a score to read as a whole: its arrows begin before them
        self.boxes: dict[Op, _Rest] = {}  # the box of each operation in `rest`, when they are known
        self.memo: dict[Any, tuple[_From, ...]] = {}
        # What the definition of an opened operation calls what it was given.
        self.symbols = {found.resolve(place): name for place, name in found.inputs.items()}
        self.pairs: dict[tuple[_From, _From], dict[str, None]] = {}  # arrows and their labels
        self.alpha: dict[tuple[_From, _From], float] = {}  # of arrows of attention
        self.alphas: dict[Any, Any] = {}  # what was computed of them
        self.cut: set[tuple[_From, _From]] = set()  # arrows of detached states
        self.above: dict[_Row, dict[_Row, None]] = {}  # a row -> those that read it at the same step
        # What arrows carry, under their labels: a place or, of a sequence, its part at one step.
        self.carried: dict[tuple[_From, _From], dict[str, dict[tuple[Any, int | None], None]]] = {}

    def draw(self, title: str) -> Graph:
        self._find_loops()
        if not self.rows and not any(map(_over_time, self.found.ops)):
            raise ValueError(
                "graph: time=True draws a recurrence, and there is none here: neither a recurrent layer, nor "
                "ts.ops.scan, nor a cell in a loop" + self._instead()
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
        self._weigh_attention()
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

    def _instead(self) -> str:
        """What to do where there is attention, which sees all steps at once."""
        if not any(isinstance(op, _FUSED_ATTENTION) for op in self.found.ops):
            return ""
        return "; attention sees all steps at once: leave time out, or draw its weights with ts.viz.attention_plot"

    # -- which operation belongs where

    def _row(self, kind: str, T: int) -> _Row:
        return _Row(kind, T, ENDS if self.picture.gradients is None else ENDS_WITH_GRADIENTS, self.rolled)

    def _find_loops(self) -> None:
        """Steps of scans, and calls of one cell in a loop of one's own."""
        self.loops: dict[_Row, list[list[Op]]] = {}
        runs: dict[Any, tuple[_Row | None, int]] = {}  # what is around the steps of a scan -> its row, its last step
        read: dict[int, set[Any]] = {}  # the scope of a step of a derivative -> the ops that it reads
        for op in self.found.ops:
            if (scope := _step_scope(op.scope)) is not None and _is_derivative(scope):
                read.setdefault(id(scope), set()).update(self._makers(op))
        where: dict[int, tuple[_Row, int]] = {}  # a step's scope -> its row, and which step it is
        latest, calls = self._calls_before()
        for op in self.found.ops:
            scope = _step_scope(op.scope)
            if scope is None:
                continue
            if id(scope) not in where:
                owner, derivative = scope.owner, _is_derivative(scope)
                key = (id(scope.parent), id(owner))
                if isinstance(owner, Step):
                    row, last = runs.get(id(scope.parent), (None, -1))
                    goes_on = abs(owner.t - last) == 1
                elif derivative:  # its steps go on where one reads what the last one made
                    row, last = runs.get(key, (None, -1))
                    goes_on = row is not None and not read[id(scope)].isdisjoint(self.loops[row][-1])
                else:
                    row, last = where.get(calls[id(scope)], (None, -1))
                    goes_on = row is not None and last == row.T - 1
                if row is None or not goes_on:  # another run over time
                    row = self._row("op", 0)
                    row.op, row.derivative = _called(scope), derivative
                    row.module = None if isinstance(owner, Step) or derivative else owner
                    self.rows.append(row)
                    self.loops[row] = []
                if isinstance(owner, Step):
                    row.reverse = row.T > 0 and owner.t < last
                    runs[id(scope.parent)] = (row, owner.t)
                elif derivative:  # of a loop of one's own: it begins at its end
                    row.reverse = True
                    runs[key] = (row, last + 1)
                row.T += 1
                where[id(scope)] = (row, len(self.loops[row]))
                self.loops[row].append([])
            row, k = where[id(scope)]
            self.loops[row][k].append(op)
            self.steps[op] = (row, k)
        self._take_in(latest, where)
        self.read_whole = {self.found.resolve(s) for op in self.steps for s in op.sources if s is not None}
        for row, steps in self.loops.items():
            if row.module is not None and row.T > 1:
                first, second = map(self._reads_at, steps[:2])
                row.reverse = any(second.get(what) == t - 1 for what, t in first.items())
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

    def _calls_before(self) -> tuple[dict[int, dict[int, tuple[int, int]]], dict[int, int]]:
        """For each operation the latest call of each cell that leads to it, as (when, the call's scope); and for each
        call of a cell, by its scope, the call of the same cell from which its state comes; 0: none."""
        latest: dict[int, dict[int, tuple[int, int]]] = {}  # an op, by number -> {cell: (when, its latest call)}
        of: dict[int, dict[int, tuple[int, int]]] = {}  # the same for each call
        found: dict[int, int] = {}
        for op in self.found.ops:
            scope = _step_scope(op.scope)
            if scope is None or isinstance(scope.owner, Step) or _is_derivative(scope):
                here: dict[int, tuple[int, int]] = {}
            elif id(scope) in of:
                here = of[id(scope)]
            else:
                cell = id(scope.owner)
                before = latest.get(scope.state, {}) if scope.state is not None else {}
                found[id(scope)] = before[cell][1] if cell in before else 0
                here = of[id(scope)] = before | {cell: (len(of), id(scope))}
            for source in op.sources if scope is None else ():
                maker = None if source is None else self.found.resolve(source)
                came = latest.get(maker.number, {}) if isinstance(maker, Op | Slot) else {}
                if here and came:
                    came = {cell: max(here.get(cell, at), at) for cell, at in (here | came).items()}
                here = came or here
            latest[op.number] = here
        return latest, found

    def _take_in(self, latest: dict[int, dict[int, tuple[int, int]]], where: dict[int, tuple[_Row, int]]) -> None:
        """Count what a loop of one's own does between the calls of its cells as part of a step: what leads from one
        call to the next, or to the call of the cell above; and attention, before a call or after it."""
        if all(row.module is None for row in self.rows):
            return
        users, leads = self._ahead()
        for op, (row, k) in leads.items():
            before = [where[call] for _, call in latest[op.number].values()]
            if (row, k - 1) in before or any(r is not row and t == k and r.T == row.T for r, t in before):
                self.steps[op] = row, k
        for alpha in filter(self._attends_once, self.found.ops):
            products = self._products(alpha, users)
            behind = max(latest[alpha.number].values(), default=None)
            step = self.steps.get(alpha) or leads.get(alpha) or (where[behind[1]] if behind is not None else None)
            if not products or step is None or step[0].module is None:
                continue
            taken = dict.fromkeys([alpha])
            waiting = [alpha]
            while waiting:  # the score: what is used for nothing else
                for maker in map(self._maker, waiting.pop().sources):
                    if maker in users and maker not in taken and all(user in taken for user in users[maker]):
                        taken[maker] = None
                        waiting.append(maker)
            waiting = products
            while waiting:  # and what is made of the context before the call
                op = waiting.pop()
                taken[op] = None
                waiting += [user for user in users.get(op, ()) if leads.get(user) == step]
            self.steps |= {op: step for op in taken if op not in self.steps and not _over_time(op)}
        for row in self.loops:
            self.loops[row] = [[] for _ in range(row.T)]
        for op in self.found.ops:
            if op in self.steps:
                row, k = self.steps[op]
                self.loops[row][k].append(op)

    def _ahead(self) -> tuple[dict[Op, list[Op]], dict[Op, tuple[_Row, int]]]:
        """Who uses each operation that is no part of a step; and the first step of a cell that it leads to."""
        users: dict[Op, list[Op]] = {}
        leads: dict[Op, tuple[_Row, int]] = {}
        first = {step: -n for n, (op, step) in enumerate(reversed(self.steps.items()))}
        for op in reversed(self.found.ops):
            ahead = self.steps.get(op) or leads.get(op)
            for maker in map(self._maker, op.sources):
                if maker is not None and maker not in self.steps:
                    users.setdefault(maker, []).append(op)
                    if ahead is not None and ahead[0].module is not None:
                        leads[maker] = min(leads.get(maker, ahead), ahead, key=first.__getitem__)
        return users, leads

    def _products(self, alpha: Op, users: dict[Op, list[Op]]) -> list[Op]:
        """What multiplies weights with the steps of a sequence."""
        found: list[Op] = []
        if isinstance(alpha, _FUSED_ATTENTION):
            return [alpha]
        waiting = [alpha]
        while waiting:
            op = waiting.pop()
            for user in users.get(op, ()):
                if type(user).__name__ in PLUMBING | {"Dropout"}:
                    waiting.append(user)
                elif type(user).__name__ in ("MatMul", "Mul") and any(
                    source is not None and len(source.shape) > 2 and source.shape[1] == alpha.shape[-1]
                    for source in user.sources
                    if self._maker(source) is not op
                ):
                    sums = users.get(user, ()) if type(user).__name__ == "Mul" else ()
                    found += [user, *(op for op in sums if type(op).__name__ == "Sum")]
        return found

    def _maker(self, place: Any) -> Op | None:
        here = None if place is None else self.found.resolve(place)
        here = here.op if type(here) is Slot else here
        return here if isinstance(here, Op) else None

    def _reads_at(self, step: list[Op]) -> dict[Any, int]:
        """Which time step of each sequence a step reads."""
        found: dict[Any, int] = {}
        for op in step:
            for constant in op.constants or ():
                if isinstance(constant, Piece):
                    found[constant.whole] = constant.t
            for source in op.sources:
                place: Any = None if source is None else self.found.resolve(source)
                if type(place) is Slot and type(place.op).__name__ == "Unstack":
                    found[self.found.resolve(place.op.sources[0])] = place.index
                elif type(place).__name__ == "GetItem" and isinstance(t := _time_index(place), int):
                    found[self.found.resolve(place.sources[0])] = t % place.sources[0].shape[1]
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
            row.name, row.op, row.module = row.fields[0], names.op_label(op), _module(op.scope)
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
        elif self._is_keys(op):
            self.keys.add(op)
            return
        else:
            self.rest[op] = None
            return
        self.rows.append(row)
        self.whole[op] = row

    def _passes(self, op: Any) -> bool:
        if op in self.keys:
            return True
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
        known = known or (kind == "MatMul" and self._is_weight(op.sources[1]))
        if not known or op.shape is None or len(op.shape) < 3 or self._is_keys(op):
            return None
        if kind == "Embed":
            return op.shape[1]
        sources = [source for source in op.sources if source is not None and not self._is_weight(source)]
        if not sources and any(map(_is_array, op.constants or ())):  # the input itself
            return op.shape[1]
        origins = [origin for source in sources for origin in self._origins(source)]
        steps = {o.what.T if isinstance(o.what, _Row) and o.t == ALL else None for o in origins}
        return op.shape[1] if steps == {op.shape[1]} else None

    def _is_keys(self, op: Op) -> bool:
        """Whether an operation makes the keys W h of a score, which each step of a decoder reads as a whole."""
        if type(op).__name__ not in ("MatMul", "Linear") or op not in self.read_whole or not op.sources[0]:
            return False
        return self._is_weight(op.sources[1]) and all(
            isinstance(o.what, _Row) and o.t == ALL for o in self._origins(op.sources[0])
        )

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
                origins = self._origins(source) if source is not None else self._before_cut(constant)
                known = [o for o in origins if isinstance(o.what, _Row | _Rest)]
                for origin in known:
                    self._begin(row, first, origin, name[:-2], source is None, source)
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

    def _before_cut(self, constant: Any) -> list[_From]:
        """Where a state was computed that was detached; nowhere, where the picture does not show that."""
        found: list[_From] = []
        constant = self.found.resolve(constant)  # an opened operation has it as an input
        for reference, index in constant.origins if isinstance(constant, Cut) else ():
            op = reference()
            if op is not None:
                place = self.found.resolve(op if op.outputs is None else Slot(op, index, op.outputs[index]))
                found += [origin for origin in self._origins(place) if isinstance(origin.what, _Row | _Rest)]
        return found

    def _begin(self, row: _Row, first: int, origin: _From, label: str, cut: bool, place: Any) -> None:
        """An arrow from the state that a row begins with."""
        self._arrow(origin, _From(row, first), label, place)
        if cut:
            self.cut.add((self._boxed(origin), self._boxed(_From(row, first))))
        if isinstance(origin.what, _Row) and origin.t != ALL:
            row.after.append((origin.what, origin.what.T - 1 if origin.t == LAST else origin.t))

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

    def _sequence(self, array: Any, name: str, T: int | None = None) -> _Row:
        row = self._row("input", array.shape[1] if T is None else T)
        row.name, row.dtype = name, array.dtype
        row.shape = (array.shape[0], *array.shape[2:])
        self.rows.insert(0, row)
        return row

    def _connect_loops(self) -> None:
        for row, steps in self.loops.items():
            order = range(row.T - 1, -1, -1) if row.reverse else range(row.T)
            fresh = self._fresh_constants(row, steps) if not row.derivative else []
            pieces = self._pieces(steps)
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
                for constant in [*outside, *dict.fromkeys(c for op in ops for c in op.constants or ())]:
                    for origin in self._before_cut(constant):
                        called = self.found.inputs.get(constant, "")  # by what was opened
                        self._begin(row, k, origin, self._carried(constant) or _base(called), True, None)
                last = [op for op in ops if _step_scope(op.scope) is not None][-1]
            for whole, begin in pieces.items():
                self._reads(row, _From(self._part(whole, begin, row.T)), row.T)
            order_of = {place: k for k, place in enumerate(self.picture.paths)}
            weights = [place for place in uses if uses[place] > 1 or row.T == 1]
            owners = {self._name(leaf).rpartition(".")[0] for place in weights for leaf in self._leaves(place)}
            for place in sorted(weights, key=lambda place: order_of.get(place, len(order_of))):
                # W of a cell and W_1 of a score say less than the modules that have them.
                self._weight(row, self.symbols.get(place, "") if len(owners) == 1 else "", place)
            if row.module is not None:
                row.fields = list(row.module.State._fields)
            else:
                row.fields = sorted(carried, key=lambda symbol: (symbol != "h", symbol)) or ["h"]
            if not carried and row.derivative:
                row.fields = ["∂"]
            elif row.fields == ["h"] and not carried:
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

    def _pieces(self, steps: list[list[Op]]) -> dict[Constant, int]:
        """The sequences without gradient of which each step reads one step, in order, and the first that is read."""
        found: dict[Constant, int] = {}
        reads = [self._reads_at(step) for step in steps]
        for whole in {c.whole: None for op in steps[0] for c in op.constants or () if isinstance(c, Piece)}:
            at = [read.get(whole, -1) for read in reads]
            first = min(at)
            if at in (span := list(range(first, first + len(at))), span[::-1]):
                found[whole] = first
        return found

    def _part(self, whole: Constant, first: int, T: int) -> _Row:
        """The row of those steps of a sequence that a loop reads."""
        if (whole, first, T) not in self.given:
            self.given[whole, first, T] = self._sequence(whole, self._name(whole) or "x", T)
        return self.given[whole, first, T]

    def _fresh_constants(self, row: _Row, steps: list[list[Op]]) -> list[Constant]:
        """What each step reads that no other does, that has no gradient and is of no known sequence: x_t."""
        first, second = ([c for op in ops for c in op.constants or () if _is_array(c)] for ops in [*steps, [], []][:2])
        if row.T == 1:  # not the state before: what meets the cell's first weight, or what is read first
            cell = row.module
            second, first = first, []
            if cell is not None:
                meets = [op for op in steps[0] if any(cell.weight_ih.place in self._leaves(s) for s in op.sources if s)]
                second = [c for op in meets for c in op.constants or () if _is_array(c)]
            second = second[:1]
        known = (Piece, Cut)
        return [c for c in second if c not in first and c.dtype.kind != "b" and not isinstance(c, known)]  # no mask

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

    # -- attention

    def _weigh_attention(self) -> None:
        """Give the arrows from the steps of a row to what attends to them, a step or a box beside the rows, its
        weights α: the mean over the batch, and over heads. An arrow from several steps has their sum, one to several
        steps their mean."""
        if self.rolled:
            return
        carries: dict[Any, Any] = {o.outputs[0]: o.op for o in self.found.opened.values() if _is_softmax(o.op)}
        found: dict[tuple[_Row, _From], list[Any]] = {}
        for op in self.found.ops:
            places = [source and self.found.resolve(source) for source in op.sources]
            if self._gives_alpha(op):
                carries[op] = op
            made = op if isinstance(op, _FUSED_ATTENTION) else next((carries[p] for p in places if p in carries), None)
            if made is None:
                continue
            others = [p for p in places if p is not None and p not in carries]
            if type(op).__name__ in PLUMBING | {"Dropout"} or not others:
                carries.setdefault(op, made)
            elif op in self.steps or op in self.boxes and self._attends_once(made):
                target = self._boxed(_From(*self.steps[op]) if op in self.steps else _From(self.boxes[op]))
                for row, t in (origin for place in others for origin in self._origins(place)):
                    if isinstance(row, _Row) and t == ALL and (alpha := self._mean_alpha(made)) is not None:
                        if len(alpha) == row.T:
                            found.setdefault((row, target), []).append(alpha)
        for (row, target), alphas in found.items():
            sums = np.zeros(len(row.places))
            np.add.at(sums, [row.place(t) for t in range(row.T)], np.mean(alphas, 0))
            for place, alpha in enumerate(sums):
                self.alpha[_From(row, place), target] = float(min(alpha, 1.0))

    def _gives_alpha(self, op: Op) -> bool:
        """Whether an operation gives weights: a softmax, or what an equation calls α, where its values are true."""
        if not _is_softmax(op) and (op.equation is None or op.equation.id != "attn.alpha"):
            return False
        scope = op.scope
        while scope is not None and id(scope.owner) not in self.found.on_zeros:
            scope = scope.parent
        return scope is None

    def _attends_once(self, op: Op) -> bool:
        """Whether an operation attends for one query of each sequence, as a step of a decoder does."""
        if isinstance(op, _FUSED_ATTENTION):
            return op.shape[-2] == 1
        return self._gives_alpha(op) and (len(op.shape) == 2 or op.shape[-2] == 1)

    def _mean_alpha(self, op: Any) -> Any:
        """(T,), from what an operation kept for backward; None where that is freed."""
        if op not in self.alphas:
            alpha = _alpha(op)
            self.alphas[op] = None if alpha is None else alpha.reshape(-1, alpha.shape[-1]).mean(0, dtype=float)
        return self.alphas[op]

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

    def _joined(self, above: Mapping[_Row, Iterable[_Row]]) -> Callable[[_Row], _Row]:
        """A row -> the same one for all rows that are joined by reading each other at the same step."""
        block = {row: row for row in self.rows}

        def root(row: _Row) -> _Row:
            while block[row] is not row:
                block[row] = row = block[block[row]]
            return row

        for below, users in above.items():
            for user in users:
                block[root(user)] = root(below)
        return root

    def _give_again(self) -> None:
        """A sequence that is given to a layer, and again to the layer that goes on from its last state, is two rows."""
        root = self._joined({below: users for below, users in self.above.items() if below.kind != "input"})
        after: dict[_Row, set[_Row]] = {root(row): set() for row in self.rows}
        for row in self.rows:
            after[root(row)] |= {root(source) for source, _ in row.after}
        runs: dict[_Row, int] = {}
        for name in _in_turn(after):
            runs[name] = max((runs.get(source, -1) + 1 for source in after[name]), default=0)
        again: dict[tuple[_Row, int], _Row] = {}
        for below, users in list(self.above.items()):
            first = min((runs[root(user)] for user in users), default=0)
            for user in list(users):
                run = runs[root(user)]
                if below.kind == "input" and run > first:
                    if (below, run) not in again:
                        again[below, run] = copy(below)
                        self.rows.insert(0, again[below, run])
                    del users[user]
                    self.above.setdefault(again[below, run], {})[user] = None
        copies: dict[Any, list[_Row]] = {}
        for (below, _), row in again.items():
            copies.setdefault(below, []).append(row)
        pairs, self.pairs = self.pairs, {}
        for (a, b), labels in pairs.items():
            run = runs[root(b.what)] if isinstance(b.what, _Row) else 0
            self.pairs[a._replace(what=again.get((a.what, run), a.what)), b] = labels
            self.pairs |= {(a, b._replace(what=row)): labels for row in copies.get(b.what, ())}

    def _arrange(self) -> None:
        """Blocks of rows that go on together stand one right of the other; in each, rows stand on what they read."""
        self._give_again()
        root = self._joined(self.above)
        for _ in self.rows:  # depths settle: there is no circle among rows at the same step
            changed = False
            for below, users in self.above.items():
                for user in users:
                    if user.depth <= below.depth:
                        user.depth, changed = below.depth + 1, True
            if not changed:
                break
        blocks: dict[_Row, list[_Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.kind == "input"):  # in the order of the computation
            blocks.setdefault(root(row), []).append(row)
        sources = self._sources()
        through: dict[_Rest, set[_Row]] = {}
        for box in dict.fromkeys(self.boxes.values()):  # boxes between two blocks pass on what they wait for
            through[box] = set()
            for what in sources.get(box, ()):
                through[box] |= {root(what)} if isinstance(what, _Row) else through.get(what, set())
        waits: dict[_Row, set[_Row]] = {name: set() for name in blocks}
        for row in self.rows:
            for what in sources.get(row, ()):
                waits[root(row)] |= {root(what)} if isinstance(what, _Row) else through[what]
        drawn: set[tuple[str, ...]] = set()
        many = _size(self.rows) > MOST
        in_order: list[list[_Row]] = []
        for name in _in_turn(waits):
            rows = sorted(blocks[name], key=lambda row: row.depth)
            # Where a layer goes on from its own state, as after a cut, its steps count on, and its weights are drawn.
            ends = [
                source.before + t + 1
                for row in rows
                for source, t in row.after
                if source.weights == row.weights and not row.reverse
            ]
            before = max(ends, default=0)
            for row in rows:
                row.before = before
                row.goes_on = before > 0 and tuple(row.weights.values()) in drawn
            drawn |= {tuple(row.weights.values()) for row in rows}
            recurrent = [row for row in rows if row.recurrent and not row.derivative]
            layers = sorted({row.depth for row in recurrent})
            both = any(row.reverse for row in recurrent) and not all(row.reverse for row in recurrent)
            for row in rows:
                if row in recurrent or len(row.name) == 1 and row.kind == "op":
                    layer = sum(d <= row.depth for d in layers) if len(layers) > 1 else 0  # 0: below all layers
                    number = str(layer).translate(names.SUPERSCRIPTS) if layer else ""
                    arrow = ("\u20d6" if row.reverse else "\u20d7") if both and row.recurrent else ""
                    row.symbol = f"{{}}{arrow}{number}".format
            if many and len(layers) > 2 * ENDS + 1:
                rows = self._fold_layers(rows, layers)
            in_order.append(rows)
        if _size(self.rows) > MOST and len(in_order) > 2 * ENDS + 1:
            in_order[ENDS:-ENDS] = [self._fold_pieces(in_order[ENDS:-ENDS])]
        column = 0
        for rows in in_order:
            for level, row in enumerate(rows):
                row.level, row.column = level, column + 2
            column += 3 + max(len(row.places) for row in rows)
        sources = self._sources()
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

    def _fold_layers(self, rows: list[_Row], layers: list[int]) -> list[_Row]:
        """The rows of a block with those of the layers in the middle as one."""
        low, high = layers[ENDS], layers[-ENDS]
        middle = [row for row in rows if low <= row.depth < high]
        fold = _Layers(len(layers) - 2 * ENDS, middle)
        self._fold(dict.fromkeys(middle, fold))
        return [*(row for row in rows if row.depth < low), fold, *(row for row in rows if row.depth >= high)]

    def _fold_pieces(self, blocks: list[list[_Row]]) -> list[_Row]:
        """The rows of many blocks, as those of the pieces between many cuts, as one column of boxes."""
        folds = [_Pieces(len(blocks), [row for row in level if row is not None]) for level in zip_longest(*blocks)]
        into: dict[Any, Any] = {row: fold for fold in folds for row in fold.rows}
        beside, sources = _Rest(folds[0].name), self._sources()
        for box in dict.fromkeys(self.boxes.values()):  # what is computed from them alone
            if sources.get(box) and all(what in into for what in sources[box]):
                beside.ops += box.ops
                beside.output |= box.output
                into[box] = beside
        self.boxes |= dict.fromkeys(beside.ops, beside)
        self._fold(into)
        return list(folds)

    def _fold(self, into: dict[Any, Any]) -> None:
        """Let rows, and boxes beside them, be drawn as others."""
        folds = dict.fromkeys(fold for fold in into.values() if isinstance(fold, _Row))
        self.rows = [*(row for row in self.rows if row not in into), *folds]

        def folded(end: _From) -> _From:
            what = into.get(end.what, end.what)
            return end if what is end.what else _From(what, 0 if isinstance(what, _Pieces) else end.t)

        pairs, self.pairs = self.pairs, {}
        for (a, b), labels in pairs.items():
            ends = folded(a), folded(b)
            if ends[0] != ends[1]:
                self.pairs.setdefault(ends, {}).update(labels)
        carried, self.carried = self.carried, {}
        for (a, b), called in carried.items():
            ends = folded(a), folded(b)
            for label, parts in called.items():
                self.carried.setdefault(ends, {}).setdefault(label, {}).update(parts)
        self.cut = {(folded(a), folded(b)) for a, b in self.cut}

    def _sources(self) -> dict[Any, list[Any]]:
        """What a row, or a box beside the rows, reads."""
        found: dict[Any, list[Any]] = {}
        for source, target in self.pairs:
            found.setdefault(target.what, []).append(source.what)
        return found

    # -- the value

    def _finish(self, title: str) -> Graph:
        boxes: list[tuple[int, int, Any, _Maker]] = []
        extra: list[tuple[Any, _From, str, float | None]] = []
        for row in self.rows:
            row.called = self.picture.module_paths.get(id(row.module), "")
        several = len({row.module or row for row in self.rows if row.recurrent and not isinstance(row, _Layers)}) > 1
        for row in self.rows:
            for k, t in enumerate(row.places):
                boxes.append((row.column + k, row.level, _From(row, k), _step_node(row, k, t, self._state(row, k))))
            first = _From(row, len(row.places) - 1 if row.reverse else 0)
            if row.start and not self.rolled:
                column = row.column + len(row.places) if row.reverse else row.column - 1
                label = ", ".join(_indexed(row.symbol(field), row.T + 1 if row.reverse else 0) for field in row.start)
                node = _node("input", label, row.shape, row.dtype, row.level)
                if isinstance(row, _Layers):
                    node = _fold_node(row, sum(bool(inner.start) for inner in row.rows), False)
                boxes.append((column, row.level, (row, "start"), node))
                extra.append(((row, "start"), first, ", ".join(row.fields), None))
            if row.weights and not row.goes_on:
                node = _node(
                    "parameter", _weights_label(row, several), None, None, row.level, "\n".join(row.weights.values())
                )
                if isinstance(row, _Layers):
                    node = _fold_node(row, sum(bool(inner.weights) for inner in row.rows), False)
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
        times = {
            row.column + k: t if t == ALL else row.before + t for row in self.rows for k, t in enumerate(row.places)
        }
        for k, (column, _, key, make) in enumerate(boxes):
            if column not in columns:
                columns[column] = f"p{len(columns)}"
                time = "beside" if column not in times else "each t" if self.rolled else f"t = {times[column] + 1}"
                parts.append(Part(columns[column], "…" if times.get(column) == ALL else time, "column"))
            ids[key] = f"n{k}"
            nodes.append(make(f"n{k}", columns[column]))
        edges = [edge for (a, b), labels in self.pairs.items() for edge in self._drawn(ids, a, b, labels)]
        edges += [Edge(ids[a], ids[b], label, gradient=norm) for a, b, label, norm in extra]
        ends = {(ids[a], ids[b]): (self.alpha.get((a, b)), (a, b) in self.cut) for a, b in self.pairs}
        none = (None, False)
        edges = [
            replace(edge, weight=weight, cut=cut)
            for edge in edges
            for weight, cut in [ends.get((edge.source, edge.target), none)]
        ]
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
            label = box.name or name or f"… {names.op_label(last)}"
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
    if isinstance(row, _Layers):
        if isinstance(row, _Pieces):
            return _fold_node(row, sum(inner.T for inner in row.rows), bool(row.outputs))
        return _fold_node(row, len(row.rows) * (row.folded if t == ALL else 1), output)
    if t == ALL:
        label = f"… {row.folded:,} steps …"
        return lambda id, part: Node(id, "fold", label, part=part, output=output, count=row.folded, row=row.level)
    label = ", ".join(
        _indexed(row.symbol(name), None if row.rolled else row.before + t + 1) for name in row.fields or [row.name]
    )
    kind = "op" if row.recurrent else row.kind
    return _node(kind, label, row.shape, row.dtype, row.level, output=output, op=row.op, gradient=gradient)


def _fold_node(row: _Layers, count: int, output: bool) -> _Maker:
    return lambda id, part: Node(id, "fold", row.name, part=part, output=output, count=count, row=row.level)


def _indexed(name: str, t: int | None) -> str:
    """A symbol at one step, or at any; a name of several letters stays as it is, for its place says when.

    >>> _indexed("h", 12), _indexed("h", None), _indexed("embedding", 12), _indexed("∂L/∂h", 2)
    ('h₁₂', 'hₜ', 'embedding', '∂L/∂h₂')
    """
    letters = re.sub(r"^∂.*∂|[\u20d6\u20d7⁰¹²³⁴⁵⁶⁷⁸⁹]", "", name)
    return name + ("ₜ" if t is None else str(t).translate(_LOW)) if len(letters) == 1 else name


def _weights_label(row: _Row, several: bool) -> str:
    """A cell by its name, other modules by theirs where several weights are theirs; symbols as they are.

    several: whether there are several layers, so that each has to say which it is.
    """
    cell = isinstance(row.module, _Cell)
    if cell and row.called:
        return row.called
    owners = [path.rpartition(".")[0] for path in row.weights]
    shown = list(row.weights)
    if cell:
        shown = ["W", "U", "b"]
    elif len(owners) > 1 and all(owners):
        shown = list(dict.fromkeys(owners))
    elif several and row.called:
        shown[0] = f"{row.called}: {shown[0]}"
    elif len("".join(shown)) >= 16:
        shown = [shown[0], *["…"][: len(shown) - 1]]
    return ", ".join(re.sub(r"^(\w)_(\w{2,})$", r"\1_{\2}", name) for name in shown)  # W_{xh} is drawn beside b_h


def _size(rows: list[_Row]) -> int:
    """How many boxes rows have."""
    return sum(len(row.places) + bool(row.start) + bool(row.weights and not row.goes_on) for row in rows)


def _in_turn(waits: dict[_Row, set[_Row]]) -> list[_Row]:
    """Each after all that it waits for; where that leaves a choice, or some wait for each other, in the order given."""
    names = list(waits)
    left = {name: len(others - {name}) for name, others in waits.items()}
    users: dict[_Row, list[int]] = {}
    for k, name in enumerate(names):
        for other in waits[name] - {name}:
            users.setdefault(other, []).append(k)
    found: dict[_Row, None] = {}
    ready = [k for k, name in enumerate(names) if not left[name]]  # a heap
    for candidate in range(len(names)):
        while ready or names[candidate] not in found:
            name = names[heappop(ready) if ready else candidate]
            if name in found:
                continue
            found[name] = None
            for user in users.get(name, ()):
                left[names[user]] -= 1
                if not left[names[user]]:
                    heappush(ready, user)
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


def _module(scope: Scope | None) -> Any:
    """The innermost module around an operation."""
    while scope is not None and not isinstance(scope.owner, Module):
        scope = scope.parent
    return None if scope is None else scope.owner


def _parameters(op: Op) -> list[str]:
    """What a fused operation's definition calls its inputs, as Python writes it."""
    if not isinstance(op, FusedOp):
        return []
    return list(inspect.signature(type(op).definition).parameters)[1 : 1 + len(op.sources)]


def _is_softmax(op: Op) -> bool:
    return type(op).__name__ in ("Softmax", "MaskedSoftmax")


_FUSED_ATTENTION = (ScaledDotProductAttention, MultiHeadAttention)


class _Alphas:
    """What listens to a definition for the weights that it computes; those of all heads come last."""

    alpha: Any = None

    def report(self, symbols: Any) -> None:
        self.alpha = getattr(symbols, "alpha", self.alpha)


def _alpha(op: Op) -> Any:
    """The weights that an operation computed, (…, T); None where backward has freed what they are computed from, or an
    optimizer has written into it."""
    if not as_it_was(op):
        return None
    if not isinstance(op, FusedOp):  # a softmax that ran as its definition
        out = op.kept[op.keeps.index(-1)] if -1 in op.keeps else op.forward(backend_of(*op.kept), *op.kept)
        return backend_of(out).to_numpy(out)
    listener = _Alphas()
    with setting(grad=False, scope=None, recorder=listener):
        out = op.definition(*(None if x is None else Tensor(x) for x in op.kept[0]), **op.static)
    return (out if _is_softmax(op) else listener.alpha).numpy()


def _time_index(op: Any) -> Any:
    """t of x[:, t]."""
    index = op.index
    return index[1] if isinstance(index, tuple) and len(index) > 1 and _is_all(index[0]) else None


def _is_all(part: Any) -> bool:
    """Whether a part of an index is a lone colon; what may be an array is not compared."""
    return isinstance(part, slice) and part == slice(None)


def _rearranges_time(op: Any) -> bool:
    """Whether an index takes some of the steps, or takes them in another order: x[:, 1:], x[:, ::-1]."""
    t = _time_index(op)
    return len(op.sources[0].shape) > 2 and t is not None and not isinstance(t, int) and not _is_all(t)


def _is_array(constant: Any) -> bool:
    return isinstance(constant, Constant) and len(constant.shape) > 0
