"""A Trainer's state as a checkpoint holds it, and how a run begins: at step 0, or where one stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backend import threads
from ..core.random import get_state, set_state
from .callback import History
from .checkpoint import Checkpoint, CheckpointError, latest_checkpoint, load_checkpoint, steps_of
from .metrics import perplexity
from .numerics import numerics, warn_of_changes

if TYPE_CHECKING:
    from .trainer import Trainer

OWN = frozenset(
    ("task", "random", "validation", "steps", "best_by", "threads", "kernels", "versions")
)  # names in the state
_PER_STEP = ("loss", "gradient_norm")  # of a History: arrays, because a long run has many


class Parts(NamedTuple):
    """The parts of a checkpoint, as `save_checkpoint` takes them."""

    model: dict[str, Any]
    optimizer: dict[str, Any]  # the optimizer's arrays, the task's and the history's, under these names
    state: dict[str, Any]


def parts_of(trainer: Trainer) -> Parts:
    """Everything that training goes on from, copied."""
    arrays, values = trainer.task.state_dict()
    history = {name: np.array([value for _, value in getattr(trainer.history, name)]) for name in _PER_STEP}
    groups = {"optimizer": trainer.optimizer.state_dict(), "task": arrays, "history": history}
    return Parts(
        trainer.task.model.state_dict(),
        {f"{group}.{name}": array for group, named in groups.items() for name, array in named.items()},
        trainer.extra
        | {"task": values, "random": list(get_state()), "validation": list(trainer.history.validation)}
        | {"steps": trainer.steps, "best_by": trainer.best_by}
        | numerics(),
    )


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Give a Trainer the state of a checkpoint, all of it or nothing.

    Raises:
        CheckpointError: it does not fit: it is of another model, optimizer or data.
    """
    before, step = parts_of(trainer), trainer.step
    try:
        _load(trainer, checkpoint.step, Parts(checkpoint.model, checkpoint.optimizer, checkpoint.state))
    except Exception as error:
        _load(trainer, step, before)
        what = f"there is no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{checkpoint.path} does not fit this Trainer: {what}") from error
    warn_of_changes(checkpoint.state)


def _load(trainer: Trainer, step: int, parts: Parts) -> None:
    by = parts.state.get("best_by", trainer.best_by)  # version 0.1.0 did not say
    if by != trainer.best_by:  # the best checkpoint by another metric may be gone
        raise ValueError(f"its best_by is {by!r} and this Trainer's {trainer.best_by!r}; give best_by={by!r}")
    groups: dict[str, dict[str, Any]] = {"optimizer": {}, "task": {}, "history": {}}
    for name, array in parts.optimizer.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = array
    trainer.task.model.load_state_dict(parts.model)
    trainer.optimizer.load_state_dict(groups["optimizer"])
    trainer.task.load_state_dict(groups["task"], parts.state["task"])
    set_state(parts.state["random"])
    if "threads" in parts.state:  # version 0.1.0 did not say
        threads.set_state(parts.state["threads"])
    if "history" in parts.state:  # of version 0.1.0
        groups["history"], validation = _old_history(parts.state["history"])
    else:
        validation = parts.state["validation"]
    loss, norm = (list(enumerate(groups["history"][name].tolist(), 1)) for name in _PER_STEP)
    trainer.go_to(step, History(loss, norm, [(at, dict(metrics)) for at, metrics in validation]))


def _old_history(history: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[Any]]:
    loss = np.array([value for _, value in history["loss"]])
    validation = [(step, {"loss": value, "perplexity": perplexity(value)}) for step, value in history["validation"]]
    return {"loss": loss, "gradient_norm": np.full_like(loss, math.nan)}, validation


def begin(trainer: Trainer, *, resume: bool) -> str:
    """Make a Trainer with a directory ready to run: at step 0, or where the run in its directory stopped.

    Args:
        resume: go on from the latest checkpoint where there is one.
    Returns:
        A line that says where it begins.
    Raises:
        ValueError: there is a checkpoint, and `resume` is False.
        CheckpointError: the checkpoint is damaged, or of another run: one with other `extra` values, such as its
            config, or with another model, optimizer or data. Nothing is changed then.
    """
    if trainer.directory is None:
        raise ValueError("begin: this Trainer has no directory: give it one")
    directory = trainer.directory
    latest = latest_checkpoint(directory)
    if latest is None:
        return f"beginning in {directory} at step 0: no checkpoint there yet" if resume else f"beginning in {directory}"
    if not resume:
        raise ValueError(f"{directory} holds a run already: go on with it by --resume, or choose another folder")
    checkpoint = load_latest(latest)
    for name, value in trainer.extra.items():
        then, now = checkpoint.state.get(name), json.loads(json.dumps(value))  # as a checkpoint gives it back
        if then != now:
            raise CheckpointError(
                f"{latest} is of another run: its {name} differs{_details(then, now)}; "
                "give the data and sizes of that run"
            )
    restore(trainer, checkpoint)
    if trainer.finished:
        return f"{directory} is finished: step {trainer.step} of {trainer.steps}"
    line = f"going on in {directory} from step {trainer.step} of {trainer.steps}"
    before = checkpoint.state.get("steps", trainer.steps)
    return line if before == trainer.steps else f"{line}; until now it was to be {before}, by its own schedule"


def load_latest(latest: Path) -> Checkpoint:
    """The latest checkpoint of a run, from its folder; where that is damaged the error says how to go on without it."""
    try:
        return load_checkpoint(latest)
    except CheckpointError as error:
        before = [step for step, path in steps_of(latest.parent).items() if path != latest]
        where = f"step {max(before)}" if before else "step 0, as no other checkpoint is there"
        remove = latest if before else latest.parent
        raise CheckpointError(f"{error}; remove {remove}, and --resume goes on from {where}") from error


def _details(then: Any, now: Any) -> str:
    """Which values of two dicts differ; empty for anything else."""
    if not isinstance(then, dict) or not isinstance(now, dict):
        return ""
    names = [name for name in now | then if then.get(name) != now.get(name)]
    return ": " + ", ".join(f"{name} was {then.get(name)!r:.40} and is {now.get(name)!r:.40}" for name in names)
