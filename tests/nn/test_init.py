"""Initial weights: their distribution, within what chance allows."""

import math

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.nn import LSTM, Linear, Parameter, init

OUT, IN = 200, 300
N = OUT * IN


def drawn(function: object, *args: float) -> np.ndarray:
    ts.seed(0)
    p = Parameter(np.empty((OUT, IN), np.float32))
    array = p.data
    function(p, *args)
    assert p.data is array, "the array stays where it is"
    return array.astype(np.float64)


def assert_moments(a: np.ndarray, mean: float, std: float) -> None:
    """Within five standard errors."""
    assert abs(a.mean() - mean) < 5 * std / math.sqrt(N)
    assert abs(a.std() - std) < 5 * std / math.sqrt(2 * N)


@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_xavier(gain: float) -> None:
    std = gain * math.sqrt(2 / (IN + OUT))
    assert_moments(drawn(init.xavier_normal, gain), 0, std)
    a = drawn(init.xavier_uniform, gain)
    assert_moments(a, 0, std)
    assert 0.999 * std * math.sqrt(3) < np.abs(a).max() <= std * math.sqrt(3) * (1 + 1e-6)


def test_kaiming() -> None:
    std = math.sqrt(2 / IN)
    assert_moments(drawn(init.kaiming_normal), 0, std)
    a = drawn(init.kaiming_uniform)
    assert_moments(a, 0, std)
    assert 0.999 * std * math.sqrt(3) < np.abs(a).max() <= std * math.sqrt(3) * (1 + 1e-6)


def test_uniform_normal_constant() -> None:
    a = drawn(init.uniform, -1.0, 3.0)
    assert_moments(a, 1, 4 / math.sqrt(12))
    assert a.min() >= -1 and a.max() <= 3
    assert_moments(drawn(init.normal, 0.5, 2.0), 2, 0.5)
    assert (drawn(init.constant, 7.0) == 7).all()


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (7, 4), (8, 4), (4, 7), (3, 1), (1, 3)])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_orthogonal(rows: int, columns: int, gain: float) -> None:
    p = Parameter(np.empty((rows, columns)))
    init.orthogonal(p, gain)
    a = p.data / gain
    small = a @ a.T if rows <= columns else a.T @ a
    np.testing.assert_allclose(small, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_of_stacked_gates_draws_four_squares() -> None:
    ts.seed(0)
    lstm = LSTM(3, 4)
    init.orthogonal(lstm.weight_hh_l0, blocks=4)
    squares = lstm.weight_hh_l0.data.reshape(4, 4, 4)
    for square in squares:
        np.testing.assert_allclose(square @ square.T, np.eye(4), atol=1e-6)
    assert not np.allclose(squares[0], squares[1])
    with pytest.raises(ValueError, match="16 rows do not fall into 3 blocks"):
        init.orthogonal(lstm.weight_hh_l0, blocks=3)


def test_orthogonal_is_uniform_over_all() -> None:
    """Half of all orthogonal matrices turn, half reflect; without the sign of R it would not be so."""
    ts.seed(0)
    p, signs, corner = Parameter(np.empty((3, 3))), [], []
    for _ in range(400):
        init.orthogonal(p)
        signs.append(np.linalg.det(p.data) > 0)
        corner.append(p.data[0, 0])
    assert 150 < sum(signs) < 250
    assert abs(np.mean(corner)) < 5 * math.sqrt(1 / 3 / 400)


def test_matrices_are_asked_for() -> None:
    for function in (
        init.xavier_uniform,
        init.xavier_normal,
        init.kaiming_uniform,
        init.kaiming_normal,
        init.orthogonal,
    ):
        with pytest.raises(ValueError, match=r"init: expected a matrix \(fan_out, fan_in\), got shape \(3,\)"):
            function(Parameter(np.empty(3)))


def test_lstm_forget_bias() -> None:
    lstm = LSTM(2, 3, 2, bidirectional=True)
    others = lstm.b_i.data.copy()
    init.lstm_forget_bias(lstm, 1.5)
    assert lstm.b_f.data.tolist() == [1.5] * 3, "the sum of both biases"
    for name, p in lstm.named_parameters():
        if name.startswith("bias"):
            assert p.data[3:6].tolist() == [1.5 if name.startswith("bias_ih") else 0] * 3, name
    np.testing.assert_array_equal(lstm.b_i.data, others)


def test_lstm_forget_bias_of_a_cell() -> None:
    cell = ts.nn.LSTMCell(2, 3)
    init.lstm_forget_bias(cell)
    assert cell.b_f.data.tolist() == [1] * 3


def test_layers_start_within_their_bounds() -> None:
    ts.seed(0)
    for p in Linear(100, 50).parameters():
        assert np.abs(p.data).max() <= 0.1 and np.abs(p.data).max() > 0.09
    for p in LSTM(7, 25).parameters():
        assert 0.19 < np.abs(p.data).max() <= 0.2


def test_a_dtype_and_a_seed_are_kept() -> None:
    p = Parameter(np.empty((2, 2), np.float64))
    ts.seed(1)
    init.uniform(p, 0, 1)
    first = p.data.copy()
    ts.seed(1)
    init.uniform(p, 0, 1)
    assert p.dtype == np.float64
    np.testing.assert_array_equal(p.data, first)


def test_the_forget_bias_of_no_lstm() -> None:
    for module in (ts.nn.Linear(2, 8), ts.nn.Sequential(LSTM(2, 3)), ts.nn.GRU(2, 4), ts.nn.RNNCell(2, 4)):
        with pytest.raises(ValueError, match="lstm_forget_bias: expected an LSTM, got"):
            init.lstm_forget_bias(module)
