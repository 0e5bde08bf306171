"""One source of randomness: a seed and a count of the keys drawn from it. Its state is two integers."""

import os

import numpy as np

_MASK = (1 << 64) - 1


class _Generator:
    def __init__(self) -> None:
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.drawn = 0


_generator = _Generator()


def seed(n: int) -> None:
    """Start all randomness of the library (initial weights, dropout, sampling) anew from an integer."""
    if not isinstance(n, int | np.integer) or isinstance(n, bool):
        raise TypeError(f"seed: expected an integer, got {n!r}")
    _generator.seed, _generator.drawn = int(n) & _MASK, 0


def next_key() -> int:
    """64 random bits, new at each call: what a mask or an initial weight is a function of."""
    _generator.drawn += 1
    return mix(mix(_generator.seed) + _generator.drawn * 0x9E3779B97F4A7C15)


def mix(x: int) -> int:
    """64 bits in, 64 well-mixed bits out (the finalizer of SplitMix64: Steele, Lea and Flood, 2014)."""
    x &= _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def numpy_generator() -> np.random.Generator:
    """A NumPy generator on a new key: initial weights are drawn on the host and moved to their device."""
    return np.random.Generator(np.random.Philox(key=next_key()))


def get_state() -> tuple[int, int]:
    """The state, as a checkpoint keeps it."""
    return _generator.seed, _generator.drawn


def set_state(state: tuple[int, int]) -> None:
    """Go on from a state that `get_state` gave."""
    _generator.seed, _generator.drawn = int(state[0]), int(state[1])
