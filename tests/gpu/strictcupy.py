"""A strict stand-in for CuPy over NumPy: it refuses what CuPy refuses, and raises wherever the GPU would have to wait.

Most machines have no GPU.  This module lets the CuPy path run on them, on arrays that live in NumPy but behave like
arrays on a device: they never turn into NumPy arrays by themselves, never mix with them, and offer only the names,
methods and keywords that CuPy offers (`cupy_api_14.2.json` is a snapshot of the real wheel's).

    from gpu import strictcupy

    with strictcupy.installed() as cupy:      # `import cupy` now finds the stand-in
        x = cupy.asarray(host)
        loss = train_step(x)                  # raises HostSyncError where anything waits for the device
        with strictcupy.allow_sync():         # ... except where waiting is meant: logging, results
            print(float(loss))
    strictcupy.stats.kernels                  # what it would have cost: kernels, syncs, copies and their places

Where the stand-in differs from CuPy it is stricter, never milder.  `difftest.py` compares it with the real CuPy.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import itertools
import json
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

API: dict[str, Any] = json.loads(Path(__file__).with_name("cupy_api_14.2.json").read_text(encoding="utf-8"))

HostArray = np.ndarray
SCALARS = (bool, int, float, complex, np.generic)


# ---- What it costs, and what must not happen -------------------------------------------------------------------------


class HostSyncError(AssertionError):
    """The host waited for the device outside `allow_sync()`."""


class Site(NamedTuple):
    """One place in a program where data crossed between host and device, or where the host waited."""

    kind: str  # "sync", "h2d" or "d2h"
    what: str
    file: str
    line: int


class Stats:
    """Counters of what costs time on a GPU."""

    kernels: int
    syncs: int
    h2d: int
    d2h: int
    sites: list[Site]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.kernels = 0
        self.syncs = 0
        self.h2d = 0
        self.d2h = 0
        self.sites = []

    @property
    def sync_sites(self) -> list[Site]:
        return [site for site in self.sites if site.kind == "sync"]

    def __repr__(self) -> str:
        return f"Stats(kernels={self.kernels}, syncs={self.syncs}, h2d={self.h2d}, d2h={self.d2h})"


stats = Stats()


class _State(threading.local):
    sync_allowed = False


class _Machine:
    """The pretended machine; `fault` says what is wrong with it (see `install`)."""

    fault: str | None = None


_state = _State()
_machine = _Machine()


@contextlib.contextmanager
def allow_sync() -> Iterator[Stats]:
    """Inside this block, waiting for the device is counted and does not raise."""
    before = _state.sync_allowed
    _state.sync_allowed = True
    try:
        yield stats
    finally:
        _state.sync_allowed = before


def _caller(kind: str, what: str) -> Site:
    """The nearest frame that is not part of this file."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return Site(kind, what, frame.f_code.co_filename, frame.f_lineno)


def _sync(what: str, copies: bool = True) -> None:
    """The host waits for the device, and reads from it where `copies`."""
    stats.syncs += 1
    stats.sites.append(_caller("sync", what))
    if copies:
        stats.d2h += 1
        stats.sites.append(_caller("d2h", what))
    if not _state.sync_allowed:
        raise HostSyncError(f"device-to-host sync by {what} outside allow_sync()")


def _copy_to_device(what: str) -> None:
    _need_device()
    stats.h2d += 1
    stats.sites.append(_caller("h2d", what))


def _need_device() -> None:
    """Raise what CuPy raises where the pretended machine has no GPU."""
    if _machine.fault in FAULT_STATUS:
        raise CUDARuntimeError(FAULT_STATUS[_machine.fault])


def _launch(count: int = 1) -> None:
    """Count kernels that CuPy compiles with NVRTC."""
    if _machine.fault is not None:
        _need_device()
        raise RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13')
    stats.kernels += count


def _launch_product() -> None:
    """Count a matrix product, which is cuBLAS's."""
    if _machine.fault is not None:
        _need_device()
        raise ImportError('Failure finding "libcublas.so.13 or libcublas.so.12": No such file: libcublas.so.13')
    stats.kernels += 1


# ---- Passing values in and out ---------------------------------------------------------------------------------------


def _unsupported(value: Any) -> TypeError:
    return TypeError(f"Unsupported type {type(value)}")


def _check_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtypes of CuPy: bool, integers, float16 to float64, two complex ones."""
    dtype = np.dtype(dtype)
    largest = 16 if dtype.kind == "c" else 8
    if dtype.kind not in "biufc" or dtype.itemsize > largest:
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def _operand(value: Any) -> Any:
    """The NumPy side of an operand: a device array or a scalar, and nothing else."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, SCALARS):
        return value
    raise _unsupported(value)


def _argument(value: Any, nested: bool = True) -> Any:
    """The NumPy side of any argument of a function; `nested` says whether a sequence may hold device arrays."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, HostArray):
        raise _unsupported(value)
    if isinstance(value, (tuple, list)):
        if not nested and any(isinstance(item, ndarray) for item in value):
            raise TypeError("'ndarray' object cannot be interpreted as an integer")
        return type(value)(_argument(item, nested) for item in value)
    return value


def _wrap(result: Any) -> Any:
    """The device side of a NumPy result; a NumPy scalar becomes a 0-d array, as everywhere in CuPy."""
    if isinstance(result, HostArray):
        return ndarray._of(result)
    if isinstance(result, np.generic):
        return ndarray._of(np.asarray(result))
    if isinstance(result, (tuple, list)):
        return (
            type(result)(_wrap(item) for item in result) if type(result) in (tuple, list) else tuple(map(_wrap, result))
        )
    return result


@np.errstate(all="ignore")  # a GPU reports no overflow and no division by zero
def _compute(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call NumPy, and turn its private casting errors into the plain TypeError that CuPy raises."""
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        if type(error) is TypeError:
            raise
        raise TypeError(str(error)) from None


def _garbage(array: HostArray) -> HostArray:
    """Fill uninitialised memory with values that show: reading it before writing must not pass a test."""
    if array.dtype.kind in "fc":
        array.fill(np.nan)
    elif array.dtype.kind == "b":
        array.fill(True)
    else:
        array.view(np.uint8 if array.ndim else array.dtype).fill(0x4B)
    return array


SIZES = frozenset("shape newshape axis axes axis1 axis2 N M reps pad_width indices_or_sections".split())


class Signature:
    """The parameters of one function of CuPy, as the snapshot has them: a list of [name, required]."""

    def __init__(self, name: str, parameters: list[list[Any]] | None) -> None:
        self.name = name
        self.known = parameters is not None
        names = [parameter[0] for parameter in parameters or []]
        stars = [name for name in names if name.startswith("*") and not name.startswith("**")]
        self.any_keyword = any(name.startswith("**") for name in names)
        self.any_positional = bool(stars) and stars[0] != "*"
        self.positional = list(itertools.takewhile(lambda name: not name.startswith("*"), names))
        self.rest = stars[0].lstrip("*") if stars else ""
        self.keywords = {name.lstrip("*") for name in names}
        self.required = [p[0] for p in parameters or [] if p[1] and not p[0].startswith("*")]

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise a TypeError for a call that CuPy would not take."""
        if not self.known:
            return
        if not self.any_positional and len(args) > len(self.positional):
            raise TypeError(
                f"{self.name}() takes {len(self.positional)} positional arguments but {len(args)} were given"
            )
        if not self.any_keyword:
            for keyword in kwargs:
                if keyword not in self.keywords:
                    raise TypeError(f"{self.name}() got an unexpected keyword argument '{keyword}'")
        if self.any_positional:
            return
        given = self.positional[: len(args)]
        for name in self.required:
            if name not in given and name not in kwargs:
                raise TypeError(f"{self.name}() missing required argument: '{name}'")

    def refuse_device_sizes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Shapes and axes are known to the host: a device array there raises."""
        named = itertools.zip_longest(self.positional[: len(args)], args, fillvalue=self.rest)
        for name, value in [*named, *kwargs.items()]:
            if name in SIZES and isinstance(value, ndarray):
                raise TypeError("'ndarray' object cannot be interpreted as an integer")

    def first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The first argument, however it was given."""
        if args:
            return args[0]
        return next(iter(kwargs.values()), None)


# ---- The array -------------------------------------------------------------------------------------------------------


class _Flags:
    """CuPy's flags: fewer than NumPy's, and read-only."""

    def __init__(self, host: HostArray) -> None:
        self.c_contiguous = host.flags.c_contiguous
        self.f_contiguous = host.flags.f_contiguous
        self.owndata = host.flags.owndata

    @property
    def fnc(self) -> bool:
        return self.f_contiguous and not self.c_contiguous

    @property
    def forc(self) -> bool:
        return self.f_contiguous or self.c_contiguous

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())


class ndarray:
    """An array 'on the device': a NumPy array behind a wall."""

    __slots__ = ("_host", "__weakref__")
    __module__ = "cupy"
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100
    # Stricter than CuPy, which carries np.exp(x) out on the device: the project says xp.exp.
    __array_ufunc__ = None

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        _need_device()
        self._host = _garbage(np.empty(_argument(shape, nested=False), _check_dtype(dtype)))

    @classmethod
    def _of(cls, host: HostArray) -> ndarray:
        _check_dtype(host.dtype)
        array = object.__new__(cls)
        array._host = host
        return array

    # What an array is: known without waiting for the device

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, shape: tuple[int, ...]) -> None:
        self._host = self._host.reshape(shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._host.dtype

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def nbytes(self) -> int:
        return self._host.nbytes

    @property
    def itemsize(self) -> int:
        return self._host.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._host.strides

    @property
    def flags(self) -> _Flags:
        return _Flags(self._host)

    @property
    def base(self) -> Any:
        return None if self._host.base is None else _wrap(self._host.base)

    @property
    def data(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def device(self) -> Device:
        return Device(0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._host.ctypes.data, False),
            "version": 3,
            "strides": None if self._host.flags.c_contiguous else self.strides,
            "stream": 1,
        }

    @property
    def T(self) -> ndarray:
        return _wrap(self._host.T)

    @property
    def mT(self) -> ndarray:
        return _wrap(self._host.mT)

    @property
    def real(self) -> ndarray:
        return _wrap(self._host.real)

    @property
    def imag(self) -> ndarray:
        return _wrap(self._host.imag)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        # CuPy would read the values; debuggers and test reports should not.
        return f"strictcupy.ndarray(shape={self.shape}, dtype={self.dtype})"

    # Never by itself: turning into something of NumPy's

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_function__(self, function: Any, *args: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} called on a device array: use xp.{function.__name__}")

    # On request: the host waits for the values

    def get(
        self, stream: Any = None, order: str = "C", out: HostArray | None = None, blocking: bool = True
    ) -> HostArray:
        _sync("ndarray.get")
        values = np.array(self._host, order=order)  # type: ignore[call-overload]
        if out is None:
            return values
        if not isinstance(out, HostArray) or out.dtype != self.dtype or out.shape != self.shape:
            raise TypeError("get(out=) needs a NumPy array of the same dtype and shape")
        out[...] = values
        return out

    def item(self) -> Any:
        _sync("ndarray.item")
        return self._host.item()

    def tolist(self) -> Any:
        _sync("ndarray.tolist")
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        _sync("ndarray.tobytes")
        return self._host.tobytes(order)  # type: ignore[arg-type]

    def __float__(self) -> float:
        _sync("float()")
        return float(self._host)

    def __int__(self) -> int:
        _sync("int()")
        return int(self._host)

    def __complex__(self) -> complex:
        _sync("complex()")
        return complex(self._host)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        _sync("bool()")
        return bool(self._host)

    def __format__(self, spec: str) -> str:
        _sync("format()")
        return format(self._host.item() if self.ndim == 0 else self._host, spec)

    def __reduce__(self) -> Any:
        _sync("pickling")
        return array, (self._host,)

    # Copies

    def set(self, arr: HostArray, stream: Any = None) -> None:
        if not isinstance(arr, HostArray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        _copy_to_device("ndarray.set")
        self._host[...] = arr

    def copy(self, order: str = "C") -> ndarray:
        _launch()
        return _wrap(self._host.copy(order))  # type: ignore[arg-type]

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def fill(self, value: Any) -> None:
        _launch()
        self._host.fill(_operand(value))

    # Indexing

    def __getitem__(self, key: Any) -> ndarray:
        index, gathers = _index(self._host, key)
        if gathers:
            _launch()
        if Ellipsis not in [part for part in index if not isinstance(part, HostArray)]:
            index = (*index, Ellipsis)  # so that one element is a 0-d view and not a NumPy scalar
        return _wrap(self._host[index])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (list, tuple)) or (isinstance(value, HostArray) and value.ndim):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        index, scatters = _index(self._host, key)
        _launch()
        values = value if isinstance(value, HostArray) else _operand(value)
        if scatters and np.ndim(values):
            _write_in_any_order(self._host, index, values)
        else:
            self._host[index] = values

    def scatter_add(self, slices: Any, value: Any) -> None:
        _scatter(np.add, self, slices, value)

    def scatter_max(self, slices: Any, value: Any) -> None:
        _scatter(np.maximum, self, slices, value)

    def scatter_min(self, slices: Any, value: Any) -> None:
        _scatter(np.minimum, self, slices, value)

    # Comparison with None is the one comparison that CuPy answers for any object

    def __eq__(self, other: Any) -> Any:
        if _takes_over(other):
            return NotImplemented
        _launch()
        return (
            _wrap(np.full(self.shape, False))
            if other is None
            else _wrap(_compute(np.equal, self._host, _operand(other)))
        )

    def __ne__(self, other: Any) -> Any:
        if _takes_over(other):
            return NotImplemented
        _launch()
        if other is None:
            return _wrap(np.full(self.shape, True))
        return _wrap(_compute(np.not_equal, self._host, _operand(other)))


# ---- Indexing --------------------------------------------------------------------------------------------------------

# On a GPU the order of writes to one place is undefined: shuffled here, so that a program relying on it fails.
_order = np.random.default_rng(12345)


def _index(host: HostArray, key: Any) -> tuple[tuple[Any, ...], bool]:
    """What to index the NumPy side with, and whether arrays are part of it (then a kernel runs; else it is a view).

    Integers out of range raise, as in CuPy; integer *arrays* out of range wrap around silently, as in CuPy.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    for i, part in enumerate(parts):
        if isinstance(part, list):
            _copy_to_device("indexing with a list")
            parts[i] = np.array(part, dtype=None if part else np.intp)
        elif isinstance(part, HostArray):
            _copy_to_device("indexing with a NumPy array")
        elif isinstance(part, (bool, np.bool_)):
            _copy_to_device("indexing with a boolean")
            parts[i] = np.asarray(part)
        elif isinstance(part, ndarray):
            parts[i] = part._host

    used = sum(_axes_used(part) for part in parts)
    if used > host.ndim:
        raise IndexError(f"too many indices for array: it is {host.ndim}-dimensional, but {used} were indexed")
    index = []
    axis = 0
    has_arrays = False
    for part in parts:
        if part is None:
            pass
        elif part is Ellipsis:
            axis += host.ndim - used
        elif isinstance(part, HostArray):
            has_arrays = True
            if part.dtype.kind == "b":
                _sync("indexing with a boolean mask")
            elif part.dtype.kind not in "iu":
                raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype})")
            elif host.shape[axis]:
                part = part % host.shape[axis]
            axis += _axes_used(part)
        elif isinstance(part, slice):
            bounds = (part.start, part.stop, part.step)
            if any(isinstance(bound, ndarray) for bound in bounds):
                _sync("slicing with a device array")
                part = slice(*(int(bound._host) if isinstance(bound, ndarray) else bound for bound in bounds))
            axis += 1
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            part = int(part)
            if not -host.shape[axis] <= part < host.shape[axis]:
                raise IndexError(f"Index {part} is out of bounds for axis {axis} with size {host.shape[axis]}")
            axis += 1
        else:
            raise IndexError(
                "Only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) "
                "and integer or boolean arrays are valid indices"
            )
        index.append(part)
    return tuple(index), has_arrays


def _axes_used(part: Any) -> int:
    """How many axes of the array one part of an index uses up."""
    if part is None or part is Ellipsis:
        return 0
    if isinstance(part, HostArray) and part.dtype.kind == "b":
        return part.ndim
    return 1


def _write_in_any_order(host: HostArray, index: tuple[Any, ...], values: Any) -> None:
    """`host[index] = values`, where of several writes to one place a random one wins."""
    places = np.arange(host.size).reshape(host.shape)[index]
    values = np.broadcast_to(values, places.shape).reshape(-1)
    order = _order.permutation(places.size)
    host[np.unravel_index(places.reshape(-1)[order], host.shape)] = values[order]


def _scatter(function: np.ufunc, target: ndarray, slices: Any, value: Any) -> None:
    index, _ = _index(target._host, slices)
    _launch()
    function.at(target._host, index, _operand(value))


# ---- Methods and operators -------------------------------------------------------------------------------------------

# What only looks at the same memory in another way, or at no memory at all: no kernel.
VIEWS = frozenset(
    "reshape transpose swapaxes moveaxis rollaxis expand_dims squeeze broadcast_to broadcast_arrays ravel split "
    "array_split hsplit vsplit dsplit flip fliplr flipud rot90 diagonal atleast_1d atleast_2d atleast_3d permute_dims "
    "matrix_transpose view".split()
)


def _method(name: str, parameters: list[list[Any]] | None) -> Callable[..., Any]:
    """A method of the array: NumPy's method of that name, with CuPy's parameters."""
    signature = Signature(f"ndarray.{name}", parameters)
    launch = _launch_product if name == "dot" else _launch

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        signature.check(args, kwargs)
        signature.refuse_device_sizes(args, kwargs)
        if name == "nonzero":
            _sync("ndarray.nonzero")
        if name not in VIEWS:
            launch()
        if name == "take":
            kwargs = {"mode": "wrap", **kwargs}  # CuPy's take does not look at the bounds
        kwargs.pop("subok", None)
        host_args = [_argument(value, nested=False) for value in args]
        host_kwargs = {key: _argument(value, nested=False) for key, value in kwargs.items()}
        result = _compute(getattr(self._host, name), *host_args, **host_kwargs)
        out = kwargs.get("out")
        return out if out is not None else _wrap(result)

    method.__name__ = name
    return method


def _add_methods() -> None:
    """Give the array every method that both CuPy and NumPy have and that is not written out above."""
    for name, entry in API["ndarray"].items():
        by_hand = name in ndarray.__dict__
        if entry["kind"] == "method" and not name.startswith("_") and not by_hand and hasattr(HostArray, name):
            setattr(ndarray, name, _method(name, entry["sig"]))


def _takes_over(other: Any) -> bool:
    """Whether an operand that is no array says that operators are its own business, as CuPy and NumPy let it."""
    return not isinstance(other, ndarray) and getattr(other, "__array_ufunc__", True) is None


def _binary(function: np.ufunc, reflected: bool = False, in_place: bool = False) -> Callable[..., Any]:
    launch = _launch_product if function is np.matmul else _launch

    def operator(self: ndarray, other: Any) -> Any:
        if not in_place and _takes_over(other):
            return NotImplemented
        if function is np.matmul and not isinstance(other, ndarray):
            raise _unsupported(other)
        other = _operand(other)
        launch()
        if in_place:
            _compute(function, self._host, other, out=self._host, casting="same_kind")
            return self
        if reflected:
            return _wrap(_compute(function, other, self._host))
        return _wrap(_compute(function, self._host, other))

    return operator


def _unary(function: np.ufunc) -> Callable[[ndarray], Any]:
    def operator(self: ndarray) -> Any:
        _launch()
        return _wrap(_compute(function, self._host))

    return operator


BINARY_OPERATORS: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
COMPARISONS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
UNARY_OPERATORS = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}


def _add_operators() -> None:
    for name, function in BINARY_OPERATORS.items():
        setattr(ndarray, f"__{name}__", _binary(function))
        setattr(ndarray, f"__r{name}__", _binary(function, reflected=True))
        if f"__i{name}__" in API["ndarray"]:
            setattr(ndarray, f"__i{name}__", _binary(function, in_place=True))
    for name, function in COMPARISONS.items():
        setattr(ndarray, f"__{name}__", _binary(function))
    for name, function in UNARY_OPERATORS.items():
        setattr(ndarray, f"__{name}__", _unary(function))


_add_methods()
_add_operators()


# ---- Universal functions ---------------------------------------------------------------------------------------------


class ufunc:
    """A universal function: takes `out`, `dtype` and `casting`, and no other keyword."""

    def __init__(self, name: str, function: np.ufunc, entry: dict[str, Any]) -> None:
        self.name = name
        self.__name__ = name
        self.nin = function.nin
        self.nout = function.nout
        self.types = entry["types"]
        self._function = function
        self._has_at = entry["at"]

    def __repr__(self) -> str:
        return f"<ufunc 'cupy_{self.name}'>"

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        unknown = set(kwargs) - {"dtype", "casting"}
        if unknown:
            raise TypeError(f"Wrong arguments { {key: kwargs[key] for key in unknown} }")
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"Wrong number of arguments for {self.name!r}")
        if out is not None and not isinstance(out, ndarray):
            raise _unsupported(out)
        operands = [_operand(value) for value in args]
        _launch()
        if out is None:
            return _wrap(_compute(self._function, *operands, **kwargs))
        _compute(self._function, *operands, out=out._host, **kwargs)
        return out

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if not self._has_at:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        _scatter(self._function, a, indices, b)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        _launch()
        result = _compute(self._function.reduce, _operand(array), axis=axis, dtype=dtype, keepdims=keepdims)
        if out is None:
            return _wrap(result)
        out._host[...] = result
        return out

    def outer(self, a: Any, b: Any) -> Any:
        _launch()
        return _wrap(_compute(self._function.outer, _operand(a), _operand(b)))


# ---- Functions -------------------------------------------------------------------------------------------------------

# The size of the result depends on the values, so the host must wait for them.
SYNCING = frozenset(
    "nonzero flatnonzero argwhere unique unique_all unique_counts unique_inverse unique_values bincount argpartition "
    "partition extract compress setdiff1d setxor1d intersect1d union1d histogram histogram2d histogramdd trim_zeros "
    "place putmask "
    "array2string array_repr array_str".split()
)
# CuPy allocates, and sets to zero, without a kernel.
NO_KERNEL = (
    VIEWS
    | SYNCING
    | frozenset("empty empty_like zeros zeros_like ndim shape size result_type can_cast promote_types".split())
    | frozenset("broadcast_shapes isscalar iscomplexobj isrealobj min_scalar_type issubdtype common_type".split())
    | frozenset("isdtype iterable".split())
)
PRODUCTS = frozenset("dot matmul tensordot einsum inner vdot".split())
# Sequences of device arrays, and nothing else in them.
JOINING = frozenset("concatenate concat stack vstack hstack dstack column_stack row_stack".split())
# These take device arrays inside a sequence.
TAKES_SEQUENCES = JOINING | frozenset("select lexsort ravel_multi_index histogramdd meshgrid result_type".split())
# These answer questions about any value and so take lists, scalars and NumPy arrays.
TAKES_ANYTHING = frozenset(
    "ndim shape isscalar iscomplexobj isrealobj min_scalar_type result_type can_cast promote_types iterable issubdtype "
    "isdtype common_type broadcast_shapes".split()
)
# A first parameter of one of these names is an array; CuPy takes no list there, and a NumPy array would be computed on
# the host or refused, depending on the function: refused here.
ARRAY_PARAMETERS = frozenset("a a1 ar ar1 arr arr1 array ary element f filt m p v val x y z indices".split())
# Names that differ between the two libraries.
RENAMED = {
    "concatenate": {"tup": "arrays"},
    "concat": {"tup": "arrays"},
    "stack": {"tup": "arrays"},
    "reshape": {"newshape": "shape"},
    "take_along_axis": {"a": "arr"},
    "flip": {"a": "m"},
    "unravel_index": {"dims": "shape"},
}
# Functions that would compute with callables, files or text: of no use to the project, and not pretended.
NOT_OFFERED = frozenset(
    "apply_along_axis apply_over_axes piecewise fromfunction frombuffer fromfile fromiter fromstring from_dlpack "
    "genfromtxt loadtxt load save savez savez_compressed savetxt asarray_chkfinite require".split()
)
# NumPy answers these with a Python bool, CuPy with a 0-d array.
ANSWERS = frozenset("allclose array_equal array_equiv".split())


def _waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the host waits in this call of a function that mostly does not make it wait."""
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name in ("arange", "linspace"):
        return any(isinstance(value, ndarray) for value in args)
    if name == "repeat":
        return not isinstance(args[1] if len(args) > 1 else kwargs["repeats"], int)
    return False


def _function(
    name: str, entry: dict[str, Any], function: Callable[..., Any], where: str = "cupy"
) -> Callable[..., Any]:
    """A function of CuPy: NumPy's function of that name, with CuPy's parameters and refusals."""
    parameters = entry["sig"]
    signature = Signature(f"{where}.{name}", parameters)
    renamed = RENAMED.get(name, {})
    first_name = parameters[0][0] if parameters else ""
    wants_array = first_name in ARRAY_PARAMETERS and name not in TAKES_ANYTHING and name not in JOINING
    nested = name in TAKES_SEQUENCES
    launch = _launch_product if name in PRODUCTS else _launch

    def call(*args: Any, **kwargs: Any) -> Any:
        signature.check(args, kwargs)
        signature.refuse_device_sizes(args, kwargs)
        first = signature.first(args, kwargs)
        if name in TAKES_ANYTHING:
            args = tuple(value._host if isinstance(value, ndarray) else value for value in args)
            return function(*args, **kwargs)
        if wants_array and not isinstance(first, ndarray):
            if isinstance(first, HostArray):
                raise _unsupported(first)
            raise AttributeError(f"{where}.{name}: not a device array but {type(first)}")
        if name in JOINING:
            for value in first:
                if not isinstance(value, ndarray):
                    raise TypeError(f"{where}.{name}: not a device array but {type(value)}")
        if name in PRODUCTS or name == "where":
            for value in args:
                if isinstance(value, list) or (name == "matmul" and not isinstance(value, ndarray)):
                    raise _unsupported(value)
        if kwargs.get("dtype") is not None:
            _check_dtype(kwargs["dtype"])
        _need_device()
        if name in SYNCING or _waits(name, args, kwargs):
            _sync(f"{where}.{name}")
        elif name not in NO_KERNEL:
            launch()
        host_args = [_argument(value, nested) for value in args]
        host_kwargs = {renamed.get(key, key): _argument(value, nested) for key, value in kwargs.items()}
        result = _compute(function, *host_args, **host_kwargs)
        out = kwargs.get("out")
        if isinstance(out, ndarray):
            return out
        return _wrap(np.bool_(result) if name in ANSWERS else result)

    call.__name__ = name
    return call


# Functions that are more than a wall around NumPy's


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    if isinstance(obj, ndarray):
        if not copy and dtype in (None, obj.dtype) and ndmin <= obj.ndim:
            return obj
        _launch()
        result = np.array(obj._host, dtype=dtype, copy=copy or None, order=order, ndmin=ndmin)  # type: ignore[call-overload]
    elif isinstance(obj, (list, tuple)) and obj and all(isinstance(item, ndarray) for item in obj):
        _launch()
        result = np.array([item._host for item in obj], dtype=dtype)
    else:
        result = np.array(
            _argument(obj, nested=False) if not isinstance(obj, HostArray) else obj, dtype=dtype, ndmin=ndmin
        )
        _check_dtype(result.dtype)
        _copy_to_device("array")
    _check_dtype(result.dtype)
    return _wrap(result)


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    if isinstance(a, ndarray) and dtype in (None, a.dtype) and not copy:
        return a
    return array(a, dtype=dtype, copy=bool(copy))


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    return result if result._host.flags.c_contiguous else result.copy()


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    return result if result._host.flags.f_contiguous else result.copy("F")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> HostArray:
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out)
    return np.asarray(a)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype)


def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None, *, device: Any = None
) -> ndarray:
    if not isinstance(prototype, ndarray):
        raise AttributeError(f"cupy.empty_like: not a device array but {type(prototype)}")
    return ndarray(prototype.shape if shape is None else shape, dtype or prototype.dtype)


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
    if not isinstance(a, ndarray):
        raise AttributeError(f"cupy.take: not a device array but {type(a)}")
    return a.take(indices, axis, out)  # type: ignore[attr-defined]


def take_along_axis(a: Any, indices: Any, axis: Any) -> ndarray:
    if not isinstance(a, ndarray):
        raise _unsupported(a)
    host_indices = _operand(indices)
    _launch()
    length = a.size if axis is None else a.shape[axis]
    return _wrap(np.take_along_axis(a._host, host_indices % max(length, 1), axis))


def fuse(*args: Any, **kwargs: Any) -> Any:
    """CuPy makes one kernel of the function; here it runs as it stands, counted as one kernel."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if function.__name__ == "<lambda>" and not kwargs.get("kernel_name"):
            raise RuntimeError("CuPy names the kernel after the function: a lambda does not compile")

        def fused(*operands: Any) -> Any:
            before = stats.kernels
            result = function(*operands)
            stats.kernels = before + 1
            return result

        return fused

    return decorate(args[0]) if args and callable(args[0]) else decorate


def get_array_module(*args: Any) -> types.ModuleType:
    return cupy if any(isinstance(value, ndarray) for value in args) else np


def is_available() -> bool:
    return _machine.fault not in FAULT_STATUS


class _Kernel:
    """A kernel made of CUDA text: it may be made, at import too, but this machine cannot run it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("CUDA text does not run on the stand-in: use the real CuPy through hostcuda")

    get_function = __call__


class _MemoryPool:
    """The memory pool, always empty."""

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        pass

    def set_limit(self, **kwargs: Any) -> None:
        pass


# ---- cupy.cuda -------------------------------------------------------------------------------------------------------

# What can be wrong with the pretended machine, beside "missing" and "libraries": the status of CUDA's error.
FAULT_STATUS: dict[str | None, int] = {"driver": 35, "device": 100}
STATUS_TEXT = {
    35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
}


class CUDARuntimeError(RuntimeError):
    """An error of CUDA's runtime; `status` is its number."""

    __module__ = "cupy_backends.cuda.api.runtime"

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(STATUS_TEXT.get(status, f"CUDA error {status}"))


def get_device_count() -> int:
    _need_device()
    return 1


class Device:
    """The one device of the pretended machine."""

    compute_capability = "80"
    mem_info = (8 << 30, 16 << 30)

    def __init__(self, device: int = 0) -> None:
        self.id: int = device.id if isinstance(device, Device) else int(device)

    def use(self) -> Device:
        _need_device()
        if self.id != 0:
            raise CUDARuntimeError(101)
        return self

    def synchronize(self) -> None:
        _sync("Device.synchronize", copies=False)

    def __enter__(self) -> Device:
        return self.use()

    def __exit__(self, *error: Any) -> None:
        pass

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(("Device", self.id))

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class Stream:
    """A stream; everything here runs at once and in order."""

    null: Stream
    ptr = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def use(self) -> Stream:
        return self

    def synchronize(self) -> None:
        _sync("Stream.synchronize", copies=False)

    def record(self, event: Any = None) -> Any:
        return event

    def wait_event(self, event: Any) -> None:
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class Event:
    """A mark in a stream."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        _sync("Event.synchronize", copies=False)


Stream.null = Stream()


# ---- The modules -----------------------------------------------------------------------------------------------------


class _Module(types.ModuleType):
    """A module that tells what CuPy lacks from what only the stand-in lacks."""

    def __init__(self, name: str, known: dict[str, Any] | None = None, **contents: Any) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
        self.__path__: list[str] = []
        self._known = known or {}
        self.__dict__.update(contents)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_known", {}):
            raise AttributeError(f"{self.__name__}.{name} exists in CuPy, but the stand-in has no such name")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _make_functions(table: str, namespace: Any, where: str) -> dict[str, Any]:
    """The functions that both `namespace`, a module of NumPy's, and the table of the snapshot have."""
    functions = {}
    for name, entry in API[table].items():
        if entry["kind"] == "func" and hasattr(namespace, name) and name not in NOT_OFFERED:
            functions[name] = _function(name, entry, getattr(namespace, name), where)
    return functions


def _make_random() -> _Module:
    """`cupy.random`: the functions of NumPy's RandomState that CuPy has, with its parameters and `dtype`."""
    source = np.random.RandomState(12345)

    def make(name: str, entry: dict[str, Any]) -> Callable[..., Any]:
        signature = Signature(f"cupy.random.{name}", entry["sig"])

        def draw(*args: Any, **kwargs: Any) -> Any:
            signature.check(args, kwargs)
            dtype = kwargs.pop("dtype", None) if name != "randint" else None
            if name == "randint":
                _sync("cupy.random.randint")  # CuPy draws again until every number is in range, and looks each time
            _launch()
            result = getattr(source, name)(*map(_argument, args), **{k: _argument(v) for k, v in kwargs.items()})
            return None if result is None else _wrap(np.asarray(result, dtype=dtype))

        draw.__name__ = name
        return draw

    module = _Module("cupy.random", API["random"])
    for name, entry in API["random"].items():
        if entry["kind"] == "func" and hasattr(source, name) and name not in ("get_state", "set_state"):
            setattr(module, name, make(name, entry))
    return module


def _make_stride_tricks() -> _Module:
    def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
        return _wrap(np.lib.stride_tricks.as_strided(x._host, shape, strides))

    def sliding_window_view(x: ndarray, window_shape: Any, axis: Any = None) -> ndarray:
        _sync("sliding_window_view")  # CuPy checks the window's shape on the device
        return _wrap(np.lib.stride_tricks.sliding_window_view(x._host, window_shape, axis))

    return _Module("cupy.lib.stride_tricks", as_strided=as_strided, sliding_window_view=sliding_window_view)


def _make_cupy() -> _Module:
    module: Any = _Module("cupy", API["cupy"], __version__=API["version"])

    # Scalar types, dtypes and constants are NumPy's own in CuPy too.
    for name, entry in API["cupy"].items():
        value = getattr(np, name, None)
        is_scalar_type = isinstance(value, type) and issubclass(value, np.generic)
        if is_scalar_type or (entry["kind"] == "const" and isinstance(value, float)):
            setattr(module, name, value)
    for name in ("dtype", "finfo", "iinfo", "ndindex", "newaxis", "s_", "index_exp", "bool"):
        setattr(module, name, getattr(np, name))

    for name, entry in API["cupy"].items():
        value = getattr(np, name, None)
        if entry["kind"] == "ufunc" and isinstance(value, np.ufunc):
            setattr(module, name, ufunc(name, value, entry))
        elif entry["kind"] == "ufunc" and callable(value):
            setattr(module, name, _function(name, {"sig": [["x", True]]}, value))
    module.__dict__.update(_make_functions("cupy", np, "cupy"))

    by_hand = [
        array,
        asarray,
        ascontiguousarray,
        asfortranarray,
        asnumpy,
        empty,
        empty_like,
        take,
        take_along_axis,
        fuse,
    ]
    by_hand += [get_array_module, is_available]
    for function in by_hand:
        setattr(module, function.__name__, function)
    module.asanyarray = asarray
    module.ndarray = ndarray
    module.ufunc = ufunc
    module.RawKernel = module.RawModule = module.ElementwiseKernel = module.ReductionKernel = _Kernel
    module.get_default_memory_pool = module.get_default_pinned_memory_pool = _MemoryPool

    runtime: Any = _Module("cupy.cuda.runtime", CUDARuntimeError=CUDARuntimeError, getDeviceCount=get_device_count)
    runtime.getDevice = lambda: 0
    runtime.deviceSynchronize = lambda: _sync("deviceSynchronize", copies=False)
    module.cuda = _Module(
        "cupy.cuda",
        API["cuda"],
        runtime=runtime,
        Device=Device,
        Stream=Stream,
        Event=Event,
        MemoryPool=_MemoryPool,
        is_available=is_available,
        get_current_stream=lambda device_id=-1: Stream.null,
        get_device_id=lambda: 0,
    )
    module.random = _make_random()
    module.lib = _Module("cupy.lib", stride_tricks=_make_stride_tricks())
    linalg = _make_functions("linalg", np.linalg, "cupy.linalg")
    module.linalg = _Module("cupy.linalg", API["linalg"], LinAlgError=np.linalg.LinAlgError, **linalg)
    return module


class _SpecialFunctions(_Module):
    """`cupyx.scipy.special`: SciPy's functions of one or more arrays, looked up when first used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        import scipy.special  # slow to import, so only where it is used

        function = getattr(scipy.special, name, None)
        if not isinstance(function, np.ufunc):
            raise AttributeError(f"the stand-in has no cupyx.scipy.special.{name}")

        def call(*args: Any, out: Any = None) -> Any:
            operands = [_operand(value) for value in args]
            _launch()
            if out is None:
                return _wrap(_compute(function, *operands))
            _compute(function, *operands, out=_operand(out))
            return out

        setattr(self, name, call)
        return call


def _make_cupyx() -> _Module:
    def scatter(name: str) -> Callable[..., None]:
        def call(a: ndarray, slices: Any, value: Any) -> None:
            if not isinstance(a, ndarray):
                raise _unsupported(a)
            getattr(a, name)(slices, value)

        return call

    def rsqrt(x: Any) -> Any:
        _launch()
        return _wrap(_compute(lambda value: value**-0.5, _operand(x)))

    names = ("scatter_add", "scatter_max", "scatter_min")
    scipy_module = _Module("cupyx.scipy", special=_SpecialFunctions("cupyx.scipy.special"))
    scatters = {name: scatter(name) for name in names}
    return _Module("cupyx", API["cupyx"], rsqrt=rsqrt, scipy=scipy_module, **scatters)


cupy = _make_cupy()
cupyx = _make_cupyx()


# ---- Installing ------------------------------------------------------------------------------------------------------

MODULES: dict[str, types.ModuleType] = {
    "cupy": cupy,
    "cupy.cuda": cupy.cuda,
    "cupy.cuda.runtime": cupy.cuda.runtime,
    "cupy.linalg": cupy.linalg,
    "cupy.random": cupy.random,
    "cupy.lib": cupy.lib,
    "cupy.lib.stride_tricks": cupy.lib.stride_tricks,
    "cupyx": cupyx,
    "cupyx.scipy": cupyx.scipy,
    "cupyx.scipy.special": cupyx.scipy.special,
}
FAULTS = (None, "missing", "driver", "device", "libraries")
_displaced: dict[str, Any] = {}
_is_installed = False


def install(fault: str | None = None) -> types.ModuleType:
    """Make `import cupy` and `import cupyx` find the stand-in, and return it.  Calling it again changes the fault only.

    `fault` breaks the pretended machine in one of the ways in which real ones are broken:
    "missing"    CuPy is not installed: `import cupy` raises
    "driver"     no usable GPU or driver: counting devices and making arrays raise CUDARuntimeError, status 35
    "device"     a driver, but no visible device: the same with status 100
    "libraries"  CUDA's libraries are missing: the first kernel raises RuntimeError, the first product ImportError
    """
    global _is_installed
    if fault not in FAULTS:
        raise ValueError(f"fault must be one of {FAULTS}, got {fault!r}")
    if not _is_installed:
        _displaced.clear()
        for name in list(sys.modules):
            if name.split(".")[0] in ("cupy", "cupyx"):
                _displaced[name] = sys.modules.pop(name)
        _is_installed = True
    _machine.fault = fault
    for name, module in MODULES.items():
        sys.modules[name] = None if fault == "missing" else module  # type: ignore[assignment]
    return cupy


def uninstall() -> None:
    """Undo `install()`: `import cupy` finds again whatever it found before."""
    global _is_installed
    if not _is_installed:
        return
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(_displaced)
    _displaced.clear()
    _machine.fault = None
    _is_installed = False


@contextlib.contextmanager
def installed(fault: str | None = None) -> Iterator[types.ModuleType]:
    """`install(fault)` for the length of a `with` block, with counters at zero."""
    was_installed = _is_installed
    fault_before = _machine.fault
    stats.reset()
    try:
        yield install(fault)
    finally:
        if was_installed:
            install(fault_before)
        else:
            uninstall()
