"""A training that is killed at any moment and goes on ends as one that never was: a few kills of `make kill-test`."""

import os
import subprocess
import sys

import pytest

from house import ROOT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_few_kills() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "kill_test.py"), "--kills", "9", "--stride", "25"]
    memory = (
        {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}
    )  # who is killed loses nothing there either
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env=os.environ | memory)
    assert done.returncode == 0, done.stderr
    assert "left whole checkpoints and equal runs" in done.stdout
