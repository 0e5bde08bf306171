"""Batches made in the background: the same ones in the same order, no error and no thread left behind."""

import gc
import threading
import time
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.data import LanguageModelStream, Prefetch, RandomBlocks, tagging_batches


class Numbers:
    """0 … n-1, some after a while; at `fails` an error. It notes how far it has come."""

    def __init__(self, n: int, *, slow: tuple[int, ...] = (), fails: int = -1) -> None:
        self.n, self.slow, self.fails = n, slow, fails
        self.position = self.made = 0

    def __iter__(self):
        for k in range(self.position, self.n):
            if k == self.fails:
                raise RuntimeError(f"no batch {k}")
            if k in self.slow:
                time.sleep(0.02)
            self.made += 1
            self.position = (k + 1) % self.n
            yield k

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def threads():
    yield
    assert no_thread_is_left()


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_the_order_is_the_same_whoever_is_slow(ahead):
    assert list(Prefetch(Numbers(30, slow=(0, 3, 4, 17)), ahead)) == list(range(30))
    assert no_thread_is_left()
    found = []
    for k in Prefetch(Numbers(10), ahead):
        time.sleep(0.002)
        found.append(k)
    assert found == list(range(10))
    assert list(Prefetch(Numbers(0))) == []


ROWS = [[n] * (1 + n % 5) for n in range(1, 24)]
STREAMS = [
    lambda: LanguageModelStream(np.arange(101), 2, 5),
    lambda: RandomBlocks(np.arange(101), 2, 5, seed=3),
    lambda: tagging_batches(ROWS, ROWS, 4, seed=1),
]


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 7), max_size=4))
def test_a_loop_that_stops_goes_on_after_the_last_batch(make, stops):
    plain, fetched = make(), Prefetch(make())
    for stop in stops:  # each `for` of both in turn
        expected = [batch[0].tolist() for batch in islice(plain, stop)]
        assert [batch[0].tolist() for batch in islice(fetched, stop)] == expected
        assert fetched.state_dict() == fetched.batches.state_dict() == plain.state_dict()
    resumed = Prefetch(make())
    resumed.load_state_dict(fetched.state_dict())
    for one, other, another in islice(zip(plain, fetched, resumed, strict=True), 7):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[0], another[0])


def test_the_state_is_that_of_the_last_batch_handed_out():
    numbers = Numbers(20)
    fetched = Prefetch(numbers, 5)
    for k in fetched:
        while numbers.made < min(k + 6, 20):  # the thread is ahead by 5
            time.sleep(0.001)
        assert fetched.state_dict() == {"position": (k + 1) % 20}
        assert numbers.made <= k + 6
        if k == 7:
            break
    gc.collect()
    assert no_thread_is_left() and numbers.position == 8
    assert list(fetched) == list(range(8, 20))
    assert fetched.state_dict() == {"position": 0}


def test_a_loop_that_stops_waits_for_the_thread():
    numbers = Numbers(100, slow=tuple(range(100)))
    for _ in islice(Prefetch(numbers), 3):
        pass
    assert no_thread_is_left() and numbers.position == 3


@pytest.mark.parametrize("fails", [0, 1, 5])
def test_an_error_comes_after_the_batches_before_it(fails):
    numbers = Numbers(9, fails=fails)
    fetched, found = Prefetch(numbers, 3), []
    with pytest.raises(RuntimeError, match=f"no batch {fails}") as error:
        for k in fetched:
            found.append(k)
    assert found == list(range(fails)) and "tests/data/test_prefetch.py" in str(error.traceback[-1].path)
    assert no_thread_is_left() and fetched.state_dict() == {"position": fails}
    numbers.fails = -1
    assert list(fetched) == list(range(fails, 9))


def test_an_error_of_the_position_is_handed_over():
    numbers = Numbers(5)
    states = iter([{"position": 0}])
    numbers.state_dict = lambda: next(states, None) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(Prefetch(numbers))


def test_an_error_of_the_loop_ends_the_thread():
    with pytest.raises(KeyboardInterrupt):
        for _ in Prefetch(Numbers(100, slow=(1,))):
            raise KeyboardInterrupt
    gc.collect()
    assert no_thread_is_left()


def test_what_cannot_be_prefetched_is_refused():
    with pytest.raises(ValueError, match="at least 1 batch ahead, got 0"):
        Prefetch(Numbers(3), 0)
    with pytest.raises(TypeError, match=r"a state_dict and a load_state_dict, got list; without"):
        Prefetch([1, 2, 3])
