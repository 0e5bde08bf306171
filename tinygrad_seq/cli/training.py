"""`tinygrad-seq train NAME`: from options to a run's folder."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from pathlib import Path
from typing import Any

from rich.console import Console

from ..train import Interrupted, begin, best_checkpoint, latest_checkpoint, load_checkpoint, read_log
from .beginning import beginning
from .config import build, differing, flag, read_toml
from .jobs import Job
from .progress import progress
from .report import write_page
from .run import CONFIG, PAGE, config_of, prepare, save_config, trainer_of


def train(kind: type[Job], given: dict[str, Any], *, out: Path, file: Path | None, resume: bool, as_json: bool) -> None:
    """Train a model, or go on training it.

    Args:
        given: the options of the command line, which count more than the TOML `file`, which counts more than defaults.
            A run that goes on has its own config below both.
        as_json: print one JSON object on stdout; what is said on the way goes to stderr.
    Raises:
        ValueError: for data, a config or a folder that is not right. Interrupted: after Ctrl-C.
    """
    console = Console(stderr=as_json, highlight=False)
    config = _config(kind, given, out, file, resume)
    prepare(config)
    training, held_out = kind.read(config)
    latest = latest_checkpoint(out) if resume else None
    job, model, taken = beginning(kind, config, training, held_out, latest=latest)
    model.to(config.device)
    trainer = trainer_of(job, job.task(model, training, held_out), out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lines = [begin(trainer, resume=resume)]
    if taken and trainer.step == 0:
        lines.append(taken)
    _make(out)
    for line in lines + [f"warning: {each.message}" for each in caught]:
        console.print(line, soft_wrap=True, markup=False)
    finished = trainer.finished
    if finished:
        trainer.run()  # which evaluates, if that was never done, and changes nothing
    else:
        save_config(out, job)
        _train(console, trainer, config.steps, out, job)
    if read_log(out).validation and not (finished and (out / PAGE).exists()):
        use_best(model, out)
        try:
            write_page(job, model, training, held_out, out)
        except ImportError as error:  # training does not need what plots do
            console.print(f"no {PAGE}: {error}", soft_wrap=True, markup=False)
    best = trainer.best or trainer.history.validation[-1]
    if as_json:
        print(json.dumps(_summary(job, trainer, best, out)))
        return
    for label, value in job.shown(best[1]).items():
        console.print(f"{label:30} {value}", markup=False)
    console.print(f"best at step {best[0]}; all of it in {out / PAGE}", soft_wrap=True, markup=False)


def use_best(model: Any, folder: Path) -> None:
    """Give a model the parameters of its run's best checkpoint."""
    path = best_checkpoint(folder) or latest_checkpoint(folder)
    if path is not None:
        model.load_state_dict(load_checkpoint(path).model)


def _config(kind: type[Job], given: dict[str, Any], out: Path, file: Path | None, resume: bool) -> Any:
    from_file = {} if file is None else read_toml(file, kind.name, kind.Config)
    if not resume or not (out / CONFIG).is_file():
        return build(kind.Config, from_file, given)
    theirs, before = config_of(out)
    if theirs is not kind:
        raise ValueError(f"{out} holds a run of another kind: go on with it by tinygrad-seq train {theirs.name}")
    own = read_toml(out / CONFIG, kind.name, kind.Config)
    config = build(kind.Config, own, from_file, given)
    if other := differing(before, config):
        said = ", ".join(f"{flag(n)} is {getattr(config, n)}, but was {getattr(before, n)}" for n in other)
        raise ValueError(f"{out} cannot go on: {said}; leave it out, or choose another --out")
    return config


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"--out is a folder, but {error.filename} is a file: choose another name") from error
    except OSError as error:
        raise ValueError(f"--out {out} cannot be made ({error.strerror}): choose a folder elsewhere") from error
    if not os.access(out, os.W_OK):
        raise ValueError(f"--out {out} cannot be written to: choose another folder")


def _train(console: Console, trainer: Any, steps: int, out: Path, job: Job) -> None:
    with progress(console, steps, job.unit) as shown:
        trainer.callbacks.append(shown)
        try:
            trainer.run()
        except Interrupted as stop:
            again = f"tinygrad-seq train {job.name} --out {shlex.quote(str(out))} --resume"
            raise KeyboardInterrupt(f"{stop}; go on by: {again}") from stop


def _summary(job: Job, trainer: Any, best: tuple[int, dict[str, float]], out: Path) -> dict[str, Any]:
    return {
        "kind": job.name,
        "out": str(out),
        "step": trainer.step,
        "steps": trainer.steps,
        "parameters": sum(p.size for p in trainer.task.model.parameters()),
        "best": {"step": best[0]} | best[1],
        "last": {"step": trainer.history.validation[-1][0]} | trainer.history.validation[-1][1],
    }
