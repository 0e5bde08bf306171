"""The log of a run, DIR/log.jsonl: one line of JSON for each report and each evaluation, in order.

    {"step": 100, "validation": {"loss": 1.98, "perplexity": 7.24}}
    {"step": 100, "loss": 2.01, "lr": 0.001, "gradient_norm": 0.8, "clipped": 0.1, "per_second": 41000, …}

A line is there as soon as it was written. A run that goes on from step k first drops the lines after step k, so that
the log is that of one run.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TextIO

NAME = "log.jsonl"


class RunLog(NamedTuple):
    """A log, read back."""

    reports: list[dict[str, float]]  # each with its "step"
    validation: list[tuple[int, dict[str, float]]]  # (step, metrics)

    @property
    def loss(self) -> list[tuple[int, float]]:
        """(step, loss of the step) of every report."""
        return [(int(line["step"]), line["loss"]) for line in self.reports]


def read_log(path: str | os.PathLike[str]) -> RunLog:
    """Read the log of a run.

    Args:
        path: the run's folder, or the file. A last line without an end, as a crash leaves one, is left out.
    Raises:
        ValueError: there is no log, or a line of it is not one of a log; the message says which.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run, LogWriter(run, step=0) as log:
    ...     log.write(10, {"loss": 2.5})
    ...     log.write(10, {"validation": {"loss": 2.25}})
    ...     read_log(run)
    RunLog(reports=[{'step': 10, 'loss': 2.5}], validation=[(10, {'loss': 2.25})])
    """
    file = Path(path)
    if file.is_dir():
        file /= NAME
    if not file.is_file():
        raise ValueError(f"expected the log of a run, but there is no {file}; name the folder of a run")
    reports, validation = [], []
    for line in map(json.loads, _whole_lines(file)):
        if "validation" in line:
            validation.append((line["step"], line["validation"]))
        else:
            reports.append(line)
    return RunLog(reports, validation)


class LogWriter:
    """A log that is written to; a `with` block closes it.

    Args:
        directory: the run's folder, made when the first line is written; None for no log.
        step: where the run goes on: with the first line written, lines after that step are dropped.
    """

    def __init__(self, directory: str | os.PathLike[str] | None, step: int) -> None:
        self.file, self._step = None if directory is None else Path(directory) / NAME, step
        self._stream: TextIO | None = None

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a line."""
        if self.file is None:
            return
        if self._stream is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _drop_after(self.file, self._step)
            self._stream = open(self.file, "a", encoding="utf-8", newline="\n")
        self._stream.write(json.dumps({"step": step} | values) + "\n")
        self._stream.flush()

    def sync(self) -> None:
        """Make the lines last, before a checkpoint that comes after them does."""
        if self._stream is not None:
            os.fsync(self._stream.fileno())

    def seconds(self) -> tuple[float, float]:
        """What the run took up to the step from which it goes on, and its steps alone, as its log says; 0 at first."""
        if not self._step or self.file is None or not self.file.is_file():
            return 0.0, 0.0
        lines = [line for line in map(json.loads, _whole_lines(self.file)) if line["step"] <= self._step]
        whole, steps = (
            max((line.get(name, 0.0) for line in lines), default=0.0) for name in ("seconds", "step_seconds")
        )
        return whole, steps

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()


def _whole_lines(file: Path) -> list[str]:
    """The lines of a log that end; each is JSON with a step."""
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            whole = isinstance(json.loads(line)["step"], int)
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise ValueError(f"{file}, line {number}: expected JSON with a step, got {line!r:.80}; mend or remove it")
    return lines


def _drop_after(file: Path, step: int) -> None:
    """Take away the lines after a step, and what a crash left of a line: all at once, or nothing."""
    if not file.exists():
        return
    before = file.read_bytes()
    lines = _whole_lines(file) if step else []  # at the beginning it does not matter what another run left
    kept = "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step).encode()
    if kept != before:
        writing = file.with_suffix(".tmp")
        with open(writing, "wb") as stream:
            stream.write(kept)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(writing, file)
