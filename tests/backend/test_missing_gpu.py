"""`device="cuda"` where something is missing: four different things, four different errors, each with its remedy."""

import importlib.util
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.backend import backend_for


class CUDARuntimeError(RuntimeError):
    """As CuPy's: a RuntimeError with the number of the error in `status`."""

    TEXTS = {
        2: "cudaErrorMemoryAllocation: out of memory",
        35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
        46: "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
        100: "cudaErrorNoDevice: no CUDA-capable device is detected",
        999: "cudaErrorUnknown: unknown error",
    }

    def __init__(self, status: int) -> None:
        super().__init__(self.TEXTS[status])
        self.status = status


class DynamicLibNotFoundError(RuntimeError):
    """What a missing NVRTC raises in CuPy 14."""


class CompileException(Exception):
    """What a missing CUDA header raises: no RuntimeError."""


class ndarray:
    """An array of the pretended module: it fails where the machine fails."""

    error: Exception | None = None

    def __add__(self, other: Any) -> "ndarray":
        if self.error is not None:
            raise self.error
        return self

    __matmul__ = __add__


class Device:
    def __init__(self, number: int) -> None:
        self.id = number

    def use(self) -> None: ...

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None: ...


def pretend(monkeypatch: pytest.MonkeyPatch, devices: int | Exception, kernels: Exception | None = None) -> None:
    """A `cupy` that counts its devices, or fails to, and that can or cannot run a kernel."""

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return devices

    array = type("ndarray", (ndarray,), {"error": kernels})
    cupy: Any = types.ModuleType("cupy")
    cupy.ndarray, cupy.ones = array, lambda shape, dtype: array()
    runtime = types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=count)
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=Device)
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def message() -> str:
    with pytest.raises(RuntimeError) as caught:
        ts.tensor([1.0], device="cuda")
    assert type(caught.value) is RuntimeError
    return str(caught.value)


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_cupy_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = message()
    assert "needs CuPy, which is not installed" in text and "pip install 'tinygrad-seq[cuda13]'" in text


@pytest.mark.parametrize("status", [35, 999])
def test_no_usable_gpu_or_driver(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    for visible in (None, ""):  # without a driver it does not matter what is hidden
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        pretend(monkeypatch, CUDARuntimeError(status))
        text = message()
        assert "CuPy is installed but finds no usable GPU or driver" in text and CUDARuntimeError.TEXTS[status] in text
        assert "nvidia-smi" in text


def test_a_driver_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, CUDARuntimeError(100))
    assert "finds no usable GPU or driver (cudaErrorNoDevice" in message()


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_no_visible_device(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    for count in (CUDARuntimeError(100), 0):
        pretend(monkeypatch, count)
        text = message()
        assert f"the driver shows no device; CUDA_VISIBLE_DEVICES is {hidden!r}: unset it" in text


@pytest.mark.parametrize(
    "error",
    [
        DynamicLibNotFoundError('Failure finding "libnvrtc.so.13"'),
        ImportError("libcublas.so.13: cannot open shared object file"),
        OSError("libcudart.so.13: cannot open shared object file"),
        CompileException("cannot open source file cuda_fp16.h"),
    ],
)
def test_cuda_s_libraries_are_missing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    pretend(monkeypatch, 1, error)
    text = message()
    assert "a GPU is there, but CUDA's libraries are missing" in text and str(error) in text
    assert "pip install 'cupy-cuda13x[ctk]'" in text


def test_cupy_is_there_but_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """CuPy wraps what its own import lacks in an ImportError: it is installed, and saying otherwise would mislead."""
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    text = message()
    assert "CuPy is installed, but CUDA's libraries are missing (libcudart.so.13" in text


@pytest.mark.parametrize("error", [CUDARuntimeError(46), CUDARuntimeError(2), MemoryError("out of memory")])
def test_a_gpu_that_cannot_be_used_has_its_libraries(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    pretend(monkeypatch, 1, error)
    text = message()
    assert "device 'cuda': the GPU is there, but cannot be used" in text and "librar" not in text


def test_a_process_uses_one_gpu() -> None:
    with pytest.raises(ValueError, match="'cuda:1': a process uses one GPU: choose it by CUDA_VISIBLE_DEVICES=1"):
        backend_for("cuda:1")


def test_the_four_errors_differ_and_a_failure_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    monkeypatch.setitem(sys.modules, "cupy", None)
    texts.append(message())
    pretend(monkeypatch, CUDARuntimeError(35))
    texts.append(message())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    pretend(monkeypatch, CUDARuntimeError(100))
    texts.append(message())
    pretend(monkeypatch, 1, ImportError("libcublas"))
    texts.append(message())
    assert len({text[:40] for text in texts}) == 4
    pretend(monkeypatch, 1)  # repaired in the meantime
    assert backend_for("cuda").device_of(types.SimpleNamespace(device=Device(0))) == "cuda:0"


def test_everything_that_asks_for_a_gpu_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    for ask in (
        lambda: ts.tensor([1.0]).to("cuda"),
        lambda: ts.nn.Linear(1, 1).to("cuda"),
        lambda: ts.tensor(np.ones(2), device="cuda:0"),
    ):
        with pytest.raises(RuntimeError, match="needs CuPy, which is not installed"):
            ask()


def test_the_real_cupy_where_it_is_installed_and_there_is_no_driver() -> None:
    """In a process of its own: what the real wheel raises on a machine without a driver, turned into our words."""
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed here: `make test-cupy` checks what the real one raises")
    program = (
        "import tinygrad_seq as ts\n"
        "try:\n    print(ts.tensor([1.0], device='cuda').device)\n"
        "except RuntimeError as error:\n    print(type(error).__name__, error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(
        ("cuda:0", "RuntimeError device 'cuda': CuPy is installed but finds no usable GPU or driver (cudaError")
    ), run.stdout


def test_importing_the_package_imports_no_cupy() -> None:
    program = "import sys, tinygrad_seq; print('cupy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "False", run.stdout + run.stderr
