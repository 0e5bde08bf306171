"""The adding problem.

"Consequence: RNNs struggle to learn long-range dependencies."

A row of random numbers, two of them marked, one in each half: say their sum at the end. Whoever remembers nothing says
1, the mean, and has a mean squared error of 1/6. A tanh RNN and an LSTM of the same width are trained on the same rows
with the same optimizer and the same clipping, and judged on rows that they have never seen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, panels

from .common import Claim, Outcome, curve, main, outcome, thinned, update

BASELINE = 1 / 6  # the variance of the sum of two numbers that are even on [0, 1)


class Sizes(NamedTuple):
    """How much is trained."""

    lengths: tuple[int, ...] = (50, 100)
    hidden: int = 64
    batch: int = 64
    rate: float = 0.003
    steps: int = 3000


QUICK = Sizes(lengths=(20,), hidden=32, batch=32, rate=0.01, steps=600)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    found = {f"T={T}": {model: train(model, T, sizes, seed) for model in ("tanh RNN", "LSTM")} for T in sizes.lengths}
    return outcome(found, claims, draw)


def train(model: str, T: int, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The loss on the way, and the mean squared error on new rows."""
    ts.seed(seed)
    layer: Any = {"tanh RNN": ts.nn.RNN, "LSTM": ts.nn.LSTM}[model](2, sizes.hidden)
    if model == "LSTM":
        ts.nn.init.lstm_forget_bias(layer)
    read_off = ts.nn.Linear(sizes.hidden, 1)
    parameters = [*layer.parameters(), *read_off.parameters()]
    optimizer = ts.optim.Adam(parameters, sizes.rate)

    def error(n: int, seed: int) -> ts.Tensor:
        x, y = ts.data.adding_problem(n, seed=seed, length=T)
        h, _ = layer(ts.tensor(x))
        return ts.ops.mse_loss(read_off(h[:, -1])[:, 0], ts.tensor(y))

    # A seed of its own for each batch, and one for the new rows.
    first = 1_000_000 * seed
    losses = [update(error(sizes.batch, first + step), optimizer, parameters) for step in range(1, sizes.steps + 1)]
    with ts.no_grad():
        new = error(1000, first)
    step, loss = thinned(losses, most=100)
    return {"error": new.item(), "step": step, "loss": loss}


def claims(numbers: dict[str, Any]) -> list[Claim]:
    solved = [
        Claim(f"LSTM, {T}: mean squared error", found["LSTM"]["error"], "<=", 0.01) for T, found in numbers.items()
    ]
    baseline = [
        Claim(f"tanh RNN, {T}: stays near the baseline 0.167", found["tanh RNN"]["error"], ">=", 0.15)
        for T, found in numbers.items()
    ]
    return solved + baseline


def draw(numbers: dict[str, Any]) -> Any:
    figure, axes = panels(len(numbers))
    for each, (T, found) in zip(axes, numbers.items(), strict=True):
        for model, measured in found.items():
            curve(each, measured["step"], measured["loss"], model)
        each.axhline(BASELINE, color=BLACK, linewidth=1, linestyle=":", label="always say 1 (1/6)")
        each.set(title=f"adding problem, {T}", xlabel="training step", ylim=(0, 0.25))
    axes[0].set_ylabel("mean squared error")
    axes[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "adding")
