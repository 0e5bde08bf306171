"""The graph of a derivative, by create_graph=True: what its values are called, and in which frames they stand."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import Graph, Node

rng = np.random.default_rng(0)


def normal(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(rng.standard_normal(shape), requires_grad=grad)


def labels(g: Graph) -> list[str]:
    return [node.label for node in g.nodes]


def frames(g: Graph, node: Node) -> list[str]:
    """Around a box, the outermost first."""
    parts = {part.id: part for part in g.parts}
    found, name = [], node.part
    while name is not None:
        found.append(parts[name].label)
        name = parts[name].parent
    return found[::-1]


def node(g: Graph, label: str) -> Node:
    (found,) = (n for n in g.nodes if n.label == label)
    return found


def output(g: Graph) -> str:
    (found,) = (n.label for n in g.nodes if n.output)
    return found


def test_a_small_program() -> None:
    x, W, b = normal(4, 3), normal(3, 2, grad=True), normal(2, grad=True)
    y = ts.ops.sigmoid(x @ W + b)
    loss = (y * y).sum()
    g = ts.graph(ts.grad(loss, [W, b], create_graph=True))
    assert g.text().splitlines() == [
        " 0  x                                (4, 3) float64  input",
        " 1  W                                (3, 2) float64  parameter",
        " 2  b                                (2,) float64  parameter",
        " 3  ∂loss/∂⊙                         (4, 2) float64  input",
        " 4  @ (0, 1)                         (4, 2) float64",
        " 5  + (4, 2)                         (4, 2) float64",
        " 6  y = σ (5)                        (4, 2) float64",
        "    backward of loss",
        "      backward of ⊙",
        " 7      ⊙ (3, 6)                     (4, 2) float64",
        " 8      ⊙ (3, 6)                     (4, 2) float64",
        " 9    ∂loss/∂y = + (7, 8)            (4, 2) float64",
        "      backward of σ",
        "10      ⊙ (9, 6)                     (4, 2) float64",
        "11      1 − (6)                      (4, 2) float64",
        "12      ⊙ (10, 11)                   (4, 2) float64",
        "13    ∂loss/∂b = Σ over axis 0 (12)  (2,) float64  output",
        "      backward of @",
        "14      constant                     (3, 4) float64  input",
        "15      ∂loss/∂W = @ (14, 12)        (3, 2) float64  output",
    ]
    assert {part.label: part.kind for part in g.parts}["backward of loss"] == "derivative"


def test_the_second_derivative() -> None:
    p = ts.tensor(0.5, requires_grad=True)
    f = ts.ops.tanh(p)
    first = ts.grad(f, p, create_graph=True)
    second = ts.grad(first, p, create_graph=True)
    third = ts.grad(second, p, create_graph=True)
    g = ts.graph([first, second, third])
    outputs = [n.label.partition(" = ")[0] for n in g.nodes if n.output]
    assert outputs == ["∂f/∂p", "∂²f/∂p²", "∂³f/∂p³"]
    assert [part.label for part in g.parts if part.parent is None] == [
        "backward of f", "backward of ∂f/∂p", "backward of ∂²f/∂p²",
    ]  # fmt: skip
    (last,) = (n for n in g.nodes if n.label.startswith("∂²f"))
    assert frames(g, last) == ["backward of ∂f/∂p", "backward of tanh"]
    assert sum("∂" in label for label in labels(g)) == 4  # and ∂f/∂f, which is 1: nothing else has a name of its own


def test_mixed_and_nameless() -> None:
    x, y = ts.tensor(2.0, requires_grad=True), ts.tensor(3.0, requires_grad=True)
    f = ts.ops.exp(x * y)
    mixed = ts.grad(ts.grad(f, x, create_graph=True), y, create_graph=True)
    assert next(n for n in ts.graph(mixed).nodes if n.output).label.startswith("∂²f/∂x∂y = ")
    g = ts.graph(ts.grad(ts.grad(x * x * y, x, create_graph=True) * 2, y, create_graph=True))
    assert next(n for n in g.nodes if n.output).label.startswith("∂L/∂y = ")
    two = [ts.grad(ts.ops.exp(x) * k, x, create_graph=True) for k in (2, 3)]
    assert [n.label.partition(" = ")[0] for n in ts.graph(two).nodes if n.output] == ["∂L/∂x", "∂L′/∂x"]


def test_a_name_of_its_own_comes_first() -> None:
    x = ts.tensor(2.0, requires_grad=True)
    f = ts.ops.exp(x)
    slope = ts.grad(f, x, create_graph=True)
    assert "∂f/∂x = ⊙" in labels(ts.graph(slope))  # not the variable `slope`
    slope.name = "slope"
    assert "slope = ⊙" in labels(ts.graph(slope))


@pytest.mark.parametrize("backward", [False, True])
def test_the_gradient_that_was_asked_for_names_one_that_is_several(backward: bool) -> None:
    """Behind a sum, the gradient of the sum is that of each part."""
    a, b, w = (ts.tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    total = a + b
    loss = (total * total * w).sum()
    if backward:
        loss.backward(create_graph=True)
        assert b.grad is not None
        drawn = ts.graph(b.grad)
    else:
        drawn = ts.graph(ts.grad(loss, b, create_graph=True))
    assert next(n for n in drawn.nodes if n.output).label == "∂loss/∂b = +"
    assert (
        next(n for n in ts.graph(ts.grad(loss, total, create_graph=True)).nodes if n.output).label == "∂loss/∂total = +"
    )


def test_a_recurrence_runs_back_through_its_own_frames() -> None:
    cell, h = ts.nn.RNNCell(3, 4).to("float64"), None
    for x_t in ts.ops.unstack(normal(1, 3, 3), 1):
        h = cell(x_t, h)
    loss = (h * h).sum()
    g = ts.graph(ts.grad(loss, cell.weight_hh, create_graph=True))
    (last,) = (n for n in g.nodes if n.output)
    assert last.label == "∂loss/∂weight_hh = +"
    assert frames(g, last) == ["backward of loss", "cell: RNNCell", "rnn"]
    back = [part for part in g.parts if part.label == "backward of tanh"]
    assert len(back) == 3 and labels(g).count("hₜ = tanh") == 3
    states = [n for n in g.nodes if n.label.startswith("∂loss/∂hₜ")]
    assert [frames(g, n)[1:] for n in states] == [[], *[["cell: RNNCell", "rnn", "backward of @"]] * 2]


def test_a_fused_layer_is_differentiated_by_its_definition() -> None:
    lstm, x = ts.nn.LSTM(3, 4).to("float64"), normal(1, 2, 3)
    loss = lstm(x)[0].sum()
    g = ts.graph(ts.grad(loss, lstm.weight_hh_l0, create_graph=True))
    (last,) = (n for n in g.nodes if n.output)
    assert last.label == "∂loss/∂weight_hh_l0 = concatenate axis 0"
    around = ["backward of loss", "lstm: LSTM", "backward of LSTM sequence"]
    forward = [n for n in g.nodes if n.label == "cₜ = +"]
    assert [frames(g, n) for n in forward] == [[*around, "LSTM sequence", f"t = {t} · lstm"] for t in (1, 2)]
    inner = [n for n in g.nodes if n.label.startswith("∂loss/∂cₜ")]
    assert [frames(g, n)[:4] for n in inner] == [[*around, f"t = {t} · lstm"] for t in (2, 1)]
    assert {"∂loss/∂fₜ", "∂loss/∂oₜ", "∂loss/∂U_f"} <= {label.partition(" = ")[0] for label in labels(g)}
    long = ts.graph(ts.grad(lstm(normal(1, 50, 3))[0].sum(), lstm.weight_hh_l0, create_graph=True))
    assert "… 48 steps …" in labels(long) and len(long.nodes) <= 400


def test_a_gradient_that_is_one_of_several_outputs() -> None:
    """The gradients of what was stacked are taken apart again: pieces of one operation."""
    a, b = normal(3, grad=True), normal(3, grad=True)
    loss = (ts.ops.stack([a, b]) ** 3).sum()
    g = ts.graph(ts.grad(loss, [a, b], create_graph=True))
    assert {"∂loss/∂a", "∂loss/∂b"} <= {n.label.partition(" = ")[0] for n in g.nodes} | {e.label for e in g.edges} | {
        name for n in g.nodes for name in n.label.partition(" = ")[0].split(", ")
    }


@pytest.mark.parametrize("fused", [True, False])
def test_as_a_grid_the_derivative_is_a_row_that_runs_back(fused: bool) -> None:
    lstm, x = ts.nn.LSTM(3, 4).to("float64"), normal(1, 4, 3)
    with ts.core.state.setting(fused=fused):
        loss = lstm(x)[0].sum()
        g = ts.graph(ts.grad(loss, lstm.weight_hh_l0, create_graph=True), time=True)
    rows: dict[int, list[str]] = {}
    for n in g.nodes:
        rows.setdefault(n.row or 0, []).append(n.label)
    back = next(row for row in rows.values() if "∂loss/∂h₁" in row)
    assert back == ["∂loss/∂h₁", "∂loss/∂h₂", "∂loss/∂h₃", "∂loss/∂h₄"]
    forward = next(row for row in rows.values() if "h₁, c₁" in row)
    assert [label for label in forward if label.startswith("h")] == ["h₀, c₀", "h₁, c₁", "h₂, c₂", "h₃, c₃", "h₄, c₄"]
    called = {n.id: n.label for n in g.nodes}
    arrows = {(called[e.source], called[e.target]) for e in g.edges}
    assert {("∂loss/∂h₂", "∂loss/∂h₁"), ("h₁, c₁", "∂loss/∂h₁"), ("h₁, c₁", "∂loss/∂h₂")} <= arrows
    assert {n.shape for n in g.nodes if n.label in back} == {(1, 4)}


def test_the_derivative_of_a_loop_of_ones_own_runs_back_too() -> None:
    cell, h = ts.nn.GRUCell(3, 4), None
    for x_t in ts.ops.unstack(ts.tensor(np.ones((1, 4, 3), "float32")), 1):
        h = cell(x_t, h)
    g = ts.graph(ts.grad((h * h).sum(), cell.weight_hh, create_graph=True), time=True)
    called = {n.id: n.label for n in g.nodes}
    arrows = {(called[e.source], called[e.target]) for e in g.edges}
    assert {(f"h{t}", f"∂L/∂h{t}") for t in "₁₂₃₄"} | {("∂L/∂h₄", "∂L/∂h₃"), ("∂L/∂h₂", "∂L/∂h₁")} <= arrows
    assert output(g) == "∂L/∂h₁"  # where the last part is added


def test_what_a_derivative_depends_on_can_be_drawn_and_explained() -> None:
    lstm, x = ts.nn.LSTM(3, 4).to("float64"), normal(1, 4, 3)
    dW = ts.grad(lstm(x)[0].sum(), lstm.weight_hh_l0, create_graph=True)
    penalty = (dW**2).sum()
    g = ts.graph(penalty, grad=True)
    expected = ts.grad(penalty, lstm.weight_ih_l0, retain_graph=True)
    found = node(g, "weight_ih_l0").gradient
    assert found is not None and found.norm == pytest.approx(np.linalg.norm(expected.numpy()), rel=1e-12)
    parts = ts.explain_grad(penalty, lstm.weight_ih_l0).numpy()
    np.testing.assert_allclose(parts.sum(0), expected.numpy(), rtol=1e-10, atol=1e-14)


def test_without_create_graph_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise AssertionError("noted")

    monkeypatch.setattr("tinygrad_seq.core.engine._Notes", none)
    w = normal(3, grad=True)
    loss = (w * w).sum()
    ts.grad(loss, w, retain_graph=True)
    loss.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="noted"):
        ts.grad(loss, w, create_graph=True)


def test_the_scope_of_the_caller_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.core.state import state

    w = normal(3, grad=True)
    with ts.core.scope("mine"):
        loss = (ts.ops.tanh(w) ** 2).sum()
        before = state.scope
        first = ts.grad(loss, w, create_graph=True)
        assert state.scope is before
        after = first * 2
    g = ts.graph(after)
    assert frames(g, next(n for n in g.nodes if n.output)) == ["mine"]
    assert frames(g, next(n for n in g.nodes if n.label.startswith("∂loss/∂w"))) == [
        "mine",
        "backward of loss",
        "backward of tanh",
    ]
