"""BERT-mini in pre-training: four layers of width 256, 16 pairs of sentences in 128 tokens, 20 of them to guess."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..steps import Arrays, Given, JaxTraining, OurTraining, Product, TorchTraining, attention, linear

EPS = 1e-12  # of BERT's norms


@dataclass(frozen=True)
class Sizes:
    V: int = 30_522
    B: int = 16
    T: int = 128
    D: int = 256
    heads: int = 4
    layers: int = 4
    guesses: int = 20  # of hidden words, in a text


TINY = Sizes(V=30, B=2, T=8, D=8, heads=2, layers=2, guesses=3)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    return {
        "ids": rng.integers(0, s.V, (s.B, s.T)),
        "types": np.repeat([[0, 1]], s.T // 2, axis=1).repeat(s.B, axis=0),
        "rows": np.repeat(np.arange(s.B), s.guesses),
        "places": np.concatenate([rng.permutation(s.T)[: s.guesses] for _ in range(s.B)]),
        "words": rng.integers(0, s.V, s.B * s.guesses),
        "follows": rng.integers(0, 2, s.B),
    }


def ours(s: Sizes, given: Given) -> OurTraining:
    import tinygrad_seq as ts
    from tinygrad_seq.models import BERT, BERTConfig, MaskedLMHead, NextSentenceHead

    class PreTraining(ts.nn.Module):
        """BERT with both heads; that of hidden words reads their places alone."""

        def __init__(self) -> None:
            self.bert = BERT(BERTConfig(s.V, s.D, s.layers, s.heads, 4 * s.D, s.T, dropout=0.0))
            self.masked_lm = MaskedLMHead(self.bert)
            self.next_sentence = NextSentenceHead(self.bert)

        def forward(self, ids: Any, types: Any, rows: Any, places: Any) -> Any:
            hidden, pooled = self.bert(ids, types)
            return self.masked_lm(hidden[rows, places]), self.next_sentence(pooled)

    model = PreTraining()
    ids, types, words, follows = (ts.tensor(given.arrays[name]) for name in ("ids", "types", "words", "follows"))
    rows, places = given.arrays["rows"], given.arrays["places"]

    def loss() -> ts.Tensor:
        guesses, answers = model(ids, types, rows, places)
        return ts.ops.cross_entropy(guesses, words) + ts.ops.cross_entropy(answers, follows)

    return OurTraining(model, loss)


def in_torch(s: Sizes, given: Given) -> TorchTraining:
    import torch
    from torch import nn
    from torch.nn import functional as F

    from .blocks_in_torch import Layers

    class BERT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(s.V, s.D), nn.Embedding(s.T, s.D)
            self.segments, self.norm = nn.Embedding(2, s.D), nn.LayerNorm(s.D, eps=EPS)
            self.encoder = Layers(s.layers, s.D, s.heads, gpt=False, eps=EPS)
            self.pooler = nn.Linear(s.D, s.D)

        def forward(self, ids: Any, types: Any) -> Any:
            x = self.encoder(self.norm(self.tokens(ids) + self.segments(types) + self.positions.weight))
            return x, torch.tanh(self.pooler(x[:, 0]))

    class MaskedLMHead(nn.Module):
        def __init__(self, bert: BERT) -> None:
            super().__init__()
            self.dense, self.norm = nn.Linear(s.D, s.D), nn.LayerNorm(s.D, eps=EPS)
            self.weight, self.bias = bert.tokens.weight, nn.Parameter(torch.empty(s.V))

        def forward(self, hidden: Any) -> Any:
            return F.linear(self.norm(F.gelu(self.dense(hidden))), self.weight, self.bias)

    class NextSentenceHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(s.D, 2)

        def forward(self, pooled: Any) -> Any:
            return self.dense(pooled)

    class PreTraining(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BERT()
            self.masked_lm, self.next_sentence = MaskedLMHead(self.bert), NextSentenceHead()

        def forward(self, ids: Any, types: Any, rows: Any, places: Any) -> Any:
            hidden, pooled = self.bert(ids, types)
            return self.masked_lm(hidden[rows, places]), self.next_sentence(pooled)

    model = PreTraining()
    arrays = {name: torch.from_numpy(array) for name, array in given.arrays.items()}

    def loss() -> Any:
        guesses, answers = model(*(arrays[name] for name in ("ids", "types", "rows", "places")))
        return F.cross_entropy(guesses, arrays["words"]) + F.cross_entropy(answers, arrays["follows"])

    return TorchTraining(model, loss, given.weights)


def in_jax(s: Sizes, given: Given) -> JaxTraining:
    import jax
    import jax.numpy as jnp
    from optax import softmax_cross_entropy_with_integer_labels

    from . import layers_in_jax as nn

    norm, gelu = partial(nn.norm, eps=EPS), partial(jax.nn.gelu, approximate=False)

    def loss(p: Any, batch: Any) -> Any:
        x = p["bert.tokens.weight"][batch["ids"]] + p["bert.segments.weight"][batch["types"]]
        x = norm(p, "bert.norm", x + p["bert.positions.weight"])
        for k in range(s.layers):
            name = f"bert.encoder.layers.{k}"
            x = norm(p, f"{name}.norm1", x + nn.attention(p, f"{name}.self_attn", s.heads, x))
            x = norm(p, f"{name}.norm2", x + nn.feed_forward(p, name, x, gelu))
        hidden = gelu(nn.linear(p, "masked_lm.dense", x[batch["rows"], batch["places"]]))
        guesses = norm(p, "masked_lm.norm", hidden) @ p["bert.tokens.weight"].T + p["masked_lm.bias"]
        answers = nn.linear(p, "next_sentence.dense", jnp.tanh(nn.linear(p, "bert.pooler", x[:, 0])))
        guessed = softmax_cross_entropy_with_integer_labels(guesses, batch["words"]).mean()
        return guessed + softmax_cross_entropy_with_integer_labels(answers, batch["follows"]).mean()

    return JaxTraining(loss, given)


def products(s: Sizes) -> list[Product]:
    rows, D, guesses = s.B * s.T, s.D, s.B * s.guesses
    layer = linear(rows, D, 3 * D) + attention(s.B * s.heads, s.T, s.T, D // s.heads) + linear(rows, D, D)
    layer += linear(rows, D, 4 * D) + linear(rows, 4 * D, D)
    return s.layers * layer + linear(guesses, D, D) + linear(guesses, D, s.V) + linear(s.B, D, D) + linear(s.B, D, 2)
