"""What the last bits of a result depend on beside the program: kernels, versions, threads."""

import warnings
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from ..backend import fast, threads


def numerics() -> dict[str, Any]:
    """Plain values for a checkpoint: how many threads compute, by which kernels, in which versions of what.

    >>> sorted(numerics())
    ['kernels', 'threads', 'versions']
    """
    kernels = fast.in_use()
    compiler = {"numba": version("numba")} if kernels == "fast" else {}
    return {"threads": threads.get_state(), "kernels": kernels, "versions": _versions() | compiler}


@cache
def _versions() -> dict[str, str]:
    blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    words = (blas.get("name", ""), blas.get("version", ""), threads.blas_core())
    return {"numpy": np.__version__, "blas": " ".join(word for word in words if word)}


def warn_of_changes(saved: dict[str, Any]) -> None:
    """Warn where kernels or versions are other ones than `saved` says."""
    then, now = (each.get("versions", {}) | {"kernels": each.get("kernels")} for each in (saved, numerics()))
    changed = [
        f"{name}: {then[name]} then, {now.get(name)} now" for name in then if then[name] not in (None, now.get(name))
    ]
    if changed:
        warnings.warn(
            f"the last bits will differ from those of a run that never stopped ({'; '.join(changed)})",
            RuntimeWarning,
            stacklevel=4,
        )
