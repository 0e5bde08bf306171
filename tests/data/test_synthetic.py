"""Made-up tasks: each target against the definition of its task, written out once more."""

import numpy as np
import pytest

from tinygrad_seq.data import adding_problem, addition, anbn, copy, copy_memory, reversal

GENERATORS = {
    "addition": lambda seed: addition(20, seed=seed),
    "copy": lambda seed: copy(20, seed=seed),
    "reversal": lambda seed: reversal(20, seed=seed),
    "anbn": lambda seed: anbn(20, seed=seed),
    "copy_memory": lambda seed: [a.tolist() for a in copy_memory(20, seed=seed, blanks=5)],
    "adding_problem": lambda seed: [a.tolist() for a in adding_problem(20, seed=seed, length=5)],
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_gives_the_same_data_again(name):
    make = GENERATORS[name]
    assert make(5) == make(5) != make(6)
    assert make(np.int64(5)) == make(5)
    for wrong in (-1, 1.5, None, True):
        with pytest.raises(ValueError, match="a seed that is an integer of at least 0"):
            make(wrong)


def test_sums_are_right_and_all_different():
    pairs = addition(3000, seed=0, digits=3)
    assert len({source for source, _ in pairs}) == 3000
    for source, target in pairs:
        a, b = source.split("+")
        assert str(int(a)) == a and str(int(b)) == b and int(a) + int(b) == int(target)
    assert {len(source) for source, _ in pairs} >= {5, 6, 7}
    every = [(f"{a}+{b}", str(a + b)) for a in range(10) for b in range(10)]
    assert sorted(addition(100, seed=0, digits=1)) == sorted(every)


def test_strings_are_said_again_or_backwards():
    texts = copy(2000, seed=0, symbols=3, min_length=2, max_length=6)
    assert all(source == target for source, target in texts)
    assert {len(source) for source, _ in texts} == {2, 3, 4, 5, 6}
    assert {letter for source, _ in texts for letter in source} == {"a", "b", "c"}
    backwards = reversal(2000, seed=0, symbols=3, min_length=2, max_length=6)
    assert [source for source, _ in backwards] == [source for source, _ in texts]
    assert all(target == "".join(reversed(source)) for source, target in backwards)


def test_as_many_b_as_a():
    strings = anbn(500, seed=0, min_count=2, max_count=6)
    assert set(strings) == {"a" * k + "b" * k for k in range(2, 7)}


def test_copy_memory_asks_for_its_ten_symbols_after_the_delimiter():
    x, y = copy_memory(200, seed=0, blanks=7)
    assert x.shape == y.shape == (200, 27) and x.dtype == y.dtype == np.int64
    assert set(np.unique(x[:, :10])) == set(range(8))
    np.testing.assert_array_equal(y[:, 17:], x[:, :10])
    assert (x[:, 10:16] == 8).all() and (x[:, 16] == 9).all() and (x[:, 17:] == 8).all() and (y[:, :17] == 8).all()
    assert copy_memory(1, seed=0, blanks=1)[0][0, 10] == 9


@pytest.mark.parametrize("length", [2, 5, 50])
def test_the_adding_problem_marks_one_value_in_each_half(length):
    x, y = adding_problem(3000, seed=0, length=length)
    assert x.shape == (3000, length, 2) and y.shape == (3000,) and x.dtype == y.dtype == np.float32
    values, markers = x[..., 0], x[..., 1]
    assert values.min() >= 0 and values.max() < 1
    assert (markers[:, : length // 2].sum(1) == 1).all() and (markers[:, length // 2 :].sum(1) == 1).all()
    assert markers.any(0).all()  # every step is marked now and then
    np.testing.assert_allclose((values * markers).sum(1), y, rtol=1e-6)
    assert ((y - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: addition(0, seed=0), "expected n of at least 1, got 0"),
        (lambda: addition(101, seed=0, digits=1), "100 different sums, fewer than n = 101"),
        (lambda: addition(1, seed=0, digits=10), "at most 9 digits, got 10"),
        (lambda: copy(1, seed=0, symbols=27), "at most 26 symbols"),
        (lambda: reversal(1, seed=0, min_length=3, max_length=2), "min_length of at most max_length, got 3 and 2"),
        (lambda: copy(1, seed=0, min_length=0), "min_length of at least 1, got 0"),
        (lambda: anbn(1, seed=0, min_count=0), "min_count of at least 1, got 0"),
        (lambda: anbn(1, seed=0, max_count=0), "min_count of at most max_count, got 1 and 0"),
        (lambda: copy_memory(1, seed=0, blanks=0), "blanks of at least 1, got 0"),
        (lambda: adding_problem(1, seed=0, length=1), "length of at least 2, got 1"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
