"""The size of ∂L/∂· of every value in a picture: one walk back from the loss, which leaves the graph as it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import backend_of
from ..core import Op, Tensor
from ..core.engine import walk
from ..core.op import Slot
from ..core.tensor import Place
from .value import MOST_NUMBERS, Summary

if TYPE_CHECKING:
    from .build import _Ops


class Gradients:
    """What the walk noted: of each place the summary of its whole gradient, and its norm at each time step."""

    def __init__(self, found: _Ops, loss: Tensor) -> None:
        self.found = found
        self.noted: dict[Any, Summary | None] = {}
        self.steps: dict[Any, Any] = {}  # of (B, T, …): T norms
        self.arrived: dict[Op, list[tuple[int, Any]]] = {}  # at the outputs of what is opened, until it is walked too
        walk([loss], [backend_of(loss.data).xp.ones_like(loss.data)], False, True, [], watch=self._note)
        for op, opened in found.opened.items():  # what stands inside of another comes after it
            ends = [(opened.outputs[k], g) for k, g in self.arrived.pop(op, []) if isinstance(opened.outputs[k], Place)]
            walk([Tensor(g, place) for place, g in ends], [g for _, g in ends], False, True, [], watch=self._note)
        # What a definition computes from constants is differentiated with it, but is nobody's question.
        self.constant: set[Op] = set()
        for op in found.ops:
            if not any(self._needs(found.resolve(source)) for source in op.sources if source is not None):
                self.constant.add(op)

    def of(self, place: Any) -> Summary | None:
        """Of the whole gradient of a place; None where there is none."""
        place = self.outside(place)
        return self.noted.get(place) if self._needs(place) else None

    def norm(self, place: Any, t: int | None = None) -> float | None:
        """The norm of the gradient of a place, or of its part at one time step."""
        whole = self.of(place)
        if whole is None or t is None:
            return None if whole is None else whole.norm
        return float(self.steps[self.outside(place)][t])

    def _note(self, place: Any, g: Any) -> None:
        self.noted[place] = summary(g)
        if g.ndim > 2:
            self.steps[place] = norms(g, 1)
        op, k = (place.op, place.index) if type(place) is Slot else (place, 0)
        if op in self.found.opened:
            self.arrived.setdefault(op, []).append((k, g))

    def outside(self, place: Any) -> Any:
        """The place itself, where a definition ran on a copy of it: its gradient is the sum over all its uses."""
        while place in self.found.alias:
            place = self.found.alias[place]
        return place

    def _needs(self, place: Any) -> bool:
        return isinstance(place, Place) and (place.op if type(place) is Slot else place) not in self.constant


def summary(x: Any) -> Summary | None:
    """What is told of an array; None for an empty one, which has no mean and no largest number.

    >>> summary(np.array([3.0, -4.0]))
    Summary(norm=5.0, mean=-0.5, std=3.5, least=-4.0, largest=3.0, numbers=(3.0, -4.0))
    """
    if not x.size:
        return None
    backend = backend_of(x)
    with np.errstate(all="ignore"):  # infinities, and what comes of them
        x = x.astype(np.float64)
        near, most = _near_one(backend.xp, x, None)
        told = [most * (near**2).sum() ** 0.5, most * near.mean(), most * near.std(), x.min(), x.max()]
        told = backend.to_numpy(backend.xp.stack([stat.reshape(()) for stat in told])).tolist()
    return Summary._make([*told, tuple(backend.to_numpy(x).ravel().tolist()) if x.size <= MOST_NUMBERS else ()])


def together(parts: list[tuple[Summary, int]]) -> Summary | None:
    """What is told of several arrays as of one, from what is told of each and its size."""
    if len(parts) < 2:
        return parts[0][0] if parts else None
    n = max(1, sum(size for _, size in parts))
    norm = math.hypot(*(part.norm for part, _ in parts))
    mean = sum(part.mean * size for part, size in parts) / n
    std = math.hypot(*(x * math.sqrt(size / n) for part, size in parts for x in (part.std, part.mean - mean)))
    return Summary(norm, mean, std, min(part.least for part, _ in parts), max(part.largest for part, _ in parts))


def norms(x: Any, axis: int) -> Any:
    """The norm of each part along one axis, as a NumPy array."""
    backend = backend_of(x)
    others = tuple(k for k in range(x.ndim) if k != axis)
    if not x.size:
        return np.zeros(x.shape[axis])
    with np.errstate(all="ignore"):
        near, most = _near_one(backend.xp, x.astype(np.float64), others)
        return backend.to_numpy((most * (near**2).sum(others, keepdims=True) ** 0.5).ravel())


def _near_one(xp: Any, x: Any, axis: Any) -> tuple[Any, Any]:
    """Numbers divided by a power of two near the largest of them, and that one: tiny numbers have squares of 0."""
    most = abs(x).max(axis=axis, keepdims=True)
    most = xp.where(xp.isfinite(most) & (most > 0), most, 1.0)
    most = xp.exp2(xp.floor(xp.log2(most)))  # a power of two: the scaled numbers are the same ones
    return x / most, most
