"""Every row of the table of operations, through every check."""

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from cases import Row, rows
from conftest import Place
from tinygrad_seq.core import FusedOp, Op
from tinygrad_seq.core.op import Slot
from tinygrad_seq.core.tracing import Tracer, traced_by
from tinygrad_seq.testing import check_fused, check_grads

HOME = Place("numpy", "cpu")
TABLE = list(rows())
every_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
with_gradient = pytest.mark.parametrize("row", [row for row in TABLE if row.order], ids=lambda row: row.id)

# Relative and absolute: rounding in the reference is in float64.
EXACT = {np.dtype("float64"): 1e-12, np.dtype("float32"): 1e-5, np.dtype("float16"): 1e-2}
# Not for integers: what they stand for there has no use, or no counterpart in NumPy.
FLOATS_ONLY = {
    "astype",
    "attend",
    "attention",
    "crf",
    "crf_log_likelihood",
    "crf_step",
    "cross_entropy",
    "einsum",
    "gru",
    "gru_attention_decoder",
    "gru_cho",
    "kl_div",
    "logsumexp",
    "lstm",
    "luong_output",
    "masked_softmax",
    "mlp_score",
    "multi_head",
    "multi_head_attention",
    "rnn",
    "scaled_dot_product_attention",
    "scaled_dot_score",
    "scan",
    "self_attention",
}
# Operations exercised by another test than the table's, and by which.
ELSEWHERE = {"ToDevice": "tests/ops/test_devices.py: it needs two devices"}


def flat(outputs: Any) -> list[Any]:
    return [y for part in outputs for y in flat(part)] if isinstance(outputs, tuple | list) else [outputs]


def tensors(row: Row, place: Place, dtype: Any = np.float64, requires_grad: bool = True) -> list[ts.Tensor]:
    return [place.tensor(a, requires_grad=requires_grad and a.dtype.kind == "f") for a in row.arrays(dtype)]


def waiting(row: Row, place: Place) -> contextlib.AbstractContextManager[Any]:
    return place.reading() if row.reads else contextlib.nullcontext()


def run(row: Row, place: Place, xs: list[ts.Tensor]) -> list[ts.Tensor]:
    with waiting(row, place):
        return flat(row.run(*xs))


def weights(ys: list[ts.Tensor], place: Place) -> list[ts.Tensor]:
    rng = np.random.default_rng(5)
    return [place.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in ys]


def gradients(row: Row, place: Place, xs: list[ts.Tensor], create_graph: bool = False) -> list[ts.Tensor]:
    leaves = [x for x in xs if x.requires_grad]
    ys = [y for y in run(row, place, xs) if y.requires_grad]
    with waiting(row, place):
        return list(ts.grad(ys, leaves, weights(ys, place), create_graph=create_graph)) if ys else []


def again(row: Row, first: list[ts.Tensor], xs: list[ts.Tensor], place: Place) -> list[ts.Tensor]:
    """The gradient of the gradient."""
    graphed = [g for g in first if g.requires_grad]
    with waiting(row, place):
        return list(ts.grad(graphed, [x for x in xs if x.requires_grad], weights(graphed, place)))


@every_row
def test_values_and_dtypes(row: Row, backend: Place) -> None:
    """Values are NumPy's; floating-point results keep the dtype of the inputs, others have NumPy's."""
    for dtype in ("float64", "float32", "float16"):
        with np.errstate(divide="ignore"):  # log 0 = -inf is meant where a row has it
            outputs = run(row, backend, tensors(row, backend, dtype))
        reference = row.arrays(dtype)
        if row.op != "astype":  # as exact as NumPy can be
            reference = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in reference]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of means of nothing
            expected = [np.asarray(e) for e in flat(row.numpy(*reference))]
        assert len(outputs) == len(expected)
        for y, e in zip(outputs, expected, strict=True):
            assert isinstance(y, ts.Tensor)
            assert y.shape == e.shape
            assert y.dtype == (e.dtype if e.dtype.kind != "f" or row.op == "astype" else dtype)
            exact = EXACT.get(y.dtype, 0)
            with np.errstate(over="ignore"):
                e = e.astype(y.dtype)
            np.testing.assert_allclose(backend.host(y), e, rtol=exact, atol=exact)


@pytest.mark.parametrize("row", [row for row in TABLE if row.op not in FLOATS_ONLY], ids=lambda row: row.id)
def test_integers(row: Row) -> None:
    """Values and dtypes of integers are NumPy's, and so is what cannot be done with them."""
    for dtype in ("int64", "int32"):
        arrays = [np.round(3 * a).astype(dtype) if a.dtype.kind == "f" else a for a in row.arrays()]
        xs = [ts.tensor(a) for a in arrays]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                expected = flat(row.numpy(*arrays))
            except ValueError as error:
                with pytest.raises(ValueError, match=str(error)):
                    row.run(*xs)
                continue
            outputs = flat(row.run(*xs))
        for y, e in zip(outputs, expected, strict=True):
            assert y.dtype == np.asarray(e).dtype
            np.testing.assert_allclose(y.numpy(), e, rtol=1e-12, atol=1e-12)


@with_gradient
def test_gradients(row: Row) -> None:
    """Plain, create_graph and numeric gradients agree to the second order; kernels are their definitions."""
    with np.errstate(all="raise", under="ignore"):
        if row.corner is None:
            (check_fused if row.fused else check_grads)(row.run, row.arrays(), row.order)
            return
        for create_graph in (False, True):
            xs = tensors(row, HOME)
            g = ts.grad(run(row, HOME, xs)[0].sum(), xs[0], create_graph=create_graph)
            np.testing.assert_allclose(g.numpy(), row.corner, rtol=1e-15)


@with_gradient
def test_gradients_on_the_device(row: Row, device: Place) -> None:
    """The first gradient, and the gradient of the gradient, are those on NumPy, and nothing waits for the device."""
    for dtype in ("float64", "float32"):
        first = gradients(row, device, xs := tensors(row, device, dtype), create_graph=True)
        plain = gradients(row, device, tensors(row, device, dtype))
        expected = gradients(row, HOME, ys := tensors(row, HOME, dtype), create_graph=True)
        exact = EXACT[np.dtype(dtype)]
        for g, p, e in zip(first, plain, expected, strict=True):
            assert g.dtype == p.dtype == dtype
            np.testing.assert_allclose(device.host(g), e.numpy(), rtol=exact, atol=exact)
            np.testing.assert_allclose(device.host(p), e.numpy(), rtol=exact, atol=exact)
        if dtype == "float64" and row.corner is None and any(e.requires_grad for e in expected):
            second = zip(again(row, first, xs, device), again(row, expected, ys, HOME), strict=True)
            for g, e in second:
                np.testing.assert_allclose(device.host(g), e.numpy(), rtol=1e-11, atol=1e-11)


def transposed(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a) if a.ndim else a


def strided(a: np.ndarray) -> np.ndarray:
    wide = np.full([2 * n for n in a.shape], 99, a.dtype)
    every_second = tuple(slice(None, None, 2) for _ in a.shape)
    wide[every_second] = a
    return wide[every_second]


def negative(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy())


@with_gradient
def test_layouts(row: Row) -> None:
    """How an array lies in memory changes nothing."""
    plain = tensors(row, HOME)
    values = [y.numpy() for y in run(row, HOME, plain)]
    expected = [g.numpy() for g in gradients(row, HOME, plain)]
    for layout in (transposed, strided, negative):
        laid = tensors(row, HOME)
        for x in laid:  # `tensor` copies into plain order; an op's output need not have it
            x.data = layout(x.data)
        for y, e in zip(run(row, HOME, laid), values, strict=True):
            np.testing.assert_allclose(y.numpy(), e, rtol=1e-12, atol=1e-12)
        for create_graph in (False, True):
            for g, e in zip(gradients(row, HOME, laid, create_graph), expected, strict=True):
                np.testing.assert_allclose(g.numpy(), e, rtol=1e-12, atol=1e-12)


class Aliases(Tracer):
    """The operations that say `makes_new` and give a gradient that is, or shares an element with, something else."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def before_backward(self, op: Any, g: Any) -> None:
        self.inputs = list(op.kept[0]) if op.makes_new else []

    def after_backward(self, op: Any, g: Any, gs: tuple[Any, ...]) -> None:
        if op.makes_new:
            new = [g_k for g_k in gs if isinstance(g_k, np.ndarray)]
            others = [a for a in (*self.inputs, *(g if isinstance(g, list) else [g])) if isinstance(a, np.ndarray)]
            pairs = itertools.chain(itertools.product(new, others), itertools.combinations(new, 2))
            if any(np.shares_memory(a, b) for a, b in pairs):
                self.found.append(type(op).__name__)


@pytest.mark.parametrize("row", [row for row in TABLE if row.fused], ids=lambda row: row.id)
def test_the_gradients_of_a_kernel_are_new(row: Row) -> None:
    """The engine adds up in them."""
    for dtype in (np.float64, np.float32):
        tracer = Aliases()
        with traced_by(tracer):
            gradients(row, HOME, tensors(row, HOME, dtype))
        assert tracer.found == []


# -- nothing is left out


def kinds(family: type[Op] = Op) -> Iterator[type[Op]]:
    """Every class of operation in tinygrad_seq.ops that can be applied."""
    for kind in family.__subclasses__():
        yield from kinds(kind)
        if kind.__module__.startswith("tinygrad_seq.ops") and {"backward", "definition"} & set(vars(kind)):
            yield kind


def nodes(ys: list[ts.Tensor]) -> set[type[Op]]:
    """The kinds of operation in the graph of these tensors."""
    waiting, seen, found = [y.place for y in ys], set(), set()
    while waiting:
        place = waiting.pop()
        op = place.op if isinstance(place, Slot) else place
        if isinstance(op, Op) and id(op) not in seen:
            seen.add(id(op))
            found.add(type(op))
            waiting += op.sources
    return found


def test_every_function_has_a_row() -> None:
    functions = {name for name in ts.ops.__all__ if not isinstance(getattr(ts.ops, name), type)}
    missing = functions - {row.op for row in TABLE}
    assert not missing, f"no row in tests/cases.py for {sorted(missing)}"
    unknown = {row.op for row in TABLE} - functions
    assert not unknown, f"rows for what tinygrad_seq.ops does not have: {sorted(unknown)}"


def test_every_operation_is_exercised() -> None:
    found: set[type[Op]] = set()
    for row in TABLE:
        if row.order:
            xs = tensors(row, HOME)
            found |= nodes([y for y in run(row, HOME, xs) if y.requires_grad])
            found |= nodes(gradients(row, HOME, xs, create_graph=True))
    missing = {kind.__name__ for kind in kinds()} - {kind.__name__ for kind in found} - set(ELSEWHERE)
    assert not missing, f"no row in tests/cases.py applies {sorted(missing)}"
    assert not {name for name in ELSEWHERE if name in {kind.__name__ for kind in found}}, "no longer elsewhere"


def test_every_kernel_is_checked_against_its_definition() -> None:
    found: set[type[Op]] = set()
    for row in TABLE:
        if row.fused:
            found |= nodes([y for y in run(row, HOME, tensors(row, HOME)) if y.requires_grad])
    missing = {kind.__name__ for kind in kinds(FusedOp)} - {kind.__name__ for kind in found}
    assert not missing, f"no row in tests/cases.py with fused=True applies {sorted(missing)}"


def test_names_of_rows_are_different() -> None:
    assert len({row.id for row in TABLE}) == len(TABLE)
