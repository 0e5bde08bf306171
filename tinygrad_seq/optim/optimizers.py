"""Optimizers: SGD, Adam, AdamW, RMSprop. Parameters stay where they are, and are changed in place.

What an optimizer remembers lies in flat arrays, all parameters of a group one after another.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import Any

import numpy as np

from ..backend import backend_of
from ..core import Leaf, Tensor
from ..core.tensor import mark_written
from ..core.tracing import phase


class Optimizer:
    """What all optimizers share: groups of parameters, flat buffers, and their state as arrays.

    Args:
        params: tensors with gradients, or a list of groups, dicts with "params" and options of their own.
        lr: the learning rate; every option may differ between groups.
    Raises:
        ValueError: for no parameters, one that is given twice, an option that is unknown or below 0.
        TypeError: for anything but leaves that require a gradient.
    """

    buffers: tuple[str, ...] = ()  # flat arrays that last from step to step

    def __init__(self, params: Iterable[Any], **options: float) -> None:
        if isinstance(params, Tensor):  # whose rows would be taken for parameters
            raise TypeError(f"{type(self).__name__}: expected a list of tensors, got one: pass [tensor]")
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: expected parameters, got none: pass model.parameters()")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[dict[str, Any]] = []
        self._flat = []
        for k, group in enumerate(groups):
            unknown = set(group) - {"params", *options}
            if unknown:
                raise ValueError(f"{type(self).__name__} has no option {sorted(unknown)}; it has {sorted(options)}")
            for name, value in (options | group).items():
                if name != "params" and not (np.isfinite(value) and value >= 0):
                    raise ValueError(f"{type(self).__name__}: {name} is a number of at least 0, got {value}")
            members = list(group["params"])
            if not members:
                raise ValueError(f"{type(self).__name__}: group {k} has no parameters: leave it out")
            for p in members:
                if not isinstance(p, Tensor) or not p.requires_grad:
                    raise TypeError(f"{type(self).__name__}: expected tensors with requires_grad=True, got {p!r}")
                if not isinstance(p.place, Leaf):
                    raise TypeError(f"{type(self).__name__}: expected leaves, got what an op made of one: {p!r}")
            self.param_groups.append(options | group | {"params": members})
            self._flat.append(_Flat(members, self.buffers))
        everyone = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in everyone}) < len(everyone):
            raise ValueError(f"{type(self).__name__}: a parameter is given twice")

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts from none."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def set_lr(self, lr: float) -> None:
        """Give every group this learning rate, as a schedule asks at each step."""
        for group in self.param_groups:
            group["lr"] = lr

    @phase("optimizer")
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group, flat in zip(self.param_groups, self._flat, strict=True):
            for ps, gs, buffers, step in flat.runs():
                self.update(group, flat.backend, ps, gs, buffers, step)

    def update(
        self, group: dict[str, Any], backend: Any, ps: list[Any], gs: list[Any], buffers: list[Any], step: int
    ) -> None:
        """Change parameters in place, at their own step number (1, 2, …).

        Args:
            ps: parameters, flat arrays, or all joined to one; gs: their gradients, which are not ours.
            buffers: of all of them, one after another.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """{name: NumPy array} of every buffer, step count and option, copied: what a checkpoint holds."""
        state: dict[str, Any] = {}
        for k, (group, flat) in enumerate(zip(self.param_groups, self._flat, strict=True)):
            state |= {f"{k}.{name}": np.asarray(value) for name, value in group.items() if name != "params"}
            state[f"{k}.steps"] = np.array(flat.steps)
            if flat.arrays:
                state |= {f"{k}.{name}": np.array(Tensor(flat.arrays[name]).numpy()) for name in self.buffers}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; the parameters must be the same, in the same order.

        Raises:
            ValueError: listing every name that is missing, unexpected or of another shape; nothing is changed then.
        """
        expected: dict[str, tuple[int, ...]] = {}
        for k, (group, flat) in enumerate(zip(self.param_groups, self._flat, strict=True)):
            expected |= {f"{k}.{name}": () for name in group if name != "params"}
            expected[f"{k}.steps"] = (len(flat.params),)
            buffers = {f"{k}.{name}": (sum(p.size for p in flat.params),) for name in self.buffers}
            if np.any(state.get(f"{k}.steps", 0)) or any(name in state for name in buffers):  # there are none at first
                expected |= buffers
        wrong = [f"missing: {name} {shape}" for name, shape in expected.items() if name not in state]
        wrong += [
            f"wrong shape: {name}: expected {shape}, got {np.shape(state[name])}"
            for name, shape in expected.items()
            if name in state and np.shape(state[name]) != shape
        ]
        wrong += [f"unexpected: {name} {np.shape(array)}" for name, array in state.items() if name not in expected]
        if wrong:
            raise ValueError(f"load_state_dict of {type(self).__name__}:\n  " + "\n  ".join(wrong))
        for k, (group, flat) in enumerate(zip(self.param_groups, self._flat, strict=True)):
            group.update({name: state[f"{k}.{name}"].item() for name in group if f"{k}.{name}" in state})
            flat.steps = [int(n) for n in state[f"{k}.steps"]]
            flat.allocate()
            for name in self.buffers:
                given = f"{k}.{name}" in state
                flat.arrays[name][...] = flat.backend.from_numpy(state[f"{k}.{name}"]) if given else 0


class _Flat:
    """The flat arrays of one group: what its optimizer remembers of all parameters."""

    def __init__(self, params: Sequence[Tensor], buffers: tuple[str, ...]) -> None:
        self.params, self.names = list(params), buffers
        self.steps = [0] * len(self.params)  # of each parameter: one without gradient is passed over
        self.arrays: dict[str, Any] = {}
        self.backend: Any = None

    def allocate(self) -> None:
        """Make the arrays, or move them to where the parameters went."""
        if len({(type(p.data), p.data.dtype) for p in self.params}) > 1:
            kinds = {(p.device, p.dtype) for p in self.params}
            raise ValueError(f"the parameters of one group have one device and dtype, got {sorted(map(str, kinds))}")
        first = self.params[0].data
        self.backend, size = backend_of(first), sum(p.size for p in self.params)
        old, here = self.arrays, self.backend
        if old and all(here is backend_of(array) and array.dtype == first.dtype for array in old.values()):
            return
        self.arrays = {name: here.xp.zeros(size, first.dtype) for name in self.names}
        for name in self.names if old else ():
            self.arrays[name][...] = here.from_numpy(backend_of(old[name]).to_numpy(old[name]))

    def runs(self) -> Iterator[tuple[list[Any], list[Any], list[Any], int]]:
        """What `update` changes, and the step: for each run of parameters that have a gradient and are at one step."""
        self.allocate()
        end = 0
        runs = groupby(range(len(self.params)), key=lambda k: (self.params[k].grad is not None, self.steps[k]))
        for (has_grad, step), indices in [(key, list(run)) for key, run in runs]:
            members = [self.params[k] for k in indices]
            start, end = end, end + sum(p.size for p in members)
            if has_grad:
                for k in indices:
                    self.steps[k] = step + 1
                yield from self._run(members, slice(start, end), step + 1)

    def _run(
        self, members: list[Tensor], place: slice, step: int
    ) -> Iterator[tuple[list[Any], list[Any], list[Any], int]]:
        ps = [p.data.reshape(-1) for p in members]
        gs = [p.grad.data.reshape(-1).astype(p.dtype, copy=False) for p in members]  # type: ignore[union-attr]
        if self.backend.joins:
            ps, gs = [self.backend.xp.concatenate(ps)], [self.backend.xp.concatenate(gs)]
        yield ps, gs, [self.arrays[name][place] for name in self.names], step
        if self.backend.joins:
            ps = parts_of(ps[0], [p.size for p in members])
        for p, flat in zip(members, ps, strict=True):
            if self.backend.joins or not p.data.flags.c_contiguous:  # it is a copy
                p.data[...] = flat.reshape(p.shape)
        mark_written(*members)


def parts_of(array: Any, sizes: Iterable[int]) -> list[Any]:
    """Views of so many numbers each, one after another."""
    ends = list(accumulate(sizes))
    return [array[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def by_parameter(ps: list[Any], gs: list[Any], buffers: list[Any]) -> Iterator[tuple[Any, ...]]:
    """p, g and its parts of the buffers, of each parameter."""
    sizes = [p.size for p in ps]
    return zip(ps, gs, *(parts_of(array, sizes) for array in buffers), strict=True)


class SGD(Optimizer):
    """Stochastic gradient descent: p ← p - lr · v, with v ← momentum · v + g (v = g on the first step).

    Args:
        momentum: how much of the last direction stays, 0 ≤ momentum < 1.
        nesterov: look ahead along the new direction: p ← p - lr · (g + momentum · v).
        weight_decay: adds weight_decay · p to the gradient.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([1.0, 2.0], requires_grad=True)
    >>> opt = ts.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.data.round(2).tolist()
    [0.800000011920929, 1.600000023841858]
    """

    buffers = ("velocity",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov looks ahead along the momentum: give a momentum above 0")
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.nesterov = nesterov

    def update(
        self, group: dict[str, Any], backend: Any, ps: list[Any], gs: list[Any], buffers: list[Any], step: int
    ) -> None:
        lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        for p, g, v in by_parameter(ps, gs, buffers):
            if decay:
                g = g + decay * p
            if momentum:
                v *= momentum
                v += g
                g = g + momentum * v if self.nesterov else v
            p -= g * lr


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;
    p ← p - lr · m̂ / (√v̂ + ε), with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ).

    Args:
        betas: β₁ and β₂; eps: ε; weight_decay: adds weight_decay · p to the gradient.

    >>> import tinygrad_seq as ts
    >>> w = ts.tensor([1.0, -2.0], requires_grad=True)
    >>> opt = ts.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> opt.step()
    >>> w.numpy().round(3).tolist()
    [0.5, -1.5]
    """

    buffers = ("m", "v")
    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas are at least 0 and below 1, got {betas}")
        super().__init__(params, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)

    def update(
        self, group: dict[str, Any], backend: Any, ps: list[Any], gs: list[Any], buffers: list[Any], step: int
    ) -> None:
        backend.adam(
            ps,
            gs,
            *buffers,
            group["lr"],
            group["beta1"],
            group["beta2"],
            group["eps"],
            0.0 if self.decoupled else group["weight_decay"],
            group["weight_decay"] if self.decoupled else 0.0,
            step,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p ← p - lr · (m̂ / (√v̂ + ε) + weight_decay · p).

    The decay is no part of the gradient, so it is not divided by √v̂.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """RMSprop (Hinton, 2012): v ← α v + (1 - α) g²;  p ← p - lr · g / (√v + ε).

    Args:
        alpha: α; eps: ε; momentum: u ← momentum · u + g / (√v + ε) is then what is taken away, times lr.
    """

    buffers = ("v", "u")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay)

    def update(
        self, group: dict[str, Any], backend: Any, ps: list[Any], gs: list[Any], buffers: list[Any], step: int
    ) -> None:
        lr, alpha, momentum, decay = (group[name] for name in ("lr", "alpha", "momentum", "weight_decay"))
        for p, g, v, u in by_parameter(ps, gs, buffers):
            if decay:
                g = g + decay * p
            v *= alpha
            v += (1 - alpha) * g * g
            direction = g / (backend.xp.sqrt(v) + group["eps"])
            if momentum:
                u *= momentum
                u += direction
                direction = u
            p -= direction * lr
