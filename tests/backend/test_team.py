"""The team of threads: every part is done once, whoever does it, and nobody waits for somebody who is not there."""

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
if os.environ.get("TINYGRAD_SEQ_FAST") == "0":
    pytest.skip("TINYGRAD_SEQ_FAST=0 leaves out the compiled kernels", allow_module_level=True)

from tinygrad_seq.backend import threads
from tinygrad_seq.backend.fast import team as teams
from tinygrad_seq.backend.fast.compiler import jit, kernel


@jit
def _fill_part(part: int, parts: int, x: Any, times: int) -> None:
    for _ in range(times):
        for k in range(x.size * part // parts, x.size * (part + 1) // parts):
            x[k] += 10 * part + parts


_fill_job = teams.job(_fill_part)


@kernel
def _fill(team: Any, *inputs: Any) -> None:
    teams.share(_fill_job(inputs), team, inputs)


def filled(parts: int, size: int, times: int = 1) -> np.ndarray:
    return np.concatenate(
        [np.full(size * (k + 1) // parts - size * k // parts, times * (10 * k + parts)) for k in range(parts)]
    )


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_shares", threads._shares)
    monkeypatch.setattr(threads, "_threads", threads._threads)
    yield


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_parts_are_done_once(n: int) -> None:
    threads.set_num_threads(n)
    for size in (0, 1, 7, 1000):
        for _ in range(100):
            x = np.zeros(size, np.int64)
            _fill(teams.team(teams.SHARED), x, 1)
            np.testing.assert_array_equal(x, filled(n, size))


def test_the_number_of_threads_may_change() -> None:
    before = threading.active_count() - len(teams._team.threads if teams._team else ())
    for n in (3, 1, 2):
        threads.set_num_threads(n)
        _fill(teams.team(teams.SHARED), x := np.zeros(9, np.int64), 1)
        np.testing.assert_array_equal(x, filled(n, 9))
        assert threading.active_count() == before + n - 1


def test_threads_sleep_when_nothing_comes_and_wake_again() -> None:
    threads.set_num_threads(2)
    desks = teams.team(teams.SHARED)
    for _ in range(3):
        for _ in range(1000):
            time.sleep(0.01)
            if desks[teams.STRIDE + teams.SLEEPS]:
                break
        assert desks[teams.STRIDE + teams.SLEEPS]
        _fill(teams.team(teams.SHARED), x := np.zeros(9, np.int64), 1)
        np.testing.assert_array_equal(x, filled(2, 9))


def test_who_is_not_there_is_not_waited_for() -> None:
    """Desks at which nobody sits: the caller does all."""
    desks = np.zeros(4 * teams.STRIDE, np.int64)
    desks[teams.SIZE] = 4
    for _ in range(3):
        _fill(desks, x := np.zeros(50, np.int64), 1)
        np.testing.assert_array_equal(x, filled(4, 50))


def test_little_work_is_left_to_the_caller() -> None:
    threads.set_num_threads(2)
    _fill(teams.team(teams.SHARED - 1), x := np.zeros(9, np.int64), 1)
    np.testing.assert_array_equal(x, filled(1, 9))


def test_two_callers_at_once() -> None:
    threads.set_num_threads(2)
    desks, wrong = teams.team(teams.SHARED), []

    def work() -> None:
        for _ in range(200):
            _fill(desks, x := np.zeros(500, np.int64), 20)
            wrong.append(not np.array_equal(x, filled(2, 500, 20)))

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(wrong) == 600 and not any(wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_has_a_team_of_its_own() -> None:
    threads.set_num_threads(2)
    _fill(teams.team(teams.SHARED), np.zeros(9, np.int64), 1)
    child = os.fork()
    if child == 0:
        _fill(teams.team(teams.SHARED), x := np.zeros(9, np.int64), 1)
        os._exit(7 if np.array_equal(x, filled(2, 9)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
