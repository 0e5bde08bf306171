"""`tinygrad-seq demo` on real text, shorter than a person runs it: it beats the count tables, and leaves everything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo") / "out"
    arguments = ["demo", "--out", str(out), "--steps", "300", "--hidden", "128"]
    # A console that can show neither σ nor a box of lines: nothing may crash.
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "120", "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [sys.executable, "-m", "tinygrad_seq", *arguments], capture_output=True, env=environment, timeout=900
    )
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    return out, result.stdout.decode("ascii")


def test_the_order_of_the_losses(demo: tuple[Path, str]) -> None:
    """The text differs between versions of Python, so the order is asserted, not the numbers."""
    _, printed = demo
    table = printed[printed.index("5. Held-out loss") :]
    names = ["unigram", "bigram", "interpolated trigram", "LSTM", "LSTM, state zeroed"]
    found = {name: re.search(rf"^{name} \W+(\d+\.\d+)", table, re.MULTILINE) for name in names}
    assert all(found.values()), table
    unigram, bigram, trigram, lstm, zeroed = (float(match[1]) for match in found.values() if match)
    assert unigram > bigram > trigram > lstm
    assert zeroed > lstm
    assert "the LSTM beats all count tables" in printed
    memory = re.search(r"memory is worth (\d+\.\d+) nats", printed)
    assert memory and float(memory[1]) == pytest.approx(zeroed - lstm, abs=0.0016)  # three numbers were rounded


def test_progress_and_samples(demo: tuple[Path, str]) -> None:
    _, printed = demo
    assert re.search(r"step +\d+/300 +loss [\d.]+ +validation [\d.]+ +[\d,]+ characters/s +\d+ s left", printed)
    assert "untrained, it writes" in printed and "Trained, it writes" in printed


def test_what_is_left_behind(demo: tuple[Path, str]) -> None:
    out, _ = demo
    for name in ("loss_curve.png", "training_step.png", "lstm_step.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    for name in ("training_step.svg", "lstm_step.svg"):
        assert "<svg" in (out / name).read_text(encoding="utf-8")
    step = (out / "training_step.svg").read_text(encoding="utf-8")
    assert "loss = cross entropy" in step and "LSTM sequence" in step and "lstm.weight_hh_l0" in step
    cell = (out / "lstm_step.svg").read_text(encoding="utf-8")
    assert all(symbol in cell for symbol in ("fₜ", "iₜ", "c̃ₜ", "oₜ", "hₜ", "W_f", "U_o"))
    assert (out / "checkpoints" / "latest").read_text().strip() == "step-000300"


def test_it_is_a_run_that_writes_on(demo: tuple[Path, str]) -> None:
    out, _ = demo
    result = run("generate", out, "--prompt", "The ", "--length", 40)
    assert result.exit_code == 0 and result.stdout.startswith("The ")
    assert run("train", "char-lm", "--out", out, "--resume").exit_code == 0  # it is finished


def test_the_page_is_complete_without_a_network(demo: tuple[Path, str]) -> None:
    out, _ = demo
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    for words in (
        "interpolated trigram",
        "state zeroed",
        "before training",
        "after training",
        "<svg",
        "data:image/png",
    ):
        assert words in page
