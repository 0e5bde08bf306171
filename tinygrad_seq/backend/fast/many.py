"""Many arrays as one, for compiled code: where each lies, and work on their numbers in equal shares."""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiler import jit
from .sequence import F32
from .vector import POINTER


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.FloatType().as_pointer())

    return POINTER(types.intp), generate


@jit
def array_at(address: int, size: int) -> Any:
    """The array of float32 that lies there."""
    return numba.carray(_pointer(address), (size,))


def plain(arrays: list[Any], written: bool = False) -> bool:
    """Whether all are what compiled code takes where it knows nothing but an address; written: it writes there."""
    return all(
        a.dtype == F32 and a.flags.c_contiguous and a.flags.aligned and (a.flags.writeable or not written)
        for a in arrays
    )


def addresses(arrays: list[Any]) -> Any:
    """Where each of them lies: whoever calls holds them meanwhile."""
    return np.array([a.ctypes.data for a in arrays], np.intp)


def sizes(arrays: list[Any]) -> Any:
    return np.array([a.size for a in arrays], np.intp)
