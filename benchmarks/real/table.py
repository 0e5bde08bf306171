"""The real tasks by name: their files, their commands, their measure, what they must beat, and what is claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from experiments.common import Claim

from . import baselines

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
DATA = ROOT.parent / "shared" / "data"  # where the real data sets lie, beside the repository
RESULTS = ROOT / "benchmarks" / "results" / "real"

Kept = dict[str, Any]


class Source(NamedTuple):
    """Where a data set comes from."""

    name: str
    link: str
    licence: str


class Measure(NamedTuple):
    """What is reported."""

    name: str  # among the metrics of an evaluation
    unit: str
    digits: int
    smaller_is_better: bool = False

    def better(self, value: float, than: float) -> float:
        """By how much, in its unit."""
        return than - value if self.smaller_is_better else value - than

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}"


class Real(NamedTuple):
    """A real task. Its name is that of its recipe."""

    title: str
    about: str
    kind: str  # of `tinygrad-seq train`
    files: dict[str, str]  # option -> a path below the folder of data sets
    test: str | None  # the file that is judged in the end; None: the part that the training held out
    source: Source
    measure: Measure
    measured_on: str
    baselines: Callable[[Path], dict[str, float]]  # from the folder of data sets: name -> value of the measure
    margin: float  # by which the best baseline is beaten at least

    def command(self, name: str, folder: str, out: str) -> list[str]:
        """What a person types."""
        files = [word for option, path in self.files.items() for word in (f"--{option}", f"{folder}/{path}")]
        return ["tinygrad-seq", "train", self.kind, "--config", f"recipes/{name}.toml", *files, "--out", out]


# -- what is claimed of the kept numbers


def values(kept: Kept, side: str) -> list[float]:
    return [run[side]["value"] for run in kept["runs"]]


def seconds(kept: Kept, side: str) -> float:
    return fmean(run[side]["seconds"] for run in kept["runs"])


def spread(numbers: list[float]) -> float:
    """The standard deviation between seeds; 0 where there is one."""
    return stdev(numbers) if len(numbers) > 1 else 0.0


def claims(real: Real, kept: Kept) -> list[Claim]:
    """That the best baseline is beaten, and that PyTorch's twin is not better by more than seeds differ."""
    ours, theirs = values(kept, "ours"), values(kept, "torch")
    m, name = real.measure, max(kept["baselines"], key=lambda name: m.better(kept["baselines"][name], 0.0))
    ahead = m.better(fmean(ours), kept["baselines"][name])
    # Three standard errors of the difference of two means.
    noise = 3 * ((spread(ours) ** 2 + spread(theirs) ** 2) / len(ours)) ** 0.5
    return [
        Claim(f"better than {name}, by so many {m.unit}", ahead, ">=", real.margin),
        Claim(
            f"PyTorch's twin is better by no more than three standard errors between seeds, {m.text(noise)}",
            m.better(fmean(theirs), fmean(ours)),
            "<=",
            noise,
        ),
    ]
