"""What compiled kernels are made of: functions that vectorise, and a product by tiles whose weights lie ready.

Sequences run side by side in blocks of WIDTH: an array of F features for them is (F, WIDTH), flat. All arrays are flat.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiler import jit

WIDTH = 16  # sequences side by side: one AVX-512 register of float32
# Rows of a tile: nearly as many sums as there are registers. Of 128, 256, 512 and 1024 rows, 26 leave the least over.
ROWS = 26 if binding.get_host_cpu_features().get("avx512f") else 6

FLOAT, VECTOR = ir.FloatType(), ir.VectorType(ir.FloatType(), WIDTH)
POINTER = types.CPointer(types.float32)

# -- what numba has no words for


@intrinsic
def as_float(typing: Any, bits: Any) -> Any:
    """The float32 of 32 bits."""
    return types.float32(types.int32), lambda context, builder, _, args: builder.bitcast(args[0], FLOAT)


@intrinsic
def as_bits(typing: Any, x: Any) -> Any:
    """The 32 bits of a float32."""
    return types.int32(types.float32), lambda context, builder, _, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def at(typing: Any, a: Any, k: Any) -> Any:
    """The address of a[k]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        return builder.gep(array.data, [args[1]])

    return POINTER(a, types.intp), generate


def _integer(n: int) -> Any:
    return ir.Constant(ir.IntType(64), n)


def _vector_at(builder: Any, address: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(address, [offset]), VECTOR.as_pointer())


def _spread(builder: Any, x: Any) -> Any:
    """A vector of x alone."""
    undefined, index = ir.Constant(VECTOR, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, x, ir.Constant(index, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(index, WIDTH), None))


@intrinsic
def _tile(typing: Any, A: Any, z: Any, b: Any, out: Any, K: Any) -> Any:
    """out (ROWS, WIDTH) = A z + b, for A (K, ROWS), columns first, z (K, WIDTH), b (ROWS); sums stay in registers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A, z, b, out, K = args
        name = f"llvm.fmuladd.v{WIDTH}f32"
        add_product = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name
        )
        first = [_spread(builder, builder.load(builder.gep(b, [_integer(m)]))) for m in range(ROWS)]
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        k, sums = builder.phi(ir.IntType(64)), [builder.phi(VECTOR) for _ in range(ROWS)]
        z_k = builder.load(_vector_at(builder, z, builder.mul(k, _integer(WIDTH))), align=4)
        A_k = builder.gep(A, [builder.mul(k, _integer(ROWS))])
        new = []
        for m in range(ROWS):
            weight = _spread(builder, builder.load(builder.gep(A_k, [_integer(m)])))
            new.append(builder.call(add_product, [weight, z_k, sums[m]]))
        after_k = builder.add(k, _integer(1))
        for phi, start, step in zip([k, *sums], [_integer(0), *first], [after_k, *new], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(step, loop)
        builder.cbranch(builder.icmp_signed("<", after_k, K), loop, after)
        builder.position_at_end(after)
        for m in range(ROWS):
            builder.store(new[m], _vector_at(builder, out, _integer(m * WIDTH)), align=4)
        return context.get_dummy_value()

    return types.void(POINTER, POINTER, POINTER, POINTER, types.intp), generate


@intrinsic
def transposed(typing: Any, source: Any, stride: Any, target: Any, target_stride: Any) -> Any:
    """A square of WIDTH rows, `stride` apart, as its columns."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, stride, target, target_stride = args

        def row(address: Any, stride: Any, m: int) -> Any:
            return _vector_at(builder, address, builder.mul(stride, _integer(m)))

        rows = [builder.load(row(source, stride, m), align=4) for m in range(WIDTH)]
        d = 1
        while d < WIDTH:  # exchange what lies d off the diagonal, in squares of 2d
            near = [k if not k & d else WIDTH + k - d for k in range(WIDTH)]
            far = [k + d if not k & d else WIDTH + k for k in range(WIDTH)]
            for m in range(WIDTH):
                if not m & d:
                    pair = rows[m], rows[m + d]
                    for n, places in ((m, near), (m + d, far)):
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), places)
                        rows[n] = builder.shuffle_vector(*pair, mask)
            d *= 2
        for m in range(WIDTH):
            builder.store(rows[m], row(target, target_stride, m), align=4)
        return context.get_dummy_value()

    return types.void(POINTER, types.intp, POINTER, types.intp), generate


# -- functions of one number, of float32's precision, that the compiler turns into vector code

F = np.float32
LOG2_E, LN_2, LN_2_REST = F(1.4426950408889634), F(0.693359375), F(-2.12194440e-4)  # ln 2 in two parts
ROUNDS = F(1.5 * 2**23)  # added, nothing behind the point is left
# (eʳ - 1 - r) / r² for |r| ≤ ½ ln 2: least squares, weighted until the largest error of eʳ - 1 was 2⁻²⁶ of it.
E_2, E_3, E_4, E_5, E_6 = F(0.4999999804), F(0.1666653874), F(0.0416672210), F(0.0083671734), F(0.0013882397)


@jit
def _power(y: Any) -> Any:
    """(2ⁿ, eʳ - 1) with eʸ = 2ⁿ eʳ, for |y| ≤ 88."""
    rounded = y * LOG2_E + ROUNDS
    n = rounded - ROUNDS
    r = (y - n * LN_2) - n * LN_2_REST
    power = as_float((as_bits(rounded) << np.int32(23)) + np.int32(127 << 23))
    return power, r + r * r * ((((E_6 * r + E_5) * r + E_4) * r + E_3) * r + E_2)


@jit
def exp(x: Any) -> Any:
    """eˣ for x ≤ 88; 0 for what lies below the smallest normal number."""
    y = F(-87.5) if x < F(-87.5) else x
    power, rest = _power(y)
    return F(0) if x < F(-87.3) else power * rest + power


@jit
def tanh(x: Any) -> Any:
    y = abs(x + x)
    y = F(18.1) if y > F(18.1) else y
    power, rest = _power(y)
    t = power * rest + (power - F(1))  # e²ˣ - 1
    return np.copysign(t / (t + F(2)), x)


@jit
def sigmoid(x: Any) -> Any:
    y = F(88) if x < F(-88) else -x
    return near_sigmoid(F(-87) if y < F(-87) else y)


@jit
def near_sigmoid(y: Any) -> Any:
    """σ(-y) for |y| ≤ 88."""
    power, rest = _power(y)
    return F(1) / ((power * rest + power) + F(1))


# Of e^{x²/2} Φ(-x), x ≥ 0, as a polynomial in 1 / (1 + P x), from the first power on: least squares of the relative
# error, weighted until its largest was 3.3e-8.
P = F(0.35)
P_1, P_2, P_3, P_4, P_5 = F(0.139621402), F(0.139861946), F(0.119832027), F(0.105512428), F(-0.0231227375)
P_6, P_7, P_8, P_9 = F(0.159196158), F(-0.255736057), F(0.143983329), F(-0.0291485112)


@jit
def normal(x: Any) -> Any:
    """(Φ(x), e^{-x²/2}): the normal distribution's cumulative function, and its density but for 1 / √(2π)."""
    e, t = exp(F(-0.5) * x * x), F(1) / (F(1) + P * abs(x))
    series = ((((((((P_9 * t + P_8) * t + P_7) * t + P_6) * t + P_5) * t + P_4) * t + P_3) * t + P_2) * t + P_1) * t
    beyond = e * series
    return (F(1) - beyond if x > F(0) else beyond), e


# -- products with a block


@jit
def whole(n: int, part: int) -> int:
    """n rounded up to whole parts."""
    return (n + part - 1) // part * part


@jit
def pack(A: Any, row: int, column: int, M: int, part: int, out: Any, K: int, first: int) -> None:
    """A (M, part), whose element (m, k) is A[m · row + k · column], as tiles: its columns are first … of K."""
    for m in range(0, M, ROWS):
        rows = min(ROWS, M - m)
        for k in range(part):
            to, source = m * K + (first + k) * ROWS, m * row + k * column
            for r in range(rows):
                out[to + r] = A[source + r * row]


@jit
def product(A: Any, z: Any, K: int, b: Any, out: Any, M: int) -> None:
    """out (M, WIDTH) = A z + b, for packed A (M, K). b and out have room for whole tiles."""
    for m in range(0, M, ROWS):
        _tile(at(A, m * K), at(z, 0), at(b, m), at(out, m * WIDTH), K)


# -- products summed over all steps and sequences of a block: their factors are kept step by step, in the tiles' order


@jit
def keep_rows(a: Any, M: int, tiles: Any, K: int, step: int) -> None:
    """A block (M, WIDTH) as columns of packed (M, K): those of one step."""
    for m in range(0, M, ROWS):
        to = m * K + step * WIDTH * ROWS
        if ROWS >= WIDTH:  # two squares, which overlap
            transposed(at(a, m * WIDTH), WIDTH, at(tiles, to), ROWS)
            rest = ROWS - WIDTH
            transposed(at(a, (m + rest) * WIDTH), WIDTH, at(tiles, to + rest), ROWS)
        else:
            for b in range(WIDTH):
                for r in range(ROWS):
                    tiles[to + b * ROWS + r] = a[(m + r) * WIDTH + b]


@jit
def keep_columns(z: Any, N: int, columns: Any, K: int, step: int) -> None:
    """A block (N, WIDTH) as rows of (N / WIDTH, K, WIDTH): those of one step."""
    for f in range(0, N, WIDTH):
        transposed(at(z, f * WIDTH), WIDTH, at(columns, f * K + step * WIDTH * WIDTH), WIDTH)


# Terms of one sum: the shorter, the less float32 rounds. With 512 a GRU had twice PyTorch's error in weight_hh.
PART = 256


@jit
def add_products(tiles: Any, M: int, columns: Any, K: int, out: Any, N: int) -> None:
    """out (M, N) += what was kept as rows times what was kept as columns."""
    sums, zeros = np.empty(ROWS * WIDTH, np.float32), np.zeros(ROWS, np.float32)
    for k in range(0, K, PART):
        part = min(PART, K - k)
        for m in range(0, M, ROWS):
            for n in range(0, N, WIDTH):
                _tile(at(tiles, m * K + k * ROWS), at(columns, n * K + k * WIDTH), at(zeros, 0), at(sums, 0), part)
                for r in range(min(ROWS, M - m)):
                    row, total = sums[r * WIDTH : (r + 1) * WIDTH], out[(m + r) * N + n : (m + r + 1) * N]
                    if N - n >= WIDTH:
                        for c in range(WIDTH):  # known beforehand: one vector
                            total[c] += row[c]
                    else:
                        for c in range(N - n):
                            total[c] += row[c]


# -- between (batch, features) and a block


@jit
def to_block(source: Any, first: int, stride: int, n: int, features: int, block: Any) -> None:
    """n ≤ WIDTH rows of features, `stride` apart, as columns of a block, whose other columns stay."""
    f = 0
    if n == WIDTH:
        while f + WIDTH <= features:
            transposed(at(source, first + f), stride, at(block, f * WIDTH), WIDTH)
            f += WIDTH
    while f < features:
        for b in range(n):
            block[f * WIDTH + b] = source[first + b * stride + f]
        f += 1


@jit
def from_block(block: Any, features: int, target: Any, first: int, stride: int, n: int) -> None:
    """The way back."""
    f = 0
    if n == WIDTH:
        while f + WIDTH <= features:
            transposed(at(block, f * WIDTH), WIDTH, at(target, first + f), stride)
            f += WIDTH
    while f < features:
        for b in range(n):
            target[first + b * stride + f] = block[f * WIDTH + b]
        f += 1
