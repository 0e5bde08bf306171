"""Compiled kernels (the extra `fast`, numba) for float32 on the CPU: which there are, and when they run.

numba is looked for when the first of them could run. TINYGRAD_SEQ_FAST=0 keeps the plain kernels; they also run where
numba is not installed, where it fails (with one warning), and for what no compiled kernel takes.
"""

import importlib.util
import os
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..base import Kernel
from ..kernels import KERNELS as PLAIN

# What is compiled -> the file here that has it. A kernel's forward gives None for what it leaves to the plain one.
FILES = {
    "adam": "adam",
    "add": "sums",
    "add_rows": "embedding",
    "attention": "attention",
    "cross_entropy": "loss",
    "dropout": "dropout",
    "exact_gelu": "gelu",
    "feed_forward": "feed_forward",
    "gelu": "gelu",
    "gru_attention_decoder": "attention_decoder",
    "gru_sequence": "gru",
    "layer_norm": "norm",
    "linear": "linear",
    "log_softmax": "softmax",
    "lstm_sequence": "lstm",
    "masked_softmax": "softmax",
    "multi_head_attention": "attention",
    "rnn_sequence": "rnn",
    "scaled": "clip",
    "softmax": "softmax",
    "squares": "clip",
    "times": "linear",
}
# Queries from which attention is compiled where nothing is kept: a GPT with 4 heads wrote 8 texts as fast either way,
# 32 texts 1.16 times as fast as with NumPy's four passes.
MANY = 64


class CannotCompile(Exception):
    """numba is there, and fails on one of our functions."""


class _Tape(NamedTuple):
    """What a compiled forward pass leaves for its backward pass."""

    kernel: Kernel
    kept: Any


_found: dict[str, Any] = {}  # what was looked for until now


def compiled(name: str) -> Any:
    """The compiled kernel; None where it is not to be had."""
    if name not in _found:
        _found[name] = _import(name) if os.environ.get("TINYGRAD_SEQ_FAST") != "0" else None
    return _found[name]


def in_use() -> str:
    """ "fast" where compiled kernels run for what they take, "numpy" where none does."""
    if os.environ.get("TINYGRAD_SEQ_FAST") == "0" or (FILES.keys() <= _found.keys() and not any(_found.values())):
        return "numpy"
    return "fast" if importlib.util.find_spec("numba") else "numpy"


def _import(name: str) -> Any:
    try:
        return getattr(importlib.import_module(f".{FILES[name]}", __name__), name)
    except ImportError as error:
        if error.name != "numba" or not isinstance(error, ModuleNotFoundError):  # it is installed, and unusable
            _give_up(error)
        return None


def _give_up(error: Exception) -> None:
    """From here on the plain kernels, with one warning."""
    if not FILES.keys() <= _found.keys() or any(_found.values()):
        warnings.warn(
            f"tinygrad_seq: the compiled kernels cannot be used, so NumPy computes ({type(error).__name__}: {error}); "
            "TINYGRAD_SEQ_FAST=0 says that it should",
            RuntimeWarning,
            stacklevel=5,
        )
    _found.update(dict.fromkeys(FILES))


def _replacing(plain: Kernel, name: str) -> Kernel:
    """The compiled kernel where there is one for these inputs, else the plain one."""

    def forward(be: Any, *inputs: Any, **static: Any) -> tuple[Any, Any]:
        if inputs[0].dtype == np.float32 and inputs[0].size and (kernel := compiled(name)) is not None:
            try:
                found = kernel.forward(be, *inputs, **static)
                if found is not None:
                    return found[0], _Tape(kernel, found[1])
            except CannotCompile as error:
                _give_up(error)
        return plain.forward(be, *inputs, **static)

    def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, **static: Any) -> Any:
        if type(tape) is _Tape:
            try:
                return tape.kernel.backward(be, tape.kept, inputs, g, needs, **static)
            except CannotCompile as error:
                _give_up(error)
            tape = plain.forward(be, *inputs, **static)[1]
        return plain.backward(be, tape, inputs, g, needs, **static)

    return Kernel(forward, backward, plain.infer)


def _infer_attention(be: Any, q: Any, *others: Any, **static: Any) -> Any:
    """For one query of each sequence and head: NumPy's, unless they are many."""
    many = q.size >= MANY * q.shape[-1] and q.dtype == np.float32
    if many and compiled("attention") is not None:
        return None
    infer = PLAIN["attention"].infer
    assert infer is not None
    return infer(be, q, *others, **static)


KERNELS = {name: _replacing(plain, name) for name, plain in PLAIN.items() if name in FILES}
KERNELS["attention"] = KERNELS["attention"]._replace(infer=_infer_attention)


def ask(name: str, arrays: Iterable[Any], *arguments: Any) -> Any:
    """What a compiled function gives where some arrays, of its arguments, are of float32; None: it is left to NumPy."""
    if any(a.dtype != np.float32 for a in arrays) or (function := compiled(name)) is None:
        return None
    try:
        return function(*arguments)
    except CannotCompile as error:
        _give_up(error)
        return None
