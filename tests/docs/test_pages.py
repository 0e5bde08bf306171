"""Every Python example in README.md and docs/ runs: the blocks of one page one after the other, as a reader would."""

import re
from pathlib import Path

import pytest

from house import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"!\[[^]]*\]\(([^)]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # pages write pictures
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        # Empty lines before the code, so that a traceback names the line of the page.
        exec(compile("\n" * first + block.group(1), str(page), "exec"), names)
    for target in SHOWN.findall(text):
        made = tmp_path / target
        if page.parent.name == "gallery":
            assert made.exists(), f"no program of the gallery makes {target}"
        if made.suffix == ".svg" and made.exists():
            kept = (page.parent / target).read_text(encoding="utf-8")
            # Not all of it: places differ between the versions of Graphviz.
            assert described(kept) == described(made.read_text(encoding="utf-8")), f"{target} is old: make gallery"


def described(svg: str) -> str:
    """The picture as text, which every SVG of a graph carries."""
    return svg[svg.index("<title>") : svg.index("</desc>")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} points to {target}, which is not there"
