"""The gradient of a shared weight taken apart: what each time step, or each use, contributes to it."""

import math
from typing import Any

from ..backend import backend_of
from ..core import FusedOp, Leaf, Op, Tensor, grad
from ..core.engine import walk
from ..core.fused import same
from ..core.op import Slot
from ..core.state import Scope, Step, setting


def explain_grad(loss: Tensor, parameter: Tensor) -> Tensor:
    r"""The gradient of a weight that is used again and again, split into the part of each use.

        ∂L/∂W = Σ_t (∂L/∂W)_t,   (∂L/∂W)_t through the use of W at time step t alone

    A use is one time step of a recurrence (a layer's, or one by `ops.scan`) that takes the weight or what was made
    from it before: its gates, or the vectors that an embedding gave. Outside of any recurrence a use is an operation
    that takes the weight: the k-th call of a cell in a loop of one's own is the k-th use. Several loops follow each
    other in the order in which they ran, the steps of each in the order of time, also where it ran backwards. Fused
    layers are opened on the way; the loss needs no preparation.

    Args:
        loss: of one element; before its `backward`, or after `backward(retain_graph=True)`. Its graph stays.
        parameter: a leaf, such as `lstm.weight_hh_l0`.
    Returns:
        (T, *parameter.shape), without graph. Its sum over the first axis is the gradient, before hooks of the
        parameter. No `.grad` is touched.
    Raises:
        TypeError: where one of the two is no tensor.
        ValueError: where the parameter is no leaf that requires a gradient, or the loss does not depend on it.
        RuntimeError: where the graph was freed, or a weight was written into since.

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> x = ts.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    >>> loss = lstm(x)[0].sum()
    >>> ts.explain_grad(loss, lstm.weight_ih_l0).shape
    (2, 20, 3)
    """
    for what, x in (("loss", loss), ("parameter", parameter)):
        if not isinstance(x, Tensor):
            raise TypeError(f"explain_grad: the {what} is a tensor, got {type(x).__name__}")
    if type(parameter.place) is not Leaf:
        raise ValueError(
            f"explain_grad: expected a parameter, a leaf that requires a gradient, got a tensor of shape "
            f"{parameter.shape} that " + ("requires none" if parameter.place is None else "an operation made")
        )
    if loss.place is parameter.place:
        raise ValueError("explain_grad: the loss is the parameter itself: no operation uses it, so there are no parts")
    grad(loss, parameter, retain_graph=True)  # says what is wrong with the graph, if anything is
    with setting(recorder=None):
        parts = _parts([loss], [backend_of(loss.data).xp.ones_like(loss.data)], parameter.place)
    if not parts:
        raise ValueError(
            f"explain_grad: the loss does not depend on this parameter of shape {parameter.shape}: nothing to explain"
        )
    return Tensor(backend_of(parameter.data).xp.stack(parts))


def _parts(outputs: list[Tensor], grads: list[Any], place: Leaf) -> list[Any]:
    """The parts of the gradient of a leaf, one for each use, in order.

    The graph is cut where a use takes the weight, or what was made from it outside of any step (its gates, its
    transpose): what arrives at a cut belongs to that use, and is then followed from there to the weight.
    """
    before: set[Any] = {place}  # the weight, and all that was made from it without passing a step
    cuts: dict[Any, dict[Any, Leaf]] = {}  # use -> {what it takes: where the gradient is caught}
    ways: dict[Op, list[Any]] = {}  # op -> where the walk goes on from it: to a cut, or not at all
    opened: dict[Op, list[Tensor]] = {}  # a fused recurrence -> the outputs of its definition
    numbers: dict[Any, Any] = {}  # of the oldest op of a use
    made = _history(outputs)
    for op in made:
        taken = [k for k, source in enumerate(op.sources) if _maker(source) in before]
        if not taken:
            continue
        use: Any = _step(op)
        if use is None:
            definition = _opened(op, taken) if isinstance(op, FusedOp) else []
            if any(_step(inner) for inner in _history(definition, since=op.number)):
                opened[op] = definition
                ways[op] = [None if k in taken else source for k, source in enumerate(op.sources)]
                numbers[op] = op.number
                continue
            before.add(op)
            use, taken = op, [k for k in taken if op.sources[k] is place]
        for k in taken:
            source = op.sources[k]
            cut = cuts.setdefault(use, {}).setdefault(source, Leaf(source.shape, source.dtype))
            ways.setdefault(op, list(op.sources))[k] = cut
            numbers.setdefault(use, op.number)

    targets = [cut for use in cuts.values() for cut in use.values()] + [y for op in opened for y in made[op].values()]
    found = walk(outputs, grads, False, True, targets, ways)
    # Hooks of the weight are for its whole gradient: what is caught goes to a leaf without any.
    bare = Leaf(place.shape, place.dtype)
    home = {op: [bare if source is place else source for source in op.sources] for op in before - {place}}
    xp = backend_of(*grads).xp
    parts: list[Any] = []
    for use in _in_time(sorted(numbers, key=numbers.__getitem__, reverse=True)):  # numbers count down
        if use in opened:
            reached = [(opened[use][k], found[y]) for k, y in made[use].items() if y in found]
            parts += _parts([out for out, _ in reached], [g for _, g in reached], place) if reached else []
            continue
        caught = {source: found[cut] for source, cut in cuts[use].items() if cut in found}
        if caught:
            ends = [Tensor(g, bare if source is place else source) for source, g in caught.items()]
            parts.append(walk(ends, list(caught.values()), False, True, [bare], home)[bare])
        elif isinstance(use, Scope):  # a step that the loss does not see
            parts.append(xp.zeros(place.shape, place.dtype))
    return parts


def _history(outputs: list[Tensor], since: float = math.inf) -> dict[Op, dict[int, Any]]:
    """The ops that the outputs were made by, the oldest first, each with its outputs that are in use, by index.

    since: a number, as ops have them: none that is as old.
    """
    made: dict[Op, dict[int, Any]] = {}
    todo = [out.place for out in outputs]
    while todo:
        place = todo.pop()
        op = _maker(place)
        if isinstance(op, Op) and op.number < since:  # numbers count down
            if op not in made:
                todo += op.sources
            made.setdefault(op, {})[place.index if isinstance(place, Slot) else 0] = place
    return dict(sorted(made.items(), key=lambda item: -item[0].number))


def _maker(place: Any) -> Any:
    return place.op if isinstance(place, Slot) else place


def _step(op: Op) -> Scope | None:
    """The innermost time step that an op belongs to."""
    scope = op.scope
    while scope is not None and not isinstance(scope.owner, Step):
        scope = scope.parent
    return scope


def _opened(op: FusedOp, taken: list[int]) -> list[Tensor]:
    """The outputs of a fused op's definition, a function of the inputs that are asked for, the others constant."""
    arrays, _ = op.kept
    with setting(grad=True, scope=Scope(op.scope, op)):
        inputs = [
            same(Tensor(x, op.sources[k])) if k in taken else None if x is None else Tensor(x)
            for k, x in enumerate(arrays)
        ]
        outputs = op.definition(*inputs, **op.static)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _in_time(uses: list[Any]) -> list[Any]:
    """Uses in the order in which they ran; the steps of one loop in the order of time, also where it ran backwards."""
    loops: list[dict[int, Any]] = []
    parent: Any = None
    for use in uses:
        if not isinstance(use, Scope):
            loops.append({0: use})
            parent = use  # no scope's parent: the next step starts a new loop
        else:
            if not loops or use.parent is not parent or use.owner.t in loops[-1]:
                loops.append({})
            loops[-1][use.owner.t] = use
            parent = use.parent
    return [loop[t] for loop in loops for t in sorted(loop)]
