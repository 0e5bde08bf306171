"""FusedOp: many primitive operations that run as one kernel and keep their definition."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from ..backend import Backend, Kernel, backend_of
from .engine import grad
from .op import Op, applied_twice, explain, mark, spent
from .state import listening, scope, setting, state
from .tensor import Tensor, next_number


class FusedOp(Op):
    """`definition` says what it computes, in primitive ops; `kernel` names how it runs.

    The definition is used to test the kernel, to differentiate twice, to draw the op in full, and wherever a backend
    has no such kernel. What is not a tensor goes to the constructor, and from there to kernel and definition as
    keywords. Randomness is an input or a keyword too, never drawn inside: a definition computes the same each time.
    """

    makes_new = True
    kernel: ClassVar[str]
    definition: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "definition" in vars(cls):  # what is static stands after the inputs
            cls.names = tuple(inspect.signature(cls.definition).parameters)[1:]

    def __init__(self, **static: Any) -> None:
        self.static = static

    def __call__(self, *inputs: Any) -> Any:
        arrays: list[Any] = []
        sources: list[Any] = []
        wanted, plain = False, True
        for x in inputs:  # as in Op: one loop for all that is asked of an input
            if isinstance(x, Tensor):
                plain = False
                arrays.append(x.data)
                sources.append(x.place)
                wanted = wanted or x.place is not None
            else:
                arrays.append(x)
                sources.append(None)
        wanted = wanted and state.grad
        backend = backend_of(*arrays)
        kernel = self.kernel_of(backend) if state.fused and _one_float_dtype(arrays) else None
        if kernel is None:
            with scope(self):
                return self.definition(*inputs, **self.static)
        tracer = state.tracer if listening and not plain else None
        if tracer is not None:
            tracer.before(self)
        ys = tape = None
        try:
            if not wanted and kernel.infer is not None:
                ys = kernel.infer(backend, *arrays, **self.static)
            if ys is None:
                ys, tape = kernel.forward(backend, *arrays, **self.static)
        except Exception as error:
            raise explain(type(self).__name__, self.names, arrays, error) from error
        if state.recorder is not None:  # the kernel knows no symbols: the definition tells them, beside it
            with scope(None), setting(grad=False, fused=False):  # not `self`: a record keeps its scopes, but no graph
                self.definition(*(None if a is None else Tensor(a) for a in arrays), **self.static)
        if not wanted:
            if plain:
                return ys
            if tracer is not None:
                tracer.after(self, inputs, ys)
            return tuple(map(Tensor, ys)) if type(ys) is tuple else Tensor(ys)
        if self.number is not None:
            raise applied_twice(self)
        self.number, self.sources, self.scope = next_number(), sources, state.scope
        self.constants = [mark(x) for x in inputs]
        self.kept = [arrays, tape]
        if tracer is not None:
            tracer.after(self, inputs, ys)
        if type(ys) is tuple:
            return self._outputs(ys)
        self.shape, self.dtype = ys.shape, ys.dtype
        return Tensor(ys, self)

    def kernel_of(self, backend: Backend) -> Kernel | None:
        """How it runs there; None where only the definition does."""
        return backend.kernels.get(self.kernel)

    @property
    def keeps(self) -> tuple[int, ...]:  # type: ignore[override]  # all of them, for the definition
        return tuple(range(len(self.sources)))

    def pull_back(self, g: Any, create_graph: bool) -> tuple[Any, ...]:
        if self.kept is None:
            raise spent(self)
        inputs, tape = self.kept
        needs = [place is not None for place in self.sources]
        if not create_graph:
            backend = backend_of(*inputs)
            kernel = self.kernel_of(backend)
            assert kernel is not None
            self.kept[1] = None  # given away: the kernel may write over it
            if tape is None:  # a second walk over a retained graph
                tape = kernel.forward(backend, *inputs, **self.static)[1]
            gs = kernel.backward(backend, tape, inputs, g, needs, **self.static)
            return gs if type(gs) is tuple else (gs,)
        # Its own uses of its inputs, told from all other uses, so that the inner walk ends here.
        here = [
            same(Tensor(x, place)) if place is not None else x for x, place in zip(inputs, self.sources, strict=True)
        ]
        with scope(self):
            outputs = self.definition(*here, **self.static)
        if isinstance(outputs, tuple):
            used = [
                (out, g_k) for out, g_k in zip(outputs, g, strict=True) if g_k is not None and out.place is not None
            ]
        else:
            used = [(outputs, g)]
        found = iter(
            grad(
                [out for out, _ in used],
                [x for x, need in zip(here, needs, strict=True) if need],
                [g_k for _, g_k in used],
                create_graph=True,
            )
        )
        return tuple(next(found) if need else None for need in needs)


def _one_float_dtype(arrays: list[Any]) -> bool:
    """Whether a kernel can take these; others go through the definition, where NumPy's promotion holds."""
    dtype = None
    for a in arrays:
        if a is not None:
            if dtype is None:
                dtype = a.dtype
            elif a.dtype != dtype:
                return False
    return dtype is not None and dtype.kind == "f"


class Same(Op):
    """x, as a node of its own: one use of x told apart from all others."""

    views = True

    def forward(self, be: Any, x: Any) -> Any:
        return x

    def backward(self, g: Any) -> Any:
        return g


def same(x: Tensor) -> Tensor:
    return Same()(x)
