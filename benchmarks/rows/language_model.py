"""The demo's language model with an LSTM, a GRU or a tanh RNN: characters, output and embedding share one table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, FlatAdam, Given, JaxTraining, OurTraining, Product, TorchTraining, linear, recurrence

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class Sizes:
    cell: str = "lstm"
    H: int = 256
    layers: int = 1
    V: int = 96
    B: int = 32
    T: int = 64


TINY = Sizes(H=8, V=11, B=3, T=5)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    ids = rng.integers(0, s.V, (s.B, s.T + 1))
    return {"x": ids[:, :-1].copy(), "y": ids[:, 1:].copy()}


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import LanguageModel, LanguageModelConfig

    model = LanguageModel(LanguageModelConfig(s.V, s.H, s.layers, cell=s.cell))
    x, y = ts.tensor(given.arrays["x"]), ts.tensor(given.arrays["y"])
    return OurTraining(model, lambda: ts.ops.cross_entropy(model(x)[0], y))


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch
    from torch import nn

    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(s.V, s.H)
            layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[s.cell]
            setattr(self, s.cell, layer(s.H, s.H, s.layers, batch_first=True))
            self.output = nn.Linear(s.H, s.V)
            self.output.weight = self.embedding.weight

        def forward(self, tokens: Any) -> Any:
            h, _ = getattr(self, s.cell)(self.embedding(tokens))
            return self.output(h)

    model = LanguageModel()
    x, y = torch.from_numpy(given.arrays["x"]), torch.from_numpy(given.arrays["y"])
    return TorchTraining(
        model, lambda: nn.functional.cross_entropy(model(x).reshape(-1, s.V), y.reshape(-1)), given.weights
    )


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    from optax import softmax_cross_entropy_with_integer_labels

    from .cells_in_jax import layer

    def loss(p: Any, batch: Any) -> Any:
        h = p["embedding.weight"][batch["x"]].swapaxes(0, 1)  # (T, B, H)
        for k in range(s.layers):
            h, _ = layer(s.cell, p, f"{s.cell}.{{}}_l{k}", h)
        logits = h.swapaxes(0, 1) @ p["embedding.weight"].T + p["output.bias"]
        return softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    layer = linear(s.B * s.T, s.H, GATES[s.cell] * s.H) + recurrence(s.B, s.T, s.H, GATES[s.cell])
    return s.layers * layer + linear(s.B * s.T, s.H, s.V)


# -- libraries that the LSTM alone is compared with: one layer, a step of time after another


class in_autograd:
    """HIPS autograd: NumPy functions, traced."""

    def __init__(self, s: Sizes, given: Given) -> None:
        import autograd
        import autograd.numpy as np
        from autograd.scipy.special import logsumexp

        def sigmoid(a: Any) -> Any:
            return 0.5 * (np.tanh(0.5 * a) + 1)

        x, y = given.arrays["x"], given.arrays["y"]
        rows = np.arange(s.B * s.T)

        def loss(p: Any) -> Any:
            projected = p["embedding.weight"][x] @ p["lstm.weight_ih_l0"].T + (
                p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]
            )
            U, H = p["lstm.weight_hh_l0"].T, s.H
            h = c = np.zeros((s.B, H), np.float32)
            states = []
            for t in range(s.T):
                a = projected[:, t] + h @ U
                i, f, g, o = (
                    sigmoid(a[:, :H]),
                    sigmoid(a[:, H : 2 * H]),
                    np.tanh(a[:, 2 * H : 3 * H]),
                    sigmoid(a[:, 3 * H :]),
                )
                c = f * c + i * g
                h = o * np.tanh(c)
                states.append(h)
            logits = np.reshape(np.stack(states, 1), (-1, H)) @ p["embedding.weight"].T + p["output.bias"]
            return np.mean(logsumexp(logits, axis=1) - logits[rows, y.reshape(-1)])

        assert given.weights is not None
        self.params = {name: array.copy() for name, array in given.weights.items()}
        self.gradient = autograd.grad(loss)
        self.adam = FlatAdam(self.params)

    def result(self) -> Arrays:
        return self.gradient(self.params)

    def run(self) -> None:
        self.adam.step(self.gradient(self.params))


class in_dezero:
    """DeZero, with its own optimizer and clipping."""

    def __init__(self, s: Sizes, given: Given) -> None:
        np.int = int  # type: ignore[attr-defined]  # what DeZero's import asks for, and NumPy has no more
        import dezero.functions as F
        from dezero import Layer, Parameter
        from dezero.optimizers import Adam, ClipGrad

        from ..steps import CLIP, LEARNING_RATE

        assert given.weights is not None
        self.model = Layer()
        self.names = {name: name.replace(".", "_") for name in given.weights}
        for name, attribute in self.names.items():
            setattr(self.model, attribute, Parameter(given.weights[name].copy(), name))
        self.optimizer = Adam(LEARNING_RATE).setup(self.model)
        self.optimizer.add_hook(ClipGrad(CLIP))
        x, y = given.arrays["x"], given.arrays["y"]

        def loss() -> Any:
            E, W, U, b_ih, b_hh, b_y = (getattr(self.model, name) for name in self.names.values())
            W, U, b, H = F.transpose(W), F.transpose(U), b_ih + b_hh, s.H
            h = c = np.zeros((s.B, H), np.float32)
            total = 0
            for t in range(s.T):
                a = F.linear(E[x[:, t]], W, b) + F.matmul(h, U)
                i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
                c = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(g)
                h = F.sigmoid(o) * F.tanh(c)
                total = total + F.softmax_cross_entropy(F.linear(h, F.transpose(E), b_y), y[:, t])
            return total / s.T

        self.loss = loss

    def result(self) -> Arrays:
        self.model.cleargrads()
        self.loss().backward()
        return {name: getattr(self.model, attribute).grad.data for name, attribute in self.names.items()}

    def run(self) -> None:
        loss = self.loss()
        self.model.cleargrads()
        loss.backward()
        self.optimizer.update()


class in_tinygrad:
    """tinygrad on the CPU: the whole step captured by its JIT."""

    def __init__(self, s: Sizes, given: Given) -> None:
        from tinygrad import Context, Tensor, TinyJit
        from tinygrad.nn.optim import Adam

        from ..steps import CLIP, LEARNING_RATE

        assert given.weights is not None
        self.params = p = {name: Tensor(array) for name, array in given.weights.items()}
        x, y = (Tensor(given.arrays[name].astype(np.int32)) for name in ("x", "y"))
        optimizer = Adam(list(p.values()), LEARNING_RATE)

        def loss() -> Any:
            projected = p["embedding.weight"][x] @ p["lstm.weight_ih_l0"].T + (
                p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]
            )
            h = c = Tensor.zeros(s.B, s.H)
            states = []
            for t in range(s.T):
                i, f, g, o = (projected[:, t] + h @ p["lstm.weight_hh_l0"].T).chunk(4, dim=1)
                c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).contiguous()  # arrays: no step computes those before it
                h = (o.sigmoid() * c.tanh()).contiguous()
                states.append(h)
            logits = Tensor.stack(*states, dim=1) @ p["embedding.weight"].T + p["output.bias"]
            return logits.reshape(-1, s.V).sparse_categorical_crossentropy(y.reshape(-1))

        def step() -> Any:
            with Context(TRAINING=1):
                optimizer.zero_grad()
                found = loss().backward()
                norm = sum((t.grad.square().sum() for t in p.values()), Tensor(0.0)).sqrt()
                for t in p.values():
                    t.grad = t.grad * (CLIP / (norm + 1e-6)).minimum(1.0)
                return found.realize(*optimizer.schedule_step())

        self.loss, self.optimizer, self.step = loss, optimizer, TinyJit(step)

    def result(self) -> Arrays:
        from tinygrad import Tensor

        self.optimizer.zero_grad()
        self.loss().backward()
        Tensor.realize(*(t.grad for t in self.params.values()))  # at once
        return {name: t.grad.numpy() for name, t in self.params.items()}

    def run(self) -> None:
        self.step().numpy()
