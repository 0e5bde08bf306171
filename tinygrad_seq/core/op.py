"""Op: a differentiable operation, and a node of the graph when it has been applied."""

import inspect
import operator
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..backend import backend_of, backends_among
from ..backend import find as _find
from .state import listening, state
from .tensor import Constant, Place, Tensor, next_number


def _picker(indices: tuple[int, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function of a tuple, in C: the items at `indices`, as a tuple."""
    if len(indices) > 1:
        return operator.itemgetter(*indices)
    return operator.itemgetter(*[slice(k, k + 1 or None) for k in indices] or [slice(0)])  # of one index: no tuple


class Op(Place):
    """One primitive operation; applying an instance makes it a node.

    forward(backend, *inputs)  on arrays; a tuple where there are several outputs
    backward(g, ...)           on arrays, or on tensors when its result must be differentiable: write it with
                               operators, methods that arrays have too, and `ops.*`; one gradient for each input

    What `backward` names after `g`, the node keeps: inputs by their name in `forward`, or `out`. `self` may hold
    shapes and indices, never float arrays: an array hidden there would be a constant in the second derivative.
    `self.sources` are the places of the inputs (None: no gradient needed); a place knows its shape.
    """

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]
    broadcasts = False  # inputs may be stretched to the output's shape
    views = False  # outputs may share the memory of the first input
    moves = False  # nothing is computed: the output holds the inputs, side by side
    makes_new = False  # the arrays that `backward` gives are new: none is `g`, an input, or part of another one
    number: Any = None  # not applied yet, or applied where no gradient was wanted
    shape: Any = None
    dtype: Any = None
    sources: list[Any]
    scope: Any = None
    constants: list[Any] | None = None  # for pictures: what stood where `sources` has None
    outputs: list[Constant] | None = None  # shape and dtype of each, where there are several
    keeps: ClassVar[tuple[int, ...]] = ()
    names: ClassVar[tuple[str, ...]] = ()  # of the inputs, in `forward`
    kept: Any = None
    note: Any = None  # what a tracer says of it
    _keep: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        if "backward" not in vars(cls):  # a family of ops, not an op
            return
        parameters = list(inspect.signature(cls.forward).parameters.values())[2:]
        inputs = tuple(p.name for p in parameters)
        many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        wanted = list(inspect.signature(cls.backward).parameters)[2:]
        legal = ("out",) if many else (*inputs, "out")
        unknown = [name for name in wanted if name not in legal]
        if unknown:
            raise TypeError(f"{cls.__name__}.backward asks for {unknown}; it may ask for {list(legal)}")
        cls.names = () if many else inputs
        cls.keeps = tuple(-1 if name == "out" else inputs.index(name) for name in wanted)
        cls._keep = staticmethod(_picker(cls.keeps))
        fixed = not many and all(p.default is p.empty for p in parameters)
        if cls.__call__.__module__ == __name__:  # it has none of its own
            ways: dict[Any, Any] = {1: Op._apply_to_one, 2: Op._apply_to_two}
            _give(cls, "__call__", ways.get(len(inputs) if fixed else None, Op.__call__))
        if cls.pull_back.__module__ == __name__:
            ways = {0: Op._pull_back_alone, 1: Op._pull_back_with_one, 2: Op._pull_back_with_two}
            _give(cls, "pull_back", ways.get(len(wanted), Op.pull_back))

    def __call__(self, *inputs: Any) -> Any:
        # Every op passes here or through the next two: written for speed (`make bench` states the overhead per op).
        arrays: list[Any] = []
        sources: list[Any] = []
        wanted = constant = False
        plain = True
        for x in inputs:  # one loop for all that is asked of an input
            if isinstance(x, Tensor):
                plain = False
                arrays.append(x.data)
                place = x.place
                sources.append(place)
                if place is not None:
                    wanted = True
                else:
                    constant = True
            else:
                arrays.append(x)
                sources.append(None)
                constant = True
        tracer = state.tracer if listening and not plain else None
        if tracer is not None:
            tracer.before(self)
        try:
            y = self.forward(_find(type(arrays[0])) or backend_of(*arrays), *arrays)
        except Exception as error:
            raise explain(type(self).__name__, self.names, arrays, error) from error
        if not (wanted and state.grad):  # arrays in, arrays out: derivatives use ops too
            if plain:
                return y
            if tracer is not None:
                tracer.after(self, inputs, y)
            return _constant(y)
        if self.number is not None:
            raise applied_twice(self)
        self.number = next_number()
        self.sources = sources
        self.scope = state.scope
        if constant:
            self.constants = [mark(x) for x in inputs]
        if tracer is not None:
            tracer.after(self, inputs, y)
        self.kept = self._keep((*arrays, y))  # at -1, `out`
        if type(y) is tuple:
            return self._outputs(y)
        self.shape = y.shape
        self.dtype = y.dtype
        return Tensor(y, self)

    # What `__call__` does in loops, the next two do without, where nobody listens. The lines at the end stand in all
    # three: to call a function for them would take 4 % of the time of an operation on 1×1 tensors.

    def _apply_to_one(self, x: Any) -> Any:
        if listening:
            return Op.__call__(self, x)
        if isinstance(x, Tensor):
            array, source = x.data, x.place
        else:
            array, source = x, None
        try:
            y = self.forward(_find(type(array)) or backend_of(array), array)
        except Exception as error:
            raise explain(type(self).__name__, self.names, [array], error) from error
        here = state.__dict__  # of this thread, which takes as long to find as one attribute
        if source is None or not here["grad"]:
            return y if array is x else _constant(y)
        if self.number is not None:
            raise applied_twice(self)
        self.number = next_number()
        self.sources = [source]
        self.scope = here["scope"]
        self.kept = self._keep((array, y))
        if type(y) is tuple:
            return self._outputs(y)
        self.shape = y.shape
        self.dtype = y.dtype
        return Tensor(y, self)

    def _apply_to_two(self, a: Any, b: Any) -> Any:
        if listening:
            return Op.__call__(self, a, b)
        if isinstance(a, Tensor):
            left, source_a = a.data, a.place
        else:
            left, source_a = a, None
        if isinstance(b, Tensor):
            right, source_b = b.data, b.place
        else:
            right, source_b = b, None
        try:
            y = self.forward(_find(type(left)) or backend_of(left, right), left, right)
        except Exception as error:
            raise explain(type(self).__name__, self.names, [left, right], error) from error
        here = state.__dict__
        if (source_a is None and source_b is None) or not here["grad"]:
            return y if left is a and right is b else _constant(y)
        if self.number is not None:
            raise applied_twice(self)
        self.number = next_number()
        self.sources = [source_a, source_b]
        self.scope = here["scope"]
        if source_a is None:
            self.constants = [mark(a), None]
        elif source_b is None:
            self.constants = [None, mark(b)]
        self.kept = self._keep((left, right, y))
        if type(y) is tuple:
            return self._outputs(y)
        self.shape = y.shape
        self.dtype = y.dtype
        return Tensor(y, self)

    def maker(self) -> tuple[Any, int]:
        return self, 0

    def _outputs(self, ys: tuple[Any, ...]) -> tuple[Tensor, ...]:
        if -1 in self.keeps:
            raise TypeError(f"{type(self).__name__} has several outputs: its backward cannot ask for `out`")
        self.outputs = [Constant(y.shape, y.dtype) for y in ys]  # not the slots: they hold the op, a cycle
        return tuple(Tensor(y, Slot(self, k, y)) for k, y in enumerate(ys))

    def pull_back(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        """Gradients of the inputs from that of the output (a list with None where an output was not used)."""
        kept = self.kept
        if kept is None:
            raise spent(self)
        if create_graph:
            places = [self if k < 0 else self.sources[k] for k in self.keeps]
            kept = [v if place is None else Tensor(v, place) for v, place in zip(kept, places, strict=True)]
        gs = self.backward(g, *kept)
        return gs if type(gs) is tuple else (gs,)

    # The same without a `*`, which takes CPython longer, for ops that keep nothing, one array or two.

    def _pull_back_alone(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        if self.kept is None:
            raise spent(self)
        gs = self.backward(g)
        return gs if type(gs) is tuple else (gs,)

    def _pull_back_with_one(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        if create_graph or self.kept is None:
            return Op.pull_back(self, g, create_graph)
        (x,) = self.kept
        gs = self.backward(g, x)
        return gs if type(gs) is tuple else (gs,)

    def _pull_back_with_two(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        if create_graph or self.kept is None:
            return Op.pull_back(self, g, create_graph)
        x, y = self.kept
        gs = self.backward(g, x, y)
        return gs if type(gs) is tuple else (gs,)


def _constant(y: Any) -> Any:
    """The tensor, or the tensors, of what `forward` gave, where no graph is wanted."""
    return tuple(map(Tensor, y)) if type(y) is tuple else Tensor(y)


def _give(cls: type[Op], name: str, function: Any) -> None:
    """A method for a class of ops, with code of its own: CPython fits code to the types that it meets."""
    code = function.__code__.replace(co_name=name, co_qualname=f"{cls.__qualname__}.{name}")
    setattr(cls, name, types.FunctionType(code, globals()))


class Slot(Place):
    """The place of one output of an op that has several."""

    __slots__ = (
        "op",
        "index",
        "shape",
        "dtype",
        "number",
        "name",
        "grad",
        "hooks",
        "keeps_grad",
        "equation",
        "gradient_of",
    )

    def __init__(self, op: Op, index: int, y: Any) -> None:
        self.op, self.index, self.shape, self.dtype, self.number = op, index, y.shape, y.dtype, op.number
        self.name = self.grad = self.hooks = self.equation = self.gradient_of = None
        self.keeps_grad = False

    def maker(self) -> tuple[Any, int]:
        return self.op, self.index


def mark(x: Any) -> Any:
    """What a picture shows for an input that has no place in the graph: a number as it is, an array by its shape."""
    if isinstance(x, Tensor):
        return (x.constant or x.as_constant()) if x.place is None else None
    return Constant(x.shape, x.dtype) if hasattr(x, "dtype") else x


def spent(op: Op) -> RuntimeError:
    return RuntimeError(
        f"{type(op).__name__}: backward has gone through this graph already and what it kept is freed; run the "
        "forward pass again, or call the first backward with retain_graph=True"
    )


def applied_twice(op: Op) -> RuntimeError:
    name = type(op).__name__
    return RuntimeError(f"this {name} was applied before and is a node of that graph: make a new one, {name}(...)(...)")


def explain(what: str, names: Sequence[str], arrays: list[Any], error: Exception) -> Exception:
    """The same error, naming the op and its inputs."""
    if not isinstance(error, ValueError | TypeError | IndexError | AttributeError):
        return error
    names = names or [str(k) for k in range(len(arrays))]
    backends = backends_among(arrays)
    if len(backends) > 1:
        where = ", ".join(
            f"{name} {a.shape} on {backend_of(a).device_of(a)}"
            for name, a in zip(names, arrays, strict=False)
            if hasattr(a, "shape")
        )
        return ValueError(f"{what}: the inputs are on different devices: {where}; move one with .to(device)")
    shapes = ", ".join(
        f"{name} {a.shape} {a.dtype}" if hasattr(a, "dtype") else f"{name} = {a!r}"
        for name, a in zip(names, arrays, strict=False)
    )
    return same_kind(error, f"{what} of {shapes}: {error}")


def same_kind(error: Exception, text: str) -> Exception:
    """An error of the same kind with another text: NumPy's own kinds are not made from a text alone."""
    return next(kind for kind in (ValueError, TypeError, IndexError, AttributeError) if isinstance(error, kind))(text)
