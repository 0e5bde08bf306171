"""Module: parameters with names, found by walking the attributes. Nothing is registered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import backend_for, backend_of, is_device
from ..core import Leaf, Parameter, Tensor, no_grad, scope
from ..core.state import Scope, state
from ..core.tensor import Hook, mark_written
from .hooks import Hooks, add_backward, add_forward


class Module:
    """A part of a model. Subclass it, assign parameters and modules to attributes, and write `forward`.

    Names are attribute paths in the order of assignment; lists, tuples and dicts of parts are walked too. A part
    assigned twice is one part with two names.

    >>> import tinygrad_seq as ts
    >>> class Two(ts.nn.Module):
    ...     def __init__(self):
    ...         self.layers = [ts.nn.Linear(3, 4), ts.nn.Linear(4, 2)]
    ...     def forward(self, x):
    ...         for layer in self.layers:
    ...             x = layer(x)
    ...         return x
    >>> [name for name, _ in Two().named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
    """

    training = True
    _hooks: Hooks | None = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes. Call the module itself, not this."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        outer = state.scope
        state.scope = Scope(outer, self)  # what `scope` does, written out: every call passes here
        try:
            if self._hooks is not None:
                return self._hooks.call(self, inputs, options)
            return self.forward(*inputs, **options)
        finally:
            state.scope = outer

    # -- hooks: functions that are called with what goes in, comes out, and comes back

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Call `hook(module, inputs)` before each call of `forward`; what it returns takes the place of the inputs.

        Args:
            hook: returns None, the new input, or a tuple of all inputs.
            prepend: whether it is called before the hooks that are there.
            with_kwargs: call `hook(module, inputs, options)`, which returns None or both.
        Returns:
            A handle, whose `remove()` takes the hook off again.
        """
        return add_forward(self._own_hooks().before, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Call `hook(module, inputs, output)` after each call of `forward`; what it returns takes the output's place.

        Args:
            hook: returns None or the new output.
            prepend: whether it is called before the hooks that are there.
            with_kwargs: call `hook(module, inputs, options, output)`.
        Returns:
            A handle, whose `remove()` takes the hook off again.

        >>> import tinygrad_seq as ts
        >>> layer = ts.nn.Linear(3, 4)
        >>> model = ts.nn.Sequential(layer, ts.nn.Linear(4, 2))
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: print(output.shape))
        >>> y = model(ts.tensor([[1.0, 2.0, 3.0]]))
        (1, 4)
        >>> handle.remove()
        """
        return add_forward(self._own_hooks().after, hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Hook:
        """Call `hook(module, grad_input, grad_output)` in each backward pass through a call of this module.

        Both are tuples, one gradient for each input that stands at a place of its own, and for each part of the output;
        None for what is no tensor (a state of two parts), requires no gradient, or was not used. The hook is called
        once all gradients of the inputs are there; where no input requires one, with those of the output. What it
        returns takes the place of `grad_input`.

        Args:
            hook: returns None, or the new `grad_input`.
            prepend: whether it is called before the hooks that are there.
        Returns:
            A handle, whose `remove()` takes the hook off again.

        >>> import tinygrad_seq as ts
        >>> layer = ts.nn.Linear(3, 2)
        >>> handle = layer.register_full_backward_hook(lambda module, grad_input, grad_output: print(grad_output))
        >>> layer(ts.tensor([1.0, 2.0, 3.0])).sum().backward()
        (tensor([1., 1.]),)
        """
        return add_backward(self._own_hooks().backward, hook, prepend)

    @property
    def has_hooks(self) -> bool:
        """Whether this module itself has hooks: its `forward` must then be called, not what it computes."""
        return self._hooks is not None and bool(self._hooks.before or self._hooks.after or self._hooks.backward)

    def _own_hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks

    # -- its parts

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """(path, module) of itself ("") and of every module inside, each once."""
        seen = {id(self)}
        yield "", self
        for path, part in _parts(self):
            if isinstance(part, Module) and id(part) not in seen:
                seen.add(id(part))
                yield path, part

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) in the order of assignment; a shared parameter once, by its first path."""
        seen = set()
        for path, part in _parts(self):
            if isinstance(part, Parameter) and id(part) not in seen:
                seen.add(id(part))
                yield path, part

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return [p for _, p in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers training changes; a shared parameter counts once."""
        return sum(p.size for p in self.parameters())

    # -- modes

    def train(self, mode: bool = True) -> "Module":
        """Training mode: dropout is on."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        """Evaluation mode: dropout is off."""
        return self.train(False)

    def to(self, target: Any) -> "Module":
        """Move all parameters to a device ("cpu", "cuda") or turn them into a dtype ("float64"), in place.

        Tensors that are constants (a table of positions, say) follow to a device, and to a dtype if they are floating.
        """
        moves = is_device(target)
        if moves:
            backend_for(target)
        elif np.dtype(target).kind != "f":
            raise TypeError(f"to: parameters are floating-point numbers, got {target!r}")
        for t in {id(part): part for _, part in _parts(self) if isinstance(part, Tensor)}.values():
            if moves or t.dtype.kind == "f":
                t.data = _moved(t.data, target, moves)
                if type(t.place) is Leaf:
                    t.place.dtype = t.data.dtype
                    t.place.grad = None if t.place.grad is None else Tensor(_moved(t.place.grad.data, target, moves))
        return self

    # -- its values

    def state_dict(self) -> dict[str, Any]:
        """{name: NumPy array} of every parameter, copied; a shared parameter under each of its names."""
        return {path: np.array(part.numpy()) for path, part in _parts(self) if isinstance(part, Parameter)}

    def load_state_dict(self, arrays: dict[str, Any]) -> None:
        """Copy values into the parameters, which keep their dtype and device. All are loaded, or none.

        Raises:
            ValueError: listing every name that is missing, unexpected, of another shape, or of a shared parameter
                whose names disagree.
        """
        names: dict[int, list[str]] = {}
        own: dict[int, Parameter] = {}
        for path, part in _parts(self):
            if isinstance(part, Parameter):
                names.setdefault(id(part), []).append(path)
                own[id(part)] = part
        given = {name: array.numpy() if hasattr(array, "numpy") else array for name, array in arrays.items()}
        wrong, chosen = [], {}
        for key, paths in names.items():
            here = [path for path in paths if path in given]
            if not here:
                wrong.append(f"missing: {' = '.join(paths)} {own[key].shape}")
                continue
            for path in here:
                if np.shape(given[path]) != own[key].shape:
                    wrong.append(f"wrong shape: {path}: expected {own[key].shape}, got {np.shape(given[path])}")
                elif path != here[0] and not np.array_equal(given[path], given[here[0]]):
                    wrong.append(f"{here[0]} and {path} are one parameter here, but their values differ")
            chosen[key] = here[0]
        known = {path for paths in names.values() for path in paths}
        wrong += [f"unexpected: {name} {np.shape(array)}" for name, array in given.items() if name not in known]
        if wrong:
            raise ValueError(f"load_state_dict of {type(self).__name__}:\n  " + "\n  ".join(wrong))
        for key, path in chosen.items():
            p = own[key]
            p.data[...] = backend_of(p.data).from_numpy(np.asarray(given[path]).astype(p.dtype))
        mark_written(*own.values())

    # -- what it looks like

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        return "\n".join(self._tree("", ()))

    def _tree(self, name: str, above: tuple[int, ...]) -> list[str]:
        if id(self) in above:  # a part that knows its whole
            return [f"{name}{type(self).__name__}(…)"]
        n = self.num_parameters()
        lines = [f"{name}{type(self).__name__}({self.extra_repr()})" + (f"  {n:,} parameters" if n else "")]
        for key, part in _children(self):
            if isinstance(part, Module):
                lines += ["  " + line for line in part._tree(f"{key}: ", (*above, id(self)))]
            else:
                lines.append(f"  {key}: {part.shape}")
        return lines


def is_plain(part: Any, kind: type[Module]) -> bool:
    """Whether a part is of one kind, unchanged and without hooks: it need not be called for what it computes."""
    return type(part) is kind and "forward" not in vars(part) and not part.has_hooks


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode and no graph for the length of a `with` block; afterwards each part is in the mode it was in.

    What happens in it is recorded under the paths of the model's parts, as when the model itself is called.

    >>> import tinygrad_seq as ts
    >>> model = ts.nn.Dropout(0.5)
    >>> with ts.nn.evaluating(model):
    ...     print(model.training, model(ts.tensor([1.0, 2.0])))
    False tensor([1., 2.])
    >>> model.training
    True
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with no_grad(), scope(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _children(module: Module) -> Iterator[tuple[str, Any]]:
    """(key, part) of the parameters and modules directly inside, through lists and dicts."""
    stack: list[tuple[str, Any]] = list(reversed(vars(module).items()))
    while stack:
        key, part = stack.pop()
        if isinstance(part, Module | Parameter):
            yield key, part
        elif isinstance(part, list | tuple):
            stack += [(f"{key}.{k}", item) for k, item in reversed(list(enumerate(part)))]
        elif isinstance(part, dict):
            stack += [(f"{key}.{k}", item) for k, item in reversed(part.items())]


def _parts(whole: Any, prefix: str = "", above: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(path, part) of every tensor and module inside, through lists and dicts, shared ones each time."""
    above = (*above, id(whole))
    if isinstance(whole, list | tuple):
        items: Any = enumerate(whole)
    else:
        items = (whole if isinstance(whole, dict) else vars(whole)).items()
    for name, part in items:
        path = f"{prefix}{name}"
        if isinstance(part, Tensor | Module):
            yield path, part
        if isinstance(part, Module | list | tuple | dict) and id(part) not in above:
            yield from _parts(part, f"{path}.", above)


def _moved(array: Any, target: Any, to_device: bool) -> Any:
    if not to_device:
        return array.astype(target)
    here, there = backend_of(array), backend_for(target)
    return array if here is there else there.from_numpy(here.to_numpy(array))
