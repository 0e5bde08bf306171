"""Operations that move elements without changing them: reshaping, axes, joining and splitting, padding."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import backend_of
from ..core import Op, value
from ..core.tensor import note_pieces

Axis = int | tuple[int, ...] | None


def axes_of(what: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes meant, counted from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise ValueError(f"{what}: axis {a} is out of range for {ndim} axes, numbered 0 to {ndim - 1}")
    return tuple(int(a) % ndim for a in axes)


class Reshape(Op):
    views = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.to = shape

    def forward(self, be: Any, x: Any) -> Any:
        return x.reshape(self.to)

    def backward(self, g: Any) -> Any:
        return g.reshape(self.sources[0].shape)


class Transpose(Op):
    views = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, be: Any, x: Any) -> Any:
        return x.transpose(self.axes)

    def backward(self, g: Any) -> Any:
        return g.transpose(tuple(int(k) for k in np.argsort(self.axes)))


class SwapAxes(Op):
    views = True

    def __init__(self, axis1: int, axis2: int) -> None:
        self.axis1, self.axis2 = axis1, axis2

    def forward(self, be: Any, x: Any) -> Any:
        return x.swapaxes(self.axis1, self.axis2)

    def backward(self, g: Any) -> Any:
        return g.swapaxes(self.axis1, self.axis2)


class BroadcastTo(Op):
    broadcasts = True
    views = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.to = shape

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.broadcast_to(x, self.to)

    def backward(self, g: Any) -> Any:
        return g


class Concatenate(Op):
    """Pieces end to end along an axis; the pair of Split."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, be: Any, *xs: Any) -> Any:
        self.cuts = _cuts(x.shape[self.axis] for x in xs)
        return be.xp.concatenate(xs, self.axis)

    def backward(self, g: Any) -> Any:
        return split(g, self.cuts, self.axis)


class Split(Op):
    """One tensor cut along an axis; the pair of Concatenate."""

    views = True

    def __init__(self, cuts: tuple[int, ...], axis: int) -> None:
        self.cuts, self.axis = cuts, axis

    def forward(self, be: Any, x: Any) -> Any:
        return tuple(be.xp.split(x, self.cuts, self.axis))

    def backward(self, g: Any) -> Any:
        return concatenate(_filled(self, g), self.axis)


class Stack(Op):
    """Equal shapes along a new axis; the pair of Unstack."""

    moves = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, be: Any, *xs: Any) -> Any:
        return be.xp.stack(xs, self.axis)

    def backward(self, g: Any) -> Any:
        return unstack(g, self.axis)


class Unstack(Op):
    """The parts along an axis, without it; the pair of Stack."""

    views = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, be: Any, x: Any) -> Any:
        return tuple(x[(slice(None),) * (self.axis % x.ndim) + (k,)] for k in range(x.shape[self.axis]))

    def backward(self, g: Any) -> Any:
        return stack(_filled(self, g), self.axis)


class Pad(Op):
    def __init__(self, widths: tuple[tuple[int, int], ...], fill: float) -> None:
        self.widths, self.fill = widths, fill

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.pad(x, self.widths, mode="constant", constant_values=self.fill) if self.widths else x

    def backward(self, g: Any) -> Any:
        shape = self.sources[0].shape
        return g[tuple(slice(before, before + n) for (before, _), n in zip(self.widths, shape, strict=True))]


def _cuts(sizes: Any) -> tuple[int, ...]:
    """Where pieces of these sizes meet."""
    return tuple(int(k) for k in np.cumsum(list(sizes))[:-1])


def _filled(op: Op, gs: Sequence[Any]) -> list[Any]:
    """The gradients of an op's outputs, zeros for those that nobody used."""
    assert op.outputs is not None
    xp = backend_of(*map(value, gs)).xp
    return [xp.zeros(out.shape, out.dtype) if g is None else g for out, g in zip(op.outputs, gs, strict=True)]


def reshape(x: Any, *shape: Any) -> Any:
    """x in another shape, read row by row; one size may be -1."""
    return Reshape(_one_tuple(shape))(x)


def transpose(x: Any, *axes: Any) -> Any:
    """x with its axes in the order given; without any, reversed."""
    order = _one_tuple(axes) or tuple(reversed(range(x.ndim)))
    return Transpose(axes_of("transpose", order, x.ndim))(x)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    return SwapAxes(axis1, axis2)(x)


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """x with one axis moved to another place."""
    source, destination = axes_of("moveaxis", (source, destination), x.ndim)
    order = [a for a in range(x.ndim) if a != source]
    order.insert(destination, source)
    return transpose(x, order)


def expand_dims(x: Any, axis: int) -> Any:
    """x with a new axis of size 1."""
    (at,) = axes_of("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: Any, axis: Axis = None) -> Any:
    """x without its axes of size 1, or without those named."""
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = axes_of("squeeze", axis, x.ndim)
    wide = [a for a in axes if x.shape[a] != 1]
    if wide:
        raise ValueError(f"squeeze: axis {wide[0]} of shape {x.shape} has size {x.shape[wide[0]]}, not 1")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """x stretched to `shape`, as NumPy broadcasts."""
    return BroadcastTo(tuple(shape))(x)


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors end to end along an axis; their other axes are equal."""
    return Concatenate(axis)(*_several("concatenate", xs))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of equal shape along a new axis."""
    return Stack(axis)(*_several("stack", xs))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """x cut along an axis into equal parts (a number), or at the places given (a list), as NumPy's split.

    >>> import tinygrad_seq as ts
    >>> [part.shape for part in ts.ops.split(ts.tensor([1.0, 2.0, 3.0]), [1])]
    [(1,), (2,)]
    """
    (axis,) = axes_of("split", axis, x.ndim)
    n = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ValueError(f"split: axis {axis} of size {n} does not fall into {sections} equal parts")
        sections = range(n // sections, n, n // sections) if n else [0] * (sections - 1)
    cuts = [0, *(int(k) + n if k < 0 else int(k) for k in sections), n]
    if cuts != sorted(cuts):
        raise ValueError(f"split: the places {list(sections)} do not rise from 0 to {n}, the size of axis {axis}")
    return Split(tuple(cuts[1:-1]), axis)(x)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The parts of x along an axis, each without it: the reverse of stack."""
    (axis,) = axes_of("unstack", axis, x.ndim)
    parts = Unstack(axis)(x)
    if axis == 1:
        note_pieces(parts, x, 0)
    return parts


def pad(x: Any, widths: Any, fill: float = 0.0) -> Any:
    """x with a border of `fill`; widths as NumPy's: one number, one (before, after), or one pair for each axis."""
    array = np.asarray(widths)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"pad: widths are integers, got {widths}")
    if (array < 0).any():
        raise ValueError(f"pad: widths are not negative, got {widths}")
    try:
        pairs = np.broadcast_to(array, (x.ndim, 2)).tolist()
    except ValueError as error:
        raise ValueError(
            f"pad: widths are one number, one (before, after), or one pair for each axis of x {x.shape}, got {widths}"
        ) from error
    return Pad(tuple((before, after) for before, after in pairs), fill)(x)


def flip(x: Any, axis: Axis = None) -> Any:
    """x reversed along axes, along all of them by default."""
    axes = axes_of("flip", axis, x.ndim)
    return x[tuple(slice(None, None, -1) if a in axes else slice(None) for a in range(x.ndim))]


def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """x laid side by side, `repeats` times along each axis (new axes first), as NumPy's tile."""
    counts = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    if any(n < 0 for n in counts):
        raise ValueError(f"tile: repeats are not negative, got {repeats}")
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    counts = (1,) * (len(shape) - len(counts)) + counts
    between = x.reshape(tuple(n for size in shape for n in (1, size)))
    wide = broadcast_to(between, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return wide.reshape(tuple(math.prod(pair) for pair in zip(counts, shape, strict=True)))


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Each element along the axis `repeats` times (one number, or one for each element); flat without an axis."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    (axis,) = axes_of("repeat", axis, x.ndim)
    n, counts = x.shape[axis], np.asarray(repeats)
    if counts.shape not in ((), (1,), (n,)) or (counts < 0).any():
        raise ValueError(
            f"repeat: expected a number or {n}, one for each place of axis {axis}, none negative: {repeats}"
        )
    index = np.repeat(np.arange(n), counts)
    return x[(slice(None),) * axis + (backend_of(value(x)).from_numpy(index),)]


def _one_tuple(parts: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3), ((2, 3),) and ([2, 3],) are the same shape."""
    return tuple(parts[0]) if len(parts) == 1 and isinstance(parts[0], list | tuple) else tuple(parts)


def _several(what: str, xs: Sequence[Any]) -> Sequence[Any]:
    if not len(xs):
        raise ValueError(f"{what}: expected at least one tensor, got none")
    return xs
