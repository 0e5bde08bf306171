"""`tinygrad-seq equations`: the equations of the chapter, where the code has them, and their pictures."""

import unicodedata
from pathlib import Path

import tinygrad_seq as ts

from ..core.equations import Equation


def listed(name: str | None) -> list[Equation]:
    """The equations to list: all, one by its id, or those of a block.

    Raises:
        ValueError: where no equation goes by this name.
    """
    every = ts.viz.equations()
    chosen = [e for e in every if name in (None, e.id)] or [e for e in every if e.id.split(".")[0] == name]
    if not chosen:
        raise ValueError(f"no equation is called {name!r}; there are {', '.join(e.id for e in every)}")
    return chosen


def table(chosen: list[Equation], *, latex: bool = False) -> str:
    """One line for each: id, equation, file and line."""
    rows = [(e.id, e.latex if latex else e.text, f"{_inside(e.file)}:{e.line}") for e in chosen]
    wide = [max(_width(row[k]) for row in rows) for k in range(2)]
    padded = ([cell + " " * (n - _width(cell)) for cell, n in zip(row, (*wide, 0), strict=True)] for row in rows)
    return "\n".join("  ".join(cells) for cells in padded)


def draw(chosen: list[Equation], folder: Path) -> list[Path]:
    """A picture of each in a folder, id.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    return [ts.viz.equation_graph(e.id).save(folder / f"{e.id}.svg") for e in chosen]


def _width(text: str) -> int:
    """Columns on a terminal: the mark on c̃ takes none."""
    return sum(not unicodedata.combining(c) for c in text)


def _inside(file: str) -> str:
    """The file as it stands in the package: ops/lstm.py."""
    parts = Path(file).parts
    for package in ("tinygrad_seq", "models"):
        if package in parts:
            at = len(parts) - 1 - parts[::-1].index(package)
            return "/".join(parts[at:])
    return parts[-1]
