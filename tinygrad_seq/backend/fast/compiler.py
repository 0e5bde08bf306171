"""How the compiled kernels are compiled: by numba, once for a machine, and said in one line where it takes its time."""

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from . import CannotCompile


class _Notice(event.Listener):
    """Says once that compiling has begun; what is read from the cache is not compiled."""

    def on_start(self, event: Any) -> None:
        if not self.said:
            self.said = True
            print("tinygrad_seq: compiling kernels for this machine, once; this takes some seconds", file=sys.stderr)

    def on_end(self, event: Any) -> None:
        pass

    said = False


event.register("numba:compile", _Notice())


def cache_folder() -> str:
    """Where compiled code lies: named after the text of all these files, since numba itself looks at one alone."""
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    root = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "tinygrad_seq"
    )
    folder = os.path.join(root, f"kernels-{hashlib.sha256(text).hexdigest()[:16]}")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:  # read-only: compiled anew in each process
        return ""


_FOLDER = cache_folder()


def jit(function: Callable[..., Any], *freedom: str) -> Any:
    """A function compiled for the arguments of its first call, that runs without the GIL.

    nan and inf go through, and sums keep their order; a product and a sum may become one operation.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _FOLDER
    try:
        fastmath = {"contract", *freedom}
        return numba.njit(function, cache=bool(_FOLDER), nogil=True, fastmath=fastmath, error_model="numpy")
    finally:
        numba.config.CACHE_DIR = before


def reduction(function: Callable[..., Any]) -> Any:
    """The same where the order of a sum is free, so that it can be taken in vectors."""
    return jit(function, "reassoc")


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what is called from Python: raises CannotCompile where numba fails."""
    compiled, ready = jit(function), False

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal ready  # to ask numba takes longer than a small kernel
        if ready:
            return compiled(*arguments)
        try:
            result = compiled(*arguments)
        except Exception as error:
            raise CannotCompile(f"{function.__name__}: {type(error).__name__}: {error}") from error
        ready = True
        return result

    return call
