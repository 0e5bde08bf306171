"""The copying memory problem.

"LSTMs use gates to control information flow, solving vanishing gradients."

Ten symbols out of eight, then T = 50 blanks, then: say the ten again. Whoever remembers nothing says blanks where
blanks are due and guesses the rest, a mean loss of 10 log 8 / (T + 20). The gates of LSTM and GRU begin open for spans
up to T: b_f, and the GRU's b_z, are logarithms of numbers drawn from 1 to T (Tallec and Ollivier, 2018). A tanh RNN has
no such gate, and a smaller learning rate, with which it is steady. All have the same width, batches, optimizer and
clipping, and are judged on new sequences.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, panels

from .common import Claim, Outcome, curve, main, outcome, thinned, update

SYMBOLS = 10  # eight to be remembered, the blank, the delimiter
LAYERS: dict[str, Any] = {"tanh RNN": ts.nn.RNN, "LSTM": ts.nn.LSTM, "GRU": ts.nn.GRU}
RATES = {"tanh RNN": 0.001, "LSTM": 0.01, "GRU": 0.01}  # with 0.01 the RNN is thrown off now and then
BATCH, HIDDEN = 16, 64


class Sizes(NamedTuple):
    """How much is trained."""

    models: tuple[str, ...] = tuple(LAYERS)
    blanks: int = 50
    steps: int = 10_000


QUICK = Sizes(models=("tanh RNN", "GRU"), blanks=20, steps=1200)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    T = sizes.blanks
    numbers: dict[str, Any] = {"quick": quick, "blanks": T, "baseline": 10 * math.log(8) / (T + 20)}
    numbers["models"] = {model: train(model, sizes, seed) for model in sizes.models}
    return outcome(numbers, claims, draw)


def train(model: str, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The loss on the way, and on new sequences, with the part of their ten symbols that is said right."""
    ts.seed(seed)
    T = sizes.blanks
    layer = LAYERS[model](SYMBOLS, HIDDEN)
    open_gates(layer, np.log(np.random.default_rng(seed).uniform(1, T, HIDDEN)))
    read_off = ts.nn.Linear(HIDDEN, SYMBOLS)
    parameters = [*layer.parameters(), *read_off.parameters()]
    optimizer = ts.optim.Adam(parameters, RATES[model])
    one_hot = np.eye(SYMBOLS, dtype=np.float32)

    def logits_of(x: np.ndarray) -> ts.Tensor:
        h, _ = layer(ts.tensor(one_hot[x]))
        return read_off(h)

    losses = []
    for step in range(1, sizes.steps + 1):
        x, y = ts.data.copy_memory(BATCH, seed=1_000_000 * seed + step, blanks=T)
        losses.append(update(ts.ops.cross_entropy(logits_of(x), ts.tensor(y)), optimizer, parameters))
    x, y = ts.data.copy_memory(500, seed=1_000_000 * seed, blanks=T)
    with ts.no_grad():
        logits = logits_of(x)
    right = (logits.numpy().argmax(-1) == y)[:, -10:]
    at, mean = thinned(losses)
    new = ts.ops.cross_entropy(logits, ts.tensor(y)).item()
    return {"new": new, "right": float(right.mean()), "step": at, "loss": mean}


def open_gates(layer: Any, bias: np.ndarray) -> None:
    """Set the bias of the gate that keeps the old state; of the LSTM's input gate its negative. An RNN has no gate."""
    H = layer.hidden_size
    weights = layer.state_dict()
    if not isinstance(layer, ts.nn.RNN):
        weights["bias_ih_l0"][H : 2 * H] = bias  # f of an LSTM's i f c o, z of a GRU's r z n
    if isinstance(layer, ts.nn.LSTM):
        weights["bias_ih_l0"][:H] = -bias
    layer.load_state_dict(weights)


def claims(numbers: dict[str, Any]) -> list[Claim]:
    models, baseline = numbers["models"], numbers["baseline"]
    most = {"GRU": 0.85} if numbers["quick"] else {"LSTM": 0.5, "GRU": 0.25}
    found = [
        Claim(f"{model}: loss, as a part of the baseline's", models[model]["new"] / baseline, "<=", part)
        for model, part in most.items()
    ]
    found.append(Claim("tanh RNN: loss, as a part of the baseline's", models["tanh RNN"]["new"] / baseline, ">=", 0.97))
    if not numbers["quick"]:
        found += [Claim(f"{model}: right symbols, of the ten", models[model]["right"], ">=", 0.7) for model in most]
        found.append(Claim("tanh RNN: right symbols, 1/8 being chance", models["tanh RNN"]["right"], "<=", 0.15))
    return found


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
