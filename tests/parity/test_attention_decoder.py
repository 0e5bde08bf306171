"""The GRU decoder with MLP attention against a loop of PyTorch's: every symbol, every gradient, and how they round."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")
torch.set_num_threads(1)  # small arrays: threads only get in each other's way

NAMES = ("y", "s_0", "h", "keys", "W_1", "v", "W", "U", "b_ih", "b_hh")
SYMBOLS = ts.ops.AttentionDecoderStep._fields
Arrays = dict[str, np.ndarray]


class Problem:
    """A decoder with its inputs, run by either library: {what: array} of the symbols and gradients."""

    def __init__(self, seed: int, B: int, T: int, S: int, D: int, E: int, H: int, A: int, padded: bool) -> None:
        rng = np.random.default_rng(seed)
        shapes = (B, T, D), (B, H), (B, S, E), (B, S, A), (A, H), (A,), (3 * H, D + E), (3 * H, H), (3 * H,), (3 * H,)
        scales = 1, 1, 1, 1, H**-0.5, A**-0.5, H**-0.5, H**-0.5, H**-0.5, H**-0.5
        self.arrays = {
            name: rng.standard_normal(shape) * scale for name, shape, scale in zip(NAMES, shapes, scales, strict=True)
        }
        self.mask = np.arange(S) < rng.integers(1, S + 1, (B, 1)) if padded else None
        self.weights = [rng.standard_normal(shape) for shape in ((B, T, S), (B, T, S), (B, T, E), (B, T, H))]
        self.H = H

    def ours(self, dtype: str = "float64", create_graph: bool = False) -> Arrays:
        xs = [ts.tensor(a, dtype=dtype, requires_grad=True) for a in self.arrays.values()]
        symbols = ts.ops.gru_attention_decoder(*xs, mask=self.mask)
        weights = [ts.tensor(w, dtype=dtype) for w in self.weights]
        gs = ts.grad(list(symbols), xs, weights, create_graph=create_graph)
        return named([t.data for t in symbols], [g.data for g in gs])

    def theirs(self, dtype: Any = torch.float64) -> Arrays:
        xs = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in self.arrays.values()]
        y, s, h, keys, W_1, v, W, U, b_ih, b_hh = xs
        steps = []
        for y_t in y.unbind(1):
            score = torch.tanh((s @ W_1.T)[:, None] + keys) @ v
            seen = score if self.mask is None else score.masked_fill(~torch.tensor(self.mask), -torch.inf)
            alpha = torch.softmax(seen, -1)
            context = torch.bmm(alpha[:, None], h)[:, 0]
            s = torch.gru_cell(torch.cat([y_t, context], -1), s, W, U, b_ih, b_hh)
            steps.append((score, alpha, context, s))
        symbols = [torch.stack(symbol, 1) for symbol in zip(*steps, strict=True)]
        gs = torch.autograd.grad(symbols, xs, [torch.tensor(w, dtype=dtype) for w in self.weights])
        return named([t.detach().numpy() for t in symbols], [g.numpy() for g in gs])


def named(symbols: list[np.ndarray], gs: list[np.ndarray]) -> Arrays:
    return dict(zip(SYMBOLS, symbols, strict=True)) | {f"d{name}": g for name, g in zip(NAMES, gs, strict=True)}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "sizes", [(3, 4, 5, 2, 3, 4, 6), (1, 1, 1, 1, 1, 1, 1), (2, 1, 3, 2, 2, 3, 1), (17, 5, 2, 3, 5, 8, 16)]
)
def test_symbols_and_gradients(sizes: tuple[int, ...], padded: bool) -> None:
    problem = Problem(1, *sizes, padded)
    expected = problem.theirs()
    for create_graph in (False, True):
        for name, array in problem.ours(create_graph=create_graph).items():
            scale = max(np.abs(expected[name]).max(), 1e-3)
            np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-10 * scale, err_msg=name)


@pytest.mark.parametrize("padded", [False, True])
def test_float32_rounds_as_little_as_pytorch(padded: bool) -> None:
    """Against the float64 truth, the error of every single array is at most twice PyTorch's."""
    squares: dict[str, Any] = {}  # name -> [our squared error, PyTorch's], over all seeds, relative to the array's size
    for seed in range(4):
        problem = Problem(seed, 32, 20, 20, 64, 128, 128, 128, padded)
        truth, ours, theirs = problem.theirs(), problem.ours("float32"), problem.theirs(torch.float32)
        for name, array in truth.items():
            error = [((a[name] - array) ** 2).sum() / (array**2).sum() for a in (ours, theirs)]
            squares[name] = squares.get(name, 0) + np.array(error)
    ratios = {name: float(np.sqrt(ours / theirs)) for name, (ours, theirs) in squares.items()}
    print(", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    assert max(ratios.values()) <= 2, ratios
