"""Anomaly mode: the first operation that makes a NaN or an inf, forward or backward, is named and stops the program."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..core import FusedOp, Leaf, Op, Tensor, value
from ..core.checkpoint import Checkpoint
from ..core.equations import Block, Equation
from ..core.state import Scope, setting, state
from ..core.tracing import Line, Paths, Tracer, caller, frames, step_of, traced_by


class AnomalyError(RuntimeError):
    """An operation made a NaN or an inf."""


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """A `with` block in which the first operation that makes a NaN or an inf raises.

    The error names the operation, the line of your program that called it, also where it goes wrong in the backward
    pass, the module and the equation that it stands in, and its inputs: which were finite still, and in what range.
    Of a fused operation it tells which of its equations does it. Every operation is looked at, which costs time (on a
    GPU the host waits for each); outside of the block nothing is.

    An inf that was given is none that was made: masks of -inf pass, as constants and as what is computed from them, and
    so does all that holds one inside and gives finite numbers. A weight that holds an inf, and any NaN, raises at the
    first operation that passes it on. Without a graph (under `no_grad`, or of constants alone) only NaN is looked for.

    Raises:
        AnomalyError: from the operation, or from `backward`.

    >>> import tinygrad_seq as ts
    >>> p = ts.tensor([0.5, 0.0], requires_grad=True)
    >>> try:
    ...     with ts.detect_anomaly():
    ...         entropy = -(p * ts.ops.log(p)).sum()
    ... except ts.train.AnomalyError as error:
    ...     print(error)
    Log made inf in the forward pass
      line: ..., line 3: entropy = -(p * ts.ops.log(p)).sum()
      input x (2,) float32: finite, from 0 to 0.5
      output (2,) float32: 1 of 2 is inf, the first at [1]
    """
    with traced_by(_Watch()):
        yield


class _Made(NamedTuple):
    """Where an operation was made."""

    line: Line
    equation: Equation | None
    derivative_of: Op | None = None


class _Watch(Tracer):
    def __init__(self) -> None:
        self.made: weakref.WeakKeyDictionary[Op, _Made] = weakref.WeakKeyDictionary()
        self.back: list[Op] = []  # whose derivatives are being computed, one inside of another
        self.outer: list[int] = []  # how many there were when each walk began

    def after(self, op: Op, inputs: tuple[Any, ...], output: Any) -> None:
        if self.back:  # part of a derivative, which is looked at as a whole
            if op.number is not None:
                self.made[op] = _Made(caller(), None, self.back[-1])
            return
        made = _Made(caller(), _equation(state.scope))
        if op.number is not None:
            self.made[op] = made
        outputs = output if isinstance(output, tuple) else (output,)
        kind = _worst(outputs)
        if kind is None or not _is_its_own(op, kind, inputs):
            return
        names = _names(op, inputs, state.scope)
        lines = [
            _headline(op, kind, names, inputs),
            *_where(made, state.scope),
            *_inside(op, inputs, None),
            *(_told(f"input {name}", x) for name, x in zip(names, inputs, strict=True)),
            *_outputs("output", outputs),
        ]
        raise AnomalyError("\n  ".join(lines))

    # -- backward

    def begin(self, phase: str) -> None:
        self.outer.append(len(self.back))

    def end(self, phase: str) -> None:
        del self.back[self.outer.pop() :]  # some are left where a walk was broken off

    def before_backward(self, op: Op, g: Any) -> None:
        self.back.append(op)

    def after_backward(self, op: Op, g: Any, gs: tuple[Any, ...]) -> None:
        del self.back[self.back.index(op) :]
        kind = _worst(gs)
        if kind is None:
            return
        arriving = tuple(g) if isinstance(g, list) else (g,)
        before = _worst(arriving)
        what = f"{type(op).__name__} made {kind} in the backward pass"
        if before is not None:
            what = (
                f"{before} arrived at {type(op).__name__} in the backward pass, and no operation made it: look at the "
                "gradient that backward was given, at hooks, and at sums of large gradients"
            )
        made, inputs = self.made.get(op), _kept(op)
        lines = _where(made, op.scope) if made else ["line: not known: run the forward pass in the block, too"]
        if made is not None and made.derivative_of is not None:
            outer = made.derivative_of
            lines = [
                f"in the derivative of {type(outer).__name__}, which was computed for a derivative of higher order",
                *(_where(self.made[outer], outer.scope) if outer in self.made else lines),
            ]
        names = _names(op, inputs, op.scope)
        lines = [
            what,
            *lines,
            *(_inside(op, inputs, g) if before is None else []),
            *_outputs("arriving gradient", arriving),
            *(_told(f"input {name}", x) for name, x in zip(names, inputs, strict=True)),
            *([_told("output", op.kept[op.keeps.index(-1)])] if -1 in op.keeps else []),
            *(_told(f"gradient of {name}", g_k) for name, g_k in zip(names, gs, strict=True) if g_k is not None),
        ]
        raise AnomalyError("\n  ".join(lines))


# -- who is to blame


def _worst(arrays: tuple[Any, ...]) -> str | None:
    """What the arrays hold: "NaN", else "inf", else None."""
    found = None
    for x in map(value, arrays):
        if x is None or not hasattr(x, "dtype"):
            x = np.asarray(0.0 if x is None or not isinstance(x, int | float) else x)
        if x.dtype.kind != "f":
            continue
        xp = backend_of(x).xp
        if not xp.isfinite(x).all():
            if xp.isnan(x).any():
                return "NaN"
            found = "inf"
    return found


def _is_its_own(op: Op, kind: str, inputs: tuple[Any, ...]) -> bool:
    """Whether a NaN or inf is to be told of at this operation."""
    if kind == "NaN":  # what other operations make was told of when they made it
        return True
    if op.number is None:
        return False
    holding = [x for x in inputs if _worst((x,)) is not None]
    return not holding or any(isinstance(x, Tensor) and type(x.place) is Leaf for x in holding)


# -- what is said of it


def _where(made: _Made, scope: Scope | None) -> list[str]:
    file, number = made.line
    short = file.replace("\\", "/").rpartition("/")[2]
    lines = [f"line: {short}, line {number}: {made.line.code}"] if file else []
    path, step = Paths().path(scope), step_of(scope)
    lines += [f"module: {path}"] if path else []
    if made.equation is not None:
        lines.append(f"equation: {made.equation.id}: {made.equation.text}" + (f", at {step}" if step else ""))
    elif step:
        lines.append(f"at {step}")
    return lines


def _equation(scope: Scope | None) -> Equation | None:
    """The equation that is being computed: that of the innermost block, by the line that its code is at."""
    while scope is not None and not isinstance(scope.owner, Block):
        scope = scope.parent
    if scope is None:
        return None
    block = scope.owner
    for frame in frames():
        code = frame.f_code
        if code.co_firstlineno == block.line and code.co_filename == block.file:
            here = [equation for equation in block.equations.values() if equation.line <= frame.f_lineno]
            return max(here, key=lambda equation: equation.line, default=None)
    return None


def _headline(op: Op, kind: str, names: list[str], inputs: tuple[Any, ...]) -> str:
    kind_of = type(op).__name__
    for name, x in zip(names, inputs, strict=True):
        held = _worst((x,))
        if held is None:
            continue
        if isinstance(x, Tensor) and type(x.place) is Leaf:
            return f"{kind_of} was given {held} in the weight {name}: an update left it there, or it was loaded with it"
        if held == "NaN":
            return (
                f"{kind_of} was given NaN in its input {name}, which no operation in the block made: look at the data"
            )
    return f"{kind_of} made {kind} in the forward pass"


def _names(op: Op, inputs: tuple[Any, ...], scope: Scope | None) -> list[str]:
    """What the operation calls its inputs, with the paths of weights in the model."""
    names = [*op.names[: len(inputs)], *map(str, range(len(op.names), len(inputs)))]
    root = None
    while scope is not None:
        root = scope.owner if hasattr(scope.owner, "named_parameters") else root
        scope = scope.parent
    paths = {} if root is None else {p.place: path for path, p in root.named_parameters()}
    places = op.sources if op.number is not None else [getattr(x, "place", None) for x in inputs]
    for k, place in enumerate(places):
        called = None if place is None else paths.get(place) or place.name
        names[k] += f" ({called})" if called else ""
    return names


def _kept(op: Op) -> tuple[Any, ...]:
    """The inputs of an operation, as far as it kept them; of the others, their places."""
    inputs: list[Any] = [*op.sources]
    if isinstance(op, FusedOp):
        inputs = list(op.kept[0])
    elif not isinstance(op, Checkpoint):
        for k, x in zip(op.keeps, op.kept, strict=False):
            if k >= 0:
                inputs[k] = x
    return tuple(inputs)


def _outputs(what: str, arrays: tuple[Any, ...]) -> list[str]:
    if len(arrays) == 1:
        return [_told(what, arrays[0])]
    return [_told(f"{what} {k}", x) for k, x in enumerate(arrays) if x is not None]


def _told(what: str, x: Any) -> str:
    if x is None:
        return f"{what}: none"
    if not hasattr(x, "dtype"):
        return f"{what}: {x!r}"
    about = f"{what} {x.shape} {x.dtype}"
    if not isinstance(x, Tensor) and not hasattr(x, "ndim"):  # a place: the array is gone
        return f"{about}: not kept"
    array = backend_of(value(x)).to_numpy(value(x))
    if not array.size or array.dtype.kind != "f":
        return about
    bad = ~np.isfinite(array)
    if not bad.any():
        return f"{about}: finite, from {array.min():.4g} to {array.max():.4g}"
    held = " and ".join(name for name, found in (("NaN", np.isnan(array)), ("inf", np.isinf(array))) if found.any())
    first = [int(k) for k in np.argwhere(bad)[0]]
    n = int(bad.sum())
    at = f", the first at {first}" if array.ndim else ""
    return f"{about}: {n} of {array.size} {'is' if n == 1 else 'are'} {held}{at}"


# -- inside of a fused operation


class _Found(Exception):
    """What was looked for is made here."""


class _Search(_Watch):
    """Looks for the same inside of a definition, where what passes unseen outside may be meant."""

    def __init__(self, kind: str, backward: bool) -> None:
        super().__init__()
        self.kind, self.backward = kind, backward

    def after(self, op: Op, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        if self.back or self.backward:
            if op.number is not None and not self.back:
                self.made[op] = _Made(Line("", 0), _equation(state.scope))
        elif _worst(outputs) == self.kind and _worst(inputs) != self.kind:
            raise _Found(self._line(op, _equation(state.scope), state.scope))

    def after_backward(self, op: Op, g: Any, gs: tuple[Any, ...]) -> None:
        del self.back[self.back.index(op) :]
        arriving = tuple(g) if isinstance(g, list) else (g,)
        if _worst(gs) == self.kind and _worst(arriving) is None:
            made = self.made.get(op)
            raise _Found(self._line(op, made.equation if made else None, op.scope))

    def _line(self, op: Op, equation: Equation | None, scope: Scope | None) -> str:
        at = f", at {step}" if (step := step_of(scope)) else ""
        return f"inside: {type(op).__name__}" + (f" of {equation.id}: {equation.text}" if equation else "") + at


def _inside(op: Op, inputs: tuple[Any, ...], g: Any) -> list[str]:
    """Which operation of a fused one's definition makes it: a line, or none where it makes none."""
    if not isinstance(op, FusedOp):
        return []
    kind = "NaN"
    for kind in ("NaN", "inf"):
        search = _Search(kind, g is not None)
        try:
            with setting(tracer=None, grad=True, fused=False, recorder=None, scope=None), np.errstate(all="ignore"):
                with traced_by(search):
                    if g is None:
                        op.definition(*map(_free, inputs), **op.static)
                    else:
                        op.pull_back([_free(x) for x in g] if isinstance(g, list) else _free(g), True)
        except _Found as found:
            return [str(found)]
        except Exception:  # the definition itself cannot take them: nothing more is known
            return []
    return []


def _free(x: Any) -> Any:
    """The same values, of which a derivative is wanted, joined to nothing else."""
    if not hasattr(x, "dtype") or x.dtype.kind != "f":
        return x
    free = Tensor(value(x))
    free.requires_grad = True
    return free
