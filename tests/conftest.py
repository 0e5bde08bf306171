"""The backends that tests run on: NumPy, the strict stand-in for CuPy, and CuPy itself."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts
from gpu import strictcupy
from tinygrad_seq.backend import backend_for


class Place(NamedTuple):
    """Where a test's tensors live."""

    name: str  # "numpy", "strict" or "cupy"
    device: str

    def reading(self) -> AbstractContextManager[Any]:
        """A block in which the host may read from the device; elsewhere the stand-in raises when it does."""
        return strictcupy.allow_sync() if self.name == "strict" else nullcontext()

    def tensor(self, data: Any, **options: Any) -> ts.Tensor:
        return ts.tensor(data, device=self.device, **options)

    def host(self, x: Any) -> np.ndarray:
        """The values of a tensor."""
        with self.reading():
            return x.numpy()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=("numpy", "strict", "cupy"),
        help="where arrays live: NumPy, the strict stand-in for CuPy (both by default), or CuPy; may be given twice",
    )


def pytest_configure(config: pytest.Config) -> None:
    """In each worker of `make test-cupy`: the real CuPy on the CPU, before anything imports it."""
    if "cupy" in (config.getoption("--backend") or []) and hasattr(config, "workerinput"):
        from gpu.hostcuda import hostcuda

        hostcuda.install()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asked = metafunc.config.getoption("--backend") or ["numpy", "strict"]
    for name, chosen in (("backend", asked), ("device", [each for each in asked if each != "numpy"])):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, chosen, indirect=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights in each run of a test that asks for no seed."""
    ts.seed(0)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Each of the backends asked for, in turn; on the stand-in, waiting for the device raises."""
    yield from _place(request.param)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Each of the backends asked for that is a GPU, or stands for one."""
    yield from _place(request.param)


@pytest.fixture
def strict() -> Iterator[Place]:
    """The stand-in for CuPy alone."""
    yield from _place("strict")


def _place(name: str) -> Iterator[Place]:
    if name == "numpy":
        yield Place(name, "cpu")
        return
    with strictcupy.installed() if name == "strict" else nullcontext():
        yield Place(name, "cuda")
        backend_for("cuda")._out_of_range.clear()  # type: ignore[attr-defined]  # what a test left unread


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = [item for item in items if item.get_closest_marker("gpu")]
    if unwanted and _has_gpu():
        unwanted = []
    if "numpy" not in (config.getoption("--backend") or ["numpy"]):  # then only what runs on the others
        unwanted += [item for item in items if not {"backend", "device"} & set(getattr(item, "fixturenames", ()))]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


def _has_gpu() -> bool:
    try:
        backend_for("cuda")
    except RuntimeError:
        return False
    return True
