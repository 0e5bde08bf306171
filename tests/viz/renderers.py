"""The programs that can draw here, and stand-ins for one."""

import stat
from pathlib import Path

import pytest

from tinygrad_seq.viz import render


def available() -> list[render.Renderer]:
    found = []
    try:
        found.append(render.find())
    except render.RenderError:
        return []
    pure = render._pure()
    if not found[0].pure and pure:
        found.append(render.Renderer(pure, True))
    return found


AVAILABLE = available()
needs_dot = pytest.mark.skipif(not AVAILABLE, reason="neither Graphviz nor graphviz-pure is installed")
each_renderer = pytest.mark.parametrize(
    "renderer",
    AVAILABLE or [pytest.param(None, marks=pytest.mark.skip(reason="no Graphviz here"))],
    ids=lambda found: "none" if found is None else "graphviz-pure" if found.pure else "graphviz",
)


def script(path: Path, text: str) -> Path:
    """A program made of shell lines."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
