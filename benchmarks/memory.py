"""How memory grows with the length of a sequence: the peak of allocated arrays in a forward and a backward pass."""

import math
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.models import LanguageModel, LanguageModelConfig

from .scaling import exponent

HEADS, WIDTH = 4, 32  # of one sequence
V, H, B, PIECE = 96, 128, 4, 64


class Way(NamedTuple):
    """A way to compute, and the lengths at which it is measured."""

    about: str
    run: Callable[[int], Callable[[], None]]  # from T to what is measured
    lengths: tuple[int, ...]


def bptt(T: int) -> Callable[[], None]:
    return truncated(T, T)


def truncated(T: int, piece: int = PIECE) -> Callable[[], None]:
    model = LanguageModel(LanguageModelConfig(V, H))
    ids = np.random.default_rng(0).integers(0, V, (B, T + 1))

    def run() -> None:
        for loss, _ in ts.train.truncated_bptt(model, ids[:, :-1], ids[:, 1:], k1=piece, k2=piece):
            loss.backward()

    return run


def checkpointed(T: int) -> Callable[[], None]:
    model = LanguageModel(LanguageModelConfig(V, H))
    ids = np.random.default_rng(0).integers(0, V, (B, T + 1))
    piece = math.isqrt(T)

    def part(first: int, state: Any) -> tuple[ts.Tensor, Any]:
        logits, state = model(ids[:, first : min(first + piece, T)], state)
        return ts.ops.cross_entropy(logits, ids[:, first + 1 : min(first + piece, T) + 1]), state

    def run() -> None:
        total, state = ts.tensor(0.0), None
        for first in range(0, T, piece):
            loss, state = ts.checkpoint(part, first, state)
            total = total + loss
        total.backward()

    return run


def attention(T: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    q, k, v = (ts.tensor(rng.standard_normal((1, HEADS, T, WIDTH), np.float32), requires_grad=True) for _ in range(3))
    g = ts.tensor(np.ones((1, HEADS, T, WIDTH), np.float32))

    def run() -> None:
        ts.grad([ts.ops.scaled_dot_product_attention(q, k, v, causal=True)], [q, k, v], [g])

    return run


def attention_by_definition(T: int) -> Callable[[], None]:
    run = attention(T)

    def in_definitions() -> None:
        with ts.definitions():
            run()

    return in_definitions


WAYS = {
    "bptt": Way(f"LSTM language model, B {B}, H {H}: one graph", bptt, (256, 512, 1024, 2048, 4096)),
    "truncated": Way(f"the same, truncated every {PIECE} steps", truncated, (256, 512, 1024, 2048, 4096)),
    "checkpointed": Way("the same in one graph, √T pieces run again", checkpointed, (256, 512, 1024, 2048, 4096)),
    "attention": Way(
        f"causal attention, {HEADS} heads of {WIDTH}: fused", attention, (256, 512, 1024, 2048, 4096, 8192)
    ),
    "definition": Way(  # holds eight arrays of the size of its weights at once: 4 GB at 5,600
        "the same by its definition", attention_by_definition, (256, 512, 1024, 2048, 4096)
    ),
}


def peak(run: Callable[[], None]) -> float:
    """MB that the pass takes at its peak, over what was there before it."""
    run()  # what is made once and kept is no part of it
    tracemalloc.start()  # NumPy tells it of every array
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def measure_ways(ways: dict[str, Way], say: Callable[[str], None]) -> dict[str, Any]:
    """{name: about, lengths, MB, exponent}."""
    found = {}
    for name, way in ways.items():
        megabytes = []
        for T in way.lengths:
            megabytes.append(peak(way.run(T)))
            say(f"memory, {way.about}, T {T}: {megabytes[-1]:.1f} MB")
        found[name] = {
            "about": way.about,
            "lengths": list(way.lengths),
            "MB": megabytes,
            "exponent": exponent(way.lengths, megabytes),
        }
    return found
