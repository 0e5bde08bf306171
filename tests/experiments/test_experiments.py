"""Every experiment holds what it claims, in small here and in full as kept; the page says what was kept."""

import doctest
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as ts
from experiments import NAMES, summary_table
from experiments.common import PICTURES, RESULTS, Claim, kept, module
from experiments.page import PAGE, page, section
from house import ROOT

PARTS = {"__init__", "__main__", "common", "page"}


def test_every_file_is_an_experiment() -> None:
    files = {path.stem for path in (ROOT / "experiments").glob("*.py")} - PARTS
    assert files == set(NAMES)
    assert {path.stem for path in RESULTS.iterdir()} == {path.stem for path in PICTURES.iterdir()} == files


@pytest.mark.parametrize("name", NAMES)
def test_in_small(name: str, tmp_path: Path) -> None:
    """By its command, in a process of its own: NumPy there has one thread."""
    picture = tmp_path / "picture.png"
    command = [sys.executable, "-m", f"experiments.{name}", "--quick", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0 and "holds" in done.stdout and "FAILS" not in done.stdout, done.stdout + done.stderr
    assert picture.stat().st_size > 2000


@pytest.mark.parametrize("name", NAMES)
def test_in_full_as_kept(name: str) -> None:
    """What was kept bears out the claims that the code makes today."""
    found = kept(name)
    claims = module(name).claims(found["numbers"])
    assert found["claims"] == [{**claim._asdict(), "holds": True} for claim in claims]
    assert all(claim.holds for claim in claims)
    assert (PICTURES / f"{name}.png").stat().st_size < 120_000


def test_the_page_is_what_the_numbers_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m experiments.page"


@pytest.mark.parametrize("name", NAMES)
def test_every_number_on_the_page_was_measured(name: str) -> None:
    """Each row of a section's table is a claim of the kept ones, its number to three digits."""
    found = kept(name)
    rows = [line.split(" | ") for line in section(name).splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(found["claims"])
    for row, claim in zip(rows, found["claims"], strict=True):
        assert row[0] == f"| {claim['sentence']}"
        assert math.isclose(float(row[1]), claim["value"], rel_tol=0.005, abs_tol=1e-300)


@pytest.mark.parametrize("name", ["common", *NAMES])
def test_examples_in_docstrings(name: str) -> None:
    assert not doctest.testmod(module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed


def test_the_summary_tables_walks_through_a_graph() -> None:
    """Of two ways the shorter; what only other symbols lead to is no way; indexing is none of the operations."""
    embedding, rng = ts.nn.Embedding(5, 3), np.random.default_rng(0)
    embedding.to("float64")
    e = embedding(np.array([[1, 2, 3]]))
    first = ts.ops.tanh(ts.ops.tanh(e[:, 0]))
    assert summary_table.shortest_path(first + e[:, 2], embedding.weight, rng) == 3
    assert summary_table.shortest_path(first + e[:, 0], embedding.weight, rng) == 1
    assert summary_table.longest_chain(first + e[:, 0]) == 4  # with the embedding
    with pytest.raises(ValueError, match="no path"):
        summary_table.shortest_path(ts.ops.exp(e[:, 1]), embedding.weight, rng)


def test_a_claim_can_fail() -> None:
    assert Claim("", 0.1, "<=", 0.1).holds and not Claim("", 0.2, "<=", 0.1).holds
    assert Claim("", 0.1, ">=", 0.1).holds and not Claim("", 0.0, ">=", 0.1).holds
    assert not Claim("", float("nan"), "<=", 1).holds and not Claim("", float("nan"), ">=", 1).holds
