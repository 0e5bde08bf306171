"""The ladder: one split, every model judged on all characters and ends of the same words; what it says of itself."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.cli.ladder import RUNGS, Rung, Words, count_table, new_model, not_below, read, split

WORDS = ["emma", "ava", "olivia", "mia", "zoe"] * 12


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinygrad_seq", "ladder", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    file = tmp_path / "names.txt"
    file.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return file


def test_table_and_plot(names: Path, tmp_path: Path) -> None:
    result = run("--data", names, "--steps", 2, "-o", tmp_path / "ladder.svg")
    assert result.returncode == 0, result.stderr
    for name in ("n-gram", "feed-forward", "RNN", "LSTM", "GRU", "Transformer"):
        assert f"\n{name} " in result.stdout
    assert "48 to learn from, 6 to choose by, 6 to report, dealt out with seed 0" in result.stdout
    assert "does not come down from" in result.stdout  # two steps teach nothing
    assert (tmp_path / "ladder.svg").stat().st_size > 5000


def test_json_alone(names: Path) -> None:
    result = run("--data", names, "--steps", 2, "--seed", 3, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [rung["name"] for rung in found["rungs"]][:2] == ["n-gram", "feed-forward"] and len(found["rungs"]) == 6
    assert found["seed"] == 3 and found["words"] == {"training": 48, "validation": 6, "test": 6}
    assert found["test_words_in_training"] == 6  # five names, each twelve times
    assert all(math.isfinite(rung["test"]) and rung["seconds"] > 0 for rung in found["rungs"])
    assert [rung["steps"] for rung in found["rungs"]] == [0, 2, 2, 2, 2, 2]
    above = zip(found["rungs"], found["rungs"][1:], strict=False)
    assert found["does_not_come_down"] == [
        f"from {a['name']} to {b['name']}" for a, b in above if b["test"] >= a["test"]
    ]


@pytest.mark.parametrize(("option", "value", "words"), [("--data", "nowhere.txt", "no "), ("-o", "x.doc", ".doc")])
def test_errors_in_one_line(option: str, value: str, words: str) -> None:
    result = run(option, value, "--steps", 1)
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr
    assert not result.stdout


def test_every_symbol_of_a_word_and_its_end_is_judged_once() -> None:
    """Padded side by side a model has the loss that it has word by word; so has a count table."""
    words = split(WORDS, seed=0)
    assert sorted(map(len, words[1:])) == [6, 6, 48]
    assert words.longest == len("olivia") + 1
    for sizes in RUNGS:
        ts.seed(0)
        model = new_model(sizes, words)
        model.eval()
        losses: list[float] = []
        for row in words.test:
            logits = model(row[None, :-1])
            logits = (logits[0] if isinstance(logits, tuple) else logits).numpy()[0].astype(float)
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            losses += [-log_p[t, symbol] for t, symbol in enumerate(row[1:])]
        assert len(losses) == sum(len(row) - 1 for row in words.test)
        assert Words(model, words, seed=0).judged(words.test) == pytest.approx(np.mean(losses), rel=1e-5)
    text = "".join(words.vocabulary.decode(row[1:]) for row in words.test)
    table = ts.models.NGram(ts.models.NGramConfig(len(words.vocabulary), 2)).fit(
        np.concatenate([words.training[0][:1], *(row[1:] for row in words.training)])
    )
    by_hand = [-math.log(table.probabilities([words.vocabulary.encode(a)[0]])[words.vocabulary.encode(b)[0]])
               for a, b in zip("\n" + text, text, strict=False)]  # fmt: skip
    assert count_table(words, 2)[1] == pytest.approx(np.mean(by_hand))


def test_the_words_of_the_manual_are_distinct() -> None:
    words = read(None)
    assert len(words) == len(set(words)) > 2000 and all(word.islower() for word in words)


def test_where_it_does_not_come_down() -> None:
    rungs = [Rung(name, "", 1, 1, 1.0, 0.0, test) for name, test in [("a", 3.0), ("b", 2.0), ("c", 2.0), ("d", 2.5)]]
    assert not_below(rungs) == [("b", "c"), ("c", "d")]
