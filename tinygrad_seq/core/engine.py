"""Walking the graph backwards, newest op first."""

import sys
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..backend import backend_of, find, written_out
from .op import Op, Slot
from .state import Derivative, Scope, setting, state
from .tensor import ConstantGradient, Leaf, Tensor, _Writes, next_number, value
from .tracing import phase

LARGE = 1 << 10  # numbers of a gradient from which sums are made in place: below, to ask whose it is takes longer


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grads: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Any:
    """The gradients of `outputs` with respect to `inputs`; no `.grad` is touched.

    Args:
        outputs: a tensor, or several, whose sum (weighted by `grads`) is differentiated.
        inputs: a tensor or a list of them, leaves or not.
        grads: the gradient that arrives at each output, of its shape; ones for an output of one element.
        create_graph: whether the result can be differentiated again.
        retain_graph: whether the graph can be walked again; always so with `create_graph`.
    Returns:
        One tensor for one input, a tuple for a list; zeros where an output does not depend on the input.
    Raises:
        ValueError: where an input requires no gradient, or no output has a graph.
        RuntimeError: where the graph was walked before and freed, or a weight was written into since.

    >>> import tinygrad_seq as ts
    >>> x = ts.tensor(3.0, requires_grad=True)
    >>> first = ts.grad(x ** 3, x, create_graph=True)
    >>> first.item(), ts.grad(first, x).item()
    (27.0, 18.0)
    """
    ys = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    xs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for k, x in enumerate(xs):
        if x.place is None:
            raise ValueError(
                f"grad: input {k} of shape {x.shape} requires no gradient: make it with requires_grad=True"
            )
    seeds = _seeds(ys, grads, "grad")
    with phase("backward"):
        found = walk(ys, seeds, create_graph, create_graph or retain_graph, [x.place for x in xs])
    gs = tuple(_zeros(x) if x.place not in found else as_tensor(found[x.place]) for x in xs)
    return gs[0] if isinstance(inputs, Tensor) else gs


def backward(output: Tensor, grad: Any = None, *, create_graph: bool = False, retain_graph: bool = False) -> None:
    """Add the gradient of this tensor to the `.grad` of every leaf it was made from.

    Args:
        grad: the gradient that arrives here, of this tensor's shape; 1 for a tensor of one element.
        create_graph: whether the gradients can be differentiated again.
        retain_graph: keep what the ops kept, so that backward can be called again; it is freed otherwise.
    """
    seeds = _seeds([output], None if grad is None else [grad], "backward")
    with phase("backward"):
        walk([output], seeds, create_graph, create_graph or retain_graph)


def _seeds(outputs: list[Tensor], grads: Any, what: str) -> list[Any]:
    """The gradients that arrive at the outputs, checked."""
    if not any(out.place is not None for out in outputs):
        raise ValueError(
            f"{what}: this tensor has no graph: either nothing it was made from has requires_grad=True, "
            "or it was made under no_grad() or detached"
        )
    given = [None] * len(outputs) if grads is None else [grads] if isinstance(grads, Tensor) else grads
    if not isinstance(given, list | tuple) or len(given) != len(outputs):
        given = [given]
    seeds = []
    for out, g in zip(outputs, given, strict=True):
        if g is None:
            if out.size != 1:
                raise ValueError(
                    f"{what}: a tensor of shape {out.shape} has no single derivative: reduce it first, as in "
                    f"t.sum().backward(), or give the gradient that arrives here, of shape {out.shape}"
                )
            g = backend_of(out.data).xp.ones_like(out.data)
        if not hasattr(g, "shape"):
            g = backend_of(out.data).from_numpy(np.asarray(g, out.dtype))
        if g.shape != out.shape:
            raise ValueError(f"{what}: expected a gradient of shape {out.shape}, got {g.shape}")
        here, there = backend_of(out.data), backend_of(value(g))
        if here is not there:
            raise ValueError(
                f"{what}: the tensor is on {here.device_of(out.data)}, its gradient on {there.device_of(value(g))}, "
                "different devices: move one with .to(device)"
            )
        seeds.append(_as_dtype(g, out.dtype))
    return seeds


def walk(
    outputs: list[Tensor],
    grads: list[Any],
    create_graph: bool,
    retain: bool,
    targets: list[Any] | None = None,
    cuts: dict[Op, list[Any]] | None = None,
    watch: Callable[[Any, Any], None] | None = None,
) -> dict[Any, Any]:
    """{place: gradient} of the targets; without targets, gradients are added to the leaves' `.grad`.

    cuts: for some ops, where this walk goes on from them instead of their `sources`; None: not at all.
    watch: is shown each place with its whole gradient, as it is without hooks, which do not run.

    Numbers are given in the order in which ops are made, so the newest op that waits has all its gradients.
    """
    arriving: dict[Any, Any] = {}  # place -> gradient; an op with several outputs -> those that have one
    ours: set[Any] = set()  # places whose gradient was added up here: nobody else holds the array
    waiting: list[tuple[int, Op]] = []
    found: dict[Any, Any] = {}
    wanted = set(targets or ())
    last_write = _Writes.last
    # Nothing older than the oldest target depends on one. A leaf (number: inf) is never visited.
    oldest = min(max((place.number for place in wanted), default=sys.maxsize), sys.maxsize)

    def add(place: Any, g: Any, is_new: bool) -> None:
        before = arriving[place]
        if g.size < LARGE or not in_place or before.dtype != g.dtype:
            arriving[place] = before + g  # not in place: either may be somebody else's
            return
        arriving[place] = _sum(before, g, before if place in ours else g if is_new else None)
        ours.add(place)

    def arrive(place: Any, g: Any) -> None:
        arriving[place] = g
        if place.number > oldest:  # a leaf, or made before every target
            return
        if type(place) is not Slot:
            heappush(waiting, (place.number, place))
        elif place.op in arriving:
            arriving[place.op].append(place)
        else:  # its op waits under one entry for all its outputs
            arriving[place.op] = [place]
            heappush(waiting, (place.number, place.op))

    in_place = not create_graph and state.tracer is None  # who listens may keep what it is shown
    for out, g in zip(outputs, grads, strict=True):
        if out.place is not None:
            g = as_tensor(g) if create_graph else value(g)
            if out.place in arriving:
                add(out.place, g, False)
            else:
                arrive(out.place, g)
    notes = _Notes(outputs, wanted) if create_graph else None
    pull_back: Callable[[Op, Any], tuple[Any, ...]] | None = None if notes is None else notes.pull_back
    if state.tracer is not None:
        pull_back = _traced(pull_back or _pull_back, state.tracer)
    told = watch is not None or create_graph
    # A definition that is differentiated is no forward pass.
    with setting(grad=create_graph, recorder=None, scope=state.scope):
        while waiting:
            number, op = heappop(waiting)
            g = arriving.pop(op)
            if op.outputs is not None:
                slots, g = g, [None] * len(op.outputs)
                for slot in slots:
                    g_k = arriving.pop(slot)
                    if slot.hooks is not None or told:
                        g_k = _notice(slot, g_k, create_graph, targets is None, watch, notes)
                    if slot in wanted:
                        found[slot] = g_k
                    g[slot.index] = g_k
            else:
                if op.hooks is not None or told:
                    g = _notice(op, g, create_graph, targets is None, watch, notes)
                if wanted and op in wanted:
                    found[op] = written_out(g)
            if number == oldest:  # the oldest target: what it was made from is nobody's question
                continue
            if number > last_write:  # made before some array was written into
                _check_written(op)
            gs = op.pull_back(g, False) if pull_back is None else pull_back(op, g)
            sources = op.sources
            if len(gs) != len(sources):
                raise ValueError(f"{type(op).__name__}.backward gave {len(gs)} gradients for {len(sources)} inputs")
            if cuts is not None:
                sources = cuts.get(op, sources)
            for source, g_k in zip(sources, gs):  # noqa: B905  # `strict` costs 0.2 µs an op
                if source is not None and g_k is not None:
                    if g_k.shape != source.shape:
                        g_k = _fit(g_k, source.shape, op)
                    if source in arriving:
                        add(source, g_k, op.makes_new)
                    elif type(source) is Slot:
                        arrive(source, g_k)
                    else:  # `arrive`, written out: a call for each input takes longer
                        arriving[source] = g_k
                        made = source.number
                        if made <= oldest:
                            heappush(waiting, (made, source))
            if not retain:
                op.kept = None  # structure, shapes and names stay, for pictures
        for place, g in arriving.items():
            if type(place) is Leaf and (targets is None or place in wanted or watch is not None):
                g = _as_dtype(g, place.dtype)
                if watch is not None:
                    watch(place, g)
                elif place.hooks:
                    g = _call_hooks(place, g, create_graph)
                if notes is not None:
                    notes.name(place, g)
                if targets is None:
                    _accumulate(place, g, create_graph)
                elif place in wanted:
                    found[place] = g
    return found


def _pull_back(op: Op, g: Any) -> tuple[Any, ...]:
    return op.pull_back(g, False)


def _traced(pull_back: Callable[[Op, Any], tuple[Any, ...]], tracer: Any) -> Callable[[Op, Any], tuple[Any, ...]]:
    """The same, of which a tracer is told."""

    def traced(op: Op, g: Any) -> tuple[Any, ...]:
        tracer.before_backward(op, g)
        gs = pull_back(op, g)
        tracer.after_backward(op, g, gs)
        return gs

    return traced


def _accumulate(place: Any, g: Any, create_graph: bool) -> None:
    """Add to `.grad`: never in place, since a gradient is a value that others may hold."""
    if place.grad is None:
        place.grad = as_tensor(g)
    elif create_graph:
        place.grad = place.grad + g
    else:
        place.grad = Tensor(place.grad.data + value(g))


class _Notes:
    """What a picture is told of a derivative with a graph of its own: in which scopes it is computed, and what of it is
    the gradient of which place."""

    def __init__(self, outputs: list[Tensor], wanted: set[Any]) -> None:
        self.wanted = wanted
        self.began = next_number()
        root = state.scope
        if root is not None and isinstance(root.owner, Derivative):  # a fused op's definition: part of a longer walk
            self.derivative = root.owner.walk or root.owner
        else:
            self.derivative = Derivative([out.place for out in outputs])
            root = Scope(root, self.derivative)
        self.scopes: dict[Scope | None, Scope] = {None: root, state.scope: root}  # of an op -> of its derivative

    def pull_back(self, op: Op, g: Any) -> tuple[Any, ...]:
        """The derivative of an op, in a scope that is nested as the op's own, inside of the walk's."""
        new = []
        outer = op.scope
        while outer not in self.scopes:
            new.append(outer)
            outer = outer.parent
        inner = self.scopes[outer]
        for outer in reversed(new):
            inner = self.scopes[outer] = inner if isinstance(outer.owner, Op) else Scope(inner, outer.owner)
        state.scope = Scope(inner, Derivative([op], self.derivative))
        gs = op.pull_back(g, True)
        state.scope = inner  # sums over several uses belong to no op
        return gs

    def name(self, place: Any, g: Any) -> None:
        """Where one gradient is that of several places, as behind a +, it is that of the one that was asked for, or
        else of the newest."""
        if not isinstance(g, Tensor):
            return
        asked_for = place in self.wanted or type(place) is Leaf
        if g.place is None:
            if g.constant is None or asked_for:
                g.constant = ConstantGradient(g.shape, g.dtype)
                g.constant.gradient_of = (self.derivative, place)
        elif g.place.number < self.began and (g.place.gradient_of is None or asked_for):  # numbers count down
            g.place.gradient_of = (self.derivative, place)


def _notice(place: Any, g: Any, create_graph: bool, gathers: bool, watch: Any, notes: _Notes | None) -> Any:
    """What hooks and `retain_grad` ask for, or who watches instead, once all of an op's gradient has arrived."""
    if watch is not None:
        watch(place, g)
        return g
    if place.hooks:
        g = _call_hooks(place, g, create_graph)
    if notes is not None:
        notes.name(place, g)
    if place.keeps_grad and gathers:
        _accumulate(place, g, create_graph)
    return g


def _call_hooks(place: Any, g: Any, create_graph: bool) -> Any:
    for hook in list(place.hooks):
        new = hook(as_tensor(g))
        if new is not None:
            if new.shape != place.shape:
                raise ValueError(f"a gradient hook must return the gradient's shape {place.shape}, got {new.shape}")
            g = new if create_graph else value(new)
    return g


def _fit(g: Any, shape: tuple[int, ...], op: Op) -> Any:
    """The reverse of broadcasting, for every op in one place: add up over the stretched axes."""
    if not op.broadcasts:
        raise ValueError(
            f"{type(op).__name__}.backward gave a gradient of shape {g.shape} for an input of shape {shape}"
        )
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + k for k, n in enumerate(shape) if n == 1 != g.shape[lead + k])
    return g.sum(axes, keepdims=True).reshape(shape)


def _as_dtype(g: Any, dtype: Any) -> Any:
    """A gradient has the dtype of its tensor, also where the model went on in a wider one."""
    return g if g.dtype == dtype else g.astype(dtype)


def _check_written(op: Op) -> None:
    for k in op.keeps:
        source = op.sources[k] if k >= 0 else None
        while source is not None and type(source) is not Leaf:  # W.T and W[0] are W's memory
            maker = source.op if type(source) is Slot else source
            source = maker.sources[0] if maker.views else None
        if type(source) is Leaf and source.written < op.number:
            name = f"{source.name!r} " if source.name else ""
            raise RuntimeError(
                f"{type(op).__name__} needs the weight {name}of shape {source.shape} as it was in the forward pass, "
                "but it was written into since, by an optimizer step or load_state_dict: call backward before, or "
                "run the forward pass again"
            )


def _sum(a: Any, b: Any, out: Any) -> Any:
    """a + b, in `out`, one of the two, where it is given."""
    backend = find(type(a)) if type(a) is type(b) else None
    return a + b if backend is None else backend.add(a, b, out)  # None: rows of a table, which give a new sum


def _zeros(x: Tensor) -> Tensor:
    return Tensor(backend_of(x.data).xp.zeros_like(x.data))


def as_tensor(g: Any) -> Tensor:
    return g if isinstance(g, Tensor) else Tensor(written_out(g))
