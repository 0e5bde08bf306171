"""The training loop: one for every model. What is learned, and from what, is a task's business."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..backend.memory import keep_freed_memory
from ..backend.threads import num_threads, set_num_threads
from ..core import Tensor
from ..core.random import get_state, set_state
from ..nn import Module
from ..optim import Optimizer, clip_grad_norm
from .checkpoint import Checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint


class Task(Protocol):
    """What a Trainer trains: a model, its data, and the loss of a batch."""

    model: Module

    def batches(self) -> Iterator[Any]:
        """Training batches without end, from where the task stands."""

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch, to be differentiated."""

    def size(self, batch: Any) -> int:
        """How many predictions a batch holds: what "per second" counts."""

    def evaluate(self) -> float:
        """The mean loss on held-out data."""

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays, plain values): where the task stands in its data."""

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        """Go on from there."""


class Progress(NamedTuple):
    """How training stands, as `Trainer` reports it after steps."""

    step: int  # done
    steps: int  # to do in all
    loss: float  # of the last batch
    validation: float | None  # of the last evaluation
    per_second: float  # predictions, over the time since the last report
    seconds_left: float


class History(NamedTuple):
    """Losses by step, in nats."""

    loss: list[tuple[int, float]]
    validation: list[tuple[int, float]]


class Trainer:
    """Gradient descent on a task: loss, backward, clip, step; now and then an evaluation, a checkpoint, a report.

    Args:
        task: a model with its data and loss.
        optimizer: of the model's parameters.
        steps: how many to do in all.
        schedule: from the step number (0, 1, …) to the learning rate; the optimizer's own rate if not given.
        clip: the largest norm of all gradients together.
        evaluate_every: steps between evaluations, a multiple of `report_every`; one is always made at the end.
        directory: where checkpoints go; none are written without it.
        checkpoint_every: steps between checkpoints; one is always written at the end.
        extra: plain values that go into each checkpoint's state, such as the vocabulary and the config.
        report: called with a `Progress` every `report_every` steps. Reading a loss makes a GPU wait: not every step.
    Raises:
        ValueError: for a number of steps below 1.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=3, hidden_size=8))
    >>> ids = np.array([0, 1, 2] * 100)
    >>> task = ts.train.LanguageModelTask(model, ids, ids[:30], batch_size=4, num_steps=8)
    >>> history = Trainer(task, ts.optim.Adam(model.parameters(), lr=0.05), steps=30).run()
    >>> [step for step, _ in history.validation], history.loss[-1][1] < history.loss[0][1]
    ([30], True)
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        *,
        steps: int,
        schedule: Callable[[int], float] | None = None,
        clip: float = 1.0,
        evaluate_every: int = 100,
        directory: str | Path | None = None,
        checkpoint_every: int | None = None,
        extra: dict[str, Any] | None = None,
        report: Callable[[Progress], None] | None = None,
        report_every: int = 10,
    ) -> None:
        counts = {"steps": steps, "evaluate_every": evaluate_every, "report_every": report_every}
        counts |= {} if checkpoint_every is None else {"checkpoint_every": checkpoint_every}
        for name, n in counts.items():
            if n < 1:
                raise ValueError(f"Trainer: {name} is at least 1, got {n}")
        if evaluate_every % report_every:
            raise ValueError(
                f"Trainer: evaluate_every is a multiple of report_every, got {evaluate_every} and {report_every}"
            )
        self.task, self.optimizer, self.steps, self.schedule, self.clip = task, optimizer, steps, schedule, clip
        self.evaluate_every, self.checkpoint_every = evaluate_every, checkpoint_every
        self.directory, self.extra = directory, extra or {}
        self.report, self.report_every = report, report_every
        self.step = 0
        self.history = History([], [])

    def run(self) -> History:
        """Train until `steps` are done; the losses seen on the way."""
        keep_freed_memory()
        self.task.model.train()
        batches, pending = self.task.batches(), []
        began, counted = time.perf_counter(), 0
        while self.step < self.steps:
            batch = next(batches)
            pending.append((self.step + 1, self._step(batch)))
            self.step += 1
            counted += self.task.size(batch)
            reports = self._is_due(self.report_every)
            saves = self.directory is not None and self._is_due(self.checkpoint_every)
            if reports or saves:  # a checkpoint holds the losses of all its steps
                self.history.loss.extend((step, loss.item()) for step, loss in pending)
                pending.clear()
            if reports:
                per_second = counted / (time.perf_counter() - began)
                if self._is_due(self.evaluate_every):
                    self.history.validation.append((self.step, self.task.evaluate()))
                self._tell(per_second, self.task.size(batch))
                began, counted = time.perf_counter(), 0  # what evaluation takes is not training
            if saves:
                self.save()
        if not self.history.validation:  # resumed where nothing was left to do
            self.history.validation.append((self.step, self.task.evaluate()))
        return self.history

    def _is_due(self, every: int | None) -> bool:
        return self.step == self.steps or (every is not None and self.step % every == 0)

    def _step(self, batch: Any) -> Tensor:
        if self.schedule is not None:
            self.optimizer.set_lr(self.schedule(self.step))
        loss = self.task.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(self.task.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach()

    def _tell(self, per_second: float, batch_size: int) -> None:
        if self.report is not None:
            validation = self.history.validation[-1][1] if self.history.validation else None
            left = (self.steps - self.step) * batch_size / per_second
            self.report(Progress(self.step, self.steps, self.history.loss[-1][1], validation, per_second, left))

    # -- checkpoints

    def save(self) -> Path:
        """Write a checkpoint of everything that training goes on from; the two newest are kept."""
        if self.directory is None:
            raise ValueError("save: this Trainer has no directory: give it one")
        arrays, values = self.task.state_dict()
        optimizer = {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}
        path = save_checkpoint(
            self.directory,
            self.step,
            model=self.task.model.state_dict(),
            optimizer=optimizer | {f"task.{name}": array for name, array in arrays.items()},
            state=self.extra
            | {"task": values, "random": list(get_state()), "history": self.history._asdict()}
            | {"threads": num_threads()},  # sums are taken in parts, one for each
        )
        prune_checkpoints(self.directory)
        return path

    def resume(self, path: str | Path) -> Checkpoint:
        """Go on from a checkpoint, the folder of a run or of one step, with as many threads as before."""
        checkpoint = load_checkpoint(path)
        own: dict[str, dict[str, Any]] = {"optimizer": {}, "task": {}}
        for name, array in checkpoint.optimizer.items():
            part, _, rest = name.partition(".")
            own[part][rest] = array
        self.task.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(own["optimizer"])
        self.task.load_state_dict(own["task"], checkpoint.state["task"])
        set_state(checkpoint.state["random"])
        if "threads" in checkpoint.state:  # older checkpoints do not say
            set_num_threads(checkpoint.state["threads"])
        self.history = History(
            *([(step, loss) for step, loss in checkpoint.state["history"][k]] for k in History._fields)
        )
        self.step = checkpoint.step
        return checkpoint
