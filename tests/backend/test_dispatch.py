"""Which backend an array belongs to, and what every backend must offer."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import backend
from tinygrad_seq.backend import backend_for, backend_of
from tinygrad_seq.backend.base import is_basic

NUMPY = backend_for("cpu")


@pytest.mark.parametrize(
    "x", [np.ones(2), np.ones(()), np.float32(1), np.float64(1), np.int64(1), np.bool_(True), 1, 1.5, True, None, [1.0]]
)
def test_numpy_arrays_scalars_and_numbers_are_numpy_s(x: Any) -> None:
    assert backend_of(x) is NUMPY


def test_no_array_at_all_is_numpy_s() -> None:
    assert backend_of() is NUMPY and backend_for(None) is NUMPY


def test_a_0_d_result_stays_on_its_backend() -> None:
    """NumPy makes a scalar of a 0-d result: it is dispatched like an array."""
    x = ts.tensor(np.array([1.0, 2.0]), requires_grad=True)
    s = x.sum()
    assert type(s.data) is np.float64 and s.device == "cpu"
    y = ts.ops.exp(s) * s + ts.ops.maximum(s, 1.0)
    y.backward()
    assert x.grad.data.tolist() == pytest.approx([np.exp(3) * 4 + 1] * 2)


def test_the_first_array_decides(strict: Any) -> None:
    gpu = backend_for("cuda")
    x = strict.tensor([1.0])
    assert gpu is not NUMPY and backend_for("cuda:0") is gpu
    assert backend_of(x.data) is gpu and backend_of(1.0, None, x.data) is gpu
    assert x.device == "cuda:0" and (x * 2).device == "cuda:0"


def test_mixing_devices_says_which_is_where(strict: Any) -> None:
    x, y = strict.tensor([1.0]), ts.tensor([1.0])
    for mix in (lambda: x + y, lambda: y * x, lambda: ts.ops.linear(x, strict.tensor([[1.0]]), y)):
        with pytest.raises(ValueError, match=r"the inputs are on different devices: .*on cuda:0.*move one with .to"):
            mix()


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cpu:1", "cuda:-1", "", "gpu", 0, 1.5])
def test_unknown_devices(name: Any) -> None:
    with pytest.raises(ValueError, match="unknown device .*: expected 'cpu' or 'cuda'"):
        backend_for(name)


def test_round_trips_between_devices(strict: Any) -> None:
    for array in (np.ones(3), np.arange(4), np.array([True]), np.ones((0, 2), np.float32), np.array(2.5)):
        x = ts.tensor(array)
        there = x.to("cuda")
        assert there.device == "cuda:0" and there.dtype == x.dtype and there.to("cuda") is there
        with strict.reading():
            back = there.to("cpu")
        assert back.device == "cpu" and x.to("cpu") is x
        np.testing.assert_array_equal(back.data, array)


def test_the_table_of_kernels_is_complete_on_every_backend(backend: Any) -> None:
    kernels = backend_for(backend.device).kernels
    assert {
        "softmax",
        "log_softmax",
        "cross_entropy",
        "layer_norm",
        "gelu",
        "exact_gelu",
        "dropout",
        "linear",
        "lstm_sequence",
    } <= set(kernels)
    assert all(callable(kernel.forward) and callable(kernel.backward) for kernel in kernels.values())


# -- products


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((6, 2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)),
     ((1, 3, 4), (7, 4, 2)), ((0, 3, 4), (4, 5)), ((2, 3, 0), (0, 5)), ((2, 0, 4), (4, 5)), ((2, 3, 4), (4, 0))],
)  # fmt: skip
def test_matmul_collapses_leading_axes_and_computes_the_same(
    a: tuple[int, ...], b: tuple[int, ...], backend: Any
) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal(a), generator.standard_normal(b)
    with backend.reading():
        product = backend.host(backend.tensor(x) @ backend.tensor(y))
    np.testing.assert_allclose(product, x @ y, rtol=1e-13, atol=1e-14)


def test_matmul_of_a_sequence_is_one_product(strict: Any) -> None:
    from gpu import strictcupy

    be = backend_for("cuda")
    x, W = strict.tensor(np.ones((4, 5, 6))).data, strict.tensor(np.ones((6, 7))).data
    before = strictcupy.stats.kernels
    be.matmul(x, W)
    assert strictcupy.stats.kernels - before == 1


def test_matmul_of_a_view(backend: Any) -> None:
    x, W = np.arange(24.0).reshape(2, 3, 4), np.arange(12.0).reshape(3, 4)
    product = backend.tensor(x).swapaxes(1, 2) @ backend.tensor(W)
    np.testing.assert_allclose(backend.host(product), x.swapaxes(1, 2) @ W)


# -- masks


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_keep_mask_statistics(p: float) -> None:
    n = 400_000
    for key in (0, 1, 2**64 - 1, 0x9E3779B97F4A7C15):
        mask = NUMPY.keep_mask(key, (n,), p)
        assert mask.dtype == bool and mask.shape == (n,)
        deviation = (p * (1 - p) / n) ** 0.5
        assert abs(mask.mean() - (1 - p)) <= 5 * deviation
        for lag in (1, 2, 3, 64, 1000):  # two halves of one number, neighbours, rows of a matrix
            both = (mask[lag:] & mask[:-lag]).mean()
            assert abs(both - (1 - p) ** 2) <= 6 * deviation + 1e-9, (key, lag)


def test_keep_masks_of_neighbouring_keys_are_independent() -> None:
    a, b = (NUMPY.keep_mask(key, (100_000,), 0.5) for key in (7, 8))
    assert abs((a == b).mean() - 0.5) < 0.01


def test_keep_mask_is_a_function_of_key_and_place() -> None:
    mask = NUMPY.keep_mask(5, (7, 3), 0.4)
    np.testing.assert_array_equal(mask, NUMPY.keep_mask(5, (7, 3), 0.4))
    np.testing.assert_array_equal(mask.reshape(-1), NUMPY.keep_mask(5, (21,), 0.4))
    np.testing.assert_array_equal(mask.reshape(-1)[:10], NUMPY.keep_mask(5, (10,), 0.4))
    assert not np.array_equal(mask, NUMPY.keep_mask(6, (7, 3), 0.4))
    kept = NUMPY.keep_mask(5, (1000,), 0.3)
    assert (kept | ~NUMPY.keep_mask(5, (1000,), 0.6)).all(), "what is kept at 0.6 is kept at 0.3"


def test_keep_mask_edges() -> None:
    assert NUMPY.keep_mask(1, (1000,), 0.0).all()
    assert not NUMPY.keep_mask(1, (1000,), 1 - 1e-12).any()
    assert NUMPY.keep_mask(1, (), 0.5).shape == () and NUMPY.keep_mask(1, (0, 3), 0.5).shape == (0, 3)


def test_keep_mask_is_the_same_on_every_backend(backend: Any) -> None:
    be = backend_for(backend.device)
    with backend.reading():
        mask = be.to_numpy(be.keep_mask(123, (5, 7), 0.3))
    np.testing.assert_array_equal(mask, NUMPY.keep_mask(123, (5, 7), 0.3))


# -- adding at an index


def reference(shape: tuple[int, ...], index: Any, values: np.ndarray) -> np.ndarray:
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index, values)
    return out


@pytest.mark.parametrize("rows", [1, 5, 1024, 1025, 3000])  # by a one-hot product up to 1024, by sorting above
@pytest.mark.parametrize("lead", [(), (1,), (40,), (3, 50), (2, 3, 4)])
@pytest.mark.parametrize("tail", [(), (1,), (4,), (2, 3)])
def test_scatter_add_of_rows(rows: int, lead: tuple[int, ...], tail: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    index = np.asarray(generator.integers(-rows, rows, lead))
    values = np.asarray(generator.standard_normal((*lead, *tail)))
    out = NUMPY.scatter_add((rows, *tail), index, values)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, reference((rows, *tail), index, values), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32, np.uint64])
@pytest.mark.parametrize("rows", [300, 2000])
def test_scatter_add_of_any_integers(kind: Any, rows: int) -> None:
    index = np.array([0, 1, 1, 100], kind)
    values = np.ones((4, 2), np.float32)
    out = NUMPY.scatter_add((rows, 2), index, values)
    np.testing.assert_array_equal(out, reference((rows, 2), index, values))
    np.testing.assert_array_equal(index, [0, 1, 1, 100], "the index itself is not written")


def test_scatter_add_of_negative_rows_does_not_write_the_index() -> None:
    index = np.array([-1, -1, 0])
    out = NUMPY.scatter_add((3, 1), index, np.ones((3, 1)))
    assert out[:, 0].tolist() == [1, 0, 2] and index.tolist() == [-1, -1, 0]


@pytest.mark.parametrize("rows", [4, 2000])
def test_scatter_add_of_nothing(rows: int) -> None:
    for index, values in ((np.zeros(0, int), np.zeros((0, 3))), (np.zeros((0, 2), int), np.zeros((0, 2, 3)))):
        np.testing.assert_array_equal(NUMPY.scatter_add((rows, 3), index, values), np.zeros((rows, 3)))
    assert NUMPY.scatter_add((rows, 0), np.array([1]), np.zeros((1, 0))).shape == (rows, 0)


@pytest.mark.parametrize(
    "index",
    [
        1,
        np.int64(-1),
        slice(1, None, 2),
        (Ellipsis, 0),
        (None, slice(None)),
        (slice(None), np.array([0, 2, 2])),
        (np.array([0, 0, 3]), np.array([1, 1, 2])),
        np.array([True, False, True, True]),
        (np.array([[0], [1]]), np.array([0, 2])),
    ],
)
def test_scatter_add_with_any_index(index: Any, backend: Any) -> None:
    be = backend_for(backend.device)
    values = np.random.default_rng(0).standard_normal(np.zeros((4, 3))[index].shape)

    def there(part: Any) -> Any:
        return be.from_numpy(part) if isinstance(part, np.ndarray) else part

    moved = tuple(map(there, index)) if isinstance(index, tuple) else there(index)
    with backend.reading():  # a mask makes the device say how many it has
        out = be.to_numpy(be.scatter_add((4, 3), moved, be.from_numpy(values)))
    np.testing.assert_allclose(out, reference((4, 3), index, values), rtol=1e-14)


def test_basic_indices() -> None:
    assert all(is_basic(i) for i in (0, np.int64(1), slice(None), None, Ellipsis, (0, slice(2), None, ...)))
    assert not any(is_basic(i) for i in (np.array([0]), [0], (0, np.array([1])), np.array(True)))


# -- ranges


def test_check_range() -> None:
    for good in ([0, 3], [[1], [2]], [], 2):
        NUMPY.check_range(np.array(good, int), 4, "here")
    for bad, named in (([0, 4], 4), ([-1, 2], -1), ([[7], [1]], 7)):
        with pytest.raises(IndexError, match=f"here: expected integers from 0 to 3, got {named}"):
            NUMPY.check_range(np.array(bad), 4, "here")


def test_out_of_range_on_a_gpu_is_said_when_a_value_is_read(strict: Any) -> None:
    """Looking at once would make the host wait at every step."""
    layer = ts.nn.Embedding(4, 2).to("cuda")
    y = layer(strict.tensor([1, 4]))  # nothing waits, so nothing is noticed yet
    good = strict.tensor([1.0])
    with strict.reading():
        with pytest.raises(
            IndexError, match="embedding: the table has 4 rows: expected integers from 0 to 3, and got some"
        ):
            y.numpy()
        assert good.item() == 1, "it is said once"


def test_indices_that_fit_are_not_complained_about(strict: Any) -> None:
    layer = ts.nn.Embedding(4, 2).to("cuda")
    y = layer(strict.tensor([0, 3]))
    with strict.reading():
        assert y.numpy().shape == (2, 2)


def test_an_array_of_cupy_s_may_come_before_anybody_asked_for_a_gpu(
    strict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = strict.tensor([1.0, 2.0]).data
    monkeypatch.delitem(backend._by_type, type(array))
    x = ts.tensor(array, requires_grad=True)
    assert x.device == "cuda:0"
    assert strict.host(ts.grad(ts.ops.exp(x).sum(), x)) == pytest.approx(np.exp([1, 2]))
