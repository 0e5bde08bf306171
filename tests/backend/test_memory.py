"""Memory that stays with the process: it is asked for in large pages where the system has them."""

import subprocess
import sys
from pathlib import Path

import pytest

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def flags_of(address: str) -> str:
    """A program that prints the flags of the mapping that holds an address."""
    return f"""
flags = ""
here = False
for line in open("/proc/self/smaps"):
    first, *rest = line.split()
    if "-" in first and not first.endswith(":"):
        low, high = (int(n, 16) for n in first.split("-"))
        here = low <= {address} < high
    elif here and first == "VmFlags:":
        flags = " ".join(rest)
print(flags)
"""


@pytest.mark.skipif(not LARGE_PAGES.exists(), reason="this system has no large pages on request")
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_kept_lies_in_large_pages(asked: bool) -> None:
    code = f"""
import os
os.environ["TINYGRAD_SEQ_MALLOPT"] = "{int(asked)}"
import numpy as np
from tinygrad_seq.backend.memory import keep_freed_memory
assert (keep_freed_memory() and keep_freed_memory()) == {asked}
kept = [np.ones(1 << 19, np.float32) for _ in range(5)]
{flags_of("kept[-1].ctypes.data + (1 << 20)")}
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("hg" in ran.stdout.split()) == asked
