"""Every command in the docs' `console` blocks runs and prints what stands below it, but for the digits."""

import re
import shlex
from pathlib import Path

import pytest

from cli.commands import run
from house import ROOT

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "```console" in page.read_text(encoding="utf-8")]


def shape(line: str) -> str:
    """A line without its numbers and the width of its columns."""
    return re.sub(r"\s+", " ", re.sub(r"[\d,.]*\d", "0", line)).strip()


def as_pattern(shown: list[str]) -> str:
    """What the output must be like; … stands for anything."""
    return re.escape("\n".join(map(shape, shown))).replace("…", "(.|\n)*")


def commands(block: str) -> list[tuple[str, list[str]]]:
    """(command, lines below it) of a block."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            exec(block, {})
            continue
        for line, shown in commands(block):
            before, _, command = line.rpartition(" | ")
            program, *arguments = shlex.split(command)
            said = shlex.split(before)[1:]  # echo's
            assert program == "tinygrad-seq", line
            result = run(*arguments, input="".join(f"{text}\n" for text in said))
            assert result.exit_code == 0, f"{line}\n{result.output}"
            printed = "\n".join(map(shape, result.stdout.splitlines()))
            assert re.fullmatch(as_pattern(shown), printed), f"{line}\n{result.stdout}"


def test_the_page_names_every_command() -> None:
    from typer.main import get_command

    from tinygrad_seq.cli import app
    from tinygrad_seq.cli.jobs import JOBS

    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`{name}" in text, name
    for kind in JOBS:
        assert f"| `{kind}` |" in text, kind


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        (["loss 0.938  1,738 tags/s"], "loss 12.1 9 tags/s", True),
        (["loss 0.938"], "lose 0.938", False),
        (["a", "…", "b"], "a\nx\ny\nb", True),
        (["a", "…", "b"], "a\nx\ny\nc", False),
        (["a"], "a\nb", False),
    ],
)
def test_what_counts_as_the_same(shown: list[str], printed: str, alike: bool) -> None:
    lines = "\n".join(map(shape, printed.splitlines()))
    assert bool(re.fullmatch(as_pattern(shown), lines)) == alike
