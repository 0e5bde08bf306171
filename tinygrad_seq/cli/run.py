"""A run's folder: config.toml, log.jsonl, checkpoints/, pictures, index.html; and a trained model out of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import tinygrad_seq as ts

from ..backend import backend_for
from ..data import vocabulary_from_json
from ..nn import Module
from ..train import Checkpoint, CheckpointError, Trainer, best_checkpoint, latest_checkpoint, load_checkpoint
from .config import build, read_toml, to_toml
from .jobs import JOBS, Job

CONFIG, PAGE = "config.toml", "index.html"


class Run(NamedTuple):
    """A trained model, with all that it needs."""

    folder: Path
    job: Job
    model: Module
    checkpoint: Checkpoint


def config_of(folder: Path) -> tuple[type[Job], Any]:
    """What kind of run a folder holds, and its config.

    Raises:
        ValueError: it holds none, or its config.toml is not one.
    """
    file = folder / CONFIG
    if not file.is_file():
        what = f"has no {CONFIG}" if folder.is_dir() else "is no folder" if folder.exists() else "is not there"
        raise ValueError(f"expected the folder of a run, which `tinygrad-seq train` makes, but {folder} {what}")
    kind = kind_of(file)
    return JOBS[kind], build(JOBS[kind].Config, read_toml(file, kind, JOBS[kind].Config))


def kind_of(file: Path) -> str:
    """The kind that a run's config.toml names."""
    import tomllib

    try:
        kind = tomllib.loads(file.read_text(encoding="utf-8")).get("kind")
    except ValueError as error:
        raise ValueError(f"{file}: expected TOML: {error}") from error
    if kind not in JOBS:
        raise ValueError(f"{file}: expected kind to be one of {', '.join(JOBS)}, got {kind!r}")
    return kind


def save_config(folder: Path, job: Job) -> None:
    """Write config.toml: all or nothing; files that it names are named from the root, so that any folder finds them."""
    config = job.config
    files = ("data", "valid", "init_from")
    paths = {name: os.path.abspath(path) for name in files if (path := getattr(config, name)) is not None}
    writing = folder / f"{CONFIG}.tmp"
    writing.write_text(to_toml(job.name, dataclasses.replace(config, **paths)), encoding="utf-8")
    os.replace(writing, folder / CONFIG)


def extra(job: Job) -> dict[str, Any]:
    """What a checkpoint says of its run: another run's checkpoint is known by it."""
    kept = {
        field.name: getattr(job.config, field.name)
        for field in dataclasses.fields(job.config)
        if not field.metadata["free"]
    }
    return {
        "kind": job.name,
        "vocabularies": {name: each.to_json() for name, each in job.vocabularies.items()},
        "data": {name: _digest(getattr(job.config, name)) for name in ("data", "valid")},
        "config": kept,
    }


def _digest(path: str | None) -> str | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_data(run: Run) -> None:
    """Say so where what a run held out is lost, because its file is another one now.

    Raises:
        ValueError: the file has changed.
    """
    name = "data" if run.job.config.valid is None else "valid"
    path = getattr(run.job.config, name)
    if _digest(path) != run.checkpoint.state["data"][name]:
        raise ValueError(
            f"{path} has changed since {run.folder} learned from it, so that what was held out is not known; "
            "name a file to judge by: --data FILE"
        )


def trainer_of(job: Job, task: Any, folder: Path | None) -> Trainer:
    """A Trainer as the config says."""
    config = job.config
    return Trainer(
        task,
        job.optimizer(task.model),
        steps=config.steps,
        schedule=job.schedule(),
        clip=config.clip or None,
        accumulate=config.accumulate,
        evaluate_every=config.evaluate_every,
        best_by=config.best_by,
        patience=config.patience or None,
        directory=folder,
        checkpoint_every=config.checkpoint_every,
        extra=extra(job),
    )


def prepare(config: Any) -> None:
    """What comes before anything is built: whether the device is there, threads, the seed."""
    backend_for(config.device)
    if config.threads:
        ts.set_num_threads(config.threads)
    ts.seed(config.seed)


def load(folder: Path, which: str = "best", device: str | None = None) -> Run:
    """A run by its folder alone.

    Args:
        which: "best" (the latest where none was judged), "latest", or the number of a step.
        device: where to compute; None for where it was trained.
    Raises:
        ValueError: the folder holds no run, or the checkpoint is of another one. CheckpointError: there is no such
            checkpoint, or it is damaged.
    """
    kind, config = config_of(folder)
    checkpoint = load_checkpoint(_checkpoint(folder, which))
    theirs = checkpoint.state.get("kind")
    if theirs != kind.name:
        raise CheckpointError(f"{checkpoint.path} is of a {theirs}, but {folder / CONFIG} says {kind.name!r}")
    if device is not None:
        config = dataclasses.replace(config, device=device)
    prepare(config)
    job = kind(config, {name: vocabulary_from_json(each) for name, each in checkpoint.state["vocabularies"].items()})
    model = job.model()
    try:
        model.load_state_dict(checkpoint.model)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path} does not fit the sizes in {folder / CONFIG}: {error}") from error
    return Run(folder, job, model.to(config.device).eval(), checkpoint)


def _checkpoint(folder: Path, which: str) -> Path:
    if which in ("best", "latest"):
        latest = latest_checkpoint(folder)
        found = (best_checkpoint(folder) or latest) if which == "best" else latest
        if found is None:
            raise CheckpointError(f"{folder} has no checkpoint yet: train it first, or go on by --resume")
        return found
    steps = sorted(path.name for path in (folder / "checkpoints").glob("step-*") if path.suffix == "")
    name = f"step-{int(which):06d}" if which.isdecimal() else which
    if name not in steps:
        there = ", ".join(str(int(step.removeprefix("step-"))) for step in steps) or "none"
        raise CheckpointError(f"expected --checkpoint best, latest or one of the steps {there}, got {which!r}")
    return folder / "checkpoints" / name
