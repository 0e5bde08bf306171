"""The commands as a person runs them: in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "the students who did well on the exam were happy. the cat that i saw yesterday was cute. " * 60


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinygrad_seq", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | environment,
        timeout=600,
    )


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "demo" in result.stdout and "train" in result.stdout


def test_version() -> None:
    from tinygrad_seq import __version__

    assert run("--version").stdout.strip() == f"tinygrad_seq {__version__}"


def test_train_stop_and_resume(text: Path, tmp_path: Path) -> None:
    options = ["--data", text, "--out", tmp_path / "run", "--hidden", 16, "--checkpoint-every", 10]
    fresh = run("train", "char-lm", *options, "--steps", 20, "--resume")
    assert fresh.returncode == 0, fresh.stderr
    assert "step 0: no checkpoint there yet" in fresh.stdout
    assert "loss, nats per character" in fresh.stdout and "characters/s" in fresh.stdout
    used = run("train", "char-lm", *options, "--steps", 20)
    assert used.returncode == 1
    assert "--resume" in used.stderr and "Traceback" not in used.stderr
    more = run("train", "char-lm", *options, "--steps", 30, "--resume")
    assert more.returncode == 0, more.stderr
    assert "from step 20" in more.stdout
    latest = (tmp_path / "run" / "checkpoints" / "latest").read_text().strip()
    assert latest == "step-000030"
    about = json.loads((tmp_path / "run" / "checkpoints" / latest / "state.json").read_text(encoding="utf-8"))
    assert about["state"]["config"]["hidden"] == 16
    other = run("train", "char-lm", *options[:-3], 17, "--steps", 40, "--resume")
    assert other.returncode == 1
    assert "--hidden is 17, but was 16" in other.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no "),
        (b"", "empty"),
        (b"a b c\nd \xff e\n" * 500, "UTF-8"),
        (b"too short", "too short"),
    ],
)
def test_bad_texts_end_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    result = run("train", "char-lm", "--data", file, "--out", tmp_path / "run", "--steps", 5)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_place_of_the_folder(text: Path, tmp_path: Path) -> None:
    result = run("train", "char-lm", "--data", text, "--out", text, "--steps", 5, "--hidden", 8)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --out is a folder") and "step" not in result.stdout


def test_an_unknown_device_and_one_that_is_not_there(text: Path, tmp_path: Path) -> None:
    for device in ("tpu", "cuda"):
        result = run("train", "char-lm", "--data", text, "--out", tmp_path / "run", "--device", device,
                     CUDA_VISIBLE_DEVICES="")  # fmt: skip
        assert result.returncode == 1
        assert result.stderr.startswith("error: ") and "device" in result.stderr


def test_who_has_seen_enough_ends_it_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tinygrad_seq", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(60) == 1
