"""`eval`, `generate`, `predict`, `compare` and `info`: a run is used by its folder alone."""

import json
import shutil
from pathlib import Path

import pytest

from cli.commands import SMALL, WRITE, run, train
from tinygrad_seq.cli.jobs import JOBS
from tinygrad_seq.cli.run import load
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.models import GPT, LanguageModel
from tinygrad_seq.train import read_log

LINES = {
    "tagger": "the cat was cute\n\nthe dogs\n",
    "classifier": "a joy\na long film\n",
    "seq2seq": "Run 3!\nGo 4.\n",
    "transformer": "May 3, 1999\n2 june 2001\n",
    "bert": "The <mask> is a function .\na <mask> and a <mask>\n",
}


@pytest.mark.parametrize("kind", JOBS)
def test_eval_gives_what_training_gave(kind: str, runs: Path) -> None:
    result = run("eval", runs / kind, "--json", "--checkpoint", "latest")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    step, metrics = read_log(runs / kind).validation[-1]
    assert found["step"] == step == 6 and found["kind"] == kind
    assert found["metrics"] == pytest.approx(metrics, rel=1e-5)


def test_eval_of_any_checkpoint(runs: Path) -> None:
    folder = runs / "classifier"
    steps = [json.loads(run("eval", folder, "--json", "--checkpoint", each).stdout)["step"] for each in (3, "latest")]
    assert steps == [3, 6]
    best = json.loads(run("eval", folder, "--json").stdout)
    log = dict(read_log(folder).validation)
    assert log[best["step"]]["loss"] == min(metrics["loss"] for metrics in log.values())
    gone = run("eval", folder, "--checkpoint", 4)
    assert gone.exit_code == 1 and "one of the steps 3, 6, got '4'" in gone.stderr


def test_eval_on_a_file(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.txt"
    file.write_text("1 a joy\n0 a long film\n", encoding="utf-8")
    result = run("eval", runs / "classifier", "--data", file)
    assert result.exit_code == 0 and "accuracy" in result.stdout and str(file) in result.stdout.replace("\n", "")
    file.write_text("1 a joy\n2 a long film\n", encoding="utf-8")
    unknown = run("eval", runs / "classifier", "--data", file)
    assert unknown.exit_code == 1 and "line 2: expected one of the labels 0, 1, got '2'" in unknown.stderr
    tags = tmp_path / "test.tsv"
    tags.write_text("the\tNIX\n", encoding="utf-8")
    assert "line 1: expected one of the labels" in run("eval", runs / "tagger", "--data", tags).stderr
    text = tmp_path / "text.txt"
    text.write_text("the cat was cute", encoding="utf-8")
    for kind in ("char-lm", "gpt", "word-lm"):
        assert run("eval", runs / kind, "--data", text).exit_code == 0


def test_what_was_held_out_of_a_file_that_has_changed_is_not_known(tmp_path: Path) -> None:
    assert train("classifier", tmp_path / "run").exit_code == 0
    file = tmp_path / "classifier.data"
    file.write_text(file.read_text(encoding="utf-8") + "1 one more\n", encoding="utf-8")
    changed = run("eval", tmp_path / "run")
    assert changed.exit_code == 1 and "has changed since" in changed.stderr and "--data FILE" in changed.stderr
    assert run("eval", tmp_path / "run", "--data", file).exit_code == 0


def test_words_are_written_past_an_end_that_no_text_has(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eos, word = Vocabulary.eos, len(Vocabulary.own)
    for kind, model in ("word-lm", LanguageModel), ("gpt", GPT):
        monkeypatch.setattr(model, "generate", lambda self, ids, length, **options: [word, eos, word][:length])
        chosen = load(runs / kind)
        if kind == "gpt":  # by words
            chosen.job.vocabularies["text"] = load(runs / "word-lm").job.vocabulary
        text = chosen.job.write(chosen.model, "the", 3, {})
        assert len(chosen.job.vocabulary.encode(text)) == 3, text


def test_a_bert_of_few_words_names_those_it_has(tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("the cat was\n" * 20, encoding="utf-8")
    folder = tmp_path / "run"
    assert run("train", "bert", "--data", file, "--out", folder, *SMALL["bert"], "--steps", 2).exit_code == 0
    found = json.loads(run("predict", folder, "--json", input="the <mask> was\n").stdout)
    ((likely,),) = (each["likely"] for each in found["predictions"])
    assert sorted(likely) == ["cat", "the", "was"]


def test_a_run_needs_nothing_but_its_folder(runs: Path, tmp_path: Path) -> None:
    """Moved elsewhere, and without the file that it learned from."""
    folder = tmp_path / "moved"
    shutil.copytree(runs / "tagger", folder)
    config = folder / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("tagger.data", "gone"), encoding="utf-8")
    assert run("predict", folder, input=LINES["tagger"]).exit_code == 0
    gone = run("eval", folder)
    assert gone.exit_code == 1 and "there is no" in gone.stderr


@pytest.mark.parametrize("kind", WRITE)
def test_generate(kind: str, runs: Path) -> None:
    options = ["--prompt", "the cat", "--length", 20, "--seed", 5]
    one, same = run("generate", runs / kind, *options), run("generate", runs / kind, *options)
    assert one.exit_code == 0, one.output
    assert one.stdout == same.stdout and one.stdout.startswith("the cat")
    assert run("generate", runs / kind, *options[:-1], 6).stdout != one.stdout
    found = json.loads(run("generate", runs / kind, *options, "--samples", 3, "--temperature", 0, "--json").stdout)
    assert len(found["texts"]) == 3 and len(set(found["texts"])) == 1
    for more in (["--top-k", 2], ["--top-p", 0.5, "--temperature", 0.7]):
        assert run("generate", runs / kind, *options, *more).exit_code == 0


def test_how_long_a_gpt_and_a_beam_are(runs: Path) -> None:
    folder = runs / "gpt"  # blocks of 8
    text = json.loads(run("generate", folder, "--prompt", "the cat", "--length", 50, "--json").stdout)["texts"][0]
    assert len(text) == 57
    assert run("generate", folder, "--prompt", "the", "--length", 4, "--beam", 3).exit_code == 0
    long = run("generate", folder, "--prompt", "the", "--length", 20, "--beam", 3)
    assert long.exit_code == 1 and "within a block, 8" in long.stderr


def test_prompts_that_are_not_right(runs: Path) -> None:
    assert "prompt of at least one character, got ''" in run("generate", runs / "char-lm", "--prompt", "").stderr
    assert "'Ω' (U+03A9)" in run("generate", runs / "char-lm", "--prompt", "Ω").stderr
    both = run("generate", runs / "char-lm", "--prompt", "the", "--beam", 2, "--top-k", 3)
    assert both.exit_code == 1 and "beam search draws nothing" in both.stderr


@pytest.mark.parametrize("kind", LINES)
def test_predict_lines(kind: str, runs: Path, tmp_path: Path) -> None:
    asked = [line for line in LINES[kind].splitlines() if line]
    lines = run("predict", runs / kind, input=LINES[kind])
    assert lines.exit_code == 0, lines.output
    shown = lines.stdout.splitlines()
    assert len(shown) == len(asked)
    file = tmp_path / "lines.txt"
    file.write_text(LINES[kind], encoding="utf-8")
    assert run("predict", runs / kind, file).stdout == lines.stdout
    found = json.loads(run("predict", runs / kind, file, "--json").stdout)["predictions"]
    if kind == "tagger":
        assert [row["words"] for row in found] == [line.split() for line in asked]
        assert [row["tags"] for row in found] == [line.split() for line in shown]
        assert all(len(row["tags"]) == len(row["words"]) for row in found)
    elif kind == "classifier":
        assert [row["label"] for row in found] == shown
        for row in found:
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
            assert max(row["probabilities"], key=row["probabilities"].get) == row["label"]
    elif kind == "bert":
        assert [row["filled"] for row in found] == shown and not any("<mask>" in line for line in shown)
        assert [len(row["likely"]) for row in found] == [1, 2]
    else:
        assert [row["translation"] for row in found] == shown
        assert run("predict", runs / kind, file, "--beam", 3).exit_code == 0


def test_predict_is_right_once_it_has_learned(tmp_path: Path) -> None:
    options = ["--steps", 60, "--lr", 0.03, "--warmup", 5, "--evaluate-every", 60]
    assert train("tagger", tmp_path / "run", *options).exit_code == 0
    result = run("predict", tmp_path / "run", input="the cats were cute\nthe dogs was cute\n")
    assert result.stdout == "O B-SUBJ B-VERB O\n" * 2  # cats is new: its letters say what it is


def test_what_predict_and_generate_refuse(runs: Path) -> None:
    for command, kind, words in [
        ("generate", "tagger", "does not write: tinygrad-seq predict"),
        ("predict", "gpt", "tinygrad-seq generate"),
    ]:
        result = run(command, runs / kind, input="x\n")
        assert result.exit_code == 1 and words in result.stderr and result.stderr.count("\n") == 1
    assert "expected lines on standard input" in run("predict", runs / "tagger", input="\n").stderr
    assert "expected UTF-8" in run("predict", runs / "tagger", input=b"\xff\n").stderr
    assert "expected <mask> in each line" in run("predict", runs / "bert", input="no mask\n").stderr


@pytest.mark.parametrize("command", ["eval", "generate", "predict", "compare"])
def test_folders_that_are_no_runs(command: str, runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for folder, words in [(tmp_path / "nix", "is not there"), (tmp_path, "has no config.toml"), (file, "is no folder")]:
        result = run(command, folder, input="x\n")
        assert result.exit_code == 1 and words in result.stderr and result.stderr.count("\n") == 1


def test_a_checkpoint_of_another_kind_or_size(runs: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(runs / "tagger", mixed)
    shutil.copy(runs / "classifier" / "config.toml", mixed)
    assert "is of a tagger" in run("predict", mixed, input="x\n").stderr
    other = tmp_path / "other"
    shutil.copytree(runs / "tagger", other)
    config = other / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("hidden = 6", "hidden = 7"), encoding="utf-8")
    result = run("predict", other, input="x\n")
    assert result.exit_code == 1 and "does not fit the sizes" in result.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(runs / "tagger" / "config.toml", empty)
    assert "has no checkpoint yet" in run("predict", empty, input="x\n").stderr


def test_compare(runs: Path, tmp_path: Path) -> None:
    for name, lr in (("slow", 0.0), ("fast", 0.01)):
        assert train("classifier", tmp_path / name, "--lr", lr, "--steps", 30, "--warmup", 0).exit_code == 0
    plot = tmp_path / "curves.png"
    both = [tmp_path / "slow", tmp_path / "fast"]
    result = run("compare", *both, "-o", plot)
    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert result.stdout.index("fast") < result.stdout.index("slow") and " lr " in result.stdout
    assert " hidden " not in result.stdout  # which is the same
    found = json.loads(run("compare", *both, "--json").stdout)
    assert [row["run"] for row in found["runs"]] == [str(tmp_path / "fast"), str(tmp_path / "slow")]
    assert [row["settings"]["lr"] for row in found["runs"]] == [0.01, 0.0]
    mixed = json.loads(run("compare", runs / "gpt", runs / "char-lm", "--json").stdout)
    assert {row["kind"] for row in mixed["runs"]} == {"gpt", "char-lm"}
    wide = run("compare", runs / "gpt", runs / "char-lm").stdout  # however narrow the terminal is
    assert all(sum(str(runs / kind) in line for line in wide.splitlines()) == 1 for kind in ("gpt", "char-lm"))
    accuracy = json.loads(run("compare", *both, "--metric", "accuracy", "--json").stdout)["runs"]
    assert accuracy[0]["best"]["accuracy"] >= accuracy[1]["best"]["accuracy"]
    assert "has no metric 'f1'" in run("compare", *both, "--metric", "f1").stderr
    assert "named twice" in run("compare", both[0], both[0]).stderr


def test_info(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    import numpy as np

    import tinygrad_seq as ts

    found = json.loads(run("info", "--json").stdout)
    assert found["tinygrad_seq"] == ts.__version__ and found["packages"]["numpy"] == np.__version__
    assert found["devices"]["cpu"] == "there" and found["threads"] == ts.num_threads()
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "numba" else there(name, *a))
    monkeypatch.setenv("PATH", "/nowhere")
    result = run("info")
    assert result.exit_code == 0 and "pip install 'tinygrad-seq[fast]'" in result.stdout
    assert "numba" in json.loads(run("info", "--json").stdout)["missing"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_there(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from tinygrad_seq.cli import app

    environment = {
        "_TINYGRAD_SEQ_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "tinygrad-seq train gp",
        "COMP_CWORD": "2",
    }
    environment |= {"_TYPER_COMPLETE_ARGS": "tinygrad-seq train gp", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="tinygrad-seq", env=environment)
    assert "gpt" in result.stdout and "classifier" not in result.stdout


def test_every_kind_is_small_here() -> None:
    assert SMALL.keys() == JOBS.keys()
