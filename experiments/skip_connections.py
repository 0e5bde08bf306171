"""Skip connections in a deep stack.

"Skip connections: Allow gradients to flow directly."

Tanh RNNs one above the other, each with the outputs of the one below as its inputs: plain, h^k = RNN(h^{k-1}), and with
a skip connection around each layer, h^k = h^{k-1} + RNN(h^{k-1}). The task asks for little memory, the symbol of three
steps ago out of eight; whoever cannot say it has a loss of log 8. Measured are the gradient that arrives at each layer
before training, and the loss after it, for stacks of different depths. (`ts.nn.ResidualRNN` has the same equations,
written as a block and a scan; here each layer is the fused RNN, which is faster.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, BLUE, RED, panels

from .common import Claim, Outcome, curve, main, outcome, update

SYMBOLS, DELAY, LENGTH = 8, 3, 20
GUESS = math.log(SYMBOLS)
LOOKS = {
    "without": {"color": RED, "marker": "^", "linestyle": "--"},
    "with": {"color": BLUE, "marker": "o", "linestyle": "-"},
}


NORMS = r"$\Vert\partial L/\partial h^k\Vert \;/\; \Vert\partial L/\partial h^L\Vert$"


class Sizes(NamedTuple):
    """How much is trained."""

    depths: tuple[int, ...] = (2, 4, 8, 16, 32)
    hidden: int = 32
    steps: int = 250


QUICK = Sizes(depths=(2, 32), hidden=16, steps=80)
BATCH, RATE = 32, 0.002


class Stack(ts.nn.Module):
    """RNNs one above the other: tokens (B, T) -> logits (B, T, V), and the h^0 … h^L between them, (B, T, H) each."""

    def __init__(self, depth: int, hidden: int, skip: bool) -> None:
        self.embedding = ts.nn.Embedding(SYMBOLS, hidden)
        self.layers = [ts.nn.RNN(hidden, hidden) for _ in range(depth)]
        self.output = ts.nn.Linear(hidden, SYMBOLS)
        self.skip = skip

    def forward(self, tokens: Any) -> tuple[ts.Tensor, list[ts.Tensor]]:
        h = [self.embedding(tokens)]
        for layer in self.layers:
            out, _ = layer(h[-1])
            h.append(h[-1] + out if self.skip else out)
        return self.output(h[-1]), h


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    numbers: dict[str, Any] = {"depth": list(sizes.depths), "loss": {}, "gradient": {}}
    for name in LOOKS:
        numbers["gradient"][name] = gradient_norms(new(name, sizes.depths[-1], sizes, seed), seed)
        numbers["loss"][name] = [train(new(name, depth, sizes, seed), sizes, seed) for depth in sizes.depths]
    return outcome(numbers, claims, draw)


def new(name: str, depth: int, sizes: Sizes, seed: int) -> Stack:
    ts.seed(seed)
    return Stack(depth, sizes.hidden, skip=name == "with")


def loss_of(logits: ts.Tensor, tokens: np.ndarray) -> ts.Tensor:
    """How well each symbol from the fourth on says the one three steps before."""
    return ts.ops.cross_entropy(logits[:, DELAY:], ts.tensor(tokens[:, :-DELAY]))


def gradient_norms(model: Stack, seed: int) -> list[float]:
    """‖∂L/∂h^k‖ / ‖∂L/∂h^L‖ for k = 0 … L, before training."""
    tokens = np.random.default_rng(seed).integers(0, SYMBOLS, (BATCH, LENGTH))
    logits, h = model(ts.tensor(tokens))
    norms = [float(np.linalg.norm(g.numpy())) for g in ts.grad(loss_of(logits, tokens), h)]
    return [norm / norms[-1] for norm in norms]


def train(model: Stack, sizes: Sizes, seed: int) -> float:
    """The mean loss of the last tenth of the steps; no batch comes twice."""
    parameters = list(model.parameters())
    optimizer = ts.optim.Adam(parameters, RATE)
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(sizes.steps):
        tokens = rng.integers(0, SYMBOLS, (BATCH, LENGTH))
        logits, _ = model(ts.tensor(tokens))
        losses.append(update(loss_of(logits, tokens), optimizer, parameters))
    last = losses[-sizes.steps // 10 :]
    return sum(last) / len(last)


def claims(numbers: dict[str, Any]) -> list[Claim]:
    L, loss, gradient = numbers["depth"][-1], numbers["loss"], numbers["gradient"]
    return [
        Claim(f"{L} layers without: part of the gradient that arrives at layer 1", gradient["without"][1], "<=", 1e-4),
        Claim(f"{L} layers with skip connections: the same", gradient["with"][1], ">=", 0.5),
        Claim(f"{L} layers without: loss, where guessing has 2.08", loss["without"][-1], ">=", 1),
        Claim(f"{L} layers with skip connections: loss", loss["with"][-1], "<=", 0.1),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (left, right) = panels(2)
    for name, style in LOOKS.items():
        norms = numbers["gradient"][name]
        curve(left, range(len(norms)), norms, f"{name} skip connections", **style)
        curve(right, numbers["depth"], numbers["loss"][name], f"{name} skip connections", **style)
    left.set(yscale="log", title="before training", xlabel="layer k", ylabel=NORMS)
    left.legend(frameon=False)
    right.axhline(GUESS, color=BLACK, linewidth=1, linestyle=":")
    right.annotate("guessing: log 8", (numbers["depth"][0], GUESS), xytext=(0, 4), textcoords="offset points")
    right.set_xscale("log", base=2)
    right.set_xticks(numbers["depth"], [str(depth) for depth in numbers["depth"]])
    right.set(title="after training", xlabel="layers", ylabel="loss (nats per symbol)", ylim=(-0.05, 2.35))
    return figure


if __name__ == "__main__":
    main(run, __doc__, "skip_connections")
