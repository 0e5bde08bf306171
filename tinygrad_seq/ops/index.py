"""Reading and adding at places: indexing, take, gather, embedding. Each reading op has an adding one as its pair."""

from typing import Any

import numpy as np

from ..backend import RowsGradient, backend_of
from ..backend.base import is_basic
from ..core import Op, Tensor, value
from ..core.tensor import note_pieces
from .shape import axes_of, reshape


class GetItem(Op):
    def __init__(self, index: Any) -> None:
        self.index, self.views = index, is_basic(index)

    def forward(self, be: Any, x: Any) -> Any:
        return x[self.index]

    def backward(self, g: Any) -> Any:
        return ScatterAdd(self.sources[0].shape, self.index)(g)


class ScatterAdd(Op):
    """Zeros of a shape, with values added at an index; the pair of GetItem."""

    def __init__(self, shape: tuple[int, ...], index: Any) -> None:
        self.to, self.index = shape, index

    def forward(self, be: Any, values: Any) -> Any:
        return be.scatter_add(self.to, self.index, values)

    def backward(self, g: Any) -> Any:
        return g[self.index]


class Embed(Op):
    """Rows of a table. The row of `padding` gets no gradient."""

    def __init__(self, index: Any, padding: int | None) -> None:
        self.index, self.padding = index, padding

    def forward(self, be: Any, table: Any) -> Any:
        return table[self.index]

    def backward(self, g: Any) -> Any:
        if type(g) is RowsGradient and g.index is self.index:
            if self.padding is None:
                return g.of_table
            of_table = g.of_table.copy()
            of_table[self.padding] = 0
            return of_table
        if self.padding is not None:
            g = g * (self.index != self.padding)[..., None]
        return ScatterAdd(self.sources[0].shape, self.index)(g)


class Gather(Op):
    """x at one place along an axis for each place of the output; the pair of AddAlong."""

    def __init__(self, index: Any, axis: int) -> None:
        self.index, self.axis = index, axis

    def forward(self, be: Any, x: Any) -> Any:
        return be.xp.take_along_axis(x, self.index, self.axis)

    def backward(self, g: Any) -> Any:
        return AddAlong(self.sources[0].shape, self.index, self.axis)(g)


class AddAlong(Op):
    """Zeros of a shape, with values added along an axis at the places of an index; the pair of Gather."""

    def __init__(self, shape: tuple[int, ...], index: Any, axis: int) -> None:
        self.to, self.index, self.axis = shape, index, axis

    def forward(self, be: Any, values: Any) -> Any:
        return be.scatter_add(self.to, _full_index(be, self.index, self.axis), values)

    def backward(self, g: Any) -> Any:
        return Gather(self.index, self.axis)(g)


def getitem(x: Any, index: Any) -> Any:
    """x[index], with everything that NumPy indexes with; tensors of integers or booleans too."""
    index = _index(x, index)
    if not is_basic(index):
        _check_places(x, index)
    out = GetItem(index)(x)
    if type(index) is tuple and len(index) == 2 and type(index[1]) is int and type(index[0]) is slice:
        if index[0] == slice(None):
            note_pieces([out], x, index[1])
    return out


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The parts of x at `indices` along an axis; of x made flat without one."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = axes_of("take", axis, x.ndim)
    return GetItem((slice(None),) * axis + (_inside("take", x, indices, axis),))(x)


def gather(x: Any, index: Any, axis: int) -> Any:
    """y[..., j, ...] = x[..., index[..., j, ...], ...] along an axis: NumPy's take_along_axis, PyTorch's gather.

    Args:
        x: (..., N, ...); index: integers, of x's shape but for the axis.

    >>> import tinygrad_seq as ts
    >>> x = ts.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> ts.ops.gather(x, ts.tensor([[2], [0]]), axis=1).tolist()
    [[3.0], [4.0]]
    """
    (axis,) = axes_of("gather", axis, x.ndim)
    return Gather(_along("gather", x, index, axis), axis)(x)


def scatter_add(x: Any, index: Any, values: Any, axis: int) -> Any:
    """x with `values` added along an axis, each at the place that `index` says: the reverse of gather.

    >>> import tinygrad_seq as ts
    >>> ts.ops.scatter_add(ts.tensor([0.0, 0.0]), ts.tensor([1, 1]), ts.tensor([2.0, 3.0]), axis=0).tolist()
    [0.0, 5.0]
    """
    (axis,) = axes_of("scatter_add", axis, x.ndim)
    index = _along("scatter_add", x, index, axis)
    if index.shape != values.shape:
        raise ValueError(f"scatter_add: index and values have one shape, got {index.shape} and {values.shape}")
    return x + AddAlong(x.shape, index, axis)(values)


def embedding(table: Any, index: Any, padding_idx: int | None = None) -> Any:
    """e_t = E x_t for each one-hot x_t: rows of a table.

    Args:
        table: (V, D); index: integers from 0 to V - 1, of any shape.
        padding_idx: a row that gets no gradient; -1 is the last one.
    Returns:
        (*index.shape, D).
    Raises:
        TypeError: where the index is not of integers.
        IndexError: where an index is out of range (on a GPU when the next value is read).
    """
    index = integers("embedding", index)
    if padding_idx is not None:
        padding_idx = row_of("padding_idx", padding_idx, table.shape[0])
    backend_of(index).check_range(index, table.shape[0], f"embedding: the table has {table.shape[0]} rows")
    return Embed(beside(table, index), padding_idx)(table)


def row_of(what: str, row: int, rows: int) -> int:
    """The row meant, counted from 0."""
    if not -rows <= row < rows:
        raise ValueError(f"{what} is one of the {rows} rows, got {row}")
    return row % rows


def _index(x: Any, index: Any) -> Any:
    """The index with arrays for lists and tensors, on the device of x."""
    if isinstance(index, tuple):
        return tuple(_index(x, part) for part in index)
    if isinstance(index, Tensor):
        index = index.data
    if isinstance(index, list):
        index = np.asarray(index) if index else np.zeros(0, int)
    if hasattr(index, "dtype") and index.dtype.kind not in "iub":
        raise IndexError(f"an index is of integers or booleans, got {index.dtype}: use .astype(int)")
    return beside(x, index) if isinstance(index, np.ndarray) else index


def _check_places(x: Any, index: Any) -> None:
    """Raise where an array of integers names a place that its axis does not have: CuPy would count around the axis."""
    parts = index if isinstance(index, tuple) else (index,)
    axes = [_axes_used(part) for part in parts]
    axis, rest = 0, x.ndim - sum(axes)
    for part, used in zip(parts, axes, strict=True):
        if hasattr(part, "ndim") and part.dtype.kind in "iu" and not isinstance(part, np.generic) and rest >= 0:
            n = x.shape[axis]
            backend_of(part).check_range(part, n, f"GetItem: axis {axis} of {x.shape} has {n} places", low=-n)
        axis += rest if part is Ellipsis else used


def _axes_used(part: Any) -> int:
    """How many axes one part of an index stands for: a mask for as many as it has."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if getattr(getattr(part, "dtype", None), "kind", None) == "b" else 1


def integers(what: str, index: Any) -> Any:
    """An index as an array of integers, checked."""
    array = value(index)
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what}: expected integers, got {array.dtype}")
    return array


def _inside(what: str, x: Any, index: Any, axis: int) -> Any:
    """Integers that stand for places of an axis of x, checked, on the device of x."""
    index, n = integers(what, index), x.shape[axis]
    backend_of(index).check_range(index, n, f"{what}: axis {axis} has {n} places", low=-n)
    return beside(x, index)


def _along(what: str, x: Any, index: Any, axis: int) -> Any:
    """The same for an index that has the shape of x but for one axis: NumPy would stretch others, PyTorch cut them."""
    index = integers(what, index)
    shape = index.shape
    if len(shape) != x.ndim or any(n != m for a, (n, m) in enumerate(zip(shape, x.shape, strict=True)) if a != axis):
        raise ValueError(f"{what}: the index has the shape of x but for axis {axis}: x is {x.shape}, the index {shape}")
    return _inside(what, x, index, axis)


def beside(x: Any, index: Any) -> Any:
    """An index, mask or lengths, as an array on the device of x."""
    here, there = backend_of(index), backend_of(value(x))
    return index if here is there else there.from_numpy(here.to_numpy(index))


def _full_index(be: Any, index: Any, axis: int) -> tuple[Any, ...]:
    """`index` along an axis as an index of every axis, as NumPy's take_along_axis makes it."""
    aranges = [be.xp.arange(n).reshape((-1,) + (1,) * (index.ndim - a - 1)) for a, n in enumerate(index.shape)]
    aranges[axis % index.ndim] = index
    return tuple(aranges)
