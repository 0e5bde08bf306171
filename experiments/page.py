"""docs/experiments.md, written from the docstrings of the experiments and the numbers they kept.

`python -m experiments.page` judges the kept numbers and draws their pictures again, without training, and writes it.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from . import NAMES
from .common import PICTURES, keep, kept, module, outcome

PAGE = Path(__file__).resolve().parent.parent / "docs" / "experiments.md"

HEAD = """\
# What the chapter claims, measured

Each claim is an experiment: one file that is read from top to bottom, one command, a seed, and thresholds which the
weaker architecture fails. Measured with NumPy on one core. `make experiments` runs them all and writes this page anew.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(name) for name in NAMES)])


def section(name: str) -> str:
    """One experiment: its docstring, whose first line is the title, its picture, its claims, its command.

    The chapter's sentence is the paragraph in quotation marks. An experiment that has a function `table`, from its
    numbers to Markdown, has that beside the picture.
    """
    code = module(name)
    title, *paragraphs = inspect.cleandoc(code.__doc__).split("\n\n")
    body = ["> " + text[1:-1].replace("\n", "\n> ") if text.startswith('"') else text for text in paragraphs]
    found = kept(name)
    picture = (PICTURES / f"{name}.png").relative_to(PAGE.parent).as_posix()
    table = ["| claim | measured | threshold |", "|---|---|---|", *(row(claim) for claim in found["claims"])]
    command = f"`python -m experiments.{name}` ({found['seconds']} s of one core, seed {found['seed']})"
    own = [code.table(found["numbers"])] if hasattr(code, "table") else []
    parts = [f"## {title.rstrip('.')}", *body, f"![{title.rstrip('.')}]({picture})", *own, "\n".join(table), command]
    return "\n\n".join(parts) + "\n"


def row(claim: dict[str, Any]) -> str:
    sign = {"<=": "≤", ">=": "≥"}[claim["relation"]]
    return f"| {claim['sentence']} | {claim['value']:.3g} | {sign} {claim['threshold']:g} |"


if __name__ == "__main__":
    for name in NAMES:
        found, code = kept(name), module(name)
        keep(name, outcome(found["numbers"], code.claims, code.draw), found["seed"], found["seconds"])
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
