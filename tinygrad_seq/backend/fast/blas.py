"""Products by NumPy's BLAS from compiled code, which calls it by its address and holds no GIL."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..threads import blas_address
from .vector import FLOAT, POINTER

SGEMM = blas_address("cblas_sgemm")  # 0 where NumPy has another BLAS than the OpenBLAS of its wheels
WORD, KIND = ir.IntType(64), ir.IntType(32)
AS_IT_IS, TURNED = 111, 112  # CBLAS's names for a matrix and its transpose


@intrinsic
def blas(
    typing: Any,
    address: Any,
    turn_a: Any,
    turn_b: Any,
    M: Any,
    N: Any,
    K: Any,
    a: Any,
    a_row: Any,
    b: Any,
    b_row: Any,
    beta: Any,
    c: Any,
    c_row: Any,
) -> Any:
    """C = A B + beta C: cblas_sgemm at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, turn_a, turn_b, M, N, K, a, a_row, b, b_row, beta, c, c_row = args
        pointer = FLOAT.as_pointer()
        kinds = [KIND] * 3 + [WORD] * 3 + [FLOAT, pointer, WORD, pointer, WORD, FLOAT, pointer, WORD]
        function = builder.inttoptr(address, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        as_it_is, turned = ir.Constant(KIND, AS_IT_IS), ir.Constant(KIND, TURNED)
        turns = [builder.select(turn, turned, as_it_is) for turn in (turn_a, turn_b)]
        by_rows, one = ir.Constant(KIND, 101), ir.Constant(FLOAT, 1.0)
        builder.call(function, [by_rows, *turns, M, N, K, one, a, a_row, b, b_row, beta, c, c_row])
        return context.get_dummy_value()

    n = types.intp
    inputs = (n, types.boolean, types.boolean, n, n, n, POINTER, n, POINTER, n, types.float32, POINTER, n)
    return types.void(*inputs), generate
