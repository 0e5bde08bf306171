"""From tensors to the picture's value: what is drawn, what it is called, and in which frames."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import FusedOp, scope
from tinygrad_seq.viz import Graph, Node, Summary


def labels(g: Graph, kind: str | None = None) -> list[str]:
    return [node.label for node in g.nodes if kind is None or node.kind == kind]


def node(g: Graph, label: str) -> Node:
    (found,) = [n for n in g.nodes if n.label == label]
    return found


def arrows(g: Graph) -> list[tuple[str, str, str]]:
    called = {n.id: n.label for n in g.nodes}
    return [(called[edge.source], called[edge.target], edge.label) for edge in g.edges]


def part_of(g: Graph, n: Node) -> list[str]:
    """The frames around a box, outermost first."""
    parts = {part.id: part for part in g.parts}
    found, name = [], n.part
    while name is not None:
        found.append(parts[name].label)
        name = parts[name].parent
    return found[::-1]


def ones(*shape: int, grad: bool = False, dtype: str = "float32") -> ts.Tensor:
    return ts.tensor(np.ones(shape, dtype), requires_grad=grad)


# -- a learner's program


def logistic_regression() -> Graph:
    x, t = ones(8, 3), ones(8, 1)
    W, b = ones(3, 1, grad=True), ones(1, grad=True)
    y = ts.ops.sigmoid(x @ W + b)
    loss = ((y - t) ** 2).mean()
    loss.backward()
    return ts.graph(loss, title="Logistic regression")


def test_a_small_program_reads_as_it_was_written() -> None:
    assert logistic_regression().text().splitlines() == [
        "Logistic regression",
        "0  x                (8, 3)  input",
        "1  W                (3, 1)  parameter",
        "2  b                (1,)  parameter",
        "3  t                (8, 1)  input",
        "4  @ (0, 1)         (8, 1)",
        "5  + (4, 2)         (8, 1)",
        "6  y = σ (5)        (8, 1)",
        "7  − (6, 3)         (8, 1)",
        "8  ( )² (7)         (8, 1)",
        "9  loss = mean (8)  ()  output",
    ]


PRODUCT = """\
digraph {
  graph [fontname="Helvetica", fontsize=16, nodesep=0.25, ranksep=0.35, pad=0.1, labelloc=t, \
label="A product", tooltip="A product"]
  node [fontname="Helvetica", fontsize=14, fixedsize=true, shape=box]
  edge [fontname="Helvetica", fontsize=11, fontcolor="#333333", color="#555555", arrowsize=0.6]
  n0 [label="a\\n(2,)", tooltip="a\\nshape (2,)\\ndtype float32", shape=box, style="filled", fillcolor="#FCE3BF", \
color="#8A5A00", penwidth=1, width=0.6, height=0.54]
  n1 [label="y = 2 ×\\n(2,)", tooltip="y = 2 ×\\nshape (2,)\\ndtype float32\\noperation Mul", shape=box, \
style="rounded,filled", fillcolor="#D3EFE3", color="#006B4C", penwidth=2.5, width=0.9, height=0.54]
  n0 -> n1
}
"""


def test_the_dot_text_of_a_small_program() -> None:
    a = ones(2, grad=True)
    y = 2 * a
    assert ts.graph(y, title="A product").dot == PRODUCT


def test_the_same_program_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "import numpy as np, tinygrad_seq as ts\n"
        "waste = [ts.tensor([1.0], requires_grad=True) * k for k in range(SEED)]\n"  # other numbers for the same ops
        "lstm = ts.nn.LSTM(3, 4)\n"
        "out, last = lstm(ts.tensor(np.ones((2, 5, 3), 'f4')))\n"
        "g = ts.graph([out, last.c], open='lstm')\n"
        "both = ts.graph_diff(ts.graph([out, last.c]), g)\n"
        "import sys; sys.stdout.buffer.write(g.dot.encode() + g.json().encode() + both.dot.encode())\n"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", program.replace("SEED", n)],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": n, "PATH": ""},
        ).stdout
        for n in ("1", "7")
    ]
    assert texts[0] == texts[1] and len(texts[0]) > 5000


def test_the_value_is_plain() -> None:
    g = logistic_regression()
    assert g == logistic_regression()
    found = json.loads(g.json())
    assert found["nodes"][0] == {
        "id": "n0", "kind": "input", "label": "x", "shape": [8, 3], "dtype": "float32", "part": None, "op": "",
        "equation": "", "output": False, "count": 1, "row": None, "source": "", "side": "",
        "device": "", "line": "", "value": None, "gradient": None, "path": "",
    }  # fmt: skip
    assert len(found["edges"]) == len(g.edges)
    lstm = ts.viz.equation_graph("lstm")
    summary = Summary(2.0, 1.0, 0.5, -1.0, 3.0, (1.0, 2.0))
    noted = replace(g, nodes=(replace(g.nodes[0], value=summary, gradient=summary), *g.nodes[1:]))
    for value in (g, lstm, ts.graph_diff(g, lstm), noted):
        assert Graph.from_json(value.json()) == value
    for text in ("", "[]", "3", "{}", g.json().replace('"label"', '"name"')):
        with pytest.raises(ValueError, match=r"expected what Graph\.json wrote"):
            Graph.from_json(text)


# -- what operations are called


@pytest.mark.parametrize(
    ("program", "label"),
    [
        (lambda x: x * 0.5, "× 0.5"),
        (lambda x: 0.5 * x, "0.5 ×"),
        (lambda x: x + 1, "+ 1"),
        (lambda x: x - 1e-12, "− 1e−12"),
        (lambda x: 1 - x, "1 −"),
        (lambda x: x / 8, "÷ 8"),
        (lambda x: x * x, "⊙"),
        (lambda x: x**2, "( )²"),
        (lambda x: x**-1, "( )⁻¹"),
        (lambda x: x**0.5, "( )^0.5"),
        (lambda x: -x, "−( )"),
        (lambda x: x @ x, "@"),
        (lambda x: x.sum(), "Σ"),
        (lambda x: x.sum(axis=1), "Σ over axis 1"),
        (lambda x: x.mean(), "mean"),
        (lambda x: x.mean(axis=-1), "mean over axis −1"),
        (lambda x: x.sum() / 3, "÷ 3"),  # nine elements: no mean
        (lambda x: ts.ops.tanh(x), "tanh"),
        (lambda x: ts.ops.softmax(x), "softmax"),
        (lambda x: ts.ops.log_softmax(x), "log softmax"),
        (lambda x: ts.ops.layer_norm(x), "layer norm"),
        (lambda x: ts.ops.clip(x, 0.0), "clip 0 to …"),
        (lambda x: ts.ops.cross_entropy(x, ts.tensor([0, 1, 2])), "cross entropy"),
        (lambda x: ts.ops.concatenate([x, x], axis=0), "concatenate axis 0"),
        (lambda x: x[ts.tensor([0, 0])], "take"),
        (lambda x: x[0], "[0]"),  # plumbing that is asked for is drawn
        (lambda x: x.reshape(9), "reshape"),
        (lambda x: x.to("float64"), "to float64"),
    ],
)
def test_operations_have_a_persons_names(program: Any, label: str) -> None:
    g = ts.graph(program(ones(3, 3, grad=True)))
    (last,) = [n for n in g.nodes if n.output]
    assert last.label == label


def test_a_mean_that_was_taken_apart_stays_two_operations() -> None:
    x = ones(4, grad=True)
    total = x.sum()
    assert labels(ts.graph(total / 4)) == ["x", "total = Σ", "÷ 4"]


def test_a_sum_of_three_is_one_box_and_named_parts_are_not() -> None:
    a, b, c = ones(2, grad=True), ones(2, grad=True), ones(2, grad=True)
    assert labels(ts.graph(a + b + c), "op") == ["+"]
    first = a + b
    assert labels(ts.graph(first + c), "op") == ["first = +", "+"]


def test_constants_arrays_and_missing_inputs() -> None:
    x, condition = ones(2, 3, grad=True), np.array([[True], [False]])
    g = ts.graph(ts.ops.where(condition, x, 0.0))
    assert labels(g, "input") == ["condition"] and node(g, "condition").dtype == "bool"
    g = ts.graph(x + np.ones(3, "f4"))
    assert labels(g, "input") == ["constant"]


def test_a_tensor_used_twice_is_one_box() -> None:
    x, y = ones(2, grad=True), ones(2)
    g = ts.graph(x * y + y)
    assert sorted(labels(g)) == ["+", "x", "y", "⊙"]
    assert arrows(ts.graph(x * x)) == [("x", "⊙", ""), ("x", "⊙", "")]


def test_tokens_and_targets_are_inputs_by_the_callers_names() -> None:
    table, ids, wanted = ones(5, 3, grad=True), ts.tensor([1, 2]), ts.tensor([0, 1])
    loss = ts.ops.cross_entropy(ts.ops.embedding(table, ids), wanted)
    g = ts.graph(loss)
    assert labels(g, "input") == ["ids", "wanted"]
    assert node(g, "ids").dtype == "int64"


# -- names


def test_the_order_of_names() -> None:
    class Model(ts.nn.Module):
        def __init__(self) -> None:
            self.first, self.second = ts.nn.Parameter(np.ones(2, "f4")), ts.nn.Parameter(np.ones(2, "f4"))

        def forward(self, x: ts.Tensor) -> ts.Tensor:
            return self.first * x + self.second * x

    model, x = Model(), ones(2)
    mine, same_x = model.first, x
    y = model(x)
    assert labels(ts.graph(y), "parameter") == ["first", "second"]  # the path, not the variable `mine`
    assert labels(ts.graph(y), "input") == ["x"]  # the first of its variables
    assert [n.label for n in ts.graph(y).nodes if n.output] == ["y = +"]
    mine.name, same_x.name, y.name = "W_0", "x_t", "result"
    g = ts.graph(y)
    assert labels(g) == ["W₀", "xₜ", "⊙", "second", "⊙", "result = +"]


def test_nobodys_tensors_are_called_what_they_are() -> None:
    g = ts.graph(ones(2, grad=True) * ones(2))
    assert labels(g) == ["tensor", "constant", "⊙"]


def test_variables_in_lists_and_named_tuples_have_names() -> None:
    xs = [ones(2, grad=True), ones(2, grad=True)]
    state = ts.ops.LSTMState(ones(2), ones(2))
    assert labels(ts.graph(xs[0] * xs[1] + state.c))[:3] == ["xs[0]", "xs[1]", "⊙"]
    assert "state.c" in labels(ts.graph(xs[0] * state.c))


def test_names_that_no_picture_can_show_are_cleaned() -> None:
    x = ones(2, grad=True)
    x.name = "a\n  b\x00\x1b" + "long" * 50
    (label, *_) = labels(ts.graph(x * 2))
    assert label.startswith("a b longlong") and len(label) == 60 and label.endswith("…")


def test_several_models_keep_their_variables_names_before_the_paths() -> None:
    encoder, decoder = ts.nn.Linear(2, 2), ts.nn.Linear(2, 2)
    g = ts.graph(decoder(encoder(ones(1, 2))))
    assert labels(g, "parameter") == ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    assert [part.label for part in g.parts] == ["encoder: Linear", "decoder: Linear"]


# -- frames


class Tied(ts.nn.Module):
    """The demo's model, small."""

    def __init__(self) -> None:
        self.embedding = ts.nn.Embedding(7, 4)
        self.lstm = ts.nn.LSTM(4, 4)
        self.output = ts.nn.Linear(4, 7)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: ts.Tensor) -> ts.Tensor:
        return self.output(self.lstm(self.embedding(tokens))[0])


def training_step(**options: Any) -> Graph:
    model, tokens, targets = Tied(), ts.tensor([[1, 2, 3]]), ts.tensor([[2, 3, 4]])
    loss = ts.ops.cross_entropy(model(tokens), targets)
    loss.backward()
    return ts.graph(loss, **options)


def test_modules_are_nested_frames_and_shared_weights_stand_between() -> None:
    g = training_step()
    assert [(part.label, part.kind) for part in g.parts] == [
        ("model: Tied", "module"),
        ("embedding: Embedding", "module"),
        ("lstm: LSTM", "module"),
        ("output: Linear", "module"),
    ]
    assert part_of(g, node(g, "lstm.weight_ih_l0")) == ["model: Tied", "lstm: LSTM"]
    assert part_of(g, node(g, "embedding.weight")) == ["model: Tied"]
    assert part_of(g, node(g, "output.bias")) == ["model: Tied", "output: Linear"]
    assert part_of(g, node(g, "tokens")) == part_of(g, node(g, "loss = cross entropy")) == []
    assert [n.label for n in g.nodes if n.kind == "fused"] == ["LSTM sequence", "linear", "loss = cross entropy"]
    assert ("lstm.weight_hh_l0", "LSTM sequence", "U") in arrows(g)
    assert ("h₀", "LSTM sequence", "") in arrows(g)  # the box says it already


def test_equation_blocks_and_steps_are_frames() -> None:
    x, a = ones(1, 2, 1), ones(1, grad=True)
    with ts.definitions():
        out, _ = ts.nn.LSTM(1, 2)(x * a)
    g = ts.graph(out)
    assert [part.label for part in g.parts] == ["LSTM", "LSTM sequence", "t = 1 · lstm", "t = 2 · lstm"]
    (f_1, f_2) = [n for n in g.nodes if n.label == "fₜ = σ"]
    assert part_of(g, f_1) == ["LSTM", "LSTM sequence", "t = 1 · lstm"]
    assert f_1.equation == "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)"


# -- plumbing


def test_what_only_moves_elements_is_part_of_an_arrow() -> None:
    x, W = ones(2, 6, grad=True), ones(3, 6, grad=True)
    y = (x.reshape(4, 3) @ W.T.reshape(3, 6))[0:2].sum()
    g = ts.graph(y)
    assert labels(g) == ["x", "W", "@", "y = Σ"]
    assert arrows(g) == [("x", "@", "(4, 3)"), ("W", "@", "(3, 6)"), ("@", "y = Σ", "[0:2]")]
    assert arrows(ts.graph(x @ W.T)) == [("x", "@", ""), ("W", "@", "ᵀ")]


def test_pieces_carry_their_names() -> None:
    W = ones(4, 2, grad=True)
    a, b = ts.ops.split(W, 2)
    a.name = "W_a"
    assert arrows(ts.graph(a * b)) == [("W", "⊙", "W_a"), ("W", "⊙", "b")]


def test_stacked_and_taken_apart_is_nothing() -> None:
    x = [ones(2, grad=True) * k for k in range(3)]
    parts = ts.ops.shape.unstack(ts.ops.stack(x), 0)
    assert arrows(ts.graph(ts.ops.exp(parts[1])))[-1][0] == "x[1] = × 1"


# -- opening


SOFTMAX = ["e", "constant", "−", "exp", "Σ over axis −1", "alpha = ÷"]


@pytest.mark.parametrize("backward", [False, True])
def test_a_fused_operation_opens_before_and_after_backward(backward: bool) -> None:
    e = ones(2, 3, grad=True)
    alpha = ts.ops.softmax(e)
    if backward:
        alpha.sum().backward()
    assert labels(ts.graph(alpha)) == ["e", "alpha = softmax"]
    for name in ("softmax", "Softmax", ["softmax"], all):
        g = ts.graph(alpha, open=name)
        assert labels(g) == SOFTMAX
        assert [(part.label, part.kind) for part in g.parts] == [("softmax", "opened")]
        assert part_of(g, node(g, "e")) == [] and part_of(g, node(g, "exp")) == ["softmax"]
    assert e.grad is None or e.grad.shape == (2, 3)  # drawing adds nothing to a gradient


def test_drawing_leaves_no_trace() -> None:
    out, _ = ts.nn.LSTM(2, 3)(ones(1, 4, 2))
    loss = out.sum()
    before = ts.graph(loss)
    ts.graph(loss, open=all)
    assert ts.graph(loss) == before
    loss.backward()
    assert ts.graph(loss) == before


def test_what_is_inside_of_what_is_opened_stays_closed_until_asked() -> None:
    x, t = ones(2, 3, grad=True), ts.tensor([0, 1])
    loss = ts.ops.cross_entropy(x, t)
    assert labels(ts.graph(loss, open="cross entropy"), "fused") == ["log softmax"]
    assert labels(ts.graph(loss, open=("cross_entropy", "log_softmax")), "fused") == []
    deep = ts.graph(loss, open=all)
    assert part_of(deep, node(deep, "exp")) == ["cross entropy", "log softmax"]
    order = [n.label for n in deep.nodes]
    assert order.index("exp") < order.index("gather")


def test_an_opened_lstm_shows_the_chapters_symbols() -> None:
    lstm, x = ts.nn.LSTM(3, 4), ones(2, 2, 3)
    out, last = lstm(x)
    out.sum().backward()
    g = ts.graph(last.c, open="lstm")
    symbols = [label.split(" = ")[0] for label in labels(g, "op") if " = " in label]
    assert symbols[:4] == ["fₜ", "iₜ", "c̃ₜ", "cₜ"]
    assert {edge.label for edge in g.edges} >= {"W_f", "W_i", "W_c", "W_o", "U_f", "U_c", "b_f", "b_c"}
    assert {"x₁", "x₂", "h₀", "c₀"} <= set(labels(g))
    assert ("x", "x₂", "") in arrows(g)


def test_a_step_called_by_hand_is_the_chapters_picture() -> None:
    g = ts.viz.equation_graph("lstm", ts.viz.Sizes(B=2))
    assert labels(g, "input") == ["xₜ", "hₜ₋₁", "cₜ₋₁"]
    assert labels(g, "parameter") == [f"{p}_{gate}" for gate in "fico" for p in "WUb"]
    named = [label for label in labels(g, "op") if " = " in label]
    assert named == ["fₜ = σ", "iₜ = σ", "c̃ₜ = tanh", "cₜ = +", "oₜ = σ", "hₜ = ⊙"]
    assert ("fₜ = σ", "⊙", "") in arrows(g) and ("cₜ₋₁", "⊙", "") in arrows(g)
    assert [n.label for n in g.nodes if n.output] == ["hₜ = ⊙"]
    assert node(g, "W_f").shape == (5, 3) and node(g, "hₜ = ⊙").shape == (2, 5)
    assert all(part_of(g, n) == ["lstm"] for n in g.nodes if n.kind != "input")


def test_a_reversed_sequence_says_so() -> None:
    out, _ = ts.nn.LSTM(2, 3, bidirectional=True)(ones(1, 4, 2))
    assert labels(ts.graph(out), "fused") == ["LSTM sequence", "LSTM sequence, reverse"]


def test_several_outputs_of_one_operation() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 4, 2)
    out, last = lstm(x)
    g = ts.graph(out.sum() + last.h.sum() + last.c.sum())
    assert sorted(edge[2] for edge in arrows(g) if edge[0].endswith("LSTM sequence")) == ["last.c", "last.h", "out"]
    # A single value: the box is that output.
    g = ts.graph(out * 1)
    assert node(g, "out = LSTM sequence").shape == (1, 4, 3)


def test_a_users_own_fused_operation() -> None:
    class DoubleTanh(FusedOp):
        kernel = "a_kernel_that_no_backend_has"

        def definition(self, x: Any) -> Any:
            return ts.ops.tanh(x) * 2

    x = ones(2, grad=True)
    g = ts.graph(DoubleTanh()(x))  # no kernel: its definition ran
    assert [part.label for part in g.parts] == ["double tanh"]
    assert labels(g) == ["x", "tanh", "× 2"]


# -- folding


def test_the_middle_of_many_steps_is_folded_and_counted() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 30, 2)
    out, _ = lstm(x)
    g = ts.graph(out, open="lstm")
    assert [part.label for part in g.parts if part.kind == "step"] == ["t = 1 · lstm", "t = 30 · lstm"]
    (fold,) = [n for n in g.nodes if n.kind == "fold"]
    assert fold.label == "… 28 steps …"
    shown, folded = g.size
    assert folded == fold.count and shown + folded == len(g.nodes) - 1 + fold.count
    per_step = len([n for n in g.nodes if part_of(g, n)[-1:] == ["t = 30 · lstm"]])
    assert fold.count == 28 * per_step
    assert g.note == f"{shown} of {shown + folded} boxes shown, {folded} folded" and g.note in g.dot
    assert ("cₜ = +", "… 28 steps …", "") in arrows(g)
    three, _ = lstm(ones(1, 3, 2))
    assert ts.graph(three, open="lstm").note == ""


def test_only_frames_that_differ_in_a_number_are_steps() -> None:
    y = ones(2, grad=True)
    for name in ("encoder", "attention", "decoder", "head", "loss"):
        with scope(name):
            y = ts.ops.tanh(y)
    assert len(ts.graph(y).parts) == 5


def test_a_long_chain_is_folded_in_seconds() -> None:
    y = ones(2, grad=True)
    for _ in range(100_000):
        y = ts.ops.tanh(y)
    start = time.perf_counter()
    g = ts.graph(y)
    assert time.perf_counter() - start < 60  # some five; no recursion, nothing quadratic
    assert len(g.nodes) == 400 and g.size == (399, 99_602)
    assert "399 of 100,001 boxes shown, 99,602 folded" in g.text()
    assert [n.output for n in g.nodes].count(True) == 1


def test_what_would_take_graphviz_long_is_folded_further() -> None:
    x = ones(2, grad=True)
    y = x
    for _ in range(300):  # each step an arrow from x, over up to 300 rows: 400 boxes of these take minutes
        y = ts.ops.tanh(y) * x
    g = ts.graph(y)
    assert 20 < len(g.nodes) < 120 and sum(g.size) == 601


def test_many_frames_are_closed() -> None:
    y = ones(2, grad=True)
    for k in range(300):
        with scope("block " + "abcdefghij"[k % 10] * (k // 10 + 1)):  # no steps: their names have no number
            y = ts.ops.exp(ts.ops.tanh(y))
    g = ts.graph(y)
    assert len(g.nodes) == 301 and labels(g, "fold")[0] == "block a" and sum(g.size) == 601


# -- errors


def test_what_cannot_be_drawn() -> None:
    x = ones(2, grad=True)
    with pytest.raises(TypeError, match="expected a Tensor or a list of them, got ndarray"):
        ts.graph(np.ones(2))
    with pytest.raises(ValueError, match="at least one tensor"):
        ts.graph([])
    with pytest.raises(ValueError, match="has no graph"):
        ts.graph(ones(2))
    with pytest.raises(ValueError, match="'gru' names no fused operation here; there are 'softmax'"):
        ts.graph(ts.ops.softmax(x), open="gru")
    with pytest.raises(ValueError, match="there are none"):
        ts.graph(x * x, open="lstm")
    with pytest.raises(TypeError, match="open is a name"):
        ts.graph(ts.ops.softmax(x), open=3)


def test_a_list_of_values_and_a_leaf() -> None:
    x = ones(2, grad=True)
    y, z = x * 2, ones(3)
    assert [n.label for n in ts.graph([y, (x, z)]).nodes if n.output] == ["x", "y = × 2", "z"]


def test_dtype_is_written_where_it_is_not_float32() -> None:
    x = ones(2, grad=True, dtype="float64")
    assert "(2,) float64" in ts.graph(x * 2).dot.replace("\\n", " ")
    assert "(2,) float32" not in ts.graph(ones(2, grad=True) * 2).dot
