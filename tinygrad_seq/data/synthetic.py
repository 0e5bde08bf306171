"""Made-up tasks that show what a sequence model can remember: the answers are exact, and data never runs out."""

from __future__ import annotations

import string

import numpy as np


def addition(n: int, *, seed: int, digits: int = 3) -> list[tuple[str, str]]:
    """Sums as text: "123+45" -> "168".

    Args:
        n: how many, all different.
        seed: the same seed gives the same sums.
        digits: each number is drawn evenly from 0 to 10^digits - 1 and written without zeros before it.
    Raises:
        ValueError: `digits` is not from 1 to 9, or there are not n different sums.

    Source: Zaremba and Sutskever (2014), "Learning to Execute".

    >>> addition(3, seed=0)
    [('636+961', '1597'), ('511+136', '647'), ('850+622', '1472')]
    """
    _at_least(1, n=n, digits=digits)
    if digits > 9:
        raise ValueError(f"addition: expected at most 9 digits, got {digits}")
    there_are = 10 ** (2 * digits)
    if n > there_are:
        raise ValueError(f"addition: {digits} digits make {there_are} different sums, fewer than n = {n}")
    pairs = (divmod(int(k), 10**digits) for k in generator(seed).choice(there_are, n, replace=False))
    return [(f"{a}+{b}", str(a + b)) for a, b in pairs]


def copy(n: int, *, seed: int, symbols: int = 8, min_length: int = 1, max_length: int = 10) -> list[tuple[str, str]]:
    """Strings to be said again: "bca" -> "bca". What an encoder must squeeze into its last state grows with length.

    Args:
        n: how many; short ones may occur more than once.
        seed: the same seed gives the same strings.
        symbols: letters are drawn evenly from the first so many of a … z, at most 26.
        min_length, max_length: lengths are drawn evenly from this range, both ends included.
    Raises:
        ValueError: a size is out of range.

    >>> copy(2, seed=0, max_length=5)
    [('eccaa', 'eccaa'), ('abgf', 'abgf')]
    """
    return [(text, text) for text in _strings(n, seed, symbols, min_length, max_length)]


def reversal(
    n: int, *, seed: int, symbols: int = 8, min_length: int = 1, max_length: int = 10
) -> list[tuple[str, str]]:
    """Strings to be said backwards: "bca" -> "acb". Arguments and errors as `copy`.

    >>> reversal(2, seed=0, max_length=5)
    [('eccaa', 'aacce'), ('abgf', 'fgba')]
    """
    return [(text, text[::-1]) for text in _strings(n, seed, symbols, min_length, max_length)]


def anbn(n: int, *, seed: int, min_count: int = 1, max_count: int = 10) -> list[str]:
    """Strings of the language aⁿbⁿ: so many b as a. No finite automaton knows it: one has to count.

    How many a come cannot be predicted; from the first b on everything can, the end of the string too.

    Args:
        n: how many strings.
        seed: the same seed gives the same strings.
        min_count, max_count: the number of a, and of b, is drawn evenly from this range, both ends included.
    Raises:
        ValueError: a size is below 1, or the range is empty.

    Source: Gers and Schmidhuber (2001), "LSTM Recurrent Networks Learn Simple Context Free and Context Sensitive
    Languages".

    >>> anbn(3, seed=0, max_count=4)
    ['aaaabbbb', 'aaabbb', 'aaabbb']
    """
    _at_least(1, n=n, min_count=min_count)
    _range(min_count=min_count, max_count=max_count)
    return ["a" * int(k) + "b" * int(k) for k in generator(seed).integers(min_count, max_count + 1, n)]


BLANK, DELIMITER = 8, 9  # in the copy memory task; 0 … 7 are the symbols to be remembered


def copy_memory(n: int, *, seed: int, blanks: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten symbols to be remembered over T blanks and then said again: the copying memory problem.

        x: s_1 … s_10, T - 1 blanks, the delimiter, 10 blanks        s_k evenly from 0 … 7, blank 8, delimiter 9
        y: T + 10 blanks, s_1 … s_10

    The delimiter says when. Whoever remembers nothing knows where blanks stand and guesses the rest: a mean cross
    entropy of 10 log 8 / (T + 20) nats.

    Args:
        n: how many sequences.
        seed: the same seed gives the same sequences.
        blanks: T, the distance over which to remember.
    Returns:
        x and y, each (n, T + 20), int64.
    Raises:
        ValueError: a size is below 1.

    Source: Hochreiter and Schmidhuber (1997), in the form of Arjovsky, Shah and Bengio (2016).

    >>> x, y = copy_memory(1, seed=0, blanks=3)
    >>> print(x[0])
    [6 5 4 2 2 0 0 0 1 6 8 8 9 8 8 8 8 8 8 8 8 8 8]
    >>> print(y[0])
    [8 8 8 8 8 8 8 8 8 8 8 8 8 6 5 4 2 2 0 0 0 1 6]
    """
    _at_least(1, n=n, blanks=blanks)
    symbols = generator(seed).integers(0, BLANK, (n, 10))
    x = np.full((n, blanks + 20), BLANK)
    y = x.copy()
    x[:, :10] = y[:, -10:] = symbols
    x[:, -11] = DELIMITER
    return x, y


def adding_problem(n: int, *, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Two marked numbers in a long row of numbers; what is their sum?

        x_t = (value, marker)        values evenly from [0, 1); the marker is 1 once in each half of the row, else 0
        y = the sum of the two marked values

    Whoever always says 1, the mean, has a mean squared error of 1/6, the variance of the sum.

    Args:
        n: how many rows.
        seed: the same seed gives the same rows.
        length: T, at least 2.
    Returns:
        x (n, T, 2) and y (n,), float32.
    Raises:
        ValueError: n is below 1 or `length` below 2.

    Source: Hochreiter and Schmidhuber (1997), in the form of Arjovsky, Shah and Bengio (2016).

    >>> x, y = adding_problem(1, seed=0, length=4)
    >>> print(x[0].round(2))
    [[0.85 1.  ]
     [0.64 0.  ]
     [0.51 1.  ]
     [0.27 0.  ]]
    >>> print(y.round(2))
    [1.36]
    """
    _at_least(1, n=n)
    _at_least(2, length=length)
    rng = generator(seed)
    values = rng.random((n, length), np.float32)
    half, rows = length // 2, np.arange(n)
    first, second = rng.integers(0, half, n), rng.integers(half, length, n)
    markers = np.zeros_like(values)
    markers[rows, first] = markers[rows, second] = 1
    return np.stack([values, markers], -1), values[rows, first] + values[rows, second]


# -- what the generators share


def generator(seed: int) -> np.random.Generator:
    """The source of randomness that belongs to a seed."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"expected a seed that is an integer of at least 0, got {seed!r}")
    return np.random.default_rng(seed)


def _strings(n: int, seed: int, symbols: int, min_length: int, max_length: int) -> list[str]:
    _at_least(1, n=n, symbols=symbols, min_length=min_length)
    _range(min_length=min_length, max_length=max_length)
    if symbols > 26:
        raise ValueError(f"expected at most 26 symbols, the letters a … z, got {symbols}")
    rng = generator(seed)
    letters = np.array(list(string.ascii_lowercase[:symbols]))
    lengths = rng.integers(min_length, max_length + 1, n)
    return ["".join(letters[rng.integers(0, symbols, length)]) for length in lengths]


def _at_least(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least:
            raise ValueError(f"expected {name} of at least {least}, got {size}")


def _range(**ends: int) -> None:
    (low_name, low), (high_name, high) = ends.items()
    if low > high:
        raise ValueError(f"expected {low_name} of at most {high_name}, got {low} and {high}")
