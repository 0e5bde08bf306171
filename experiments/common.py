"""What every experiment shares: claims with thresholds, numbers kept as JSON, pictures, and its command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tinygrad_seq as ts

RESULTS = Path(__file__).resolve().parent / "results"  # the numbers that docs/experiments.md quotes
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "images" / "experiments"


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
        return f"{'holds' if self.holds else 'FAILS'}  {self.value:.4g} {self.relation} {self.threshold:g}  {self.sentence}"


class Outcome(NamedTuple):
    """What an experiment found."""

    claims: list[Claim]
    numbers: dict[str, Any]  # everything that was measured, JSON's kinds alone
    draw: Callable[[], Any]  # -> a matplotlib figure


def main(run: Callable[..., Outcome], about: str | None, name: str) -> None:
    """The command line of an experiment: `python -m experiments.NAME [--quick] [--seed N] [--keep]`.

    Args:
        run: (quick, seed) -> Outcome; quick is the same on a smaller scale, for the tests.
        about: the file's docstring; name: of the file.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, with thresholds to match")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the numbers and the picture that the docs show")
    options = parser.parse_args()
    ts.seed(options.seed)
    start = time.perf_counter()
    outcome = run(quick=options.quick, seed=options.seed)
    seconds = time.perf_counter() - start
    for claim in outcome.claims:
        print(claim)
    print(f"{seconds:.0f} s, seed {options.seed}")
    if options.keep:
        keep(name, outcome, options.seed, seconds)
    sys.exit(0 if all(claim.holds for claim in outcome.claims) else 1)


def keep(name: str, outcome: Outcome, seed: int, seconds: float) -> None:
    """Write the numbers and the picture."""
    RESULTS.mkdir(exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    claims = [{**claim._asdict(), "holds": claim.holds} for claim in outcome.claims]
    found = {"seed": seed, "seconds": round(seconds), "claims": claims, "numbers": outcome.numbers}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    outcome.draw().savefig(PICTURES / f"{name}.png", dpi=110, bbox_inches="tight")
