"""How long a picture takes, and how large its page is, from ten boxes to BERT-base with everything opened."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts

from .scaling import exponent


class Subject(NamedTuple):
    """What is drawn, at several sizes."""

    about: str
    sizes: tuple[int, ...]
    value: Callable[[int], Any]  # a size -> the tensors to draw
    options: dict[str, Any]


def recurrence(T: int) -> Any:
    out, _ = ts.nn.LSTM(4, 8)(ts.tensor(np.zeros((1, T, 4), "float32")))
    return out


def loop(T: int) -> Any:
    cell, state = ts.nn.LSTMCell(4, 8), None
    for x_t in ts.ops.unstack(ts.tensor(np.zeros((1, T, 4), "float32")), axis=1):
        state = cell(x_t, state)
    return list(state or ())


def bert(layers: int) -> Any:
    return ts.models.BERT(ts.models.BERTConfig(num_hidden_layers=layers))(np.array([[101, 7592, 2088, 102]])).hidden


LENGTHS = (10, 30, 100, 300, 1000)
SUBJECTS = {
    "opened": Subject("LSTM over T steps, opened", (*LENGTHS, 5000), recurrence, {"open": all}),
    "grid": Subject("LSTM over T steps, as a grid", LENGTHS, recurrence, {"time": True}),
    "loop": Subject("a loop over an LSTM cell, as a grid", LENGTHS, loop, {"time": True}),
    "bert": Subject("BERT, as wide as BERT-base", (1, 3, 12), bert, {}),
    "bert opened": Subject("BERT, as wide as BERT-base, opened", (1, 3, 12), bert, {"open": all}),
}


def measure_pictures(subjects: dict[str, Subject], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """{subject: about, sizes, and for each size: boxes, shown, the least seconds to DOT, SVG and page, the page's MB;
    exponent: of the seconds to DOT against the boxes}."""
    found: dict[str, Any] = {}
    for name, (about, sizes, value, options) in subjects.items():
        lines: dict[str, list[float]] = {key: [] for key in ("boxes", "shown", "dot", "svg", "page", "MB")}
        for size in sizes:
            drawn = value(size)
            times: dict[str, list[float]] = {key: [] for key in ("dot", "svg", "page")}
            with tempfile.TemporaryDirectory() as folder:
                page = Path(folder) / "page.html"
                for _ in range(rounds):
                    graph = ts.graph(drawn, **options)
                    for key, draw in (
                        ("dot", lambda: ts.graph(drawn, **options).dot),  # noqa: B023  # called at once
                        ("svg", lambda: ts.graph(drawn, **options).svg()),  # noqa: B023
                        ("page", lambda: graph.save(page)),  # noqa: B023
                    ):
                        start = time.perf_counter()
                        draw()
                        times[key].append(time.perf_counter() - start)
                lines["MB"].append(page.stat().st_size / 1e6)
            lines["boxes"].append(sum(graph.size))
            lines["shown"].append(graph.size.shown)
            for key, seconds in times.items():
                lines[key].append(min(seconds))
            say(f"picture of {about}, {size}")
        found[name] = {
            "about": about,
            "sizes": list(sizes),
            **lines,
            "exponent": exponent(lines["boxes"], lines["dot"]),
        }
    return found
