"""Tracing: each operation notes the caller's line that made it, and a summary of its values, for pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..core import Leaf, value
from ..core.tracing import Line, Tracer, caller, traced_by
from . import names
from .gradients import summary
from .value import Summary


class Note(NamedTuple):
    """What an operation says of itself."""

    line: Line  # the caller's
    outputs: tuple[Summary | None, ...]
    inputs: tuple[Summary | None, ...]  # None for those that an operation made, which has a note of its own

    @property
    def text(self) -> str:
        """The line for a tooltip: "train.py, line 12: h = cell(x, h)"."""
        if not self.line.file:
            return ""
        code = names.clean(self.line.code)
        return names.source(*self.line) + (f": {code}" if code else "")


@contextmanager
def trace() -> Iterator[None]:
    """A `with` block in which operations note the caller's line and their values: `graph` then shows both.

    A box's tooltip has the line of your program that computed it, and the mean, the deviation, the least and the
    largest of its values; of at most 12 numbers, these. The fields of a Graph have them as `line` and `value`. What is
    computed stays the same, but each operation takes longer, and on a GPU the host waits for it. Outside of the block
    nothing is noted.

    The inside of a fused operation has the line of its call; its values are noted under `definitions`.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> with ts.trace():
    ...     y = w * w
    ...     loss = y.sum()
    >>> box = ts.graph(loss).nodes[1]
    >>> box.label, box.line.partition(", ")[2]
    ('y = ⊙', 'line 2: y = w * w')
    >>> box.value.mean, box.value.numbers
    (4.666666666666667, (1.0, 4.0, 9.0))
    """
    with traced_by(_Noting()):
        yield


class _Noting(Tracer):
    def after(self, op: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if op.number is None:  # there is no graph to be drawn
            return
        op.note = Note(
            caller(),
            tuple(map(summary, output if type(output) is tuple else (output,))),
            tuple(
                summary(value(x)) if hasattr(x, "dtype") and (place is None or type(place) is Leaf) else None
                for x, place in zip(inputs, op.sources, strict=True)
            ),
        )
