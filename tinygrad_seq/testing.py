"""Checks for people who write operations: are the gradients right, to any order, and is the kernel its definition?"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .backend import backend_of
from .core import FusedOp, Tensor, definitions, grad, no_grad, tensor
from .core.op import Slot

__all__ = ["check_fused", "check_grads"]

Arrays = list[np.ndarray]


def check_grads(
    fn: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    *,
    tolerance: float = 1e-6,
    eps: float = 1e-5,
) -> None:
    """Assert that the gradients of `fn` are right, and the gradients of its gradients, up to `order`.

    With fixed random weights w and directions v, and g₀ = w · fn(x), three gradients are compared for each order k:

        plain           ∇gₖ₋₁(x)                                as `t.backward()` computes it
        create_graph    ∇gₖ₋₁(x)                                as it is computed to be differentiated again
        numeric         (g₀(x + ε e) - g₀(x - ε e)) / 2ε        for each element e of each input; k = 1
                        (∇gₖ₋₂(x + ε v) - ∇gₖ₋₂(x - ε v)) / 2ε  where gₖ₋₁ = v · ∇gₖ₋₂; k > 1

    Args:
        fn: takes tensors; returns a tensor, or a tuple of tensors (also nested), of any shape. It computes the same at
            each call: where it draws random numbers, it calls `tinygrad_seq.seed` first. A module that it uses is in
            float64: `module.to("float64")`.
        inputs: one tensor, array or number, or a list of them. Floating-point ones are copied in float64 and varied;
            integers, booleans and None are passed on as constants.
        order: how many times to differentiate.
        tolerance: |analytic - numeric| ≤ tolerance · (1 + |numeric|) at the first order; ten times as much at each
            further one, since the numeric gradient is less exact there.
        eps: ε, the step of the numeric gradient.
    Raises:
        AssertionError: naming the order, the input, the worst element, both values and the likely mistake.
        ValueError: where `fn` returns different values in two calls, or no tensor of floating-point numbers.

    >>> import tinygrad_seq as ts
    >>> check_grads(lambda x, y: x * ts.ops.tanh(y), [ts.tensor([1.0, 2.0]), ts.tensor([0.5, 0.0])])

    An operation whose derivative lacks a factor:

    >>> from tinygrad_seq.core import Op
    >>> class Square(Op):
    ...     def forward(self, be, x):
    ...         return x * x
    ...     def backward(self, g, x):
    ...         return g * x
    >>> check_grads(lambda x: Square()(x), [ts.tensor([3.0])])
    Traceback (most recent call last):
    ...
    AssertionError: check_grads, order 1: the gradient of input 0 (x), shape (1,), is wrong in 1 of 1 elements
      worst at [0]: analytic 0.377191, numeric 0.754381
      likely: a factor of 2: the gradient is 0.5 times what it should be
    """
    _Check("check_grads", fn, inputs, tolerance, eps).grads(order)


def check_fused(
    fn: Callable[..., Any] | FusedOp,
    inputs: Any,
    order: int = 2,
    *,
    exact: float = 1e-10,
    tolerance: float = 1e-6,
    eps: float = 1e-5,
) -> None:
    """Assert that a fused operation computes what its definition says, and that its gradients are right.

    The kernel and the definition are compared in float64, |kernel - definition| ≤ exact · (1 + |definition|):

    - the values, with and without a graph;
    - the gradients of all outputs together and of each output alone;
    - with each input in turn constant, and with each in turn the only one that is not;
    - with the same tensor in two places, for each two inputs of one shape;
    - once more over a retained graph; and the kernel has written neither into its inputs nor into the gradient.

    Then `check_grads` to the given order, also with the same tensor in two places.

    Args:
        fn: a function that uses fused operations, such as `tinygrad_seq.ops.softmax`, or one FusedOp.
        inputs: as for `check_grads`. Integers and None are passed on as they are.
        order, tolerance, eps: as for `check_grads`.
        exact: how far the kernel may be from its definition.
    Raises:
        AssertionError: saying in which of these ways they differ, at which element, and both values.
        ValueError: where `fn` uses no fused operation.

    >>> import tinygrad_seq as ts
    >>> check_fused(ts.ops.softmax, [ts.tensor([[1.0, 2.0, 0.5]])])
    """
    if isinstance(fn, FusedOp):  # an applied op is a node: each call needs one of its own
        kind, static = type(fn), fn.static
        fn = lambda *xs: kind(**static)(*xs)  # noqa: E731
    check = _Check("check_fused", fn, inputs, tolerance, eps)
    check.fused(exact)
    check.grads(order)
    floats = check.varied
    for i, j in itertools.combinations(floats, 2):
        if check.start[i].shape == check.start[j].shape:
            twice = check.with_the_same(i, j)
            twice.fused(exact)
            twice.grads(order)


class _Check:
    """One function, where it is looked at, and the weights of its outputs."""

    def __init__(self, what: str, fn: Callable[..., Any], inputs: Any, tolerance: float, eps: float) -> None:
        if isinstance(inputs, Tensor) or hasattr(inputs, "dtype") or not isinstance(inputs, Sequence):
            inputs = [inputs]
        self.what, self.fn, self.tolerance, self.eps = what, fn, tolerance, eps
        self.names = _names(fn, inputs)
        self.inputs = [x if x is None else _as_float64(x) for x in inputs]
        self.varied = [k for k, x in enumerate(self.inputs) if x is not None and x.dtype == np.float64]
        self.start: list[Any] = [None if x is None else x.numpy() for x in self.inputs]
        self.rng = np.random.default_rng(0)
        self.values = self.run(self.start)
        if not self.values:
            raise ValueError(f"{what}: the function returned no tensor of floating-point numbers")
        for again, value in zip(self.run(self.start), self.values, strict=True):
            if not np.array_equal(again, value, equal_nan=True):
                raise ValueError(
                    f"{what}: the function returns different values in two calls: call tinygrad_seq.seed at its start"
                )
        self.weights = [self.rng.standard_normal(y.shape) for y in self.values]

    def with_the_same(self, i: int, j: int) -> "_Check":
        """This check of the function of one input fewer, which stands at both places i and j."""

        def fn(*xs: Any) -> Any:
            return self.fn(*xs[:j], xs[i], *xs[j:])

        check = _Check(self.what, fn, self.inputs[:j] + self.inputs[j + 1 :], self.tolerance, self.eps)
        check.names = self.names[:j] + self.names[j + 1 :]
        check.names[i] += f", also given as {self.names[j]}"
        return check

    # -- running the function

    def tensors(self, arrays: Sequence[Any], varied: Sequence[int]) -> list[Any]:
        """Inputs made of host arrays, on the device they came from; the varied ones require a gradient."""
        made: list[Any] = []
        for k, (x, a) in enumerate(zip(self.inputs, arrays, strict=True)):
            if x is None:
                made.append(None)
            else:
                made.append(tensor(backend_of(x.data).from_numpy(np.array(a)), requires_grad=k in varied))
        return made

    def run(self, arrays: Sequence[Any]) -> Arrays:
        """The values of the function, without a graph."""
        with no_grad():
            return [y.numpy() for y in _floats(self.fn(*self.tensors(arrays, ())))]

    def gradient(
        self, arrays: Sequence[Any], order: int = 1, create_graph: bool = False, directions: Sequence[Arrays] = ()
    ) -> Arrays:
        """∇g_{order-1} of the varied inputs, the last walk with or without a graph of its own."""
        inputs = self.tensors(arrays, self.varied)
        xs = [inputs[k] for k in self.varied]
        ys: Sequence[Tensor] = _floats(self.fn(*inputs))
        weights = self.weights
        for k in range(1, order + 1):
            ys = _grad(ys, xs, weights, create_graph or k < order)
            weights = directions[k - 1] if k < order else []
        return [y.numpy() for y in ys]

    # -- the gradients

    def grads(self, order: int) -> None:
        directions: list[Any] = [
            [self.rng.standard_normal(self.start[k].shape) for k in self.varied] for _ in range(order)
        ]
        below: Callable[[Sequence[Any]], Arrays] = self.run
        for k in range(1, order + 1):
            plain = self.gradient(self.start, k, False, directions)
            graph = self.gradient(self.start, k, True, directions)
            numeric = self.by_elements() if k == 1 else self.along(directions[k - 2], below)
            for i, a, n in zip(self.varied, plain, numeric, strict=True):
                self.compare(k, i, a, n, self.tolerance * 10 ** (k - 1))
            for i, a, b in zip(self.varied, plain, graph, strict=True):
                wrong = _far(b, a, 1e-9)
                if wrong.any():
                    raise AssertionError(
                        f"{self.what}, order {k}: the gradient of {self.called(i)} is another with create_graph=True, "
                        f"in {wrong.sum()} of {wrong.size} elements{_where(wrong)}\n"
                        f"  {_worst(b, a, 'with it', 'without')}\n"
                        "  likely: a kernel whose backward is not the derivative of its definition, or an array hidden "
                        "on self, or a branch on the kind of g"
                    )

            def below(arrays: Sequence[Any], k: int = k) -> Arrays:
                return self.gradient(arrays, k, False, directions)

    def by_elements(self) -> Arrays:
        """The numeric gradient of w · fn: one element of one input at a time."""
        numeric = []
        for k in self.varied:
            g = np.zeros(self.start[k].shape)
            for at, differences in self.differences(k):
                g[at] = sum((w * d).sum() for w, d in zip(self.weights, differences, strict=True))
            numeric.append(g)
        return numeric

    def differences(self, k: int) -> Iterator[tuple[tuple[int, ...], Arrays]]:
        """For each element of input k, the derivative of each output by it."""
        for at in np.ndindex(self.start[k].shape):
            moved = []
            for step in (self.eps, -self.eps):
                arrays = list(self.start)
                arrays[k] = arrays[k].copy()
                arrays[k][at] += step
                moved.append(self.run(arrays))
            yield at, [(up - down) / (2 * self.eps) for up, down in zip(*moved, strict=True)]

    def along(self, direction: Arrays, fn: Callable[[Sequence[Any]], Arrays]) -> Arrays:
        """The numeric derivative of `fn` along a direction of all inputs together."""
        moved = []
        for step in (self.eps, -self.eps):
            arrays = list(self.start)
            for k, v in zip(self.varied, direction, strict=True):
                arrays[k] = arrays[k] + step * v
            moved.append(fn(arrays))
        return [(up - down) / (2 * self.eps) for up, down in zip(*moved, strict=True)]

    def called(self, i: int) -> str:
        return f"input {i} ({self.names[i]}), shape {self.start[i].shape},"

    def compare(self, order: int, i: int, analytic: np.ndarray, numeric: np.ndarray, tolerance: float) -> None:
        wrong = _far(analytic, numeric, tolerance)
        if not wrong.any():
            return
        what = "gradient" if order == 1 else "derivative of the gradient" if order == 2 else f"derivative {order}"
        raise AssertionError(
            f"{self.what}, order {order}: the {what} of {self.called(i)} is wrong in {wrong.sum()} of {wrong.size} "
            f"elements{_where(wrong)}\n  {_worst(analytic, numeric, 'analytic', 'numeric')}\n"
            f"  likely: {self.mistake(order, i, analytic, numeric)}"
        )

    def mistake(self, order: int, i: int, a: np.ndarray, n: np.ndarray) -> str:
        """What usually makes this difference."""
        if not np.isfinite(a).all():
            return "a division by zero, a logarithm of zero or an overflow in backward"
        if not a.any() and order == 1:
            return (
                "no gradient flows: the op does not see its input as a tensor (.data, value(), detach), or returns None"
            )
        if not a.any():
            return (
                "no gradient flows through the gradient: backward uses an array hidden on self, value() or .data, "
                "which are constants in the second derivative"
            )
        if not n.any():
            return "there is a gradient where the function does not depend on its input"
        ratio = float((a * n).sum() / (n * n).sum())
        if _near(a, ratio * n):
            if abs(ratio + 1) < 1e-4:
                return "a sign: the gradient is the negative of what it should be"
            for factor in (ratio, 1 / ratio):
                if abs(factor - 2) < 1e-4:
                    return f"a factor of 2: the gradient is {ratio:.3g} times what it should be"
            shapes = {f"input {k} ({self.names[k]})": self.start[k].shape for k in self.varied}
            shapes |= {f"output {k}": y.shape for k, y in enumerate(self.values)}
            for whose, shape in shapes.items():
                for axis, size in enumerate(shape):
                    if size > 1 and (abs(ratio * size - 1) < 1e-4 or abs(ratio / size - 1) < 1e-4):
                        return (
                            "a missing sum over time or batch, or a mean in its place (or the reverse): the gradient "
                            f"is {ratio:.3g} times what it should be, and axis {axis} of {whose} has size {size}"
                        )
            return f"a constant factor: the gradient is {ratio:.6g} times what it should be"
        for p, q in itertools.combinations(range(a.ndim), 2):
            if a.shape[p] == a.shape[q] and _near(a, n.swapaxes(p, q)):
                return f"a transpose: the gradient would be right with axes {p} and {q} exchanged"
        for axis, size in enumerate(a.shape):
            if size > 1 and _near(a, np.flip(n, axis)):
                return f"an order: the gradient would be right with axis {axis} reversed"
        if order == 1 and (found := self.missing_sum(i, a)):
            return found
        if order > 1:
            return (
                "a part of the gradient's own graph is missing: an array hidden on self, value() or .data in backward "
                "is a constant in the second derivative"
            )
        return "none of the usual mistakes (a factor, a sign, a transpose, a missing sum); see the worst element"

    def missing_sum(self, i: int, a: np.ndarray) -> str:
        """Whether the gradient is right for one slice of an output alone."""
        jacobian: list[tuple[tuple[int, ...], Arrays]] = list(self.differences(i))
        for k, y in enumerate(self.values):
            for axis, size in enumerate(y.shape):
                others = tuple(p for p in range(y.ndim) if p != axis)
                parts: Any = np.zeros((size, *a.shape))
                for at, differences in jacobian:
                    parts[(slice(None), *at)] = (self.weights[k] * differences[k]).sum(others)
                for j, part in enumerate(parts):
                    if size > 1 and _near(a, part):
                        return (
                            f"a missing sum over time or batch: the gradient is that of place {j} of axis {axis} of "
                            f"output {k} alone; it is the sum over all {size}"
                        )
        return ""

    # -- the kernel and its definition

    def fused(self, exact: float) -> None:
        inputs = self.tensors(self.start, self.varied)
        outputs = _floats(self.fn(*inputs))
        if not _uses_fused(outputs):
            raise ValueError("check_fused: the function uses no fused operation that has a kernel")
        with definitions():
            defined = self.run(self.start)
        self.unwritten(inputs)
        for how, values in (("", self.values), (", where a graph is recorded,", [y.numpy() for y in outputs])):
            for k, (y, d) in enumerate(zip(values, defined, strict=True)):
                self.same(f"the kernel's output {k}{how}", y, d, exact)
        every = range(len(outputs))
        self.same_gradients("all outputs", self.varied, every, exact)
        for k in every:
            if len(outputs) > 1:
                self.same_gradients(f"output {k} alone", self.varied, [k], exact)
        for k in self.varied:
            if len(self.varied) > 1:
                rest = [j for j in self.varied if j != k]
                self.same_gradients(f"all outputs, where input {k} ({self.names[k]}) is constant", rest, every, exact)
                self.same_gradients(f"all outputs, where only input {k} is not constant", [k], every, exact)

    def same_gradients(self, how: str, varied: Sequence[int], used: Sequence[int], exact: float) -> None:
        """The kernel's gradients, twice over one graph, against the definition's."""
        inputs = self.tensors(self.start, varied)
        xs = [inputs[k] for k in varied]
        outputs = _floats(self.fn(*inputs))
        weights = [Tensor(backend_of(y.data).from_numpy(w.copy())) for y, w in zip(outputs, self.weights, strict=True)]
        ys, ws = [outputs[k] for k in used], [weights[k] for k in used]
        graphed = [(y, w) for y, w in zip(ys, ws, strict=True) if y.requires_grad]
        ys, ws = [y for y, _ in graphed], [w for _, w in graphed]
        first = [g.numpy() for g in grad(ys, xs, ws, retain_graph=True)] if ys else []
        again = [g.numpy() for g in grad(ys, xs, ws)] if ys else []
        self.unwritten(inputs)
        for k in used:
            self.same(
                f"the gradient of output {k}, into which the kernel wrote,", weights[k].numpy(), self.weights[k], 0
            )
        with definitions():
            inner = self.tensors(self.start, varied)
            outs = _floats(self.fn(*inner))
            defined = [
                g.numpy()
                for g in _grad([outs[k] for k in used], [inner[k] for k in varied], [self.weights[k] for k in used])
            ]
        for k, g, d in zip(varied, first, defined, strict=True):
            self.same(f"from {how}: the kernel's gradient of {self.called(k)}", g, d, exact)
        for k, g, d in zip(varied, again, defined, strict=True):
            self.same(f"from {how}: the gradient, over a retained graph, of {self.called(k)}", g, d, exact)

    def unwritten(self, inputs: Sequence[Any]) -> None:
        for k, x in enumerate(inputs):
            if x is not None:
                self.same(f"{self.called(k)} into which the kernel wrote,", x.numpy(), self.start[k], 0)

    def same(self, what: str, a: np.ndarray, expected: np.ndarray, exact: float) -> None:
        if a.shape != expected.shape:
            raise AssertionError(f"{self.what}: {what} has shape {a.shape}, not {expected.shape} as the definition's")
        wrong = _far(a, expected, exact)
        if wrong.any():
            raise AssertionError(
                f"{self.what}: {what} differs in {wrong.sum()} of {wrong.size} elements{_where(wrong)}\n"
                f"  {_worst(a, expected, 'got', 'expected')}"
            )


def _as_float64(x: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else tensor(x)
    return tensor(x, dtype=np.float64 if x.dtype.kind == "f" else None)


def _names(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """What to call each input: by its own name, or by the function's parameter."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (ValueError, TypeError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names += [f"argument {k}" for k in range(len(names), len(inputs))]
    return [x.name if isinstance(x, Tensor) and x.name else name for x, name in zip(inputs, names, strict=False)]


def _floats(outputs: Any) -> list[Tensor]:
    """Every tensor of floating-point numbers in a tensor, or in nested tuples and lists of them."""
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.dtype.kind == "f" else []
    if isinstance(outputs, tuple | list):
        return [y for part in outputs for y in _floats(part)]
    if outputs is None:
        return []
    raise ValueError(f"the function must return tensors, got {type(outputs).__name__}")


def _grad(
    ys: Sequence[Tensor], xs: Sequence[Tensor], weights: Sequence[Any], create_graph: bool = False
) -> list[Tensor]:
    """`grad` weighted by host arrays; zeros where no output has a graph, as a constant's gradient is zero."""
    graphed = [(y, backend_of(y.data).from_numpy(w)) for y, w in zip(ys, weights, strict=True) if y.requires_grad]
    if not graphed or not xs:
        return [Tensor(backend_of(x.data).xp.zeros_like(x.data)) for x in xs]
    return list(grad([y for y, _ in graphed], list(xs), [Tensor(w) for _, w in graphed], create_graph=create_graph))


def _uses_fused(outputs: Sequence[Tensor]) -> bool:
    """Whether a fused op stands in the graph of the outputs."""
    waiting, seen = [y.place for y in outputs], set()
    while waiting:
        place = waiting.pop()
        op = place.op if isinstance(place, Slot) else place
        if isinstance(op, FusedOp):
            return True
        if op is not None and id(op) not in seen:
            seen.add(id(op))
            waiting += getattr(op, "sources", [])
    return False


def _far(a: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """Where a is further from what is expected than it may be; a nan is far from everything but a nan."""
    if a.shape != expected.shape:
        raise AssertionError(f"the gradient has shape {a.shape}, its input {expected.shape}")
    if a.dtype.kind == "b":  # a mask, which NumPy cannot subtract
        return np.asarray(a != expected)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - expected) <= tolerance * (1 + np.abs(expected))
    return np.asarray(~(near | (a == expected) | (np.isnan(a) & np.isnan(expected))))


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    largest = float(np.abs(b).max()) if b.size else 0.0
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=1e-4 * largest))


def _worst(a: np.ndarray, b: np.ndarray, a_is: str, b_is: str) -> str:
    distance = np.nan_to_num(np.abs(a - b), nan=np.inf)
    at = np.unravel_index(int(distance.argmax()), a.shape)
    return f"worst at {[int(k) for k in at]}: {a_is} {a[at]:.6g}, {b_is} {b[at]:.6g}"


def _where(wrong: np.ndarray) -> str:
    """What the wrong elements have in common: an axis along which only some places have one."""
    for axis, size in enumerate(wrong.shape):
        places = np.flatnonzero(wrong.any(tuple(p for p in range(wrong.ndim) if p != axis)))
        if len(places) < size and len(places) <= 3:
            return f", all at {', '.join(map(str, places))} of axis {axis}"
    return ""
