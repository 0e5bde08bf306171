"""WIDTH numbers as one value of compiled code, and products of small matrices in squares of WIDTH.

numba turns loops into vector code as it sees fit; here it is said what lies in a register, and for how long.
"""

import operator
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from .compiler import jit
from .vector import (
    E_2,
    E_3,
    E_4,
    E_5,
    E_6,
    LN_2,
    LN_2_REST,
    LOG2_E,
    POINTER,
    ROUNDS,
    VECTOR,
    WIDTH,
    at,
    transposed,
)

AT_ONCE = 16 if binding.get_host_cpu_features().get("avx512f") else 4  # rows of a square whose sums fit the registers
INTEGERS = ir.VectorType(ir.IntType(32), WIDTH)


class _Lanes(types.Type):
    """WIDTH numbers of float32."""


LANES = _Lanes("lanes")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


def _all(x: Any) -> Any:
    return ir.Constant(VECTOR, [float(x)] * WIDTH)


def _vector_at(builder: Any, array: Any, k: Any) -> Any:
    return builder.bitcast(builder.gep(array, [k]), VECTOR.as_pointer())


def _spread(builder: Any, x: Any) -> Any:
    """A vector of x alone."""
    undefined, index = ir.Constant(ir.VectorType(x.type, WIDTH), ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, x, ir.Constant(index, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(index, WIDTH), None))


def _add_product(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""
    name = f"llvm.fmuladd.v{WIDTH}f32"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name
    )
    return builder.call(function, [a, b, c])


@intrinsic
def load(typing: Any, a: Any, k: Any) -> Any:
    """a[k : k + WIDTH]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        return builder.load(_vector_at(builder, array.data, args[1]), align=4)

    return LANES(a, types.intp), generate


@intrinsic
def number(typing: Any, a: Any, k: Any) -> Any:
    """What lies k numbers after the first of an array of any layout."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        return builder.load(builder.gep(array.data, [args[1]]))

    return types.float32(a, types.intp), generate


@intrinsic
def store(typing: Any, a: Any, k: Any, x: Any) -> Any:
    """a[k : k + WIDTH] = x."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        builder.store(args[2], _vector_at(builder, array.data, args[1]), align=4)
        return context.get_dummy_value()

    return types.void(a, types.intp, LANES), generate


@intrinsic
def lanes(typing: Any, x: Any) -> Any:
    """WIDTH times x."""
    return LANES(types.float32), lambda context, builder, _, args: _spread(builder, args[0])


@intrinsic
def first_lanes(typing: Any, n: Any, a: Any, b: Any) -> Any:
    """The first n lanes of a, then those of b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, a, b = args
        places = ir.Constant(INTEGERS, list(range(WIDTH)))
        n = _spread(builder, builder.trunc(n, ir.IntType(32)))
        return builder.select(builder.icmp_signed("<", places, n), a, b)

    return LANES(types.intp, LANES, LANES), generate


@intrinsic
def where(typing: Any, which: Any, k: Any, a: Any, b: Any) -> Any:
    """a where which[k : k + WIDTH], else b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        which, k, a, b = args
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, which)
        kind = ir.VectorType(ir.IntType(8), WIDTH)
        place = builder.bitcast(builder.gep(array.data, [k]), kind.as_pointer())
        true = builder.icmp_unsigned("!=", builder.load(place, align=1), ir.Constant(kind, [0] * WIDTH))
        return builder.select(true, a, b)

    return LANES(which, types.intp, LANES, LANES), generate


@intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """The larger of two, lane by lane; a where one of them is nan."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = args
        return builder.select(builder.fcmp_ordered(">", b, a), b, a)

    return LANES(LANES, LANES), generate


def _folded(builder: Any, x: Any, together: Any) -> Any:
    """All lanes as one, half of them with the other half, and so on."""
    n = WIDTH
    while n > 1:
        n //= 2
        y = builder.shuffle_vector(x, x, ir.Constant(INTEGERS, [k % n + n if k < n else k for k in range(WIDTH)]))
        x = together(x, y)
    return builder.extract_element(x, ir.Constant(ir.IntType(32), 0))


@intrinsic
def largest(typing: Any, x: Any) -> Any:
    """The largest of all lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _folded(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered(">", b, a), b, a))

    return types.float32(LANES), generate


@intrinsic
def total(typing: Any, x: Any) -> Any:
    """The sum of all lanes."""
    return types.float32(LANES), lambda context, builder, _, args: _folded(builder, args[0], builder.fadd)


@intrinsic
def exp(typing: Any, x: Any) -> Any:
    """eˣ of each, as `vector.exp` has it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (x,) = args
        y = builder.select(builder.fcmp_ordered("<", x, _all(-87.5)), _all(-87.5), x)
        rounded = _add_product(builder, y, _all(LOG2_E), _all(ROUNDS))
        n = builder.fsub(rounded, _all(ROUNDS))
        r = _add_product(builder, n, _all(-LN_2), y)
        r = _add_product(builder, n, _all(-LN_2_REST), r)
        rest = _all(E_6)
        for factor in (E_5, E_4, E_3, E_2):
            rest = _add_product(builder, rest, r, _all(factor))
        rest = _add_product(builder, builder.fmul(r, r), rest, r)
        bits = builder.shl(builder.bitcast(rounded, INTEGERS), ir.Constant(INTEGERS, [23] * WIDTH))
        power = builder.bitcast(builder.add(bits, ir.Constant(INTEGERS, [127 << 23] * WIDTH)), VECTOR)
        found = _add_product(builder, power, rest, power)
        return builder.select(builder.fcmp_ordered("<", x, _all(-87.3)), _all(0), found)

    return LANES(LANES), generate


def _arithmetic(symbol: Any, instruction: str) -> None:
    @type_callable(symbol)
    def typed(context: Any) -> Any:
        return lambda a, b: LANES if a is LANES and b is LANES else None

    @lower_builtin(symbol, _Lanes, _Lanes)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=("contract",))


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _arithmetic(_symbol, _instruction)


@jit
def highest(a: Any) -> Any:
    """The largest number of a row, which may have any length; nan is passed over."""
    found, k = a[0], 0
    if a.size >= WIDTH:
        high = load(a, 0)
        highs = high, high, high, high
        while k + 4 * WIDTH <= a.size:  # four at a time, since each waits for the one before
            highs = (
                larger(highs[0], load(a, k)),
                larger(highs[1], load(a, k + WIDTH)),
                larger(highs[2], load(a, k + 2 * WIDTH)),
                larger(highs[3], load(a, k + 3 * WIDTH)),
            )
            k += 4 * WIDTH
        high = larger(larger(highs[0], highs[1]), larger(highs[2], highs[3]))
        while k + WIDTH <= a.size:
            high = larger(high, load(a, k))
            k += WIDTH
        found = max(found, largest(high))
    for j in range(k, a.size):
        found = max(found, a[j])
    return found


# -- products


@intrinsic
def _rows(typing: Any, A: Any, z: Any, out: Any, K: Any) -> Any:
    """out (AT_ONCE, WIDTH) = Aᵀ z, for z (K, WIDTH) and as many of the WIDTH columns of A (K, WIDTH)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A, z, out, K = args
        word = ir.IntType(64)
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", K, ir.Constant(word, 0)), loop, after)
        builder.position_at_end(loop)
        k, sums = builder.phi(word), [builder.phi(VECTOR) for _ in range(AT_ONCE)]
        here = builder.mul(k, ir.Constant(word, WIDTH))
        z_k, A_k = builder.load(_vector_at(builder, z, here), align=4), builder.gep(A, [here])
        new = []
        for m in range(AT_ONCE):
            factor = _spread(builder, builder.load(builder.gep(A_k, [ir.Constant(word, m)])))
            new.append(_add_product(builder, factor, z_k, sums[m]))
        after_k = builder.add(k, ir.Constant(word, 1))
        for phi, start, step in zip(
            [k, *sums], [ir.Constant(word, 0), *[_all(0)] * AT_ONCE], [after_k, *new], strict=True
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(step, loop)
        builder.cbranch(builder.icmp_signed("<", after_k, K), loop, after)
        builder.position_at_end(after)
        for m in range(AT_ONCE):
            total = builder.phi(VECTOR)
            total.add_incoming(_all(0), before)
            total.add_incoming(new[m], loop)
            new[m] = total
        for m in range(AT_ONCE):
            builder.store(new[m], _vector_at(builder, out, ir.Constant(word, m * WIDTH)), align=4)
        return context.get_dummy_value()

    return types.void(POINTER, POINTER, POINTER, types.intp), generate


@jit
def square(A: Any, a: int, z: Any, first: int, K: int, out: Any, o: int) -> None:
    """The square out (WIDTH, WIDTH) = Aᵀ z of A (K, WIDTH), from a on, and z (K, WIDTH), from `first` on."""
    for m in range(0, WIDTH, AT_ONCE):
        _rows(at(A, a + m), at(z, first), at(out, o + m * WIDTH), K)


@jit
def turn(a: Any, first: int, out: Any, o: int) -> None:
    """A square as its transpose."""
    transposed(at(a, first), WIDTH, at(out, o), WIDTH)
