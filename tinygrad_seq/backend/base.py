"""What an array library must offer: a module of functions, a table of kernels, and a few things the two do differently.

A backend knows arrays, never tensors.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PASSED = 8  # a number's operations in one pass over memory, counted as `pieces` counts

Array = Any  # numpy.ndarray, a NumPy scalar, or cupy.ndarray


class Kernel(NamedTuple):
    """A fused operation's fast form.

    forward(backend, *inputs, **static)                  -> output (or a tuple of outputs), tape
    backward(backend, tape, inputs, g, needs, **static)  -> one gradient (or None) for each input
    infer(backend, *inputs, **static)                    -> the output where no gradient is wanted; None for what it
                                                            leaves to `forward`

    `g` is the output's gradient; for several outputs a list, None where an output was not used.
    `needs` says for each input whether its gradient is wanted.
    A kernel may write over its tape, never over its inputs or `g`: others hold them. The gradients that it gives are
    new arrays, of which no two share an element: sums are made in them.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    infer: Callable[..., Any] | None = None


class Backend:
    """One kind of array. `xp` is the array module, `kernels` the fused operations it runs fast."""

    xp: Any = None
    kernels: dict[str, Kernel] = {}
    joins = True  # whether one operation on joined arrays is faster than one on each of them
    over_rows = False  # whether a recurrence over rows of a table runs as `kernels.rows` says

    def device_of(self, array: Array) -> str:
        """The name of the device that holds `array`: "cpu" or "cuda:0"."""
        raise NotImplementedError

    def from_numpy(self, array: Array) -> Array:
        """A host array, on this backend's device."""
        raise NotImplementedError

    def to_numpy(self, array: Array) -> Any:
        """The array on the host. On a GPU this waits for the device."""
        raise NotImplementedError

    def erf(self, x: Array) -> Array:
        """The error function, elementwise; float16 stays float16."""
        raise NotImplementedError

    def check_range(self, index: Array, size: int, what: str, low: int = 0) -> None:
        """Raise IndexError where an integer of `index` is outside low … size - 1.

        On a GPU the answer would make the host wait, so it is looked at when the host next reads a value.
        """
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array to write into."""
        return self.xp.empty(shape, dtype)

    def matmul(self, a: Array, b: Array) -> Array:
        """a @ b. All leading axes of `a` are one when `b` is a matrix: one product instead of many."""
        if a.ndim > 2 and b.ndim == 2:
            rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # not -1: an axis may be empty
            return (rows @ b).reshape(*a.shape[:-1], b.shape[-1])
        return a @ b

    def times(self, W: Array, x: Array) -> Array:
        """W xᵀ, for a few rows of x."""
        return W @ x.T

    def add(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """a + b, in `out` where it is given: one of the two, of the shape and dtype of their sum."""
        return a + b if out is None else self.xp.add(a, b, out=out)

    def tile_rows(self, M: int, K: int, columns: int, steps: int | None, at_once: bool) -> int:
        """How many rows has each of the tiles in which (M, K) is multiplied fastest by (K, columns), for so many steps
        (None: for many), all at once or each after another; M: as a whole."""
        return M

    def chunks(self, size: int, width: int = 1) -> list[slice]:
        """0 … size in chunks, of which many passes over one leave it in the cache; width: numbers for each."""
        return [slice(0, size)] if size else []

    def pieces(self, size: int, operations: int, begins: bool = False) -> list[slice]:
        """0 … size in pieces for `each`: one for each thread, where that many operations are worth sharing.

        begins: whether this may be the first work that is shared; the rest follows it.
        """
        return [slice(0, size)]

    def each(self, work: Callable[[slice], Any], pieces: list[slice]) -> list[Any]:
        """What work gives for each of the pieces, which threads do at the same time."""
        return [work(piece) for piece in pieces]

    @property
    def alone(self) -> "Backend":
        """The same for work that is a part of what threads share: it does not share its own."""
        return self

    def parts(self, B: int, step: int) -> list[slice]:
        """The batch in parts for `each`, for a recurrence of so many operations at each step."""
        return [slice(0, B)]

    def helped(self, operations: int) -> bool:
        """Whether so many operations are worth another thread's help, which `beside` then has."""
        return False

    def beside(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Begin work on another thread, where there is one; gives what waits for its end. Later work begins later."""
        work()
        return lambda: None

    def adam(self, ps: list[Array], gs: list[Array], m: Array, v: Array, *options: float) -> None:
        """One Adam step on flat arrays, in place: see `kernels.adam`."""
        from .kernels.adam import adam

        adam(self, ps, gs, m, v, *options)

    def squares(self, arrays: list[Array]) -> Array:
        """The sum of the squares of all numbers; in float32 of float16, whose squares overflow from 256 on."""

        def square(a: Array) -> Array:
            a = a.reshape(-1)
            a = a.astype(np.float32) if a.dtype == np.float16 else a
            return a @ a

        return sum(self._of_each(square, arrays))

    def scaled(self, arrays: list[Array], factor: Array) -> list[Array]:
        """Each array times a number, in its own dtype: new arrays."""
        return self._of_each(lambda a: a * factor.astype(a.dtype, copy=False), arrays)

    def _of_each(self, work: Callable[[Array], Any], arrays: list[Array]) -> list[Any]:
        """What work gives for each of some arrays; threads share them, where they are large."""
        pieces = self.pieces(len(arrays), PASSED * sum(a.size for a in arrays))
        return [found for some in self.each(lambda here: [work(a) for a in arrays[here]], pieces) for found in some]

    def keep_mask(self, key: int, shape: tuple[int, ...], p: float) -> Array:
        """True with probability 1 - p at each place: a function of the key and the place, the same on every backend.

        Each 64 bits are those of SplitMix64 (Steele, Lea and Flood, 2014) at their own position, and serve two places.
        """
        xp, n = self.xp, math.prod(shape)
        x = xp.arange(1, (n + 1) // 2 + 1, dtype=np.uint64)
        x *= np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(key)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x ^= x >> np.uint64(shift)
            x *= np.uint64(factor)
        x ^= x >> np.uint64(31)
        return (x.view(np.uint32)[:n] >= np.uint32(min(round(p * 2**32), 2**32 - 1))).reshape(shape)

    def scatter_add(self, shape: tuple[int, ...], index: Any, values: Array) -> Array:
        """Zeros of `shape`, with `values` added at `index`; an index that stands twice is added twice."""
        out = self.xp.zeros(shape, values.dtype)
        if is_basic(index):
            out[index] = values
        else:
            self.xp.add.at(out, index, values)
        return out


def is_basic(index: Any) -> bool:
    """Whether an index names no element twice and gives a view: integers, slices, `...`, None."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, int | np.integer | slice) for part in parts)
