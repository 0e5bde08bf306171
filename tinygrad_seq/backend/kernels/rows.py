"""A recurrence over rows of a table, as an embedding gives them: W multiplies each row once, not at each place.

It runs as the recurrence over one-hot vectors, with W' = W Eᵀ in place of W.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..base import Kernel


class RowsGradient(np.lib.mixins.NDArrayOperatorsMixin):
    """The gradient of x = table[index]: what the table gets of it is known, and who asks for itself has it computed.

    It is an array to whoever takes it for one.

    Args:
        shape, dtype: of x; index: of integers; of_table: (V, D).
        compute: gives the array.
    """

    def __init__(self, shape: Any, dtype: Any, index: Any, of_table: Any, compute: Callable[[], Any]) -> None:
        self.shape, self.dtype, self.index, self.of_table, self.compute = shape, dtype, index, of_table, compute
        self.size = math.prod(shape)

    @cached_property
    def array(self) -> Any:
        return self.compute()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.array, dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.add and all(type(g) is RowsGradient and g.index is self.index for g in inputs):
            a, b = inputs
            return RowsGradient(self.shape, self.dtype, self.index, a.of_table + b.of_table, lambda: a.array + b.array)
        return getattr(ufunc, method)(*map(written_out, inputs), **options)

    def __iadd__(self, other: Any) -> Any:
        return self + other

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.array, name)


class OneHot:
    """One-hot vectors (B, T, V), for a kernel that reads their index, (B, T); an array to whoever takes it for one."""

    def __init__(self, index: Any, V: int, xp: Any, dtype: Any) -> None:
        self.index, self.xp, self.shape, self.dtype = index, xp, (*index.shape, V), dtype
        self.size = index.size * V

    @cached_property
    def array(self) -> Any:
        hot = self.xp.zeros((self.index.size, self.shape[-1]), self.dtype)
        hot[self.xp.arange(self.index.size), self.index.reshape(-1)] = 1
        return hot.reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.array, dtype, copy=copy)

    @property
    def nbytes(self) -> int:
        """What it takes: nothing before somebody takes it for an array."""
        return int(self.array.nbytes) if "array" in self.__dict__ else 0

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.array, name)


def written_out(g: Any) -> Any:
    """The array that a gradient is."""
    return g.array if type(g) is RowsGradient else g


def _worth(V: int, positions: int, D: int) -> bool:
    """Whether the products get less by half: with rows of the table and sums over places, or with all places."""
    return 2 * V * (3 * D + positions) < 3 * positions * D


def over_rows(kernel: Kernel, index: Any, V: int, at: int) -> Kernel:
    """The kernel of a recurrence whose x is `index`, (B, T), of a table of V rows; `at` says which input is W."""

    def forward(be: Any, *inputs: Any, **static: Any) -> tuple[Any, Any]:
        xp, x, W = be.xp, inputs[0], inputs[at]
        B, T, D = x.shape
        if _worth(V, B * T, D):
            places = index.reshape(-1)
            somewhere = xp.zeros(V, np.intp)  # a place of each row; of one that stands nowhere the first, times 0
            somewhere[places] = xp.arange(places.size)
            rows = x.reshape(-1, D)[somewhere]
            W_rows = W @ rows.T
            # Not where 0 · inf would reach places that do not read that row, nor where x was written into since.
            if xp.isfinite(W_rows).all() and (rows[places] == x.reshape(-1, D)).all():
                replaced = [OneHot(index, V, xp, x.dtype), *inputs[1:at], W_rows, *inputs[at + 1 :]]
                ys, tape = kernel.forward(be, *replaced, **static)
                return ys, (tape, replaced, rows)
        ys, tape = kernel.forward(be, *inputs, **static)
        return ys, (tape, None, None)

    def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, **static: Any) -> Any:
        tape, replaced, rows = tape
        if replaced is None:
            return kernel.backward(be, tape, inputs, g, needs, **static)
        _, *others = kernel.backward(be, tape, replaced, g, [False, *needs[1:]], **static)
        x, W, dW_rows = inputs[0], inputs[at], others[at - 1]
        others[at - 1] = dW_rows @ rows

        def compute() -> Any:
            tape = kernel.forward(be, *inputs, **static)[1]
            return kernel.backward(be, tape, inputs, g, [True, *needs[1:]], **static)[0]

        dx = RowsGradient(x.shape, x.dtype, index, dW_rows.T @ W, compute) if needs[0] else None
        return dx, *others

    return Kernel(forward, backward, kernel.infer)
