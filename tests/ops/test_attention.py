"""Attention's kernels in tiles of any size, its masks, its dropout, its memory, and what it says of wrong inputs."""

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq import ops
from tinygrad_seq.ops.attention import MultiHeadAttention, ScaledDotProductAttention
from tinygrad_seq.testing import check_fused, check_grads

kernel = sys.modules["tinygrad_seq.backend.kernels.attention"]  # the package has the kernel itself under this name
RNG = np.random.default_rng(0)
NONE: dict[str, Any] = {"mask": None, "causal": False, "dropout": 0.0, "key": 0}


def some_mask(*shape: int) -> np.ndarray:
    """Half of all pairs, and a query that sees nothing."""
    mask = RNG.random(shape) < 0.5
    mask[..., 1, :] = False
    return mask


WAYS = {
    "plain": (5, 4, {}),
    "causal": (5, 5, {"causal": True}),
    "causal, the newest queries": (3, 5, {"causal": True}),
    "causal, more queries than keys": (5, 3, {"causal": True}),
    "mask": (4, 5, {"mask": some_mask(2, 1, 4, 5)}),
    "mask of keys": (3, 4, {"mask": np.array([[True, True, False, False], [True, True, True, True]])[:, None, None]}),
    "mask, causal, dropout": (5, 5, {"mask": some_mask(2, 2, 5, 5), "causal": True, "dropout": 0.3, "key": 5}),
}


@pytest.fixture(params=[2, 3], ids=lambda tile: f"tiles of {tile}")
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(kernel, "TILE", request.param)
    return request.param


@pytest.mark.parametrize("way", WAYS)
def test_tiles_are_the_definition(way: str, tiles: int) -> None:
    S, T, how = WAYS[way]
    inputs = [RNG.standard_normal((2, 2, n, 2)) for n in (S, T, T)]
    with np.errstate(all="raise", under="ignore"):
        check_fused(ScaledDotProductAttention(**NONE | how), inputs)


@pytest.mark.parametrize("way", WAYS)
def test_many_heads_in_tiles_are_the_definition(way: str, tiles: int) -> None:
    S, T, how = WAYS[way]
    inputs = [RNG.standard_normal(shape) for shape in ((2, S, 2), (2, T, 2), (6, 2), (6,), (2, 2), (2,))]

    def run(Q: Any, K: Any, *parameters: Any) -> Any:
        return MultiHeadAttention(heads=2, **NONE | how)(Q, K, None, *parameters)

    with np.errstate(all="raise", under="ignore"):
        check_fused(run, inputs, order=1)


@pytest.mark.parametrize("way", ["mask, causal, dropout", "causal, more queries than keys"])
def test_dropout_and_second_derivatives_in_one_tile(way: str) -> None:
    S, T, how = WAYS[way]
    check_fused(ScaledDotProductAttention(**NONE | how), [RNG.standard_normal((2, 2, n, 2)) for n in (S, T, T)])


@pytest.mark.parametrize("way", WAYS)
def test_tiles_on_the_device(way: str, tiles: int, device: Place) -> None:
    S, T, how = WAYS[way]
    arrays = [RNG.standard_normal((2, n, 4)) for n in (S, T)] + [RNG.standard_normal(s) for s in ((12, 4), (4, 4))]

    def run(place: Place) -> list[np.ndarray]:
        Q, K, W_in, W_out = xs = [place.tensor(a, requires_grad=True) for a in arrays]
        mask = how.get("mask")
        static = NONE | how | {"mask": None if mask is None else place.tensor(mask).data}
        y = MultiHeadAttention(heads=2, **static)(Q, K, None, W_in, None, W_out, None)
        gs = ts.grad(y, xs, place.tensor(np.cos(np.arange(y.size)).reshape(y.shape)))
        return [place.host(t) for t in (y, *gs)]

    for there, here in zip(run(device), run(Place("numpy", "cpu")), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-12)


# -- masks


def test_causal_is_a_mask_whose_ends_meet() -> None:
    """Query i sees the keys up to T - S + i."""
    for S, T in ((3, 3), (2, 5), (4, 2)):
        q, k, v = (ts.tensor(RNG.standard_normal((2, n, 3))) for n in (S, T, T))
        mask = np.array([[j <= T - S + i for j in range(T)] for i in range(S)])
        expected = ops.scaled_dot_product_attention(q, k, v, mask)
        np.testing.assert_allclose(ops.scaled_dot_product_attention(q, k, v, causal=True).data, expected.data)


def test_no_query_depends_on_its_future() -> None:
    x = RNG.standard_normal((1, 300, 4))  # more than one tile
    before = ops.scaled_dot_product_attention(*[ts.tensor(x)] * 3, causal=True).data
    x[:, 290:] = 99
    after = ops.scaled_dot_product_attention(*[ts.tensor(x)] * 3, causal=True).data
    np.testing.assert_array_equal(before[:, :290], after[:, :290])
    assert not np.allclose(before[:, 290:], after[:, 290:])


def test_tiles_in_the_future_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[tuple[int, int]] = []
    scores = kernel._scores

    def counted(be: Any, columns: Any, k: Any, how: Any, S: int, queries: slice, keys: slice) -> Any:
        computed.append((queries.start, keys.start))
        return scores(be, columns, k, how, S, queries, keys)

    monkeypatch.setattr(kernel, "_scores", counted)
    monkeypatch.setattr(kernel, "TILE", 2)
    x = ts.tensor(RNG.standard_normal((8, 3)), requires_grad=True)
    ops.scaled_dot_product_attention(x, x, x, causal=True).sum().backward()
    triangle = [(i, j) for i in range(0, 8, 2) for j in range(0, i + 1, 2)]
    assert computed == [*triangle, *triangle]


@pytest.mark.parametrize("tile", [2, 256])
@pytest.mark.parametrize("fused", [True, False])
def test_a_query_that_sees_nothing_gives_0(tile: int, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gets and gives no gradient; all is finite, to the second order, whatever the numbers."""
    monkeypatch.setattr(kernel, "TILE", tile)
    mask = np.ones((4, 4), bool)
    mask[1] = mask[:, 2] = False
    q, k, v = (ts.tensor(RNG.standard_normal((4, 3)) * 30, requires_grad=True) for _ in range(3))
    with np.errstate(all="raise", under="ignore"), ts.core.state.setting(fused=fused):
        y = ops.scaled_dot_product_attention(q, k, v, mask)
        first = ts.grad((y * y).sum(), [q, k, v], create_graph=True)
        second = ts.grad(sum((g * g).sum() for g in first), [q, k, v])
    assert not y.data[1].any() and y.data[0].any()
    for dq, dk, dv in (first, second):
        assert np.isfinite([dq.data, dk.data, dv.data]).all()
        assert not dq.data[1].any() and not dk.data[2].any() and not dv.data[2].any()


def test_scores_far_apart() -> None:
    """The softmax neither overflows nor loses a row whose scores are all far below 0."""
    q = ts.tensor(np.array([[200.0], [-200.0]], np.float32))
    k = ts.tensor(np.array([[100.0], [101.0], [102.0]], np.float32))
    v = ts.tensor(np.eye(3, dtype=np.float32))
    for tile in (1, 2, 256):
        with pytest.MonkeyPatch.context() as patch, np.errstate(all="raise", under="ignore"):
            patch.setattr(kernel, "TILE", tile)
            y = ops.scaled_dot_product_attention(q, k, v)
        np.testing.assert_array_equal(y.data, [[0, 0, 1], [1, 0, 0]])


def test_float32_is_as_exact_in_tiles_as_whole() -> None:
    q, k, v = (RNG.standard_normal((2, 700, 16)) for _ in range(3))
    truth = ops.attention(q, k, v).output
    errors = []
    for tile in (64, 256, 1024):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel, "TILE", tile)
            y = ops.scaled_dot_product_attention(*(ts.tensor(x.astype(np.float32)) for x in (q, k, v)))
        errors.append(np.abs(y.data - truth).max())
    assert max(errors) < 1e-6


# -- dropout


def test_dropout_leaves_the_mean_and_is_drawn_anew() -> None:
    q, k = np.zeros((50, 4)), np.zeros((400, 4))  # all weights are equal
    v = np.ones((400, 1))
    ts.seed(0)
    first, second = (ops.scaled_dot_product_attention(q, k, v, dropout=0.25) for _ in range(2))
    assert abs(first.mean() - 1) < 0.01 and 0.01 < first.std() < 0.05  # √(p / (1 - p) / 400) is 0.029
    assert not np.array_equal(first, second)
    ts.seed(0)
    np.testing.assert_array_equal(ops.scaled_dot_product_attention(q, k, v, dropout=0.25), first)


def test_dropout_differs_between_tiles() -> None:
    kept = kernel.kept_weights(ts.backend.backend_of(), 3, (2, 512, 512), 0.5, np.float64)
    assert set(np.unique(kept)) == {0, 2}
    parts = [kept[:, i : i + 256, j : j + 256] for i in (0, 256) for j in (0, 256)]
    for k, a in enumerate(parts):
        assert abs(a.mean() - 1) < 0.01
        for b in parts[:k]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


# -- memory


def peak(run: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    """Twice as many positions add twice as much memory as before, where the definition adds four times as much."""

    def run(T: int, fused: bool) -> int:
        x = ts.tensor(np.ones((1, T, 8), np.float32), requires_grad=True)

        def train() -> None:
            with ts.core.state.setting(fused=fused):
                ops.scaled_dot_product_attention(x, x, x, causal=True).sum().backward()

        return peak(train)

    for fused, least, most in ((True, 1.5, 2.5), (False, 3.5, 4.5)):
        small, middle, large = (run(T, fused) for T in (512, 1024, 2048))
        growth = (large - middle) / (middle - small)
        assert least < growth < most, f"fused={fused}: {small:,} {middle:,} {large:,}"
    assert run(2048, True) < 2048**2 * 4, "less than the weights alone"


# -- what the weights are recorded as


@pytest.mark.parametrize("T", [5, 300])
def test_record_gives_the_weights_and_changes_nothing(T: int) -> None:
    q, k, v = (ts.tensor(RNG.standard_normal((2, 3, T, 4)), requires_grad=True) for _ in range(3))
    plain = ops.scaled_dot_product_attention(q, k, v, causal=True)
    with ts.record() as r:
        recorded = ops.scaled_dot_product_attention(q, k, v, causal=True)
    np.testing.assert_array_equal(recorded.data, plain.data)
    alpha = r["sdpa"].alpha.data
    assert alpha.shape == (2, 3, T, T)
    np.testing.assert_allclose(alpha.sum(-1), 1)
    assert not np.triu(alpha, 1).any()
    np.testing.assert_allclose(alpha @ v.data, plain.data, rtol=1e-10, atol=1e-12)


# -- what is wrong


def test_wrong_shapes_say_the_equation() -> None:
    x = ts.tensor(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match=r"softmax\(Q Kᵀ / √d_k\) V with .*same length d_k, got 4 and 5"):
        ops.scaled_dot_product_attention(x, ts.tensor(np.ones((2, 3, 5))), x)
    with pytest.raises(ValueError, match="a value for each key, got 3 keys and 2 values"):
        ops.scaled_dot_product_attention(x, x, x[:, :2])
    with pytest.raises(ValueError, match="must broadcast"):
        ops.scaled_dot_product_attention(x, ts.tensor(np.ones((3, 3, 4))), x)
    with pytest.raises(ValueError, match="at least two axes"):
        ops.scaled_dot_product_attention(x, x[0, 0], x)
    with pytest.raises(ValueError, match="at least one key"):
        ops.scaled_dot_product_attention(x, x[:, :0], x[:, :0])
    with pytest.raises(ValueError, match="at least one feature"):
        ops.scaled_dot_product_attention(x[..., :0], x[..., :0], x)
    with pytest.raises(ValueError, match="0 <= dropout < 1, got 1"):
        ops.scaled_dot_product_attention(x, x, x, dropout=1.0)


def test_wrong_masks() -> None:
    x = ts.tensor(np.ones((2, 4, 3, 4)))
    with pytest.raises(TypeError, match="a mask is bool, True = may attend, got float64"):
        ops.scaled_dot_product_attention(x, x, x, np.zeros((3, 3)))
    with pytest.raises(
        ValueError, match=r"broadcasts to the scores \(2, 4, 3, 3\), got \(2, 3\): .*\[:, None, None, :\]"
    ):
        ops.scaled_dot_product_attention(x, x, x, np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="broadcasts to the scores"):  # it may not stretch them
        ops.scaled_dot_product_attention(x[:1], x[:1], x[:1], np.ones((2, 1, 3, 3), bool))
    with pytest.raises(ValueError, match=r"broadcasts to the scores \(2, 3\), got \(3, 3\)"):
        ops.masked_softmax(ts.tensor(np.ones((2, 3))), np.ones((3, 3), bool))


def test_wrong_heads() -> None:
    x, W, W_o = ts.tensor(np.ones((2, 3, 4))), ts.tensor(np.ones((12, 4))), ts.tensor(np.ones((4, 4)))
    with pytest.raises(ValueError, match="4 features do not fall into 3 equal heads"):
        ops.multi_head_attention(x, None, None, W, None, W_o, None, 3)
    with pytest.raises(ValueError, match=r"head_i = Attention\(Q W_i\^Q, .*Q \(2, 3, 5\).*expected Q \(2, 3, 4\)"):
        ops.multi_head_attention(ts.tensor(np.ones((2, 3, 5))), None, None, W, None, W_o, None, 2)
    with pytest.raises(ValueError, match=r"Q \(3, 4\).*: Q has three axes"):  # no batch
        ops.multi_head_attention(x[0], None, None, W, None, W_o, None, 2)
    with pytest.raises(ValueError, match=r"expected K \(2, 5, 4\)"):  # another batch
        ops.multi_head_attention(x, ts.tensor(np.ones((3, 5, 4))), None, W, None, W_o, None, 2)
    with pytest.raises(ValueError, match=r"expected b_in \(12,\)"):
        ops.multi_head_attention(x, None, None, W, ts.tensor(np.ones(4)), W_o, None, 2)


def test_a_score_that_does_not_fit_says_its_equation() -> None:
    s, h, W = ts.tensor(np.ones((2, 3))), ts.tensor(np.ones((2, 5, 4))), ts.tensor(np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"score: dot = .*\n    with s \(2, 3\), h \(2, 5, 4\)"):
        ops.dot_score(s, h)
    with pytest.raises(ValueError, match=r"score: bilinear = .*\n    with s \(2, 3\), W \(3, 3\), h \(2, 5, 4\)"):
        ops.bilinear_score(s, h, W)


def test_second_derivatives_of_attention_over_an_encoder() -> None:
    s, h, W_1, W_2, v = (RNG.standard_normal(shape) for shape in ((2, 3), (2, 4, 2), (3, 3), (3, 2), (3,)))
    mask = np.array([[True, True, False, False], [True, True, True, True]])

    def step(s: Any, h: Any, W_1: Any, W_2: Any, v: Any) -> Any:
        return ops.attend(lambda s, h: ops.mlp_score(s, h, W_1, W_2, v).mlp, s, h, mask)

    check_grads(step, [s, h, W_1, W_2, v])
