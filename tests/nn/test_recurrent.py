"""What RNN, LSTM and GRU share: shapes, states, lengths, directions, learned states, cells, names, errors."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn
from tinygrad_seq.testing import check_grads

B, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)

KINDS: dict[str, tuple[type[nn.Module], type[nn.Module], dict[str, Any]]] = {
    "tanh RNN": (nn.RNN, nn.RNNCell, {}),
    "relu RNN": (nn.RNN, nn.RNNCell, {"nonlinearity": "relu"}),
    "sigmoid RNN": (nn.RNN, nn.RNNCell, {"nonlinearity": "sigmoid"}),
    "LSTM": (nn.LSTM, nn.LSTMCell, {}),
    "GRU": (nn.GRU, nn.GRUCell, {}),
    "GRU of Cho et al.": (nn.GRU, nn.GRUCell, {"reset_after": False}),
}
GATES = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}
Make = Callable[..., Any]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a layer of each kind, in float64."""
    kind, _, own = KINDS[request.param]

    def layer(*sizes: int, **options: Any) -> Any:
        ts.seed(1)
        return kind(*(sizes or (D, H)), **own, **options).to("float64")

    return layer


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A layer and the cell that has its parameters."""
    kind, cell_kind, own = KINDS[request.param]
    layer, cell = kind(D, H, **own).to("float64"), cell_kind(D, H, **own).to("float64")
    cell.load_state_dict({name.removesuffix("_l0"): a for name, a in layer.state_dict().items()})
    return layer, cell


def batch(b: int = B, t: int = T, d: int = D) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal((b, t, d)), requires_grad=True)


def parts(state: Any) -> tuple[ts.Tensor, ...]:
    """A state's tensors, h first."""
    return tuple(state) if isinstance(state, tuple) else (state,)


def scaled(layer: Any, by: float = 2.0) -> Any:
    """The layer with larger weights, so that its gates are not all near ½."""
    for p in layer.parameters():
        p.data *= by
    return layer


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("b", "t"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_shapes(make: Make, layers: int, bidirectional: bool, b: int, t: int) -> None:
    layer, directions = make(D, H, layers, bidirectional=bidirectional), 2 if bidirectional else 1
    out, state = layer(batch(b, t))
    assert out.shape == (b, t, directions * H)
    assert type(state) is (ts.ops.LSTMState if isinstance(layer, nn.LSTM) else ts.Tensor)
    assert {part.shape for part in parts(state)} == {(layers * directions, b, H)}
    # The last layer's state is the output at its own last step.
    h = parts(state)[0].data
    np.testing.assert_array_equal(h[-directions], out.data[:, -1, :H])
    if bidirectional:
        np.testing.assert_array_equal(h[-1], out.data[:, 0, H:])


def test_stacked_layers_read_the_layer_below(make: Make) -> None:
    layer, x = make(D, H, 2), batch()
    out, state = layer(x)
    below, above = make(D, H), make(H, H)
    values = layer.state_dict()
    below.load_state_dict({name: array for name, array in values.items() if name.endswith("l0")})
    above.load_state_dict({name.replace("l1", "l0"): array for name, array in values.items() if name.endswith("l1")})
    middle, first = below(x)
    top, second = above(middle)
    np.testing.assert_array_equal(out.data, top.data)
    for whole, one, two in zip(parts(state), parts(first), parts(second), strict=True):
        np.testing.assert_array_equal(whole.data, np.concatenate([one.data, two.data]))


def test_the_other_direction_reads_from_the_end(make: Make) -> None:
    layer, x = make(D, H, bidirectional=True), batch()
    out, state = layer(x)
    back, values = make(D, H), layer.state_dict()
    back.load_state_dict({name.removesuffix("_reverse"): values[name] for name in values if name.endswith("_reverse")})
    flipped, final = back(ts.tensor(x.data[:, ::-1]))
    np.testing.assert_allclose(out.data[..., H:], flipped.data[:, ::-1], rtol=1e-12, atol=1e-14)
    for both, one in zip(parts(state), parts(final), strict=True):
        np.testing.assert_allclose(both.data[1], one.data[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lengths", [[5, 3, 1], [1, 5, 2], [5, 5, 5], [2, 2, 2]])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("given_state", [False, True])
def test_lengths_are_the_sequences_one_by_one(
    make: Make, lengths: list[int], options: dict[str, Any], given_state: bool
) -> None:
    layer, x = scaled(make(D, H, **options)), batch()
    out, state = layer(x)
    begin = [ts.tensor(RNG.standard_normal(part.shape)) for part in parts(state)] if given_state else None
    out, state = layer(x, begin, lengths)
    weights = [RNG.standard_normal(a.shape) for a in (out, *parts(state))]
    loss = sum(((a * w).sum() for a, w in zip((out, *parts(state)), weights, strict=True)), ts.tensor(0.0))
    g, *gs = ts.grad(loss, [x, *layer.parameters()])

    total = ts.tensor(0.0)
    for k, n in enumerate(lengths):
        alone, last = layer(x[k : k + 1, :n], None if begin is None else [part[:, k : k + 1] for part in begin])
        # A batch of one takes other routes through the matrix product: equal but for the last bits.
        np.testing.assert_allclose(out.data[k, :n], alone.data[0], rtol=1e-12, atol=1e-14)
        assert (out.data[k, n:] == 0).all(), "exactly 0 beyond the end"
        total = total + (alone * weights[0][k : k + 1, :n]).sum()
        for part, one, w in zip(parts(state), parts(last), weights[1:], strict=True):
            np.testing.assert_allclose(part.data[:, k], one.data[:, 0], rtol=1e-12, atol=1e-14)
            total = total + (one * w[:, k : k + 1]).sum()
    expected, *expecteds = ts.grad(total, [x, *layer.parameters()])
    np.testing.assert_allclose(g.data, expected.data, rtol=1e-9, atol=1e-13)
    for k, n in enumerate(lengths):
        assert (g.data[k, n:] == 0).all(), "no gradient beyond the end"
    for a, b in zip(gs, expecteds, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-12)


def test_what_stands_beyond_the_end_does_not_matter(make: Make) -> None:
    layer, x = make(D, H, bidirectional=True), batch()
    lengths = [5, 2, 3]
    out, state = layer(x, lengths=lengths)
    other = x.data.copy()
    for k, n in enumerate(lengths):
        other[k, n:] = 1e6
    out2, state2 = layer(ts.tensor(other), lengths=lengths)
    np.testing.assert_array_equal(out.data, out2.data)
    for a, b in zip(parts(state), parts(state2), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("kind", [list, tuple, np.array, ts.tensor, lambda n: np.array(n, np.int32)])
def test_lengths_as_list_array_or_tensor(kind: Any) -> None:
    layer, x = nn.GRU(D, H).to("float64"), batch()
    expected, _ = layer(x, lengths=[2, 5, 1])
    np.testing.assert_array_equal(layer(x, lengths=kind([2, 5, 1]))[0].data, expected.data)


def test_full_lengths_are_no_lengths(make: Make) -> None:
    layer, x = make(D, H, bidirectional=True), batch()
    np.testing.assert_array_equal(layer(x, lengths=[T] * B)[0].data, layer(x)[0].data)


def test_a_state_given_goes_on_where_it_was(make: Make) -> None:
    layer, x = make(D, H, 2), batch()
    out, state = layer(x)
    first, between = layer(x[:, :2])
    second, last = layer(x[:, 2:], between)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], 1), out.data, rtol=1e-12, atol=1e-14)
    for a, b in zip(parts(last), parts(state), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)
    cut = ts.train.detach(between)
    np.testing.assert_array_equal(layer(x[:, 2:], cut)[0].data, second.data)
    again, _ = layer(x[:, 2:], parts(between))  # a bare tuple, as PyTorch takes an LSTM's
    np.testing.assert_array_equal(again.data, second.data)


def test_gradients_flow_into_the_state(make: Make) -> None:
    layer, x = make(), batch()
    _, state = layer(x)
    begin = [ts.tensor(RNG.standard_normal(part.shape), requires_grad=True) for part in parts(state)]
    out, _ = layer(x, begin)
    for g in ts.grad(out.sum(), begin):
        assert np.abs(g.data).max() > 0


def test_dropout_between_layers_in_training_alone(make: Make) -> None:
    layer, x = make(D, H, 2, dropout=0.5), batch()
    ts.seed(0)
    a, b = layer(x)[0].data, layer(x)[0].data
    assert not np.array_equal(a, b)
    layer.eval()
    a, b = layer(x)[0].data, layer(x)[0].data
    np.testing.assert_array_equal(a, b)
    one = make(D, H, 1, dropout=0.5)
    np.testing.assert_array_equal(one(x)[0].data, one(x)[0].data, "the last layer's output is not dropped")


# -- a state that is learned


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_the_learned_state_is_where_every_sequence_begins(make: Make, options: dict[str, Any]) -> None:
    layer, plain, x = make(D, H, **options, learn_state=True), make(D, H, **options), batch()
    learned = {name: p for name, p in layer.named_parameters() if name.endswith("_0")}
    assert list(learned) == (["h_0", "c_0"] if isinstance(layer, nn.LSTM) else ["h_0"])
    assert {p.shape for p in learned.values()} == {(layer.num_layers * (1 + layer.bidirectional), H)}
    assert not any(p.data.any() for p in learned.values()), "at first 0"
    plain.load_state_dict({name: a for name, a in layer.state_dict().items() if name not in learned})
    np.testing.assert_array_equal(layer(x)[0].data, plain(x)[0].data)
    for p in learned.values():
        p.data[...] = RNG.standard_normal(p.shape)
    wide = [ts.tensor(np.repeat(p.data[:, None], B, 1)) for p in learned.values()]
    np.testing.assert_array_equal(layer(x)[0].data, plain(x, wide)[0].data)
    np.testing.assert_array_equal(layer(x, wide)[0].data, plain(x, wide)[0].data, "a state given comes first")


def test_the_learned_state_trains(make: Make) -> None:
    """To say at the first step what no input has said yet: from a state that is fixed it cannot."""
    layer = make(1, H, learn_state=True)
    layer.bias_hh_l0.data[...] = 0.5  # no relu is asleep
    x, target = ts.tensor(np.zeros((2, 1, 1))), np.linspace(0.05, 0.45, H)
    weights = [p for name, p in layer.named_parameters() if name.endswith("_0")]
    optimizer = ts.optim.Adam(weights, lr=0.05)
    losses = []
    for _ in range(150):
        out, _ = layer(x)
        loss = ((out - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(p.data.any() for p in weights)


# -- cells


def test_cells_in_a_loop_are_the_layer(pair: tuple[Any, Any]) -> None:
    layer, cell = pair
    x = batch()
    out, last = layer(x)
    state, outs = None, []
    for x_t in ts.ops.unstack(x, 1):
        state = cell(x_t, state)
        outs.append(parts(state)[0])
    np.testing.assert_allclose(ts.ops.stack(outs, 1).data, out.data, rtol=1e-12, atol=1e-14)
    assert type(state) is type(last)
    for a, b in zip(parts(state), parts(last), strict=True):
        np.testing.assert_allclose(a.data, b.data[0], rtol=1e-12, atol=1e-14)
    ours = ts.grad(ts.ops.stack(outs, 1).sum(), [x, *cell.parameters()])
    for a, b in zip(ours, ts.grad(out.sum(), [x, *layer.parameters()]), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
def test_a_cell_s_step_fits_scan(pair: tuple[Any, Any], lengths: list[int] | None) -> None:
    layer, cell = pair
    x, zeros = batch(), ts.tensor(np.zeros((B, H)))
    out, last = layer(x, lengths=lengths)
    symbols, state = ts.ops.scan(cell.step, cell.State(*[zeros] * len(parts(last))), x, lengths=lengths)
    np.testing.assert_allclose(symbols.h_t.data, out.data, rtol=1e-12, atol=1e-14)
    for a, b in zip(state, parts(last), strict=True):
        np.testing.assert_allclose(a.data, b.data[0], rtol=1e-12, atol=1e-14)


# -- names


@pytest.mark.parametrize("kind", GATES)
def test_parameters_have_pytorch_s_names_and_shapes(kind: Any) -> None:
    shapes = {name: p.shape for name, p in kind(D, H, 2, bidirectional=True).named_parameters()}
    assert list(shapes) == [
        f"{name}_l{k}{end}"
        for k in (0, 1)
        for end in ("", "_reverse")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    G = GATES[kind]
    assert shapes["weight_ih_l0"] == (G * H, D) and shapes["weight_ih_l1_reverse"] == (G * H, 2 * H)
    assert shapes["weight_hh_l1"] == (G * H, H) and shapes["bias_hh_l0"] == (G * H,)


def test_a_cell_has_the_same_without_suffix(pair: tuple[Any, Any]) -> None:
    layer, cell = pair
    assert [f"{name}_l0" for name, _ in cell.named_parameters()] == [name for name, _ in layer.named_parameters()]


def test_they_are_drawn_within_the_root_of_the_width(make: Make) -> None:
    layer = make(30, 50)
    for name, p in layer.named_parameters():
        assert 0.9 * 50**-0.5 < np.abs(p.data).max() <= 50**-0.5, name


def test_repr_says_what_is_not_the_default() -> None:
    assert repr(nn.RNN(2, 3, nonlinearity="relu")).startswith("RNN(2, 3, nonlinearity='relu')  21 parameters")
    assert repr(nn.GRU(2, 3, 2, reset_after=False, bidirectional=True)).startswith(
        "GRU(2, 3, num_layers=2, bidirectional=True, reset_after=False)"
    )
    assert repr(nn.LSTM(2, 3, dropout=0.5, learn_state=True)).startswith("LSTM(2, 3, dropout=0.5, learn_state=True)")
    assert repr(nn.GRUCell(2, 3)).startswith("GRUCell(2, 3)  63 parameters")


# -- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes(make: Make, dtype: str) -> None:
    layer = make(D, H, 2, bidirectional=True, learn_state=True).to(dtype)
    x = ts.tensor(RNG.standard_normal((B, T, D)), dtype=dtype, requires_grad=True)
    out, state = layer(x, lengths=[1, 5, 2])
    assert {t.dtype for t in (out, *parts(state))} == {np.dtype(dtype)}
    (out.sum() + sum(part.sum() for part in parts(state))).backward()
    assert x.grad.dtype == dtype and all(p.grad.dtype == dtype for p in layer.parameters())


# -- bad input


def test_wrong_input_names_the_equation() -> None:
    for layer, words in [
        (nn.RNN(D, H), "RNN: h_t = g(W_hh h_{t-1} + W_xh x_t + b_h) with W_xh (4, 2)"),
        (nn.LSTM(D, H), "LSTM: f_t = σ(W_f x_t + U_f h_{t-1} + b_f) with W_f (4, 2)"),
        (nn.GRU(D, H), "GRU: r_t = σ(W_r x_t + U_r h_{t-1} + b_r) with W_r (4, 2)"),
    ]:
        for shape in ((B, T, D + 1), (B, D), (T,)):
            with pytest.raises(ValueError) as caught:
                layer(ts.tensor(np.ones(shape)))
            assert str(caught.value) == f"{words}: expected x of shape (B, T, 2), got {shape}"
    for cell in (nn.RNNCell(D, H), nn.LSTMCell(D, H), nn.GRUCell(D, H)):
        for shape in ((B, D + 1), (B, T, D), (D,)):
            with pytest.raises(ValueError) as caught:
                cell(ts.tensor(np.ones(shape)))
            assert str(caught.value).startswith(f"{type(cell).__name__}: ")
            assert f"expected x of shape (B, 2), got {shape}" in str(caught.value)


def test_no_time_steps(make: Make) -> None:
    with pytest.raises(ValueError, match=r"expected at least one time step, got x of shape \(3, 0, 2\)"):
        make()(ts.tensor(np.ones((B, 0, D))))


def test_wrong_states(make: Make) -> None:
    layer = make()
    good, bad = ts.tensor(np.zeros((1, B, H))), ts.tensor(np.zeros((B, H)))
    n = len(layer.State._fields)
    for k, field in enumerate(layer.State._fields):
        with pytest.raises(
            ValueError,
            match=rf"expected {field} of shape \(layers · directions, B, H\) = \(1, 3, 4\), got \(3, 4\)",
        ):
            layer(batch(), [bad if j == k else good for j in range(n)])
    for wrong in ([good] * (n + 1), 3, "h", {"h": good}, [3] * n, [*[good] * (n - 1), None]):
        kinds = [type(part).__name__ for part in (wrong if isinstance(wrong, list) else [wrong])]
        with pytest.raises(TypeError) as caught:
            layer(batch(), wrong)
        fields = ", ".join(layer.State._fields)
        words = f"{type(layer).__name__}: expected a state of tensors ({fields}), got ({', '.join(kinds)})"
        assert str(caught.value) == words


def test_a_wrong_state_of_a_cell(pair: tuple[Any, Any]) -> None:
    _, cell = pair
    states = [ts.tensor(np.zeros((B + 1, H)))] * len(cell.State._fields)
    with pytest.raises(ValueError, match=r"expected h of shape \(B, H\) = \(3, 4\), got \(4, 4\)"):
        cell(batch()[:, 0], states)


def test_an_lstm_s_state_has_two_parts() -> None:
    with pytest.raises(TypeError, match=r"LSTM: expected a state of tensors \(h, c\), got \(Tensor\)"):
        nn.LSTM(D, H)(batch(), ts.tensor(np.zeros((1, B, H))))


@pytest.mark.parametrize(
    ("lengths", "kind", "words"),
    [
        ([1, 2], ValueError, r"lengths: expected 3 integers, one for each sequence, got int64 \(2,\)"),
        ([1.0, 2.0, 3.0], ValueError, "lengths: expected 3 integers"),
        (3, ValueError, r"lengths: expected 3 integers, one for each sequence, got int64 \(\)"),
        ("123", ValueError, "lengths: expected 3 integers, one for each sequence, got <U3"),
        ({1, 2, 3}, ValueError, "lengths: expected 3 integers, one for each sequence, got object"),
        ([0, 1, 2], IndexError, "lengths"),
        ([1, 2, 6], IndexError, "lengths"),
    ],
)
def test_wrong_lengths(make: Make, lengths: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        make()(batch(), lengths=lengths)


@pytest.mark.parametrize("kind", GATES)
def test_wrong_constructor_arguments(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}: num_layers is at least 1, got 0"):
        kind(2, 3, 0)
    with pytest.raises(ValueError, match=f"{kind.__name__}: dropout is a probability"):
        kind(2, 3, 2, dropout=1.0)
    for sizes in ((0, 3), (2, 0)):
        with pytest.raises(ValueError, match="a layer's sizes are positive integers"):
            kind(*sizes)


# -- opened, and differentiated twice


def fused_and_opened(layer: Any, x: ts.Tensor, lengths: list[int] | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outputs, states and all gradients, by the kernel and by the definition."""

    def run() -> list[np.ndarray]:
        out, state = layer(x, lengths=lengths)
        loss = (out**2).sum() + sum((part**3).sum() for part in parts(state))
        return [out.data, *(s.data for s in parts(state)), *(g.data for g in ts.grad(loss, [x, *layer.parameters()]))]

    with ts.definitions():
        opened = run()
    return run(), opened


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
def test_opened_it_computes_the_same(make: Make, options: dict[str, Any], lengths: list[int] | None) -> None:
    layer, x = make(D, H, **options), batch()
    for a, b in zip(*fused_and_opened(layer, x, lengths), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("b", [3, 4, 5, 12, 48, 64])
def test_however_products_are_cut_it_computes_the_same(make: Make, b: int) -> None:
    """With so many steps products of 4 to 48 sequences are cut into tiles, on processors where that is faster."""
    for a, e in zip(*fused_and_opened(make(7, 32), batch(b, 90, 7), None), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-11 * np.abs(e).max())


@pytest.mark.parametrize("lengths", [None, [2, 1]])
def test_second_derivatives(make: Make, lengths: list[int] | None) -> None:
    """By the input, the states and every parameter, through two layers in both directions."""
    layer = scaled(make(1, 2, 2, bidirectional=True))
    names = [name for name, _ in layer.named_parameters()]
    x = RNG.standard_normal((2, 2, 1))
    _, state = layer(ts.tensor(x))
    n = len(parts(state))

    def run(x: ts.Tensor, *rest: ts.Tensor) -> Any:
        for name, p in zip(names, rest[n:], strict=True):
            setattr(layer, name, p)  # the layer with tensors in its parameters' places
        return layer(x, rest[:n], lengths)

    states = [RNG.standard_normal(part.shape) for part in parts(state)]
    check_grads(run, [x, *states, *(p.data for p in layer.parameters())])


def test_under_no_grad_it_is_the_same(make: Make) -> None:
    layer, x = make(D, H, bidirectional=True), batch()
    out, _ = layer(x)
    with ts.no_grad():
        again, state = layer(x)
    np.testing.assert_array_equal(out.data, again.data)
    assert not again.requires_grad and not any(part.requires_grad for part in parts(state))


def test_every_layer_and_direction_is_drawn_apart(make: Make) -> None:
    """The scope in which an operation was made names its layer and direction."""

    def names(**options: Any) -> set[str]:
        out, _ = make(D, H, **options)(batch())
        found, waiting = set(), [out.place]
        while waiting:
            place = waiting.pop()
            op = getattr(place, "op", place)
            scope = getattr(op, "scope", None)
            while scope is not None:
                found |= {scope.owner} if isinstance(scope.owner, str) else set()
                scope = scope.parent
            waiting += getattr(op, "sources", [])
        return found

    assert names() == set()
    assert names(num_layers=2, bidirectional=True) == {
        f"l{k}{end}" for k, end in itertools.product((0, 1), ("", "_reverse"))
    }
