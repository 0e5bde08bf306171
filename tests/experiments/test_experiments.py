"""Every experiment holds what it claims, in small here and in full as kept; the page says what was kept."""

import doctest
import math
from pathlib import Path

import pytest

from experiments import NAMES, common
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
    found = module(name).run(quick=True, seed=0)
    assert found.claims and all(claim.holds for claim in found.claims), "\n".join(map(str, found.claims))
    pytest.importorskip("matplotlib")
    found.draw().savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


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


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(common, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed


def test_a_claim_can_fail() -> None:
    assert Claim("", 0.1, "<=", 0.1).holds and not Claim("", 0.2, "<=", 0.1).holds
    assert Claim("", 0.1, ">=", 0.1).holds and not Claim("", 0.0, ">=", 0.1).holds
    assert not Claim("", float("nan"), "<=", 1).holds and not Claim("", float("nan"), ">=", 1).holds
