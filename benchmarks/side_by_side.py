"""A row, measured: contenders are compared, then they take turns; medians, quartiles, ratios within each round."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .contender import KINDS, Contender, Failed, missing
from .steps import Arrays

TOLERANCE = 1e-4  # of the largest element of a float32 array; integers must be equal
OURS, BASE = "numpy", "torch"  # whose weights and results all others' are; whose time the ratios begin with
WARM_UP = 0.0  # seconds: a turn that is as short as can be


class Row(NamedTuple):
    """One thing that is measured."""

    about: str
    module: ModuleType  # a file of benchmarks/rows
    sizes: Any  # that file's Sizes
    contenders: tuple[str, ...]
    unit: str = "ms a step"  # or "tokens/s" or "µs an op", by the `count` of the sizes
    # At full size; in small it is TOLERANCE for all. Where an input of a ReLU rounds to the other side of 0, the
    # gradient of that unit changes by a hundredth; of a few million inputs one or the other does.
    tolerance: float = TOLERANCE


class Settings(NamedTuple):
    """How much is measured."""

    rounds: int = 15
    seconds: float = 0.5  # of a turn
    threads: int = 1
    contenders: Collection[str] = tuple(KINDS)  # of which a row takes those that it has


class Spread(NamedTuple):
    """The median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median and the quartiles.

    >>> spread([4.0, 1.0, 2.0, 3.0, 9.0])
    Spread(median=3.0, low=2.0, high=4.0)
    """
    low, median, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(median, low, high)


def difference(found: Arrays, expected: Arrays) -> float:
    """The largest difference between two results: of each array, as a part of its largest element.

    An array that is nearly nothing beside the others counts as if a thousandth of their largest element were in it: of
    a gradient that is 0 in theory, only rounding errors are there. Of integers it is 1 where any differs.

    >>> difference({"a": np.array([1.0, 2.5])}, {"a": np.array([1.0, 2.0])})
    0.25
    """
    if found.keys() != expected.keys():
        raise Failed(f"results that are not on both sides: {sorted(found.keys() ^ expected.keys())}")
    size = {name: float(np.abs(array).max(initial=0)) for name, array in expected.items()}
    worst, least = 0.0, 1e-3 * max(size.values(), default=0)
    for name, array in expected.items():
        other = np.asarray(found[name])
        if other.shape != array.shape:
            raise Failed(f"{name}: expected {array.shape}, got {other.shape}")
        if array.dtype.kind in "iu":
            worst = max(worst, float((other != array).any()))
        else:
            apart = float(np.abs(other - array).max(initial=0)) / (max(size[name], least) or 1)
            worst = apart if not apart <= worst else worst  # not a number is worst of all
    return worst


def measure(row: Row, settings: Settings) -> dict[str, Any]:
    """All contenders of a row.

    Returns:
        about, sizes, unit, count; skipped and failed: {name: why}; contenders: {name:
            seconds of a step, a Spread; rounds, the median of each;
            ratio, a Spread: PyTorch's time / its own, round by round;
            memory, MB: the peak over what was there before its model; loaded, MB: what the library brought with its
            first steps, on a tiny model, over its import;
            difference of its result to ours}.
    """
    with ExitStack() as stack:
        race = _Race(row, settings, stack)
        try:
            contenders = _measure(race, row, settings)
        except Failed as error:
            contenders, race.failed = {}, race.failed | {OURS: str(error)}
    return {
        "about": row.about,
        "sizes": vars(row.sizes),
        "unit": row.unit,
        "count": getattr(row.sizes, "count", 1),
        "contenders": contenders,
        "skipped": race.skipped,
        "failed": race.failed,
    }


def _measure(race: "_Race", row: Row, settings: Settings) -> dict[str, dict[str, Any]]:
    imported = race.answers()
    measured = (OURS, "fast", BASE)  # whose memory is compared
    race.build(row.module.TINY, TOLERANCE, [name for name in race.running if not KINDS[name].compiled])
    race.each("turn", WARM_UP, of=measured)
    start = race.each("resident", of=measured)
    differences = race.build(row.sizes, row.tolerance)
    race.each("turn", WARM_UP)  # what is compiled, is compiled now
    peak = race.each("peak", of=measured)
    turns: dict[str, list[list[float]]] = {name: [] for name in race.running}
    for _ in range(settings.rounds):
        for name, seconds in race.each("turn", settings.seconds).items():
            turns[name].append(seconds)
    rounds = {name: [float(np.median(turn)) for turn in turns[name]] for name in race.running}
    contenders = {}
    for name, medians in rounds.items():
        found: dict[str, Any] = {
            "seconds": spread([t for turn in turns[name] for t in turn])._asdict(),
            "rounds": medians,
        }
        if BASE in rounds:
            found["ratio"] = spread([base / own for base, own in zip(rounds[BASE], medians, strict=True)])._asdict()
        if peak.get(name) is not None:
            found |= {"memory": peak[name] - start[name], "loaded": start[name] - imported[name]}
        if name in differences:
            found["difference"] = differences[name]
        contenders[name] = found
    return contenders


class _Race:
    """The contenders that are still in it. Whoever fails is dropped, with the reason; without ours there is no race."""

    def __init__(self, row: Row, settings: Settings, stack: ExitStack) -> None:
        asked = [name for name in row.contenders if name in settings.contenders or name == OURS]
        self.module = row.module
        self.skipped = {name: reason for name in asked if (reason := missing(name))}
        self.failed: dict[str, str] = {}
        self.running = {
            name: stack.enter_context(Contender(KINDS[name], row.module.__name__, settings.threads))
            for name in asked
            if name not in self.skipped
        }

    def each(self, method: str, *args: Any, of: Collection[str] | None = None) -> dict[str, Any]:
        """Ask one after another, all or some: the answers of those that give one."""
        answers = {}
        for name in [each for each in self.running if of is None or each in of]:
            try:
                answers[name] = self.running[name].call(method, *args)
            except Failed as error:
                self.drop(name, str(error))
        return answers

    def answers(self) -> dict[str, Any]:
        """To what all were asked when they started."""
        answers = {}
        for name in list(self.running):
            try:
                answers[name] = self.running[name].answer()
            except Failed as error:
                self.drop(name, str(error))
        return answers

    def drop(self, name: str, reason: str) -> None:
        if name == OURS:
            raise Failed(reason)
        self.failed[name] = reason
        self.running.pop(name).close()

    def build(self, sizes: Any, tolerance: float, of: Collection[str] | None = None) -> dict[str, float]:
        """Give all or some the same batch and weights, and drop those that come to another result: the differences."""
        arrays = self.module.batch(sizes, np.random.default_rng(0))
        self.each("build", sizes, arrays, None, of=(OURS,))
        weights, expected = self.each("weights", of=(OURS,))[OURS], self.each("result", of=(OURS,))[OURS]
        others = [name for name in self.running if name != OURS and (of is None or name in of)]
        self.each("build", sizes, arrays, weights, of=others)
        differences = {}
        for name, result in self.each("result", of=[name for name in others if name != "products"]).items():
            try:
                differences[name] = difference(result, expected)
                if not differences[name] <= tolerance:
                    raise Failed(f"its result is not ours: {differences[name]:.1e} apart, more than {tolerance:.0e}")
            except Failed as error:
                self.drop(name, str(error))
        return differences
