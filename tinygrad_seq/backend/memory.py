"""Memory that stays with the process between training steps, so that no step pays for fresh pages, in large pages."""

import ctypes
import os
from typing import Any

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2  # the names of glibc's mallopt
_HUGEPAGE = 14  # of madvise
_PAGE = 2 << 20
_ROOM = 256 << 20  # of addresses, not of memory: what is never written to takes none
_asked = False


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed arrays for the next step instead of giving them back to the system.

    The next 256 MB that it takes from the system are asked for in pages of 2 MB: where a page has 4 KB, a training
    step looks for thousands of them.

    It holds for the whole process, so it is done when training starts, never on import; TINYGRAD_SEQ_MALLOPT=0
    prevents it. Arrays are reused only after their last reference is gone, so nothing a user holds can change.

    Returns:
        Whether it was done: only glibc (Linux) has the call.
    """
    global _asked
    if os.environ.get("TINYGRAD_SEQ_MALLOPT") == "0":
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
    except (OSError, AttributeError, TypeError):
        return False
    kept = bool(mallopt(_MMAP_THRESHOLD, 32 << 20) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
    if kept and not _asked:
        _asked = True
        mallopt(_TOP_PAD, _ROOM)
        _large_pages(library)
    return kept and bool(mallopt(_TOP_PAD, 64 << 20))


def _large_pages(library: Any) -> None:
    """Let the heap grow, and its new part have large pages. Where the system has none for it, nothing is changed."""
    library.sbrk.restype = library.malloc.restype = ctypes.c_void_p
    library.sbrk.argtypes, library.malloc.argtypes, library.free.argtypes = (
        [ctypes.c_ssize_t],
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    before = library.sbrk(0)
    library.free(library.malloc(24 << 20))  # less than what is mapped apart
    first, end = -(-before // _PAGE) * _PAGE, library.sbrk(0) // _PAGE * _PAGE
    if first < end:
        library.madvise(first, end - first, _HUGEPAGE)
