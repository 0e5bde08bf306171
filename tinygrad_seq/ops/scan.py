"""A scan over time: any cell, run over a sequence; and what every recurrence asks of its inputs."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..backend import Backend, Kernel, backend_of
from ..backend.kernels.rows import over_rows
from ..core import FusedOp, Tensor, scope, value
from ..core.state import Step
from .elementwise import where
from .index import Embed, beside
from .shape import split, stack, unstack


def scan(
    step: Callable[[Any, Any], Any], state: Any, xs: Any, *, reverse: bool = False, lengths: Any = None
) -> tuple[Any, Any]:
    """Run any cell over a sequence.

    Args:
        step: (x_t, state) -> a NamedTuple of symbols; for each field `h` of the state it has a field `h_t`, which
            is carried to the next step.
        state: the state before the first step, a NamedTuple such as LSTMState(h, c).
        xs: (B, T, …), the input.
        reverse: go from the last step to the first.
        lengths: (B,) integers from 1 to T; a sequence past its end keeps its state, and its symbols there are 0.
    Returns:
        The symbols, each stacked over time to (B, T, …), and the state after the last step.

    >>> from typing import Any, NamedTuple
    >>> import tinygrad_seq as ts
    >>> class Total(NamedTuple):
    ...     s: Any
    >>> class Step(NamedTuple):
    ...     s_t: Any
    >>> xs = ts.tensor([[[1.0], [2.0], [3.0]]])
    >>> symbols, last = ts.ops.scan(lambda x_t, state: Step(state.s + x_t), Total(ts.tensor([[0.0]])), xs)
    >>> symbols.s_t.tolist(), last.s.tolist()
    ([[[1.0], [3.0], [6.0]]], [[6.0]])
    """
    if xs.ndim < 2 or xs.shape[1] == 0:
        raise ValueError(f"scan: expected at least one time step, got xs of shape {xs.shape}, (B, T, …)")
    T = xs.shape[1]
    if lengths is not None:
        lengths = checked_lengths(lengths, xs)
    x = unstack(xs, 1)
    symbols: list[Any] = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        runs = None if lengths is None else lengths > t
        with scope(Step(t, runs)):
            out = step(x[t], state)
            carried = [getattr(out, f"{field}_t") for field in state._fields]
            if runs is not None:
                carried = [where(_along(runs, new), new, old) for new, old in zip(carried, state, strict=True)]
                out = type(out)(*(symbol * _along(runs, symbol) for symbol in out))
        state, symbols[t] = type(state)(*carried), out
    return type(out)(*(stack(field, 1) for field in zip(*symbols, strict=True))), state


def _along(runs: Any, symbol: Any) -> Any:
    """(B,) with axes of size 1 for all others of the symbol."""
    return runs.reshape((-1,) + (1,) * (symbol.ndim - 1))


class Recurrence(FusedOp):
    """A whole sequence at once. `weight` says which of its inputs W is, which each x_t meets.

    Its kernel may know that x is read from a table: W then multiplies each row once.
    """

    weight: ClassVar[int]
    embedding: Embed | None = None  # where x comes from

    def __call__(self, x: Any, *others: Any) -> Any:
        if isinstance(x, Tensor) and type(x.place) is Embed and x.place.index.ndim == 2:
            self.embedding = x.place
        return super().__call__(x, *others)

    def kernel_of(self, backend: Backend) -> Kernel | None:
        kernel = super().kernel_of(backend)
        if kernel is None or self.embedding is None or not backend.over_rows:
            return kernel
        return over_rows(kernel, self.embedding.index, self.embedding.sources[0].shape[0], self.weight)


def checked_lengths(lengths: Any, x: Any) -> Any:
    """Lengths as an array of integers on x's device, each from 1 to T."""
    array = value(lengths) if hasattr(lengths, "dtype") else np.asarray(lengths)
    B, T = x.shape[:2]
    if array.shape != (B,) or array.dtype.kind not in "iu":
        raise ValueError(f"lengths: expected {B} integers, one for each sequence, got {array.dtype} {array.shape}")
    backend_of(array).check_range(array, T + 1, f"lengths, with {T} time steps", low=1)
    return beside(x, array)


def checked_sequence(what: str, equation: str, x: Any, lengths: Any, **parameters: tuple[Any, tuple[int, ...]]) -> Any:
    """Lengths, after a look at the shapes: x (B, T, D) and each (parameter, the shape it should have)."""
    wrong = [name for name, (p, shape) in parameters.items() if p.shape != shape]
    if x.ndim != 3 or wrong:
        raise ValueError(
            f"{what}: {equation} with x (B, T, D) {x.shape}, "
            + ", ".join(f"{name} {p.shape}" for name, (p, _) in parameters.items())
            + "".join(f": expected {name} to have shape {parameters[name][1]}" for name in wrong[:1])
        )
    if x.shape[1] == 0:
        raise ValueError(f"{what}: expected at least one time step, got x of shape {x.shape}, (B, T, D)")
    return None if lengths is None else checked_lengths(lengths, x)


def gates_of(kind: Any, p: Any, symbol: str) -> Any:
    """A stored parameter cut into its gates, a NamedTuple of that kind, each named after the symbol: W_f."""
    parts = zip(kind._fields, split(p, len(kind._fields)), strict=True)
    return kind(*(named(gate, f"{symbol}_{name}") for name, gate in parts))


def named(x: Any, name: str) -> Any:
    """x, called by its symbol in pictures."""
    if isinstance(x, Tensor):
        x.name = name
    return x
