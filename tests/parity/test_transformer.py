"""Transformer layers against PyTorch's in float64: outputs and every gradient, weights by load_state_dict alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")
torch.set_num_threads(1)  # small arrays: threads only get in each other's way
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")

Arrays = dict[str, np.ndarray]
TOLERANCE = 1e-10
quick = settings(deadline=None, max_examples=20, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5)
# What both libraries are made with; of the two forms of GELU PyTorch's layers have the exact one by name.
options = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(["relu", "gelu", "gelu_tanh"]),
        "norm_first": st.booleans(),
        "layer_norm_eps": st.sampled_from([1e-5, 0.1]),
        "bias": st.booleans(),
    }
)


def theirs_of(kind: str, *sizes: int, **options: Any) -> Any:
    if options.get("activation") == "gelu_tanh":
        options["activation"] = partial(torch.nn.functional.gelu, approximate="tanh")  # a module is lost in copies
    return getattr(torch.nn, kind)(*sizes, dropout=0.0, batch_first=True, **options)


class Problem:
    """One layer or model with its inputs, run by either library: {what: array} of the output and all gradients."""

    def __init__(
        self, seed: int, kind: str, sizes: tuple[int, ...], options: Any, shapes: list[tuple[int, ...]]
    ) -> None:
        torch.manual_seed(seed % 2**31)
        generator = np.random.default_rng(seed)
        self.kind, self.sizes, self.options = kind, sizes, options
        theirs = theirs_of(kind, *sizes, **options).double()
        with torch.no_grad():
            for p in theirs.parameters():  # biases and norms too, so that they can be seen
                p += 0.3 * torch.randn_like(p)
        self.weights = theirs.state_dict()
        self.inputs = [generator.standard_normal(shape) for shape in shapes]
        self.g = generator.standard_normal(shapes[-1] if kind == "Transformer" else shapes[0])

    def ours(self, call: Callable[..., Any], dtype: str = "float64", create_graph: bool = False) -> Arrays:
        layer = getattr(ts.nn, self.kind)(*self.sizes, dropout=0.0, **self.options).to(dtype)
        assert list(layer.state_dict()) == list(self.weights)
        layer.load_state_dict(self.weights)
        xs = [ts.tensor(a, dtype=dtype, requires_grad=True) for a in self.inputs]
        y = call(layer, *xs)
        inputs = {f"input {k}": x for k, x in enumerate(xs)} | dict(layer.named_parameters())
        gs = ts.grad((y * ts.tensor(self.g, dtype=dtype)).sum(), list(inputs.values()), create_graph=create_graph)
        return {"output": y.data} | {name: g.data for name, g in zip(inputs, gs, strict=True)}

    def theirs(self, call: Callable[..., Any], dtype: Any = torch.float64) -> Arrays:
        layer = theirs_of(self.kind, *self.sizes, **self.options).to(dtype)
        layer.load_state_dict(self.weights)
        xs = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in self.inputs]
        y = call(layer, *xs)
        inputs = {f"input {k}": x for k, x in enumerate(xs)} | dict(layer.named_parameters())
        gs = torch.autograd.grad((y * torch.tensor(self.g, dtype=dtype)).sum(), list(inputs.values()))
        return {"output": y.detach().numpy()} | {name: g.numpy() for name, g in zip(inputs, gs, strict=True)}


def compare(ours: Arrays, theirs: Arrays) -> None:
    """Relative to the largest element; where all are near 0, such as behind a norm of one feature, to 0.001."""
    assert ours.keys() == theirs.keys()
    for name, b in theirs.items():
        a = ours[name]
        assert a.shape == b.shape and a.dtype == b.dtype, name
        assert np.abs(a - b).max() / max(np.abs(b).max(), 1e-3) < TOLERANCE, name


def hidden(seen: np.ndarray) -> Any:
    """PyTorch's masks say what must not be seen."""
    return torch.tensor(~seen)


def padding(generator: np.random.Generator, B: int, T: int) -> np.ndarray:
    """(B, T), True where a token is."""
    return np.arange(T) < generator.integers(1, T + 1, B)[:, None]


@quick
@given(sizes, sizes, st.integers(1, 3), st.integers(2, 4), sizes, options, st.booleans(), st.booleans(), seeds)
def test_encoder_layer(
    B: int, T: int, N: int, d: int, F: int, options: Any, causal: bool, graph: bool, seed: int
) -> None:
    problem = Problem(seed, "TransformerEncoderLayer", (N * d, N, F), options, [(B, T, N * d)])
    seen = padding(np.random.default_rng(seed), B, T)
    past = np.tri(T, dtype=bool) if causal else np.ones((T, T), bool)
    compare(
        problem.ours(lambda layer, x: layer(x, seen[:, None, None], causal=causal), create_graph=graph),
        problem.theirs(lambda layer, x: layer(x, src_mask=hidden(past), src_key_padding_mask=hidden(seen))),
    )


@quick
@given(sizes, sizes, sizes, st.integers(1, 3), st.integers(2, 4), sizes, options, st.booleans(), seeds)
def test_decoder_layer(B: int, S: int, T: int, N: int, d: int, F: int, options: Any, graph: bool, seed: int) -> None:
    problem = Problem(seed, "TransformerDecoderLayer", (N * d, N, F), options, [(B, S, N * d), (B, T, N * d)])
    seen, past = padding(np.random.default_rng(seed), B, T), np.tri(S, dtype=bool)
    compare(
        problem.ours(
            lambda layer, x, memory: layer(x, memory, memory_mask=seen[:, None, None], causal=True), create_graph=graph
        ),
        problem.theirs(
            lambda layer, x, memory: layer(x, memory, tgt_mask=hidden(past), memory_key_padding_mask=hidden(seen))
        ),
    )


@quick
@given(st.integers(1, 3), sizes, sizes, st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), options, seeds)
def test_transformer(B: int, S: int, T: int, N: int, up: int, down: int, options: Any, seed: int) -> None:
    D = 4 * N
    problem = Problem(seed, "Transformer", (D, N, up, down, 5), options, [(B, T, D), (B, S, D)])
    seen, past = padding(np.random.default_rng(seed), B, T), np.tri(S, dtype=bool)
    compare(
        problem.ours(lambda m, src, tgt: m(src, tgt, seen[:, None, None], None, seen[:, None, None], causal=True)),
        problem.theirs(
            lambda m, src, tgt: m(
                src,
                tgt,
                tgt_mask=hidden(past),
                src_key_padding_mask=hidden(seen),
                memory_key_padding_mask=hidden(seen),
            )
        ),
    )


def test_stacks_with_and_without_a_norm() -> None:
    for norm in (False, True):
        torch.manual_seed(0)
        theirs = torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(8, 2, 5, dropout=0.0, batch_first=True),
            3,
            torch.nn.LayerNorm(8) if norm else None,
        ).double()
        ours = ts.nn.TransformerEncoder(
            ts.nn.TransformerEncoderLayer(8, 2, 5, dropout=0.0), 3, ts.nn.LayerNorm(8) if norm else None
        ).to("float64")
        ours.load_state_dict(theirs.state_dict())
        x = np.random.default_rng(0).standard_normal((2, 4, 8))
        compare({"output": ours(ts.tensor(x)).data}, {"output": theirs(torch.tensor(x)).detach().numpy()})


@pytest.mark.parametrize("norm_first", [False, True])
def test_float32_is_as_exact_as_pytorch_s(norm_first: bool) -> None:
    """Against the float64 truth, our error is at most twice PyTorch's: both round, neither may drift."""
    squares: dict[str, Any] = {}  # name -> [our squared error, PyTorch's], over all seeds, relative to the array's size
    past = np.tri(20, dtype=bool)

    def ours(model: Any, src: Any, tgt: Any) -> Any:
        return model(src, tgt, causal=True)

    def theirs(model: Any, src: Any, tgt: Any) -> Any:
        return model(src, tgt, tgt_mask=hidden(past))

    for seed in range(4):
        problem = Problem(
            seed,
            "Transformer",
            (32, 4, 2, 2, 64),
            {"activation": "gelu", "norm_first": norm_first},
            [(8, 30, 32), (8, 20, 32)],
        )
        truth, mine = problem.theirs(theirs), problem.ours(ours, "float32")
        other = problem.theirs(theirs, torch.float32)
        for name, array in truth.items():
            assert mine[name].dtype == other[name].dtype == np.float32
            if np.abs(array).max() < 1e-10:  # a bias that softmax takes away: both have rounding alone
                continue
            error = [((a[name] - array) ** 2).sum() / (array**2).sum() for a in (mine, other)]
            squares[name] = squares.get(name, 0) + np.array(error)
    ratios = {name: np.sqrt(a / b) for name, (a, b) in squares.items()}
    print(*(f"{name:45s} ours / PyTorch's {ratio:.2f}" for name, ratio in ratios.items()), sep="\n")
    for name, ratio in ratios.items():
        assert ratio <= 2, name
