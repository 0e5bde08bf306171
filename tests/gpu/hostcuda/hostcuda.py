"""Run the real CuPy wheel without a GPU: CUDA's calls go to host memory, kernels are compiled by g++.

CuPy's Cython modules find CUDA's runtime and driver through tables of C functions; `install()` overwrites those tables
with functions of `hostcuda.cpp` before CuPy's core is imported.  Kernels, CuPy's own and ours, are compiled by the host
compiler through `shim.h`; cuBLAS and cuRAND are small host libraries.  For tests only, in a process of its own:

    from gpu.hostcuda import hostcuda

    hc = hostcuda.install()                  # before any `import cupy`
    x = hc.cupy.arange(3)
    before = hc.counters.snap()
    train_step()
    after = hc.counters.snap()               # launches, syncs, copies, allocations: exact budgets

Needs g++, Python.h, and the wheels `cupy-cuda13x`, `nvidia-cuda-runtime` and `nvidia-cuda-crt` (CUDA's headers).  It
leans on CuPy's insides, so the wheel's version is pinned: 14.2.  A new kernel costs about 0.3 s, and is then found in
$HOSTCUDA_CACHE, by default ~/.cache/hostcuda.  Not there: CUB, cuFFT, cuSOLVER, `cupy.random.default_rng`, and any
asynchrony, so ordering bugs between streams stay invisible.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("HOSTCUDA_CACHE") or Path.home() / ".cache" / "hostcuda")
CXX = os.environ.get("HOSTCUDA_CXX", "g++")
OPTIMISATION = os.environ.get("HOSTCUDA_OPT", "-O1")

# Compute capabilities, as in ("75", "80", "90"), for which every kernel is also compiled by the real NVRTC.
NVRTC_ARCHS: tuple[str, ...] = ()
# The (source, options) of every kernel compiled.
kernel_log: list[tuple[str, Sequence[str]]] = []
compile_stats = {"gxx": 0, "cached": 0, "nvrtc": 0}

# Which function of hostcuda.cpp stands in for which of CuPy's.
RUNTIME = {
    "deviceSynchronize": "rt_deviceSynchronize",
    "memGetInfo": "rt_memGetInfo",
    "setDevice": "rt_setDevice",
    "getDevice": "rt_zero",
    "getDeviceCount": "rt_one",
    "getDeviceProperties": "rt_getDeviceProperties",
    "deviceGetAttribute": "rt_deviceGetAttribute",
    "deviceCanAccessPeer": "rt_deviceCanAccessPeer",
    "driverGetVersion": "rt_driverVersion",
    "runtimeGetVersion": "rt_driverVersion",
    "_ensure_context": "rt_ensure_context",
    "streamCreate": "rt_handle",
    "streamCreateWithFlags": "rt_handle_u",
    "streamCreateWithPriority": "rt_handle_ui",
    "streamDestroy": "rt_ok1",
    "streamSynchronize": "rt_streamSynchronize",
    "streamQuery": "rt_streamQuery",
    "streamWaitEvent": "rt_streamWaitEvent",
    "streamIsCapturing": "rt_streamIsCapturing",
    "streamGetPriority": "rt_streamGetPriority",
    "streamGetFlags": "rt_streamGetFlags",
    "eventCreate": "rt_handle",
    "eventCreateWithFlags": "rt_handle_u",
    "eventDestroy": "rt_ok1",
    "eventQuery": "rt_eventQuery",
    "eventSynchronize": "rt_eventSynchronize",
    "eventRecord": "rt_eventRecord",
    "eventElapsedTime": "rt_eventElapsedTime",
    "malloc": "rt_malloc",
    "free": "rt_free",
    "hostAlloc": "rt_hostAlloc",
    "freeHost": "rt_freeHost",
    "memcpy": "rt_memcpy",
    "memcpyAsync": "rt_memcpyAsync",
    "memset": "rt_memset",
    "memsetAsync": "rt_memsetAsync",
    "pointerGetMemoryType": "rt_pointerGetMemoryType",
    "streamBeginCapture": "rt_streamBeginCapture",
    "streamEndCapture": "rt_streamEndCapture",
    "graphInstantiate": "rt_graphInstantiate",
    "graphUpload": "rt_graphUpload",
    "graphLaunch": "rt_graphLaunch",
    "graphDestroy": "rt_ok1",
    "graphExecDestroy": "rt_ok1",
}
DRIVER = {
    "ctxGetCurrent": "dr_ctxGetCurrent",
    "moduleLoadData": "dr_moduleLoadData",
    "moduleUnload": "dr_moduleUnload",
    "moduleGetFunction": "dr_moduleGetFunction",
    "moduleGetGlobal": "dr_moduleGetGlobal",
    "launchKernel": "dr_launchKernel",
    "funcGetAttribute": "dr_funcGetAttribute",
    "occupancyMaxActiveBlocksPerMultiprocessor": "dr_occBlocks",
}


class Counters(ctypes.Structure):
    """What has happened so far; the struct of the same name in hostcuda.cpp."""

    launches: int
    syncs: int
    _fields_ = [
        (name, ctypes.c_long)
        for name in (
            "launches",
            "mallocs",
            "frees",
            "h2d",
            "d2h",
            "d2d",
            "memsets",
            "syncs",
            "streams",
            "events",
            "graph_launches",
            "bytes_live",
        )
    ]

    def snap(self) -> dict[str, int]:
        """The counters now, as a dict of their own."""
        return {name: getattr(self, name) for name, _ in self._fields_}  # type: ignore[misc]


# ---- Compiling -------------------------------------------------------------------------------------------------------


def _build_library(source: str, extra: Iterable[str] = ()) -> Path:
    """Compile one of the host libraries beside this file; it is kept under a name that follows its text."""
    path = HERE / source
    command = [CXX, "-O2", "-shared", "-fPIC", f"-I{sysconfig.get_paths()['include']}", str(path), "-ldl", *extra]
    key = hashlib.sha1("\0".join([path.read_text(encoding="utf-8"), *command]).encode()).hexdigest()[:16]
    library = CACHE / f"{path.stem}-{key}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(partial)], check=True)
        os.replace(partial, library)
    return library


def _find_headers() -> str:
    """The folder of CUDA's own headers: from the wheels, else from a CUDA installation."""
    with contextlib.suppress(Exception):
        from cuda.pathfinder import find_nvidia_header_directory

        folder = find_nvidia_header_directory("cudart")
        if folder:
            return folder
    return "/usr/local/cuda/include"


_LAUNCH_BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
_KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{_LAUNCH_BOUNDS}void\s+{_LAUNCH_BOUNDS}(\w+)\s*\(')
_DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s*)?([\w:<> ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_BARRIER = re.compile(r"__syncthreads|__syncwarp|__shfl")


def _launcher(name: str, kernel: str, barriers: bool) -> str:
    """The C function through which hostcuda.cpp starts a kernel or asks for the sizes of its parameters."""
    parameters = "void** p, const unsigned* g, const unsigned* b, unsigned shared, const int*, int* query"
    call = f"hc::launch(&{kernel}, p, g, b, shared, query, {'true' if barriers else 'false'});"
    return f'extern "C" void {name}__hl({parameters}) {{ {call} }}'


def host_compile(
    source: str, options: Sequence[str] = (), name_expressions: Sequence[str] | None = None
) -> tuple[str, dict[str, str]]:
    """Compile CUDA C++ into a shared library with one launcher a kernel.

    Returns its path, and for each of `name_expressions` (instances of templates) the name it got.
    """
    text = _DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)hc::dynsmem;", source)
    barriers = bool(_BARRIER.search(text))
    launchers = [_launcher(kernel, kernel, barriers) for kernel in _KERNEL.findall(text)]
    mapping = {}
    for i, expression in enumerate(name_expressions or ()):
        mapping[expression] = f"hcname{i}"
        launchers.append(_launcher(f"hcname{i}", expression, barriers))
    text = "\n".join(['#include "shim.h"', text, *launchers, ""])

    shim = (HERE / "shim.h").read_text(encoding="utf-8")
    kept = [option for option in options if re.match(r"-[ID]", option)]
    key = hashlib.sha1(("\0".join([text, *kept, OPTIMISATION, CXX]) + shim).encode()).hexdigest()
    library = CACHE / f"{key}.so"
    if library.exists():
        compile_stats["cached"] += 1
        return str(library), mapping

    compile_stats["gxx"] += 1
    file = CACHE / f"{key}.cpp"
    file.write_text(text, encoding="utf-8")
    base = [CXX, OPTIMISATION, "-std=c++17", "-w", "-fPIC", "-fpermissive", "-D__CUDACC_VER_MAJOR__=13"]
    base += [f"-I{HERE}", *kept, f"-I{_find_headers()}"]
    # CuPy's own kernels all include the same headers: precompiled, they take a third of the time.
    precompiled = _precompile_headers(base, shim) if "cupy/carray.cuh" in source else []
    partial = library.with_suffix(f".{os.getpid()}")
    command = [*base, *precompiled, "-shared", "-Wl,-Bsymbolic", str(file), "-o", str(partial)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"hostcuda: {CXX} failed for {file}\n{result.stderr[:3000]}")
    os.replace(partial, library)
    return str(library), mapping


def _precompile_headers(base: list[str], shim: str) -> list[str]:
    """Compile pch.h once for these options, and return the options that use it."""
    folder = CACHE / f"pch_{hashlib.sha1(chr(0).join([*base, shim]).encode()).hexdigest()[:16]}"
    header = folder / "pch.h"
    compiled = folder / "pch.h.gch"
    if not compiled.exists():
        folder.mkdir(parents=True, exist_ok=True)
        header.write_text((HERE / "pch.h").read_text(encoding="utf-8"), encoding="utf-8")
        partial = folder / f"pch.{os.getpid()}"
        subprocess.run([*base, "-x", "c++-header", str(header), "-o", str(partial)], check=True)
        os.replace(partial, compiled)
    return ["-include", str(header)]


# ---- Installing ------------------------------------------------------------------------------------------------------

_python = ctypes.pythonapi
_python.PyCapsule_GetName.restype = ctypes.c_char_p
_python.PyCapsule_GetName.argtypes = [ctypes.py_object]
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_keep_alive: list[Any] = []  # a new capsule borrows the old one's name


def _redirect(module: types.ModuleType, table: dict[str, str], library: ctypes.CDLL) -> None:
    """Let the C functions that `module` offers to other Cython modules be those of `library`."""
    functions = module.__pyx_capi__
    for name, symbol in table.items():
        capsule = functions[name]
        signature = _python.PyCapsule_GetName(capsule)
        _keep_alive.append((capsule, signature))
        address = ctypes.cast(getattr(library, symbol), ctypes.c_void_p)
        functions[name] = _python.PyCapsule_New(address, signature, None)


def _load_fake_libraries() -> None:
    """Load the host cuBLAS and cuRAND under the names by which CuPy looks for NVIDIA's."""
    for source, name, versions in (
        ("fakecublas.cpp", "libcublas.so.13", "cublas.map"),
        ("fakecurand.cpp", "libcurand.so.10", "curand.map"),
    ):
        options = [f"-Wl,-soname,{name}", f"-Wl,--version-script={HERE / versions}"]
        ctypes.CDLL(str(_build_library(source, options)), mode=ctypes.RTLD_GLOBAL)

    import cupy_backends.cuda.libs as libs

    real = libs._pathfinder

    def load(name: str) -> Any:
        return None if name in ("cublas", "curand") else real.load_nvidia_dynamic_lib(name)

    libs._pathfinder = types.SimpleNamespace(
        DynamicLibNotFoundError=real.DynamicLibNotFoundError, load_nvidia_dynamic_lib=load
    )


def _replace_runtime(runtime: Any, counters: Counters) -> None:
    """The functions that CuPy's Python files, unlike its Cython ones, call by name."""

    def synchronize() -> None:
        counters.syncs += 1

    runtime.getDeviceCount = lambda: 1
    runtime.getDevice = lambda: 0
    runtime.setDevice = lambda device: None
    runtime.runtimeGetVersion = lambda: 13020
    runtime.driverGetVersion = lambda: 13020
    runtime.deviceSynchronize = synchronize


def _replace_compiler() -> None:
    """Send CuPy's kernels to `host_compile` in place of NVRTC."""
    from cupy.cuda import compiler

    real_program = compiler._NVRTCProgram

    def compile_kernel(
        source: str,
        options: Sequence[str] = (),
        arch: Any = None,
        filename: str = "kern.cu",
        name_expressions: Sequence[str] | None = None,
        log_stream: Any = None,
        cache_in_memory: bool = False,
        jitify: Any = None,
        method: Any = None,
    ) -> tuple[bytes, dict[str, str] | None]:
        kernel_log.append((source, options))
        for capability in NVRTC_ARCHS:
            program = real_program(source, filename, name_expressions=name_expressions, method="cubin")
            program.compile((*options, "--device-as-default-execution-space", f"-arch=sm_{capability}"))
            compile_stats["nvrtc"] += 1
        path, mapping = host_compile(source, options, name_expressions)
        return b"HOSTSO:" + path.encode() + b"\0", mapping or None

    compiler._compile_using_nvrtc_no_warning = compile_kernel
    compiler._preprocess = lambda *args, **kwargs: "hostcuda"
    try:
        compiler._get_nvrtc_version()
    except Exception:  # no NVRTC on this machine: only its version number is asked for
        compiler._nvrtc_version = (13, 2)


def _replace_sorting() -> None:
    """Sorting is prebuilt CUDA code in the wheel: NumPy does it here."""
    import numpy as np
    from cupy.cuda import thrust

    def view(address: int, dtype: Any, shape: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)

    def sort(dtype: Any, data: int, keys: int, shape: Any, *rest: Any) -> None:
        values = view(data, dtype, shape)
        values[...] = np.sort(values, axis=-1, kind="stable")

    def argsort(dtype: Any, index: int, data: int, keys: int, shape: Any, *rest: Any) -> None:
        values = view(data, dtype, shape)
        order = np.argsort(values, axis=-1, kind="stable")
        view(index, np.intp, shape)[...] = order
        values[...] = np.take_along_axis(values.copy(), order, -1)

    def lexsort(dtype: Any, index: int, keys: int, k: int, n: int) -> None:
        view(index, np.intp, n)[...] = np.lexsort(view(keys, dtype, (k, n)))

    functions: dict[str, Callable[..., None]] = {"sort": sort, "argsort": argsort, "lexsort": lexsort}
    for name, function in functions.items():
        setattr(thrust, name, function)


def install(fake_cublas: bool = True) -> types.SimpleNamespace:
    """Redirect CUDA to this machine, import CuPy, and return `cupy`, `counters` and the library `lib`."""
    if "cupy" in sys.modules:
        raise RuntimeError("call hostcuda.install() before importing cupy")
    CACHE.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CUPY_ACCELERATORS", "")  # no CUB: its kernels are prebuilt, or need nvcc
    os.environ["CUPY_CACHE_DIR"] = str(CACHE / "cupy_cache")
    library = ctypes.PyDLL(str(_build_library("hostcuda.cpp")), mode=ctypes.RTLD_GLOBAL)
    counters = Counters.in_dll(library, "hc_counters")

    import cupy_backends.cuda.api.runtime as runtime

    _redirect(runtime, RUNTIME, library)
    import cupy_backends.cuda.api.driver as driver

    _redirect(driver, DRIVER, library)
    if fake_cublas:
        _load_fake_libraries()
    _replace_runtime(runtime, counters)

    import cupy

    _replace_compiler()
    cupy.cuda.runtime.getDeviceCount = runtime.getDeviceCount
    _replace_sorting()
    return types.SimpleNamespace(cupy=cupy, counters=counters, lib=library)
