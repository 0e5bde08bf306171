"""The page of a run: what was trained, its numbers, pictures, samples, and how to go on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from .. import viz
from ..train import read_log
from ..train.task import is_better
from ..viz.page import Section
from .config import to_toml
from .jobs import Job
from .run import PAGE


def write_page(job: Job, model: Any, training: Any, held_out: Any, folder: Path) -> Path:
    """Draw the pictures of a run, and write its index.html."""
    log, config = read_log(folder), job.config
    best_step, best = log.validation[0]
    for step, metrics in log.validation:
        if is_better(config.best_by, metrics[config.best_by], than=best[config.best_by]):
            best_step, best = step, metrics
    baselines = job.baselines(training, held_out)
    sections: list[Section] = [
        viz.Text("What this is", _about(job, model, log, best_step)),
        _numbers(job, best, baselines),
    ]
    losses = {name: metrics["loss"] for name, metrics in baselines.items() if "loss" in metrics}
    curve = viz.loss_curve(
        log.loss,
        [(step, metrics["loss"]) for step, metrics in log.validation],
        losses,
        folder / "loss_curve.png",
        unit=job.unit,
    )
    sections.append(viz.Picture("Loss while training", curve, _below(losses)))
    sections += job.sections(model, held_out, folder)
    sections += [
        viz.Table("Evaluations", ("step", *job.shown(best)), [(s, *job.shown(m).values()) for s, m in log.validation]),
        viz.Sample("How to go on", _commands(job, folder)),
        viz.Sample("The config of this run, config.toml", to_toml(job.name, config)),
    ]
    return viz.page(f"{job.name}: {folder.resolve().name}", sections, folder / PAGE)


def _below(losses: dict[str, float]) -> str:
    """What the loss curve shows."""
    curves = "The loss of training batches, as they come and smoothed, and of all held-out examples"
    return f"{curves}; the lines across are the simple models above." if losses else f"{curves}."


def _about(job: Job, model: Any, log: Any, best_step: int) -> str:
    seconds = log.reports[-1].get("seconds", 0.0) if log.reports else 0.0
    parameters = sum(p.size for p in model.parameters())
    source = job.config.data or job.built_in
    steps = log.validation[-1][0]
    return (
        f"{type(model).__name__}, {parameters:,} parameters, trained by tinygrad-seq train {job.name} on {source}. It "
        f"took {steps:,} steps and {seconds:,.0f} s. The best evaluation was at step {best_step:,}; what follows "
        "is of the model as it was then."
    )


def _numbers(job: Job, best: dict[str, float], baselines: dict[str, dict[str, float]]) -> viz.Table:
    rows = {job.name: job.shown(best)} | {name: job.shown(metrics) for name, metrics in baselines.items()}
    names = list(rows[job.name])
    return viz.Table(
        "On held-out examples",
        ("model", *names),
        [(model, *(shown.get(name, "") for name in names)) for model, shown in rows.items()],
    )


def _commands(job: Job, folder: Path) -> str:
    run = shlex.quote(str(folder))
    use = f'tinygrad-seq generate {run} --prompt "…" --temperature 0.8' if job.writes else f"tinygrad-seq predict {run}"
    more = 2 * job.config.steps
    return "\n".join(
        [use, f"tinygrad-seq eval {run}", f"tinygrad-seq train {job.name} --out {run} --resume --steps {more}"]
    )
