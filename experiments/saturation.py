"""Why attention divides by √d_k.

"√d_k scaling prevents softmax saturation."

The dot product of two random vectors of d_k numbers has the standard deviation √d_k. So without the scaling, the scores
of 64 random keys lie ever further apart, softmax puts all weight on one of them, and its gradient dies. Measured on
random queries and keys: the largest weight, and how long a random gradient of length 1 is behind the softmax (the
median). Then what it does to learning: each of 16 symbols has a value beside it, a query of an alphabet of its own asks
for one of them, and which query belongs to which symbol is to be found out. The dot score is given the best of its
learning rates, and so is the scaled one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, BLUE, RED, panels

from .common import Claim, Outcome, curve, main, outcome, update

SCORES: dict[str, Any] = {"dot": ts.nn.DotScore, "scaled dot": ts.nn.ScaledDotScore}
STYLES: dict[str, dict[str, Any]] = {
    "dot": {"color": RED, "marker": "^", "linestyle": "--"},
    "scaled dot": {"color": BLUE, "marker": "o", "linestyle": "-"},
}
KEYS = 64
SYMBOLS, SHOWN, BATCH = 32, 16, 64  # of the lookup


class Sizes(NamedTuple):
    """How much is measured and trained."""

    queries: int = 2000
    measured: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512, 1024)  # d_k
    trained: tuple[int, ...] = (8, 32, 128, 512)  # d_k
    rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    steps: int = 500


QUICK = Sizes(queries=500, measured=(4, 64, 512), trained=(8, 512), rates=(0.03,), steps=250)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    found: dict[str, Any] = {}
    for score in SCORES:
        each = [measure(score, d, sizes.queries, seed) for d in sizes.measured]
        right = [[train(score, d, rate, sizes.steps, seed) for rate in sizes.rates] for d in sizes.trained]
        found[score] = {
            "d_k": list(sizes.measured),
            **{name: [at_d[name] for at_d in each] for name in each[0]},
            "trained d_k": list(sizes.trained),
            "right by rate": right,
            "right": [max(by_rate) for by_rate in right],
        }
    return outcome(found, claims, draw)


def measure(score: str, d: int, n: int, seed: int) -> dict[str, float]:
    """The weights of random keys under random queries, and what a gradient becomes behind them."""
    rng = np.random.default_rng(seed)
    q, k = ts.tensor(rng.standard_normal((n, d))), ts.tensor(rng.standard_normal((n, KEYS, d)))
    e = SCORES[score]()(q, k)
    e.requires_grad = True
    alpha = ts.ops.softmax(e)
    g = rng.standard_normal(alpha.shape)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    behind = np.linalg.norm(ts.grad(alpha, e, g).numpy(), axis=1)
    a = alpha.numpy()
    return {
        "largest weight": float(a.max(1).mean()),
        "entropy": float(-(a * np.log(np.maximum(a, 1e-300))).sum(1).mean()),  # in nats; log 64 where all are equal
        "gradient": float(np.median(behind)),
    }


def train(score: str, d: int, rate: float, steps: int, seed: int) -> float:
    """The share of right answers in the last 50 batches."""
    ts.seed(seed)
    rng = np.random.default_rng(seed)
    queries, keys, values = (ts.nn.Embedding(SYMBOLS, width) for width in (d, d, 32))
    for table in (queries, keys, values):
        ts.nn.init.normal(table.weight, 1.0)
    attention = ts.nn.Attention(SCORES[score]())
    output = ts.nn.Linear(32, SYMBOLS)
    parameters = [p for part in (queries, keys, values, output) for p in part.parameters()]
    optimizer = ts.optim.Adam(parameters, rate)
    row, right = np.arange(BATCH), []
    for _ in range(steps):
        shown = rng.permuted(np.tile(np.arange(SYMBOLS), (BATCH, 1)), axis=1)[:, :SHOWN]
        beside = rng.integers(0, SYMBOLS, (BATCH, SHOWN))
        asked = rng.integers(0, SHOWN, BATCH)
        alpha = attention(queries(shown[row, asked]), keys(shown)).alpha
        found = (ts.ops.expand_dims(alpha, 1) @ values(beside))[:, 0]
        logits, answer = output(found), beside[row, asked]
        update(ts.ops.cross_entropy(logits, answer), optimizer, parameters)
        right.append(float((logits.numpy().argmax(-1) == answer).mean()))
    return math.fsum(right[-50:]) / 50


def claims(numbers: dict[str, Any]) -> list[Claim]:
    dot, scaled = numbers["dot"], numbers["scaled dot"]
    at = dot["d_k"].index(512)
    return [
        Claim("dot, d_k = 512: largest of 64 weights", dot["largest weight"][at], ">=", 0.85),
        Claim("scaled dot, d_k = 512: largest of 64 weights", scaled["largest weight"][at], "<=", 0.15),
        Claim("dot, d_k = 512: length of the gradient", dot["gradient"][at], "<=", 0.001),
        Claim("scaled dot, d_k = 512: length of the gradient", scaled["gradient"][at], ">=", 0.015),
        Claim("dot, d_k = 8: right answers after training", dot["right"][0], ">=", 0.98),
        Claim("dot, d_k = 512: right answers after training", dot["right"][-1], "<=", 0.8),
        Claim("scaled dot, d_k = 512: right answers after training", scaled["right"][-1], ">=", 0.99),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (largest, gradient, learned) = panels(3, width=4)
    for score, found in numbers.items():
        style = STYLES[score]
        curve(largest, found["d_k"], found["largest weight"], score, **style)
        curve(gradient, found["d_k"], found["gradient"], score, **style)
        curve(learned, found["trained d_k"], found["right"], score, **style)
    largest.axhline(1 / KEYS, color=BLACK, linewidth=1, linestyle=":", label="all equal (1/64)")
    largest.set(title="largest of 64 weights", ylim=(0, 1.02), ylabel="weight")
    gradient.set(title="gradient that gets through the softmax", yscale="log", ylabel="its length (1 before)")
    learned.set(title="a lookup, after training", ylim=(0, 1.02), ylabel="share of right answers")
    for each in (largest, gradient, learned):
        each.set_xscale("log", base=2)
        each.set_xlabel("$d_k$, numbers in a query")
    largest.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.43))
    return figure


if __name__ == "__main__":
    main(run, __doc__, "saturation")
