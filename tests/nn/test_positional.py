"""Positions: the chapter's formula, odd widths, offsets, learned tables, and why attention needs them."""

import math

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn
from tinygrad_seq.testing import check_grads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [6, 7, 1])
def test_the_table_is_the_chapter_s_formula(d: int) -> None:
    table = nn.SinusoidalPositions(d, max_len=50).to("float64")(ts.tensor(np.zeros((1, 50, d)))).data[0]
    for pos in (0, 1, 17, 49):
        for k in range(d):
            i = k // 2
            wave = math.sin if k % 2 == 0 else math.cos
            assert abs(table[pos, k] - wave(pos / 10000 ** (2 * i / d))) < 1e-13


def test_it_adds_and_keeps_the_dtype() -> None:
    positions = nn.SinusoidalPositions(4)
    for dtype in ("float32", "float64"):
        x = ts.tensor(RNG.standard_normal((2, 3, 4)).astype(dtype))
        y = positions(x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.data - x.data, positions(x * 0).data, atol=1e-6)
    assert positions.parameters() == []


def test_a_shift_is_a_rotation() -> None:
    """Of each pair of features, by the same angle at each position: why relative positions are easy to read off."""
    table = nn.SinusoidalPositions(8)(ts.tensor(np.zeros((1, 60, 8)))).data[0].reshape(60, 4, 2)
    for i in range(4):
        angle = 5 / 10000 ** (2 * i / 8)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        np.testing.assert_allclose(table[5:, i], table[:-5, i] @ turn.T, atol=1e-12)


@pytest.mark.parametrize("positions", [nn.SinusoidalPositions(4, 9), nn.LearnedPositions(9, 4)])
def test_a_start_goes_on_where_a_cache_ends(positions: nn.Module) -> None:
    x = ts.tensor(np.zeros((1, 9, 4), np.float32))
    parts = [positions(x[:, :5]).data, positions(x[:, 5:], start=5).data]
    np.testing.assert_array_equal(np.concatenate(parts, 1), positions(x).data)
    with pytest.raises(ValueError, match=r"there are 9 positions, but x \(1, 4, 4\) has 4 from position 6 on"):
        positions(x[:, :4], start=6)
    with pytest.raises(ValueError, match="has 4 from position -2 on"):
        positions(x[:, :4], start=-2)
    with pytest.raises(ValueError, match=r"expected x \(B, T, 4\), got \(4,\)"):
        positions(x[0, 0])
    with pytest.raises(ValueError, match=r"x \+ P with P \(9, 4\): expected x \(B, T, 4\), got \(1, 2, 5\)"):
        positions(ts.tensor(np.zeros((1, 2, 5), np.float32)))


def test_learned_positions_learn() -> None:
    positions = nn.LearnedPositions(6, 4).to("float64")
    assert positions.weight.data.std() < 0.05
    x = ts.tensor(RNG.standard_normal((2, 3, 4)), requires_grad=True)
    positions(x).sum().backward()
    np.testing.assert_array_equal(positions.weight.grad.data, [[2.0] * 4] * 3 + [[0.0] * 4] * 3)
    check_grads(lambda x: positions(x, start=2), [x.data])


def test_attention_alone_does_not_know_the_order() -> None:
    """Shuffled positions in, shuffled outputs out; with positions added first, not."""
    attention, positions = nn.MultiheadAttention(4, 2).to("float64"), nn.SinusoidalPositions(4)
    x, order = ts.tensor(RNG.standard_normal((1, 5, 4))), np.array([3, 1, 4, 0, 2])
    np.testing.assert_allclose(attention(x[:, order]).data, attention(x).data[:, order], rtol=1e-12)
    told = attention(positions(x)).data[:, order]
    assert np.abs(attention(positions(x[:, order])).data - told).max() > 0.01
