"""What every experiment shares: claims with thresholds, numbers kept as JSON, pictures, and its command line.

An experiment is a file with three parts, read from top to bottom:

    run(quick, seed) -> Outcome        trains and measures: the numbers, in JSON's kinds alone
    claims(numbers) -> [Claim, …]      what they must bear out, the failure of the weaker model included
    draw(numbers) -> figure            the picture of them

Claims and picture depend on the numbers alone, so that the kept ones can be judged and drawn again without training.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tinygrad_seq as ts
from tinygrad_seq.viz.plots import new_figure

RESULTS = Path(__file__).resolve().parent / "results"  # the numbers that docs/experiments.md quotes
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "images" / "experiments"

# Okabe and Ito, 2008: told apart by colour-blind eyes. An architecture has one colour in all pictures.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
# In print, without colour, the marker and the line tell them apart.
STYLES: dict[str, dict[str, Any]] = {
    "bigram": {"color": BLACK, "marker": "x", "linestyle": ":"},
    "feed-forward": {"color": ORANGE, "marker": "s", "linestyle": "-."},
    "sigmoid RNN": {"color": PURPLE, "marker": "v", "linestyle": ":"},
    "tanh RNN": {"color": RED, "marker": "^", "linestyle": "--"},
    "LSTM": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "GRU": {"color": GREEN, "marker": "D", "linestyle": "-."},
}


class Claim(NamedTuple):
    """One sentence that a number must bear out."""

    sentence: str
    value: float
    relation: str  # "<=" or ">="
    threshold: float

    @property
    def holds(self) -> bool:
        return self.value <= self.threshold if self.relation == "<=" else self.value >= self.threshold

    def __str__(self) -> str:
        judged = "holds" if self.holds else "FAILS"
        return f"{judged}  {self.value:.4g} {self.relation} {self.threshold:g}  {self.sentence}"


class Outcome(NamedTuple):
    """What an experiment found."""

    claims: list[Claim]
    numbers: dict[str, Any]  # everything that was measured, JSON's kinds alone
    draw: Callable[[], Any]  # -> a matplotlib figure


def outcome(
    numbers: dict[str, Any], claims: Callable[[dict[str, Any]], list[Claim]], draw: Callable[[dict[str, Any]], Any]
) -> Outcome:
    """An outcome of numbers cut to six digits, from which its claims and its picture are made."""
    short = six_digits(numbers)
    return Outcome(claims(short), short, lambda: draw(short))


def six_digits(x: Any) -> Any:
    """The same with six significant digits, and None instead of what JSON cannot say: infinite, not a number.

    >>> six_digits({"loss": [0.123456789, float("nan")], "steps": 1000})
    {'loss': [0.123457, None], 'steps': 1000}
    """
    if isinstance(x, dict):
        return {name: six_digits(each) for name, each in x.items()}
    if isinstance(x, list | tuple):
        return [six_digits(each) for each in x]
    if isinstance(x, float):
        return float(f"{x:.6g}") if math.isfinite(x) else None
    return x


def thinned(values: Sequence[float], most: int = 150) -> tuple[list[int], list[float]]:
    """A long curve for JSON: means over equal stretches, and the step in the middle of each.

    >>> thinned([4.0, 2.0, 1.0, 1.0], most=2)
    ([1, 3], [3.0, 1.0])
    """
    width = -(-len(values) // most)
    starts = range(0, len(values), width)
    stretches = [values[k : k + width] for k in starts]
    return [k + len(each) // 2 for k, each in zip(starts, stretches, strict=True)], [
        math.fsum(each) / len(each) if all(map(math.isfinite, each)) else math.nan for each in stretches
    ]


def panels(columns: int, rows: int = 1, *, width: float = 4.6, height: float = 3.8) -> tuple[Any, list[Any]]:
    """A figure of plots in a grid, row by row, each so many inches wide and high, with light lines across."""
    figure = new_figure(columns * width, rows * height)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(rows * columns)]
    for each in axes:
        each.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curve(axes: Any, x: Sequence[float], y: Sequence[float | None], label: str, **style: Any) -> None:
    """A line with some ten markers; gaps where y is None. A known architecture has its style."""
    style = STYLES.get(label, {}) | style
    values = [math.nan if each is None else each for each in y]
    axes.plot(x, values, label=label, markersize=5, markevery=max(1, len(x) // 10), linewidth=1.6, **style)


def heat_map(axes: Any, alpha: Any, rows: str, columns: str, title: str) -> Any:
    """Attention weights, dark where they are large: a row for each query's letter, a column for each key's."""
    image = axes.imshow(alpha, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", pad=11)
    axes.set_xticks(range(len(columns)), [each.replace(" ", "␣") for each in columns], fontsize=8, va="baseline")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.set_title(title, fontsize=10)
    return image


def update(loss: ts.Tensor, optimizer: Any, parameters: Sequence[ts.Tensor], clip: float = 1.0) -> float:
    """One step of gradient descent, the gradient clipped to that norm: the loss before it."""
    optimizer.zero_grad()
    loss.backward()
    ts.optim.clip_grad_norm(parameters, clip)
    optimizer.step()
    return loss.item()


def module(name: str) -> Any:
    """The file of an experiment."""
    return importlib.import_module(f"experiments.{name}")


def main(run: Callable[..., Outcome], about: str | None, name: str) -> None:
    """The command line of an experiment: `python -m experiments.NAME [--quick] [--seed N] [--picture FILE] [--keep]`.

    Args:
        run: (quick, seed) -> Outcome; quick is the same on a smaller scale, for the tests.
        about: the file's docstring; name: of the file.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, with thresholds to match")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where to draw what it finds")
    parser.add_argument("--keep", action="store_true", help="keep the numbers and the picture that the docs show")
    options = parser.parse_args()
    if options.quick and options.keep:
        parser.error("the docs show the whole experiment: --keep without --quick")
    found, seconds = tried(run, name, quick=options.quick, seed=options.seed)
    if options.picture:
        save_picture(found.draw(), options.picture)
    if options.keep:
        keep(name, found, options.seed, seconds)
    sys.exit(0 if all(claim.holds for claim in found.claims) else 1)


def tried(run: Callable[..., Outcome], name: str, *, quick: bool = False, seed: int = 0) -> tuple[Outcome, float]:
    """Run an experiment and print its claims: what it found, and the seconds it took."""
    start = time.process_time()  # of the processor: another program's work does not count
    found = run(quick=quick, seed=seed)
    seconds = time.process_time() - start
    for claim in found.claims:
        print(claim)
    print(f"{name}: {seconds:.0f} s, seed {seed}", flush=True)
    return found, seconds


def keep(name: str, found: Outcome, seed: int, seconds: float) -> None:
    """Write the numbers and the picture."""
    RESULTS.mkdir(exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    claims = [{**claim._asdict(), "holds": claim.holds} for claim in found.claims]
    text = json.dumps(
        {"seed": seed, "seconds": round(seconds), "claims": claims, "numbers": found.numbers},
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    # A list of numbers on one line.
    text = re.sub(r"\[([-+.\de\s,]|null)*\]", lambda numbers: re.sub(r"\s+", " ", numbers[0]), text)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    save_picture(found.draw(), PICTURES / f"{name}.png")


def save_picture(figure: Any, path: Path) -> None:
    """A PNG of 256 colours, which is a third as large. With 64 a rare one came out as another."""
    from PIL import Image  # comes with matplotlib

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, bbox_inches="tight")
    Image.open(buffer).convert("RGB").quantize(256).save(path, optimize=True)


def kept(name: str) -> dict[str, Any]:
    """What `keep` wrote: seed, seconds, claims, numbers."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
