"""How the time of a step grows with time, batch, width, and with the number of operations in a graph."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .side_by_side import Settings, measure
from .table import ROWS


class Series(NamedTuple):
    """A row with one of its sizes going through several values."""

    about: str
    row: str
    size: str
    values: tuple[int, ...]


SERIES = {
    "T": Series("LSTM, H 256, B 32", "lstm-256", "T", (16, 64, 256, 1024, 4096)),
    "B": Series("LSTM, H 256, T 64", "lstm-256", "B", (1, 4, 16, 64, 256)),
    "H": Series("LSTM, B 32, T 64", "lstm-256", "H", (32, 64, 128, 256, 512, 1024)),
    "ops": Series("operations on 1×1 tensors", "overhead", "ops", (100, 1000, 10_000, 100_000, 1_000_000)),
}
CONTENDERS = ("numpy", "fast", "torch")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """k in value ≈ c · size^k, fitted to the upper half of the sizes, where what does not grow counts least.

    >>> round(exponent([1, 2, 4, 8], [9, 4, 16, 64]), 6)
    2.0
    """
    half = min(len(sizes) // 2, len(sizes) - 2)
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def measure_series(series: Series, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """{about, size, contenders: {name: values of the size, seconds of a step, exponent}, failed: {name: why}}."""
    row = ROWS[series.row]._replace(contenders=CONTENDERS)
    found: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for value in series.values:
        measured = measure(row._replace(sizes=replace(row.sizes, **{series.size: value})), settings)
        failed |= {f"{name}, {series.size} {value}": reason for name, reason in measured["failed"].items()}
        for name, each in measured["contenders"].items():
            line = found.setdefault(name, {"values": [], "seconds": []})
            line["values"].append(value)
            line["seconds"].append(each["seconds"]["median"])
        say(f"{series.about}, {series.size} {value}")
    for line in found.values():
        line["exponent"] = exponent(line["values"], line["seconds"]) if len(line["values"]) > 1 else None
    return {"about": series.about, "size": series.size, "contenders": found, "failed": failed}
