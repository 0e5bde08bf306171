"""Ctrl-C while a command trains: it saves, says how to go on, and exits with 130."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT for one process")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_saves_and_goes_on(tmp_path: Path, number: int) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "a run"
    text.write_text("the cat that i saw yesterday was cute. " * 150, encoding="utf-8")
    command = [sys.executable, "-m", "tinygrad_seq", "train", "char-lm", "--data", text, "--out", out, "--hidden", "8"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    process = subprocess.Popen([*command, "--steps", "100000"], **pipes)
    while not (out / "log.jsonl").exists() and process.poll() is None:  # then steps are being taken
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    found = re.match(r"stopped after step (\d+); saved in ([^;\n]+)", said)
    assert (
        found
        and f"tinygrad-seq train char-lm --out '{out}' --resume" in said
        and (Path(found[2]) / "state.json").is_file()
    )
    step = int(found[1])
    more = subprocess.run([*command, "--steps", str(step + 3), "--resume"], timeout=120, **pipes)
    assert more.returncode == 0, more.stderr
    assert f"from step {step} of {step + 3}" in " ".join(more.stdout.split())
