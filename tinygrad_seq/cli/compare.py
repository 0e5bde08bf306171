"""`tinygrad-seq compare`: several runs in one table and one plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from .. import viz
from ..train import RunLog, read_log
from ..train.task import SMALLER_IS_BETTER, is_better
from .run import config_of

IGNORED = ("device", "threads", "checkpoint_every", "evaluate_every")  # of the settings that differ


class Compared(NamedTuple):
    """A run, as its config and its log tell of it."""

    folder: Path
    kind: str
    config: Any
    log: RunLog
    best: tuple[int, dict[str, float]]


def compare(folders: Sequence[Path], *, metric: str, out: Path | None, as_json: bool) -> None:
    """Print a table of runs, the best first, and draw their validation curves."""
    if len(set(folders)) < len(folders):
        raise ValueError("each run is compared once, but a folder is named twice")
    runs = [_read(folder, metric) for folder in folders]
    runs.sort(key=lambda run: run.best[1][metric], reverse=metric not in SMALLER_IS_BETTER)
    changed = _changed(runs)
    if out is not None:
        shown = {str(run.folder): [(step, each[metric]) for step, each in run.log.validation] for run in runs}
        viz.comparison_plot(shown, out, label=metric.replace("_", " "))
    if as_json:
        typer.echo(json.dumps({"metric": metric, "runs": [_plain(run, changed) for run in runs]}))
        return
    console = Console(highlight=False, width=10_000)  # a table that is too wide is better than cut words
    console.print(_table(runs, metric, changed))
    if out is not None:
        typer.echo(str(out))


def _read(folder: Path, metric: str) -> Compared:
    kind, config = config_of(folder)
    log = read_log(folder)
    if not log.validation:
        raise ValueError(f"{folder} has no evaluation yet: let it train further")
    best = log.validation[0]
    if metric not in best[1]:
        raise ValueError(f"{folder} has no metric {metric!r}; there are {', '.join(best[1])}")
    for step, metrics in log.validation:
        if is_better(metric, metrics[metric], than=best[1][metric]):
            best = step, metrics
    return Compared(folder, kind.name, config, log, best)


def _changed(runs: Sequence[Compared]) -> list[str]:
    """The settings in which runs of one kind differ; of several kinds there would be too many."""
    if len({run.kind for run in runs}) > 1:
        return []
    names = [field.name for field in dataclasses.fields(runs[0].config) if field.name not in IGNORED]
    values = {name: {repr(getattr(run.config, name)) for run in runs} for name in names}
    return [name for name, found in values.items() if len(found) > 1]


def _seconds(run: Compared) -> float:
    return run.log.reports[-1].get("seconds", 0.0) if run.log.reports else 0.0


def _plain(run: Compared, changed: Sequence[str]) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "kind": run.kind,
        "steps": run.log.validation[-1][0],
        "seconds": _seconds(run),
        "best": {"step": run.best[0]} | run.best[1],
        "last": {"step": run.log.validation[-1][0]} | run.log.validation[-1][1],
        "settings": {name: getattr(run.config, name) for name in changed},
    }


def _table(runs: Sequence[Compared], metric: str, changed: Sequence[str]) -> Table:
    others = [name for name in runs[0].best[1] if name != metric and all(name in run.best[1] for run in runs)]
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("run")
    for name in ("kind", *changed):
        table.add_column(name)
    for name in (f"best {metric}", *others, "at step", "steps", "seconds"):
        table.add_column(name, justify="right")
    for run in runs:
        step, best = run.best
        table.add_row(
            str(run.folder),
            run.kind,
            *(_short(getattr(run.config, name)) for name in changed),
            *(f"{best[name]:.4f}" for name in (metric, *others)),
            str(step),
            str(run.log.validation[-1][0]),
            f"{_seconds(run):.1f}",
        )
    return table


def _short(value: Any) -> str:
    return Path(value).name if isinstance(value, str) and "/" in value else "" if value is None else str(value)
