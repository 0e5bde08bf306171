"""A contender: one library at one row, in a process of its own, which waits until it is asked.

Nothing of one reaches the other: not its threads, not its memory, not what it sets in the environment.
"""

import importlib
import multiprocessing
import os
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from . import machine
from .steps import Arrays, Given, Products, Step


class Kind(NamedTuple):
    """What a contender is, and what it needs."""

    label: str
    function: str  # of a row's file: what makes its step
    packages: tuple[str, ...] = ()  # that it imports
    program: str = ""  # that it calls
    environment: dict[str, str] = {}
    compiled: bool = False


KINDS = {
    "numpy": Kind("tinygrad_seq", "ours", ("tinygrad_seq",), environment={"TINYGRAD_SEQ_FAST": "0"}),
    "fast": Kind("tinygrad_seq, fast", "ours", ("tinygrad_seq", "numba"), environment={"TINYGRAD_SEQ_FAST": "1"}),
    "products": Kind("products alone", "products"),
    "torch": Kind("PyTorch", "in_torch", ("torch",)),
    "compile": Kind("torch.compile", "in_torch", ("torch",), program="g++", compiled=True),
    "jax": Kind("JAX jit", "in_jax", ("jax", "optax")),
    "autograd": Kind("autograd", "in_autograd", ("autograd",)),
    "dezero": Kind("DeZero", "in_dezero", ("dezero",)),
    "tinygrad": Kind("tinygrad", "in_tinygrad", ("tinygrad",), program="clang", environment={"DEV": "CPU"}),
}


PATIENCE = 600  # seconds that a contender may take for one answer: tinygrad's JIT takes minutes for an LSTM


def missing(name: str) -> str:
    """Why a contender cannot run here; empty where it can."""
    kind = KINDS[name]
    absent = [package for package in kind.packages if not machine.installed(package)]
    if absent:
        return f"not installed: pip install {' '.join(absent)}"
    if kind.program and not shutil.which(kind.program):
        return f"it needs {kind.program}, which is not there"
    if name == "fast" and not replaces():
        return "no compiled kernel takes the place of one in NumPy"
    return ""


def replaces() -> bool:
    """Whether the NumPy backend has kernels of its own, which the extra `fast` brings."""
    from tinygrad_seq.backend.kernels import KERNELS
    from tinygrad_seq.backend.numpy_backend import NumpyBackend

    return NumpyBackend.kernels != KERNELS


class Failed(Exception):
    """What a contender's process died of, or raised."""


class Contender:
    """The process of a contender, called by the names of `_Work`'s methods. It ends with the `with` block.

    Args:
        kind: what it is; module: the name of a row's file; threads: for its matrix products.
    """

    def __init__(self, kind: Kind, module: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, kind, module, threads), daemon=True)
        counts = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        with _environment(kind.environment | dict.fromkeys(counts, str(threads))):
            self.process.start()
        theirs.close()
        self.ask("imports")  # each on its own, while others start; the first `answer` is the memory after it, in MB

    def ask(self, method: str, *args: Any) -> None:
        """Let it work; `answer` waits for it."""
        try:
            self.pipe.send((method, args))
        except OSError as error:
            raise Failed("its process is gone") from error

    def answer(self) -> Any:
        try:
            if not self.pipe.poll(PATIENCE):
                self.process.kill()
                raise Failed(f"no answer within {PATIENCE} s")
            went_well, found = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(10)
            raise Failed(f"its process ended with code {self.process.exitcode}") from error
        if not went_well:
            raise Failed(found)
        return found

    def call(self, method: str, *args: Any) -> Any:
        self.ask(method, *args)
        return self.answer()

    def close(self) -> None:
        self.pipe.close()  # at which it ends
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """The environment that a new process inherits."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# -- in the process


def _serve(pipe: Any, kind: Kind, module: str, threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # what JAX's threads are counted by
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    work = _Work(kind, module)
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(work, method)(*args)
        except Exception as error:
            trace = traceback.format_exc(limit=-3)
            answer = False, f"{type(error).__name__}: {error}\n{trace}"
        pipe.send(answer)


class _Work:
    """What a contender can be asked for."""

    def __init__(self, kind: Kind, module: str) -> None:
        self.kind, self.name = kind, module
        self.step: Step

    def imports(self) -> float | None:
        self.module = importlib.import_module(self.name)
        for package in self.kind.packages:
            if package != "dezero":  # which its step has to prepare for
                importlib.import_module(package)
        return machine.resident()

    def build(self, sizes: Any, arrays: Arrays, weights: Arrays | None) -> None:
        if self.kind.function == "ours":
            import tinygrad_seq as ts

            ts.seed(0)  # the same weights in each contender of ours
        if self.kind.function == "products":
            self.step = Products(self.module.products(sizes))
        else:
            self.step = getattr(self.module, self.kind.function)(sizes, Given(arrays, weights))
        if self.kind.compiled:
            self.step.compiled()  # type: ignore[attr-defined]

    def weights(self) -> Arrays:
        return self.step.weights()  # type: ignore[attr-defined]

    def result(self) -> Arrays:
        return self.step.result()

    def turn(self, seconds: float) -> list[float]:
        """The seconds of each step of a turn, at least one; one before them is not counted: caches were another's."""
        self.step.run()
        times: list[float] = []
        while not times or sum(times) < seconds:
            start = time.perf_counter()
            self.step.run()
            times.append(time.perf_counter() - start)
        return times

    def resident(self) -> float | None:
        return machine.resident()

    def peak(self) -> float | None:
        """The peak of memory in a few steps, in MB."""
        machine.forget_peak()
        for _ in range(3):
            self.step.run()
        return machine.peak()
