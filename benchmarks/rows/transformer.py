"""A small Transformer for pairs: two layers of encoder and of decoder, width 128, 32 pairs of 32 tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, Given, JaxTraining, OurTraining, Product, TorchTraining, attention, linear


@dataclass(frozen=True)
class Sizes:
    V: int = 1000  # of the source and of the target
    D: int = 128
    heads: int = 4
    layers: int = 2
    B: int = 32
    S: int = 32
    T: int = 32


TINY = Sizes(V=13, D=8, heads=2, B=2, S=5, T=4)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    target = rng.integers(1, s.V, (s.B, s.T + 1))  # 0 is padding, of which there is none
    return {"source": rng.integers(1, s.V, (s.B, s.S)), "x": target[:, :-1].copy(), "y": target[:, 1:].copy()}


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import Transformer, TransformerConfig

    config = TransformerConfig(s.V, s.V, s.D, s.heads, s.layers, 4 * s.D, dropout=0.0, max_len=max(s.S, s.T))
    model = Transformer(config)
    source, x, y = (ts.tensor(given.arrays[name]) for name in ("source", "x", "y"))
    return OurTraining(model, lambda: ts.ops.cross_entropy(model(source, x), y))


def waves(T: int, D: int) -> np.ndarray:
    """The positions, (T, D)."""
    angle = np.arange(T)[:, None] / 10000.0 ** (np.arange(0, D, 2) / D)
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(T, D).astype(np.float32)


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source_embedding, self.target_embedding = nn.Embedding(s.V, s.D), nn.Embedding(s.V, s.D)
            self.layers = nn.Transformer(s.D, s.heads, s.layers, s.layers, 4 * s.D, dropout=0.0, batch_first=True)
            self.output = nn.Linear(s.D, s.V)
            self.register_buffer("waves", torch.from_numpy(waves(max(s.S, s.T), s.D)))
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(s.T))

        def forward(self, source: Any, target: Any) -> Any:
            x = s.D**0.5 * self.source_embedding(source) + self.waves[: s.S]
            y = s.D**0.5 * self.target_embedding(target) + self.waves[: s.T]
            return self.output(self.layers(x, y, tgt_mask=self.mask, tgt_is_causal=True))

    model = Transformer()
    source, x, y = (torch.from_numpy(given.arrays[name]) for name in ("source", "x", "y"))
    return TorchTraining(
        model, lambda: nn.functional.cross_entropy(model(source, x).reshape(-1, s.V), y.reshape(-1)), given.weights
    )


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    import jax
    from optax import softmax_cross_entropy_with_integer_labels

    from . import layers_in_jax as nn

    def loss(p: Any, batch: Any) -> Any:
        x = s.D**0.5 * p["source_embedding.weight"][batch["source"]] + waves(s.S, s.D)
        for k in range(s.layers):
            name = f"layers.encoder.layers.{k}"
            x = nn.norm(p, f"{name}.norm1", x + nn.attention(p, f"{name}.self_attn", s.heads, x))
            x = nn.norm(p, f"{name}.norm2", x + nn.feed_forward(p, name, x, jax.nn.relu))
        memory = nn.norm(p, "layers.encoder.norm", x)
        y = s.D**0.5 * p["target_embedding.weight"][batch["x"]] + waves(s.T, s.D)
        for k in range(s.layers):
            name = f"layers.decoder.layers.{k}"
            y = nn.norm(p, f"{name}.norm1", y + nn.attention(p, f"{name}.self_attn", s.heads, y, causal=True))
            y = nn.norm(p, f"{name}.norm2", y + nn.attention(p, f"{name}.multihead_attn", s.heads, y, memory))
            y = nn.norm(p, f"{name}.norm3", y + nn.feed_forward(p, name, y, jax.nn.relu))
        logits = nn.linear(p, "output", nn.norm(p, "layers.decoder.norm", y))
        return softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    D, source, target, heads, width = s.D, s.B * s.S, s.B * s.T, s.B * s.heads, s.D // s.heads
    encoder = linear(source, D, 3 * D) + attention(heads, s.S, s.S, width) + linear(source, D, D)
    encoder += linear(source, D, 4 * D) + linear(source, 4 * D, D)
    decoder = linear(target, D, 3 * D) + attention(heads, s.T, s.T, width) + linear(target, D, D)
    decoder += (
        linear(target, D, D) + linear(source, D, 2 * D) + attention(heads, s.T, s.S, width) + linear(target, D, D)
    )
    decoder += linear(target, D, 4 * D) + linear(target, 4 * D, D)
    return s.layers * (encoder + decoder) + linear(target, D, s.V)
