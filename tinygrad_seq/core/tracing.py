"""Who listens to the engine: a Tracer is told of every operation, and of where in the user's program it was made."""

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from .state import Scope, Step, listening, setting, state

PACKAGE = __name__.partition(".")[0]


class Tracer:
    """What is called while operations run; a subclass has those methods that it needs.

    Operations on tensors are told of, with a graph or without; those on bare arrays, by which plain derivatives are
    computed, are part of the derivative.
    """

    def before(self, op: Any) -> None:
        """The forward pass of an operation begins."""

    def after(self, op: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """It has ended. `op.number` is None where no graph was wanted; `output` is an array, or a tuple of them."""

    def before_backward(self, op: Any, g: Any) -> None:
        """The gradient `g` of what an operation gave goes back through it; of several outputs, a list."""

    def after_backward(self, op: Any, g: Any, gs: tuple[Any, ...]) -> None:
        """It has come through: `gs` are the gradients of its inputs."""

    def begin(self, phase: str) -> None:
        """A part of a training step that is no operation begins: "backward", "clip", "optimizer"."""

    def end(self, phase: str) -> None:
        """It has ended."""


class _Several(Tracer):
    """Each of them, in order."""

    def __init__(self, *tracers: Tracer) -> None:
        self.tracers = tracers

    def before(self, op: Any) -> None:
        for tracer in self.tracers:
            tracer.before(op)

    def after(self, op: Any, inputs: tuple[Any, ...], output: Any) -> None:
        for tracer in self.tracers:
            tracer.after(op, inputs, output)

    def before_backward(self, op: Any, g: Any) -> None:
        for tracer in self.tracers:
            tracer.before_backward(op, g)

    def after_backward(self, op: Any, g: Any, gs: tuple[Any, ...]) -> None:
        for tracer in self.tracers:
            tracer.after_backward(op, g, gs)

    def begin(self, phase: str) -> None:
        for tracer in self.tracers:
            tracer.begin(phase)

    def end(self, phase: str) -> None:
        for tracer in self.tracers:
            tracer.end(phase)


@contextmanager
def traced_by(tracer: Tracer) -> Iterator[None]:
    """A `with` block in which a tracer is told what happens, beside those that are told already."""
    listening.append(tracer)
    try:
        with setting(tracer=tracer if state.tracer is None else _Several(state.tracer, tracer)):
            yield
    finally:
        listening.remove(tracer)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A `with` block of which a tracer knows what it is for."""
    tracer = state.tracer
    if tracer is None:
        yield
        return
    tracer.begin(name)
    try:
        yield
    finally:
        tracer.end(name)


# -- where it was


class Line(NamedTuple):
    """A line of the user's program; ("", 0) where there is none."""

    file: str
    number: int

    @property
    def code(self) -> str:
        return linecache.getline(self.file, self.number).strip()


def frames() -> Iterator[FrameType]:
    """What is running, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def caller() -> Line:
    """The innermost line of the user's code; a model's where there is none, as when a thread runs nothing else."""
    model = None
    for frame in frames():
        name = frame.f_globals.get("__name__", "")
        package = name.partition(".")[0]
        # A doctest's frame has the names of the module that it stands in.
        if frame.f_code.co_filename.startswith("<doctest") or (
            package != PACKAGE and package not in sys.stdlib_module_names
        ):
            return Line(frame.f_code.co_filename, frame.f_lineno)
        if model is None and name.startswith(f"{PACKAGE}.models."):
            model = Line(frame.f_code.co_filename, frame.f_lineno)
    return model or Line("", 0)


class Paths:
    """What modules are called inside of the outermost one, as `record` calls them: "blocks.layers.0.self_attn"."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, dict[int, str]]] = {}  # id of a root -> the root, {id of a module: path}

    def path(self, scope: Scope | None) -> str:
        """Of the module that a scope belongs to; "" outside of any."""
        modules = []
        while scope is not None:
            if hasattr(scope.owner, "named_modules"):
                modules.append(scope.owner)
            scope = scope.parent
        return self.of(modules)

    def of(self, modules: list[Any]) -> str:
        """Of the first of some modules, each of which is called in the next."""
        if not modules:
            return ""
        root = modules[-1]
        if id(root) not in self._found:
            self._found[id(root)] = root, {id(module): path for path, module in root.named_modules()}
        return self._found[id(root)][1].get(id(modules[0]), "") or type(modules[0]).__name__.lower()


def step_of(scope: Scope | None) -> str:
    """The time step that a scope belongs to, "t = 3"; "" outside of any."""
    while scope is not None:
        if isinstance(scope.owner, Step):
            return str(scope.owner)
        scope = scope.parent
    return ""
