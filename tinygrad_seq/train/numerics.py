"""What the last bits of a result depend on beside the program: kernels, versions, threads."""

import warnings
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
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    versions = {"numpy": np.__version__, "blas": " ".join([blas["name"], blas["version"], threads.blas_core()]).strip()}
    if kernels == "fast":
        versions["numba"] = version("numba")
    return {"threads": threads.get_state(), "kernels": kernels, "versions": versions}


def use_numerics(saved: dict[str, Any]) -> None:
    """Compute with as many threads as `saved` says, and warn where kernels or versions are others."""
    if "threads" in saved:  # older checkpoints do not say
        threads.set_state(saved["threads"])
    here = numerics()
    changed = [
        f"{name} {then} then, {now} now"
        for name, then, now in [
            ("kernels:", saved.get("kernels"), here["kernels"]),
            *((name, then, here["versions"].get(name)) for name, then in saved.get("versions", {}).items()),
        ]
        if then not in (now, None)
    ]
    if changed:
        warnings.warn(
            f"the last bits will differ from those of a run that never stopped ({'; '.join(changed)})",
            RuntimeWarning,
            stacklevel=3,
        )
