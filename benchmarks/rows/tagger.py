"""A tagger: two layers of a bidirectional LSTM over sentences of different lengths, padded to the longest."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, Given, JaxTraining, OurTraining, Product, TorchTraining, linear, recurrence


@dataclass(frozen=True)
class Sizes:
    V: int = 10_000
    tags: int = 17
    D: int = 100
    H: int = 128  # of one direction
    layers: int = 2
    B: int = 32
    T: int = 40  # the longest sentence; the shortest has 5 words


TINY = Sizes(V=20, tags=4, D=5, H=6, B=4, T=7)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    lengths = rng.integers(min(5, s.T), s.T + 1, s.B)
    lengths[0] = s.T
    within = np.arange(s.T) < lengths[:, None]
    words, tags = rng.integers(1, s.V, (s.B, s.T)), rng.integers(0, s.tags, (s.B, s.T))
    return {"x": np.where(within, words, 0), "y": np.where(within, tags, -1), "lengths": lengths}


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import Tagger, TaggerConfig

    model = Tagger(TaggerConfig(s.V, s.tags, s.D, s.H, s.layers))
    x, y = ts.tensor(given.arrays["x"]), ts.tensor(given.arrays["y"])
    return OurTraining(model, lambda: model.loss(x, y, given.arrays["lengths"]))


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(s.V, s.D)
            self.encoder = nn.LSTM(s.D, s.H, s.layers, batch_first=True, bidirectional=True)
            self.output = nn.Linear(2 * s.H, s.tags)

        def forward(self, tokens: Any, lengths: Any) -> Any:
            packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=s.T)
            return self.output(h)

    model = Tagger()
    x, y, lengths = (torch.from_numpy(given.arrays[name]) for name in ("x", "y", "lengths"))
    return TorchTraining(
        model,
        lambda: nn.functional.cross_entropy(model(x, lengths).reshape(-1, s.tags), y.reshape(-1), ignore_index=-1),
        given.weights,
    )


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    import jax.numpy as jnp
    from optax import softmax_cross_entropy_with_integer_labels

    from .cells_in_jax import layer

    def loss(p: Any, batch: Any) -> Any:
        h = p["embedding.weight"][batch["x"]].swapaxes(0, 1)  # (T, B, D)
        keep = (jnp.arange(s.T)[:, None] < batch["lengths"])[..., None]
        for k in range(s.layers):
            forward, _ = layer("lstm", p, f"encoder.{{}}_l{k}", h, keep=keep)
            backward, _ = layer("lstm", p, f"encoder.{{}}_l{k}_reverse", h, keep=keep, reverse=True)
            h = jnp.concatenate([forward, backward], -1)
        logits = h.swapaxes(0, 1) @ p["output.weight"].T + p["output.bias"]
        counted = batch["y"] >= 0
        losses = softmax_cross_entropy_with_integer_labels(logits, jnp.where(counted, batch["y"], 0))
        return (losses * counted).sum() / counted.sum()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    found = linear(s.B * s.T, 2 * s.H, s.tags)
    for k in range(s.layers):
        found += 2 * (linear(s.B * s.T, 2 * s.H if k else s.D, 4 * s.H) + recurrence(s.B, s.T, s.H, 4))
    return found
