"""Attention is blind to order.

"Attention is permutation invariant — doesn't know word order!"

Rows of letters hold the markers a and b once each, at random places among others: which of the two came first? A
Transformer encoder, its outputs averaged, is trained on this without and with the sinusoidal encoding of positions, and
then reads one new row and its shuffles. Without positions its answer to all of them is the same number: it must guess.
So that nobody blames the training, the same encoder without positions also answers a question that needs no order:
which of the two markers is there, where there is one alone?
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLACK, BLUE, GREEN, RED, panels

from .common import Claim, Outcome, curve, main, outcome, thinned, update

WITHOUT, WITH, CONTROL = "without positions", "with positions", "without positions, but no order asked"
LETTERS, A, B = 8, 0, 1
STYLES: dict[str, dict[str, Any]] = {
    WITHOUT: {"color": RED, "marker": "^", "linestyle": "--"},
    WITH: {"color": BLUE, "marker": "o", "linestyle": "-"},
    CONTROL: {"color": GREEN, "marker": "D", "linestyle": "-."},
}


class Sizes(NamedTuple):
    """How much is trained."""

    length: int = 16
    width: int = 32
    batch: int = 64
    rate: float = 0.003
    steps: int = 600


QUICK = Sizes(length=8, batch=32, steps=250)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    found = {name: train(name, sizes, seed) for name in (WITHOUT, WITH, CONTROL)}
    return outcome(found, claims, draw)


class Reader(ts.nn.Module):
    """Reads a row of letters (B, T), and says one number: above 0 means a, below 0 means b."""

    def __init__(self, sizes: Sizes, positions: bool) -> None:
        D = sizes.width
        self.embedding = ts.nn.Embedding(LETTERS, D)
        self.positions = ts.nn.SinusoidalPositions(D, sizes.length) if positions else None
        self.encoder = ts.nn.TransformerEncoder(ts.nn.TransformerEncoderLayer(D, 4, 2 * D, dropout=0.0), 2)
        self.output = ts.nn.Linear(D, 1)

    def forward(self, rows: Any) -> ts.Tensor:
        x = self.embedding(rows)
        if self.positions is not None:
            x = self.positions(x)
        return self.output(self.encoder(x).mean(1))[:, 0]


def train(name: str, sizes: Sizes, seed: int) -> dict[str, Any]:
    """How often it is right on the way and on new rows, and its answers to one row and 60 shuffles of it."""
    ts.seed(seed)
    rng = np.random.default_rng(seed)
    model = Reader(sizes, positions=name == WITH)
    optimizer = ts.optim.Adam(model.parameters(), sizes.rate)
    task = which_is_there if name == CONTROL else which_came_first
    rate = ts.optim.schedules.cosine(sizes.rate, sizes.steps)
    right = []
    for step in range(sizes.steps):
        optimizer.set_lr(rate(step))
        rows, a = task(sizes.batch, sizes.length, rng)
        z = model(rows)
        loss = ts.ops.binary_cross_entropy_with_logits(z, ts.tensor(a.astype(np.float32)))
        update(loss, optimizer, model.parameters())
        right.append(float(((z.numpy() > 0) == a).mean()))
    steps, share = thinned(right, most=40)
    with ts.no_grad():
        rows, a = task(2000, sizes.length, rng)
        accuracy = float(((model(rows).numpy() > 0) == a).mean())
        # In float64, so that rounding does not stand in for order.
        row, _ = task(1, sizes.length, rng)
        shuffled = np.stack([rng.permutation(row[0]) for _ in range(60)])
        answers = model.to("float64")(shuffled).numpy()
    found = {"accuracy": accuracy, "step": steps, "share": share, "spread": float(np.ptp(answers))}
    if name != CONTROL:
        found["P(a)"] = (1 / (1 + np.exp(-answers))).tolist()
        found["a is first"] = [bool(list(r).index(A) < list(r).index(B)) for r in shuffled]
    return found


def which_came_first(n: int, T: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, T) with one a and one b, and whether a is the first of them: (n,)."""
    rows = rng.integers(2, LETTERS, (n, T))
    place = rng.permuted(np.tile(np.arange(T), (n, 1)), axis=1)[:, :2]
    np.put_along_axis(rows, place, np.array([A, B]), 1)
    return rows, place[:, 0] < place[:, 1]


def which_is_there(n: int, T: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, T) with an a or a b, and whether it is an a: (n,)."""
    rows = rng.integers(2, LETTERS, (n, T))
    a = rng.random(n) < 0.5
    rows[np.arange(n), rng.integers(0, T, n)] = np.where(a, A, B)
    return rows, a


def claims(numbers: dict[str, Any]) -> list[Claim]:
    return [
        Claim(
            "without positions: largest difference between the answers to a row's shuffles",
            max(numbers[WITHOUT]["spread"], numbers[CONTROL]["spread"]),
            "<=",
            1e-12,
        ),
        Claim("with positions: that difference", numbers[WITH]["spread"], ">=", 5),
        Claim(
            "without positions: right about which came first (chance: 0.5)", numbers[WITHOUT]["accuracy"], "<=", 0.55
        ),
        Claim("with positions: right about it", numbers[WITH]["accuracy"], ">=", 0.98),
        Claim("without positions: right about which is there", numbers[CONTROL]["accuracy"], ">=", 0.99),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (learning, shuffles) = panels(2, width=5.2)
    for name, style in STYLES.items():
        curve(learning, numbers[name]["step"], numbers[name]["share"], name, **style)
    learning.set(
        title="which of two markers came first?",
        xlabel="training step",
        ylabel="share of right answers",
        ylim=(0.4, 1.02),
    )
    learning.axhline(0.5, color=BLACK, linewidth=1, linestyle=":", label="chance")
    learning.legend(frameon=False, loc="center right", fontsize=9)
    for name in (WITHOUT, WITH):
        found = numbers[name]
        for first in (True, False):
            at = [k for k, is_first in enumerate(found["a is first"]) if is_first == first]
            shuffles.scatter(
                [k + 1 for k in at],
                [found["P(a)"][k] for k in at],
                s=26,
                color=STYLES[name]["color"] if first else "none",
                edgecolor=STYLES[name]["color"],
                marker=STYLES[name]["marker"],
                label=f"{name}, {'a' if first else 'b'} came first",
            )
    shuffles.set(
        title="one row, shuffled 60 times", xlabel="shuffle", ylabel="answer: P(a came first)", ylim=(-0.05, 1.05)
    )
    shuffles.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.5, 0.72))
    return figure


if __name__ == "__main__":
    main(run, __doc__, "order_blindness")
