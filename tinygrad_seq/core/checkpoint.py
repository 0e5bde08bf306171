"""Activation checkpointing: a part of the forward pass that keeps nothing, and runs again in the backward pass."""

from collections.abc import Callable, Iterator
from typing import Any

from .engine import walk
from .op import Op, Slot, spent
from .random import get_state, set_state
from .state import setting, state
from .tensor import Leaf, Tensor, next_number


def checkpoint(function: Callable[..., Any], *inputs: Any) -> Any:
    """function(*inputs), of which the graph keeps no array: the backward pass runs the function once more.

    Memory is traded for time. A sequence of T steps in √T pieces needs the memory of about 2 √T steps, and one more
    forward pass. Values and gradients are those without it, to the last bit where sums run in the same order; random
    numbers are drawn again, so dropout zeroes the same elements. May stand inside of another one.

    Args:
        function: of the inputs, and of whatever else it reaches: a module, a bound method, a closure. Weights get their
            gradients, however they are reached. It must compute the same each time.
        inputs: tensors, tuples of tensors such as a state, or anything else; passed on as they are.
    Returns:
        What the function returns: a tensor, or tuples, lists and dicts of tensors. Under `no_grad`, and where nothing
        requires a gradient, nothing but the call happens.
    Raises:
        TypeError: where the first argument cannot be called, or it returns something else than tensors.
        RuntimeError: in the backward pass, where the function does not compute what it did in the forward pass, or a
            weight was written into since.

    Source: Chen, Xu, Zhang and Guestrin, 2016, "Training deep nets with sublinear memory cost".

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> x, state, losses = ts.tensor([[[1.0, 2.0, 3.0]] * 6], requires_grad=True), None, []
    >>> for t in range(0, 6, 2):
    ...     h, state = ts.checkpoint(lstm, x[:, t : t + 2], state)
    ...     losses.append(h.sum())
    >>> sum(losses).backward()
    >>> x.grad.shape, lstm.weight_hh_l0.grad.shape
    ((1, 6, 3), (20, 5))
    """
    if not callable(function):
        raise TypeError(
            f"checkpoint: expected a function and its inputs, got {type(function).__name__}: "
            "checkpoint(layer, x), not checkpoint(layer(x))"
        )
    return Checkpoint().run(function, inputs) if state.grad else function(*inputs)


class Checkpoint(Op):
    """All that a function computed, as one node. Its sources are what the function reached: inputs and weights."""

    random: tuple[int, int]
    fused: bool

    @property
    def keeps(self) -> tuple[int, ...]:  # type: ignore[override]  # all of them, for the second run
        return tuple(range(len(self.sources)))

    def run(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        """The first run. Its graph says what the function reached, and is then let go."""
        self.random, self.fused, self.scope = get_state(), state.fused, state.scope
        tracer, began = state.tracer, next_number()
        if tracer is not None:
            tracer.before(self)
        result = function(*inputs)
        made = [t for t in _tensors(result) if _is_since(t.place, began)]
        sources = dict.fromkeys(
            source
            for op in reversed(_ops_since([t.place for t in made], began))
            for source in op.sources
            if source is not None and not _is_since(source, began)
        )
        if not sources:
            return result
        self.number, self.sources = next_number(), list(sources)
        arrays = tuple(t.data for t in made)
        if tracer is not None:
            tracer.after(self, inputs, arrays)
        outputs = self._outputs(arrays)
        for out, t in zip(outputs, made, strict=True):
            out.place.name, out.place.equation = t.place.name, t.place.equation
        self.kept = function, inputs
        return _with(result, dict(zip(map(id, made), outputs, strict=True)))

    def pull_back(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        """The second run, and a walk back through it as far as the sources."""
        if self.kept is None:
            raise spent(self)
        (function, inputs), now, began = self.kept, get_state(), next_number()
        set_state(self.random)
        try:
            # A plain derivative is computed where the forward pass was; one with a graph is drawn where it is computed.
            scope = state.scope if create_graph else self.scope
            with setting(grad=True, fused=self.fused, scope=scope):
                made = [t for t in _tensors(function(*inputs)) if _is_since(t.place, began)]
        finally:
            set_state(now)
        self._check(made)
        # Where the walk ends. Of a weight, its own leaf would do, but hooks are for its whole gradient.
        ends = {source: Leaf(source.shape, source.dtype) for source in self.sources}
        ways: dict[Op, list[Any]] = {}
        for op in _ops_since([t.place for t in made], began):
            ways[op] = [
                source if source is None or _is_since(source, began) else ends.get(source) or self._unknown(source)
                for source in op.sources
            ]
        used = [(t, g_k) for t, g_k in zip(made, g, strict=True) if g_k is not None]
        outputs, gs = [t for t, _ in used], [g_k for _, g_k in used]
        found = walk(outputs, gs, create_graph, create_graph, list(ends.values()), ways)
        return tuple(found.get(ends[source]) for source in self.sources)

    def _check(self, made: list[Tensor]) -> None:
        """That the second run gave what the first one did."""
        first = [(y.shape, y.dtype) for y in self.outputs or ()]
        second = [(t.shape, t.dtype) for t in made]
        if first != second:
            told = [", ".join(f"{shape} {dtype}" for shape, dtype in each) for each in (first, second)]
            raise RuntimeError(
                f"checkpoint: the function gave {told[0]} in the forward pass and {told[1] or 'nothing'} when it ran "
                "again for the backward pass: it must compute the same each time"
            )

    def _unknown(self, source: Any) -> Any:
        raise RuntimeError(
            f"checkpoint: run again for the backward pass, the function used a tensor of shape {source.shape} that it "
            "did not use in the forward pass: it must compute the same each time"
        )


def _is_since(place: Any, began: int) -> bool:
    """Whether an op made what stands at a place, after the number `began` was given."""
    return place is not None and place.number < began  # numbers count down; a leaf's is inf


def _ops_since(places: list[Any], began: int) -> list[Op]:
    """The ops that lead to some places, the newest first, but for those that are older."""
    found: set[Op] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        op = place.op if type(place) is Slot else place
        if op not in found and _is_since(op, began):
            found.add(op)
            waiting += op.sources
    return sorted(found, key=lambda op: op.number)


def _tensors(result: Any) -> Iterator[Tensor]:
    """The tensors of what a function returned, each once."""
    seen: set[int] = set()
    waiting = [result]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            if id(part) not in seen:
                seen.add(id(part))
                yield part
        elif isinstance(part, tuple | list):
            waiting += reversed(part)
        elif isinstance(part, dict):
            waiting += reversed(part.values())
        elif not (part is None or isinstance(part, str | int | float) or hasattr(part, "dtype")):
            raise TypeError(
                "checkpoint: expected a function that returns tensors, or tuples, lists and dicts of them, got "
                f"{type(part).__name__}, whose tensors it does not know"
            )


def _with(result: Any, outputs: dict[int, Tensor]) -> Any:
    """What a function returned, with other tensors in the place of its own."""
    if isinstance(result, Tensor):
        return outputs.get(id(result), result)
    if isinstance(result, dict):
        return {key: _with(part, outputs) for key, part in result.items()}
    if isinstance(result, tuple | list):
        parts = [_with(part, outputs) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result
