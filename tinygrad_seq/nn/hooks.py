"""Hooks on modules: functions of the user that are called with what goes into a module, comes out, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core import Op, Tensor, value
from ..core.state import state
from ..core.tensor import Hook

if TYPE_CHECKING:
    from .module import Module


class Hooks:
    """The hooks of one module, in the order in which they are called. A module without any has none of these."""

    def __init__(self) -> None:  # no tuples or dicts, in which parts of the module would be looked for
        self.before: list[_Forward] = []
        self.after: list[_Forward] = []
        self.backward: list[Callable[..., Any]] = []

    def call(self, module: Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """`forward`, with all hooks around it."""
        for hook in list(self.before):
            inputs, options = hook.before(module, inputs, options)
        border = _Borders(module, list(self.backward)) if self.backward and state.grad else None
        if border is not None:
            inputs = border.around_inputs(inputs)
        output = module.forward(*inputs, **options)
        for hook in list(self.after):
            output = hook.after(module, inputs, options, output)
        return output if border is None else border.around_output(output)


class _Forward:
    """A hook of the forward pass."""

    def __init__(self, function: Callable[..., Any], with_kwargs: bool) -> None:
        self.function, self.with_kwargs = function, with_kwargs

    def before(self, module: Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not self.with_kwargs:
            new = self.function(module, inputs)
            return inputs if new is None else new if isinstance(new, tuple) else (new,), options
        new = self.function(module, inputs, options)
        if new is None:
            return inputs, options
        if not (isinstance(new, tuple) and len(new) == 2 and isinstance(new[0], tuple) and isinstance(new[1], dict)):
            raise TypeError(
                f"{type(module).__name__}: a forward pre-hook with with_kwargs=True returns None or the new "
                f"(inputs, options), a tuple and a dict, got {type(new).__name__}"
            )
        return new

    def after(self, module: Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        new = self.function(module, inputs, *([options] if self.with_kwargs else []), output)
        return output if new is None else new


def add_forward(hooks: list[_Forward], function: Callable[..., Any], prepend: bool, with_kwargs: bool) -> Hook:
    """Put a hook among others; what is returned takes it off again."""
    return _add(hooks, _Forward(function, with_kwargs), prepend)


def add_backward(hooks: list[Callable[..., Any]], function: Callable[..., Any], prepend: bool) -> Hook:
    """The same for the backward pass."""
    return _add(hooks, function, prepend)


def _add(hooks: list[Any], hook: Any, prepend: bool) -> Hook:
    hooks.insert(0 if prepend else len(hooks), hook)
    return Hook(hooks, hook)


class Hooked(Op):
    """Tensors as they are. On the way back, all their gradients together are shown to somebody, who may change them."""

    moves = True

    def __init__(self, told: Callable[[list[Any]], tuple[Any, ...]]) -> None:
        self.told = told

    def forward(self, be: Any, *xs: Any) -> Any:
        return xs if len(xs) > 1 else xs[0]

    def backward(self, g: Any) -> Any:
        return self.told(g if isinstance(g, list) else [g])


class _Borders:
    """What stands around one call of a module with backward hooks: a Hooked before it, and one after it."""

    def __init__(self, module: Module, hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.inputs: tuple[Any, ...] = ()
        self.arrived: Any = None  # grad_output, on the way to the inputs
        self.has_inputs = False  # that require a gradient

    def around_inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.n_inputs, self.at = len(inputs), _wanting(inputs)
        self.has_inputs = bool(self.at)
        return _through(Hooked(self._at_inputs), inputs, self.at)

    def around_output(self, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        self.n_outputs, self.out_at = len(outputs), _wanting(outputs)
        new = _through(Hooked(self._at_output), outputs, self.out_at)
        if not isinstance(output, tuple):
            return new[0]
        return type(output)(*new) if hasattr(output, "_fields") else new

    def _at_output(self, gs: list[Any]) -> tuple[Any, ...]:
        self.arrived = _spread(gs, self.out_at, self.n_outputs)
        if not self.has_inputs:  # nothing else will come
            self._call((None,) * self.n_inputs)
        return tuple(gs)

    def _at_inputs(self, gs: list[Any]) -> tuple[Any, ...]:
        grads = self._call(_spread(gs, self.at, self.n_inputs))
        return tuple(
            None if grads[k] is None else grads[k] if isinstance(g, Tensor) else value(grads[k])
            for k, g in zip(self.at, gs, strict=True)
        )

    def _call(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            new = hook(self.module, grad_input, self.arrived)
            if new is None:
                continue
            new = new if isinstance(new, tuple) else (new,)
            if len(new) != len(grad_input):
                raise ValueError(
                    f"{type(self.module).__name__}: a backward hook returns None or a gradient for each of the "
                    f"{len(grad_input)} inputs, got {len(new)}"
                )
            for k, (g, old) in enumerate(zip(new, grad_input, strict=True)):
                if g is not None and old is not None and g.shape != old.shape:
                    raise ValueError(
                        f"{type(self.module).__name__}: a backward hook gave input {k} a gradient of shape {g.shape}: "
                        f"expected {old.shape}"
                    )
            grad_input = new
        return grad_input


def _wanting(xs: tuple[Any, ...]) -> list[int]:
    """Which of them are tensors that require a gradient."""
    return [k for k, x in enumerate(xs) if isinstance(x, Tensor) and x.place is not None]


def _through(op: Hooked, xs: tuple[Any, ...], at: list[int]) -> tuple[Any, ...]:
    if not at:
        return xs
    ys = op(*(xs[k] for k in at))
    new = list(xs)
    for k, y in zip(at, ys if isinstance(ys, tuple) else (ys,), strict=True):
        new[k] = y
    return tuple(new)


def _spread(gs: list[Any], at: list[int], n: int) -> tuple[Any, ...]:
    """Gradients as tensors, each at the place of what it belongs to; None for all others."""
    found: list[Any] = [None] * n
    for k, g in zip(at, gs, strict=True):
        found[k] = g if g is None or isinstance(g, Tensor) else Tensor(g)
    return tuple(found)
