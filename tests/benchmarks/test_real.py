"""Real tasks: each recipe trains in small by its command, beside PyTorch; the page says what was kept, and it holds."""

import gzip
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real import baselines, sides
from benchmarks.real import page as pages
from benchmarks.real.__main__ import main, write
from benchmarks.real.table import DATA, REAL, RECIPES, RESULTS, claims
from tinygrad_seq.cli.config import build, read_toml
from tinygrad_seq.cli.jobs import JOBS

WHOLE = ("train.tsv.gz", "wnut17train.conll", "stsa.binary.train")  # of others the beginning is enough
LINES = 300
KEPT = [name for name in REAL if (RESULTS / f"{name}.json").exists()]


def config(name: str) -> Any:
    kind = JOBS[REAL[name].kind]
    return build(kind.Config, read_toml(RECIPES / f"{name}.toml", kind.name, kind.Config), {})


def test_every_recipe_is_a_task_and_a_config() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == set(REAL)
    for name in REAL:
        config(name)


def test_the_gpt_has_nanogpts_settings() -> None:
    """Those of config/train_shakespeare_char.py and the options that its README gives for a CPU."""
    c = config("shakespeare-gpt")
    assert (c.layers, c.heads, c.hidden, c.block_size, c.batch_size, c.dropout, c.bias) == (4, 4, 128, 64, 12, 0, False)
    assert (c.steps, c.lr, c.lr * c.lr_end, c.warmup, c.beta1, c.beta2) == (2000, 1e-3, 1e-4, 100, 0.9, 0.99)
    assert (c.weight_decay, c.clip, c.accumulate, c.held_out, c.sections) == (0.1, 1.0, 1, 0.1, 1)
    job = JOBS["gpt"](c, {})
    rate = job.schedule()
    assert rate(100) == pytest.approx(1e-3) and rate(2000) == pytest.approx(1e-4)
    assert rate(1050) == pytest.approx((1e-3 + 1e-4) / 2)  # half a cosine from the end of the warmup to the last step


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginnings of the real files."""
    if not DATA.is_dir():
        pytest.skip("there is no ../shared/data: no recipe is tried")
    folder = tmp_path_factory.mktemp("data")
    for path in {path for real in REAL.values() for path in (*real.files.values(), real.test) if path}:
        if not (DATA / path).exists():
            continue
        (folder / path).parent.mkdir(exist_ok=True)
        if Path(path).name in WHOLE:
            shutil.copyfile(DATA / path, folder / path)
            continue
        unzip: Any = gzip.open if path.endswith(".gz") else open
        with unzip(DATA / path, "rt", encoding="utf-8") as file:
            text = "".join(line for line, _ in zip(file, range(LINES), strict=False))
        with unzip(folder / path, "wt", encoding="utf-8") as file:
            file.write(text)
    return folder


@pytest.mark.parametrize("name", REAL)
def test_both_sides_in_small(name: str, small: Path, tmp_path: Path) -> None:
    """Two steps: our command and PyTorch come to nearly the same loss, where nothing is drawn by chance."""
    real = REAL[name]
    if not all((small / path).exists() for path in real.files.values()):
        pytest.skip(f"the real data of {name} is not there")
    settings = sides.Settings(small, seed=0, threads=1, steps=2)
    if real.begins_with is not None:
        sides.ours(real.begins_with, settings, tmp_path / "first")
        settings = settings._replace(init_from=tmp_path / "first")
    mine = sides.ours(name, settings, tmp_path / "run")
    assert mine["step"] == 2 and mine["seconds"] > 0 and math.isfinite(mine["value"])
    assert (tmp_path / "run" / "index.html").exists()
    prepared = sides.prepare(name, settings)
    found = real.baselines(prepared.training, prepared.judged)
    assert real.to_beat in found and all(map(math.isfinite, found.values()))
    pytest.importorskip("torch", reason="PyTorch is not installed: its side is not tried")
    theirs = sides.by_torch(name, settings)
    assert theirs["metrics"].keys() == mine["metrics"].keys() and theirs["parameters"] > 10_000
    chance = real.own_start or getattr(config(name), "dropout", 0.0)
    assert theirs["metrics"]["loss"] == pytest.approx(mine["metrics"]["loss"], rel=0.1 if chance else 1e-4)


def test_pages_of_runs_that_were_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers of a page are those kept; a claim that fails is seen to."""
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    run = {"value": 1.81, "metrics": {"loss": 1.81}, "seconds": 100.0, "wall": 110.0, "step": 2000}
    found = {
        "date": "2000-01-01",
        "machine": {"processor": "one"},
        "threads": 2,
        "parameters": 803_200,
        "baselines": {"a bigram": 2.5, "a 7-gram": 1.56},
        "runs": [{"seed": 7, "ours": run, "torch": run | {"value": 1.8, "seconds": 120.0}}],
    }
    write(tmp_path / "shakespeare-gpt.json", found)
    text = pages.page()
    assert "| 7 | 1.810 | 100 | 1.800 | 120 |" in text and "2.500 by a bigram, 1.560 by a 7-gram" in text
    assert "Not measured yet: shakespeare-lstm, ewt-tagger" in text
    real = REAL["shakespeare-gpt"]
    assert [claim.holds for claim in claims(real, found)] == [True, False, True, True]  # one seed has no spread
    found["runs"].append({"seed": 8, "ours": run | {"value": 1.85}, "torch": run | {"value": 1.86}})
    assert all(claim.holds for claim in claims(real, found))
    found["runs"][0]["ours"] = run | {"value": 2.5, "seconds": 200.0}
    assert [claim.holds for claim in claims(real, found)] == [False, True, False, False]  # the spread is wide now


def test_the_ladder_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps teach nothing: the page says where it does not come down."""
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "names.txt").write_text("emma\nava\nolivia\nmia\nzoe\n" * 8, encoding="utf-8")
    found = sides.ladder(sides.Settings(tmp_path, seed=0, threads=1, steps=2), tmp_path / "ladder.png")
    assert (tmp_path / "ladder.png").exists()
    write(tmp_path / "ladder.json", {"threads": 1} | found)
    text = pages.page()
    first = found["rungs"][0]
    assert (
        f"| n-gram | 1 character | {first['parameters']} | 0 | {first['validation']:.3f} | {first['test']:.3f} |"
        in text
    )
    assert "It does not come down from n-gram to feed-forward" in text and "32 names to learn from, 4 to choose" in text


def test_the_page_is_what_was_kept() -> None:
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(), "run: python -m benchmarks.real.page"


def test_kept_numbers_bear_out_what_is_claimed() -> None:
    """Or the page says in words that they do not, and stops saying so when they do."""
    for name in KEPT:
        found, real = pages.kept(name), REAL[name]
        failed = [str(claim) for claim in claims(real, found) if not claim.holds]
        assert bool(failed) == bool(real.not_reached), f"{name}: {failed}; the page says: {real.not_reached!r}"
        assert len({run["seed"] for run in found["runs"]}) == len(found["runs"])
        for run in found["runs"]:
            for side in (run["ours"], run["torch"]):
                assert side["value"] == pytest.approx(real.measure.scale * side["metrics"][real.measure.name], rel=1e-4)
                assert config(name).steps >= side["step"] > 0
        rows = [line for line in pages.section(name).splitlines() if re.match(r"\| \d+ \|", line)]
        assert len(rows) == len(found["runs"])


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["nothing"], "unknown name 'nothing'"),
        (["--keep", "--steps", "2"], "--keep without --steps"),
        (["--data", str(tmp_path / "nowhere")], "there is no folder"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert words in capsys.readouterr().err


def test_a_side_that_dies_is_said(tmp_path: Path) -> None:
    """With what it said."""
    settings = sides.Settings(tmp_path, seed=0, threads=1, steps=1)
    with pytest.raises(sides.Failed, match=r"tinygrad_seq train gpt .*\nended with code 1:\nerror: .*input.txt"):
        sides.ours("shakespeare-gpt", settings, tmp_path / "run")


# -- baselines, by hand

TRAINING = [(["The", "cat", "saw", "Rome"], ["O", "O", "O", "B-location"]), (["The", "cat"], ["O", "B-group"])]


def test_count_tables() -> None:
    found = baselines.count_tables("ab" * 100, "abababab")
    assert found["a bigram"] < 0.05 and found.keys() == baselines.ORDERS.keys()


def test_the_most_frequent_tag() -> None:
    judged = [(["cat", "Rome", "ran"], ["O", "O", "O"])]  # a tie goes to the first label, a new word to the commonest
    training = [*TRAINING, (["cat"], ["O"])]
    assert baselines.frequent_tag(training, judged) == {"the most frequent tag of each word": pytest.approx(200 / 3)}


def test_names_by_rule() -> None:
    judged = [(["The", "Ann", "Lee", "Rome"], ["O", "B-person", "I-person", "O"]), (["Bo"], ["B-person"])]
    found = baselines.names(TRAINING, judged)
    # Found: Ann Lee Rome, which is one too long, and Bo; of two names.
    assert found["who is written with a capital is a person"] == pytest.approx(100 * 2 * 1 / (2 + 2))


def test_a_bag_of_words() -> None:
    training = [("1", "good film"), ("1", "good"), ("0", "bad film"), ("0", "bad")]
    judged = [("1", "GOOD bad good"), ("0", "bad"), ("1", "bad")]
    assert baselines.bag_of_words(training, judged) == {"naive Bayes": pytest.approx(200 / 3)}


def test_the_most_similar_sentence() -> None:
    pairs = [("Go on!", "Continue !"), ("I am cold.", "J'ai froid."), ("I am old.", "Je suis vieux.")]
    memory = baselines.TranslationMemory(pairs)
    assert memory.translate("i am here.") == "J'ai froid."  # of equals the first
    assert memory.translate("old!") == "Continue !"  # two of four symbols in common, against two of five
    assert memory.translate("xyz") == "Continue !"  # nothing in common with any
    pairs[1] = ("I am cold.", "Moi, j'ai bien froid.")
    judged = [("I am cold.", "Moi, j'ai bien froid."), ("I am cold.", "Je gèle.")]
    assert list(baselines.similar_translation(pairs, judged).values()) == [pytest.approx(100, rel=1e-6)]
