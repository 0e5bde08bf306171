"""Dates, rewritten by attention.

"Alignment: Helpful for translation (which source words map to which target words)"

A date as people write it, in one of 18 spellings, is to be written as ISO 8601 has it: "the 3rd of August 1984" becomes
1984-08-03. A decoder with attention and one without, of the same widths, see the same pairs for the same steps,
and rewrite 5,000 that were not among them; only a date without any mistake counts. Nobody tells the decoder where year,
month and day stand: its weights α show that it found out. They run forward where the source has the order of the
target, and jump back where it has not.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.models import AttentionDecoder, AttentionDecoderConfig, EncoderDecoder, EncoderDecoderConfig
from tinygrad_seq.viz.plots import BLUE, RED, heat_map, panels

from .common import Claim, Outcome, curve, main, outcome, update

WITH, WITHOUT = "with attention", "without attention"
STYLES: dict[str, dict[str, Any]] = {
    WITH: {"color": BLUE, "marker": "o", "linestyle": "-"},
    WITHOUT: {"color": RED, "marker": "^", "linestyle": "--"},
}
PARTS = {"year": slice(0, 4), "month": slice(5, 7), "day": slice(8, 10)}  # of YYYY-MM-DD
# Drawn: the first unseen date of each of these spellings.
SHOWN = (
    r"\d{4} [A-Z][a-z]+ \d+",
    r"[A-Z][a-z]+day, [A-Z][a-z]+ \d+, \d+",
    r"the \d+.. of .*",
    r"\d+\.\d+\.\d{4}",
    r"\d+-[A-Z]..-\d+",
)


class Sizes(NamedTuple):
    """How much is trained."""

    spellings: str = r".*"
    pairs: int = 50_000
    unseen: int = 5_000
    embedding: int = 16
    hidden: int = 64
    batch: int = 64
    rate: float = 0.005
    steps: int = 1500
    required: float = 0.999  # of the dates without a mistake


QUICK = Sizes(spellings=r"\d+[./]\d+[./]\d+", pairs=20_000, unseen=2_000, batch=32, rate=0.02, steps=250, required=0.95)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    task = Task(sizes, seed)
    models = {WITH: AttentionDecoder, WITHOUT: EncoderDecoder}
    found: dict[str, Any] = {name: train(kind, task, sizes, seed) for name, kind in models.items()}
    return outcome(found | {"required": sizes.required}, claims, draw)


class Task:
    """The pairs as numbers; those up to `unseen` are never trained on."""

    def __init__(self, sizes: Sizes, seed: int) -> None:
        pairs = ts.data.dates(sizes.pairs + sizes.unseen, seed=seed)
        self.pairs = [pair for pair in pairs if re.fullmatch(sizes.spellings, pair[0])]
        self.unseen = sizes.unseen * len(self.pairs) // len(pairs)
        self.letters = ts.data.Vocabulary.from_sequences(source for source, _ in self.pairs)
        self.symbols = ts.data.Vocabulary.from_sequences(target for _, target in self.pairs)
        self.source, self.lengths = ts.data.pad_batch([self.letters.encode(source) for source, _ in self.pairs])
        self.target, _ = ts.data.pad_batch([self.symbols.encode(t, bos=True, eos=True) for _, t in self.pairs])

    def rows(self, at: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lengths = self.lengths[at]
        return self.source[at, : lengths.max()], self.target[at], lengths


def train(kind: Any, task: Task, sizes: Sizes, seed: int) -> dict[str, Any]:
    """The share of unseen dates without a mistake, on the way and at the end, and where the decoder looked."""
    ts.seed(seed)
    config: Any = AttentionDecoderConfig if kind is AttentionDecoder else EncoderDecoderConfig
    model = kind(config(len(task.letters), len(task.symbols), sizes.embedding, sizes.hidden))
    parameters = model.parameters()
    optimizer = ts.optim.Adam(parameters, sizes.rate)
    schedules = ts.optim.schedules
    rate = schedules.linear_warmup(schedules.cosine(sizes.rate, sizes.steps), 100)
    rng = np.random.default_rng(seed)
    steps, shares = [], []
    for step in range(sizes.steps):
        if step % (sizes.steps // 10) == 0:
            steps.append(step)
            shares.append(exact(model, task, task.unseen // 10))
        optimizer.set_lr(rate(step))
        batch = rng.integers(task.unseen, len(task.pairs), sizes.batch)
        update(model.loss(*task.rows(batch)), optimizer, parameters)
    share = exact(model, task, task.unseen)
    found = {
        "exact": share,
        "unseen": task.unseen,
        "parameters": sum(p.size for p in parameters),
        "step": [*steps, sizes.steps],
        "share": [*shares, share],
    }
    return found | alignment(model, task) if kind is AttentionDecoder else found


def exact(model: Any, task: Task, n: int) -> float:
    """The share of the first n dates that the model writes without any mistake."""
    right = 0
    for first in range(0, n, 500):
        pairs = task.pairs[first : min(first + 500, n)]
        written = model.generate([task.letters.encode(source) for source, _ in pairs], 12, temperature=0)
        right += sum(
            "".join(task.symbols.decode(row)) == target for row, (_, target) in zip(written, pairs, strict=True)
        )
    return right / n


def alignment(model: AttentionDecoder, task: Task) -> dict[str, Any]:
    """How much of the weight of year, month and day lies on where they stand, and whether the look goes on or back."""
    n = min(task.unseen, 1000)
    with ts.no_grad(), ts.record() as r:
        source, target, lengths = task.rows(np.arange(n))
        model(source, target[:, :-1], lengths)
    alpha = r["attention"].alpha.numpy()  # (n, 11, S)
    weight: dict[str, list[float]] = {part: [] for part in PARTS}
    even: dict[str, list[float]] = {part: [] for part in PARTS}  # if all letters had the same weight
    forward: dict[bool, list[bool]] = {True: [], False: []}  # year, month, day in this order -> looked at in this order
    for (text, date), a in zip(task.pairs, alpha, strict=False):
        where, looked_at = places(text, date), []
        for part, digits in PARTS.items():
            weight[part].append(float(a[digits, where[part]].sum(-1).mean()))
            even[part].append((where[part].stop - where[part].start) / len(text))
            looked_at.append(a[digits].mean(0) @ np.arange(a.shape[1]))  # the mean place
        in_order = where["year"].start < where["month"].start < where["day"].start
        forward[in_order].append(looked_at == sorted(looked_at))
    shown = [next((k for k, (s, _) in enumerate(task.pairs[:n]) if re.fullmatch(p, s)), None) for p in SHOWN]
    return {
        "weight": {part: float(np.mean(values)) for part, values in weight.items()},
        "weight if even": {part: float(np.mean(values)) for part, values in even.items()},
        "forward": {"in order": float(np.mean(forward[True])), "not in order": float(np.mean(forward[False]))},
        "shown": [
            {
                "source": task.pairs[k][0],
                "target": task.pairs[k][1],
                "alpha": alpha[k, :10, : task.lengths[k]].round(3).tolist(),
            }
            for k in shown
            if k is not None
        ],
    }


def places(source: str, target: str) -> dict[str, slice]:
    """Where the letters of year, month and day stand.

    >>> places("Friday, 3 August 1984", "1984-08-03")
    {'day': slice(8, 9, None), 'month': slice(10, 16, None), 'year': slice(17, 21, None)}
    """
    year, month, day = target.split("-")
    months = "jan feb mar apr may jun jul aug sep oct nov dec".split()
    words = [m for m in re.finditer(r"[a-z]+", source.lower()) if m[0][:3] == months[int(month) - 1]]
    numbers = [*re.finditer(r"\d+", source)]
    which = next((m for m in numbers if m[0] == year), numbers[-1])  # a year of two digits stands last
    numbers.remove(which)
    if words:
        found = {"day": numbers[0], "month": words[-1], "year": which}
    else:
        first, second = numbers
        found = {"month": first, "day": second} if int(first[0]) == int(month) else {"day": first, "month": second}
        found["year"] = which
    return {part: slice(*m.span()) for part, m in found.items()}


def claims(numbers: dict[str, Any]) -> list[Claim]:
    attention, required = numbers[WITH], numbers["required"]
    weight, forward = attention["weight"], attention["forward"]
    return [
        Claim("with attention: unseen dates without a mistake", attention["exact"], ">=", required),
        Claim("without attention: unseen dates without a mistake", numbers[WITHOUT]["exact"], "<=", 0.7),
        Claim("weight of the year's digits that lies on the year", weight["year"], ">=", 0.9),
        Claim("weight of the month's digits that lies on the month", weight["month"], ">=", 0.6),
        Claim("weight of the day's digits that lies on the day", weight["day"], ">=", 0.65),
        Claim("year, month, day in this order: dates looked at from left to right", forward["in order"], ">=", 0.95),
        Claim("in another order: dates looked at from left to right", forward["not in order"], "<=", 0.05),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    shown = numbers[WITH]["shown"]
    figure, (learning, *maps) = panels(3, -(-(1 + len(shown)) // 3), width=4.4, height=3.6)
    for name, style in STYLES.items():
        curve(learning, numbers[name]["step"], numbers[name]["share"], name, **style)
    learning.set(title="unseen dates", xlabel="training step", ylabel="share without a mistake", ylim=(-0.02, 1.02))
    learning.legend(frameon=False, loc="center left", bbox_to_anchor=(0.35, 0.62))
    figure.get_layout_engine().set(hspace=0.05)
    for axes in maps[len(shown) :]:
        axes.remove()
    for axes, each in zip(maps, shown, strict=False):
        image = heat_map(axes, each["alpha"], each["target"], each["source"], each["source"])
        axes.set(xlabel="read", ylabel="written")
    figure.colorbar(image, ax=maps[: len(shown)], label="attention weight α", shrink=0.6, aspect=40)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "dates")
