"""The bottleneck between encoder and decoder.

"In encoder-decoder models, all information must pass through a fixed-size vector. Problem: Information gets lost for
long sequences."

Strings of 8 letters, 1 to 30 of them, are to be said backwards, which is kind to a vector: what was read last is
wanted first. An encoder–decoder without attention and one with attention have the same widths; the first one, whose
steps are cheaper, is trained for three times as many. Judged on new strings of each length: without attention all goes
well up to some length, and then nothing; with attention the length does not matter. The same without attention and
other widths shows that it is the vector: a wider one holds longer strings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.models import AttentionDecoder, AttentionDecoderConfig, EncoderDecoder, EncoderDecoderConfig
from tinygrad_seq.viz.plots import BLUE, GREEN, ORANGE, PURPLE, RED, SKY, panels

from .common import Claim, Outcome, curve, main, outcome, update

LETTERS = ts.data.Vocabulary.from_sequences("abcdefgh")
WITH, WITHOUT = "with attention", "without attention"
STYLES: dict[str, dict[str, Any]] = {
    WITH: {"color": BLUE, "marker": "o", "linestyle": "-"},
    WITHOUT: {"color": RED, "marker": "^", "linestyle": "--"},
}
WIDTHS = [  # from the narrowest to the widest
    {"color": SKY, "marker": "v", "linestyle": ":"},
    {"color": ORANGE, "marker": "s", "linestyle": "-."},
    {"color": PURPLE, "marker": "D", "linestyle": "--"},
    {"color": GREEN, "marker": "P", "linestyle": "-"},
]


class Sizes(NamedTuple):
    """How much is trained."""

    most: int = 30  # letters
    lengths: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)  # judged
    width: int = 64
    widths: tuple[int, ...] = (16, 32, 64, 128)  # without attention
    batch: int = 32
    rate: float = 0.005
    steps: int = 1000
    longer: int = 3  # so many times without attention
    strings: int = 200  # of each length
    required: float = 0.8  # of the longest strings without a mistake


QUICK = Sizes(
    most=10,
    lengths=(1, 2, 3, 6, 8, 10),
    width=32,
    widths=(6, 32),
    batch=64,
    rate=0.02,
    steps=250,
    longer=1,
    strings=100,
    required=0.5,
)


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    letters = len(LETTERS)
    ts.seed(seed)
    attention = AttentionDecoder(
        AttentionDecoderConfig(letters, letters, 16, sizes.width, score="bilinear", order="luong")
    )
    right = train(attention, sizes.steps, sizes, seed)
    by_width = {}
    for width in sizes.widths:
        ts.seed(seed)
        model = EncoderDecoder(EncoderDecoderConfig(letters, letters, 16, width))
        by_width[str(width)] = train(model, sizes.longer * sizes.steps, sizes, seed)
    found = {"length": list(sizes.lengths), WITH: right, WITHOUT: by_width[str(sizes.width)], "by width": by_width}
    return outcome(found | {"required": sizes.required}, claims, draw)


def train(model: Any, steps: int, sizes: Sizes, seed: int) -> list[float]:
    """The share of new strings without a mistake, for each length."""
    parameters = model.parameters()
    optimizer = ts.optim.Adam(parameters, sizes.rate)
    schedules = ts.optim.schedules
    rate = schedules.linear_warmup(schedules.cosine(sizes.rate, steps), 100)
    first = 1_000_000 * seed
    for step in range(steps):
        # A seed of its own for each batch; those below are the new strings'.
        pairs = ts.data.reversal(sizes.batch, seed=first + 1000 + step, max_length=sizes.most)
        source, lengths = ts.data.pad_batch([LETTERS.encode(text) for text, _ in pairs])
        target, _ = ts.data.pad_batch([LETTERS.encode(text, bos=True, eos=True) for _, text in pairs])
        optimizer.set_lr(rate(step))
        update(model.loss(source, target, lengths), optimizer, parameters)
    shares = []
    for T in sizes.lengths:
        pairs = ts.data.reversal(sizes.strings, seed=first + T, min_length=T, max_length=T)
        written = model.generate([LETTERS.encode(text) for text, _ in pairs], T + 1, temperature=0)
        said = ["".join(LETTERS.decode(row)) for row in written]
        shares.append(float(np.mean([text == right for text, (_, right) in zip(said, pairs, strict=True)])))
    return shares


def claims(numbers: dict[str, Any]) -> list[Claim]:
    short, long, widths = numbers["length"][2], numbers["length"][-1], list(numbers["by width"])
    hold = {width: holds(numbers["length"], right) for width, right in numbers["by width"].items()}
    return [
        Claim(
            f"with attention, {long} letters: strings without a mistake", numbers[WITH][-1], ">=", numbers["required"]
        ),
        Claim(f"without attention, {long} letters: strings without a mistake", numbers[WITHOUT][-1], "<=", 0.1),
        Claim(f"without attention, {short} letters: strings without a mistake", numbers[WITHOUT][2], ">=", 0.9),
        Claim(
            f"without attention: letters that {widths[-1]} numbers hold, beyond those that {widths[0]} hold",
            hold[widths[-1]] - hold[widths[0]],
            ">=",
            long / 5,
        ),
    ]


def holds(lengths: list[int], right: list[float]) -> int:
    """The longest strings of which half are without a mistake."""
    return max((T for T, share in zip(lengths, right, strict=True) if share >= 0.5), default=0)


def draw(numbers: dict[str, Any]) -> Any:
    figure, (both, widths) = panels(2, width=5.2)
    for name, style in STYLES.items():
        curve(both, numbers["length"], numbers[name], name, **style)
    for (width, right), style in zip(numbers["by width"].items(), WIDTHS, strict=False):
        curve(widths, numbers["length"], right, f"{width} numbers", **style)
    both.set(title="strings said backwards")
    widths.set(title="without attention: vectors of several sizes")
    for axes in (both, widths):
        axes.set(xlabel="length of the string, letters", ylabel="share without a mistake", ylim=(-0.02, 1.02))
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "bottleneck")
