"""A ledger of memory: what a graph keeps for its backward pass, as predicted from the sizes, and as measured."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backend import fast
from ..core import FusedOp, Leaf, Op, Tensor, value
from ..core.checkpoint import Checkpoint
from ..core.op import Slot
from ..core.tracing import Paths

Shape = tuple[int, ...]
SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


# -- what the kernels of fused operations keep beside their inputs, in numbers: a formula of the inputs' shapes


def _recurrent(inside: int, carried: int) -> Callable[..., float]:
    """[x_t; 1], so many H inside of each step, and `carried` states before the first."""

    def numbers(shapes: list[Any], static: dict[str, Any]) -> float:
        (B, T, D), H = shapes[0], shapes[1][-1]
        return B * (T * (D + 1 + inside * H) + carried * H)

    return numbers


def _attention(shapes: list[Any], static: dict[str, Any]) -> float:
    """out, and α, or, where there are too many weights, the logarithm of each row's sum."""
    (*lead, S, _), (T, _), E = shapes[0], shapes[1][-2:], shapes[2][-1]
    return math.prod(lead) * S * (E + _weights(S, T))


def _multi_head(shapes: list[Any], static: dict[str, Any]) -> float:
    """q, k, v, the heads side by side, and α of each."""
    B, S, D = shapes[0]
    keys = shapes[1] or shapes[0]
    T = keys[1]
    return B * (2 * S * D + 2 * T * D + static["heads"] * S * _weights(S, T))


def _weights(S: int, T: int) -> int:
    """Numbers kept of each row of α."""
    from ..backend.kernels.attention import TILE

    return T if S <= TILE and T <= TILE else 1


def _elements(shapes: list[Any], static: dict[str, Any]) -> float:
    return math.prod(shapes[0])


def _feed_forward(shapes: list[Any], static: dict[str, Any]) -> float:
    """u, what of it GELU's derivative begins with, and the mask of dropout."""
    inside = math.prod(shapes[0][:-1]) * shapes[1][0]
    return inside * ((1 if static["activation"] == "relu" else 2) + (1 / 4 if static["dropout"] else 0))


def _cross_entropy(shapes: list[Any], static: dict[str, Any]) -> float:
    """p, and for each row its number and its target, integers of two numbers' size."""
    return math.prod(shapes[0]) + 4 * math.prod(shapes[0][:-1])


def _crf(shapes: list[Any], static: dict[str, Any]) -> float:
    """α_t, what it has before e_t is added, and a distribution over the last tag."""
    return 2 * math.prod(shapes[0])


def _decoder(shapes: list[Any], static: dict[str, Any]) -> float:
    """[s_{i-1}; 1; y; c], n r z u and W_1 s of each step, and for each state attended to tanh and α."""
    (B, T, D), (_, H), (_, S, E), (*_, A) = shapes[:4]
    return B * ((T + 1) * (H + 1 + D + E) + T * (4 * H + A + S * (A + 1)))


# What the NumPy kernels keep. Of a kernel that does not stand here, one number for each that it gives is expected.
TAPES: dict[str, Callable[[list[Any], dict[str, Any]], float]] = {
    "attention": _attention,
    "crf_log_likelihood": _crf,
    "cross_entropy": _cross_entropy,
    "dropout": lambda shapes, static: math.prod(shapes[0]) / 4,  # the mask: a byte each, where others have four
    "exact_gelu": _elements,  # Φ
    "feed_forward": _feed_forward,
    "gelu": _elements,  # ½ (1 + tanh)
    "gru_attention_decoder": _decoder,
    "gru_cho_sequence": _recurrent(5, 1),  # n r z, h, r ⊙ h
    "gru_sequence": _recurrent(5, 1),  # n r z u, h
    "layer_norm": lambda shapes, static: math.prod(shapes[0]) * (1 + 1 / shapes[0][-1]),  # (x - μ) / σ, and 1 / σ
    "linear": lambda shapes, static: 0,
    "log_softmax": _elements,
    "lstm_sequence": _recurrent(7, 1),  # i f o c̃, c, tanh c, h
    "masked_softmax": _elements,
    "multi_head_attention": _multi_head,
    "rnn_sequence": _recurrent(1, 1),  # h
    "softmax": _elements,
}


def _compiled(inside: int, carried: int) -> Callable[..., float]:
    """[x_t; h_{t-1}] side by side, so many H inside of each step, and `carried` states before the first.

    Sequences are computed 16 at a time, whole or not, and so are the features of x and of h.
    """

    def numbers(shapes: list[Any], static: dict[str, Any]) -> float:
        (B, T, D), H = shapes[0], shapes[1][-1]
        B, D, H_16 = (-(-n // 16) * 16 for n in (B, D, H))
        return B * (T * (D + H_16 + inside * H) + carried * H)

    return numbers


def _compiled_decoder(shapes: list[Any], static: dict[str, Any]) -> float:
    """[y; c; s_{i-1}], n r z u and s of each step in blocks, and row by row W_1 s and α."""
    (B, T, D), (_, H), (_, S, E), (*_, A) = shapes[:4]
    B_16, D, E, H_16 = (-(-n // 16) * 16 for n in (B, D, E, H))
    return T * (B_16 * (D + E + H_16 + 5 * H) + B * (A + S))


def _compiled_attention(shapes: list[Any], static: dict[str, Any]) -> float:
    """Of each row of α its largest score and its sum, where it runs compiled; else as in NumPy."""
    (*lead, S, _), (T, _) = shapes[0], shapes[1][-2:]
    return math.prod(lead) * 2 * _filled(S) if _weights(S, T) == T else _attention(shapes, static)


def _compiled_heads(shapes: list[Any], static: dict[str, Any]) -> float:
    """q, k, v, the heads side by side, and of each row of α the same."""
    B, S, D = shapes[0]
    T = (shapes[1] or shapes[0])[1]
    if _weights(S, T) != T:
        return _multi_head(shapes, static)
    return B * (2 * S * D + 2 * T * D + static["heads"] * 2 * _filled(S))


def _compiled_cross_entropy(shapes: list[Any], static: dict[str, Any]) -> float:
    """Of each row its target, an integer of two numbers' size, its largest number and its share; else as in NumPy."""
    left_to_numpy = shapes[1] is not None or static["smoothing"]
    return _cross_entropy(shapes, static) if left_to_numpy else 4 * math.prod(shapes[0][:-1])


def _compiled_feed_forward(shapes: list[Any], static: dict[str, Any]) -> float:
    """u, where it runs compiled; else as in NumPy."""
    from ..backend.fast.linear import worth

    rows, (F, D), (E, _) = math.prod(shapes[0][:-1]), shapes[1], shapes[3]
    return rows * F if worth(2 * rows * F * (D + E)) else _feed_forward(shapes, static)


def _filled(n: int) -> int:
    """Whole blocks of 16."""
    return -(-n // 16) * 16


# What compiled kernels keep, where it is something else.
COMPILED_TAPES: dict[str, Callable[[list[Any], dict[str, Any]], float]] = {
    "attention": _compiled_attention,
    "cross_entropy": _compiled_cross_entropy,
    "dropout": lambda shapes, static: 0,
    "exact_gelu": lambda shapes, static: 0,
    "feed_forward": _compiled_feed_forward,
    "gelu": lambda shapes, static: 0,
    "gru_attention_decoder": _compiled_decoder,
    "gru_sequence": _compiled(5, 0),  # n r z u, h
    "layer_norm": lambda shapes, static: 2 * math.prod(shapes[0][:-1]),  # μ and 1 / σ
    "lstm_sequence": _compiled(5, 1),  # i f o c̃, c: tanh c is computed again
    "multi_head_attention": _compiled_heads,
    "rnn_sequence": _compiled(1, 0),  # h
}


# -- the ledger


@dataclass
class Entry:
    """What one kind of operation in one module keeps, in bytes."""

    module: str  # its path, as `ts.record` has it; "" outside of any
    operation: str
    count: int = 0
    predicted: float = 0.0
    measured: float = 0.0


class Ledger(NamedTuple):
    """What `memory_ledger` found; `print` shows it as a table."""

    entries: list[Entry]
    steps: int | None  # of time, that the table divides by

    @property
    def predicted(self) -> float:
        """Bytes in all."""
        return sum(entry.predicted for entry in self.entries)

    @property
    def measured(self) -> float:
        """Bytes in all."""
        return sum(entry.measured for entry in self.entries)

    def __str__(self) -> str:
        total = Entry("all", "", sum(entry.count for entry in self.entries), self.predicted, self.measured)
        rows = [("module", "operation", "count", "predicted", "measured", "a step" if self.steps else "")]
        rows += [
            (
                entry.module or "(no module)",
                entry.operation,
                f"{entry.count:,}",
                size(entry.predicted),
                size(entry.measured),
                size(entry.measured / self.steps) if self.steps else "",
            )
            for entry in [*self.entries, total]
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
            cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


def size(n: float) -> str:
    """Bytes as a person writes them.

    >>> size(512), size(2_100_000)
    ('512 B', '2.1 MB')
    """
    for scale, unit in SCALES:
        if n >= scale:
            return f"{n / scale:.3g} {unit}"
    return f"{n:.0f} B"


def memory_ledger(outputs: Tensor | Iterable[Tensor], steps: int | None = None) -> Ledger:
    """What the graph of a loss keeps until its backward pass: for each module and operation, predicted and measured.

    Predicted is what the derivatives need by the equations: for a primitive operation the inputs and outputs that its
    backward names, for a fused one its inputs and what its kernel leaves for itself, each a formula of the sizes (B
    sequences, T steps, D in, H hidden, numbers of 4 bytes in float32):

        LSTM  B T (D + 7 H)     GRU  B T (D + 5 H)     RNN  B T (D + H)     attention  B S (D + N T), T up to 256

    or, in compiled kernels, which fill up B to a multiple of 16, a little less or more; compiled attention keeps B S D.
    A kernel may keep other things than these; the prediction stays less than a fifth away. Measured are the arrays that
    the graph holds. An array that several operations keep counts once, for the first of them; weights and constants,
    which are there in any case, do not count.

    Args:
        outputs: a loss, or several tensors, before their backward pass.
        steps: T, to have the table say how much each time step keeps.
    Raises:
        TypeError: for what is no tensor.
        ValueError: for a tensor without a graph, or steps below 1.
        RuntimeError: where backward has freed what was kept.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(32, 64).to("float64")
    >>> x = ts.tensor(np.ones((16, 50, 32)))
    >>> out, _ = lstm(x)
    >>> print(ts.train.memory_ledger(out.sum(), steps=50))
    module       operation     count  predicted  measured   a step
    lstm         Add               1        0 B       0 B      0 B
    lstm         LSTMSequence      1    3.09 MB   3.09 MB  61.9 kB
    (no module)  Sum               1        0 B       0 B      0 B
    all                            3    3.09 MB   3.09 MB  61.9 kB
    """
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    for out in ends:
        if not isinstance(out, Tensor):
            raise TypeError(f"memory_ledger: expected a tensor or several, got {type(out).__name__}")
    if steps is not None and steps < 1:
        raise ValueError(f"memory_ledger: steps is the number of time steps, at least 1, got {steps}")
    if all(out.place is None for out in ends):
        raise ValueError("memory_ledger: expected a loss before its backward pass, got a tensor without a graph")
    paths, entries = Paths(), {}
    counted: set[Any] = set()  # places whose arrays are predicted already
    held: set[int] = set()  # the memory that is measured already
    for op in _history(ends):
        if op.kept is None:
            raise RuntimeError(
                f"memory_ledger: backward has freed what {type(op).__name__} kept: ask before it, or call "
                "backward(retain_graph=True)"
            )
        key = paths.path(op.scope), type(op).__name__
        if key not in entries:
            entries[key] = Entry(*key)
        entry = entries[key]
        entry.count += 1
        entry.predicted += _predicted(op, counted)
        for array in _kept(op):
            memory = _owner(array)
            if id(memory) not in held:
                held.add(id(memory))
                entry.measured += memory.nbytes
    return Ledger(list(entries.values()), steps)


def _history(outputs: list[Tensor]) -> list[Op]:
    """The ops that lead to some tensors, the oldest first."""
    found: set[Op] = set()
    waiting = [out.place for out in outputs]
    while waiting:
        op = _maker(waiting.pop())
        if isinstance(op, Op) and op not in found:
            found.add(op)
            waiting += op.sources
    return sorted(found, key=lambda op: -op.number)  # numbers count down


def _maker(place: Any) -> Any:
    return place.op if type(place) is Slot else place


# -- predicted


def _predicted(op: Op, counted: set[Any]) -> float:
    """Bytes that an op keeps and no older one does."""
    total = 0.0
    for k in op.keeps:
        place = _memory(op if k < 0 else op.sources[k])
        if place is None or type(place) is Leaf or place in counted:
            continue
        counted.add(place)
        total += _bytes(place)
    if isinstance(op, FusedOp):
        total += _tape(op) * _first_dtype(op).itemsize
    return total


def _memory(place: Any) -> Any:
    """The place whose memory a place has: reshaped or cut, it is still the same array."""
    while (op := _maker(place)) is not None and isinstance(op, Op) and op.views:
        place = op.sources[0]
    return place


def _bytes(place: Any) -> float:
    return math.prod(place.shape) * np.dtype(place.dtype).itemsize


def _tape(op: FusedOp) -> float:
    """Numbers that the kernel of a fused operation leaves for its backward pass."""
    constants = op.constants or [None] * len(op.sources)
    shapes = [
        getattr(constant if place is None else place, "shape", None)
        for place, constant in zip(op.sources, constants, strict=True)
    ]
    formula = TAPES.get(op.kernel)
    compiles = isinstance(op.kept[0][0], np.ndarray) and _first_dtype(op) == np.float32
    if compiles and op.kernel in COMPILED_TAPES and fast.compiled(op.kernel) is not None:
        formula = COMPILED_TAPES[op.kernel]
    if formula is None:
        given: list[Any] = op.outputs or [op]
        return float(sum(math.prod(y.shape) for y in given))
    return formula(shapes, op.static)


def _first_dtype(op: FusedOp) -> np.dtype[Any]:
    """Of the numbers that it computes with."""
    return np.dtype(op.outputs[0].dtype if op.outputs else op.dtype)


# -- measured


def _kept(op: Op) -> Iterator[Any]:
    """The arrays that an op keeps, but for weights and constants."""
    if isinstance(op, Checkpoint):
        yield from (value(x) for x in _flat(op.kept[1]) if isinstance(x, Tensor) and _counts(x.place))
        return
    if isinstance(op, FusedOp):
        inputs, tape = op.kept
        yield from _arrays(tape)
        given: Iterable[Any] = zip(op.sources, inputs, strict=True)
    else:
        given = ((op if k < 0 else op.sources[k], x) for k, x in zip(op.keeps, op.kept, strict=True))
    for place, x in given:
        if _counts(place):
            yield from _arrays(x)


def _counts(place: Any) -> bool:
    place = _memory(place)
    return place is not None and type(place) is not Leaf


def _flat(x: Any) -> Iterator[Any]:
    waiting = [x]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple):
            waiting += reversed(part)
        else:
            yield part


def _arrays(x: Any) -> Iterator[Any]:
    return (part for part in _flat(x) if getattr(part, "nbytes", 0) and hasattr(part, "shape"))


def _owner(array: Any) -> Any:
    """The array whose memory it is."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array
