"""`tinygrad-seq eval`, `generate` and `predict`: what a trained model is good for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shlex import quote
from typing import Any

import typer

import tinygrad_seq as ts

from ..data import read_lines
from .run import check_data, load


def evaluate(folder: Path, *, data: Path | None, checkpoint: str, device: str | None, as_json: bool) -> None:
    """Print a run's metrics on its held-out examples, or on those of a file."""
    run = load(folder, checkpoint, device)
    job = run.job
    if data is None:
        _, held_out = job.read(job.config)
        check_data(run)
    else:
        held_out = job.more(str(data))
    metrics = job.task(run.model, None, held_out).evaluate()
    if as_json:
        about = {"run": str(folder), "kind": job.name, "step": run.checkpoint.step}
        typer.echo(json.dumps(about | {"data": None if data is None else str(data), "metrics": metrics}))
        return
    typer.echo(f"{folder}, step {run.checkpoint.step}, on {data or 'its held-out examples'}")
    for label, value in job.shown(metrics).items():
        typer.echo(f"{label:30} {value}")


def generate(
    folder: Path,
    *,
    prompt: str,
    length: int,
    options: dict[str, Any],
    seed: int,
    samples: int,
    checkpoint: str,
    device: str | None,
    as_json: bool,
) -> None:
    """Print what a language model writes after a prompt."""
    run = load(folder, checkpoint, device)
    if not run.job.writes:
        instead = f"tinygrad-seq predict {quote(str(folder))}"
        raise ValueError(f"a {run.job.name} does not write: {instead} says what it makes of a line")
    ts.seed(seed)
    texts = [run.job.write(run.model, prompt, length, options) for _ in range(samples)]
    if as_json:
        about = {"run": str(folder), "step": run.checkpoint.step, "prompt": prompt, "seed": seed}
        typer.echo(json.dumps(about | {"texts": texts}, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(texts))


def predict(
    folder: Path, *, file: Path | None, options: dict[str, Any], checkpoint: str, device: str | None, as_json: bool
) -> None:
    """Print what a model says of each line of a file, or of standard input."""
    run = load(folder, checkpoint, device)
    if run.job.writes:
        instead = f"tinygrad-seq generate {quote(str(folder))} --prompt …"
        raise ValueError(f"a {run.job.name} goes on from a prompt: {instead}")
    lines = _lines(file)
    found = run.job.predict(run.model, lines, options)
    if as_json:
        about = {"run": str(folder), "kind": run.job.name, "step": run.checkpoint.step}
        typer.echo(json.dumps(about | {"predictions": [p.values for p in found]}, ensure_ascii=False))
        return
    for prediction in found:
        typer.echo(prediction.text)


def _lines(file: Path | None) -> list[str]:
    if file is not None:
        return list(read_lines(file))
    try:
        lines = sys.stdin.buffer.read().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 on standard input, but {error}") from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError("expected lines on standard input, or the name of a file, got none")
    return lines
