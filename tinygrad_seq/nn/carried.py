"""What a state brings along: its whole past, which may be too much, or the place where it was cut off."""

import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

from ..core.op import Op, Slot
from ..core.state import Scope
from ..core.state import state as running
from ..core.tensor import Cut, Leaf, Tensor, _Writes, cut_from
from .module import Module

LONGEST = 1000  # calls of a layer that a graph may reach back through; who means more has a reason, and one warning


class GraphGrowthWarning(UserWarning):
    """A recurrent state still has the graph of the steps before, so that memory and time grow with each."""


def note_carried(layer: Module, state: Any) -> None:
    """Warn where a state that the layer made before an update of its weights comes back undetached, or reaches too far.

    Args:
        layer: which is being called with the state.
        state: a tensor, a tuple of them with names or without, or None.
    """
    if not running.grad:
        return
    scope = running.scope
    for field, part in _parts(state):
        place = getattr(part, "place", None)
        if not isinstance(place, Op | Slot):
            continue
        if scope is not None and scope.state is None:
            scope.state = place.number
        made_in = (place.op if isinstance(place, Slot) else place).scope
        while made_in is not None and made_in.owner is not layer:
            made_in = made_in.parent
        if made_in is None or scope is None:  # another layer's, as a decoder starts from its encoder's state
            continue
        within = _outermost(made_in) is _outermost(scope)  # one forward pass, whose loop may be as long as it wants
        scope.carried = max(scope.carried, made_in.carried + (not within))
        if place.number > _Writes.last and _written_since(layer, place):
            _warn(layer, state, field, part, "was made before the last update of the weights and still has its graph")
        elif scope.carried == LONGEST and not within:
            _warn(layer, state, field, part, f"carries the graph of the last {LONGEST:,} calls")
        return


def note_cut(state: Tensor, parts: Sequence[Any]) -> None:
    """Pass on where a detached state of several layers was cut off: to each layer's part its own place."""
    if isinstance(state.constant, Cut):
        origins = state.constant.origins
        each = [[origin] for origin in origins] if len(origins) == len(parts) else [origins] * len(parts)
        for part, its in zip(parts, each, strict=True):
            part.constant = cut_from(its, part.data)


def _outermost(scope: Scope) -> Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _written_since(layer: Module, place: Op | Slot) -> bool:
    return any(p.place.written < place.number for p in layer.parameters() if type(p.place) is Leaf)


def _parts(state: Any) -> list[tuple[str, Any]]:
    """(field, part) of a state; no field where it is a tensor itself, or a tuple without names, or None."""
    if hasattr(state, "_asdict"):
        return list(state._asdict().items())
    return [("", part) for part in (state if isinstance(state, tuple | list) else [state])]


def _warn(layer: Module, state: Any, field: str, part: Any, what: str) -> None:
    frame, level = sys._getframe(1), 2  # level 1 is this function
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tinygrad_seq."):
        frame, level = frame.f_back, level + 1
    name = _called(frame, state, part, field) or part.name or field or "state"
    warnings.warn(
        f"{type(layer).__name__}: the state {name!r} {what}, so the graph grows with every step: cut it between "
        "updates, state = ts.train.detach(state), or put evaluation under ts.no_grad()",
        GraphGrowthWarning,
        stacklevel=level,
    )


def _called(frame: FrameType | None, state: Any, part: Any, field: str) -> str:
    """What the caller, or who called it, calls the tensor."""
    while frame is not None:
        for name, x in frame.f_locals.items():
            if x is part:
                return name
        for name, x in frame.f_locals.items():
            if field and x is state:
                return f"{name}.{field}"
            if isinstance(x, tuple) and any(each is part for each in x):
                fields = getattr(x, "_fields", None)
                k = next(k for k, each in enumerate(x) if each is part)
                return f"{name}.{fields[k]}" if fields else f"{name}[{k}]"
        frame = frame.f_back
    return ""
