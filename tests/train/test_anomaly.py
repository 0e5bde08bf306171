"""Anomaly mode: no false alarm, and of seeded faults the right one."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import small_models
import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq.core.state import listening, state
from tinygrad_seq.train import AnomalyError

HERE = Path(__file__).name
quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(*values: Any) -> ts.Tensor:
    return ts.tensor(list(values), requires_grad=True)


def line(back: int = 0) -> str:
    return f"line: {HERE}, line {sys._getframe(1).f_lineno - back}"


def told(run: Callable[[], Any]) -> str:
    with pytest.raises(AnomalyError) as caught, ts.detect_anomaly():
        run()
    return str(caught.value)


# -- no false alarm


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "definitions"])
@pytest.mark.parametrize("name", small_models.SMALL)
def test_no_model_raises(name: str, fused: bool) -> None:
    small = small_models.SMALL[name]
    model = small.make()
    with ts.detect_anomaly():
        if fused:
            outputs = small_models.outputs(small.call(model, *map(ts.tensor, small.inputs)))
        else:
            with ts.definitions():
                outputs = small_models.outputs(small.call(model, *map(ts.tensor, small.inputs)))
        loss = sum(((out * out).sum() for out in outputs if out.requires_grad), start=ts.tensor(0.0))
        loss.backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters() if p.grad is not None)


@quiet
def test_infs_that_are_meant_pass() -> None:
    x, seen = leaf(1.0, 2.0, 3.0), np.array([True, False, True])
    with ts.detect_anomaly():
        by_where = ts.ops.where(seen, x, -np.inf)
        by_constant = x + ts.tensor(np.where(seen, 0.0, -np.inf).astype("f4"))
        by_log = x + ts.ops.log(ts.tensor(seen.astype("f4")))  # log 0 of a constant: a mask
        for scores in (by_where, by_constant, by_log):
            for softmax in (ts.ops.softmax, lambda e: ts.ops.exp(ts.ops.log_softmax(e))):
                with ts.definitions():
                    loss = (softmax(scores) * ts.tensor([1.0, 2.0, 3.0])).sum()
                loss.backward(retain_graph=True)
                loss = (softmax(scores) * ts.tensor([1.0, 2.0, 3.0])).sum()
                loss.backward(retain_graph=True)
        assert ts.ops.logsumexp(by_where).item() < 4


def test_without_a_graph_inf_passes_and_nan_does_not() -> None:
    with np.errstate(all="ignore"), ts.detect_anomaly(), ts.no_grad():
        far = ts.ops.exp(leaf(1000.0))
        assert far.item() == np.inf
        with pytest.raises(AnomalyError, match="Sub made NaN in the forward pass"):
            far - far


# -- faults in the forward pass


@quiet
def test_the_first_operation_is_named_with_the_callers_line() -> None:
    p = leaf(0.5, 0.0)

    def run() -> ts.Tensor:
        h = p * 2
        return (h * ts.ops.log(h)).sum()

    text = told(run)
    assert text.splitlines()[0] == "Log made inf in the forward pass"
    assert re.search(rf"line: {HERE}, line \d+: return \(h \* ts.ops.log\(h\)\).sum\(\)", text)
    assert "input x (2,) float32: finite, from 0 to 1" in text
    assert "output (2,) float32: 1 of 2 is inf, the first at [1]" in text


@quiet
def test_inf_minus_inf_is_a_nan_of_its_own() -> None:
    x = leaf(1.0)
    masked = x + ts.tensor([-np.inf])
    assert told(lambda: masked - masked.detach()).startswith("Sub made NaN in the forward pass")


class Block(NamedTuple):
    r_t: Any
    s_t: Any


@ts.equations("anomaly test", r_t="r_t = 1 / x_t", s_t="s_t = r_t - r_t")
def block(x_t: Any) -> Block:
    r_t = 1 / x_t
    s_t = r_t - r_t
    return Block(r_t, s_t)


@quiet
def test_equation_module_and_time_step() -> None:
    class State(NamedTuple):
        s: Any

    class Layer(ts.nn.Module):
        def forward(self, x: Any) -> Any:
            return ts.ops.scan(lambda x_t, state: block(x_t), State(x[:, 0]), x)[1].s

    class Model(ts.nn.Module):
        def __init__(self) -> None:
            self.layers = [Layer()]

        def forward(self, x: Any) -> Any:
            return self.layers[0](x)

    x = ts.tensor([[[1.0], [2.0], [0.0]]], requires_grad=True)
    text = told(lambda: Model()(x))
    assert text.startswith("Div made inf in the forward pass")
    assert "module: layers.0" in text
    assert "equation: anomaly test.r: r_t = 1 / x_t, at t = 3" in text


@quiet
def test_inside_of_a_fused_operation() -> None:
    rnn = ts.nn.RNN(2, 3, nonlinearity="relu")
    rnn.weight_ih_l0.data[...] = 1
    rnn.weight_hh_l0.data[...] = 1e20
    text = told(lambda: rnn(ts.tensor(np.ones((1, 4, 2), "f4"))))
    assert text.startswith("RNNSequence made inf in the forward pass")
    assert "module: rnn" in text
    assert re.search(r"inside: MatMul of rnn\.h: .* at t = 3", text), text
    assert "input W_hh (weight_hh_l0) (3, 3) float32: finite, from 1e+20 to 1e+20" in text


@quiet
def test_what_comes_from_outside() -> None:
    layer, x = ts.nn.Linear(2, 2), np.array([[1.0, np.nan]], "f4")
    assert told(lambda: layer(ts.tensor(x))).startswith(
        "Linear was given NaN in its input x, which no operation in the block made: look at the data"
    )
    layer.weight.data[0, 0] = np.inf
    model = ts.nn.Sequential(layer)
    text = told(lambda: model(ts.tensor([[1.0, 2.0]])))
    assert text.startswith("Linear was given inf in the weight W (0.weight): an update left it there")


@quiet
@pytest.mark.parametrize("name", small_models.SMALL)
def test_a_broken_weight_of_any_model_is_named(name: str) -> None:
    small = small_models.SMALL[name]
    model = small.make()
    inputs = list(map(ts.tensor, small.inputs))
    named = []
    for path, p in model.named_parameters():
        whole = p.data.copy()
        p.data[...] = np.nan
        called = path.removeprefix("crf.")  # which a method calls, so that the model around it is not known
        try:
            with ts.detect_anomaly():
                small.call(model, *inputs)
        except AnomalyError as error:
            assert re.search(rf"was given NaN in the weight \S+ \({re.escape(called)}\): an update", str(error)), error
            named.append(path)
        p.data[...] = whole
    assert len(named) > 0.8 * len(model.parameters())  # what a model does not use in this call is not looked at


# -- faults in the backward pass


@quiet
def test_backward_names_the_forward_line() -> None:
    x = leaf(0.0, 4.0)
    with pytest.raises(AnomalyError) as caught, ts.detect_anomaly():
        root = ts.ops.sqrt(x)
        where = line(1)
        loss = (root * root).sum()
        loss.backward()
    text = str(caught.value)
    assert text.startswith("Sqrt made NaN in the backward pass")  # 0 · inf
    assert f"{where}: root = ts.ops.sqrt(x)" in text
    assert "arriving gradient (2,) float32: finite, from 0 to 4" in text
    assert "output (2,) float32: finite, from 0 to 2" in text
    assert "gradient of x (2,) float32: 1 of 2 is NaN, the first at [0]" in text


@quiet
def test_backward_inside_of_a_fused_operation() -> None:
    x = ts.tensor(np.full((1, 3, 2), 1e30, "f4"))
    rnn = ts.nn.RNN(2, 2)
    rnn.weight_ih_l0.data[...] = 0
    with pytest.raises(AnomalyError) as caught, ts.detect_anomaly():
        (rnn(x)[0] * 1e10).sum().backward()
    text = str(caught.value)
    assert text.startswith("RNNSequence made inf in the backward pass")
    assert re.search(r"inside: \w+ of rnn\.h: h_t = .* at t = \d", text), text
    assert "gradient of W_xh (weight_ih_l0)" in text


@quiet
def test_forward_outside_of_the_block() -> None:
    loss = ts.ops.sqrt(leaf(0.0)).sum()
    assert "line: not known: run the forward pass in the block, too" in told(loss.backward)


@quiet
def test_a_gradient_that_nobody_made() -> None:
    x = leaf(1.0)
    text = told(lambda: (x * x).backward(ts.tensor([np.nan])))
    assert text.startswith("NaN arrived at Mul in the backward pass, and no operation made it")
    y = x * 2
    y.register_hook(lambda g: g * np.inf)
    assert told((y * y).sum().backward).startswith("inf arrived at Mul in the backward pass")


@quiet
def test_second_derivatives() -> None:
    x = leaf(1e-30)
    with pytest.raises(AnomalyError) as caught, ts.detect_anomaly():
        y = ts.ops.log(x)
        where = line(1)
        first = ts.grad(y.sum(), x, create_graph=True)  # 1 / x
        first.sum().backward()  # -1 / x²
    text = str(caught.value)
    assert text.startswith("Div made inf in the backward pass")
    assert "in the derivative of Log, which was computed for a derivative of higher order" in text
    assert where in text


@quiet
def test_in_a_checkpointed_part() -> None:
    x = leaf(0.0)
    with pytest.raises(AnomalyError, match="Sqrt made inf in the backward pass"), ts.detect_anomaly():
        ts.checkpoint(lambda x: ts.ops.sqrt(x) * 2, x).sum().backward()
    with pytest.raises(AnomalyError, match="Log made inf in the forward pass"), ts.detect_anomaly():
        ts.checkpoint(lambda x: ts.ops.log(x) * 2, x)
    with pytest.raises(AnomalyError, match="NaN arrived at Mul"), ts.detect_anomaly():
        ts.checkpoint(lambda x: x * 2, x).backward(ts.tensor([np.nan]))


@quiet
def test_a_hook_that_makes_it_is_named() -> None:
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: g / ts.tensor([0.0]) - g / ts.tensor([0.0]))
    text = told((y * y).sum().backward)
    assert text.startswith("Sub made NaN in the forward pass") and "y.register_hook" in text


# -- the block


@quiet
def test_after_an_error_the_block_looks_on() -> None:
    x = leaf(0.0)
    with ts.detect_anomaly():
        for _ in range(2):
            with pytest.raises(AnomalyError, match="backward"):
                ts.ops.sqrt(x).sum().backward()
            with pytest.raises(AnomalyError, match="forward"):
                ts.ops.log(x)
        loss = (x * x).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="backward has gone through this graph already"):
            (x * x + loss).sum().backward()
        with pytest.raises(AnomalyError, match="forward"):
            ts.ops.log(x)


@quiet
def test_outside_of_the_block_and_in_other_threads_nothing_is_looked_at() -> None:
    x = leaf(0.0)
    with ts.detect_anomaly():
        assert len(listening) == 1
        other = threading.Thread(target=ts.ops.log, args=(x,))
        other.start()
        other.join()
    assert ts.ops.log(x).item() == -np.inf
    assert state.tracer is None and not listening


@quiet
def test_beside_other_tracers() -> None:
    x = leaf(1.0)
    with ts.trace(), ts.detect_anomaly(), ts.profile() as p:
        loss = (x * x).sum()
        loss.backward()
        with pytest.raises(AnomalyError, match="Log made inf"):
            ts.ops.log(x * 0)
        with pytest.raises(AnomalyError, match="Sqrt made NaN in the backward pass"):
            (ts.ops.sqrt(x - 1) * 0).sum().backward()
    assert all(node.line for node in ts.graph(loss).nodes[1:])
    assert {row.name for row in p.operations} >= {"Mul", "Sum"}


def test_values_stay_the_same() -> None:
    model = ts.models.GPT(ts.models.GPTConfig(7, block_size=4, n_layer=1, n_head=2, n_embd=4, dropout=0.0))
    ids = np.array([[1, 2, 3, 4]])
    plain = ts.grad((model(ids) ** 2).sum(), model.parameters())
    with ts.detect_anomaly():
        watched = ts.grad((model(ids) ** 2).sum(), model.parameters())
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_on_a_device(device: Place) -> None:
    x = device.tensor(np.array([1.0, 0.0], "f4"), requires_grad=True)
    with device.reading(), np.errstate(all="ignore"):
        assert told(lambda: ts.ops.log(x)).startswith("Log made inf in the forward pass")
        assert told(lambda: ts.ops.sqrt(x).sum().backward()).startswith("Sqrt made inf in the backward pass")
        with ts.detect_anomaly():
            lstm = ts.nn.LSTM(2, 2)
            lstm.to(device.device)
            lstm(device.tensor(np.ones((1, 3, 2), "f4")))[0].sum().backward()
