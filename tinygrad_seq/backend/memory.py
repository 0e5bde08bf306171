"""Memory that stays with the process between training steps, so that no step pays for fresh pages."""

import ctypes
import os

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2  # the names of glibc's mallopt


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed arrays for the next step instead of giving them back to the system.

    It holds for the whole process, so it is done when training starts, never on import; TINYGRAD_SEQ_MALLOPT=0
    prevents it. Arrays are reused only after their last reference is gone, so nothing a user holds can change.

    Returns:
        Whether it was done: only glibc (Linux) has the call.
    """
    if os.environ.get("TINYGRAD_SEQ_MALLOPT") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(
        mallopt(_MMAP_THRESHOLD, 32 << 20) and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 64 << 20)
    )
