"""Exploding gradients.

"Gradient clipping (for exploding gradients)."

A relu RNN whose W_hh begins as the identity keeps what it has seen (Le, Jaitly and Hinton, 2015), but nothing bounds
its states, nor its gradients. It learns the adding problem twice, from the same weights, with the same rows and the
same gradient descent: once with the gradients as they come, and once with their norm clipped to 1 (Pascanu, Mikolov and
Bengio, 2013). Without clipping, one step out of a steep place throws the weights so far that nothing is learned after.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, BLUE, RED, panels

from .common import Claim, Outcome, curve, main, outcome, thinned

BASELINE = 1 / 6  # the mean squared error of always saying 1
CLIPS = {"with clipping": 1.0, "without clipping": math.inf}
LOOKS = {
    "with clipping": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "without clipping": {"color": RED, "marker": "^", "linestyle": "--"},
}
BATCH, MOMENTUM = 32, 0.9
DIVERGED = 1e9  # stands for an error that is no finite number
SHOWN = 100  # of the first norms


class Sizes(NamedTuple):
    """How much is trained."""

    length: int = 24
    hidden: int = 64
    rate: float = 0.01
    steps: int = 6000


QUICK = Sizes(length=20, rate=0.02, steps=2500)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    return outcome({name: train(clip, sizes, seed) for name, clip in CLIPS.items()}, claims, draw)


def train(clip: float, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The loss and the norm of the gradient before clipping, on the way; the mean squared error on new rows."""
    ts.seed(seed)
    rnn = ts.nn.RNN(2, sizes.hidden, nonlinearity="relu")
    read_off = ts.nn.Linear(sizes.hidden, 1)
    start = rnn.state_dict()
    rnn.load_state_dict(start | {"weight_hh_l0": np.eye(sizes.hidden, dtype=np.float32)})
    parameters = [*rnn.parameters(), *read_off.parameters()]
    optimizer = ts.optim.SGD(parameters, sizes.rate, momentum=MOMENTUM)

    def error(n: int, seed: int) -> ts.Tensor:
        x, y = ts.data.adding_problem(n, seed=seed, length=sizes.length)
        h, _ = rnn(ts.tensor(x))
        return ts.ops.mse_loss(read_off(h[:, -1])[:, 0], ts.tensor(y))

    losses, norms = [], []
    with np.errstate(over="ignore", invalid="ignore"):  # that is what is to be seen
        for step in range(1, sizes.steps + 1):
            loss = error(BATCH, 1_000_000 * seed + step)
            if not math.isfinite(loss.item()):
                break
            optimizer.zero_grad()
            loss.backward()
            norms.append(ts.optim.clip_grad_norm(parameters, clip).item())
            optimizer.step()
            losses.append(loss.item())
        with ts.no_grad():
            new = error(1000, 1_000_000 * seed).item()
    at, mean = thinned(losses)
    return {
        "steps": len(losses),
        "error": new if math.isfinite(new) else DIVERGED,
        "largest loss": max(losses),
        "step": at,
        "loss": mean,
        "first norms": norms[:SHOWN],
    }


def claims(numbers: dict[str, Any]) -> list[Claim]:
    tamed, wild = numbers["with clipping"], numbers["without clipping"]
    return [
        Claim("without clipping: the largest loss on the way", wild["largest loss"], ">=", 1000),
        Claim("without clipping: mean squared error at the end, 0.167 being the baseline", wild["error"], ">=", 0.15),
        Claim("with clipping: the largest loss on the way", tamed["largest loss"], "<=", 20),
        Claim("with clipping: mean squared error at the end", tamed["error"], "<=", 0.05),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (left, right) = panels(2)
    for name, found in numbers.items():
        norms = found["first norms"]
        curve(left, range(1, len(norms) + 1), norms, name, **LOOKS[name])
        curve(right, found["step"], found["loss"], name, **LOOKS[name])
    left.axhline(1, color=BLACK, linewidth=1, linestyle=":", label="where it is clipped")
    left.set(
        yscale="log", title="the first steps", xlabel="training step", ylabel="norm of the gradient, before clipping"
    )
    left.legend(frameon=False)
    right.axhline(BASELINE, color=BLACK, linewidth=1, linestyle=":", label="always say 1 (1/6)")
    right.set(yscale="log", title="the whole training", xlabel="training step", ylabel="mean squared error")
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "exploding")
