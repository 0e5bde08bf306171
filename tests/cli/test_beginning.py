"""`--init-from`: what a run takes of an earlier one, what stays at random, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.commands import TAGGED, TEXT, run, train
from tinygrad_seq.cli.run import load

NONE = ("--steps", 1, "--lr", 0)  # one step that changes nothing: what is saved is what it began with


def test_new_words_come_after_those_that_are_known(runs: Path, tmp_path: Path) -> None:
    """Their vectors begin at random, as what has a row for each of other labels."""
    file = tmp_path / "new.tsv"
    file.write_text(TAGGED.replace("cat\tB-SUBJ", "zebra\tNAME").replace("cute", "agile"), encoding="utf-8")
    result = train("tagger", tmp_path / "run", "--data", file, *NONE, "--init-from", runs / "tagger")
    assert result.exit_code == 0, result.output
    at_random = "output.weight, output.bias, crf.transitions, crf.start_transitions, crf.end_transitions"
    said = result.stdout.replace("\n", " ")
    assert "beginning with 18 of 23 parameters from" in said and f"at random: {at_random}" in said
    before, after = load(runs / "tagger"), load(tmp_path / "run")
    for name in ("words", "characters"):
        old, new = (each.job.vocabularies[name].symbols for each in (before, after))  # type: ignore[union-attr]
        assert new[: len(old)] == old and len(set(new)) == len(new) > len(old)
    assert {"zebra", "agile"} <= set(after.job.vocabularies["words"].symbols)  # type: ignore[union-attr]
    for name, array in before.checkpoint.model.items():
        now = after.checkpoint.model[name]
        if name in at_random:
            assert not np.array_equal(now, array)
        else:
            np.testing.assert_array_equal(now[: len(array)], array)
    assert len(after.checkpoint.model["embedding.weight"]) == len(after.job.vocabularies["words"])  # type: ignore[arg-type]


def test_the_same_data_gives_the_same_model(runs: Path, tmp_path: Path) -> None:
    for kind in ("tagger", "classifier", "char-lm", "seq2seq", "bert"):
        result = train(kind, tmp_path / kind, *NONE, "--init-from", runs / kind)
        assert result.exit_code == 0 and "at random" not in result.stdout, result.output
        before, after = load(runs / kind), load(tmp_path / kind)
        assert before.job.vocabularies == after.job.vocabularies
        for name, array in before.checkpoint.model.items():
            np.testing.assert_array_equal(after.checkpoint.model[name], array)


def test_a_language_model_learns_new_characters(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text(TEXT.replace("cute", "ÇÜTE"), encoding="utf-8")
    result = train("char-lm", tmp_path / "run", "--data", file, *NONE, "--init-from", runs / "char-lm")
    assert result.exit_code == 0, result.output
    before, after = load(runs / "char-lm"), load(tmp_path / "run")
    symbols = after.job.vocabulary.symbols  # type: ignore[attr-defined]
    assert symbols.endswith("ETÇÜ")  # in the order of their code points, after the known ones
    table = before.checkpoint.model["embedding.weight"]
    np.testing.assert_array_equal(after.checkpoint.model["embedding.weight"][: len(table)], table)


def test_going_on_needs_the_checkpoint_alone(runs: Path, tmp_path: Path) -> None:
    """The earlier run, whose words and characters come first, may be gone; and it ends as if nothing had happened."""
    earlier, file = tmp_path / "earlier", tmp_path / "new.tsv"
    shutil.copytree(runs / "tagger", earlier)
    file.write_text(TAGGED.replace("cat", "zebra").replace("cute", "agile"), encoding="utf-8")
    for out in ("straight", "stopped"):
        result = train("tagger", tmp_path / out, "--data", file, "--init-from", earlier)
        assert result.exit_code == 0, result.output
        if out == "stopped":
            earlier.rename(tmp_path / "moved")
        again = run("train", "tagger", "--out", tmp_path / out, "--resume", "--steps", 8)
        assert again.exit_code == 0 and "beginning with" not in again.stdout, again.output
    straight, stopped = (load(tmp_path / out, "latest") for out in ("straight", "stopped"))
    assert straight.checkpoint.step == stopped.checkpoint.step == 8
    assert straight.job.vocabularies == stopped.job.vocabularies
    for name, array in straight.checkpoint.model.items():
        np.testing.assert_array_equal(stopped.checkpoint.model[name], array)
    assert load(tmp_path / "moved").job.vocabularies != stopped.job.vocabularies


def test_going_on_with_other_words_is_refused(runs: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "new.tsv"
    assert train("tagger", out, "--init-from", runs / "tagger").exit_code == 0
    file.write_text(TAGGED.replace("cat", "zebra"), encoding="utf-8")
    result = run("train", "tagger", "--out", out, "--resume", "--data", file)
    assert result.exit_code == 1 and "is of another run: its vocabularies differs" in result.stderr, result.output


def test_a_damaged_checkpoint_says_how_to_go_on(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train("tagger", out, "--init-from", runs / "tagger").exit_code == 0
    (out / "checkpoints" / "step-000006" / "model.safetensors").write_bytes(b"")
    result = run("train", "tagger", "--out", out, "--resume", "--steps", 8)
    assert result.exit_code == 1 and "--resume goes on from step 3" in result.stderr, result.output


@pytest.mark.parametrize(
    ("kind", "init_from", "options", "words"),
    [
        ("tagger", "classifier", (), "is a run of classifier: name one of tagger"),
        ("classifier", "nowhere", (), "expected the folder of a run"),
        ("char-lm", "char-lm", ("--hidden", 12, "--cell", "gru"), "none of its weights fits: give the sizes in"),
    ],
)
def test_what_cannot_be_taken(
    kind: str, init_from: str, options: tuple[object, ...], words: str, runs: Path, tmp_path: Path
) -> None:
    result = train(kind, tmp_path / "run", *options, "--init-from", runs / init_from)
    assert result.exit_code == 1 and words in result.stderr, result.output
    assert not (tmp_path / "run").exists()
