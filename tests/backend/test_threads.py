"""How many threads compute, and how work is shared among them."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tinygrad_seq as ts
from tinygrad_seq.backend import threads


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = ts.num_threads(), threads._threads
    monkeypatch.setattr(threads, "_shares", False)  # another test may have computed in threads
    yield
    ts.set_num_threads(before[0])
    threads._threads = before[1]


def test_at_first_as_many_as_products_use() -> None:
    threads._threads = None
    assert 1 <= ts.num_threads() <= (os.cpu_count() or 1)


def test_the_number_is_that_of_numpy_s_products_too() -> None:
    for n in (1, 3):
        ts.set_num_threads(n)
        assert ts.num_threads() == n
        blas = threads._openblas("get_num_threads")
        assert blas is None or blas() == n


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", None, True])
def test_wrong_numbers(n: Any) -> None:
    with pytest.raises(ValueError, match="set_num_threads: expected an integer of at least 1, got"):
        ts.set_num_threads(n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 7])
def test_all_work_is_done_once_and_part_0_here(n: int, size: int) -> None:
    ts.set_num_threads(n)
    done: list[tuple[int, int, int, bool]] = []
    threads.split(lambda part, first, end: done.append((part, first, end, threading.current_thread() is here)), size)
    here_parts = [part for part, _, _, is_here in done if is_here]
    assert here_parts == [0] and len(done) == threads.parts_of(size) == max(min(n, size), 1)
    assert sorted(k for _, first, end, _ in done for k in range(first, end)) == list(range(size))


here = threading.current_thread()


def test_an_error_on_another_thread_is_raised_here_after_all_have_ended() -> None:
    ts.set_num_threads(3)
    ended = threading.Event()

    def work(part: int, first: int, end: int) -> None:
        if part == 1:
            raise OSError("part 1")
        if part == 2:
            ended.wait(0.2)
            ended.set()

    with pytest.raises(OSError, match="part 1"):
        threads.split(work, 3)
    assert ended.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_has_threads_of_its_own() -> None:
    ts.set_num_threads(2)
    threads.split(lambda *_: None, 2)
    child = os.fork()
    if child == 0:
        threads.split(lambda *_: None, 2)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_state_comes_back() -> None:
    """Whether work is shared counts: NumPy's products then run on one thread, which changes their last bits."""
    blas = threads._openblas("get_num_threads")
    ts.set_num_threads(2)
    assert threads.get_state() == [2, False]
    threads.split(lambda part, first, end: None, 2)
    state = threads.get_state()
    assert state == [2, True] and (blas is None or blas() == 1)
    threads.set_state([3, False])
    assert threads.get_state() == [3, False] and (blas is None or blas() == 3)
    threads.set_state(state)
    assert threads.get_state() == [2, True] and (blas is None or blas() == 1)
