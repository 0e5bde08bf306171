"""What a Trainer tells how training goes, and to whom."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .trainer import Trainer


class History(NamedTuple):
    """What was seen step by step, in nats."""

    loss: list[tuple[int, float]]
    gradient_norm: list[tuple[int, float]]  # before clipping
    validation: list[tuple[int, dict[str, float]]]  # the metrics of each evaluation


class Progress(NamedTuple):
    """How training stands, as it is reported after steps."""

    step: int  # done
    steps: int  # to do in all
    loss: float  # of the last step
    lr: float  # of the last step, in the first group of parameters
    gradient_norm: float  # of the last step, before clipping
    clipped: float  # the share of the steps since the last report whose gradient was clipped
    validation: dict[str, float] | None  # of the last evaluation
    per_second: float  # predictions, over the time that the steps since the last report took
    seconds: float  # of the whole run, with evaluations and checkpoints
    step_seconds: float  # of it, those of the steps alone
    seconds_left: float


class Callback:
    """Whom a Trainer tells how it goes: override what you want to hear of, and leave the rest.

    >>> class Losses(Callback):
    ...     def on_report(self, trainer, progress):
    ...         print(f"step {progress.step}: {progress.loss:.2f}")
    """

    def on_step(self, trainer: Trainer) -> None:
        """After each step; `trainer.step` of them are done. A value read from a GPU here makes the host wait."""

    def on_report(self, trainer: Trainer, progress: Progress) -> None:
        """Every `report_every` steps, and after the last."""

    def on_evaluate(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """After each evaluation; `trainer.best` is the best so far, this one or an earlier one."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """After a checkpoint was written into the folder `path`, which knows nothing of random numbers drawn here."""

    def on_end(self, trainer: Trainer) -> None:
        """When all steps are done or patience is over; not after an error or Ctrl-C."""


class Clock:
    """The time of a run: all of it, and that of the steps alone, in all and since the last report.

    The first step, in which kernels may be compiled, does not count for the speed once there is a second.

    Args:
        before: what the run took before it was stopped: all of it, and its steps alone.
    """

    def __init__(self, before: tuple[float, float]) -> None:
        self._began, self._in_steps = time.perf_counter() - before[0], before[1]
        self._done = 0
        self.restart()

    def restart(self) -> None:
        """Count steps and predictions anew."""
        self._resumed, self._taken, self._steps, self._predictions = time.perf_counter(), 0.0, 0, 0

    def stop(self, predictions: int) -> None:
        """A step is done; what follows is none."""
        taken = time.perf_counter() - self._resumed
        self._in_steps += taken
        self._done += 1
        if self._done == 2 and self._steps == 1:
            self._taken, self._steps, self._predictions = 0.0, 0, 0
        self._taken += taken
        self._steps += 1
        self._predictions += predictions

    def go_on(self) -> None:
        self._resumed = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def step_seconds(self) -> float:
        return self._in_steps

    def per_second(self) -> float:
        return self._predictions / self._taken

    def seconds_per_step(self) -> float:
        return self._taken / self._steps
