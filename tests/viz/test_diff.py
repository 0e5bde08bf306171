"""The picture of two graphs: each side of it is one of them, and what both have is there once."""

import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.viz import Edge, Graph, Node, Part, equation_graph, render
from tinygrad_seq.viz.diff import _match, _Side
from viz.renderers import each_renderer

ones = np.ones((2, 3), "f4")


def labels(g: Graph, side: str) -> list[str]:
    return [node.label for node in g.nodes if node.side == side]


def sides(g: Graph) -> set[str]:
    return {thing.side for things in (g.nodes, g.edges, g.parts) for thing in things}


def dense(activation: object, **names: str) -> Graph:
    """x → @ → activation → Σ."""
    x = ts.tensor(ones)
    W = ts.tensor(ones.T.copy(), requires_grad=True)
    W.name = names.get("W", "W")
    h = activation(x @ W)  # type: ignore[operator]
    loss = h.sum()
    return ts.graph(loss, title=names.get("title"))


def test_a_graph_and_itself_have_no_difference() -> None:
    for g in (equation_graph("lstm"), equation_graph("mha"), dense(ts.ops.tanh)):
        d = ts.graph_diff(g, g)
        assert sides(d) == {"="} and len(d.nodes) == len(g.nodes) and Counter(labels(d, "=")) == Counter(
            node.label for node in g.nodes
        )  # fmt: skip
        assert list(d.legend.values()) == [
            f"only in {' '.join([name, g.title]).strip()}: nothing" for name in ("the first", "the second")
        ]


def test_one_operation_replaced() -> None:
    d = ts.graph_diff(dense(ts.ops.sigmoid), dense(ts.ops.tanh))
    assert labels(d, "-") == ["h = σ"] and labels(d, "+") == ["h = tanh"]
    assert labels(d, "=") == ["x", "W", "@", "loss = Σ"]
    assert Counter(edge.side for edge in d.edges) == {"=": 2, "-": 2, "+": 2}


def test_two_operations_replaced_and_what_lies_between_them_kept() -> None:
    def chain(first: object, last: object) -> Graph:
        x = ts.tensor(ones)
        U, V = (ts.tensor(np.ones((3, 3), "f4"), requires_grad=True) for _ in range(2))
        y = last(ts.ops.exp(first(x @ U) @ V)).sum()  # type: ignore[operator]
        return ts.graph(y)

    d = ts.graph_diff(chain(ts.ops.tanh, ts.ops.tanh), chain(ts.ops.sigmoid, ts.ops.relu))
    assert labels(d, "-") == ["tanh", "tanh"] and labels(d, "+") == ["σ", "ReLU"]
    assert sorted(labels(d, "=")) == ["@", "@", "U", "V", "exp", "x", "y = Σ"]


def test_another_name_is_no_other_computation() -> None:
    d = ts.graph_diff(dense(ts.ops.tanh, W="A"), dense(ts.ops.tanh, W="B"))
    assert sides(d) == {"="} and "A → B" in labels(d, "=")


def test_the_order_of_inputs_matters_where_it_does() -> None:
    x, y = ts.tensor([1.0], requires_grad=True), ts.tensor([2.0], requires_grad=True)
    assert sides(ts.graph_diff(ts.graph(x + y), ts.graph(y + x))) == {"="}
    d = ts.graph_diff(ts.graph(x - y), ts.graph(y - x))
    assert sorted(labels(d, "=")) == ["x", "y", "−"] and {edge.side for edge in d.edges} == {"-", "+"}


def test_an_rnns_step_is_an_lstms_candidate() -> None:
    d = ts.graph_diff(equation_graph("rnn.h"), equation_graph("lstm"))
    assert labels(d, "-") == []
    renamed = ["W_{hh} → U_c", "W_{xh} → W_c", "b_h → b_c", "hₜ → c̃ₜ = tanh"]
    assert sorted(labels(d, "=")) == sorted(["xₜ", "hₜ₋₁", "@", "@", "+", *renamed])
    assert {"fₜ = σ", "iₜ = σ", "oₜ = σ", "cₜ = +", "hₜ = ⊙", "cₜ₋₁"} <= set(labels(d, "+"))
    assert [(part.label, part.side) for part in d.parts] == [("lstm", "+")]


def test_the_two_conventions_of_the_gru() -> None:
    d = ts.graph_diff(equation_graph("gru"), equation_graph("gru_cho"))
    assert Counter(labels(d, "-")) == Counter(["b_{hn}", "@", "+", "⊙"])
    assert Counter(labels(d, "+")) == Counter(["⊙", "@"])
    assert {"rₜ = σ", "zₜ = σ", "nₜ = tanh", "hₜ = +", "U_n"} <= set(labels(d, "="))


def test_fused_against_its_definition() -> None:
    lstm, head, x = ts.nn.LSTM(3, 4), ts.nn.Linear(4, 2), ts.tensor(np.ones((1, 2, 3), "f4"))
    y = head(lstm(x)[0]).sum()
    d = ts.graph_diff(ts.graph(y), ts.graph(y, open="lstm"))
    assert labels(d, "-") == ["LSTM sequence"]
    assert {"fₜ = σ", "hₜ = ⊙", "x₁", "x₂"} <= set(labels(d, "+"))
    assert {"x", "weight_ih_l0", "weight", "bias", "linear", "y = Σ"} <= set(labels(d, "="))
    frames = {part.label: part.side for part in d.parts}
    assert frames == {"lstm: LSTM": "=", "LSTM sequence": "+", "t = 1 · lstm": "+", "t = 2 · lstm": "+",
                      "head: Linear": "="}  # fmt: skip


def test_text_marks_lines_and_numbers() -> None:
    text = ts.graph_diff(dense(ts.ops.sigmoid, title="σ"), dense(ts.ops.tanh, title="tanh")).text()
    assert text.splitlines() == [
        "σ → tanh",
        "- only in σ",
        "+ only in tanh",
        "  0  x                  (2, 3)  input",
        "  1  W                  (3, 2)  parameter",
        "  2  @ (0, 1)           (2, 2)",
        "- 3  h = σ (-2)         (2, 2)",
        "+ 4  h = tanh (+2)      (2, 2)",
        "  5  loss = Σ (+4, -3)  ()  output",
    ]


def test_errors() -> None:
    x = ts.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"expected two graphs, got Tensor: draw a tensor first, ts\.graph\(loss\)"):
        ts.graph_diff(x * x, ts.graph(x * x))  # type: ignore[arg-type]
    out, _ = ts.nn.RNN(3, 4)(ts.tensor(ones[None]))
    with pytest.raises(ValueError, match="draw both without time=True"):
        ts.graph_diff(ts.graph(out), ts.graph(out, time=True))
    a, b = ts.graph(x * x, title="A"), ts.graph(x + x, title="B")
    for first, second in ((ts.graph_diff(a, b), a), (a, ts.graph_diff(a, b)), (ts.graph_diff(a, a), a)):
        with pytest.raises(ValueError, match="expected two graphs, got the difference of .*A and .*: compare one of"):
            ts.graph_diff(first, second)
    with pytest.raises(TypeError, match="expected a text as title, got int"):
        ts.graph_diff(a, b, title=3)  # type: ignore[arg-type]


def test_titles() -> None:
    x = ts.tensor([1.0], requires_grad=True)
    a, b = ts.graph(x * x, title="step"), ts.graph(x + x, title="step")
    assert ts.graph_diff(a, b).legend == {"-": "only in the first step", "+": "only in the second step"}
    assert ts.graph_diff(a, b).title == "step → step" and ts.graph_diff(a, b, title="two\nlines").title == "two lines"
    assert ts.graph_diff(a, b, title="").title == ""


def test_what_is_too_much_for_one_picture_is_folded_and_says_so() -> None:
    def deep(activation: object, n: int) -> Graph:
        x = ts.tensor(ones, requires_grad=True)
        for _ in range(n):
            x = activation(x)  # type: ignore[operator]
        return ts.graph(x)

    a, b = deep(ts.ops.tanh, 300), deep(ts.ops.sigmoid, 350)
    d = ts.graph_diff(a, b)
    assert len(d.nodes) <= 400 and sum(d.size) == len(a.nodes) + len(b.nodes) - 1  # they share x
    (box,) = [node for node in d.nodes if node.kind == "fold"]
    assert box.side == "" and {"-", "+"} <= {node.side for node in d.nodes} and d.note in d.text()
    (line,) = [line for line in d.text().splitlines() if box.label in line]
    assert line.startswith("  ")


# -- any two graphs


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small graphs with few different boxes, so that much of two of them is alike."""
    n = draw(st.integers(1, 9))
    parts = tuple(
        Part(
            f"p{k}", draw(st.sampled_from("AB")), "module", draw(st.sampled_from([None, *(f"p{i}" for i in range(k))]))
        )
        for k in range(draw(st.integers(0, 3)))
    )
    homes = st.sampled_from([None, *(part.id for part in parts)])
    nodes, edges = [], []
    for k in range(n):
        sources = draw(st.lists(st.integers(0, k - 1), max_size=3)) if k else []
        name, op = draw(st.sampled_from(["", "a = ", "b = "])), draw(st.sampled_from(["Add", "Sub", "Tanh"]))
        kind = "op" if sources else "input"
        label = name + op if sources else draw(st.sampled_from("xy"))
        nodes.append(Node(f"n{k}", kind, label, (1,), part=draw(homes), op=op if sources else "", output=k == n - 1))
        edges += [Edge(f"n{source}", f"n{k}", draw(st.sampled_from(["", "ᵀ"]))) for source in sources]
    return Graph(draw(st.sampled_from(["", "G"])), tuple(nodes), tuple(edges), parts)


def what_it_does(g: Graph, *drawn: str) -> tuple[Counter[object], Counter[object]]:
    """Boxes and arrows on some sides, without numbers and names."""
    box = {n.id: (n.kind, n.op, n.shape) for n in g.nodes}
    return (
        Counter(box[n.id] for n in g.nodes if n.side in drawn),
        Counter((box[e.source], box[e.target], e.label) for e in g.edges if e.side in drawn),
    )


@settings(max_examples=300, deadline=None)
@given(graphs(), graphs())
def test_each_side_is_one_of_the_two(a: Graph, b: Graph) -> None:
    d = ts.graph_diff(a, b)
    assert what_it_does(d, "-", "=") == what_it_does(a, "") and what_it_does(d, "+", "=") == what_it_does(b, "")
    boxes = {n.id: n.side for n in d.nodes}
    for edge in d.edges:  # an arrow is on a side where its ends are
        assert all(boxes[end] in ("=", edge.side) for end in (edge.source, edge.target))
    order = {n.id: k for k, n in enumerate(d.nodes)}
    assert all(order[edge.source] < order[edge.target] for edge in d.edges)  # no circle, although two orders are one
    assert sides(ts.graph_diff(a, a)) <= {"="}
    assert d == ts.graph_diff(a, b)


def test_the_work_of_matching_is_linear() -> None:
    def steps(n: int, kind: str) -> Graph:
        """A chain in which every box uses the same weight, and every seventh is of this kind."""
        nodes = [Node("n0", "input", "x", (1,)), Node("n1", "parameter", "W", (1,))]
        nodes += [Node(f"n{k}", "op", kind if k % 7 == 0 else "@", (1,), op="MatMul") for k in range(2, n)]
        chain = [node.id for node in nodes if node.id != "n1"]
        edges = [edge for a, b in pairwise(chain) for edge in (Edge(a, b), Edge("n1", b))]
        return Graph("", tuple(nodes), tuple(edges), ())

    def calls(n: int) -> int:
        """Counted, because a clock says something else on a busy machine."""
        a, b = steps(n, "σ"), steps(n, "exp")
        count = 0

        def watch(frame: object, event: str, _: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            _match(_Side(a), _Side(b))
        finally:
            sys.setprofile(before)
        return count

    few, many = calls(300), calls(2400)
    assert 7 * few < many < 9 * few


# -- drawn


@each_renderer
def test_both_renderers_draw_it(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    d = ts.graph_diff(equation_graph("gru", title="GRU"), equation_graph("gru_cho", title="Cho"))
    svg = d.svg()
    assert "only in GRU" in svg and "only in Cho" in svg
    for text in (svg, render.run(d.dot, "svg").decode("utf-8")):
        assert "#B84A00" in text.upper() and "#0063A3" in text.upper() and "stroke-dasharray" in text
