"""How many threads compute, and work shared among them: compiled kernels and products hold no lock meanwhile."""

import ctypes
import itertools
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .memory import keep_freed_memory

_threads: int | None = None  # None: as many as NumPy's products use
_shares = False  # whether work was shared among threads of our own: NumPy's products then use one
_pool: Any = None  # a ThreadPoolExecutor


def num_threads() -> int:
    """How many threads kernels use: what `set_num_threads` said, or as many as NumPy's products use.

    That is one for each core that the process may run on, or what OPENBLAS_NUM_THREADS or OMP_NUM_THREADS say.
    """
    if _threads is not None:
        return _threads
    blas = _openblas("get_num_threads")
    return blas() if blas else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Let kernels and NumPy's products use n threads. For one n, results are the same to the last bit in each run.

    Freed memory is then kept for the next step, as while a Trainer runs; TINYGRAD_SEQ_MALLOPT=0 prevents it.

    Args:
        n: at least 1. Where NumPy's BLAS is not the OpenBLAS of its wheels, its products keep their number, which the
            environment variables of that library set.

    >>> import tinygrad_seq as ts
    >>> before = ts.num_threads()
    >>> ts.set_num_threads(1)
    >>> ts.num_threads()
    1
    >>> ts.set_num_threads(before)
    """
    global _threads, _pool
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"set_num_threads: expected an integer of at least 1, got {n!r}")
    _threads = int(n)
    _set_products(1 if _shares else _threads)
    _pool = None
    keep_freed_memory()


def shares() -> bool:
    """Whether work is shared among our own threads, and each of NumPy's products runs on the thread that calls it.

    Both at once lose: for tens of milliseconds after a product the threads of OpenBLAS wait for the next in a loop, and
    take the cores from ours. A training step with an LSTM took 44 ms so, and 26 with products on one thread.
    """
    return _shares


def product_threads() -> int:
    """How many threads one of NumPy's products uses."""
    return 1 if _shares else num_threads()


def blas_core() -> str:
    """The processor that NumPy's OpenBLAS computes for, such as Haswell: its products differ in the last bits."""
    function = _openblas("get_corename")
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return function().decode()


def take_over() -> int:
    """From here on our own threads compute, and each of NumPy's products runs on one: how many they are."""
    global _shares, _threads
    if not _shares and num_threads() > 1:
        _shares, _threads = True, num_threads()
        _set_products(1)
    return num_threads()


def get_state() -> list[Any]:
    """[number of threads, whether work is shared among our own], for a checkpoint: both change the last bits."""
    return [num_threads(), _shares]


def set_state(state: Any) -> None:
    """Go on from a state that `get_state` gave, or with a number of threads alone."""
    global _shares
    n, shared = state if isinstance(state, list) else (state, False)
    _shares = bool(shared)
    set_num_threads(n)


def _set_products(n: int) -> None:
    blas = _openblas("set_num_threads")
    if blas:
        blas(n)


@cache
def _openblas(verb: str) -> Any:
    """A function of NumPy's OpenBLAS, such as get_num_threads; None where there is none."""
    return _find(f"openblas_{verb}", "64_", "")


def blas_address(name: str) -> int:
    """Where a function of NumPy's OpenBLAS lies that takes integers of 64 bits; 0 where there is none."""
    function = _find(name, "64_")
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function else 0


def _find(name: str, *suffixes: str) -> Any:
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))
            for prefix, suffix in itertools.product(("scipy_", ""), suffixes):
                function = getattr(library, f"{prefix}{name}{suffix}", None)
                if function is not None:
                    return function
    return None


def parts_of(size: int) -> int:
    """Into how many parts `split` cuts 0 … size."""
    return max(min(num_threads(), size), 1)


def split(work: Callable[[int, int, int], Any], size: int) -> None:
    """work(part, first, end) for equal parts of 0 … size, each on a thread of its own, part 0 on this one."""
    parts = parts_of(size)
    bounds = [size * k // parts for k in range(parts + 1)]
    others = []
    if parts > 1:
        take_over()
        others = [_others().submit(work, k, bounds[k], bounds[k + 1]) for k in range(1, parts)]
    try:
        work(0, 0, bounds[1])
    finally:
        errors = [other.exception() for other in others]  # waits for all: they write into the caller's arrays
    for error in errors:
        if error is not None:
            raise error


def begin(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin work on another thread; gives what waits for its end, and raises its error."""
    return _others().submit(work).result


def _others() -> Any:
    global _pool
    from concurrent.futures import ThreadPoolExecutor  # a tenth of this package's import

    _pool = _pool or ThreadPoolExecutor(max(num_threads() - 1, 1), "tinygrad_seq")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_forget_pool)
