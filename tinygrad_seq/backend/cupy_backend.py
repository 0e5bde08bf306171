"""CuPy arrays on an NVIDIA GPU. The only file that imports cupy, and only when a GPU is first asked for."""

import os
from typing import Any

import numpy as np

from .base import Array, Backend
from .kernels import KERNELS

INSTALL = "pip install 'tinygrad-seq[cuda13]' (or 'tinygrad-seq[cuda12]' for a driver of CUDA 12)"


class CupyBackend(Backend):
    kernels = KERNELS

    def __init__(self, cupy: Any) -> None:
        self.xp = cupy
        self._out_of_range: dict[str, Array] = {}  # what was indexed -> a flag on the device

    def device_of(self, array: Array) -> str:
        return f"cuda:{array.device.id}"

    def from_numpy(self, array: Array) -> Array:
        return self.xp.asarray(array)

    def to_numpy(self, array: Array) -> Any:
        host = array.get()
        for what in list(self._out_of_range):
            flag = self._out_of_range.pop(what)
            if flag.get():
                raise IndexError(f"{what}, and got some outside (noticed when the next value was read from the GPU)")
        return host

    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x).astype(np.result_type(x.dtype, np.float16), copy=False)  # cupyx makes float32 of float16

    def check_range(self, index: Array, size: int, what: str, low: int = 0) -> None:
        what = f"{what}: expected integers from {low} to {size - 1}"
        flag = ((index < low) | (index >= size)).any()
        self._out_of_range[what] = flag | self._out_of_range[what] if what in self._out_of_range else flag


_loaded: dict[Any, CupyBackend] = {}  # by the module, which tests replace


def load() -> tuple[CupyBackend, type]:
    """The backend of the GPU and its array type; RuntimeError saying which of four things is missing."""
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", None) == "cupy":
            raise RuntimeError(f"device 'cuda' needs CuPy, which is not installed: {INSTALL}") from error
        raise _without_libraries("CuPy is installed", error) from error
    if cupy not in _loaded:
        _check_gpu(cupy)
        _loaded[cupy] = CupyBackend(cupy)
    return _loaded[cupy], cupy.ndarray


def _check_gpu(cupy: Any) -> None:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        count = 0
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is None or error.status != 100:  # 100: cudaErrorNoDevice, the driver is there
            raise RuntimeError(
                f"device 'cuda': CuPy is installed but finds no usable GPU or driver ({error}); "
                "check that nvidia-smi runs, or use device 'cpu'"
            ) from error
    if count == 0:
        raise RuntimeError(
            "device 'cuda': the driver shows no device; CUDA_VISIBLE_DEVICES is "
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')!r}: unset it, or use device 'cpu'"
        )
    try:
        one = cupy.ones((2, 2), np.float32)
        (one + one) @ one  # an elementwise kernel needs NVRTC, a product cuBLAS
    except (cupy.cuda.runtime.CUDARuntimeError, MemoryError) as error:  # busy, full, or too old for this CuPy
        raise RuntimeError(f"device 'cuda': the GPU is there, but cannot be used ({error})") from error
    except Exception as error:  # CuPy has many for this: ImportError, RuntimeError, OSError, CompileException
        raise _without_libraries("a GPU is there", error) from error


def _without_libraries(what: str, error: Exception) -> RuntimeError:
    return RuntimeError(
        f"device 'cuda': {what}, but CUDA's libraries are missing ({error}); "
        "install them: pip install 'cupy-cuda13x[ctk]' (or 'cupy-cuda12x[ctk]')"
    )
