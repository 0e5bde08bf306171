"""Recording what a model computes on the way: the symbols of every equation block that a forward pass runs through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..backend import backend_of
from .equations import Block
from .state import Scope, Step, setting, state
from .tensor import Tensor, value
from .tracing import Paths


class _Call:
    """One run of a block, or of all the steps of a loop over it."""

    def __init__(self, block: str, depth: int, root: Scope | None, loop: Scope | None, stepped: bool) -> None:
        self.block, self.depth = block, depth  # how many blocks it stands in
        self.root = root  # the call of the outermost module
        self.loop, self.stepped = loop, stepped  # the scope around the steps, which may be None
        self.steps: dict[int, dict[str, Any]] = {}  # t -> symbol -> array

    def read(self, field: str) -> Any:
        """The array of a symbol, (B, …), or (B, T, …) of a loop."""
        arrays = [self.steps[t][field] for t in sorted(self.steps)]
        return _stack(arrays, 1) if self.stepped else arrays[0]


class Recorded:
    """The symbols recorded in one place of a model, as attributes: `r["lstm"].f_t`.

    A symbol is a Tensor without graph: (B, T, …) where the block ran over time, else as the block has it. Several
    layers or directions below the place stand one behind the other on a new first axis, in h_n's order. Where a cell
    was called in a loop of one's own, its calls are the time steps. Where a layer was called several times, `[k]` is
    one call.
    """

    def __init__(self, key: str, places: dict[str, list[_Call]], number: int | None = None) -> None:
        self._key, self._places, self._number = key, places, number

    def __len__(self) -> int:
        """How often the layer was called: its outermost block, where blocks stand in others, as heads do."""
        counts = []
        for calls in self._places.values():
            outermost = min(call.depth for call in calls)
            blocks = [call.block for call in calls if call.depth == outermost]
            counts.append(max(map(blocks.count, blocks)))
        return max(counts)

    def __getitem__(self, k: int) -> "Recorded":
        if not 0 <= k < len(self):
            raise IndexError(f"{self._key!r} was called {len(self)} times: expected 0 to {len(self) - 1}, got {k}")
        return Recorded(self._key, self._places, k)

    def __repr__(self) -> str:
        return f"{self._key}: {', '.join(dir(self))}"

    def __dir__(self) -> list[str]:
        return sorted({field for calls in self._places.values() for call in calls for field in _fields(call)})

    def __getattr__(self, field: str) -> Any:
        if field.startswith("__"):
            raise AttributeError(field)
        found = [self._one(path, field, calls) for path, calls in self._places.items() if _have(calls, field)]
        if not found:
            raise AttributeError(f"{self._key!r} has no symbol {field!r} recorded; there are {', '.join(dir(self))}")
        if len(found) == 1:
            return _tensor(found[0])
        if len({_shape(x) for x in found}) > 1:
            paths = [path for path, calls in self._places.items() if _have(calls, field)]
            raise AttributeError(f"{field} has several shapes below {self._key!r}: name one of {', '.join(paths)}")
        return _tensor(_stack(found, 0))

    def _one(self, path: str, field: str, calls: list[_Call]) -> Any:
        """The symbol in one place, from the outermost block that has it: `alpha` of all heads, not of each."""
        having = [call for call in calls if field in _fields(call)]
        outermost = min(call.depth for call in having)
        having = [call for call in having if call.depth == outermost]
        if self._number is not None:
            if self._number >= len(having):
                raise AttributeError(
                    f"{path!r} has {field} of {len(having)} calls: expected 0 to {len(having) - 1}, got {self._number}"
                )
            return having[self._number].read(field)
        if len(having) == 1:
            return having[0].read(field)
        arrays = [call.read(field) for call in having]
        if not _are_steps(having) or any(getattr(array, "ndim", 0) != 2 for array in arrays):
            raise AttributeError(
                f"{path!r} was called {len(having)} times: choose one, as in r[{self._key!r}][0].{field}"
            )
        return _stack(arrays, 1)


class Recorder:
    """What `record` gives: by the path of a layer in the model, what it computed.

    `r["encoder.lstm"]` is one layer; `r["encoder"]` all that lies below it. Outside of any module the key is the name
    of the equation block; a layer that is called by itself goes by the name of its class in small letters. Where two
    models have the same path, the calls of both are there, in order.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[_Call]] = {}
        self._paths = Paths()

    def __getitem__(self, key: str) -> Recorded:
        places = {path: calls for path, calls in self._calls.items() if path == key or path.startswith(f"{key}.")}
        if not places:  # by the name of a block
            named = {path: [call for call in calls if call.block == key] for path, calls in self._calls.items()}
            places = {path: calls for path, calls in named.items() if calls}
        if not places:
            there = ", ".join(map(repr, self._calls)) or "nothing: no equation block ran"
            raise KeyError(f"nothing was recorded for {key!r}; there is {there}")
        return Recorded(key, places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def keys(self) -> list[str]:
        """The places in which something was recorded, in the order of the computation."""
        return list(self._calls)

    def __repr__(self) -> str:
        return "\n  ".join(["record of", *(repr(Recorded(path, {path: calls})) for path, calls in self._calls.items())])

    def report(self, symbols: Any) -> None:
        """Take down the symbols of a block, of which the scope says where it stands."""
        blocks: list[str] = []
        words: list[str] = []
        modules: list[Any] = []
        root: Scope | None = None
        step: Scope | None = None
        scope = state.scope
        while scope is not None:
            owner = scope.owner
            if isinstance(owner, Block):
                blocks.append(owner.name)
            elif isinstance(owner, Step):
                step = step or scope
            elif isinstance(owner, str):
                words += [] if modules else [owner]
            elif hasattr(owner, "named_modules"):
                modules.append(owner)
                root = scope
            scope = scope.parent
        path = ".".join(filter(None, [self._paths.of(modules), *reversed(words)])) or blocks[0]
        loop = step.parent if step is not None else None
        t = step.owner.t if step is not None else 0
        calls = self._calls.setdefault(path, [])
        alike = [call for call in calls if call.block == blocks[0] and call.depth == len(blocks)]
        call = alike[-1] if alike else None
        if call is None or step is None or not call.stepped or call.loop is not loop or t in call.steps:
            call = _Call(blocks[0], len(blocks), root, loop, step is not None)
            calls.append(call)
        runs = step.owner.runs if step is not None else None
        call.steps[t] = {
            field: _while_it_runs(symbol, runs)
            for field, symbol in symbols._asdict().items()
            if isinstance(symbol, Tensor | list | tuple)
        }


@contextmanager
def record() -> Iterator[Recorder]:
    """A `with` block in which the symbols of all equations are recorded: gates, cells, states, attention weights.

    What the model computes stays the same to the last bit: fused operations run their kernel as ever, and their
    definition beside it, which costs time and, for attention, memory for its weights.

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> with ts.record() as r:
    ...     out, state = lstm(ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    >>> r["lstm"].f_t.shape
    (1, 2, 5)
    """
    recorder = Recorder()
    with setting(recorder=recorder):
        yield recorder


def _fields(call: _Call) -> dict[str, Any]:
    return next(iter(call.steps.values()))


def _have(calls: list[_Call], field: str) -> bool:
    return any(field in _fields(call) for call in calls)


def _are_steps(calls: list[_Call]) -> bool:
    """Whether calls are the steps of one loop: of a cell in a model that ran once, or of a model that is one step."""
    roots = [call.root for call in calls]
    if any(call.stepped for call in calls):
        return False
    owners = {id(root.owner) for root in roots if root is not None}
    return len(set(map(id, roots))) in (1, len(roots)) and len(owners) <= 1


def _stack(symbols: list[Any], axis: int) -> Any:
    """Side by side on a new axis: arrays, or tuples of them, part by part."""
    if isinstance(symbols[0], tuple):
        return tuple(_stack(list(parts), axis) for parts in zip(*symbols, strict=True))
    return backend_of(symbols[0]).xp.stack(symbols, axis)


def _shape(x: Any) -> Any:
    return tuple(map(_shape, x)) if isinstance(x, tuple) else x.shape


def _tensor(x: Any) -> Any:
    return Tensor(x) if hasattr(x, "dtype") else tuple(map(Tensor, x))


def _while_it_runs(symbol: Any, runs: Any) -> Any:
    """The array of a symbol, 0 for sequences that have ended."""
    if isinstance(symbol, list | tuple):
        return tuple(_while_it_runs(each, runs) for each in symbol if isinstance(each, Tensor))
    array = value(symbol)
    if runs is None or not array.ndim or len(array) != len(runs):
        return array
    return array * runs.reshape((-1,) + (1,) * (array.ndim - 1))
