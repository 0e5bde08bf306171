"""Where the time of a training step goes: by operation, by module, forward and backward, and what is in neither."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..core import Op
from ..core.state import Scope, state
from ..core.tracing import Paths, Tracer, traced_by

OUTSIDE = "(no module)"  # of operations that no module's call made, such as the loss
# What a step spends outside of operations: the tracer's name for it -> ours.
PHASES = {"backward": "walk back", "clip": "clip", "optimizer": "optimizer"}
REST = "rest"


@dataclass
class Row:
    """The time of an operation, or of all operations of a module that are in none of its parts."""

    name: str
    forward: float = 0.0  # seconds
    backward: float = 0.0
    count: int = 0  # calls in the forward pass

    @property
    def seconds(self) -> float:
        return self.forward + self.backward


@dataclass
class Profile:
    """What `profile` measured, in seconds, of all that ran in the block; `print` shows it as tables.

    Attributes:
        seconds: that the block took.
        operations: a Row for each kind of operation, the slowest first.
        modules: a Row for the path of each module, as `ts.record` has it; "(no module)" for operations outside of any.
        phases: what is in no operation: "walk back" (the engine, on its way from one operation to the next), "clip",
            "optimizer", and "rest", the Python between: the model's own code, modules, new tensors, data.
    """

    seconds: float = 0.0
    operations: list[Row] = field(default_factory=list)
    modules: list[Row] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    def table(self, steps: int = 1) -> str:
        """The tables as text, for one of so many equal steps."""
        counted = f"one of {steps} steps took" if steps > 1 else "it took"
        lines = [f"{counted} {self.seconds / steps * 1e3:.2f} ms"]
        for title, rows in (("operation", self.operations), ("module", self.modules)):
            width = max([len(title), *(len(row.name) for row in rows), *map(len, self.phases)])
            lines += ["", f"{title:{width}}  forward ms  backward ms   share    calls"]
            for row in rows:
                f, b = row.forward / steps * 1e3, row.backward / steps * 1e3
                lines.append(
                    f"{row.name:{width}}  {f:10.3f}  {b:11.3f}  {self._share(row.seconds)}  {row.count / steps:7.4g}"
                )
            for name, seconds in self.phases.items():
                lines.append(f"{name:{width}}  {seconds / steps * 1e3:23.3f}  {self._share(seconds)}")
        return "\n".join(lines)

    def _share(self, seconds: float) -> str:
        return f"{100 * seconds / self.seconds if self.seconds else 0:5.1f} %"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return self.table()


@contextmanager
def profile() -> Iterator[Profile]:
    """A `with` block whose time is measured: which operations, which modules, forward and backward, and what else.

    Every operation is timed, by which the smallest ones take about twice as long; outside of the block nothing is. The
    times of all operations, of the phases and of the rest add up to that of the block. On a GPU, where the host goes on
    before a result is there, they are those of the launches.

    >>> import tinygrad_seq as ts
    >>> model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=5, hidden_size=8))
    >>> optimizer = ts.optim.Adam(model.parameters())
    >>> with ts.profile() as p:
    ...     logits, _ = model([[0, 1, 2, 3]])
    ...     ts.ops.cross_entropy(logits, [[1, 2, 3, 4]]).backward()
    ...     optimizer.step()
    >>> sorted(row.name for row in p.modules)
    ['(no module)', 'embedding', 'lstm', 'output']
    >>> next(row.count for row in p.operations if row.name == "LSTMSequence")
    1
    >>> total = sum(row.seconds for row in p.operations) + sum(p.phases.values())
    >>> round(total / p.seconds, 6)
    1.0
    """
    found, timer = Profile(), _Timer()
    began = time.perf_counter()
    with traced_by(timer):
        try:
            yield found
        finally:
            timer.report(found, time.perf_counter() - began)


class _Frame:
    """What is being timed, and for how long of that something inside of it was."""

    __slots__ = ("what", "began", "inside", "back")

    def __init__(self, what: Any, back: bool) -> None:
        self.what, self.back, self.inside, self.began = what, back, 0.0, time.perf_counter()


class _Key(NamedTuple):
    kind: type[Op]
    scope: Scope | None
    back: bool


class _Timer(Tracer):
    def __init__(self) -> None:
        self.running: list[_Frame] = []
        self.times: dict[_Key, list[float]] = {}  # seconds, calls
        self.phases = dict.fromkeys(PHASES.values(), 0.0)

    def before(self, op: Op) -> None:
        self.running.append(_Frame(op, self._is_back()))

    def after(self, op: Op, inputs: tuple[Any, ...], output: Any) -> None:
        self._note(op, state.scope)

    def before_backward(self, op: Op, g: Any) -> None:
        self.running.append(_Frame(op, True))

    def after_backward(self, op: Op, g: Any, gs: tuple[Any, ...]) -> None:
        self._note(op, op.scope)

    def begin(self, phase: str) -> None:
        self.running.append(_Frame(phase, self._is_back()))

    def end(self, phase: str) -> None:
        own, _ = self._stop(phase)
        self.phases[PHASES[phase]] += own

    def _is_back(self) -> bool:
        """Whether a derivative is being computed: operations in it are part of the backward pass."""
        return bool(self.running) and self.running[-1].back

    def _note(self, op: Op, scope: Scope | None) -> None:
        own, back = self._stop(op)
        key = _Key(type(op), scope, back)
        if key not in self.times:
            self.times[key] = [0.0, 0]
        times = self.times[key]
        times[0] += own
        times[1] += 1

    def _stop(self, what: Any) -> tuple[float, bool]:
        """The time that was its own."""
        now = time.perf_counter()
        while (frame := self.running.pop()).what is not what:  # an operation that raised never ended
            pass
        took = now - frame.began
        if self.running:
            self.running[-1].inside += took
        return took - frame.inside, frame.back

    def report(self, found: Profile, seconds: float) -> None:
        paths: dict[Scope | None, str] = {}
        known = Paths()
        for _, scope, _ in self.times:
            if scope not in paths:
                paths[scope] = known.path(scope) or OUTSIDE
        found.seconds = seconds
        found.operations = self._rows((key.kind.__name__, key, times) for key, times in self.times.items())
        found.modules = self._rows((paths[key.scope], key, times) for key, times in self.times.items())
        inside = sum(times[0] for times in self.times.values()) + sum(self.phases.values())
        found.phases = {**self.phases, REST: seconds - inside}

    @staticmethod
    def _rows(times: Iterable[tuple[str, _Key, list[float]]]) -> list[Row]:
        rows: dict[str, Row] = {}
        for name, key, (seconds, calls) in times:
            row = rows.setdefault(name, Row(name))
            if key.back:
                row.backward += seconds
            else:
                row.forward += seconds
                row.count += int(calls)
        return sorted(rows.values(), key=lambda row: -row.seconds)
