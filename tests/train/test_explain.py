"""explain_grad: the parts of a shared weight's gradient, one for each time step or use, against backward."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core.engine import walk
from tinygrad_seq.core.state import state

rng = np.random.default_rng(0)
T, B, D, H = 5, 2, 3, 4
LAYERS: dict[str, Callable[..., Any]] = {
    "rnn": ts.nn.RNN,
    "lstm": ts.nn.LSTM,
    "gru": ts.nn.GRU,
    "gru_cho": lambda *sizes, **options: ts.nn.GRU(*sizes, reset_after=False, **options),
}


def normal(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(rng.standard_normal(shape), requires_grad=grad)


def layer_and_loss(kind: str, **options: Any) -> tuple[Any, Callable[[], ts.Tensor]]:
    layer = LAYERS[kind](D, H, **options)
    layer.to("float64")
    x, weights = normal(B, T, D), rng.standard_normal((B, T, H * (1 + options.get("bidirectional", False))))
    return layer, lambda: (layer(x)[0] * ts.tensor(weights)).sum()


def check_sum(loss: ts.Tensor, parameter: ts.Tensor) -> np.ndarray:
    """The parts, which add up to what backward gives."""
    parts = ts.explain_grad(loss, parameter).numpy()
    whole = ts.grad(loss, parameter, retain_graph=True).numpy()
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(parts.sum(0), whole, rtol=0, atol=1e-12 * np.abs(whole).max())
    return parts


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_parts_of_every_parameter_add_up(kind: str, fused: bool) -> None:
    layer, compute = layer_and_loss(kind, num_layers=2, bidirectional=True)
    state.fused, before = fused, state.fused
    try:
        loss = compute()
    finally:
        state.fused = before
    for name, parameter in layer.named_parameters():
        parts = check_sum(loss, parameter)
        assert parts.shape == (T, *parameter.shape), name
        assert all(np.abs(part).max() > 0 for part in parts[1:-1]), name
        assert parameter.grad is None
    loss.backward()  # the graph is as it was
    for _, parameter in layer.named_parameters():
        assert parameter.grad is not None


@pytest.mark.parametrize("kind", LAYERS)
def test_each_part_is_the_derivative_through_its_own_step(kind: str) -> None:
    """A copy of the weights for each step, in a loop of cells, says the same independently."""
    layer, compute = layer_and_loss(kind)
    cells = []
    for _ in range(T):
        cell = {"rnn": ts.nn.RNNCell, "lstm": ts.nn.LSTMCell}.get(
            kind, lambda *sizes: ts.nn.GRUCell(*sizes, reset_after=kind == "gru")
        )(D, H)
        cell.to("float64")
        for name, parameter in cell.named_parameters():
            parameter.data[...] = getattr(layer, f"{name}_l0").data
        cells.append(cell)
    x, weights = normal(B, T, D), normal(B, T, H)
    loss = (layer(x)[0] * weights).sum()
    memory, own = None, ts.tensor(0.0, dtype="float64")
    for t, cell in enumerate(cells):
        memory = cell(x[:, t], memory)
        h = memory[0] if isinstance(memory, tuple) else memory
        own = own + (h * weights[:, t]).sum()
    own.backward()
    for name, _ in cells[0].named_parameters():
        parts = ts.explain_grad(loss, getattr(layer, f"{name}_l0")).numpy()
        for t, cell in enumerate(cells):
            expected = getattr(cell, name).grad.numpy()
            np.testing.assert_allclose(parts[t], expected, rtol=1e-12, atol=1e-12, err_msg=f"{name}, step {t}")


def test_sequences_of_their_own_lengths() -> None:
    layer, _ = layer_and_loss("lstm")
    x = normal(3, T, D)
    loss = layer(x, lengths=[2, 3, 1])[0].sum()
    parts = check_sum(loss, layer.weight_hh_l0)
    assert [bool(np.abs(part).max() > 0) for part in parts] == [False, True, True, False, False]  # h_0 = 0


def test_a_step_that_the_loss_does_not_see_contributes_zeros() -> None:
    layer, _ = layer_and_loss("gru")
    parts = check_sum(layer(normal(B, T, D))[0][:, 2].sum(), layer.weight_ih_l0)
    assert [bool(np.abs(part).max() > 0) for part in parts] == [True, True, True, False, False]


def test_a_layer_run_twice_goes_on_in_time() -> None:
    layer, _ = layer_and_loss("lstm")
    x = normal(B, 2 * T, D)
    whole = check_sum(layer(x)[0].sum(), layer.weight_hh_l0)
    first, memory = layer(x[:, :T])
    second, _ = layer(x[:, T:], memory)
    np.testing.assert_allclose(check_sum(first.sum() + second.sum(), layer.weight_hh_l0), whole, rtol=1e-12, atol=1e-14)


def test_two_loops_outside_of_any_scope_follow_each_other() -> None:
    layer, _ = layer_and_loss("rnn")
    x, W = normal(B, T, D), [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
    with ts.definitions():
        h, h_T = ts.ops.rnn(x[:, :3], normal(B, H), *W)
        more, _ = ts.ops.rnn(x[:, 3:], h_T, *W, reverse=True)
    assert len(check_sum(h.sum() + more.sum(), W[0])) == T


def test_a_loop_of_ones_own() -> None:
    W, U = normal(D, H, grad=True), normal(H, H, grad=True)
    xs, h = normal(T, B, D), ts.tensor(np.zeros((B, H)))
    states = []
    for x_t in xs:
        h = ts.ops.tanh(x_t @ W + h @ U)
        h.retain_grad()
        states.append(h)
    loss = (h**2).sum()
    parts, inner = check_sum(loss, W), check_sum(loss, U)
    loss.backward()
    for t, state_t in enumerate(states):
        before = (state_t.grad * (1 - state_t**2)).numpy()
        np.testing.assert_allclose(parts[t], xs.numpy()[t].T @ before, rtol=1e-12)
    assert inner.shape == (T, H, H) and np.all(inner[0] == 0)


def test_a_weight_that_a_loop_and_something_else_use() -> None:
    layer, _ = layer_and_loss("rnn")
    W = layer.weight_hh_l0
    out, _ = layer(normal(B, T, D))
    parts = check_sum((out @ W).sum() + (W * W).sum(), W)
    assert len(parts) == T + 2  # an operation that takes it twice is one use
    np.testing.assert_allclose(parts[-1], 2 * W.numpy(), rtol=1e-12)


def test_what_the_loop_uses_may_be_made_from_the_weight() -> None:
    layer, _ = layer_and_loss("rnn")
    raw = normal(H, H, grad=True)
    scaled = ts.ops.softmax(raw) * 2
    out, _ = ts.ops.rnn(
        normal(B, T, D), normal(B, H), layer.weight_ih_l0, scaled, layer.bias_ih_l0, nonlinearity="tanh"
    )
    parts = check_sum((out**2).sum(), raw)
    assert parts.shape == (T, H, H) and all(np.abs(part).max() > 0 for part in parts)


@pytest.mark.parametrize("name", ["PeepholeLSTM", "LayerNormLSTM", "ResidualRNN"])
def test_variants_that_are_scans(name: str) -> None:
    layer = getattr(ts.nn, name)(H, H, **({"num_layers": 2} if name == "ResidualRNN" else {}))
    layer.to("float64")
    loss = (layer(normal(B, T, H))[0] ** 2).sum()
    for _, parameter in layer.named_parameters():
        assert len(check_sum(loss, parameter)) == T


def test_a_decoder_that_attends() -> None:
    config = ts.models.AttentionDecoderConfig(source_vocab_size=7, target_vocab_size=7, hidden_size=H)
    model = ts.models.AttentionDecoder(config)
    model.to("float64")
    loss = 1000 * model.loss(rng.integers(3, 7, (B, 4)), rng.integers(3, 7, (B, T)))
    uses = {name: len(check_sum(loss, parameter)) for name, parameter in model.named_parameters()}
    assert uses["encoder.weight_hh_l0"] == 4 and uses["cell.weight_hh"] == uses["attention.score.W_1"] == T - 1
    assert uses["source_embedding.weight"] == 2 * 4  # the steps of both directions read what it gives
    assert uses["output.weight"] == 1


def test_a_linear_layer_is_one_use() -> None:
    layer = ts.nn.Linear(D, H)
    assert ts.explain_grad(layer(normal(B, T, D).astype("float32")).sum(), layer.weight).shape == (1, H, D)


def test_graph_and_grad_stay() -> None:
    layer, compute = layer_and_loss("lstm")
    loss = compute()
    before = ts.graph(loss).dot
    parts = ts.explain_grad(loss, layer.weight_hh_l0)
    assert not parts.requires_grad and layer.weight_hh_l0.grad is None and ts.graph(loss).dot == before
    with ts.record() as r:
        ts.explain_grad(loss, layer.weight_hh_l0)
    assert len(r) == 0


def test_errors() -> None:
    layer, compute = layer_and_loss("lstm")
    W, loss = layer.weight_hh_l0, compute()
    with pytest.raises(ValueError, match=r"a leaf that requires a gradient, .* \(5,\) that requires none"):
        ts.explain_grad(loss, normal(5))
    with pytest.raises(ValueError, match="an operation made"):
        ts.explain_grad(loss, W * 2)
    s = ts.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="the loss is the parameter itself: no operation uses it"):
        ts.explain_grad(s, s)
    with pytest.raises(ValueError, match=r"does not depend on this parameter of shape \(2,\)"):
        ts.explain_grad(loss, normal(2, grad=True))
    with pytest.raises(ValueError, match="reduce it first"):
        ts.explain_grad(layer(normal(B, T, D))[0], W)
    with ts.no_grad(), pytest.raises(ValueError, match="no graph"):
        ts.explain_grad(compute(), W)
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        ts.explain_grad(loss, W)
    loss = compute()
    ts.optim.SGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match="written into"):
        ts.explain_grad(loss, W)


def test_the_same_on_every_device_and_the_host_never_waits(device: Any) -> None:
    values = rng.standard_normal((B, T, D)).astype("float32")

    def parts(x: ts.Tensor) -> ts.Tensor:
        ts.seed(0)
        layer = ts.nn.LSTM(D, H, 2).to(x.device)
        return ts.explain_grad(layer(x)[0].sum(), layer.weight_hh_l0)

    there = device.host(parts(device.tensor(values)))
    np.testing.assert_allclose(there, parts(ts.tensor(values)).numpy(), rtol=1e-4, atol=1e-6)


def test_under_no_grad_there_are_all_parts() -> None:
    layer = ts.nn.GRU(3, 4).to("float64")
    loss = layer(ts.tensor(np.ones((1, 5, 3))))[0].sum()
    expected = ts.explain_grad(loss, layer.weight_hh_l0).numpy()
    with ts.no_grad():
        found = ts.explain_grad(loss, layer.weight_hh_l0)
    assert found.shape == (5, 12, 4)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_hooks_of_the_weight_are_for_the_whole_gradient() -> None:
    layer = ts.nn.RNN(3, 4).to("float64")
    loss = layer(ts.tensor(np.ones((1, 5, 3))))[0].sum()
    before = ts.explain_grad(loss, layer.weight_hh_l0).numpy()
    calls: list[int] = []
    layer.weight_hh_l0.register_hook(lambda g: calls.append(1) or g * 0)
    np.testing.assert_array_equal(ts.explain_grad(loss, layer.weight_hh_l0).numpy(), before)
    assert len(calls) <= 1, "not one for each part"


def test_the_graph_is_never_changed_not_even_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may walk it at any moment: what it would find is what was there before."""
    layer = ts.nn.LSTM(3, 4, 2).to("float64")
    loss = layer(ts.tensor(np.ones((2, 5, 3))))[0].sum()
    before: dict[Any, list[Any]] = {}
    waiting = [loss.place]
    while waiting:
        place = waiting.pop()
        op = getattr(place, "op", place)
        if op is not None and op not in before and hasattr(op, "sources"):
            before[op] = list(op.sources)
            waiting += op.sources
    walks = []

    def watched(*args: Any) -> Any:
        walks.append(all(op.sources == sources for op, sources in before.items()))
        return walk(*args)

    monkeypatch.setattr("tinygrad_seq.train.explain.walk", watched)
    ts.explain_grad(loss, layer.weight_hh_l0)
    assert len(walks) > 1 and all(walks)


def test_what_is_no_tensor() -> None:
    layer = ts.nn.RNN(3, 4)
    with pytest.raises(TypeError, match="the parameter is a tensor, got int"):
        ts.explain_grad(layer(ts.tensor(np.ones((1, 2, 3), np.float32)))[0].sum(), 3)
    with pytest.raises(TypeError, match="the loss is a tensor, got float"):
        ts.explain_grad(1.0, layer.weight_hh_l0)
