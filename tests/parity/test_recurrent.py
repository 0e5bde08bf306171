"""RNN, LSTM, GRU against PyTorch: outputs, final states, every gradient; weights carried by load_state_dict alone."""

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

KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "tanh RNN": (ts.nn.RNN, torch.nn.RNN, {}),
    "relu RNN": (ts.nn.RNN, torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (ts.nn.LSTM, torch.nn.LSTM, {}),
    "GRU": (ts.nn.GRU, torch.nn.GRU, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class Problem:
    """One layer with its inputs, run by either library: {what: array} of outputs, states and gradients."""

    def __init__(
        self,
        kind: str,
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
        self.kind, self.torch_kind, own = KINDS[kind]
        self.sizes, self.options = (D, H, layers), {"bidirectional": bidirectional, **own}
        self.torch = self.torch_kind(*self.sizes, batch_first=True, **self.options).double()
        self.fields = ("h", "c") if self.kind is ts.nn.LSTM else ("h",)
        directions = layers * (2 if bidirectional else 1)
        self.x = generator.standard_normal((B, T, D))
        states = (len(self.fields), directions, B, H)
        self.state = generator.standard_normal(states) if given_state else None
        self.lengths = generator.integers(1, T + 1, B) if packed else None
        self.weights = [generator.standard_normal((B, T, H * (2 if bidirectional else 1)))]
        self.weights += list(generator.standard_normal(states))

    def ours(self, dtype: str = "float64", create_graph: bool = False) -> dict[str, np.ndarray]:
        layer = self.kind(*self.sizes, **self.options).to(dtype)
        layer.load_state_dict(self.torch.state_dict())
        x = ts.tensor(self.x, dtype=dtype, requires_grad=True)
        inputs, state = {"x": x}, None
        if self.state is not None:
            state = tuple(ts.tensor(s, dtype=dtype, requires_grad=True) for s in self.state)
            inputs |= {f"{field}_0": part for field, part in zip(self.fields, state, strict=True)}
            state = state if len(state) > 1 else state[0]
        inputs |= dict(layer.named_parameters())
        out, last = layer(x, state, self.lengths)
        ends = last if isinstance(last, tuple) else (last,)
        weights = [ts.tensor(w, dtype=dtype) for w in self.weights]
        loss = sum(((a * w).sum() for a, w in zip((out, *ends), weights, strict=True)), ts.tensor(0.0, dtype=dtype))
        gs = ts.grad(loss, list(inputs.values()), create_graph=create_graph)
        return {name: t.data for name, t in self.named(out, ends, inputs, gs).items()}

    def theirs(self, dtype: Any = torch.float64) -> dict[str, np.ndarray]:
        layer = self.torch_kind(*self.sizes, batch_first=True, **self.options).to(dtype)
        layer.load_state_dict(self.torch.state_dict())
        x = torch.tensor(self.x, dtype=dtype, requires_grad=True)
        inputs, state = {"x": x}, None
        if self.state is not None:
            state = tuple(torch.tensor(s, dtype=dtype, requires_grad=True) for s in self.state)
            inputs |= {f"{field}_0": part for field, part in zip(self.fields, state, strict=True)}
            state = state if len(state) > 1 else state[0]
        inputs |= dict(layer.named_parameters())
        if self.lengths is None:
            out, last = layer(x, state)
        else:
            packed = rnn.pack_padded_sequence(x, torch.tensor(self.lengths), batch_first=True, enforce_sorted=False)
            out, last = layer(packed, state)
            out, _ = rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
        ends = last if isinstance(last, tuple) else (last,)
        weights = [torch.tensor(w, dtype=dtype) for w in self.weights]
        loss = sum((a * w).sum() for a, w in zip((out, *ends), weights, strict=True))
        gs = torch.autograd.grad(loss, list(inputs.values()))
        return {name: t.detach().numpy() for name, t in self.named(out, ends, inputs, gs).items()}

    def named(self, out: Any, ends: Any, inputs: dict[str, Any], gs: Any) -> dict[str, Any]:
        found = {"out": out} | {f"{field}_n": part for field, part in zip(self.fields, ends, strict=True)}
        return found | {f"d{name}": g for name, g in zip(inputs, gs, strict=True)}


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))


@every_kind
@quick
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5),
    st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_random_shapes(
    kind: str,
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
    problem = Problem(kind, seed, B, T, D, H, layers, bidirectional, packed, given_state)
    expected = problem.theirs()
    for create_graph in (False, True):
        ours = problem.ours(create_graph=create_graph)
        assert ours.keys() == expected.keys()
        for name, array in expected.items():
            assert relative_error(ours[name], array) < TOLERANCE, name


@every_kind
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
def test_every_combination(kind: str, layers: int, bidirectional: bool, packed: bool, given_state: bool) -> None:
    problem = Problem(kind, 1, 5, 7, 3, 4, layers, bidirectional, packed, given_state)
    ours, expected = problem.ours(), problem.theirs()
    for name, array in expected.items():
        assert relative_error(ours[name], array) < TOLERANCE, name


@every_kind
def test_a_larger_one(kind: str) -> None:
    """Beyond the sizes at which a kernel cuts its products into blocks."""
    problem = Problem(kind, 2, 32, 20, 40, 96, 1, False, True, True)
    ours, expected = problem.ours(), problem.theirs()
    for name, array in expected.items():
        assert relative_error(ours[name], array) < TOLERANCE, name


@every_kind
def test_weights_go_back(kind: str) -> None:
    ours, theirs, own = KINDS[kind]
    layer, there = (
        ours(3, 4, 2, bidirectional=True, **own),
        theirs(3, 4, 2, bidirectional=True, batch_first=True, **own),
    )
    there.load_state_dict({name: torch.from_numpy(array) for name, array in layer.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(
        layer(ts.tensor(x))[0].data, there(torch.from_numpy(x))[0].detach(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "own"),
    [
        (ts.nn.RNNCell, torch.nn.RNNCell, {}),
        (ts.nn.RNNCell, torch.nn.RNNCell, {"nonlinearity": "relu"}),
        (ts.nn.LSTMCell, torch.nn.LSTMCell, {}),
        (ts.nn.GRUCell, torch.nn.GRUCell, {}),
    ],
)
def test_cells(ours: Any, theirs: Any, own: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    there, here = theirs(3, 4, **own).double(), ours(3, 4, **own).to("float64")
    here.load_state_dict(there.state_dict())
    x, *states = generator.standard_normal((2, 3)), *generator.standard_normal((len(here.State._fields), 2, 4))
    given = [ts.tensor(a, requires_grad=True) for a in (x, *states)]
    given_there = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    state, state_there = (tuple(s) if len(s) > 1 else s[0] for s in (given[1:], given_there[1:]))
    new, new_there = here(given[0], state), there(given_there[0], state_there)
    parts, parts_there = (s if isinstance(s, tuple) else (s,) for s in (new, new_there))
    assert len(parts) == len(parts_there)
    gs = ts.grad(sum(((k + part) ** 2).sum() for k, part in enumerate(parts)), [*given, *here.parameters()])
    loss = sum(((k + part) ** 2).sum() for k, part in enumerate(parts_there))
    for a, b in zip(
        [*parts, *gs], [*parts_there, *torch.autograd.grad(loss, [*given_there, *there.parameters()])], strict=True
    ):
        assert relative_error(a.data, b.detach().numpy()) < TOLERANCE


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_float32_is_as_exact_as_pytorch_s(kind: str, bidirectional: bool) -> None:
    """Against the float64 truth, the error of every single array is at most twice PyTorch's: neither may drift."""
    squares: dict[str, Any] = {}  # name -> [our squared error, PyTorch's], over all seeds, relative to the array's size
    for seed in range(4):
        problem = Problem(kind, seed, 8, 40, 16, 32, 2, bidirectional, False, True)
        truth, ours, theirs = problem.theirs(), problem.ours("float32"), problem.theirs(torch.float32)
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
        assert ratio <= 2, name


@every_kind
def test_float32_over_rows_of_a_table_is_as_exact(kind: str) -> None:
    """The same bound where x is an embedding of few rows, whose products are made row by row."""
    squares: dict[str, Any] = {}
    for seed in range(4):
        problem = Problem(kind, seed, 8, 40, 16, 32, 1, False, False, True)
        generator = np.random.default_rng(seed)
        table, tokens = generator.standard_normal((12, 16)), generator.integers(0, 12, (8, 40))
        problem.x = table[tokens]
        truth, theirs = problem.theirs(), problem.theirs(torch.float32)
        layer = problem.kind(*problem.sizes, **problem.options)
        layer.load_state_dict(problem.torch.state_dict())
        E = ts.tensor(table, dtype="float32", requires_grad=True)
        state = tuple(ts.tensor(s, dtype="float32") for s in problem.state)
        out, last = layer(ts.ops.embedding(E, tokens), state if len(state) > 1 else state[0])
        ends = last if isinstance(last, tuple) else (last,)
        weights = [ts.tensor(w, dtype="float32") for w in problem.weights]
        loss = sum(((a * w).sum() for a, w in zip((out, *ends), weights, strict=True)), ts.tensor(0.0))
        names, parameters = zip(*layer.named_parameters(), strict=True)
        *gs, of_table = ts.grad(loss, [*parameters, E])
        arrays = {name: (g.data, theirs[f"d{name}"], truth[f"d{name}"]) for name, g in zip(names, gs, strict=True)}
        arrays["out"] = out.data, theirs["out"], truth["out"]
        summed = [np.zeros((12, 16), found["dx"].dtype) for found in (theirs, truth)]
        for total, found in zip(summed, (theirs, truth), strict=True):
            np.add.at(total, tokens, found["dx"])
        arrays["table"] = of_table.data, *summed
        for name, (ours, other, exact) in arrays.items():
            error = [((a - exact) ** 2).sum() / (exact**2).sum() for a in (ours, other)]
            squares[name] = squares.get(name, 0) + np.array(error)
    for name, (ours, other) in squares.items():
        print(f"{name:24s} ours / PyTorch's {np.sqrt(ours / other):.2f}")
        assert np.sqrt(ours / other) <= 2, name
