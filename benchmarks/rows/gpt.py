"""nanoGPT's configuration for a CPU: four blocks of width 128, four heads, texts of 64 characters, twelve at a time."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..steps import Arrays, Given, JaxTraining, OurTraining, Product, TorchTraining, attention, linear


@dataclass(frozen=True)
class Sizes:
    V: int = 65
    B: int = 12
    T: int = 64
    D: int = 128
    heads: int = 4
    layers: int = 4


TINY = Sizes(V=11, B=2, T=6, D=8, heads=2, layers=2)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    ids = rng.integers(0, s.V, (s.B, s.T + 1))
    return {"x": ids[:, :-1].copy(), "y": ids[:, 1:].copy()}


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import GPT, GPTConfig

    model = GPT(GPTConfig(s.V, s.T, s.layers, s.heads, s.D, dropout=0.0))
    x, y = ts.tensor(given.arrays["x"]), ts.tensor(given.arrays["y"])
    return OurTraining(model, lambda: ts.ops.cross_entropy(model(x), y))


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch

    from .blocks_in_torch import GPT

    model = GPT(s.V, s.T, s.layers, s.heads, s.D)
    x, y = torch.from_numpy(given.arrays["x"]), torch.from_numpy(given.arrays["y"])
    return TorchTraining(
        model, lambda: torch.nn.functional.cross_entropy(model(x).reshape(-1, s.V), y.reshape(-1)), given.weights
    )


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    import jax
    from optax import softmax_cross_entropy_with_integer_labels

    from . import layers_in_jax as nn

    gelu = partial(jax.nn.gelu, approximate=True)

    def loss(p: Any, batch: Any) -> Any:
        x = p["tokens.weight"][batch["x"]] + p["positions.weight"]
        for k in range(s.layers):
            name = f"blocks.layers.{k}"
            x = x + nn.attention(p, f"{name}.self_attn", s.heads, nn.norm(p, f"{name}.norm1", x), causal=True)
            x = x + nn.feed_forward(p, name, nn.norm(p, f"{name}.norm2", x), gelu)
        logits = nn.norm(p, "blocks.norm", x) @ p["tokens.weight"].T
        return softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    rows, D = s.B * s.T, s.D
    block = linear(rows, D, 3 * D) + attention(s.B * s.heads, s.T, s.T, D // s.heads) + linear(rows, D, D)
    return s.layers * (block + linear(rows, D, 4 * D) + linear(rows, 4 * D, D)) + linear(rows, D, s.V)
