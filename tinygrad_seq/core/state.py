"""What is switched on in this thread: the graph, fused kernels, and the part of a model that is running."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Scope:
    """One call of a module, an equation block or a loop's step, inside the call that made it.

    Ops note the scope they were made in, so that a picture can draw them together. `owner` is the module, the block,
    the fused operation that was opened, a Step, a Derivative, or a text.
    """

    __slots__ = ("parent", "owner", "carried", "state")

    def __init__(self, parent: "Scope | None", owner: Any) -> None:
        self.parent, self.owner = parent, owner
        self.state: int | None = None  # the number of the op that made the state which a recurrent layer was given
        self.carried = 0  # how many earlier calls of a recurrent layer its state's graph reaches back through


class Step:
    """The owner of a scope that is one step of a loop over time."""

    __slots__ = ("t", "runs")

    def __init__(self, t: int, runs: Any = None) -> None:
        self.t = t  # counted from 0
        self.runs = runs  # (B,) booleans, which sequences have not ended yet; None: all

    def __str__(self) -> str:
        return f"t = {self.t + 1}"


class Derivative:
    """The owner of a scope in which derivatives are computed: of the outputs of a walk, or of one operation on it."""

    __slots__ = ("of", "walk")

    def __init__(self, of: list[Any], walk: "Derivative | None" = None) -> None:
        self.of = of  # places
        self.walk = walk  # of an operation: the derivative that this is a part of


class _State(threading.local):
    def __init__(self) -> None:  # called in every thread
        self.grad = True  # operations join the graph
        self.fused = True  # fused operations run their kernel, not their definition
        self.scope: Scope | None = None
        self.recorder: Any = None  # who wants to know the symbols of equation blocks
        self.tracer: Any = None  # the Tracer that is told of every operation


state = _State()


# The tracers of all threads together: every operation asks whether there are any, and asking a thread takes longer.
listening: list[Any] = []


@contextmanager
def setting(**changes: Any) -> Iterator[None]:
    """Attributes of `state` for the length of a `with` block."""
    before = {name: getattr(state, name) for name in changes}
    for name, value in changes.items():
        setattr(state, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(state, name, value)


def scope(owner: Any) -> Any:
    """A `with` block whose operations are drawn together, under the name of `owner`."""
    return setting(scope=Scope(state.scope, owner))


def no_grad() -> Any:
    """A `with` block in which operations leave no graph: for evaluation, and for what must not be differentiated.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([1.0, 2.0], requires_grad=True)
    >>> with ts.no_grad():
    ...     y = w * 2
    >>> y.requires_grad
    False
    """
    return setting(grad=False)


def definitions() -> Any:
    """A `with` block in which every fused operation runs as its definition: the chapter's equations, op by op.

    >>> import tinygrad_seq as ts
    >>> x = ts.tensor([0.0, 1.0], requires_grad=True)
    >>> with ts.definitions():
    ...     y = ts.ops.softmax(x)
    >>> type(y.place).__name__
    'Div'
    """
    return setting(fused=False)
