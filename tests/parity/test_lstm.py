"""nn.LSTM against PyTorch's: outputs, final states and every gradient, weights carried by load_state_dict alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")
rnn = torch.nn.utils.rnn
torch.set_num_threads(1)  # small arrays: threads only get in each other's way

TOLERANCE = 1e-10
quick = settings(deadline=None, max_examples=25, derandomize=True)


class Problem:
    """One LSTM with its inputs, run by either library: {what: array} of outputs, states and gradients."""

    def __init__(
        self,
        seed: int,
        B: int,
        T: int,
        D: int,
        H: int,
        layers: int,
        bidirectional: bool,
        packed: bool,
        given_state: bool,
    ) -> None:
        generator = np.random.default_rng(seed)
        torch.manual_seed(seed % 2**31)
        self.sizes, self.options = (D, H, layers), {"bidirectional": bidirectional}
        self.torch = torch.nn.LSTM(D, H, layers, batch_first=True, bidirectional=bidirectional).double()
        directions = layers * (2 if bidirectional else 1)
        self.x = generator.standard_normal((B, T, D))
        self.state = generator.standard_normal((2, directions, B, H)) if given_state else None
        self.lengths = generator.integers(1, T + 1, B) if packed else None
        self.weights = [
            generator.standard_normal(shape)
            for shape in ((B, T, H * (2 if bidirectional else 1)), (directions, B, H), (directions, B, H))
        ]

    def ours(self, dtype: str = "float64", create_graph: bool = False) -> dict[str, np.ndarray]:
        lstm = ts.nn.LSTM(*self.sizes, **self.options).to(dtype)
        lstm.load_state_dict(self.torch.state_dict())
        x = ts.tensor(self.x, dtype=dtype, requires_grad=True)
        state = None
        inputs = {"x": x}
        if self.state is not None:
            state = ts.ops.LSTMState(*(ts.tensor(s, dtype=dtype, requires_grad=True) for s in self.state))
            inputs |= {"h_0": state.h, "c_0": state.c}
        inputs |= dict(lstm.named_parameters())
        out, (h, c) = lstm(x, state, self.lengths)
        w = [ts.tensor(a, dtype=dtype) for a in self.weights]
        loss = (out * w[0]).sum() + (h * w[1]).sum() + (c * w[2]).sum()
        gs = ts.grad(loss, list(inputs.values()), create_graph=create_graph)
        found = {"out": out, "h_n": h, "c_n": c} | {f"d{name}": g for name, g in zip(inputs, gs, strict=True)}
        return {name: t.data for name, t in found.items()}

    def theirs(self, dtype: Any = None) -> dict[str, np.ndarray]:
        dtype = dtype or torch.float64
        lstm = torch.nn.LSTM(*self.sizes, batch_first=True, **self.options).to(dtype)
        lstm.load_state_dict(self.torch.state_dict())
        x = torch.tensor(self.x, dtype=dtype, requires_grad=True)
        state, inputs = None, {"x": x}
        if self.state is not None:
            state = tuple(torch.tensor(s, dtype=dtype, requires_grad=True) for s in self.state)
            inputs |= {"h_0": state[0], "c_0": state[1]}
        inputs |= dict(lstm.named_parameters())
        if self.lengths is None:
            out, (h, c) = lstm(x, state)
        else:
            packed = rnn.pack_padded_sequence(x, torch.tensor(self.lengths), batch_first=True, enforce_sorted=False)
            out, (h, c) = lstm(packed, state)
            out, _ = rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
        w = [torch.tensor(a, dtype=dtype) for a in self.weights]
        loss = (out * w[0]).sum() + (h * w[1]).sum() + (c * w[2]).sum()
        gs = torch.autograd.grad(loss, list(inputs.values()))
        found = {"out": out, "h_n": h, "c_n": c} | {f"d{name}": g for name, g in zip(inputs, gs, strict=True)}
        return {name: t.detach().numpy() for name, t in found.items()}


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))


@quick
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5),
    st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_lstm(
    seed: int, B: int, T: int, D: int, H: int, layers: int, bidirectional: bool, packed: bool, given_state: bool
) -> None:
    problem = Problem(seed, B, T, D, H, layers, bidirectional, packed, given_state)
    expected = problem.theirs()
    for create_graph in (False, True):
        ours = problem.ours(create_graph=create_graph)
        assert ours.keys() == expected.keys()
        for name, array in expected.items():
            assert relative_error(ours[name], array) < TOLERANCE, name


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
def test_every_combination(layers: int, bidirectional: bool, packed: bool, given_state: bool) -> None:
    problem = Problem(1, 5, 7, 3, 4, layers, bidirectional, packed, given_state)
    ours, expected = problem.ours(), problem.theirs()
    for name, array in expected.items():
        assert relative_error(ours[name], array) < TOLERANCE, name


def test_a_larger_one() -> None:
    """Beyond the sizes at which a kernel cuts its products into blocks."""
    problem = Problem(2, 32, 20, 40, 96, 1, False, True, True)
    ours, expected = problem.ours(), problem.theirs()
    for name, array in expected.items():
        assert relative_error(ours[name], array) < TOLERANCE, name


@pytest.mark.parametrize("bidirectional", [False, True])
def test_float32_is_as_exact_as_pytorch_s(bidirectional: bool) -> None:
    """Against the float64 truth, our error is at most twice PyTorch's: both round, neither may drift.

    The weights' gradients count as one vector, as a training step sees them: ours sum all steps in one product,
    PyTorch's step by step, so that single arrays differ more, one way and the other.
    """
    squares: dict[str, Any] = {}  # name -> [our squared error, PyTorch's], over all seeds, relative to the array's size
    for seed in range(4):
        problem = Problem(seed, 8, 40, 16, 32, 2, bidirectional, False, True)
        truth, ours, theirs = problem.theirs(), problem.ours("float32"), problem.theirs(torch.float32)
        weights = [name for name in truth if name.startswith(("dweight", "dbias"))]
        for found in (truth, ours, theirs):
            found["all weights' gradients"] = np.concatenate([found[name].reshape(-1) for name in weights])
        for name, array in truth.items():
            assert ours[name].dtype == theirs[name].dtype == np.float32
            error = [((a[name] - array) ** 2).sum() / (array**2).sum() for a in (ours, theirs)]
            squares[name] = squares.get(name, 0) + np.array(error)
    ratios = {}
    for name, both in squares.items():
        a, b = np.sqrt(both / 4)
        ratios[name] = a / b
        print(f"{name:24s} ours {a:.2e}  PyTorch {b:.2e}  ours / PyTorch's {a / b:.2f}")
    for name, ratio in ratios.items():
        assert ratio <= (3 if name in weights else 2), name
