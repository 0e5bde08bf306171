"""How training shows itself: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..train import Progress

LINES = 10  # reports of a whole training where there is no terminal


@contextmanager
def progress(console: Console, steps: int) -> Iterator[Callable[[Progress], None]]:
    """A `with` block that gives the function a Trainer reports to."""
    if not console.is_terminal:
        yield _lines(console, steps)
        return
    numbers = "loss [bold]{task.fields[loss]}[/]  validation [bold]{task.fields[validation]}[/]  {task.fields[speed]}/s"
    columns = (BarColumn(30), MofNCompleteColumn(), TextColumn(numbers), TextColumn("left"), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=steps, loss="…", validation="…", speed="…")

        def report(p: Progress) -> None:
            bar.update(
                task,
                completed=p.step,
                loss=f"{p.loss:.3f}",
                validation="…" if p.validation is None else f"{p.validation:.3f}",
                speed=f"{p.per_second:,.0f} tokens",
            )

        yield report


def _lines(console: Console, steps: int) -> Callable[[Progress], None]:
    """The same as lines, about LINES of them."""
    shown = 0

    def report(p: Progress) -> None:
        nonlocal shown
        if p.step * LINES // steps <= shown and p.step < p.steps:
            return
        shown = p.step * LINES // steps
        validation = "" if p.validation is None else f"  validation {p.validation:.3f}"
        left = f"{p.seconds_left:.0f} s left"
        console.print(
            f"step {p.step:5d}/{p.steps}  loss {p.loss:.3f}{validation}  {p.per_second:,.0f} tokens/s  {left}"
        )

    return report
