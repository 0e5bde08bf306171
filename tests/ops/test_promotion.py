"""Dtypes meet as in NumPy 2 (NEP 50): Python numbers are weak, arrays and tensors are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq import ops

DTYPES = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]
FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("b", DTYPES)
@pytest.mark.parametrize("a", DTYPES)
def test_two_tensors_meet_as_in_numpy(a: str, b: str, backend: Place) -> None:
    x, y = np.ones((2, 2), a), np.ones((2, 2), b)
    for name in ("add", "mul", "div", "maximum"):
        assert _run(name, backend.tensor(x), backend.tensor(y)).dtype == _run(name, x, y).dtype, name
    assert (backend.tensor(x) @ backend.tensor(y)).dtype == (x @ y).dtype
    assert ops.concatenate([backend.tensor(x), backend.tensor(y)]).dtype == np.concatenate([x, y]).dtype


def _run(name: str, x: Any, y: Any) -> Any:
    if isinstance(x, ts.Tensor):
        return getattr(ops, name)(x, y)
    return getattr(np, {"mul": "multiply", "div": "divide"}.get(name, name))(x, y)


@pytest.mark.parametrize(
    "run", [lambda x: x + 1, lambda x: 2.5 * x, lambda x: x / 3, lambda x: 1 - x, lambda x: x**2, lambda x: x**0.5]
)
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_python_numbers_are_weak(dtype: str, run: Callable[[Any], Any], backend: Place) -> None:
    x = np.ones(3, dtype)
    assert run(backend.tensor(x)).dtype == run(x).dtype
    if dtype in FLOATS:
        assert run(backend.tensor(x)).dtype == dtype


def test_said_in_words(backend: Place) -> None:
    f16, f32, f64 = (backend.tensor([1.0, 2.0], dtype=d) for d in FLOATS)
    integers = backend.tensor([1, 2])
    assert (f32 + f64).dtype == np.float64
    assert (f16 + f32).dtype == np.float32
    assert (f32 + 1.0).dtype == np.float32
    assert (f16 * 3).dtype == np.float16
    assert (integers + 1.0).dtype == np.float64
    assert (integers + f32).dtype == np.float64  # int64 and float32, as in NumPy
    assert (integers.to("int16") + f32).dtype == np.float32
    assert (integers / 2).dtype == np.float64
    assert (f32 > 1).dtype == np.bool_
    assert ops.exp(integers).dtype == np.float64


def test_numpy_scalars_and_arrays_are_not_weak() -> None:
    x = ts.tensor([1.0, 2.0])
    assert (x * np.float64(2)).dtype == np.float64
    assert (x * np.float32(2)).dtype == np.float32
    assert (np.ones(2) * x).dtype == np.float64
    assert (np.float64(2) * x).dtype == np.float64


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2.0]], "float32"),
        ([1, 2], "int64"),
        (3, "int64"),
        ([True, False], "bool"),
        (np.ones(2), "float64"),
        (np.ones(2, "float16"), "float16"),
        (np.float64(1), "float64"),
        (np.arange(2, dtype="int8"), "int8"),
        ([], "float32"),
    ],
)
def test_what_lists_and_arrays_become(data: Any, dtype: str, backend: Place) -> None:
    assert backend.tensor(data).dtype == dtype
    assert backend.tensor(data, dtype="float16").dtype == np.float16


@pytest.mark.parametrize("wide", ["float64", "int64", "float32"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_leafs_gradient_has_the_leafs_dtype(dtype: str, wide: str, backend: Place) -> None:
    """Also where the model computed in a wider one on the way."""
    x = backend.tensor([0.5, 1.0, 2.0], dtype=dtype, requires_grad=True)
    other = backend.tensor([1, 2, 3], dtype=wide)
    for create_graph in (False, True):
        y = (ops.tanh(x * 2) * other).sum() + (x.to("float64") ** 2).sum() + ops.stack([x, other.to("float64")]).sum()
        assert y.dtype == np.float64
        g = ts.grad(y, x, create_graph=create_graph)
        assert g.dtype == dtype
        expected = 2 * (1 - np.tanh([1.0, 2.0, 4.0]) ** 2) * [1, 2, 3] + [1.0, 2.0, 4.0] + 1
        np.testing.assert_allclose(backend.host(g.detach()), expected, rtol=1e-2 if dtype == "float16" else 1e-6)
    y.backward()
    assert x.grad is not None and x.grad.dtype == dtype


FUSED: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "softmax": (ops.softmax, ((2, 3),)),
    "log_softmax": (ops.log_softmax, ((2, 3),)),
    "gelu": (lambda x: ops.gelu(x, "tanh"), ((2, 3),)),
    "linear": (ops.linear, ((2, 3), (4, 3), (4,))),
    "layer_norm": (ops.layer_norm, ((2, 3), (3,), (3,))),
    "cross_entropy": (lambda z, w: ops.cross_entropy(z, np.array([2, 0]), weight=abs(w.detach())), ((2, 3), (3,))),
    "lstm": (lambda *a: ops.lstm(*a)[0], ((2, 3, 2), (2, 2), (2, 2), (8, 2), (8, 2), (8,))),
    "dropout": (lambda x: (ts.seed(1), ops.dropout(x))[1], ((2, 3),)),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_ops_in_a_wider_computation(name: str, backend: Place) -> None:
    """A kernel in float32 gets a gradient in float64; the leaf's stays float32."""
    fn, shapes = FUSED[name]
    rng = np.random.default_rng(0)
    for create_graph in (False, True):
        xs = [backend.tensor(rng.standard_normal(s).astype("float32"), requires_grad=True) for s in shapes]
        y = fn(*xs)
        assert y.dtype == np.float32
        weights = backend.tensor(rng.standard_normal(y.shape))
        found = ts.grad((y * weights).sum(), xs, create_graph=create_graph)
        with ts.definitions():
            expected = ts.grad((fn(*xs) * weights).sum(), xs)
        for g, e in zip(found, expected, strict=True):
            assert g.dtype == np.float32
            np.testing.assert_allclose(backend.host(g.detach()), backend.host(e), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("name", ["linear", "layer_norm", "cross_entropy", "lstm"])
def test_fused_ops_of_two_dtypes(name: str, odd: int, backend: Place) -> None:
    """Float32 beside float64 gives float64, by the definition: a kernel computes in one dtype."""
    fn, shapes = FUSED[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in shapes]
    xs = [backend.tensor(a.astype("float32") if k == odd else a, requires_grad=True) for k, a in enumerate(arrays)]
    with ts.definitions():
        expected = fn(*xs)
    y = fn(*xs)
    assert y.dtype == expected.dtype == np.float64
    # The definition of cross entropy takes the log softmax of the logits in their own dtype, here float32.
    rtol = np.finfo("float32").eps if (name, odd) == ("cross_entropy", 0) else 1e-12
    np.testing.assert_allclose(backend.host(y.detach()), backend.host(expected.detach()), rtol=rtol)
    for k, g in enumerate(ts.grad(y.sum(), xs)):
        assert g.dtype == (np.float32 if k == odd else np.float64)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "gelu", "layer_norm"])
def test_fused_ops_of_integers(name: str, backend: Place) -> None:
    fn, shapes = FUSED[name]
    x = np.arange(6).reshape(2, 3)
    y = fn(backend.tensor(x))
    assert y.dtype == np.float64
    np.testing.assert_allclose(backend.host(y), backend.host(fn(backend.tensor(x.astype(float)))), atol=1e-12)


def test_casts_and_gradients(backend: Place) -> None:
    x = backend.tensor([1.5, 2.5], requires_grad=True)
    assert x.to("float32") is x
    assert x.to("float64").requires_grad
    assert not x.to("int64").requires_grad, "integers have no gradient"
    assert not x.to("bool").requires_grad
    assert ts.grad((x * x.to("int32")).sum(), x).dtype == np.float32
    np.testing.assert_array_equal(backend.host(ts.grad((x * x.to("int32")).sum(), x)), [1, 2])
    with pytest.raises(TypeError, match=r"only floating-point tensors have gradients, got int64: use .to\('float32'\)"):
        backend.tensor([1, 2], requires_grad=True)


def test_losses_of_whole_targets_stay_in_the_dtype_of_the_input(backend: Place) -> None:
    x = backend.tensor([0.5, -1.0])
    for targets in (backend.tensor([1, 0]), backend.tensor([True, False])):
        assert ops.binary_cross_entropy_with_logits(x, targets).dtype == np.float32
        assert ops.mse_loss(x, targets).dtype == np.float32


def test_means_of_float16_do_not_overflow(backend: Place) -> None:
    x = backend.tensor(np.ones((70_000, 2), np.float16), requires_grad=True)
    targets = backend.tensor(np.zeros(70_000, int))
    weight = backend.tensor(np.ones(2, np.float16))
    for y, expected in (
        (ops.mean(x), 1),
        (ops.mse_loss(x, 0 * x), 1),
        (ops.cross_entropy(x, targets), np.log(2)),
        (ops.cross_entropy(x, targets, weight=weight), np.log(2)),
    ):
        assert y.dtype == ts.grad(y, x).dtype == np.float16
        assert backend.host(y) == pytest.approx(expected, rel=1e-3)


def test_norms_of_float16_do_not_overflow(backend: Place) -> None:
    rows = np.array([[300, -300, 100]])
    for norm in (ops.layer_norm, ops.rms_norm):
        x = backend.tensor(rows.astype(np.float16), requires_grad=True)
        y = norm(x, backend.tensor(np.ones(3, np.float16)))
        expected = norm(ts.tensor(rows.astype(np.float64))).numpy()
        assert y.dtype == ts.grad(y.sum(), x).dtype == np.float16
        np.testing.assert_allclose(backend.host(y), expected, rtol=1e-3)
        assert norm(x, backend.tensor(np.ones(3, np.float32))).dtype == np.float32, "two dtypes are promoted"
    weight = backend.tensor(np.ones(3, np.float32))
    assert ops.cross_entropy(x, backend.tensor([0]), weight=weight).dtype == np.float32


def test_a_number_to_the_power_of_a_tensor_where_there_is_no_derivative(backend: Place) -> None:
    for base in (0, -2, 0.0):
        x = backend.tensor([2.0], requires_grad=True)
        assert np.isnan(backend.host(ts.grad((base**x).sum(), x))).all(), "as with a tensor for a base"


def test_a_list_is_a_matrix() -> None:
    x = ts.tensor([[1.0], [2.0]], requires_grad=True)
    y = [[1.0, 2.0]] @ x
    assert y.tolist() == [[5.0]] and y.dtype == np.float64, "as NumPy has it"
    assert (x.T @ [[1.0], [2.0]]).tolist() == [[5.0]]
