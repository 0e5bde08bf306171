"""Tensor: made from what, shown as what, and how it meets NumPy and Python."""

import copy
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as ts

# -- making one


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        (3, np.int64),
        (True, np.bool_),
        ([True, False], np.bool_),
        ([], np.float32),
        (np.float64(2.0), np.float64),
        (np.float32(2.0), np.float32),
        (np.zeros(2, np.float16), np.float16),
        (np.zeros(2, np.uint8), np.uint8),
        (np.zeros((0, 3)), np.float64),
    ],
)
def test_dtypes(data: object, dtype: type) -> None:
    t = ts.tensor(data)
    assert t.dtype == dtype
    assert t.device == "cpu" and not t.requires_grad and t.grad is None


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8", "bool", np.float64, int])
def test_a_dtype_given(dtype: object) -> None:
    assert ts.tensor([0.0, 1.0], dtype=dtype).dtype == np.dtype(dtype)


def test_an_array_is_copied_and_so_is_a_tensor() -> None:
    array = np.ones(2)
    t = ts.tensor(array)
    again = ts.tensor(t, requires_grad=True)
    array[0] = 5
    t.data[1] = 7
    assert t.data.tolist() == [1, 7] and again.data.tolist() == [1, 1] and again.requires_grad


def test_errors_of_tensor() -> None:
    with pytest.raises(TypeError, match="only floating-point tensors have gradients, got int64: use .to"):
        ts.tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="got complex128"):
        ts.tensor([1j])
    with pytest.raises(TypeError, match="got complex64"):
        ts.tensor([1.0], dtype="complex64")
    with pytest.raises(TypeError, match="expected floating-point numbers, integers or booleans, got <U1"):
        ts.tensor(["a"])
    with pytest.raises(TypeError, match="got object"):
        ts.tensor([None])
    with pytest.raises(ValueError, match="tensor: expected rows of equal length"):
        ts.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="unknown device 'tpu': expected 'cpu' or 'cuda'"):
        ts.tensor([1.0], device="tpu")


# -- requires_grad


def test_requires_grad_is_set_on_leaves() -> None:
    t = ts.tensor([1.0])
    t.requires_grad = True
    (t * 2).sum().backward()
    assert t.grad.item() == 2
    t.requires_grad = True  # no change: the gradient stays
    assert t.grad.item() == 2
    t.requires_grad = False
    assert t.grad is None and not (t * 2).requires_grad
    y = ts.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(ValueError, match="requires_grad is set on leaves.*detach"):
        y.requires_grad = False
    with pytest.raises(TypeError, match="only floating-point"):
        ts.tensor([1]).requires_grad = True


def test_grad_setter() -> None:
    t = ts.tensor([1.0, 2.0], requires_grad=True)
    t.grad = ts.tensor([3.0, 4.0])
    assert t.grad.tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"expected \(2,\), got \(3,\)"):
        t.grad = ts.tensor([1.0, 2.0, 3.0])
    t.grad = None
    frozen = ts.tensor([1.0])
    frozen.grad = None  # forgetting what is not there: `zero_grad` does that to frozen weights
    with pytest.raises(ValueError, match="made without requires_grad=True"):
        frozen.grad = ts.tensor([1.0])


# -- with NumPy


@pytest.mark.parametrize("array", [np.arange(4.0).reshape(2, 2), np.float64(2.0), np.ones((1, 2), np.float32)])
def test_numpy_on_the_left_is_ours(array: np.ndarray) -> None:
    t = ts.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    for ours, theirs in (
        (array + t, array + t.data),
        (array - t, array - t.data),
        (array * t, array * t.data),
        (array / t, array / t.data),
        (abs(array) ** t, abs(array) ** t.data),
        (array == t, array == t.data),
        (array < t, array < t.data),
    ):
        assert isinstance(ours, ts.Tensor)
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-14)
    if array.ndim:
        y = array @ t
        assert isinstance(y, ts.Tensor) and y.requires_grad
        np.testing.assert_allclose(y.data, array @ t.data)


def test_python_numbers_and_lists_on_the_left() -> None:
    t = ts.tensor([1.0, 2.0], requires_grad=True)
    for y, expected in ((2 + t, [3, 4]), (2 - t, [1, 0]), (2 * t, [2, 4]), (2 / t, [2, 1]), (2**t, [2, 4])):
        assert y.tolist() == expected and y.dtype == np.float32 and y.requires_grad


def test_asarray_of_a_tensor_with_gradient_raises() -> None:
    t = ts.tensor([1.0], requires_grad=True)
    for convert in (
        np.asarray,
        np.array,
        lambda t: np.zeros(1) + np.asarray(t),
        lambda t: np.add(np.ones(1), np.array(t)),
    ):
        with pytest.raises(TypeError, match=r"NumPy would drop the gradient.*detach\(\).numpy\(\)"):
            convert(t)
    with pytest.raises(TypeError):
        np.add(np.ones(1), t)  # a ufunc is none of ours, and cannot be differentiated
    constant = t.detach()
    assert np.asarray(constant) is not None and np.shares_memory(np.asarray(constant), t.data)
    assert np.asarray(constant, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(constant), t.data)


def test_reading_values() -> None:
    t = ts.tensor([[1.5]])
    assert (t.item(), float(t), int(t), bool(t), t.tolist()) == (1.5, 1.5, 1, True, [[1.5]])
    assert isinstance(ts.tensor(2).item(), int)
    assert t.numpy() is t.data
    with pytest.raises(ValueError, match=r"item\(\) needs exactly one element, this tensor has shape \(2,\)"):
        ts.tensor([1.0, 2.0]).item()
    scalar = ts.tensor([1.0, 2.0]).sum()  # NumPy gives a scalar here, not an array
    assert isinstance(scalar.numpy(), np.ndarray) and scalar.shape == () and scalar.device == "cpu"


def test_length_iteration_and_membership() -> None:
    t = ts.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(t)
    assert len(t) == 2 and [row.tolist() for row in rows] == [[1, 2], [3, 4]]
    (rows[1] * 3).sum().backward()
    assert t.grad.tolist() == [[0, 0], [3, 3]]
    a, b = ts.tensor([5, 6])
    assert (a.item(), b.item()) == (5, 6)
    with pytest.raises(TypeError, match=r"shape \(\) has no length"):
        len(ts.tensor(1.0))
    with pytest.raises(TypeError, match=r"shape \(\) has no length"):
        iter(ts.tensor(1.0)).__next__()


def test_a_tensor_is_found_again_in_a_dict() -> None:
    a, b = ts.tensor([1.0]), ts.tensor([1.0])
    table = {a: "a", b: "b"}
    assert table[a] == "a" and table[b] == "b" and len({a, b, a}) == 2


# -- shown


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (ts.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (ts.tensor(1.0), "tensor(1.)"),
        (ts.tensor([1, 2]), "tensor([1, 2])"),
        (ts.tensor([True]), "tensor([ True])"),
        (ts.tensor([1.0], dtype="float64"), "tensor([1.], dtype=float64)"),
        (ts.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (ts.tensor([[1.0], [2.0]]), "tensor([[1.],\n        [2.]])"),
        (ts.tensor(np.zeros((0, 2), np.float32)), "tensor([], shape=(0, 2))"),
    ],
)
def test_repr(t: ts.Tensor, text: str) -> None:
    if t.size:
        assert repr(t) == text
    else:
        assert repr(t).startswith("tensor([]")


def test_repr_of_a_large_tensor_is_short() -> None:
    assert len(repr(ts.tensor(np.zeros((1000, 1000))))) < 500


def test_names() -> None:
    for t in (ts.tensor([1.0]), ts.tensor([1.0], requires_grad=True), ts.tensor([1.0], requires_grad=True) * 2):
        assert t.name is None
        t.name = "x"
        assert t.name == "x" and t.detach().name == "x"


# -- copies


def test_deepcopy() -> None:
    t = ts.tensor([1.0, 2.0], requires_grad=True)
    t.name = "t"
    (t * 2).sum().backward()
    a, b = copy.deepcopy([t, t])
    assert a is b, "what was one tensor stays one"
    assert a.requires_grad and a.name == "t" and a.place is not t.place
    a.data[0] = 9
    assert t.data[0] == 1
    p = copy.deepcopy(ts.Parameter(np.ones(2)))
    assert type(p) is ts.Parameter and p.requires_grad
    p.requires_grad = False
    assert not copy.deepcopy(p).requires_grad
    assert not copy.deepcopy(ts.tensor([1])).requires_grad
    with pytest.raises(ValueError, match="only leaves and constants can be copied deeply"):
        copy.deepcopy(t * 2)


def test_a_parameter_is_made_of_what_tensors_are_made_of() -> None:
    array = np.ones(2)
    for data in ([1.0, 1.0], array, ts.tensor([1.0, 1.0]), ts.Parameter(array)):
        p = ts.Parameter(data)
        assert type(p.data) is np.ndarray and p.data is not array
        (p * 2).sum().backward()
        assert p.grad.tolist() == [2, 2]
    with pytest.raises(TypeError, match="only floating-point tensors have gradients, got int64"):
        ts.Parameter([1, 2])


def test_arrays_of_other_libraries_are_copied_by_numpy(tmp_path: Path) -> None:
    class Foreign:
        dtype = "theirs"

        def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
            return np.ones(2, np.float32)

    mapped = np.memmap(tmp_path / "numbers", np.float32, "w+", shape=(2,))
    for data in (Foreign(), mapped):
        t = ts.tensor(data)
        assert type(t.data) is np.ndarray and t.device == "cpu"
    mapped[:] = 5
    assert ts.tensor(mapped).tolist() == [5, 5]


def test_format() -> None:
    loss = ts.tensor(1.23456)
    assert f"{loss:.3f}" == "1.235"
    assert f"{loss}" == repr(loss)
    with pytest.raises(ValueError, match="exactly one element"):
        f"{ts.tensor([1.0, 2.0]):.3f}"
