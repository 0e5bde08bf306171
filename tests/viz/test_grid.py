"""Time as a grid: each step of each layer is one box, steps from left to right, layers from bottom to top."""

import time
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import Graph, render
from tinygrad_seq.viz.layout import layout
from viz.renderers import each_renderer


def ones(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(np.ones(shape, "float32"), requires_grad=grad)


def table(g: Graph) -> list[list[str]]:
    """The labels of each column, from bottom to top."""
    columns: dict[Any, list[tuple[int, str]]] = {part.id: [] for part in g.parts}
    for node in g.nodes:
        assert node.row is not None
        columns[node.part].append((node.row, node.label))
    return [[label for _, label in sorted(column)] for column in columns.values()]


def arrows(g: Graph) -> set[tuple[str, str, str]]:
    called = {node.id: node.label for node in g.nodes}
    return {(called[edge.source], called[edge.target], edge.label) for edge in g.edges}


def rnn(T: int = 3) -> Graph:
    x, layer = ones(2, T, 4), ts.nn.RNN(4, 5)
    out, _ = layer(x)
    return ts.graph(out, time=True)


# -- what is drawn


def test_an_rnn_is_the_textbooks_row() -> None:
    g = rnn()
    assert table(g) == [["W_{xh}, W_{hh}, b_h"], ["h₀"], ["x₁", "h₁"], ["x₂", "h₂"], ["x₃", "h₃"]]
    assert arrows(g) == {
        ("W_{xh}, W_{hh}, b_h", "h₁", ""), ("h₀", "h₁", "h"), ("h₁", "h₂", "h"), ("h₂", "h₃", "h"),
        ("x₁", "h₁", ""), ("x₂", "h₂", ""), ("x₃", "h₃", ""),
    }  # fmt: skip
    assert [part.label for part in g.parts] == ["beside", "beside", "t = 1", "t = 2", "t = 3"]
    assert [node.label for node in g.nodes if node.output] == ["h₁", "h₂", "h₃"]
    weights = next(node for node in g.nodes if node.kind == "parameter")
    assert weights.equation.splitlines() == [
        "W_xh = weight_ih_l0 (5, 4)",
        "W_hh = weight_hh_l0 (5, 5)",
        "b_h = bias_ih_l0 (5,) + bias_hh_l0 (5,)",
    ]
    assert {node.shape for node in g.nodes} == {None, (2, 4), (2, 5)}


def test_the_middle_of_a_long_sequence_is_folded() -> None:
    out, _ = ts.nn.LSTM(4, 5)(ones(2, 50, 4))
    g = ts.graph(out, time=True)
    assert [column[-1] for column in table(g)][1:] == [
        "h₀, c₀", "h₁, c₁", "h₂, c₂", "… 46 steps …", "h₄₉, c₄₉", "h₅₀, c₅₀",
    ]  # fmt: skip
    assert g.size == (10, 92) and g.note == "10 of 102 boxes shown, 92 folded"
    assert ("h₂, c₂", "… 46 steps …", "h, c") in arrows(g) and ("… 46 steps …", "h₄₉, c₄₉", "h, c") in arrows(g)


@pytest.mark.parametrize("T", [1, 2, 5, 6, 7])
def test_shown_and_folded_are_all(T: int) -> None:
    g = rnn(T)
    assert sum(g.size) == 2 * T + 2  # x and h at each step, the weights, the first state
    assert bool(g.note) == (T > 5)


def test_layers_stand_on_each_other() -> None:
    out, h_n = ts.nn.GRU(4, 5, 3)(ones(2, 3, 4))
    g = ts.graph(h_n, time=True)
    assert table(g)[2] == ["x₁", "h¹₁", "h²₁", "h³₁"]
    assert {("h¹₂", "h²₂", ""), ("h²₂", "h³₂", ""), ("h²₁", "h²₂", "h")} <= arrows(g)
    assert [node.label for node in g.nodes if node.output] == ["h¹₃", "h²₃", "h³₃"]  # the last of each


def test_what_is_below_all_layers_has_no_layers_number() -> None:
    e = ts.nn.Embedding(7, 4)(np.array([[1, 2, 3]]))
    out, _ = ts.nn.GRU(4, 5, 2)(e)
    assert "e₁" in table(ts.graph(out, time=True))[2] and "h²₁" in table(ts.graph(out, time=True))[2]


def test_two_directions_are_two_rows_and_what_joins_them() -> None:
    out, _ = ts.nn.LSTM(4, 5, bidirectional=True)(ones(2, 3, 4))
    g = ts.graph(out, time=True)
    forward, backward = "h\u20d7{}, c\u20d7{}", "h\u20d6{}, c\u20d6{}"
    assert table(g)[2] == ["x₁", forward.format("₁", "₁"), backward.format("₁", "₁"), "h₁"]
    assert table(g)[-1] == [backward.format("₄", "₄")]  # the first state of the one that begins at the end
    found = arrows(g)
    assert (forward.format("₁", "₁"), forward.format("₂", "₂"), "h, c") in found
    assert (backward.format("₂", "₂"), backward.format("₁", "₁"), "h, c") in found
    assert {("x₁", forward.format("₁", "₁"), ""), ("x₁", backward.format("₁", "₁"), "")} <= found


def test_opened_and_closed_are_one_picture() -> None:
    x, layer = ones(2, 4, 3), ts.nn.LSTM(3, 5, 2, bidirectional=True)
    out, _ = layer(x)
    closed, opened = ts.graph(out, time=True), ts.graph(out, time=True, open="lstm")
    weights = {node.id for node in closed.nodes if node.kind == "parameter"}

    def without(g: Graph) -> list[tuple[str, int | None, bool]]:
        return [(node.label, node.row, node.output) for node in g.nodes if node.id not in weights]

    assert without(closed) == without(opened) and closed.edges == opened.edges


def test_a_loop_of_ones_own_over_cells() -> None:
    x, lower, upper = ones(2, 3, 4), ts.nn.LSTMCell(4, 5), ts.nn.RNNCell(5, 6)
    state, h = None, None
    for x_t in ts.ops.unstack(x, 1):
        state = lower(x_t, state)
        h = upper(state.h, h)
    assert h is not None
    g = ts.graph(h, time=True)
    assert table(g)[1:3] == [["h¹₀, c¹₀", "h²₀"], ["x₁", "h¹₁, c¹₁", "h²₁"]]
    assert ("h¹₁, c¹₁", "h¹₂, c¹₂", "h, c") in arrows(g) and ("h¹₂, c¹₂", "h²₂", "") in arrows(g)
    assert [node.label for node in g.nodes if node.output] == ["h²₃"]


def test_the_input_of_a_loop_may_have_a_gradient() -> None:
    x, cell, h = ones(2, 3, 4, grad=True), ts.nn.GRUCell(4, 5), ones(2, 5, grad=True)
    for t in range(3):
        h = cell(x[:, t], h)
    assert table(ts.graph(h, time=True))[1:3] == [["h₀"], ["x₁", "h₁"]]


def test_a_scan_of_ones_own_cell() -> None:
    out, _ = ts.nn.PeepholeLSTM(4, 5)(ones(2, 3, 4))
    assert table(ts.graph(out, time=True)) == [
        ["W, U, b, p"], ["h₀, c₀"], ["x₁", "h₁, c₁"], ["x₂", "h₂, c₂"], ["x₃", "h₃, c₃"]
    ]  # fmt: skip


def test_what_treats_each_step_by_itself_is_a_row_too_and_the_loss_stands_behind() -> None:
    ids = np.zeros((2, 3), int)
    model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=10, hidden_size=4, cell="rnn"))
    logits, _ = model(ids)
    loss = ts.ops.cross_entropy(logits, ids)
    g = ts.graph(loss, time=True)
    assert table(g)[2] == ["ids", "embedding", "h₁", "logits"]
    assert table(g)[-1] == ["loss = cross entropy"]
    assert {("logits", "loss = cross entropy", "")} <= arrows(g)
    assert sum(edge.target == g.nodes[-1].id for edge in g.edges) == 3


def test_a_product_with_a_weight_is_done_at_each_step() -> None:
    W, b = ones(3, 5, grad=True), ones(3, grad=True)
    out, _ = ts.nn.RNN(4, 5)(ones(2, 3, 4))
    for y in (out @ W.T + b, out @ W.T * 2 + b):
        g = ts.graph(y, time=True)
        assert [column[-1] for column in table(g)][-3:] == ["y₁", "y₂", "y₃"]
        assert [node.label for node in g.nodes if node.kind == "parameter"] == ["W_{xh}, W_{hh}, b_h", "W", "b"]


def test_a_decoder_stands_behind_its_encoder() -> None:
    config = ts.models.EncoderDecoderConfig(source_vocab_size=9, target_vocab_size=7, embedding_size=3, hidden_size=4)
    source, target = np.zeros((2, 4), int), np.zeros((2, 3), int)
    g = ts.graph(ts.models.EncoderDecoder(config)(source, target), time=True)
    assert [column[0] for column in table(g) if column[0] in ("source", "target")] == ["source"] * 4 + ["target"] * 3
    column = {part.id: k for k, part in enumerate(g.parts)}
    (bridge,) = [
        (a, b)
        for edge in g.edges
        for a, b in [[next(n for n in g.nodes if n.id == end) for end in (edge.source, edge.target)]]
        if a.label == "h₄" and b.label == "h₁"
    ]
    assert column[bridge[0].part or ""] < column[bridge[1].part or ""]


def test_attention_is_an_arrow_from_every_state_of_the_encoder() -> None:
    config = ts.models.AttentionDecoderConfig(
        source_vocab_size=9, target_vocab_size=7, embedding_size=3, hidden_size=4, score="dot"
    )
    model = ts.models.AttentionDecoder(config)
    g = ts.graph(model(np.zeros((2, 3), int), np.zeros((2, 2), int)), time=True)
    assert {(f"h{j}", f"s{i}", "") for j in "₁₂₃" for i in "₁₂"} <= arrows(g)
    assert ("s₁", "s₂", "s") in arrows(g)
    assert any(source.startswith("…") and target == "s₁" for source, target, _ in arrows(g))  # s_0, from the ends


def test_a_part_of_a_sequence_comes_after_it() -> None:
    out, _ = ts.nn.RNN(4, 5)(ones(2, 4, 4))
    later, _ = ts.nn.RNN(5, 6)(out[:, 1:])
    g = ts.graph(later, time=True)
    weights = "W_{xh}, W_{hh}, b_h"
    assert [column[-1] for column in table(g)] == [
        weights, "h₀", "h₁", "h₂", "h₃", "h₄", "[:, 1:]", weights, "h₀", "h₁", "h₂", "h₃",
    ]  # fmt: skip
    assert {("h₂", "[:, 1:]", ""), ("h₄", "[:, 1:]", ""), ("[:, 1:]", "x₁", ""), ("x₁", "h₁", "")} <= arrows(g)


def test_a_sequence_turned_round_is_not_read_straight_on() -> None:
    layer = ts.nn.GRU(4, 4)
    g = ts.graph(layer(layer(ones(1, 3, 4))[0][:, ::-1])[0], time=True)
    turned = {("h₁", "[:, ::-1]", ""), ("h₃", "[:, ::-1]", ""), ("[:, ::-1]", "x₁", ""), ("x₁", "h₁", "")}
    assert turned <= arrows(g) and ("h₁", "h₁", "") not in arrows(g)


def test_one_cell_over_two_sequences_is_two_rows() -> None:
    cell = ts.nn.GRUCell(4, 4)
    ends = []
    for x in (ones(1, 2, 4), ones(1, 2, 4)):
        h = ts.tensor(np.zeros((1, 4), np.float32))
        for x_t in ts.ops.unstack(x, 1):
            h = cell(x_t, h)
        ends.append(h)
    g = ts.graph(ends[0] * ends[1], time=True)
    labels = [node.label for node in g.nodes]
    assert labels.count("h₁") == labels.count("h₂") == 2 and "h₃" not in labels


def test_lengths_change_nothing() -> None:
    x, layer = ones(2, 4, 3), ts.nn.LSTM(3, 5)
    plain, ragged = layer(x)[0], layer(x, lengths=[4, 2])[0]
    assert ts.graph(ragged, time=True) == ts.graph(plain, time=True)
    assert ts.graph(ragged, time=True, open="lstm").edges == ts.graph(plain, time=True).edges


# -- rolled up


def test_rolled_a_layer_is_one_box_and_its_state_comes_back() -> None:
    out, _ = ts.nn.LSTM(4, 5, 2)(ones(2, 300, 4))
    g = ts.graph(out, time="rolled")
    assert table(g) == [["W, U, b", "W, U, b"], ["xₜ", "h¹ₜ, c¹ₜ", "h²ₜ, c²ₜ"]]
    assert arrows(g) == {
        ("W, U, b", "h¹ₜ, c¹ₜ", ""), ("W, U, b", "h²ₜ, c²ₜ", ""), ("xₜ", "h¹ₜ, c¹ₜ", ""), ("h¹ₜ, c¹ₜ", "h²ₜ, c²ₜ", ""),
        ("h¹ₜ, c¹ₜ", "h¹ₜ, c¹ₜ", "h, c"), ("h²ₜ, c²ₜ", "h²ₜ, c²ₜ", "h, c"),
    }  # fmt: skip
    assert [node.label for node in g.nodes if node.output] == ["h²ₜ, c²ₜ"]


def test_a_loop_of_ones_own_is_rolled_up_too() -> None:
    x, cell, h = ones(2, 3, 4), ts.nn.GRUCell(4, 5), None
    for x_t in ts.ops.unstack(x, 1):
        h = cell(x_t, h)
    assert h is not None
    g = ts.graph(h, time="rolled")
    assert table(g)[1] == ["xₜ", "hₜ"] and ("hₜ", "hₜ", "h") in arrows(g)


@each_renderer
def test_the_arrow_back_stands_beside_its_box(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    out, _ = ts.nn.RNN(4, 5, bidirectional=True)(ones(2, 3, 4))
    g = ts.graph(out, time="rolled")
    place = layout(g)
    loops = [(place.nodes[e.source], p) for e, p in zip(g.edges, place.edges, strict=True) if e.source == e.target]
    assert len(loops) == 2
    for box, (curves, label) in loops:
        assert all(x >= box.x + box.width / 2 - 1 for x, _ in curves[0].points)
        assert label is not None and label[0] > box.x + box.width / 2


# -- where it stands


@each_renderer
@pytest.mark.parametrize("T", [3, 30])
def test_steps_go_right_and_layers_go_up(renderer: render.Renderer, T: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    out, _ = ts.nn.LSTM(4, 5, 2, bidirectional=True)(ones(2, T, 4))
    g = ts.graph(out, time=True)
    at = layout(g).nodes
    columns: dict[Any, list[Any]] = {part.id: [] for part in g.parts}
    rows: dict[Any, list[Any]] = {}
    for node in g.nodes:
        columns[node.part].append((node.row, at[node.id]))
        rows.setdefault(node.row, []).append(at[node.id])
    middles = []
    for column in columns.values():
        places = [box for _, box in sorted(column)]
        assert max(box.x for box in places) - min(box.x for box in places) < 1
        assert all(above.y < below.y - 20 for below, above in zip(places, places[1:], strict=False))
        middles.append(places[0].x)
    assert all(right > left + 20 for left, right in zip(middles, middles[1:], strict=False))
    for boxes in rows.values():  # each row is straight
        assert max(box.y for box in boxes) - min(box.y for box in boxes) < 2


@each_renderer
def test_arrows_end_at_what_they_lead_to(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    out, _ = ts.nn.GRU(4, 5, bidirectional=True)(ones(2, 3, 4))
    g = ts.graph(out, time=True)
    place = layout(g)
    for edge, (curves, _) in zip(g.edges, place.edges, strict=True):
        target, source = place.nodes[edge.target], place.nodes[edge.source]
        (x, y), (x0, y0) = curves[-1].head or (0, 0), curves[0].points[0]
        assert abs(x - target.x) <= target.width / 2 + 6 and abs(y - target.y) <= target.height / 2 + 6
        assert abs(x0 - source.x) <= source.width / 2 + 6 and abs(y0 - source.y) <= source.height / 2 + 6


# -- size, text, errors


@pytest.mark.parametrize("own_loop", [False, True])
def test_a_thousand_steps_are_few_boxes_at_once(own_loop: bool) -> None:
    x = ones(1, 1000, 2)
    if own_loop:
        cell, h = ts.nn.RNNCell(2, 3), None
        for x_t in ts.ops.unstack(x, 1):
            h = cell(x_t, h)
    else:
        _, h = ts.nn.RNN(2, 3)(x)
    assert h is not None
    start = time.perf_counter()
    g = ts.graph(h, time=True)
    assert time.perf_counter() - start < 5  # a third of a second
    assert len(g.nodes) == 12 and sum(g.size) == 2002 and len(g.dot) < 5000


def test_what_comes_before_is_one_box_and_is_counted() -> None:
    x = y = ones(2, 3, 4, grad=True)
    for _ in range(1000):
        y = ts.ops.tanh(y).reshape(2, 3, 4)
    for h in (ts.nn.RNN(4, 5)(y)[0], ts.nn.PeepholeLSTM(4, 5)(y)[0]):
        g = ts.graph(h, time=True)
        (before,) = [node for node in g.nodes if node.kind == "fold"]
        assert before.count == 1000 and sum(g.size) == 1000 + 2 + 3 + 3 and x.requires_grad
        assert sum(edge.source == before.id for edge in g.edges) == 3


def test_many_layers_stay_within_the_boxes_of_a_picture() -> None:
    out, _ = ts.nn.RNN(2, 2, 100)(ones(1, 6, 2))
    g = ts.graph(out, time=True)
    assert len(g.nodes) <= 400 and sum(g.size) == 100 * 8 + 6


GOLDEN = """\
digraph {
  graph [fontname="Helvetica", fontsize=16, nodesep=0.25, ranksep=0.5, rankdir=LR, pad=0.1, labelloc=t]
  node [fontname="Helvetica", fontsize=14, fixedsize=true, shape=box]
  edge [fontname="Helvetica", fontsize=11, fontcolor="#333333", color="#555555", arrowsize=0.6]
  subgraph column_p0 {
    graph [rank=same]
    n0 [label="W_{xh}, W_{hh}, b_h", tooltip="W_xh = weight_ih_l0 (5, 4)\\nW_hh = weight_hh_l0 (5, \
5)\\nb_h = bias_ih_l0 (5,) + bias_hh_l0 (5,)", shape=box, style="filled", fillcolor="#FCE3BF", \
color="#8A5A00", penwidth=1, width=1.43, height=0.36, group=row1]
  }
  subgraph column_p1 {
    graph [rank=same]
    n1 [label="h₀\\n(2, 5)", tooltip="h₀\\nshape (2, 5)\\ndtype float32", shape=ellipse, style="filled", \
fillcolor="#E6E6E6", color="#4D4D4D", penwidth=1, width=0.75, height=0.54, group=row1]
  }
  subgraph column_p2 {
    graph [rank=same]
    n2 [label="x₁\\n(2, 4)", tooltip="x₁\\nshape (2, 4)\\ndtype float32", shape=ellipse, style="filled", \
fillcolor="#E6E6E6", color="#4D4D4D", penwidth=1, width=0.75, height=0.54, group=row0]
    n3 [label="h₁\\n(2, 5)", tooltip="h₁\\nshape (2, 5)\\ndtype float32\\noperation RNN sequence", shape=box, \
style="rounded,filled", fillcolor="#D3EFE3", color="#006B4C", penwidth=2.5, width=0.65, height=0.54, group=row1]
  }
  subgraph column_p3 {
    graph [rank=same]
    n4 [label="x₂\\n(2, 4)", tooltip="x₂\\nshape (2, 4)\\ndtype float32", shape=ellipse, style="filled", \
fillcolor="#E6E6E6", color="#4D4D4D", penwidth=1, width=0.75, height=0.54, group=row0]
    n5 [label="h₂\\n(2, 5)", tooltip="h₂\\nshape (2, 5)\\ndtype float32\\noperation RNN sequence", shape=box, \
style="rounded,filled", fillcolor="#D3EFE3", color="#006B4C", penwidth=2.5, width=0.65, height=0.54, group=row1]
  }
  n0 -> n3 [weight=0]
  n1 -> n3 [label="h", weight=20]
  n3 -> n2 [dir=back]
  n3 -> n5 [label="h", weight=20]
  n5 -> n4 [dir=back]
  n0 -> n1 [style=invis, weight=20]
  n2 -> n4 [style=invis, weight=20]
}
"""


def test_the_dot_text_is_the_same_each_time() -> None:
    assert rnn(2).dot == GOLDEN


def test_as_text() -> None:
    lines = rnn(2).text().splitlines()
    assert [line.strip() for line in lines if "t = " in line] == ["t = 1", "t = 2"]
    assert any(line.startswith("5    h₂ (3, 4)") for line in lines)


def test_without_a_recurrence() -> None:
    x = ones(2, 3, grad=True)
    with pytest.raises(ValueError, match="time=True draws a recurrence, and there is none here"):
        ts.graph(x * x, time=True)
    with pytest.raises(ValueError, match="time is True, False or \"rolled\", got 'folded'"):
        ts.graph(x * x, time="folded")
