"""Several heads see several relationships.

"Benefit: Each head can capture different types of relationships."

In a row of letters, say at each place which letters stand two before, one before, one after and two after it: four
relationships at once. One layer of attention, and what it gathered read off by one matrix, with the same number of
parameters however many heads they are divided into. One head has one weight for each letter, and what it gathers is one
mixture of the four; of four heads each comes to look at a place of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import BLUE, GREEN, ORANGE, RED, heat_map, panels

from .common import Claim, Outcome, curve, main, outcome, thinned, update

OFFSETS = (-2, -1, 1, 2)
LETTERS = 16
STYLES: dict[str, dict[str, Any]] = {
    "1": {"color": RED, "marker": "^", "linestyle": "--"},
    "2": {"color": ORANGE, "marker": "s", "linestyle": "-."},
    "4": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "8": {"color": GREEN, "marker": "D", "linestyle": ":"},
}


class Sizes(NamedTuple):
    """How much is trained."""

    heads: tuple[int, ...] = (1, 2, 4, 8)
    length: int = 12
    width: int = 64
    batch: int = 32
    rate: float = 0.01
    steps: int = 2500


QUICK = Sizes(heads=(1, 4), rate=0.015, steps=1000)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    return outcome({str(heads): train(heads, sizes, seed) for heads in sizes.heads}, claims, draw)


class Reader(ts.nn.Module):
    """Rows of letters (B, T) -> logits (B, T, 4, V): what stands at each of the four offsets."""

    def __init__(self, heads: int, sizes: Sizes) -> None:
        self.embedding = ts.nn.Embedding(LETTERS, sizes.width)
        self.positions = ts.nn.SinusoidalPositions(sizes.width, sizes.length)
        self.attention = ts.nn.MultiheadAttention(sizes.width, heads)
        self.output = ts.nn.Linear(sizes.width, len(OFFSETS) * LETTERS)

    def forward(self, rows: np.ndarray) -> ts.Tensor:
        gathered = self.attention(self.positions(self.embedding(rows)))
        return self.output(gathered).reshape(*rows.shape, len(OFFSETS), LETTERS)


def train(heads: int, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The share of right answers on the way and on new rows, and where each head looks."""
    ts.seed(seed)
    rng = np.random.default_rng(seed)
    model = Reader(heads, sizes)
    parameters = model.parameters()
    optimizer = ts.optim.Adam(parameters, sizes.rate)
    rate = ts.optim.schedules.cosine(sizes.rate, sizes.steps)
    inside = slice(2, -2)  # at the ends some of the four places do not exist

    def answer(n: int) -> tuple[np.ndarray, ts.Tensor, np.ndarray]:
        rows = rng.integers(0, LETTERS, (n, sizes.length))
        right = np.stack([np.roll(rows, -offset, 1) for offset in OFFSETS], -1)
        return rows, model(rows)[:, inside], right[:, inside]

    shares = []
    for step in range(sizes.steps):
        optimizer.set_lr(rate(step))
        _, logits, right = answer(sizes.batch)
        update(ts.ops.cross_entropy(logits, right), optimizer, parameters)
        shares.append(float((logits.numpy().argmax(-1) == right).mean()))
    with ts.no_grad(), ts.record() as r:
        rows, logits, right = answer(500)
    alpha = r["attention"].alpha.numpy()  # (500, heads, T, T)
    here = np.arange(sizes.length)[inside]
    on_offsets = np.stack([alpha[:, :, here, here + offset].mean((0, 2)) for offset in OFFSETS], -1)  # (heads, 4)
    steps, share = thinned(shares, most=40)
    return {
        "right": (logits.numpy().argmax(-1) == right).mean((0, 1)).tolist(),  # for each offset
        "parameters": sum(p.size for p in parameters),
        "step": steps,
        "share": share,
        "weight on the offsets": on_offsets.tolist(),
        "looks at": [OFFSETS[k] for k in on_offsets.argmax(-1)],
        "row": "".join(chr(ord("a") + letter) for letter in rows[0]),
        "alpha": alpha[0].round(3).tolist(),
    }


def claims(numbers: dict[str, Any]) -> list[Claim]:
    one, four = numbers["1"], numbers["4"]
    return [
        Claim("1 head: right answers", float(np.mean(one["right"])), "<=", 0.5),
        Claim("4 heads: right answers", float(np.mean(four["right"])), ">=", 0.98),
        Claim("4 heads: different places that they look at most", len(set(four["looks at"])), ">=", 4),
        Claim(
            "4 heads: least weight of a head on its place",
            min(max(weights) for weights in four["weight on the offsets"]),
            ">=",
            0.4,
        ),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    one, four = numbers["1"], numbers["4"]
    figure, (learning, *maps) = panels(3, 2, width=3.8, height=3.4)
    for heads, found in numbers.items():
        curve(learning, found["step"], found["share"], f"{heads} head{'s' if heads != '1' else ''}", **STYLES[heads])
    learning.set(title="four letters around", xlabel="training step", ylabel="share of right answers", ylim=(0, 1.03))
    learning.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.5))
    heat_map(maps[0], one["alpha"][0], one["row"], one["row"], "the only head of 1")
    order = sorted(range(4), key=lambda head: four["looks at"][head])
    for axes, head in zip(maps[1:], order, strict=True):
        title = f"head {head + 1} of 4: looks most at {four['looks at'][head]:+d}"
        image = heat_map(axes, four["alpha"][head], four["row"], four["row"], title)
    for axes in maps:
        axes.set(xlabel="keys", ylabel="queries")
    figure.colorbar(image, ax=maps, label="attention weight α", shrink=0.6, aspect=40)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "heads")
