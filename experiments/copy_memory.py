"""The copying memory problem.

"LSTMs use gates to control information flow, solving vanishing gradients."

Ten symbols out of eight, then T = 50 blanks, then: say the ten again. Whoever remembers nothing says blanks where
blanks are due and guesses the rest, a mean loss of 10 log 8 / (T + 20). The gates of LSTM and GRU begin open for spans
up to T: b_f, and the GRU's b_z, are logarithms of numbers drawn from 1 to T (Tallec and Ollivier, 2018). A tanh RNN has
no such gate. All have the same width, batches, optimizer and clipping, and are judged on new sequences.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts

from .common import BLACK, Claim, Outcome, curve, main, outcome, panels, thinned, update

SYMBOLS = 10  # eight to be remembered, the blank, the delimiter
BATCH = 32


class Sizes(NamedTuple):
    """How much is trained."""

    blanks: int = 50
    hidden: int = 64
    rate: float = 0.005
    steps: dict[str, int] = {"tanh RNN": 9000, "GRU": 9000, "LSTM": 9000}


QUICK = Sizes(blanks=5, hidden=32, rate=0.01, steps={"tanh RNN": 600, "GRU": 600, "LSTM": 600})


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    T = sizes.blanks
    numbers: dict[str, Any] = {"blanks": T, "baseline": 10 * math.log(8) / (T + 20)}
    numbers["models"] = {model: train(model, sizes, seed) for model in sizes.steps}
    return outcome(numbers, claims, draw)


def train(model: str, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The loss on the way, and on new sequences, with the part of their ten symbols that is said right."""
    ts.seed(seed)
    T, H = sizes.blanks, sizes.hidden
    layer: Any = {"tanh RNN": ts.nn.RNN, "GRU": ts.nn.GRU, "LSTM": ts.nn.LSTM}[model](SYMBOLS, H)
    rng = np.random.default_rng(seed)
    open_gates(layer, np.log(rng.uniform(1, T, H)))
    read_off = ts.nn.Linear(H, SYMBOLS)
    parameters = [*layer.parameters(), *read_off.parameters()]
    optimizer = ts.optim.Adam(parameters, sizes.rate)
    one_hot = np.eye(SYMBOLS, dtype=np.float32)

    def logits_of(x: np.ndarray) -> ts.Tensor:
        h, _ = layer(ts.tensor(one_hot[x]))
        return read_off(h)

    losses = []
    for step in range(1, sizes.steps[model] + 1):
        x, y = ts.data.copy_memory(BATCH, seed=1_000_000 * seed + step, blanks=T)
        losses.append(update(ts.ops.cross_entropy(logits_of(x), ts.tensor(y)), optimizer, parameters))
        if step % 1000 == 0:
            print(model, step, np.mean(losses[-100:]), flush=True)
    x, y = ts.data.copy_memory(500, seed=1_000_000 * seed, blanks=T)
    with ts.no_grad():
        logits = logits_of(x)
    right = (logits.numpy().argmax(-1) == y)[:, -10:]
    at, mean = thinned(losses)
    new = ts.ops.cross_entropy(logits, ts.tensor(y)).item()
    return {"loss on new": new, "right": float(right.mean()), "step": at, "loss": mean}


def open_gates(layer: Any, bias: np.ndarray) -> None:
    """The bias of the gate that keeps the old state: σ(bias) = 1 - 1/span, about, for a span of e^bias steps."""
    H = layer.hidden_size
    if isinstance(layer, ts.nn.RNN):
        return
    b = layer.state_dict()
    b["bias_ih_l0"][H : 2 * H] = bias  # f of an LSTM's i f g o, z of a GRU's r z n
    if isinstance(layer, ts.nn.LSTM):
        b["bias_ih_l0"][:H] = -bias  # what comes in is little where much stays
    layer.load_state_dict(b)


def claims(numbers: dict[str, Any]) -> list[Claim]:
    models, baseline = numbers["models"], numbers["baseline"]
    return [
        Claim("GRU: loss, as a part of the baseline's", models["GRU"]["loss on new"] / baseline, "<=", 0.1),
        Claim("LSTM: loss, as a part of the baseline's", models["LSTM"]["loss on new"] / baseline, "<=", 0.5),
        Claim("tanh RNN: loss, as a part of the baseline's", models["tanh RNN"]["loss on new"] / baseline, ">=", 0.9),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (axes,) = panels(1, width=7)
    for model, measured in numbers["models"].items():
        curve(axes, measured["step"], measured["loss"], model)
    axes.axhline(numbers["baseline"], color=BLACK, linewidth=1, linestyle=":", label="remember nothing")
    axes.set(title=f"copying memory, {numbers['blanks']} blanks", xlabel="training step")
    axes.set(ylabel="loss (nats per symbol)", ylim=(0, 1.6 * numbers["baseline"]))
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "copy_memory")
