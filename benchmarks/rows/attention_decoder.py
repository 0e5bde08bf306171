"""A GRU that looks back at the source by an MLP score before each symbol: 32 pairs of 20 symbols, teacher forcing."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, Given, JaxTraining, OurTraining, Product, TorchTraining, linear, recurrence


@dataclass(frozen=True)
class Sizes:
    V: int = 64  # of the source and of the target
    D: int = 64
    H: int = 128  # of the decoder, and of both directions of the encoder together
    B: int = 32
    S: int = 20
    T: int = 20


TINY = Sizes(V=11, D=4, H=6, B=3, S=5, T=4)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    target = rng.integers(1, s.V, (s.B, s.T + 1))  # 0 is padding, of which there is none
    return {"source": rng.integers(1, s.V, (s.B, s.S)), "x": target[:, :-1].copy(), "y": target[:, 1:].copy()}


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import AttentionDecoder, AttentionDecoderConfig

    model = AttentionDecoder(AttentionDecoderConfig(s.V, s.V, s.D, s.H))  # score "mlp", order "bahdanau", cell "gru"
    source, x, y = (ts.tensor(given.arrays[name]) for name in ("source", "x", "y"))
    return OurTraining(model, lambda: ts.ops.cross_entropy(model(source, x), y))


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch
    from torch import nn

    class Score(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_1, self.W_2 = nn.Parameter(torch.empty(s.H, s.H)), nn.Parameter(torch.empty(s.H, s.H))
            self.v = nn.Parameter(torch.empty(s.H))

        def forward(self, state: Any, keys: Any) -> Any:
            return torch.tanh((state @ self.W_1.T)[:, None] + keys) @ self.v

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = Score()

        def forward(self, state: Any, h: Any, keys: Any) -> Any:
            alpha = torch.softmax(self.score(state, keys), -1)
            return torch.bmm(alpha[:, None], h)[:, 0]

    class AttentionDecoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source_embedding = nn.Embedding(s.V, s.D)
            self.encoder = nn.GRU(s.D, s.H // 2, batch_first=True, bidirectional=True)
            self.bridge = nn.Linear(s.H, s.H)
            self.target_embedding = nn.Embedding(s.V, s.D)
            self.attention = Attention()
            self.cell = nn.GRUCell(s.D + s.H, s.H)
            self.output = nn.Linear(s.H, s.V)

        def forward(self, source: Any, target: Any) -> Any:
            h, ends = self.encoder(self.source_embedding(source))
            keys = h @ self.attention.score.W_2.T
            state = torch.tanh(self.bridge(torch.cat([ends[0], ends[1]], -1)))
            states = []
            for y in self.target_embedding(target).unbind(1):
                context = self.attention(state, h, keys)
                state = self.cell(torch.cat([y, context], -1), state)
                states.append(state)
            return self.output(torch.stack(states, 1))

    model = AttentionDecoder()
    source, x, y = (torch.from_numpy(given.arrays[name]) for name in ("source", "x", "y"))
    return TorchTraining(
        model, lambda: nn.functional.cross_entropy(model(source, x).reshape(-1, s.V), y.reshape(-1)), given.weights
    )


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    import jax
    import jax.numpy as jnp
    from optax import softmax_cross_entropy_with_integer_labels

    from .cells_in_jax import layer, one_step
    from .layers_in_jax import linear

    def loss(p: Any, batch: Any) -> Any:
        x = p["source_embedding.weight"][batch["source"]].swapaxes(0, 1)
        forward, (h_S,) = layer("gru", p, "encoder.{}_l0", x)
        backward, (h_1,) = layer("gru", p, "encoder.{}_l0_reverse", x, reverse=True)
        h = jnp.concatenate([forward, backward], -1).swapaxes(0, 1)  # (B, S, H)
        keys = h @ p["attention.score.W_2"].T

        def step(state: Any, y: Any) -> Any:
            score = jnp.tanh((state @ p["attention.score.W_1"].T)[:, None] + keys) @ p["attention.score.v"]
            context = jnp.einsum("bs,bsh->bh", jax.nn.softmax(score, -1), h)
            a = jnp.concatenate([y, context], -1) @ p["cell.weight_ih"].T + p["cell.bias_ih"]
            (state,) = one_step("gru", a, (state,), p["cell.weight_hh"], p["cell.bias_hh"])
            return state, state

        s_0 = jnp.tanh(linear(p, "bridge", jnp.concatenate([h_S, h_1], -1)))
        _, states = jax.lax.scan(step, s_0, p["target_embedding.weight"][batch["x"]].swapaxes(0, 1))
        logits = linear(p, "output", states.swapaxes(0, 1))
        return softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    B, S, T, D, H = s.B, s.S, s.T, s.D, s.H
    found = 2 * (linear(B * S, D, 3 * H // 2) + recurrence(B, S, H // 2, 3))
    found += linear(B, H, H) + linear(B * S, H, H)  # s_0, and the keys
    found += recurrence(B, T, H, 1)  # W_1 s
    found += [Product(1, S, H, B, T), Product(1, H, S, B, T), Product(S, T, H, B)]  # contexts
    found += [Product(B, D + H, 3 * H, times=T), Product(B, 3 * H, D + H, times=T), Product(D + H, B * T, 3 * H)]
    return found + recurrence(B, T, H, 3) + linear(B * T, H, s.V)
