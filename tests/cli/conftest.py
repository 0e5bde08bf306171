"""A run of each kind, trained once for all tests."""

from pathlib import Path

import pytest

from cli.commands import train
from tinygrad_seq.cli.jobs import JOBS


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, under the kind's name. Tests change copies of them alone."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in JOBS:
        result = train(kind, folder / kind)
        assert result.exit_code == 0, result.output
        assert "validation" in result.stdout and "loss, nats per" in result.stdout
    return folder
