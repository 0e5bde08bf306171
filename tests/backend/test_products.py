"""The products of compiled code: by tiles and by NumPy's BLAS, in every layout, with edges of every kind."""

import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
if os.environ.get("TINYGRAD_SEQ_FAST") == "0":
    pytest.skip("TINYGRAD_SEQ_FAST=0 leaves out the compiled kernels", allow_module_level=True)

from tinygrad_seq.backend.fast import products
from tinygrad_seq.backend.fast.blas import SGEMM
from tinygrad_seq.backend.fast.products import ACROSS, DEPTH, DOWN, HIGH, WIDE, _tiled, multiply

# Below, at and above a tile, what is copied at once, and a part of the sum.
SIZES = [
    (1, 1, 1),
    (HIGH, WIDE, 1),
    (HIGH - 1, WIDE + 1, 5),
    (DOWN, WIDE, 16),
    (DOWN + 1, 3 * WIDE + 17, 33),
    (2 * DOWN + 7, 40, DEPTH),
    (70, ACROSS + 31, DEPTH + 1),
    (61, 130, 2 * DEPTH + 9),
]
LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


def product(how: Any, A: Any, B: Any, turn_a: bool, turn_b: bool, bias: Any, apart: int = 0) -> Any:
    """A B + bias by `how`, from matrices whose rows lie `apart` numbers further from each other than they are long."""

    def laid_out(X: Any, turn: bool) -> tuple[Any, int]:
        X = X.T if turn else X
        whole = np.full((len(X), X.shape[1] + apart), np.nan, np.float32)
        whole[:, : X.shape[1]] = X
        return whole.reshape(-1), whole.shape[1]

    (M, K), N = A.shape, B.shape[1]
    (a, a_row), (b, b_row) = laid_out(A, turn_a), laid_out(B, turn_b)
    C = np.full((M, N + apart), 7, np.float32)
    how(M, N, K, a, 0, a_row, turn_a, b, 0, b_row, turn_b, C.reshape(-1), 0, N + apart, bias)
    assert (C[:, N:] == 7).all(), "it wrote beside its matrix"
    return C[:, :N]


def by_multiply(*arguments: Any) -> None:
    multiply(SGEMM, *arguments)


@pytest.mark.parametrize("how", [_tiled, by_multiply], ids=["tiles", "either"])
@pytest.mark.parametrize("turns", LAYOUTS)
@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_the_product(sizes: tuple[int, int, int], turns: tuple[bool, bool], how: Any) -> None:
    (M, N, K), rng = sizes, np.random.default_rng(sizes)
    A, B = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
    for bias in (np.empty(0, np.float32), rng.standard_normal(N).astype(np.float32)):
        for apart in (0, 5):
            exact = A.astype(np.float64) @ B.astype(np.float64) + (bias if bias.size else 0)
            found = product(how, A, B, *turns, bias, apart)
            size = np.abs(A).astype(np.float64) @ np.abs(B) + 1
            assert (np.abs(found - exact) / size).max() < 3e-7 * max(1, np.log2(K))


@pytest.mark.parametrize("turns", LAYOUTS)
def test_nan_and_inf_stay_in_their_row_and_column(turns: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((50, 20)).astype(np.float32), rng.standard_normal((20, 70)).astype(np.float32)
    A[49, 3], B[5, 69] = np.nan, np.inf
    found = product(_tiled, A, B, *turns, np.empty(0, np.float32))
    with np.errstate(invalid="ignore"):
        expected = A @ B
    assert np.array_equal(np.isnan(found), np.isnan(expected)) and np.array_equal(np.isinf(found), np.isinf(expected))


def test_without_openblas_tiles_take_all() -> None:
    if not products.TILED:
        pytest.skip("without AVX-512 products are OpenBLAS's")
    A, B = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    found = product(lambda *arguments: multiply(0, *arguments), A, B, False, False, np.empty(0, np.float32))
    assert (found == 4).all()
