"""`train` for every kind of model: the folder that it leaves, stopping and going on, and what a user does wrong."""

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.commands import SMALL, STEPS, TEXT, WRITE, run, train
from tinygrad_seq.backend import fast
from tinygrad_seq.cli.config import build
from tinygrad_seq.cli.jobs import JOBS
from tinygrad_seq.train import read_log

PICTURES = {
    "tagger": "confusion.png",
    "classifier": "confusion.png",
    "seq2seq": "alignment_1.png",
    "transformer": "alignment_1.png",
}


@pytest.mark.parametrize("kind", JOBS)
def test_the_folder_of_a_run(kind: str, runs: Path) -> None:
    folder = runs / kind
    assert [step for step, _ in read_log(folder).validation] == [3, 6]
    assert (folder / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    if kind in PICTURES:
        assert (folder / PICTURES[kind]).read_bytes().startswith(b"\x89PNG")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "data:image/png" in page and "How to go on" in page
    assert ("Held-out" in page) != ("What it writes" in page) == (kind in WRITE)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)  # it needs no network
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "best",
        "latest",
        "step-000003",
        "step-000006",
    ]


def test_an_alignment_is_shown_of_a_sentence_that_is_known_and_not_too_short(tmp_path: Path) -> None:
    """Then of the others, in their order."""
    train_file, valid = tmp_path / "pairs.tsv", tmp_path / "valid.tsv"
    train_file.write_text("i can see the old house\tje vois la vieille maison\n" * 20, encoding="utf-8")
    held_out = ["the house", "i can see the zebra", "i see the old house", "i can"]
    valid.write_text("".join(f"{source}\tla maison\n" for source in held_out), encoding="utf-8")
    out = tmp_path / "run"
    options = ["--data", train_file, "--valid", valid, *SMALL["seq2seq"], *STEPS]
    assert run("train", "seq2seq", "--out", out, *options).exit_code == 0
    page = (out / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r"Where it looks, \d: ([^<]+)<", page)
    assert list(dict.fromkeys(shown)) == ["i see the old house", "the house", "i can see the zebra"]


@pytest.mark.parametrize("kind", JOBS)
def test_going_on_gives_the_same_bits(kind: str, runs: Path, tmp_path: Path) -> None:
    """The run as it was at step 3 goes on without a word about sizes or data: they are in its folder."""
    folder = tmp_path / kind
    shutil.copytree(runs / kind, folder)
    shutil.rmtree(folder / "checkpoints/step-000006")
    (folder / "checkpoints/best").unlink()
    (folder / "checkpoints/latest").write_text("step-000003\n")
    (folder / "index.html").unlink()
    result = run("train", kind, "--out", folder, "--resume")
    assert result.exit_code == 0, result.output
    assert "from step 3 of 6" in result.stdout.replace("\n", " ")
    for file in ("model.safetensors", "optimizer.safetensors"):
        name = f"checkpoints/step-000006/{file}"
        assert (folder / name).read_bytes() == (runs / kind / name).read_bytes()
    assert (folder / "index.html").exists()
    assert (folder / "config.toml").read_bytes() == (runs / kind / "config.toml").read_bytes()


def test_a_finished_run_changes_nothing(runs: Path) -> None:
    folder = runs / "classifier"
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    result = run("train", "classifier", "--out", folder, "--resume")
    assert result.exit_code == 0 and "is finished: step 6 of 6" in result.stdout.replace("\n", " ")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_more_steps_and_other_sizes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    fresh = train("char-lm", out, "--resume")
    assert fresh.exit_code == 0 and "at step 0: no checkpoint there yet" in fresh.stdout.replace("\n", " ")
    used = train("char-lm", out)
    assert used.exit_code == 1 and "holds a run already" in used.stderr and "--resume" in used.stderr
    other = run("train", "char-lm", "--out", out, "--resume", "--hidden", 9, "--lr", 1)
    assert other.exit_code == 1
    assert "--hidden is 9, but was 8, --lr is 1.0, but was 0.012" in other.stderr
    best = run("train", "char-lm", "--out", out, "--resume", "--best-by", "perplexity")  # that checkpoint may be gone
    assert best.exit_code == 1 and "--best-by is perplexity, but was loss" in best.stderr
    kind = run("train", "gpt", "--out", out, "--resume")
    assert kind.exit_code == 1 and "tinygrad-seq train char-lm" in kind.stderr
    longer = run("train", "char-lm", "--out", out, "--resume", "--steps", 9)
    assert longer.exit_code == 0 and "from step 6 of 9" in longer.stdout.replace("\n", " ")
    assert (out / "checkpoints/latest").read_text().strip() == "step-000009"
    assert "steps = 9" in (out / "config.toml").read_text(encoding="utf-8")
    (tmp_path / "char-lm.data").write_text(TEXT.replace("cat", "tac"), encoding="utf-8")
    data = run("train", "char-lm", "--out", out, "--resume", "--steps", 12)
    assert data.exit_code == 1 and "its data differs" in data.stderr


def test_a_loss_of_subwords_is_said_to_be_one(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    result = train("word-lm", tmp_path / "run", "--vocabulary", "subword", "--vocab-size", 280)
    assert result.exit_code == 0 and "loss, nats per subword" in result.stdout
    assert "loss, nats per subword" in (tmp_path / "run" / "index.html").read_text(encoding="utf-8")


def test_json_is_one_object_on_stdout(tmp_path: Path) -> None:
    result = train("classifier", tmp_path / "run", "--json", "--best-by", "accuracy")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["kind"] == "classifier" and found["step"] == 6 and found["parameters"] > 100
    assert set(found["best"]) == {"step", "loss", "accuracy"} and found["last"]["step"] == 6
    assert "step " in result.stderr


def test_a_second_file_to_judge_by_and_early_stopping(tmp_path: Path) -> None:
    valid = tmp_path / "valid.txt"
    valid.write_text("1 a joy\n0 a long film .\n", encoding="utf-8")
    options = ["--valid", valid, "--lr", 0, "--patience", 1, "--steps", 100]
    result = train("classifier", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    assert [step for step, _ in read_log(tmp_path / "run").validation] == [3, 6]  # the second is no better


@pytest.mark.parametrize("kind", JOBS)
def test_every_kind_has_data_of_its_own(kind: str) -> None:
    job = JOBS[kind]
    config = job.Config()
    training, held_out = job.read(config)
    assert len(training) > 5 * len(held_out) > 100
    assert all(len(each) > 1 for each in job.number(config, training, held_out).values())


def test_translations_of_one_source_stay_together() -> None:
    job = JOBS["seq2seq"]
    pairs = [(f"s{k // 3}", f"t{k}") for k in range(90)]
    training, held_out = job.split(job.Config(), pairs)
    assert not {source for source, _ in training} & {source for source, _ in held_out}
    assert sorted(training + held_out) == sorted(pairs) and len(held_out) == 9


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("char-lm", None, "there is no"),
        ("char-lm", b"", "is empty"),
        ("char-lm", b"a b c\nd \xff e\n" * 500, "line 2"),
        ("gpt", b"too short", "give a longer text"),
        ("tagger", b"the\tDET\ncat\n", "line 2: expected 2 columns as in line 1, got 1"),
        ("tagger", b"the\ncat\n", "line 1: asked for column 1"),
        ("classifier", b"1 a joy\nnothing\n", "line 2: expected a label"),
        ("seq2seq", b"Go.\tVa !\nRun!\n", "line 2: expected 2 columns"),
        ("transformer", b"Go.\tVa !\n", "too few"),
        ("bert", b"\n\n", "is empty"),
    ],
)
def test_files_that_are_not_right(kind: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "data.txt"
    if content is not None:
        file.write_bytes(content)
    result = run("train", kind, "--data", file, "--out", tmp_path / "run", "--steps", 2)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and words in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_or_a_folder_of_something_else_in_the_place_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for out in (file, file / "run"):
        result = run("train", "classifier", "--out", out, *STEPS)
        assert result.exit_code == 1 and "--out is a folder" in result.stderr, result.output
    data = run("train", "classifier", "--data", tmp_path, "--out", tmp_path / "run")
    assert data.exit_code == 1 and "got the folder" in data.stderr


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere: what the system says is made up here."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result = run("train", "classifier", "--out", tmp_path, *STEPS)
    assert result.exit_code == 1 and f"--out {tmp_path} cannot be written to" in result.stderr, result.output

    def refuse(*given: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = run("train", "classifier", "--out", tmp_path / "new", *STEPS)
    assert result.exit_code == 1 and "new cannot be made (Read-only file system): choose" in result.stderr


def test_a_metric_that_the_task_does_not_have(tmp_path: Path) -> None:
    result = train("char-lm", tmp_path / "run", "--best-by", "f1")
    assert result.exit_code == 1 and "best_by='f1'" in result.stderr
    assert not (tmp_path / "run").exists()  # it did not begin


def test_without_matplotlib_the_run_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    result = train("classifier", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "no index.html: plots need matplotlib" in result.stdout.replace("\n", " ")
    assert (tmp_path / "run/checkpoints/latest").exists()


def test_other_kernels_are_a_warning_in_one_line(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if fast.in_use() == "numpy":
        pytest.skip("there are no compiled kernels here")
    shutil.copytree(runs / "classifier", tmp_path / "run")
    monkeypatch.setenv("TINYGRAD_SEQ_FAST", "0")
    result = run("train", "classifier", "--out", tmp_path / "run", "--resume", "--steps", 7)
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("warning: "))
    assert "the last bits will differ" in line and "kernels: fast then, numpy now" in line


def test_a_right_translation_is_shown_once(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("Run!\tCours !\n" * 9 + "Run!\tCourez !\n", encoding="utf-8")
    data = ["--data", file, "--valid", file, "--steps", 1]
    assert run("train", "seq2seq", "--out", tmp_path / "run", *SMALL["seq2seq"], *data).exit_code == 0
    page = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    assert page.count("Cours ! / Courez !") == 1 and "Cours ! / Cours !" not in page


def test_a_translation_is_right_word_by_word(tmp_path: Path) -> None:
    """References are read as a model writes, a space between words: those it can write are all right, BLEU is 100."""
    file = tmp_path / "pairs.txt"
    file.write_text("he is old.\test-il vieux, lui?\n" * 30, encoding="utf-8")
    kind = JOBS["seq2seq"]
    config = build(kind.Config, {"data": str(file), "valid": str(file)}, {})
    training, held_out = kind.read(config)
    job = kind(config, kind.number(config, training, held_out))
    task = job.task(job.model(), None, held_out)
    right = job._text(job._target("est-il vieux, lui?")[1:-1])
    task.translate = lambda sources: [right] * len(sources)
    metrics = task.evaluate()
    assert metrics["sequence_accuracy"] == 1 and round(metrics["bleu"], 6) == 100


def test_a_cost_of_missing_needs_the_tag_o(tmp_path: Path) -> None:
    file = tmp_path / "tags.tsv"
    file.write_text("the\tDET\ncat\tNOUN\n\n" * 40, encoding="utf-8")
    result = train("tagger", tmp_path / "run", "--data", file, "--miss-cost", "1")
    assert result.exit_code == 1 and "not among the tags DET, NOUN: leave it at 0" in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()
