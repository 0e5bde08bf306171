"""The stand-in for CuPy refuses, raises and counts as it says."""

import copy
import importlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gpu import strictcupy
from gpu.strictcupy import HostSyncError, allow_sync, cupy, cupyx, stats


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    stats.reset()
    yield
    stats.reset()


@pytest.fixture
def x() -> Any:
    return cupy.asarray(np.arange(12, dtype=np.float32).reshape(3, 4))


def on_host(array: Any) -> np.ndarray:
    with allow_sync():
        return array.get()


# What CuPy refuses


HOST = np.ones((3, 4), np.float32)

REFUSED: dict[str, tuple[type[Exception], Callable[[Any], Any]]] = {
    "implicit conversion": (TypeError, np.asarray),
    "a NumPy operand": (TypeError, lambda x: x + HOST),
    "a NumPy operand on the left": (TypeError, lambda x: HOST + x),
    "a 0-d NumPy operand": (TypeError, lambda x: x * np.array(2.0)),
    "a NumPy operand in place": (TypeError, lambda x: x.__iadd__(HOST)),
    "a NumPy matrix": (TypeError, lambda x: x @ HOST.T),
    "a list": (TypeError, lambda x: x + [1.0, 2.0, 3.0, 4.0]),
    "a NumPy function": (TypeError, np.sum),
    "a NumPy universal function": (TypeError, np.exp),
    "a NumPy array in concatenate": (TypeError, lambda x: cupy.concatenate([x, HOST])),
    "a NumPy array in where": (TypeError, lambda x: cupy.where(HOST > 0, x, 0)),
    "a NumPy array as out": (TypeError, lambda x: cupy.add(x, x, out=HOST.copy())),
    "a NumPy array alone": (TypeError, lambda x: cupy.sum(HOST)),
    "a list as an array": (AttributeError, lambda x: cupy.sum([1.0, 2.0])),
    "assigning a NumPy array": (ValueError, lambda x: x.__setitem__(slice(None), HOST)),
    "where= of a reduction": (TypeError, lambda x: x.sum(where=x > 0)),
    "initial= of a reduction": (TypeError, lambda x: cupy.max(x, initial=0)),
    "where= of a universal function": (TypeError, lambda x: cupy.add(x, x, where=x > 0)),
    "a missing function": (AttributeError, lambda x: cupy.insert),
    "errstate": (AttributeError, lambda x: cupy.errstate),
    "a missing method": (AttributeError, lambda x: x.setflags),
    "at of multiply": (NotImplementedError, lambda x: cupy.multiply.at(x, cupy.asarray([0]), 1.0)),
    "one bound of clip in the method": (TypeError, lambda x: cupy.clip(x, min=0)),
    "objects": (ValueError, lambda x: cupy.array([None])),
    "texts": (ValueError, lambda x: cupy.array(["a"])),
    "a device array as a shape": (TypeError, lambda x: cupy.zeros((cupy.asarray(3),))),
    "a device array as a list index": (TypeError, lambda x: [1, 2, 3][cupy.asarray(1)]),
    "hash": (TypeError, hash),
    "an integer out of range": (IndexError, lambda x: x[5]),
    "a float index": (IndexError, lambda x: x[cupy.asarray([0.5])]),
    "too many indices": (IndexError, lambda x: x[0, 0, 0]),
    "casting down in place": (TypeError, lambda x: x.astype("i4").__itruediv__(2)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what: str, x: Any) -> None:
    error, call = REFUSED[what]
    with pytest.raises(error) as caught:
        call(x)
    # UFuncTypeError and the like are NumPy's own; the stand-in raises the plain kind.
    assert caught.type in (TypeError, ValueError, AttributeError, IndexError, NotImplementedError)


def test_message_tells_what_only_the_stand_in_lacks() -> None:
    with pytest.raises(AttributeError, match="the stand-in has no such name"):
        _ = cupy.apply_along_axis
    with pytest.raises(AttributeError, match="has no attribute 'no_such_thing'"):
        _ = cupy.no_such_thing


# Waiting for the device


SYNCS: dict[str, Callable[[Any], Any]] = {
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "bool": lambda x: bool(x.sum() > 0),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "get": lambda x: x.get(),
    "asnumpy": cupy.asnumpy,
    "format": lambda x: f"{x.sum():.2f}",
    "in": lambda x: 1.0 in x[0],
    "max of Python": lambda x: max(x[0]),
    "reading a mask": lambda x: x[x > 3],
    "writing a mask": lambda x: x.__setitem__(x > 3, 0),
    "one-argument where": lambda x: cupy.where(x > 3),
    "nonzero": lambda x: cupy.nonzero(x),
    "nonzero, the method": lambda x: x.nonzero(),
    "unique": lambda x: cupy.unique(x),
    "allclose in an assertion": lambda x: bool(cupy.allclose(x, x)),
    "pickling": pickle.dumps,
    "synchronize": lambda x: cupy.cuda.Device(0).synchronize(),
    "a slice by a device array": lambda x: x[: cupy.asarray(2)],
}


@pytest.mark.parametrize("what", SYNCS)
def test_waiting_raises_outside_allow_sync_and_counts_inside(what: str, x: Any) -> None:
    with pytest.raises(HostSyncError):
        SYNCS[what](x)
    stats.reset()
    with allow_sync() as inside:
        SYNCS[what](x)
    assert inside is stats
    assert stats.syncs >= 1
    assert stats.sync_sites[0].file == __file__
    with pytest.raises(HostSyncError):
        SYNCS[what](x)


def test_looking_at_an_array_does_not_wait(x: Any) -> None:
    assert (x.shape, x.ndim, x.size, len(x), x.nbytes) == ((3, 4), 2, 12, 3, 48)
    assert x.dtype == np.float32
    assert "shape=(3, 4)" in repr(x)
    assert "float32" in str(x)
    assert x.T.flags.f_contiguous
    assert stats.syncs == 0


def test_a_reduction_stays_on_the_device(x: Any) -> None:
    loss = x.sum()
    assert isinstance(loss, cupy.ndarray)
    assert loss.shape == ()
    assert isinstance(x[0, 0], cupy.ndarray)
    assert isinstance(loss + 1, cupy.ndarray)
    assert stats.syncs == 0


# Counting


def test_counts_kernels_and_copies() -> None:
    x = cupy.asarray(np.ones((2, 3), np.float32))
    assert (stats.h2d, stats.kernels) == (1, 0)
    y = x * 2 + 1
    assert stats.kernels == 2
    _ = y.T.reshape(2, 3)[0][None]
    _ = x @ y.T
    assert stats.kernels == 3
    with allow_sync():
        y.get()
    assert (stats.d2h, stats.syncs) == (1, 1)
    assert [site.kind for site in stats.sites] == ["h2d", "sync", "d2h"]
    assert all(site.file == __file__ for site in stats.sites)


def test_indexing_with_host_values_copies_to_the_device(x: Any) -> None:
    stats.reset()
    _ = x[[0, 1]]
    _ = x[np.array([0, 1])]
    assert stats.h2d == 2
    assert stats.kernels == 2


# Values


def test_values_are_those_of_numpy(x: Any) -> None:
    host = on_host(x)
    np.testing.assert_array_equal(on_host(cupy.exp(x)), np.exp(host))
    np.testing.assert_array_equal(on_host(2 - x), 2 - host)
    np.testing.assert_array_equal(on_host(x[1:, ::-1]), host[1:, ::-1])
    np.testing.assert_array_equal(on_host(cupy.einsum("ij,kj->ik", x, x)), np.einsum("ij,kj->ik", host, host))
    assert on_host(x.mean(axis=1, keepdims=True)).shape == (3, 1)


def test_dividing_by_zero_gives_no_warning(x: Any, recwarn: pytest.WarningsRecorder) -> None:
    assert np.isinf(on_host(x[0, 1] / (x[0] * 0))).all()
    assert len(recwarn) == 0


def test_views_share_memory_and_copies_do_not(x: Any) -> None:
    row = x[1]
    corner = x[0, 0]
    other = copy.deepcopy(x)
    x[1] = 7
    x[0, 0] = 5
    assert on_host(row).tolist() == [7, 7, 7, 7]
    assert on_host(corner) == 5
    assert on_host(other)[1, 0] == 4


def test_integer_arrays_wrap_around(x: Any) -> None:
    np.testing.assert_array_equal(on_host(x[cupy.asarray([5, -1])]), on_host(x)[[2, 2]])
    np.testing.assert_array_equal(on_host(x.take(cupy.asarray([13]))), [1])
    np.testing.assert_array_equal(on_host(cupy.take(x, cupy.asarray([7]), axis=1)), on_host(x)[:, [3]])
    wrapped = cupy.take_along_axis(x, cupy.asarray([[6], [6], [6]]), 1)
    np.testing.assert_array_equal(on_host(wrapped), on_host(x)[:, [2]])


def test_of_duplicate_writes_a_random_one_wins() -> None:
    winners = set()
    for _ in range(50):
        x = cupy.zeros(3)
        x[cupy.asarray([1, 1, 1])] = cupy.asarray([1.0, 2.0, 3.0])
        winners.add(float(on_host(x)[1]))
    assert winners == {1.0, 2.0, 3.0}


def test_duplicate_writes_through_several_indices() -> None:
    winners = set()
    for _ in range(50):
        x = cupy.zeros((2, 3))
        x[:, cupy.asarray([0, 0])] = cupy.asarray([[1.0, 2.0], [1.0, 2.0]])
        winners |= set(on_host(x)[:, 0].tolist())
        assert on_host(x)[:, 1:].sum() == 0
    assert winners == {1.0, 2.0}


def test_scatter_add_adds_every_duplicate() -> None:
    x = cupy.zeros(3)
    cupyx.scatter_add(x, cupy.asarray([1, 1, 4]), cupy.asarray([1.0, 2.0, 4.0]))
    cupy.add.at(x, cupy.asarray([0, 0]), 1.0)
    assert on_host(x).tolist() == [2, 7, 0]


def test_uninitialised_memory_shows() -> None:
    assert np.isnan(on_host(cupy.empty((2, 2), np.float32))).all()
    assert (on_host(cupy.empty(3, np.int64)) != 0).all()
    assert np.isnan(on_host(cupy.empty_like(cupy.zeros(2)))).all()


def test_erf_comes_from_scipy() -> None:
    x = cupy.asarray(np.array([0.0, 1.0], np.float32))
    result = cupyx.scipy.special.erf(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(on_host(result), [0, 0.8427008], rtol=1e-6)
    with pytest.raises(TypeError):
        cupyx.scipy.special.erf(np.ones(2))


def test_kernels_of_cuda_text_can_be_made_but_not_run() -> None:
    kernel = cupy.RawKernel('extern "C" __global__ void f() {}', "f")
    with pytest.raises(NotImplementedError, match="hostcuda"):
        kernel((1,), (1,), ())


# Installing


def test_install_and_uninstall() -> None:
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("cupy", "cupyx")}
    with strictcupy.installed() as installed:
        assert importlib.import_module("cupy") is installed
        assert importlib.import_module("cupyx.scipy.special").erf is not None
        assert importlib.util.find_spec("cupy") is not None
        assert sys.modules["cupy.cuda.runtime"].getDeviceCount() == 1
        assert installed.__version__ == "14.2.0"
        with strictcupy.installed():
            pass
        assert sys.modules["cupy"] is installed  # the inner block leaves the outer one alone
    after = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("cupy", "cupyx")}
    assert after == before


def test_arrays_are_recognised_by_type(x: Any) -> None:
    assert isinstance(x, cupy.ndarray)
    assert type(x).__module__ == "cupy"
    assert cupy.get_array_module(x) is cupy
    assert cupy.get_array_module(HOST) is np


@pytest.mark.parametrize(("fault", "status"), [("driver", 35), ("device", 100)])
def test_a_machine_without_a_gpu(fault: str, status: int) -> None:
    with strictcupy.installed(fault) as cupy:
        assert not cupy.is_available()
        for call in (cupy.cuda.runtime.getDeviceCount, lambda: cupy.zeros(3), lambda: cupy.asarray([1.0])):
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError) as caught:
                call()
            assert caught.value.status == status
    assert cupy.is_available()


def test_a_machine_without_cuda_libraries() -> None:
    with strictcupy.installed("libraries") as cupy:
        assert cupy.cuda.runtime.getDeviceCount() == 1
        x = cupy.zeros((2, 2))
        with pytest.raises(RuntimeError, match="libnvrtc"):
            x + 1
        with pytest.raises(ImportError, match="libcublas"):
            x @ x


def test_a_machine_without_cupy() -> None:
    with strictcupy.installed("missing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("cupy")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("cupyx.scipy.special")


def test_an_unknown_fault() -> None:
    with pytest.raises(ValueError, match="fault must be one of"):
        strictcupy.install("fire")


def test_only_one_device() -> None:
    with cupy.cuda.Device(0) as device:
        assert device.id == 0
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
        cupy.cuda.Device(1).use()
