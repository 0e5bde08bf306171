"""Real data sets, where they lie beside the repository: they are no part of it."""

from pathlib import Path

import pytest

from house import ROOT

FOLDER = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """The path of a real file; the test that asks for one that is not there is skipped."""
    if not (FOLDER / name).exists():
        pytest.skip(f"there is no ../shared/data/{name}: the real data set is not checked")
    return FOLDER / name
