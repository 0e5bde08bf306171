"""How training shows itself: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..train import Callback, Progress, Trainer

LINES = 10  # reports of a whole training where there is no terminal


@contextmanager
def progress(console: Console, steps: int, unit: str = "token") -> Iterator[Callback]:
    """A `with` block that gives the callback of a Trainer. A unit is what a prediction is of."""
    if not console.is_terminal:
        yield _Lines(console, unit)
        return
    numbers = "loss [bold]{task.fields[loss]}[/]  validation [bold]{task.fields[validation]}[/]  {task.fields[speed]}/s"
    columns = (BarColumn(30), MofNCompleteColumn(), TextColumn(numbers), TextColumn("left"), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=steps, loss="…", validation="…", speed="…")
        yield _Bar(bar, task, unit)


class _Bar(Callback):
    def __init__(self, bar: Bar, task: TaskID, unit: str) -> None:
        self.bar, self.task, self.unit = bar, task, unit

    def on_report(self, trainer: Trainer, progress: Progress) -> None:
        p = progress
        self.bar.update(
            self.task,
            completed=p.step,
            loss=f"{p.loss:.3f}",
            validation="…" if p.validation is None else f"{p.validation['loss']:.3f}",
            speed=f"{p.per_second:,.0f} {self.unit}s",
        )


class _Lines(Callback):
    """The same as lines, about LINES of them."""

    def __init__(self, console: Console, unit: str) -> None:
        self.console, self.unit, self.shown = console, unit, 0

    def on_report(self, trainer: Trainer, progress: Progress) -> None:
        p = progress
        if p.step * LINES // p.steps <= self.shown and not trainer.finished:
            return
        self.shown = p.step * LINES // p.steps
        validation = "" if p.validation is None else f"  validation {p.validation['loss']:.3f}"
        left = f"{p.seconds_left:.0f} s left"
        self.console.print(
            f"step {p.step:5d}/{p.steps}  loss {p.loss:.3f}{validation}  {p.per_second:,.0f} {self.unit}s/s  {left}"
        )
