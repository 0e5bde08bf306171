"""The training loop: one for every model. What is learned, and from what, is a task's business."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from .. import ops
from ..backend.memory import keep_freed_memory
from ..core import Tensor
from ..optim import Optimizer, clip_grad_norm, grad_norm
from .callback import Callback, Clock, History, Progress
from .checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint
from .interrupt import Interrupted, stop_requests
from .log import LogWriter
from .resume import OWN, parts_of, restore
from .task import Task, is_better

LOGGED = ("loss", "lr", "gradient_norm", "clipped", "per_second", "seconds", "step_seconds")  # of a Progress


class NotFinite(RuntimeError):
    """The loss or the gradient became infinite or NaN. The message names the step and the last checkpoint."""


class Trainer:
    """Gradient descent on a task: loss, backward, clip, step; now and then an evaluation, a checkpoint, a report.

    With a directory, DIR/log.jsonl gets a line for each report and each evaluation (`read_log`), and DIR/checkpoints a
    checkpoint every `checkpoint_every` steps, at each evaluation that is the best so far, and at the end; the two
    newest and the best are kept. Ctrl-C finishes the step, saves a checkpoint and raises `Interrupted`.

    Args:
        task: a model with its data and loss.
        optimizer: of the model's parameters.
        steps: how many to do in all.
        schedule: from the step number (0, 1, …) to the learning rate; the optimizer's own rate if not given.
        clip: the largest norm of all gradients together; None for no clipping.
        accumulate: batches to a step, whose gradient is that of the mean over all their predictions.
        evaluate_every: steps between evaluations; one is always made at the end.
        best_by: the metric that says which evaluation is best: "loss" and "perplexity" are better smaller, all others
            larger.
        patience: stop after so many evaluations in a row that were not better than the best.
        directory: the run's folder; nothing is written without it.
        checkpoint_every: steps between checkpoints.
        extra: plain values that go into each checkpoint's state, such as the vocabulary and the config.
        callbacks: who is told how it goes.
        report_every: steps between reports. Reading a loss makes a GPU wait: not every step.
    Attributes:
        step: how many are done.
        history: losses, gradient norms and evaluations until now.
        best: (step, metrics) of the best evaluation until now, or None.
    Raises:
        ValueError: for a number below 1, or a metric that the task does not have.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=3, hidden_size=8))
    >>> ids = np.array([0, 1, 2] * 100)
    >>> task = ts.train.LanguageModelTask(model, ids, ids[:30], batch_size=4, num_steps=8)
    >>> history = Trainer(task, ts.optim.Adam(model.parameters(), lr=0.05), steps=30).run()
    >>> [step for step, metrics in history.validation], history.loss[-1][1] < history.loss[0][1]
    ([30], True)
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        *,
        steps: int,
        schedule: Callable[[int], float] | None = None,
        clip: float | None = 1.0,
        accumulate: int = 1,
        evaluate_every: int = 100,
        best_by: str = "loss",
        patience: int | None = None,
        directory: str | Path | None = None,
        checkpoint_every: int | None = None,
        extra: dict[str, Any] | None = None,
        callbacks: Iterable[Callback] = (),
        report_every: int = 10,
    ) -> None:
        counts = {"steps": steps, "accumulate": accumulate, "evaluate_every": evaluate_every, "patience": patience}
        for name, n in (counts | {"checkpoint_every": checkpoint_every, "report_every": report_every}).items():
            if n is not None and n < 1:
                raise ValueError(f"Trainer: {name} is at least 1, got {n}")
        if taken := OWN & set(extra or {}):
            raise ValueError(f"Trainer: a checkpoint has {sorted(taken)} already; choose other names for extra")
        if best_by not in (there := getattr(task, "metrics", (best_by,))):
            raise ValueError(_no_metric(best_by, there))
        self.task, self.optimizer, self.steps, self.schedule = task, optimizer, steps, schedule
        self.clip, self.accumulate = clip, accumulate
        self.evaluate_every, self.best_by, self.patience = evaluate_every, best_by, patience
        self.directory, self.checkpoint_every, self.extra = directory, checkpoint_every, extra or {}
        self.callbacks, self.report_every = list(callbacks), report_every
        self.step = 0
        self.history = History([], [], [])
        self.best: tuple[int, dict[str, float]] | None = None
        self._pending: list[tuple[Tensor, Tensor]] = []  # losses and gradient norms that no one has read yet

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or patience is over."""
        if self.step >= self.steps or self.patience is None:
            return self.step >= self.steps
        evaluations = self.history.validation
        since_best = sum(step > (self.best[0] if self.best else 0) for step, _ in evaluations[-self.patience :])
        return since_best == self.patience

    def run(self) -> History:
        """Train until `steps` are done or patience is over.

        Returns:
            What was seen on the way, and before the checkpoint that it went on from.
        Raises:
            Interrupted: after Ctrl-C or SIGTERM; a second one stops at once.
            NotFinite: a loss or a gradient is infinite or NaN. Nothing is saved then.
        """
        keep_freed_memory()
        self.task.model.train()
        batches = self.task.batches()
        with stop_requests() as stop, LogWriter(self.directory, self.step) as log:
            clock = Clock(log.seconds())
            while not self.finished:
                clock.go_on()
                predictions = self._step(batches)
                clock.stop(predictions)
                self._tell("on_step")
                improved = self._is_due(self.evaluate_every) and self._evaluate(log)
                if self._is_due(self.report_every):
                    self._report(log, clock)
                saves = improved or stop.came or self._is_due(self.checkpoint_every)
                saved = self._checkpoint(log) if saves else None
                if stop.came:
                    raise Interrupted(self.step, saved or self._checkpoint(log))
        if not self.history.validation:  # resumed where nothing was left to do
            self.history.validation.append((self.step, self.task.evaluate()))
        self._tell("on_end")
        return self.history

    def _step(self, batches: Iterator[Any]) -> int:
        """One step; the number of predictions that it learned from."""
        if self.schedule is not None:
            self.optimizer.set_lr(self.schedule(self.step))
        self.optimizer.zero_grad()
        loss, size = self._gradient(batches)
        parameters = self.task.model.parameters()
        norm = grad_norm(parameters) if self.clip is None else clip_grad_norm(parameters, self.clip)
        self.optimizer.step()
        self.step += 1
        self._pending.append((loss, norm))
        return size

    def _gradient(self, batches: Iterator[Any]) -> tuple[Tensor, int]:
        """Leave the gradient of the mean loss over the predictions of all batches; that loss, and their number."""
        losses, sizes = [], []
        for batch in islice(batches, self.accumulate):
            sizes.append(self.task.size(batch))
            loss = self.task.loss(batch)
            if sizes[-1] != sizes[0]:  # each counts by its predictions, against the first
                loss = loss * (sizes[-1] / sizes[0])
            loss.backward()
            losses.append(loss.detach())
        if len(losses) < self.accumulate:
            raise ValueError("Trainer: expected batches without end from task.batches(), and there are no more")
        if len(losses) == 1:
            return losses[0], sizes[0]
        share = sizes[0] / sum(sizes)
        for p in self.task.model.parameters():
            if p.grad is not None:
                p.grad = p.grad * share
        return ops.stack(losses).sum() * share, sum(sizes)

    def _is_due(self, every: int | None) -> bool:
        return self.finished or (every is not None and self.step % every == 0)

    def _evaluate(self, log: LogWriter) -> bool:
        """Judge the model; whether it is better than ever before."""
        self._read()
        metrics = {name: float(value) for name, value in self.task.evaluate().items()}
        self.history.validation.append((self.step, metrics))
        self._rate(self.step, metrics)
        log.write(self.step, {"validation": metrics})
        self._tell("on_evaluate", metrics)
        return self.best is not None and self.best[0] == self.step

    def _rate(self, step: int, metrics: dict[str, float]) -> None:
        if self.best_by not in metrics:
            raise ValueError(_no_metric(self.best_by, metrics))
        if is_better(self.best_by, metrics[self.best_by], than=self.best[1][self.best_by] if self.best else math.nan):
            self.best = step, metrics

    def _report(self, log: LogWriter, clock: Clock) -> None:
        self._read()
        norms = [norm for _, norm in self.history.gradient_norm[-((self.step - 1) % self.report_every + 1) :]]
        progress = Progress(
            self.step,
            self.steps,
            loss=self.history.loss[-1][1],
            lr=float(self.optimizer.param_groups[0]["lr"]),
            gradient_norm=norms[-1],
            clipped=0.0 if self.clip is None else sum(norm > self.clip for norm in norms) / len(norms),
            validation=self.history.validation[-1][1] if self.history.validation else None,
            per_second=clock.per_second(),
            seconds=clock.seconds(),
            step_seconds=clock.step_seconds(),
            seconds_left=(self.steps - self.step) * clock.seconds_per_step(),
        )
        clock.restart()
        shown = progress._asdict()
        log.write(self.step, {name: shown[name] for name in LOGGED})
        self._tell("on_report", progress)

    def _read(self) -> None:
        """Take losses and norms into the history: here the host waits for a GPU, once for all of them."""
        if not self._pending:
            return
        first = self.step - len(self._pending) + 1
        losses, norms = (ops.stack(list(each)).numpy().tolist() for each in zip(*self._pending, strict=True))
        self._pending.clear()
        self.history.loss.extend(enumerate(losses, first))
        self.history.gradient_norm.extend(enumerate(norms, first))
        for what, values in (("loss", losses), ("norm of the gradient", norms)):
            for step, value in enumerate(values, first):
                if not math.isfinite(value):
                    raise NotFinite(self._diverged(what, step, value))

    def _diverged(self, what: str, step: int, value: float) -> str:
        last = None if self.directory is None else latest_checkpoint(self.directory)
        back = "start again" if last is None else f"go on from {last}"
        return f"the {what} of step {step} is {value}: {back}, with a smaller learning rate or a smaller clip"

    def _tell(self, event: str, *about: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *about)

    # -- checkpoints

    def _checkpoint(self, log: LogWriter) -> Path | None:
        if self.directory is None:
            return None
        log.sync()  # what it says of the steps before must not be younger than the checkpoint
        return self.save()

    def save(self) -> Path:
        """Write a checkpoint of everything that training goes on from; the two newest and the best are kept."""
        if self.directory is None:
            raise ValueError("save: this Trainer has no directory: give it one")
        self._read()
        best = None if self.best is None else self.best[0]
        path = save_checkpoint(self.directory, self.step, **parts_of(self)._asdict(), best=best)
        prune_checkpoints(self.directory)
        self._tell("on_checkpoint", path)
        return path

    def resume(self, path: str | Path) -> Checkpoint:
        """Go on from a checkpoint, the folder of a run or of one step, with as many threads as before.

        What follows is to the last bit what would have followed there. A warning says where it cannot be, because
        other kernels or versions compute now.

        Raises:
            CheckpointError: it is damaged, or of another model, optimizer, data or `best_by`. Nothing is changed then.
        """
        checkpoint = load_checkpoint(path)
        restore(self, checkpoint)
        return checkpoint

    def go_to(self, step: int, history: History) -> None:
        """Stand where a run with this history stood."""
        self.step, self.history, self.best = step, history, None
        self._pending.clear()
        for at, metrics in history.validation:
            self._rate(at, metrics)


def _no_metric(name: str, there: Iterable[str]) -> str:
    return f"Trainer: best_by={name!r}, but the task's metrics are {sorted(there)}"
