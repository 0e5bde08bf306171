"""Activation checkpointing: nothing is kept, everything is as without it."""

import gc
import math
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq.core.checkpoint import Checkpoint
from tinygrad_seq.core.random import get_state
from tinygrad_seq.core.state import state

RNG = np.random.default_rng(0)


def make(*shape: int, grad: bool = True) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal(shape), requires_grad=grad)


def gradients(loss: ts.Tensor, inputs: list[ts.Tensor]) -> list[np.ndarray]:
    return [g.numpy() for g in ts.grad(loss, inputs)]


def same(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_values_and_gradients_are_the_same_to_the_last_bit() -> None:
    layers = [ts.nn.Linear(5, 5) for _ in range(4)]
    x = ts.tensor(RNG.standard_normal((3, 5)).astype("f4"), requires_grad=True)
    parameters = [p for layer in layers for p in layer.parameters()]

    def net(checkpoint: Callable[..., Any]) -> ts.Tensor:
        h = x
        for layer in layers:
            h = checkpoint(lambda h, layer=layer: ts.ops.gelu(layer(h)), h)
        return (h * h).sum()

    plain, checkpointed = net(lambda f, *xs: f(*xs)), net(ts.checkpoint)
    assert plain.item() == checkpointed.item()
    same(gradients(plain, [x, *parameters]), gradients(checkpointed, [x, *parameters]))


def test_backward_adds_to_the_grad_of_what_a_closure_reached() -> None:
    W, b, x = make(3, 3), make(3), make(2, 3, grad=False)
    ts.checkpoint(lambda h: ts.ops.tanh(h @ W + b), x).sum().backward()
    assert W.grad is not None and b.grad is not None
    same([W.grad.numpy(), b.grad.numpy()], gradients(ts.ops.tanh(x @ W + b).sum(), [W, b]))


def test_a_tensor_on_the_way_is_reached_too() -> None:
    x = make(3)
    h = ts.ops.exp(x)  # neither an input nor a leaf
    loss = ts.checkpoint(lambda: h * h * h).sum() + h.sum()
    g = ts.grad(loss, x)
    np.testing.assert_allclose(g.numpy(), 3 * np.exp(3 * x.numpy()) + np.exp(x.numpy()), rtol=1e-12)


def test_a_weight_used_twice_inside_and_once_outside() -> None:
    W, x = make(3, 3), make(2, 3)

    def twice(h: ts.Tensor) -> ts.Tensor:
        return ts.ops.tanh(h @ W) @ W

    plain, checkpointed = (twice(x) @ W).sum(), (ts.checkpoint(twice, x) @ W).sum()
    for a, b in zip(gradients(plain, [x, W]), gradients(checkpointed, [x, W]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


class Pair(NamedTuple):
    a: Any
    b: Any


def test_outputs_may_be_tuples_dicts_and_unused() -> None:
    x, y = make(3), make(3)

    def several(p: Pair) -> Any:
        return Pair(p.a * p.b, [p.a, {"sum": p.a + p.b, "one": 1}]), None

    (product, (same_x, named)), nothing = ts.checkpoint(several, Pair(x, y))
    assert same_x is x and nothing is None and named["one"] == 1
    assert type(product.place.op) is type(named["sum"].place.op) is Checkpoint
    for loss, expected in (
        (product.sum(), (y.numpy(), x.numpy())),
        (named["sum"].sum(), (np.ones(3), np.ones(3))),  # its graph is walked twice, with something else each time
    ):
        same(gradients_keeping(loss, [x, y]), expected)


def gradients_keeping(loss: ts.Tensor, inputs: list[ts.Tensor]) -> list[np.ndarray]:
    return [g.numpy() for g in ts.grad(loss, inputs, retain_graph=True)]


def test_an_output_that_is_given_twice_gathers_both_gradients() -> None:
    x = make(3)

    def twice(x: ts.Tensor) -> Any:
        y = x * x
        return y, y

    a, b = ts.checkpoint(twice, x)
    np.testing.assert_allclose(ts.grad((a + 3 * b).sum(), x).numpy(), 8 * x.numpy())


def test_inputs_without_gradient_and_no_grad() -> None:
    W, x = make(3, 2), make(2, 3, grad=False)
    y = ts.checkpoint(lambda x: x @ W, x)
    (source,) = y.place.op.sources
    assert source is W.place
    assert ts.checkpoint(lambda x: x * 2, x).place is None
    with ts.no_grad():
        assert ts.checkpoint(lambda x: x @ W, x).place is None
    frozen = ts.checkpoint(lambda x, k: x * k, W, 3)
    np.testing.assert_array_equal(ts.grad(frozen.sum(), W).numpy(), np.full((3, 2), 3.0))


def test_dropout_zeroes_the_same_elements_and_the_stream_goes_on() -> None:
    x = make(50, 50)

    def run(checkpoint: Callable[..., Any]) -> tuple[list[np.ndarray], tuple[int, int]]:
        ts.seed(3)
        y = checkpoint(lambda x: ts.ops.dropout(x * x, 0.5), x)
        z = ts.ops.dropout(y, 0.5)
        ts.ops.dropout(y, 0.5)  # moves the stream on before the second run
        gs = gradients((z * y).sum(), [x])
        return [z.numpy(), *gs], get_state()

    plain, checkpointed = run(lambda f, *xs: f(*xs)), run(ts.checkpoint)
    same(plain[0], checkpointed[0])
    assert plain[1] == checkpointed[1]


def test_nested() -> None:
    W, x = make(4, 4), make(2, 4)

    def found(checkpoint: Callable[..., Any]) -> list[np.ndarray]:
        V = ts.ops.exp(W)  # reached from the innermost, made outside of all

        def inner(h: ts.Tensor) -> ts.Tensor:
            return ts.ops.tanh(h @ V)

        def outer(h: ts.Tensor) -> ts.Tensor:
            return checkpoint(inner, checkpoint(inner, h) * h) + h

        return gradients((checkpoint(outer, x) ** 2).sum(), [x, W])

    for a, b in zip(found(ts.checkpoint), found(lambda f, *xs: f(*xs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_second_derivatives_are_right() -> None:
    W, c = make(3, 3), make(3)

    def cell(x: ts.Tensor) -> ts.Tensor:
        return ts.checkpoint(lambda x: ts.ops.softmax(ts.ops.tanh(x @ W) * c), x)

    ts.testing.check_grads(lambda x, W, c: cell(x), [make(2, 3), W, c], order=2)

    layer = ts.nn.LSTM(2, 3).to("float64")
    x = make(2, 4, 2)

    def second(checkpoint: Callable[..., Any]) -> list[np.ndarray]:
        out, (h, _) = checkpoint(layer, x)
        first = ts.grad((out**2).sum() + h.sum(), [x, layer.weight_hh_l0], create_graph=True)
        return gradients(sum((g * g).sum() for g in first), [x, *layer.parameters()])

    for a, b in zip(second(lambda f, *xs: f(*xs)), second(ts.checkpoint), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_definitions_stay_definitions() -> None:
    x, ran = make(2, 3), []

    def watched(x: ts.Tensor) -> ts.Tensor:
        ran.append(state.fused)
        return ts.ops.softmax(x)

    with ts.definitions():
        y = ts.checkpoint(watched, x)
    ts.grad((y * y).sum(), x)
    assert ran == [False, False]


def test_a_hook_of_a_weight_sees_its_whole_gradient_once() -> None:
    W, x, seen = make(3, 3), make(2, 3, grad=False), []
    W.register_hook(lambda g: seen.append(g.numpy()))
    (ts.checkpoint(lambda h: h @ W, ts.checkpoint(lambda h: h @ W, x))).sum().backward()
    assert len(seen) == 1
    assert W.grad is not None
    np.testing.assert_array_equal(seen[0], W.grad.numpy())


def test_a_weight_that_was_written_into_is_noticed() -> None:
    W = ts.nn.Parameter(np.ones((2, 2), "f4"))
    optimizer = ts.optim.SGD([W], lr=0.1)
    loss = ts.checkpoint(lambda x: x + W, ts.tensor([1.0, 2.0])).sum()
    W.grad = ts.tensor(np.ones((2, 2), "f4"))
    optimizer.step()
    with pytest.raises(RuntimeError, match="Checkpoint needs the weight of shape \\(2, 2\\) as it was in the forward"):
        loss.backward()


def test_backward_twice() -> None:
    x = make(3)
    loss = ts.checkpoint(lambda x: x * x, x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.numpy())
    with pytest.raises(RuntimeError, match="backward has gone through this graph already"):
        loss.backward()


def test_a_function_that_computes_something_else_the_second_time_is_refused() -> None:
    x, others = make(3), [make(3), make(3)]
    calls: list[int] = []

    def grows(x: ts.Tensor) -> ts.Tensor:
        calls.append(1)
        return ts.ops.stack([x] * len(calls)) * 2

    with pytest.raises(RuntimeError, match=r"gave \(1, 3\) float64 in the forward pass and \(2, 3\) float64 when"):
        ts.grad(ts.checkpoint(grows, x).sum(), x)
    loss = ts.checkpoint(lambda x: x * others.pop(), x).sum()
    with pytest.raises(RuntimeError, match="used a tensor of shape .3,. that it did not use in the forward pass"):
        ts.grad(loss, x)


def test_bad_arguments() -> None:
    x = make(3)
    with pytest.raises(TypeError, match=r"expected a function and its inputs, got Tensor: checkpoint\(layer, x\)"):
        ts.checkpoint(x * x, x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got object, whose tensors it does not know"):
        ts.checkpoint(lambda x: (x * x, object()), x)


def test_record_sees_the_first_run_alone() -> None:
    layer, x = ts.nn.LSTM(3, 2), ts.tensor(np.ones((1, 4, 3), "f4"))
    with ts.record() as r:
        out, _ = ts.checkpoint(layer, x)
        out.sum().backward()
    assert len(r["lstm"]) == 1 and r["lstm"].f_t.shape == (1, 4, 2)


def test_it_is_one_box() -> None:
    x, W = make(2, 3), make(3, 3)
    y = ts.checkpoint(lambda x: ts.ops.tanh(ts.ops.tanh(x @ W) @ W), x)
    loss = y.sum()
    assert [node.label for node in ts.graph(loss).nodes] == ["x", "W", "y = checkpoint", "loss = Σ"]


def test_no_array_is_kept_and_no_cycle_made() -> None:
    gc.collect()
    gc.disable()
    try:
        x, inside = make(1000), []

        def run(x: ts.Tensor) -> ts.Tensor:
            h = ts.ops.exp(x)
            inside.append(weakref.ref(h.data))
            return ts.ops.tanh(h) * h

        y = ts.checkpoint(run, x)
        assert inside[0]() is None
        loss = y.sum()
        del y
        loss.backward()
        assert inside[1]() is None and len(inside) == 2
        loss = ts.checkpoint(run, x).sum()
        g = ts.grad(loss, x, create_graph=True)
        g.sum().backward()
        del loss, g
        x.grad = None
        assert gc.collect() == 0
    finally:
        gc.enable()


def peak(run: Callable[[], Any]) -> float:
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_4096_steps_of_an_lstm_in_the_memory_of_a_few() -> None:
    B, T, H, V = 2, 4096, 64, 30
    piece = math.isqrt(T)
    embedding, lstm, output = ts.nn.Embedding(V, H), ts.nn.LSTM(H, H), ts.nn.Linear(H, V)
    parameters = [p for part in (embedding, lstm, output) for p in part.parameters()]
    ids = RNG.integers(0, V, (B, T + 1))

    def loss_of(first: int, end: int, state: Any) -> tuple[ts.Tensor, Any]:
        h, state = lstm(embedding(ids[:, first:end]), state)
        return ts.ops.cross_entropy(output(h), ids[:, first + 1 : end + 1]) * ((end - first) / T), state

    def step(checkpoint: Callable[..., Any]) -> list[np.ndarray]:
        total, state = ts.tensor(0.0), None
        for first in range(0, T, piece):
            loss, state = checkpoint(loss_of, first, first + piece, state)
            total = total + loss
        return gradients(total, parameters)

    def whole(f: Callable[..., Any], *inputs: Any) -> Any:
        return f(*inputs)

    same(step(whole), step(ts.checkpoint))
    without, with_it = peak(lambda: step(whole)), peak(lambda: step(ts.checkpoint))
    # 32.3 and 1.9 MB by the plain kernels, 56.6 and 2.6 by the compiled ones, which fill B up to 16.
    assert with_it < 0.1 * without, (with_it, without)


def test_on_a_device_nothing_waits_for_the_host(device: Place) -> None:
    """On the stand-in for a GPU, reading from the device raises."""
    array = RNG.standard_normal((2, 6, 3)).astype("f4")
    found = []
    for here in (device, Place("numpy", "cpu")):
        ts.seed(0)
        layer, x = ts.nn.LSTM(3, 2), here.tensor(array, requires_grad=True)
        layer.to(here.device)
        out, (h, _) = ts.checkpoint(lambda x, layer=layer: layer(ts.ops.dropout(x, 0.5)), x)
        found.append([here.host(g) for g in ts.grad(out.sum() + h.sum(), [x, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
