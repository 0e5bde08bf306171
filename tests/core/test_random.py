"""One source of randomness: a seed repeats everything, keys do not repeat."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import random


def test_a_seed_repeats_weights_and_dropout() -> None:
    def draw() -> list[np.ndarray]:
        ts.seed(7)
        lstm = ts.nn.LSTM(3, 4)
        y = ts.ops.dropout(ts.tensor(np.ones((5, 6))), 0.5)
        return [*(p.data.copy() for p in lstm.parameters()), y.data]

    for a, b in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_seeds_give_other_numbers() -> None:
    ts.seed(0)
    a = ts.nn.Linear(3, 4).weight.data
    ts.seed(1)
    assert not np.array_equal(a, ts.nn.Linear(3, 4).weight.data)


def test_keys_do_not_repeat() -> None:
    for seed in (0, 1, 2):
        ts.seed(seed)
        keys = [random.next_key() for _ in range(1000)]
        assert len(set(keys)) == 1000 and all(0 <= key < 2**64 for key in keys)
    ts.seed(0)
    first = {random.next_key() for _ in range(1000)}
    ts.seed(1)
    assert not first & {random.next_key() for _ in range(1000)}


def test_the_state_goes_on_where_it_was() -> None:
    ts.seed(3)
    random.next_key()
    kept = random.get_state()
    expected = [random.next_key() for _ in range(3)]
    ts.seed(99)
    random.set_state(kept)
    assert [random.next_key() for _ in range(3)] == expected
    assert all(isinstance(n, int) for n in kept)


def test_mix_is_splitmix64() -> None:
    """The first outputs for seed 1234567, from the published reference code."""
    x, outputs = 1234567, []
    for _ in range(3):
        x = (x + 0x9E3779B97F4A7C15) & (2**64 - 1)
        outputs.append(random.mix(x))
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("bad", [1.0, "1", None, True])
def test_a_seed_is_an_integer(bad: object) -> None:
    with pytest.raises(TypeError, match="seed: expected an integer"):
        ts.seed(bad)


def test_a_negative_or_huge_seed_is_fine() -> None:
    for n in (-1, 2**80, 0):
        ts.seed(n)
        assert 0 <= random.next_key() < 2**64


def test_an_integer_of_numpy_is_one() -> None:
    ts.seed(np.int64(-3))
    first = random.next_key()
    ts.seed(-3)
    assert random.next_key() == first
