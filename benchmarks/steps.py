"""What is timed: a step, in each library. Training is forward, loss, backward, clipping to norm 1, Adam.

A step has `run`, which ends when everything is computed, and `result`, the arrays by which contenders are compared
before anything is timed: of training the gradients, by the names of the parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]

LEARNING_RATE, CLIP = 1e-4, 1.0


class Given(NamedTuple):
    """What all contenders of a row begin with."""

    arrays: Arrays  # the batch
    weights: Arrays | None  # None where this contender is the one whose weights the others take


class Step(Protocol):
    def run(self) -> None:
        """Once more."""

    def result(self) -> Arrays:
        """What every contender must come to."""


class Training:
    """A step of ours or of PyTorch, whose names are the same."""

    model: Any
    loss: Callable[[], Any]
    clip: Callable[..., Any]
    optimizer: Any

    def result(self) -> Arrays:
        self.optimizer.zero_grad()
        self.loss().backward()
        return {name: p.grad.numpy() for name, p in self.model.named_parameters()}

    def run(self) -> None:
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.clip(self.model.parameters(), CLIP)
        self.optimizer.step()


class OurTraining(Training):
    """A step as the Trainer takes it, through the public API."""

    def __init__(self, model: Any, loss: Callable[[], Any]) -> None:
        import tinygrad_seq as ts
        from tinygrad_seq.backend.memory import keep_freed_memory

        keep_freed_memory()  # as the Trainer does
        self.model, self.loss = model, loss
        self.clip = ts.optim.clip_grad_norm
        self.optimizer = ts.optim.Adam(model.parameters(), LEARNING_RATE)

    def weights(self) -> Arrays:
        return {name: p.numpy() for name, p in self.model.named_parameters()}


class TorchTraining(Training):
    """The same in PyTorch, with the fused Adam."""

    def __init__(self, model: Any, loss: Callable[[], Any], weights: Arrays | None) -> None:
        import torch

        copy_weights(model, weights)
        self.model, self.loss = model, loss
        self.clip = torch.nn.utils.clip_grad_norm_
        self.optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)

    def compiled(self) -> "TorchTraining":
        import torch

        self.loss = torch.compile(self.loss)
        return self


def copy_weights(model: Any, weights: Arrays | None) -> None:
    """Into a PyTorch model whose parameters have our names."""
    import torch

    assert weights is not None
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.keys():
        raise ValueError(f"parameters that are not on both sides: {sorted(parameters.keys() ^ weights.keys())}")
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(torch.from_numpy(weights[name]))


class JaxTraining:
    """The same in JAX: the whole step is one compiled function. Its parameters are a dict by our names."""

    def __init__(self, loss: Callable[[Any, Any], Any], given: Given) -> None:
        import jax
        import optax

        optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(LEARNING_RATE))

        def step(params: Any, state: Any, batch: Any) -> Any:
            gradients = jax.grad(loss)(params, batch)
            changes, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, changes), state

        self.params = jax.device_put(given.weights)
        self.batch = jax.device_put(given.arrays)
        self.state = optimizer.init(self.params)
        self.gradients = jax.jit(jax.grad(loss))
        self.step = jax.jit(step, donate_argnums=(0, 1))

    def result(self) -> Arrays:
        return {name: np.asarray(g) for name, g in self.gradients(self.params, self.batch).items()}

    def run(self) -> None:
        self.params, self.state = self.step(self.params, self.state, self.batch)
        for array in self.params.values():
            array.block_until_ready()


class FlatAdam:
    """Clipping and Adam in NumPy, for libraries that have none for arrays: in place, a parameter at a time."""

    def __init__(self, params: Arrays) -> None:
        self.params = params
        self.m = {name: np.zeros_like(p) for name, p in params.items()}
        self.v = {name: np.zeros_like(p) for name, p in params.items()}
        self.t = 0

    def step(self, gradients: Arrays) -> None:
        self.t += 1
        norm = np.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        scale = np.float32(min(1.0, CLIP / (norm + 1e-6)))
        rate = np.float32(LEARNING_RATE * (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t))
        for name, p in self.params.items():
            g, m, v = gradients[name] * scale, self.m[name], self.v[name]
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            p -= rate * m / (np.sqrt(v) + np.float32(1e-8))


# -- the limit


class Product(NamedTuple):
    """(batch, m, k) @ (batch, k, n), so many times."""

    m: int
    k: int
    n: int
    batch: int = 1
    times: int = 1


def linear(rows: int, width: int, out: int, *, into_input: bool = True) -> list[Product]:
    """x W for (rows, width) and (width, out): forward, the gradient of W and, where it is wanted, that of x."""
    found = [Product(rows, width, out), Product(width, rows, out)]
    return [*found, Product(rows, out, width)] if into_input else found


def recurrence(B: int, T: int, H: int, gates: int) -> list[Product]:
    """h_{t-1} U of all steps, one after another, forward and back, and the gradient of U at once."""
    return [
        Product(B, H, gates * H, times=T),
        Product(B, gates * H, H, times=T),
        Product(H, B * T, gates * H),
    ]


def attention(heads: int, S: int, T: int, width: int) -> list[Product]:
    """q kᵀ and the weights times v, forward and back, of all heads and sequences; nothing is left out for a mask."""
    inner, outer = Product(S, width, T, heads), Product(S, T, width, heads)
    return [inner, outer, inner, outer, Product(T, S, width, heads), Product(T, S, width, heads)]


class Products:
    """The matrix products of a step and nothing else, into arrays that are there: what no engine on NumPy can beat."""

    def __init__(self, products: list[Product]) -> None:
        rng = np.random.default_rng(0)

        def array(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.float32)

        self.calls = []
        for p in products:
            batch = (p.batch,) if p.batch > 1 else ()
            a, b = array(*batch, p.m, p.k), array(*batch, p.k, p.n)
            self.calls.append((p.times, a, b, np.empty((*batch, p.m, p.n), np.float32)))

    def result(self) -> Arrays:
        return {}

    def run(self) -> None:
        for times, a, b, out in self.calls:
            for _ in range(times):
                np.matmul(a, b, out=out)
