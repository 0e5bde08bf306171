"""Drawing."""

from __future__ import annotations

from . import render
from .value import Graph


def svg(graph: Graph) -> str:
    return render.run(graph.dot, "svg").decode("utf-8")


def paint(graph: Graph, form: str) -> bytes:
    return render.run(graph.dot, form, None, "-Gdpi=144")
