"""`tinygrad-seq bench`: the time of a step, and where it goes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinygrad_seq.cli import app
from tinygrad_seq.cli.bench import CASES, bench
from tinygrad_seq.cli.graph import MODELS

SMALL: dict[str, int | None] = {"hidden": 8, "batch": 2, "time": 6}


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def error(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 1, done.output
    return done.output


def test_every_model_that_can_be_drawn_can_be_timed() -> None:
    assert CASES.keys() == MODELS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_profile_adds_up(name: str) -> None:
    found = bench(name, SMALL, steps=2, profiled=True)
    assert len(found.seconds) == 2 and found.profile is not None
    p = found.profile
    assert sum(row.seconds for row in p.operations) + sum(p.phases.values()) == pytest.approx(p.seconds, rel=1e-9)
    assert all(seconds > 0 for seconds in p.phases.values())
    assert all(row.count % 2 == 0 for row in p.operations)  # each step is the same
    assert any(row.backward for row in p.modules if row.name != "(no module)")


def test_the_command() -> None:
    text = run("language-model", "--profile", "--hidden", "8", "--batch", "2", "--time", "5", "--steps", "2")
    assert text.startswith("LanguageModel, hidden 8, batch 2, time 5: a step takes ")
    for word in ("symbols a second", "with every operation timed, one of 2 steps took", "LSTMSequence", "optimizer"):
        assert word in text
    assert "LSTMSequence" not in run("gpt", "--hidden", "8", "--batch", "1", "--time", "4", "--steps", "1")


def test_json() -> None:
    text = run("gpt", "--profile", "--json", "--hidden", "8", "--batch", "2", "--time", "4", "--steps", "3")
    found = json.loads(text)
    assert (found["name"], found["hidden"], found["batch"], found["time"], found["steps"]) == ("GPT", 8, 2, 4, 3)
    assert found["symbols_per_second"] == pytest.approx(8 / found["seconds"]["median"])
    assert {"LayerNorm", "MultiHeadAttention"} <= {row["name"] for row in found["profile"]["operations"]}
    assert set(found["profile"]["phases"]) == {"walk back", "clip", "optimizer", "rest"}


def test_a_function_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses.py").write_text(
        "import tinygrad_seq as ts\n"
        "W = ts.tensor([[1.0, 2.0]], requires_grad=True)\n"
        "def loss():\n    return ts.ops.tanh(W).sum()\n"
        "def no_loss():\n    return W * 2\n"
    )
    monkeypatch.chdir(tmp_path)
    text = run("own_losses:loss", "--profile", "--steps", "2")
    assert text.startswith("own_losses:loss: a step takes") and "Tanh" in text and "symbols" not in text
    assert "expected a function that returns a loss, a tensor of one element, got a tensor of shape (1, 2)" in error(
        "own_losses:no_loss"
    )
    assert "--hidden is for models of ours" in error("own_losses:loss", "--hidden", "3")


def test_unknown_names() -> None:
    assert "no model is called 'gtp'; there are AttentionDecoder, BERT" in error("gtp")
    assert "MaskedLMHead is no model that is trained by itself" in error("masked-lm-head")
