"""Where arrays live: one `Backend` for each kind of array, found by the array's type."""

from typing import Any

import numpy as np

from .base import Array, Backend, Kernel
from .kernels.rows import RowsGradient, written_out
from .numpy_backend import NumpyBackend

__all__ = [
    "Array",
    "Backend",
    "Kernel",
    "RowsGradient",
    "adopt",
    "backend_for",
    "backend_of",
    "is_device",
    "written_out",
]

_numpy = NumpyBackend()
_by_type: dict[type, Backend] = {np.ndarray: _numpy}  # CuPy adds itself when it is first asked for
find = _by_type.get  # None for numbers; `backend_of` is the safe way to ask


def backend_of(*arrays: Any) -> Backend:
    """The backend of the first array among `arrays`; NumPy's where there are only numbers."""
    for array in arrays:
        backend = find(type(array))
        if backend is not None:
            return backend
    return _numpy


def backends_among(arrays: Any) -> list[Backend]:
    """Every backend that holds one of `arrays`, each once."""
    found = [find(type(array)) for array in arrays]
    return [backend for k, backend in enumerate(found) if backend is not None and backend not in found[:k]]


def adopt(array: Any) -> Array:
    """An array that a user brings, as one with a backend: CuPy's as it is, another library's copied by NumPy."""
    if find(type(array)) is not None:
        return array
    if type(array).__module__.partition(".")[0] == "cupy":  # before anybody asked for a GPU
        backend_for(f"cuda:{array.device.id}")
        return array
    return np.array(array)


def is_device(target: Any) -> bool:
    """Whether `.to(target)` means a device: a text that is no dtype's name."""
    if target is None:  # which is float64 to NumPy
        raise TypeError("to: expected a device or a dtype, got None")
    try:
        np.dtype(target)
    except TypeError:
        return True
    return False


def backend_for(device: str | None) -> Backend:
    """The backend of a device by its name.

    Args:
        device: "cpu" (also None), "cuda" or "cuda:0": one GPU a process, which CUDA_VISIBLE_DEVICES chooses.
    Raises:
        ValueError: for any other name.
        RuntimeError: where a GPU is asked for and CuPy, the driver, a visible device or CUDA's libraries are missing.
    """
    if device is None or device == "cpu":
        return _numpy
    kind, _, number = str(device).partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ValueError(
            f"unknown device {device!r}: expected 'cpu' or 'cuda' (or, for .to, a dtype such as 'float64')"
        )
    if int(number or 0):
        raise ValueError(
            f"device {device!r}: a process uses one GPU: choose it by CUDA_VISIBLE_DEVICES={number}, and 'cuda'"
        )
    from .cupy_backend import load

    backend, array_type = load()
    _by_type[array_type] = backend
    return backend
