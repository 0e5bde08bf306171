"""Configs: one list of fields that is the options, the TOML keys and the checks."""

import dataclasses
import re
from pathlib import Path

import pytest

from cli.commands import run, train
from tinygrad_seq.cli.config import build, check, differing, kinds, read_toml, to_toml
from tinygrad_seq.cli.jobs import JOBS
from tinygrad_seq.cli.jobs.tagger import TaggerJobConfig
from tinygrad_seq.cli.jobs.text import CharConfig


@pytest.mark.parametrize("kind", JOBS)
def test_every_config_comes_back_from_toml(kind: str, tmp_path: Path) -> None:
    config = JOBS[kind].Config()
    changed = {}
    for field in dataclasses.fields(config):
        of = kinds(type(config))[field.name]
        before = getattr(config, field.name)
        if field.metadata["choices"]:
            changed[field.name] = field.metadata["choices"][-1]
        elif of is bool:
            changed[field.name] = not before
        elif of is str:
            changed[field.name] = 'a "quoted"\\ path\té\x7f'
        else:
            changed[field.name] = before + 1 if of is int else before / 3
    for each in (config, dataclasses.replace(config, **changed)):
        file = tmp_path / "config.toml"
        file.write_text(to_toml(kind, each), encoding="utf-8")
        assert build(type(config), read_toml(file, kind, type(config))) == each


@pytest.mark.parametrize("kind", JOBS)
def test_every_default_passes_its_own_check(kind: str) -> None:
    config = JOBS[kind].Config
    for field in dataclasses.fields(config):
        if field.default is not None:
            assert check(field, kinds(config)[field.name], field.default) == field.default


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hiden = 3", r"config\.toml: unknown key 'hiden'; did you mean 'hidden'\?"),
        ("batch-size = 3", r"unknown key 'batch-size'; did you mean 'batch_size'\?"),
        ("zzzz = 3", r"unknown key 'zzzz'; there are data, valid,"),
        ("hidden = 2.5", r"config\.toml: hidden: expected a whole number, got 2\.5"),
        ("hidden = true", r"hidden: expected a whole number, got True"),
        ("hidden = 0", r"hidden: expected a whole number of at least 1, got 0"),
        ("dropout = 1", r"dropout: expected a number from 0\.0 to 0\.99, got 1\.0"),
        ("lr = nan", r"lr: expected a number of at least 0\.0, got nan"),
        ('lr = "fast"', r"lr: expected a number, got 'fast'"),
        ('cell = "lstn"', r"cell: expected lstm, gru or rnn, got 'lstn'"),
        ("[hidden]\nx = 1", r"hidden: expected a whole number, got \{'x': 1\}"),
        ("hidden = ", r"config\.toml: expected TOML"),
        ('kind = "gpt"', r"kind is 'gpt', but this command trains 'char-lm'"),
    ],
)
def test_what_is_wrong_in_a_file(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_toml(file, "char-lm", CharConfig)
    result = run("train", "char-lm", "--out", tmp_path / "run", "--config", file)
    assert result.exit_code == 1 and re.search(words, result.stderr) and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("lr = 1", encoding="utf-8")
    assert read_toml(file, "char-lm", CharConfig) == {"lr": 1.0}


def test_defaults_then_the_file_then_options(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("hidden = 6\nlr = 0.5\nbatch_size = 3\nsteps = 7\n", encoding="utf-8")
    result = train("char-lm", tmp_path / "run", "--config", file)
    assert result.exit_code == 0, result.output
    config = build(CharConfig, read_toml(tmp_path / "run" / "config.toml", "char-lm", CharConfig))
    assert (config.hidden, config.lr, config.batch_size, config.steps) == (8, 0.5, 4, 6)
    assert config.data == str(tmp_path / "char-lm.data") and config.warmup == CharConfig().warmup


def test_a_run_s_config_makes_the_same_run(tmp_path: Path) -> None:
    assert train("tagger", tmp_path / "one").exit_code == 0
    again = run("train", "tagger", "--out", tmp_path / "other", "--config", tmp_path / "one" / "config.toml")
    assert again.exit_code == 0, again.output
    files = [tmp_path / name / "checkpoints/step-000006/model.safetensors" for name in ("one", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", "0"], "--hidden"),
        (["--hidden", "x"], "--hidden"),
        (["--dropout", "1"], "--dropout"),
        (["--cell", "nix"], "lstm, gru or rnn"),
        (["--nix", "1"], "No such option"),
        ([], "--out"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_usage(options: list[str], words: str, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "run"] if options else []
    result = run("train", "char-lm", *out, *options)
    assert result.exit_code == 2 and words in result.stderr and not (tmp_path / "run").exists()


def test_what_a_run_must_keep() -> None:
    before = TaggerJobConfig()
    assert differing(before, dataclasses.replace(before, steps=1, device="cuda", threads=3)) == []
    assert differing(before, dataclasses.replace(before, hidden=1, lr=1.0, crf=True)) == ["hidden", "crf", "lr"]


def test_gpt_is_nanogpt_s_small_model_for_a_cpu() -> None:
    c = JOBS["gpt"].Config()
    assert (c.layers, c.heads, c.hidden, c.block_size, c.batch_size, c.steps) == (4, 4, 128, 64, 12, 2000)
    assert (c.lr, c.lr * c.lr_end, c.warmup, c.beta1, c.beta2, c.weight_decay) == (1e-3, 1e-4, 100, 0.9, 0.99, 0.1)
    assert (c.clip, c.dropout, c.bias, c.held_out, c.sections, c.vocabulary) == (1.0, 0.0, False, 0.1, 1, "char")
    schedule = JOBS["gpt"](c, {}).schedule()
    # nanoGPT's get_lr: a line up to step 100, then half a cosine to step 2,000.
    assert [schedule(step) for step in (0, 99, 100, 1050, 2000)] == pytest.approx(
        [1e-3 / 101, 1e-1 / 101, 1e-3, 5.5e-4, 1e-4]
    )


@pytest.mark.parametrize("kind", JOBS)
def test_help_has_groups_examples_and_every_option(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run("train", kind, "--help")
    assert result.exit_code == 0
    assert f"tinygrad-seq train {kind} --" in result.stdout
    assert all(f"─ {group} ─" in result.stdout for group in ("Run", "Data", "Model", "Training"))
    for field in dataclasses.fields(JOBS[kind].Config):
        assert f"--{field.name.replace('_', '-')} " in result.stdout
