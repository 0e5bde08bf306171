"""Tracing: the caller's line and a summary of the values, on every operation; and the device of every box."""

import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq.core.state import state
from tinygrad_seq.viz import Graph, Node, Summary
from tinygrad_seq.viz.gradients import summary

HERE = Path(__file__).name


def node(g: Graph, label: str) -> Node:
    (found,) = [n for n in g.nodes if n.label == label]
    return found


def ones(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(np.ones(shape, "f4"), requires_grad=grad)


def here(back: int = 0) -> str:
    """The caller's place, some lines above."""
    return f"{HERE}, line {sys._getframe(1).f_lineno - back}"


def test_each_operation_has_its_line_and_its_values() -> None:
    a = ts.tensor([1.0, 2.0, 6.0], requires_grad=True)
    with ts.trace():
        y = a * 2
        loss = y.sum()
    where = here(1)
    g = ts.graph(loss)
    assert node(g, "loss = Σ").line == f"{where}: loss = y.sum()"
    assert node(g, "loss = Σ").value == Summary(18.0, 18.0, 0.0, 18.0, 18.0, (18.0,))
    y_value = node(g, "y = × 2").value
    assert y_value is not None and y_value.numbers == (2.0, 4.0, 12.0)
    assert y_value[:5] == pytest.approx((math.sqrt(164), 6.0, np.std([2, 4, 12]), 2.0, 12.0))
    a_value = node(g, "a").value
    assert a_value is not None and a_value.numbers == (1.0, 2.0, 6.0) and not node(g, "a").line
    assert "mean 6, deviation 4.32, from 2 to 12\\nvalues 2, 4, 12" in g.dot
    assert f"{where}: loss = y.sum()\\nshape ()" in g.dot and 'operation Sum\\nvalues 18"' in g.dot
    assert Graph.from_json(g.json()) == g


def test_without_it_nothing_is_noted() -> None:
    a = ones(2, grad=True)
    with ts.trace():
        pass
    g = ts.graph((a * 2).sum())
    assert all(not n.line and n.value is None for n in g.nodes)
    with ts.trace(), ts.no_grad():
        assert (a * 2).place is None
    with pytest.raises(ZeroDivisionError), ts.trace():
        raise ZeroDivisionError
    assert state.tracer is None


def test_large_values_have_no_numbers_and_empty_ones_no_summary() -> None:
    assert summary(np.arange(12)) == Summary(math.sqrt(506), 5.5, float(np.std(range(12))), 0.0, 11.0,
                                             tuple(map(float, range(12))))  # fmt: skip
    found = summary(np.arange(13))
    assert found is not None and found.numbers == ()
    assert summary(np.zeros((0, 3))) is None
    told = summary(np.array([[True, False]]))
    assert told is not None and told.mean == 0.5 and told.numbers == (1.0, 0.0)
    big = summary(np.full(13, 60000, np.float16))  # whose squares are no float16
    assert big is not None and big.norm == pytest.approx(60000 * math.sqrt(13), rel=1e-2)
    wild = summary(np.array([np.inf, np.nan, 1.0]))
    assert wild is not None and math.isnan(wild.mean) and wild.numbers[0] == math.inf


def test_the_line_is_the_callers_own_in_a_model_of_ours() -> None:
    model = ts.models.GPT(ts.models.GPTConfig(7, block_size=4, n_layer=1, n_head=2, n_embd=4, dropout=0.0))
    ids = np.array([[1, 2, 3]])
    with ts.trace():
        logits = model(ids)
    where = here(1)
    g = ts.graph(logits)
    lines = {n.line for n in g.nodes if n.kind in ("op", "fused")}
    assert lines == {f"{where}: logits = model(ids)"}
    assert all(n.value is not None for n in g.nodes), [n.label for n in g.nodes if n.value is None]
    assert node(g, "ids").value == Summary(math.sqrt(14), 2.0, float(np.std([1, 2, 3])), 1.0, 3.0, (1.0, 2.0, 3.0))


def test_a_users_module_has_its_own_lines() -> None:
    class Own(ts.nn.Module):
        def __init__(self) -> None:
            self.linear = ts.nn.Linear(2, 2)

        def forward(self, x: ts.Tensor) -> ts.Tensor:
            return ts.ops.tanh(self.linear(x))

    with ts.trace():
        y = Own()(ones(1, 2))
    assert {n.line.partition(": ")[2] for n in ts.graph(y).nodes if n.line} == {"return ts.ops.tanh(self.linear(x))"}


def test_a_thread_that_runs_nothing_but_a_model_has_the_models_line() -> None:
    model = ts.models.FeedForwardLM(ts.models.FeedForwardLMConfig(7, embedding_size=3, hidden_size=4))
    with ThreadPoolExecutor(1, initializer=ts.trace().__enter__) as pool:
        logits = pool.submit(model, np.array([[1, 2, 3]])).result()
    lines = {n.line.partition(",")[0] for n in ts.graph(logits).nodes if n.line}
    assert lines == {"feedforward_lm.py"}


def test_tracing_is_of_its_thread_alone() -> None:
    a = ones(2, grad=True)
    made: list[ts.Tensor] = []
    with ts.trace():
        thread = threading.Thread(target=lambda: made.append(a * 2))
        thread.start()
        thread.join()
        own = a * 3
    assert [n.line for n in ts.graph(made[0]).nodes] == ["", ""]
    assert node(ts.graph(own), "own = × 3").line


def test_nested_and_in_a_generator() -> None:
    a = ones(2, grad=True)

    def values() -> Iterator[ts.Tensor]:
        with ts.trace(), ts.trace():
            yield a * 2
            yield a * 3

    assert [node(ts.graph(y), "y = × " + k).line.partition(": ")[2] for k, y in zip("23", values(), strict=True)] == [
        "yield a * 2", "yield a * 3",
    ]  # fmt: skip
    assert state.tracer is None


def test_a_fused_operation() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 2, 2)
    with ts.trace():
        out, last = lstm(x)
    g = ts.graph(last.c)
    fused = node(g, "LSTM sequence")
    assert fused.value is not None and fused.value.numbers == tuple(map(float, last.c.numpy().ravel()))
    assert node(g, "x").value is not None and fused.line.endswith("out, last = lstm(x)")
    (several,) = [n for n in ts.graph(out.sum() + last.c.sum()).nodes if n.kind == "fused"]
    assert several.value is None and several.line  # two values in one box


def test_a_definition_that_runs_notes_each_symbol() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 2, 2)
    with ts.trace(), ts.definitions():
        _, last = lstm(x)
    g = ts.graph(last.c)
    assert all(n.value is not None for n in g.nodes)
    (_, c_2) = [n for n in g.nodes if n.label == "cₜ = +"]
    assert c_2.value is not None and c_2.value.numbers == tuple(map(float, last.c.numpy().ravel()))


def test_what_is_opened_has_the_line_of_its_call_and_the_values_of_its_outputs() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 2, 2)
    with ts.trace():
        _, last = lstm(x)
    g = ts.graph(last.c, open="lstm")
    assert {n.line.partition(": ")[2] for n in g.nodes if n.kind == "op"} == {"_, last = lstm(x)"}
    (c_1, c_2) = [n.value for n in g.nodes if n.label == "cₜ = +"]
    assert c_1 is None and c_2 is not None and c_2.numbers == tuple(map(float, last.c.numpy().ravel()))


def test_opening_while_tracing_notes_nothing_of_the_zeros() -> None:
    e = ts.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with ts.trace():
        alpha = ts.ops.softmax(e)
        g = ts.graph(alpha, open="softmax")
    assert [n.value is not None for n in g.nodes if n.kind == "op"] == [False, False, False, True]
    last = g.nodes[-1].value
    assert last is not None and last.numbers == tuple(map(float, alpha.numpy()))


def test_what_is_recorded_and_computed_stays_the_same() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 4, 2)
    plain = lstm(x)[0]
    with ts.trace(), ts.record() as r:
        traced = lstm(x)[0]
    np.testing.assert_array_equal(plain.numpy(), traced.numpy())
    assert r["lstm"].h_t.shape == traced.shape


def test_a_derivatives_graph_has_the_line_of_the_call() -> None:
    w = ts.tensor([1.0, 2.0], requires_grad=True)
    with ts.trace():
        loss = (w * w * w).sum()
        dw = ts.grad(loss, w, create_graph=True)
    (last,) = [n for n in ts.graph(dw).nodes if n.output]
    assert last.line.endswith("dw = ts.grad(loss, w, create_graph=True)")
    assert last.value is not None and last.value.numbers == (3.0, 12.0)


def test_a_symbol_that_is_turned_about_shows_its_numbers_in_its_own_order() -> None:
    class Turned(NamedTuple):
        y: ts.Tensor

    @ts.equations("turned", y=r"y = (A B)^\top")
    def turned(A: ts.Tensor, B: ts.Tensor) -> Turned:
        return Turned((A @ B).T)

    A, B = ts.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), ts.tensor([[1.0, 0.0], [0.0, 1.0]])
    with ts.trace():
        y = turned(A, B).y
    box = node(ts.graph(y), "y = @")
    assert box.value is not None and box.value.numbers == (1.0, 3.0, 2.0, 4.0)


def test_a_step_of_a_sequence_that_is_a_box_has_its_values() -> None:
    x, a = ts.tensor([[[1.0], [2.0]]], requires_grad=True), ones(1, grad=True)
    with ts.trace():
        steps = ts.ops.unstack(x, axis=1)
        y = steps[1] * a + steps[1]
    del steps
    (piece,) = [n for n in ts.graph(y).nodes if n.label == "x₂"]
    assert piece.value is not None and piece.value.numbers == (2.0,) and "unstack" in piece.line


# -- devices


def test_every_box_has_its_device(backend: Place) -> None:
    lstm, x, ids = ts.nn.LSTM(2, 3).to(backend.device), backend.tensor(np.ones((1, 2, 2), "f4")), np.array([0])
    with backend.reading():
        moved = (lstm(x)[0] * backend.tensor([1.0, 2.0, 3.0])).to("cpu")
    y = moved[ids] * ones(3)
    g = ts.graph(y)
    there = "cpu" if backend.name == "numpy" else "cuda:0"
    after = ["ids", "take", "constant", "y = ⊙"]
    for n in g.nodes[:-4]:
        assert n.device == there, n
    assert {n.label for n in g.nodes[-4:]} == set(after) and {n.device for n in g.nodes[-4:]} == {"cpu"}
    assert ("cuda:0" in g.text()) == (there != "cpu") and f"device {there}" in g.dot
    assert ("(1, 2, 2) cuda:0" in g.dot) == (there != "cpu")
    opened = ts.graph(y, open="lstm")
    assert {n.device for n in opened.nodes if n.op == "Sigmoid" or n.label == "c₀"} == {there}
    assert opened.nodes[-1].device == "cpu"


def test_tracing_on_each_backend(backend: Place) -> None:
    w = backend.tensor([1.0, 2.0], requires_grad=True)
    with backend.reading(), ts.trace():
        y = w * w
    value = node(ts.graph(y), "y = ⊙").value
    assert value is not None and value.numbers == (1.0, 4.0)
