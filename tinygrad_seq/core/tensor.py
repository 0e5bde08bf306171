"""Tensor: an array, and its place in the graph."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Array, adopt, backend_for, backend_of

# Counts down: of all the ops that wait, the newest has the least number, as a heap wants it.
next_number = itertools.count(0, -1).__next__


class Hook:
    """What `register_hook` returns; `remove()` takes the function off again."""

    def __init__(self, hooks: list[Callable[..., Any]], function: Callable[..., Any]) -> None:
        self._hooks, self._function = hooks, function

    def remove(self) -> None:
        if self._function in self._hooks:
            self._hooks.remove(self._function)


class Place:
    """Where a tensor stands in the graph: what is common to leaves, ops and the outputs of ops."""

    __slots__ = ()
    name: str | None = None  # what a person calls it
    equation: Any = None  # of the block that it is a symbol of
    grad: Any = None  # kept for leaves, and where somebody asked for it
    hooks: Any = None  # functions of the gradient; a list, if also empty, tells the engine to stop here
    keeps_grad = False
    gradient_of: Any = None  # (Derivative, place), where this is the gradient of a place: noted for pictures

    def maker(self) -> tuple[Any, int]:
        """The op whose output stands here, if one made it, and which of its outputs."""
        return None, 0


class Leaf(Place):
    """The place of a tensor that no op made: here its gradient gathers."""

    __slots__ = ("shape", "dtype", "grad", "name", "hooks", "written")
    number = math.inf  # older than every op
    keeps_grad = True

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.grad = self.name = self.hooks = None
        self.written = math.inf  # the number that an op would have got when the array was last written into


class Constant:
    """A tensor without gradient, as a picture shows it: nothing but what a person calls it, its shape and dtype."""

    __slots__ = ("shape", "dtype", "name")

    def __init__(self, shape: tuple[int, ...], dtype: Any, name: str | None = None) -> None:
        self.shape, self.dtype, self.name = shape, dtype, name


class ConstantGradient(Constant):
    """The gradient of a place that depends on no tensor."""

    __slots__ = ("gradient_of",)
    gradient_of: Any


class Cut(Constant):
    """A tensor that was detached. It remembers where it was cut off, and keeps none of that graph alive."""

    __slots__ = ("origins",)
    origins: list[tuple[Any, int]]  # the ops whose outputs it holds, by weak references, and which output of each

    def __reduce__(self) -> tuple[Any, ...]:  # a copy, or what is read from a file, comes from nowhere
        return Constant, (self.shape, self.dtype, self.name)


class Piece(Constant):
    """One time step of a sequence without gradient."""

    __slots__ = ("whole", "t")

    def __init__(self, data: Array, whole: Constant, t: int) -> None:
        self.shape, self.dtype, self.name, self.whole, self.t = data.shape, data.dtype, None, whole, t


class Tensor:
    """An array and its place: the Op (or the Slot of one) that made it, a Leaf, or None for a constant.

    Make one with `tinygrad_seq.tensor`. Operators and the functions of `tinygrad_seq.ops` work on it; most
    are methods too: `t.sum()`, `t.reshape(2, -1)`, `t.T`.

    Attributes:
        data: the array, NumPy's or CuPy's.
        grad: the gradient, a Tensor of the same shape, once `backward` has been called; None before.
    """

    __slots__ = ("data", "place", "constant", "__weakref__")
    __array_ufunc__ = None  # ndarray * Tensor is ours, not NumPy's

    def __init__(self, data: Array, place: Any = None) -> None:
        self.data = data
        self.place = place
        self.constant: Constant | None = None  # made when a picture may need it

    # -- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def device(self) -> str:
        return backend_of(self.data).device_of(self.data)

    @property
    def requires_grad(self) -> bool:
        return self.place is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.place is not None and type(self.place) is not Leaf:
            raise ValueError("requires_grad is set on leaves; this tensor was made by an op: use .detach()")
        if wanted and self.place is None:
            self.place = leaf(self.data)
        elif not wanted:
            self.place = None

    @property
    def name(self) -> str | None:
        """What a picture calls this tensor."""
        where = self.constant if self.place is None else self.place
        return None if where is None else where.name

    @name.setter
    def name(self, name: str | None) -> None:
        (self.as_constant() if self.place is None else self.place).name = name

    def as_constant(self) -> Constant:
        """The mark by which a picture knows this constant again."""
        if self.constant is None:
            self.constant = Constant(self.data.shape, self.data.dtype)
        return self.constant

    # -- its gradient

    @property
    def grad(self) -> Tensor | None:
        return None if self.place is None else self.place.grad

    @grad.setter
    def grad(self, g: Tensor | None) -> None:
        if self.place is None:
            if g is None:  # forgetting what a frozen weight does not have
                return
            raise ValueError("this tensor has no gradient: it was made without requires_grad=True")
        if g is not None and g.shape != self.shape:
            raise ValueError(f"a gradient has its tensor's shape: expected {self.shape}, got {g.shape}")
        self.place.grad = g

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor, which an op made, in `.grad` as a leaf's is kept."""
        if self.place is None:
            raise ValueError("retain_grad: this tensor has no gradient: nothing it was made from requires one")
        if type(self.place) is not Leaf:
            self.place.keeps_grad = True
            self.place.hooks = self.place.hooks or []  # the engine looks here alone

    def register_hook(self, function: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call `function` with this tensor's whole gradient in each backward pass; what it returns takes its place.

        >>> import tinygrad_seq as ts
        >>> w = ts.tensor([1.0, 2.0], requires_grad=True)
        >>> hook = w.register_hook(lambda g: g * 10)
        >>> (w * w).sum().backward()
        >>> w.grad
        tensor([20., 40.])
        >>> hook.remove()
        """
        if self.place is None:
            raise ValueError("register_hook: this tensor has no gradient: nothing it was made from requires one")
        if self.place.hooks is None:
            self.place.hooks = []
        self.place.hooks.append(function)
        return Hook(self.place.hooks, function)

    def detach(self) -> Tensor:
        """The same array, as a constant: no gradient flows through it."""
        out = Tensor(self.data)
        origins = self.constant.origins if isinstance(self.constant, Cut) else _origins(self.place)
        if origins:
            out.constant = cut_from(origins, self.data)
        if self.name is not None:
            out.name = self.name
        return out

    # -- its values, on the host

    def numpy(self) -> Any:
        """The values as a NumPy array: the tensor's own memory on the CPU, a copy from a GPU (which waits for it)."""
        return backend_of(self.data).to_numpy(self.data)

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element, this tensor has shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise TypeError("NumPy would drop the gradient of this tensor: use .detach().numpy() if that is meant")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __hash__(self) -> int:  # `==` compares elements; a tensor is found again by itself
        return id(self)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=100, edgeitems=3)
        notes = [] if self.dtype in (np.float32, np.int64, np.bool_) else [f"dtype={self.dtype}"]
        notes += [] if self.device == "cpu" else [f"device={self.device!r}"]
        notes += ["requires_grad=True"] if self.requires_grad else []
        return f"tensor({', '.join([values, *notes])})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.place is not None and type(self.place) is not Leaf:
            raise ValueError("only leaves and constants can be copied deeply; use .detach() first")
        copy = memo[id(self)] = type(self)(self.data.copy())
        copy.requires_grad = self.requires_grad
        if self.name is not None:
            copy.name = self.name
        return copy

    if TYPE_CHECKING:  # ops/methods.py attaches these: mathematics lives a floor above
        T: Tensor

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]  # elementwise, as NumPy's
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def var(self, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Tensor: ...
        def std(self, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Tensor: ...
        def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: int) -> Tensor: ...
        def argmax(self, axis: int | None = None) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def swapaxes(self, axis1: int, axis2: int) -> Tensor: ...
        def squeeze(self, axis: Any = None) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def to(self, target: Any) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sigmoid(self) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def softmax(self, axis: int = -1) -> Tensor: ...
        def clip(self, low: float | None = None, high: float | None = None) -> Tensor: ...
        def backward(self, grad: Any = None, *, create_graph: bool = False, retain_graph: bool = False) -> None: ...


class Parameter(Tensor):
    """A tensor that training changes. Its array stays where it is: optimizers write into it.

    Args:
        data: as for `tensor`, copied: floating-point numbers.

    >>> import tinygrad_seq as ts
    >>> ts.nn.Parameter([1.0, 2.0])
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        array = tensor(data).data
        super().__init__(array, leaf(array))


def cut_from(origins: list[tuple[Any, int]], data: Array) -> Cut:
    """The mark of a tensor that holds what those ops gave."""
    mark = Cut(data.shape, data.dtype)
    mark.origins = origins
    return mark


def note_pieces(parts: Iterable[Any], whole: Any, first: int) -> None:
    """Note which time steps of a sequence some tensors are, where they have no gradient."""
    if isinstance(whole, Tensor) and whole.place is None:
        mark = whole.as_constant()
        for t, part in enumerate(parts, start=first % whole.shape[1]):
            part.constant = Piece(part.data, mark, t)


def _origins(place: Any) -> list[tuple[Any, int]]:
    """The ops that computed what stands at a place: those that only put it together may not live on without it."""
    found: list[tuple[Any, int]] = []
    seen: set[Any] = {None}
    waiting = [place]
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        op, index = here.maker()
        if op is None:
            continue
        if op.moves or op.views:
            waiting += reversed(op.sources)
        else:
            found.append((weakref.ref(op), index))
    return found


def leaf(data: Array) -> Leaf:
    """A new place for an array whose gradient is wanted."""
    if data.dtype.kind != "f":
        raise TypeError(f"only floating-point tensors have gradients, got {data.dtype}: use .to('float32') first")
    return Leaf(data.shape, data.dtype)


def value(x: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


class _Writes:
    """The number that an op would have got when the library last wrote into an array."""

    last = math.inf


def mark_written(*tensors: Tensor) -> None:
    """Note that the arrays of these leaves were written into: an op that kept one must not use it any more."""
    _Writes.last = number = next_number()
    for t in tensors:
        if type(t.place) is Leaf:
            t.place.written = number


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor from numbers, nested lists, an array (NumPy's, CuPy's, what NumPy can read) or a tensor; always a copy.

    Args:
        data: Python floats become float32; arrays keep their dtype.
        dtype: a NumPy dtype or its name: float64, float32, float16, any integer, bool.
        device: "cpu" (the default) or "cuda".
        requires_grad: whether `backward` gathers a gradient for it in `.grad`.
    Raises:
        TypeError: for data that is not numbers, complex numbers, or a gradient wanted of integers.
        ValueError: for ragged lists or an unknown device.

    >>> import tinygrad_seq as ts
    >>> ts.tensor([[1, 2], [3, 4]]).dtype, ts.tensor([1.0, 2.0]).dtype
    (dtype('int64'), dtype('float32'))
    """
    data = value(data)
    if hasattr(data, "dtype"):
        array = adopt(data)
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(f"tensor: expected rows of equal length: {error}") from error
        if dtype is None and array.dtype == np.float64:
            dtype = np.float32
    for kind in (array.dtype, array.dtype if dtype is None else np.dtype(dtype)):
        if kind.kind not in "fiub":
            raise TypeError(f"tensor: expected floating-point numbers, integers or booleans, got {kind}")
    here = backend_of(array)
    there = here if device is None else backend_for(device)
    if there is not here:
        array = there.from_numpy(here.to_numpy(array))
    array = array.astype(dtype) if dtype is not None else array.copy() if array is data else array
    return Tensor(array, leaf(array) if requires_grad else None)
