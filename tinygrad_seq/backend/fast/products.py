"""Products of matrices from compiled code, without the GIL: by tiles of our own, or by NumPy's BLAS.

With AVX-512 our tiles are faster at the sizes of these models, where OpenBLAS leaves a sixth of a core unused. Where
there is no AVX-512, and for shapes that leave much of a tile empty, the product is NumPy's BLAS's.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from .blas import SGEMM, blas
from .compiler import jit
from .lanes import _add_product, load, store
from .sequence import F32
from .vector import POINTER, VECTOR, WIDTH, _integer, _spread, _vector_at, at, transposed, whole

TILED = bool(binding.get_host_cpu_features().get("avx512f"))
READY = TILED or bool(SGEMM)  # whether there is a product at all

HIGH, VECTORS = 12, 2  # of a tile: 24 of the 32 registers hold its sums
WIDE = VECTORS * WIDTH
LEAST, FULL = 48, 1.15  # rows from which, and the part of tiles' work to M N from which, OpenBLAS is as fast
# What is computed from one copy: its columns and rows of B lie in a core's own cache, with as many rows of A.
DEPTH, ACROSS, DOWN = 384, 512, 4 * HIGH


def _tile_of(turned: bool) -> Any:
    @intrinsic
    def tile(typing: Any, A: Any, a_row: Any, B: Any, K: Any, start: Any, s_row: Any, C: Any, c_row: Any) -> Any:
        """C (HIGH, WIDE) = A B + start, for A (HIGH, K) or its transpose, and B (K, WIDE); sums stay in registers."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A, a_row, B, K, start, s_row, C, c_row = args

            def row(address: Any, apart: Any, m: int) -> Any:
                return builder.gep(address, [builder.mul(apart, _integer(m))])

            rows = [] if turned else [row(A, a_row, m) for m in range(HIGH)]
            zero = ir.Constant(VECTOR, [0.0] * WIDTH)
            before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
            builder.branch(loop)
            builder.position_at_end(loop)
            k, sums = builder.phi(ir.IntType(64)), [builder.phi(VECTOR) for _ in range(HIGH * VECTORS)]
            B_k = builder.gep(B, [builder.mul(k, _integer(WIDE))])
            b = [builder.load(_vector_at(builder, B_k, _integer(v * WIDTH)), align=4) for v in range(VECTORS)]
            A_k = builder.gep(A, [builder.mul(k, a_row)])
            new = []
            for m in range(HIGH):
                place = builder.gep(A_k, [_integer(m)]) if turned else builder.gep(rows[m], [k])
                factor = _spread(builder, builder.load(place))
                new += [_add_product(builder, factor, b[v], sums[m * VECTORS + v]) for v in range(VECTORS)]
            after_k = builder.add(k, _integer(1))
            for phi, begin, step in zip([k, *sums], [_integer(0), *[zero] * len(sums)], [after_k, *new], strict=True):
                phi.add_incoming(begin, before)
                phi.add_incoming(step, loop)
            builder.cbranch(builder.icmp_signed("<", after_k, K), loop, after)
            builder.position_at_end(after)
            for m in range(HIGH):
                for v in range(VECTORS):
                    begin = builder.load(_vector_at(builder, row(start, s_row, m), _integer(v * WIDTH)), align=4)
                    place = _vector_at(builder, row(C, c_row, m), _integer(v * WIDTH))
                    builder.store(builder.fadd(begin, new[m * VECTORS + v]), place, align=4)
            return context.get_dummy_value()

        n = types.intp
        return types.void(POINTER, n, POINTER, n, POINTER, n, POINTER, n), generate

    return tile


_tile, _turned_tile = _tile_of(False), _tile_of(True)


@jit
def _aligned(n: int) -> Any:
    """n numbers that begin with a cache line."""
    a = np.empty(n + WIDTH, F32)
    skip = -(a.ctypes.data // 4) % WIDTH
    return a[skip : skip + n]


@jit
def _panels(B: Any, first: int, row: int, turned: bool, K: int, N: int, out: Any) -> None:
    """(K, N) of B, or of its transpose, as panels (N / WIDE, K, WIDE), the last filled up with zeros."""
    if turned:
        for n in range(0, whole(N, WIDE), WIDTH):
            to, k = n // WIDE * WIDE * K + n % WIDE, 0
            if N - n >= WIDTH:
                while k + WIDTH <= K:
                    transposed(at(B, first + n * row + k), row, at(out, to + k * WIDE), WIDE)
                    k += WIDTH
            while k < K:
                for c in range(WIDTH):
                    out[to + k * WIDE + c] = B[first + (n + c) * row + k] if n + c < N else F32(0)
                k += 1
    else:
        for k in range(K):
            source, to = first + k * row, k * WIDE
            for _ in range(N // WIDE):
                for v in range(0, WIDE, WIDTH):
                    store(out, to + v, load(B, source + v))
                source, to = source + WIDE, to + K * WIDE
            if N % WIDE:
                for c in range(WIDE):
                    out[to + c] = B[source + c] if c < N % WIDE else F32(0)


@jit
def _rows(A: Any, first: int, row: int, K: int, M: int, out: Any, width: int) -> None:
    """K rows of M numbers, `width` apart: so that they do not all fall on the same lines of the cache."""
    for k in range(K):
        source, to = first + k * row, k * width
        for m in range(0, M - WIDTH + 1, WIDTH):
            store(out, to + m, load(A, source + m))
        for m in range(M // WIDTH * WIDTH, M):
            out[to + m] = A[source + m]
        for m in range(M, whole(M, HIGH)):
            out[to + m] = F32(0)


@jit
def _tiled(
    M: int,
    N: int,
    K: int,
    A: Any,
    a: int,
    a_row: int,
    turn_a: bool,
    B: Any,
    b: int,
    b_row: int,
    turn_b: bool,
    C: Any,
    c: int,
    c_row: int,
    bias: Any,
) -> None:
    parts = (K + DEPTH - 1) // DEPTH
    depth, width = (K + parts - 1) // parts, whole(min(M, DOWN), WIDTH) + WIDTH
    panels, edge, zeros = _aligned(whole(min(N, ACROSS), WIDE) * depth), np.empty(HIGH * WIDE, F32), np.zeros(WIDE, F32)
    copied = _aligned(depth * width if turn_a else HIGH * depth)
    for n_0 in range(0, N, ACROSS):
        n_all = min(ACROSS, N - n_0)
        for part in range(parts):
            k_0 = K * part // parts
            k_all = K * (part + 1) // parts - k_0
            _panels(B, b + (n_0 * b_row + k_0 if turn_b else k_0 * b_row + n_0), b_row, turn_b, k_all, n_all, panels)
            for m_0 in range(0, M, DOWN):
                m_all = min(DOWN, M - m_0)
                if turn_a:
                    _rows(A, a + k_0 * a_row + m_0, a_row, k_all, m_all, copied, width)
                for n in range(0, n_all, WIDE):
                    columns, panel = min(WIDE, n_all - n), at(panels, n * k_all)
                    for m in range(0, m_all, HIGH):
                        rows = min(HIGH, m_all - m)
                        here, there = c + (m_0 + m) * c_row + n_0 + n, a + (m_0 + m) * a_row + k_0
                        if rows == HIGH and columns == WIDE:
                            if part:
                                start, s_row = at(C, here), c_row
                            elif bias.size:
                                start, s_row = at(bias, n_0 + n), 0
                            else:
                                start, s_row = at(zeros, 0), 0
                            if turn_a:
                                _turned_tile(at(copied, m), width, panel, k_all, start, s_row, at(C, here), c_row)
                            else:
                                _tile(at(A, there), a_row, panel, k_all, start, s_row, at(C, here), c_row)
                            continue
                        if turn_a:
                            _turned_tile(at(copied, m), width, panel, k_all, at(zeros, 0), 0, at(edge, 0), WIDE)
                        elif rows == HIGH:
                            _tile(at(A, there), a_row, panel, k_all, at(zeros, 0), 0, at(edge, 0), WIDE)
                        else:
                            for r in range(HIGH):  # the last row stands for those that are not there
                                for k in range(k_all):
                                    copied[r * k_all + k] = A[there + min(r, rows - 1) * a_row + k]
                            _tile(at(copied, 0), k_all, panel, k_all, at(zeros, 0), 0, at(edge, 0), WIDE)
                        for r in range(rows):
                            for j in range(columns):
                                was = C[here + r * c_row + j] if part else bias[n_0 + n + j] if bias.size else F32(0)
                                C[here + r * c_row + j] = was + edge[r * WIDE + j]


@jit
def multiply(
    sgemm: int,
    M: int,
    N: int,
    K: int,
    A: Any,
    a: int,
    a_row: int,
    turn_a: bool,
    B: Any,
    b: int,
    b_row: int,
    turn_b: bool,
    C: Any,
    c: int,
    c_row: int,
    bias: Any,
) -> None:
    """C (M, N) = A (M, K) B (K, N) + bias (N), which may be empty; K is at least 1.

    All are flat; a, b, c say where a matrix begins, a_row … how far apart its rows lie, turn_a … whether what lies
    there is its transpose. sgemm is `SGEMM`, which compiled code must not hold: it is another one in each process.
    """
    fills = M >= LEAST and whole(M, HIGH) * whole(N, WIDE) < FULL * M * N
    if TILED and (fills or not sgemm):
        _tiled(M, N, K, A, a, a_row, turn_a, B, b, b_row, turn_b, C, c, c_row, bias)
    elif M and N:
        if bias.size:
            for m in range(M):
                row = C[c + m * c_row : c + m * c_row + N]
                for n in range(N):
                    row[n] = bias[n]
        beta = F32(1) if bias.size else F32(0)
        blas(sgemm, turn_a, turn_b, M, N, K, at(A, a), a_row, at(B, b), b_row, beta, at(C, c), c_row)
