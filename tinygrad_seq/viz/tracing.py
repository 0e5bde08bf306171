"""Tracing: each operation notes the caller's line that made it, and a summary of its values, for pictures."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from ..core import Leaf
from ..core.state import setting
from . import names
from .gradients import summary
from .value import Summary

PACKAGE = __name__.partition(".")[0]


class Note(NamedTuple):
    """What an operation says of itself."""

    file: str  # where the caller's line stands; "" where there is no caller
    line: int
    outputs: tuple[Summary | None, ...]
    inputs: tuple[Summary | None, ...]  # None for those that an operation made, which has a note of its own

    @property
    def text(self) -> str:
        """The line for a tooltip: "train.py, line 12: h = cell(x, h)"."""
        if not self.file:
            return ""
        code = names.clean(linecache.getline(self.file, self.line))
        return names.source(self.file, self.line) + (f": {code}" if code else "")


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
    with setting(tracer=_note):
        yield


def _note(op: Any, inputs: list[Any], output: Any) -> None:
    frame = _caller()
    op.note = Note(
        frame.f_code.co_filename if frame is not None else "",
        frame.f_lineno if frame is not None else 0,
        tuple(map(summary, output if type(output) is tuple else (output,))),
        tuple(
            summary(x) if hasattr(x, "dtype") and (place is None or type(place) is Leaf) else None
            for x, place in zip(inputs, op.sources, strict=True)
        ),
    )


def _caller() -> FrameType | None:
    """The innermost frame of the user's code; a model's where there is none, as when a thread runs nothing else."""
    frame: FrameType | None = sys._getframe(1)
    model = None
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        package = name.partition(".")[0]
        # A doctest's frame has the names of the module that it stands in.
        if frame.f_code.co_filename.startswith("<doctest"):
            return frame
        if package != PACKAGE and package not in sys.stdlib_module_names:
            return frame
        if model is None and name.startswith(f"{PACKAGE}.models."):
            model = frame
        frame = frame.f_back
    return model
