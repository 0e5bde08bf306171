"""What a measurement depends on: the machine, its cores, the library of matrix products, threads, versions, memory."""

import os
import platform
import re
import sys
from importlib import metadata, util
from pathlib import Path

PACKAGES = ("numpy", "scipy", "numba", "torch", "jax", "jaxlib", "optax", "autograd", "dezero", "tinygrad")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """The machine and what is installed, by name."""
    return {
        "processor": processor(),
        "cores": str(cores()),
        "memory": memory(),
        "system": platform.platform(),
        "Python": sys.version.split()[0],
        "products": products(),
    } | {name: metadata.version(name) for name in PACKAGES if installed(name)}


def installed(package: str) -> bool:
    return util.find_spec(package) is not None


def processor() -> str:
    """Its name, with the vector instructions that decide most."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*: (.*)", text)
    vectors = [each for each in ("avx2", "avx512f") if re.search(rf"\b{each}\b", text)]
    return " ".join([name[1] if name else platform.machine(), *vectors])


def memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def products() -> str:
    """NumPy's BLAS, and the kernels that it chose for this processor."""
    import numpy  # noqa: F401  # loads the BLAS

    if not installed("threadpoolctl"):
        return "unknown: threadpoolctl is not installed"
    from threadpoolctl import threadpool_info

    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return ", ".join(f"{each['internal_api']} {each['version']} {each.get('architecture', '')}" for each in found)


# -- memory of this process, in MB, where Linux tells it


def resident() -> float | None:
    return _status("VmRSS")


def peak() -> float | None:
    """The largest since the start, or since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        pass  # then the peak since the start stands, which training passes


def _status(name: str) -> float | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"{name}:\s*(\d+) kB", text)
    return int(found[1]) * 1024 / 1e6 if found else None
