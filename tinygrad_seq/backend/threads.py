"""How many threads compute, and work shared among them: compiled kernels and NumPy's products hold no lock meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_pool: Any = None
_threads = 2


def parts_of(size: int) -> int:
    """Into how many parts `split` would cut."""
    return max(min(_threads, size), 1)


def split(work: Callable[[int, int, int], Any], size: int) -> None:
    """work(part, first, end) for equal parts of 0 … size, each on a thread of its own, part 0 on this one."""
    global _pool
    parts = parts_of(size)
    if parts == 1:
        work(0, 0, size)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(_threads - 1)
    bounds = [size * k // parts for k in range(parts + 1)]
    others = [_pool.submit(work, k, *bounds[k : k + 2]) for k in range(1, parts)]
    work(0, 0, bounds[1])
    for other in others:
        other.result()
