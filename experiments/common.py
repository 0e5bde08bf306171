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
from tinygrad_seq.viz import plots
from tinygrad_seq.viz.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED

RESULTS = Path(__file__).resolve().parent / "results"  # the numbers that docs/experiments.md quotes
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "images" / "experiments"

# An architecture has one colour in all pictures.
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


def curve(axes: Any, x: Sequence[float], y: Sequence[float | None], label: str, **style: Any) -> None:
    """A line with some ten markers; gaps where y is None. A known architecture has its style."""
    plots.curve(axes, x, y, label, **(STYLES.get(label, {}) | style))


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
