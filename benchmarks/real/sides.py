"""The two sides of a real task: our command in a process of its own, and PyTorch's twin in another.

`python -m benchmarks.real.sides NAME …` is that other process; it prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from .table import REAL, RECIPES, ROOT, Real, eval_command, ladder_command, train_command


class Settings(NamedTuple):
    """How a task is run."""

    data: Path  # the folder of data sets
    seed: int
    threads: int
    steps: int | None = None  # instead of the recipe's: for the tests
    init_from: Path | None = None  # the run that this one begins with


class Failed(Exception):
    """What a process died of."""


def ours(name: str, settings: Settings, out: Path) -> dict[str, Any]:
    """Train and judge by our commands.

    Returns:
        value, of the measure; metrics; seconds, of training without evaluations; wall, of the whole command; step, of
        the checkpoint that was judged.
    """
    from tinygrad_seq.train import read_log

    real, m = REAL[name], REAL[name].measure
    start = time.perf_counter()
    options = ["--seed", str(settings.seed), "--threads", str(settings.threads), "--json"]
    options += [] if settings.steps is None else ["--steps", str(settings.steps)]
    first = None if settings.init_from is None else str(settings.init_from)
    _run([*train_command(real, name, str(settings.data), str(out), first), *options], settings)
    wall = time.perf_counter() - start
    found = _run([*eval_command(real, str(settings.data), str(out)), "--json"], settings)
    return {
        "value": m.scale * found["metrics"][m.name],
        "metrics": found["metrics"],
        "seconds": read_log(out).reports[-1]["step_seconds"],
        "wall": wall,
        "step": found["step"],
    }


def ladder(settings: Settings, picture: Path) -> dict[str, Any]:
    """What `tinygrad-seq ladder` finds on the names, and its plot."""
    options = ["--seed", str(settings.seed), "-o", str(picture), "--json"]
    options += [] if settings.steps is None else ["--steps", str(settings.steps)]
    return _run([*ladder_command(str(settings.data)), *options], settings)


def by_torch(name: str, settings: Settings) -> dict[str, Any]:
    """The same by PyTorch, and the number of parameters."""
    options = [] if settings.steps is None else ["--steps", str(settings.steps)]
    options += [] if settings.init_from is None else ["--init-from", str(settings.init_from)]
    command = [sys.executable, "-m", "benchmarks.real.sides", name, "--data", str(settings.data)]
    return _run([*command, "--seed", str(settings.seed), "--threads", str(settings.threads), *options], settings)


def _run(command: list[str], settings: Settings) -> Any:
    """What a command prints as JSON."""
    if command[0] == "tinygrad-seq":
        command = [sys.executable, "-m", "tinygrad_seq", *command[1:]]
    counts = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    environment = os.environ | dict.fromkeys(counts, str(settings.threads))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise Failed(f"{' '.join(command)}\nended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


# -- in the process


class Prepared(NamedTuple):
    """A recipe, ready to be trained."""

    job: Any  # of the command line
    trainer: Any
    training: Any  # examples to learn from
    judged: Any  # and those of the last word


def prepare(name: str, settings: Settings) -> Prepared:
    """What `tinygrad-seq train` prepares for a recipe: the same model, batches, optimizer and schedule."""
    from tinygrad_seq.cli import run as runs
    from tinygrad_seq.cli.beginning import beginning
    from tinygrad_seq.cli.config import build, read_toml
    from tinygrad_seq.cli.jobs import JOBS

    real: Real = REAL[name]
    kind = JOBS[real.kind]
    given: dict[str, Any] = {option: str(settings.data / path) for option, path in real.files.items()}
    given |= {"seed": settings.seed, "threads": settings.threads}
    given |= {} if settings.steps is None else {"steps": settings.steps}
    given |= {} if settings.init_from is None else {"init_from": str(settings.init_from)}
    config = build(kind.Config, read_toml(RECIPES / f"{name}.toml", real.kind, kind.Config), given)
    runs.prepare(config)
    training, held_out = kind.read(config)
    job, model, _ = beginning(kind, config, training, held_out)
    judged = held_out if real.test is None else kind.examples(config, str(settings.data / real.test))
    trainer = runs.trainer_of(job, job.task(model, training, held_out), None)
    return Prepared(job, trainer, training, judged)


def in_torch(name: str, settings: Settings) -> dict[str, Any]:
    """Train the twin, and judge it by our evaluation."""
    import torch

    from .by_torch import train

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)  # of dropout, and of what begins by itself
    real, m = REAL[name], REAL[name].measure
    prepared = prepare(name, settings)
    model = prepared.trainer.task.model
    own_text = prepared.job.vocabulary.encode(prepared.training) if real.own_start else None
    found = train(prepared.trainer, best=real.checkpoint == "best", own_text=own_text)
    last_is_judged = real.test is None  # what the training held out: that was the last evaluation
    metrics = found.metrics if last_is_judged else prepared.job.task(model, None, prepared.judged).evaluate()
    return {
        "value": m.scale * metrics[m.name],
        "metrics": metrics,
        "seconds": found.seconds,
        "step": found.step,
        "parameters": sum(p.size for p in model.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.sides")
    parser.add_argument("name", choices=REAL)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--init-from", type=Path)
    o = parser.parse_args()
    print(json.dumps(in_torch(o.name, Settings(o.data, o.seed, o.threads, o.steps, o.init_from))))


if __name__ == "__main__":
    main()
