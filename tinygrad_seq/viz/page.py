"""One HTML file that shows everything and needs nothing: pictures inside, no network, no script."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from .value import Graph, write


class Text(NamedTuple):
    """A paragraph; empty lines separate several."""

    heading: str
    text: str


class Table(NamedTuple):
    """Rows under a header. Numbers are given as the text that is shown."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Picture(NamedTuple):
    """A Graph, or a picture file (.svg, .png, .jpg), which goes into the page."""

    heading: str
    picture: Graph | str | os.PathLike[str]
    text: str = ""  # what one should see in it; also read out where the picture cannot be seen


class Sample(NamedTuple):
    """Text as it is, such as what a model wrote."""

    heading: str
    text: str


Section = Text | Table | Picture | Sample
_NUMBER = re.compile(r"[-−+]?[\d.,]+( ?%)?|nan|-?inf|")  # what stands flush right in a table


def page(title: str, sections: Sequence[Section], path: str | os.PathLike[str]) -> Path:
    """Write a page that is one file: light, readable, and complete without a network.

    Args:
        title: of the page.
        sections: Text, Table, Picture and Sample, in their order.
        path: the .html file.
    Returns:
        The path.
    Raises:
        FileNotFoundError: for a picture, or a folder, that is not there.
        ValueError: for a picture in a format that a page cannot hold.
        TypeError: for a section that is none.

    >>> import pathlib, tempfile
    >>> from tinygrad_seq import viz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = viz.page("A run", [viz.Sample("It wrote", "<b> & co")], f"{folder}/index.html")
    ...     "&lt;b&gt; &amp; co" in pathlib.Path(path).read_text(encoding="utf-8")
    True
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"page: the folder {str(path.parent)!r} does not exist: make it first")
    body = "\n".join(_section(section, k) for k, section in enumerate(sections))
    shown = html.escape(title)
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{shown}</h1>
{body}
</main>
</body>
</html>
"""
    return write(path, text.encode("utf-8", "replace"))


_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1c1c1c; font: 17px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.5rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; padding-top: 1rem; border-top: 1px solid #ddd; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem 1.5rem .35rem 0; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
thead th { border-bottom: 2px solid #888; font-weight: 600; }
pre { background: #f6f6f4; border: 1px solid #e2e2de; border-radius: 6px; padding: .9rem 1.1rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
figure { margin: 0; overflow-x: auto; }
figure svg, figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: #444; margin: 0 0 .75rem; }
"""


def _section(section: Section, k: int) -> str:
    if not isinstance(section, Text | Table | Picture | Sample):
        raise TypeError(f"page: a section is Text, Table, Picture or Sample, got {type(section).__name__}")
    if isinstance(section, Text):
        inside = "\n".join(f"<p>{html.escape(part)}</p>" for part in re.split(r"\n\s*\n", section.text) if part.strip())
    elif isinstance(section, Sample):
        inside = f"<pre>{html.escape(section.text)}</pre>"
    elif isinstance(section, Table):
        inside = _table(section)
    else:
        inside = _picture(section, k)
    return f'<section aria-labelledby="s{k}">\n<h2 id="s{k}">{html.escape(section.heading)}</h2>\n{inside}\n</section>'


def _table(table: Table) -> str:
    columns = zip_longest(*table.rows, fillvalue="")
    kinds = ["" if all(_NUMBER.fullmatch(str(cell)) for cell in column) else ' class="text"' for column in columns]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(str(cell))}</th>'
        for cell, kind in zip_longest(table.header, kinds, fillvalue="")
    )
    rows = []
    for row in table.rows:
        cells = [f"<td{kind}>{html.escape(str(cell))}</td>" for cell, kind in zip(row, kinds, strict=False)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"


def _picture(section: Picture, k: int) -> str:
    about = section.text or section.heading
    caption = f"<figcaption>{html.escape(section.text)}</figcaption>\n" if section.text else ""
    if isinstance(section.picture, Graph):
        inside = inline_svg(section.picture.svg(), about, f"f{k}-")
    else:
        path = Path(section.picture)
        if not path.is_file():
            raise FileNotFoundError(f"page: there is no picture {str(path)!r}")
        suffix = path.suffix.lower()
        if suffix == ".svg":
            inside = inline_svg(path.read_text(encoding="utf-8"), about, f"f{k}-")
        elif suffix in (".png", ".jpg", ".jpeg"):
            kind = "png" if suffix == ".png" else "jpeg"
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            inside = f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(about)}">'
        else:
            raise ValueError(f"page: a picture is .svg, .png or .jpg, got {path.name!r}")
    return f"<figure>\n{caption}{inside}\n</figure>"


def inline_svg(text: str, about: str, prefix: str) -> str:
    """SVG text as a part of a page: no prolog, ids that no other picture has, a name for those who cannot see it."""
    start = text.find("<svg")
    if start < 0:
        raise ValueError("page: this file holds no SVG")
    text = text[start:]
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href="|href="|url\()#', rf"\1#{prefix}", text)
    if "aria-label" not in text[: text.find(">")]:
        text = re.sub(r"^<svg", f'<svg role="img" aria-label="{html.escape(about)}"', text)
    return text
