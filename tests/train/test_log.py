"""The log of a run: what is written is read back, and what a crash leaves of it does no harm."""

from pathlib import Path

import pytest

from tinygrad_seq.train import read_log
from tinygrad_seq.train.log import LogWriter


def write(run: Path, steps: range, start: int = 0) -> None:
    with LogWriter(run, start) as log:
        for step in steps:
            log.write(step, {"loss": step / 2, "seconds": float(step), "step_seconds": step / 4})
            log.write(step, {"validation": {"loss": step / 4}})


def test_it_is_read_back_from_the_folder_and_from_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a" / "run", range(3))
    for path in (tmp_path / "a" / "run", tmp_path / "a" / "run" / "log.jsonl", str(tmp_path / "a" / "run")):
        log = read_log(path)
        assert log.loss == [(0, 0.0), (1, 0.5), (2, 1.0)]
        assert log.validation == [(0, {"loss": 0.0}), (1, {"loss": 0.25}), (2, {"loss": 0.5})]
        assert log.reports[2] == {"step": 2, "loss": 1.0, "seconds": 2.0, "step_seconds": 0.5}


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with LogWriter(tmp_path, 0) as log:
        for step in (1, 2):
            log.write(step, {"loss": 0.0})
            assert [line["step"] for line in read_log(tmp_path).reports] == list(range(1, step + 1))


def test_going_on_drops_what_came_after(tmp_path: Path) -> None:
    write(tmp_path, range(1, 8))
    write(tmp_path, range(4, 6), start=3)
    assert [step for step, _ in read_log(tmp_path).validation] == [1, 2, 3, 4, 5]
    assert not (tmp_path / "log.tmp").exists()


def test_nothing_changes_before_the_first_line(tmp_path: Path) -> None:
    write(tmp_path, range(1, 8))
    with LogWriter(tmp_path, 3) as log:
        assert log.seconds() == (3.0, 0.75)
        assert len(read_log(tmp_path).reports) == 7
    with LogWriter(tmp_path / "none", 3) as log:
        assert log.seconds() == (0.0, 0.0)
    assert not (tmp_path / "none").exists()


def test_no_directory_is_no_log() -> None:
    with LogWriter(None, 5) as log:
        log.write(6, {"loss": 0.0})
        assert log.seconds() == (0.0, 0.0)
        log.sync()


@pytest.mark.parametrize("torn", ["{", '{"step": 7, "loss"', '{"step": 7}'])
def test_a_last_line_without_an_end_is_left_out(tmp_path: Path, torn: str) -> None:
    write(tmp_path, range(1, 4))
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(torn)
    assert len(read_log(tmp_path).reports) == 3
    write(tmp_path, range(4, 5), start=3)
    assert [step for step, _ in read_log(tmp_path).loss] == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", ["", "junk", "[1]", '{"loss": 1}', '{"step": "one"}', "null", "[" * 99_999])
def test_a_bad_line_is_named(tmp_path: Path, bad: str) -> None:
    write(tmp_path, range(1, 4))
    file = tmp_path / "log.jsonl"
    file.write_text(file.read_text() + f'{bad}\n{{"step": 9}}\n')
    for read in (lambda: read_log(tmp_path), lambda: write(tmp_path, range(4, 5), start=3)):
        with pytest.raises(ValueError, match=r"log\.jsonl, line 7: expected JSON with a step, got "):
            read()


def test_no_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*log\.jsonl; name the folder of a run"):
        read_log(tmp_path)
