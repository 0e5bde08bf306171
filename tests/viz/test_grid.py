"""Time as a grid: each step of each layer is one box, steps from left to right, layers from bottom to top."""

import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import Graph, render
from tinygrad_seq.viz.layout import layout
from tinygrad_seq.viz.style import edge_look
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


def weights(g: Graph) -> dict[tuple[str, str], float]:
    """α of each arrow of attention."""
    called = {node.id: node.label for node in g.nodes}
    return {(called[e.source], called[e.target]): e.weight for e in g.edges if e.weight is not None}


def cuts(g: Graph) -> list[tuple[str, str, str]]:
    called = {node.id: node.label for node in g.nodes}
    return [(called[edge.source], called[edge.target], edge.label) for edge in g.edges if edge.cut]


def margin(g: Graph) -> list[str]:
    return [node.label for node in g.nodes if node.kind == "parameter"]


def low(t: int) -> str:
    return str(t).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


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


def test_steps_that_are_looked_up_by_an_array_are_no_step() -> None:
    x, rows, cell = ones(2, 3, 4, grad=True), np.array([1, 0]), ts.nn.GRUCell(4, 5)
    h = cell(x[rows, 0], cell(ones(2, 3, 4)[rows, 1]))
    assert [label for column in table(ts.graph(h, time=True)) for label in column if label.startswith("h")] == [
        "h₀", "h₁", "h₂"
    ]  # fmt: skip
    out, _ = ts.nn.RNN(4, 5)(x[:, rows])
    assert any(node.label == "take" for node in ts.graph(out, time=True).nodes)


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


def test_one_cell_for_two_layers_is_two_rows() -> None:
    x, cell = ones(2, 3, 5), ts.nn.GRUCell(5, 5)
    h1 = h2 = None
    for x_t in ts.ops.unstack(x, 1):
        h1 = cell(x_t, h1)
        h2 = cell(h1, h2)
    assert h2 is not None
    g = ts.graph(h2, time=True)
    assert table(g)[2:] == [["x₁", "h¹₁", "h²₁"], ["x₂", "h¹₂", "h²₂"], ["x₃", "h¹₃", "h²₃"]]
    assert {("h¹₁", "h¹₂", "h"), ("h²₁", "h²₂", "h"), ("h¹₂", "h²₂", "")} <= arrows(g)


def test_what_a_loop_does_between_two_calls_is_part_of_a_step() -> None:
    x, cell, h = ones(2, 3, 4), ts.nn.GRUCell(4, 5), ones(2, 5)
    for t in range(3):
        h = ts.ops.where(np.array([[True], [t < 2]]), cell(x[:, t], h), h)
    g = ts.graph(h, time=True)
    assert table(g)[1:] == [["h₀"], ["x₁", "h₁"], ["x₂", "h₂"], ["x₃", "h₃"], ["h = where"]]


@pytest.mark.parametrize("grad", [False, True])
def test_a_loop_that_runs_backwards_has_its_first_step_last(grad: bool) -> None:
    x, cell, h = ones(2, 3, 4, grad=grad), ts.nn.GRUCell(4, 5), None
    for x_t in reversed(ts.ops.unstack(x, 1)):
        h = cell(x_t, h)
    assert h is not None
    g = ts.graph(h, time=True)
    assert table(g)[1:] == [["x₁", "h₁"], ["x₂", "h₂"], ["x₃", "h₃"], ["h₄"]]
    assert {("x₁", "h₁", ""), ("h₂", "h₁", "h"), ("h₄", "h₃", "h")} <= arrows(g)
    assert [node.label for node in g.nodes if node.output] == ["h₁"]


def test_a_loop_of_one_step() -> None:
    cell = ts.nn.LSTMCell(4, 5)
    g = ts.graph(cell(ones(2, 4)).h, time=True)
    assert table(g) == [["cell"], ["h₀, c₀"], ["x₁", "h₁, c₁"]]
    assert {("x₁", "h₁, c₁", ""), ("h₀, c₀", "h₁, c₁", "h, c")} <= arrows(g)
    g = ts.graph(ts.nn.GRUCell(4, 5)(ones(2, 3, 4)[:, 1], ones(2, 5)), time=True)
    assert table(g) == [["W, U, b"], ["h₀"], ["x₁", "h₁"]]


def test_the_margin_says_whose_weights_they_are() -> None:
    x, decoder, cells, h, y = ones(2, 2, 4), ts.nn.RNNCell(4, 4), [ts.nn.RNNCell(4, 4)], None, None
    for x_t in ts.ops.unstack(x, 1):
        h = decoder(x_t, h)
        y = cells[0](h, y)
    assert y is not None
    assert margin(ts.graph(y, time=True)) == ["decoder", "cells[0]"]
    config = ts.models.EncoderDecoderConfig(source_vocab_size=9, target_vocab_size=7, embedding_size=3, hidden_size=4)
    g = ts.graph(ts.models.EncoderDecoder(config)(np.zeros((2, 2), int), np.zeros((2, 2), int)), time=True)
    gru = "W, U, b_{ih}, b_{hh}"
    assert margin(g) == [
        "source_embedding.weight", f"encoder: {gru}", "target_embedding.weight", f"decoder: {gru}", "output"
    ]  # fmt: skip


# -- attention


def decoder(score: str = "mlp", order: str = "bahdanau", cell: str = "gru") -> ts.models.AttentionDecoder:
    config = ts.models.AttentionDecoderConfig(
        9, 7, embedding_size=4, hidden_size=6, score=score, order=order, cell=cell
    )
    model = ts.models.AttentionDecoder(config)
    for p in model.parameters():
        p.data *= 4  # weights that differ
    return model


def tokens(T: int, high: int) -> np.ndarray:
    return np.random.default_rng(T).integers(3, high, (2, T))


@pytest.mark.parametrize("order", ["bahdanau", "luong"])
@pytest.mark.parametrize("score", ["dot", "scaled_dot", "bilinear", "mlp"])
def test_arrows_of_attention_carry_the_alignment(score: str, order: str) -> None:
    model = decoder(score, order)
    with ts.record() as r:
        logits = model(tokens(4, 9), tokens(3, 7), source_lengths=[4, 3])
    alpha = r["attention"].alpha.numpy().mean(0)
    assert np.ptp(alpha) > 0.1
    g = ts.graph(logits, time=True)
    found = weights(g)
    assert set(found) == {(f"h{low(j + 1)}", f"s{low(i + 1)}") for i in range(3) for j in range(4)}
    for (source, target), weight in found.items():
        j, i = (next(k for k in range(4) if label[1:] == low(k + 1)) for label in (source, target))
        assert weight == pytest.approx(alpha[i, j], abs=1e-6)
    assert g.marks["α"] == "attention from 0 to 1, mean over the batch, and over heads if several"
    with ts.definitions():
        opened = model(tokens(4, 9), tokens(3, 7), source_lengths=[4, 3])
    assert weights(ts.graph(opened, time=True)) == pytest.approx(found, abs=1e-5)
    assert weights(ts.graph(logits, time=True, open="masked_softmax")) == found


def test_gradients_decide_how_arrows_of_attention_look() -> None:
    loss = decoder().loss(tokens(4, 9), tokens(3, 7))
    g = ts.graph(loss, time=True, grad=True)
    assert len(weights(g)) == 4 * 2 and "α" not in g.marks and "α = " in g.dot
    assert weights(ts.graph(loss, time=True)) == pytest.approx(weights(g), abs=1e-6)


@each_renderer
@pytest.mark.parametrize("lengths", [(4, 3), (20, 12)])
def test_arcs_of_attention_cross_no_box_and_stay_inside(
    renderer: render.Renderer, lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    S, T = lengths
    g = ts.graph(decoder()(tokens(S, 9), tokens(T, 7)), time=True)
    placed = layout(g)
    arcs = [(edge, curves) for edge, (curves, _) in zip(g.edges, placed.edges, strict=True) if edge.weight is not None]
    assert len(arcs) == min(S, 5) * min(T, 5)
    for edge, (arc,) in arcs:
        t = np.linspace(0, 1, 60)[:, None]
        a, b, c, d = (np.array(point) for point in arc.points)
        path = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
        assert (path >= 0).all() and (path <= (placed.width, placed.height)).all()
        for name, box in placed.nodes.items():
            if name not in (edge.source, edge.target):
                inside = (abs(path - (box.x, box.y)) < (box.width / 2, box.height / 2)).all(1)
                assert not inside.any(), (edge, name)


def test_the_keys_of_a_score_are_part_of_its_arrows() -> None:
    g = ts.graph(decoder("mlp")(tokens(3, 9), tokens(2, 7)), time=True)
    assert not any(node.label == "@" for node in g.nodes)
    assert "attention.score, cell" in margin(g)
    (about,) = [node.equation for node in g.nodes if node.label == "attention.score, cell"]
    assert "attention.score.W_2 (6, 6)" in about


def test_an_arrow_from_folded_steps_has_the_sum_of_their_weights() -> None:
    model = decoder()
    with ts.record() as r:
        logits = model(tokens(20, 9), tokens(12, 7))
    alpha = r["attention"].alpha.numpy().mean(0)
    g = ts.graph(logits, time=True)
    found = weights(g)
    assert found["… 16 steps …", "s₁"] == pytest.approx(alpha[0, 2:18].sum(), abs=1e-6)
    assert found["h₁₉", "… 8 steps …"] == pytest.approx(alpha[2:10, 18].mean(), abs=1e-6)
    assert found["… 16 steps …", "… 8 steps …"] == pytest.approx(alpha[2:10, 2:18].sum(1).mean(), abs=1e-6)
    for end in ("s₁", "s₁₂", "… 8 steps …"):
        assert sum(weight for (_, target), weight in found.items() if target == end) == pytest.approx(1)


def test_after_backward_there_are_no_weights_unless_the_graph_is_kept() -> None:
    logits = decoder()(tokens(3, 9), tokens(2, 7))
    before = ts.graph(logits, time=True)
    loss = (logits * logits).mean()
    loss.backward(retain_graph=True)
    assert ts.graph(logits, time=True) == before and weights(before)
    loss.backward()
    after = ts.graph(logits, time=True)
    assert not weights(after) and not after.marks and arrows(after) == arrows(before)
    assert not weights(ts.graph(decoder()(tokens(3, 9), tokens(2, 7)), time="rolled"))


def test_weights_are_those_of_the_forward_pass() -> None:
    heads, cell, h = ts.nn.MultiheadAttention(4, 2), ts.nn.GRUCell(4, 4), ones(1, 4)
    memory, _ = ts.nn.RNN(4, 4)(ts.tensor(np.random.default_rng(0).standard_normal((1, 3, 4)).astype("float32")))
    for _ in range(2):
        h = cell(heads(h[:, None], memory)[:, 0], h)
    loss = (h * h).sum()
    assert len(weights(ts.graph(loss, time=True))) == 6
    loss.backward(retain_graph=True)
    ts.optim.SGD(heads.parameters(), lr=1.0).step()
    assert not weights(ts.graph(loss, time=True))  # from the new parameters they would be others


def dot_by_hand(h: ts.Tensor, s: ts.Tensor) -> tuple[ts.Tensor, ts.Tensor]:
    alpha = ts.ops.softmax((h * s[:, None]).sum(-1))
    return (alpha[:, :, None] * h).sum(1), alpha


@pytest.mark.parametrize("luong", [False, True])
@pytest.mark.parametrize("how", ["by hand", "module", "heads"])
def test_attention_in_a_loop_of_ones_own(how: str, luong: bool) -> None:
    heads, module = ts.nn.MultiheadAttention(6, 2), ts.nn.Attention(ts.nn.MLPScore(6, 6, 5))

    def attend(h: ts.Tensor, s: ts.Tensor) -> tuple[ts.Tensor, ts.Tensor]:
        if how == "by hand":
            return dot_by_hand(h, s)
        if how == "module":
            attended = module(s, h)
            return attended.context, attended.alpha
        with ts.record() as r:
            c = heads(s[:, None], h)[:, 0]
        return c, r["multiheadattention"].alpha.numpy().mean(1)[:, 0]

    rng = np.random.default_rng(0)
    source, target = (ts.tensor(rng.standard_normal((2, T, 3)).astype("float32") * 3) for T in (4, 3))
    h, _ = ts.nn.GRU(3, 6)(source)
    cell, s, alphas, shown = ts.nn.GRUCell(3 if luong else 9, 6), ones(2, 6), [], []
    for t in range(3):
        if luong:
            s = cell(target[:, t], s)
        c, alpha = attend(h, s)
        if not luong:
            s = cell(ts.ops.concatenate([target[:, t], c], -1), s)
        alphas.append(alpha.numpy() if isinstance(alpha, ts.Tensor) else alpha)
        shown.append(c)
    g = ts.graph([s, *shown] if luong else s, time=True)
    called = {node.id: node for node in g.nodes}
    found = [edge for edge in g.edges if edge.weight is not None]
    assert len(found) == 12
    columns = {part.id: part.label for part in g.parts}
    for edge in found:
        j, i = (int(columns[called[end].part or ""][4:]) - 1 for end in (edge.source, edge.target))
        assert edge.weight == pytest.approx(float(alphas[i].mean(0)[j]), abs=1e-5)
    assert [column[-1] for column in table(g)][-3:] == ["h₁", "h₂", "h₃"]


def test_attention_that_sums_a_sequence_up_weighs_its_arrows_too() -> None:
    x = ts.tensor(np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32") * 3)
    h, _ = ts.nn.RNN(4, 5)(x)
    context, alpha = dot_by_hand(h, ones(2, 5, grad=True))
    g = ts.graph(context, time=True)
    (box,) = [node.label for node in g.nodes if node.output]
    expected = {(f"h{low(j + 1)}", box): float(a) for j, a in enumerate(alpha.numpy().mean(0))}
    assert weights(g) == pytest.approx(expected, abs=1e-6)


# -- cuts


def chunks(cell: Any, x: ts.Tensor, K: int, cut: Callable[[Any], Any] = ts.train.detach) -> list[ts.Tensor]:
    state, losses = None, []
    for start in range(0, x.shape[1], K):
        for t in range(start, start + K):
            state = cell(x[:, t], state)
        losses.append(state.h.sum() if isinstance(state, tuple) else state.sum())
        state = cut(state)
    return losses


def test_a_detached_state_is_an_arrow_that_is_cut() -> None:
    cell = ts.nn.LSTMCell(4, 5)
    losses = chunks(cell, ones(2, 4, 4), 2)
    g = ts.graph(losses, time=True)
    assert [part.label for part in g.parts] == ["beside"] * 2 + ["t = 1", "t = 2", "beside", "t = 3", "t = 4", "beside"]
    assert table(g) == [
        ["cell"], ["h₀, c₀"], ["x₁", "h₁, c₁"], ["x₂", "h₂, c₂"], ["losses[0] = Σ"],
        ["x₃", "h₃, c₃"], ["x₄", "h₄, c₄"], ["losses[1] = Σ"],
    ]  # fmt: skip
    assert cuts(g) == [("h₂, c₂", "h₃, c₃", "h, c")]
    ts.ops.stack(losses).sum().backward()
    assert ts.graph(losses, time=True) == g
    assert Graph.from_json(g.json()) == g


def test_a_cut_is_drawn_dashed_with_two_strokes_and_told_in_text() -> None:
    losses = chunks(ts.nn.RNNCell(4, 5), ones(2, 2, 4), 1)
    assert ts.graph(losses, time=True).dot == GOLDEN_CUT
    text = ts.graph(losses, time=True).text()
    assert "h₂ (3 cut, 5)" in text and "cut: a detached state goes on, and no gradient comes back" in text


@pytest.mark.parametrize("opened", [(), "lstm"])
def test_each_layer_goes_on_from_its_own_state(opened: Any) -> None:
    lstm, x = ts.nn.LSTM(3, 4, 2), ones(1, 4, 3)
    first, state = lstm(x[:, :2])
    second, _ = lstm(x[:, 2:], ts.train.detach(state))
    g = ts.graph([first, second], time=True, open=opened)
    assert cuts(g) == [("h¹₂, c¹₂", "h¹₃, c¹₃", "h, c"), ("h²₂, c²₂", "h²₃, c²₃", "h, c")]
    assert len(margin(g)) == 2
    plain = ts.graph(ts.nn.LSTM(3, 4, 2)(x, lstm(x)[1])[0], time=True)
    assert not cuts(plain)


def test_truncated_bptt_is_drawn_with_its_cuts() -> None:
    config = ts.models.LanguageModelConfig(vocab_size=5, hidden_size=4, cell="gru")
    model, ids = ts.models.LanguageModel(config), np.arange(10)[None] % 5
    losses = [loss for loss, _ in ts.train.truncated_bptt(model, ids[:, :-1], ids[:, 1:], k1=3, k2=3)]
    g = ts.graph(losses, time=True)
    assert cuts(g) == [("h₃", "h₄", "h"), ("h₆", "h₇", "h")]
    # With k2 > k1 the steps before a loss are run again: the cut lies k2 steps before its end.
    losses = [loss for loss, _ in ts.train.truncated_bptt(model, ids[:, :-1], ids[:, 1:], k1=3, k2=4)]
    g = ts.graph(losses, time=True)
    assert cuts(g) == [("h₂", "h₃", "h"), ("h₅", "h₆", "h")]
    labels = [node.label for node in g.nodes]
    assert labels.count("h₃") == labels.count("h₆") == 2 and labels.count("h₉") == 1


def test_a_sequence_that_is_read_again_after_a_cut_is_drawn_again() -> None:
    lstm, x, ids = ts.nn.LSTM(3, 4), ones(1, 2, 3), np.zeros((1, 2), int)
    embedding = ts.nn.Embedding(5, 3)
    for given in (lambda: x, lambda: embedding(ids)):
        first, state = lstm(given())
        second, _ = lstm(given(), ts.train.detach(state))
        g = ts.graph([first, second], time=True)
        assert [column[-1] for column in table(g)][-4:] == ["h₁, c₁", "h₂, c₂", "h₃, c₃", "h₄, c₄"]
        assert cuts(g) == [("h₂, c₂", "h₃, c₃", "h, c")]


def test_a_detached_state_keeps_nothing_alive() -> None:
    cell, x = ts.nn.LSTMCell(4, 5), ones(2, 4, 4)
    gc.collect()
    first, second = chunks(cell, x, 2)
    gone = weakref.ref(first.place.sources[0])  # that made the state

    def draw(*losses: ts.Tensor) -> Graph:  # in a frame of its own: one that was drawn from holds on to its variables
        return ts.graph(losses, time=True)

    assert cuts(draw(first, second))
    del first
    assert gone() is None
    assert gc.collect() == 0
    g = ts.graph(second, time=True)
    assert not cuts(g) and not g.marks
    assert table(g)[1:3] == [["h₀, c₀"], ["x₁", "h₁, c₁"]]


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


@each_renderer
def test_attention_and_cuts_are_seen(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    g = ts.graph(decoder()(tokens(3, 9), tokens(2, 7)), time=True)
    widths = sorted((edge.weight, edge_look(edge).width, edge_look(edge).color) for edge in g.edges if edge.weight)
    assert [width for _, width, _ in widths] == sorted(width for _, width, _ in widths)
    assert [color for *_, color in widths] == sorted((color for *_, color in widths), reverse=True)
    svg = g.svg()
    assert "α: attention from 0 to 1" in svg
    for weight, width, color in widths:
        assert f'stroke="{color}" stroke-width="{width:g}"' in svg and f"<title>α = {weight:.3g}</title>" in svg
    svg = ts.graph(chunks(ts.nn.RNNCell(4, 5), ones(2, 2, 4), 1), time=True).svg()
    assert svg.count("stroke-dasharray") == 2 and svg.count('stroke-width="1.5"') == 4  # in the legend, and the arrow


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
    assert table(g)[2] == ["x₁", "h¹₁", "h²₁", "… 96 layers …", "h⁹⁹₁", "h¹⁰⁰₁"]
    assert table(g)[0][2] == table(g)[1][2] == "… 96 layers …"
    assert {
        ("h²₁", "… 96 layers …", ""),
        ("… 96 layers …", "h⁹⁹₁", ""),
        ("… 96 layers …", "… 96 layers …", "h"),
    } <= arrows(g)


def test_of_many_pieces_the_ends_are_drawn() -> None:
    cell = ts.nn.GRUCell(4, 5)
    g = ts.graph(chunks(cell, ones(2, 300, 4), 3), time=True)
    assert sum(g.size) == 300 * 2 + 100 + 2 and len(g.nodes) == 4 * 7 + 3 + 2
    pieces = "… 96 pieces …"
    assert [column for column in table(g) if pieces in column] == [[pieces, pieces], [pieces]]
    assert cuts(g) == [
        ("h₃", "h₄", "h"), ("h₆", pieces, "h"), (pieces, "h₂₉₅", "h"), ("h₂₉₇", "h₂₉₈", "h")
    ]  # fmt: skip
    assert margin(g) == ["cell"]
    model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=5, hidden_size=4, num_layers=2))
    ids = np.zeros((1, 400), int)
    losses = [loss for loss, _ in ts.train.truncated_bptt(model, ids, ids, k1=10, k2=15)]
    g = ts.graph(losses, time=True)
    assert len(g.nodes) <= 400 and len(cuts(g)) == 4  # the middle hides the others
    assert margin(g) == ["embedding.weight", "W, U, b", "W, U, b", "embedding, output"]


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


GOLDEN_CUT = """\
digraph {
  graph [fontname="Helvetica", fontsize=16, nodesep=0.25, ranksep=0.5, rankdir=LR, pad=0.1, labelloc=t, \
label="//: a detached state goes on, and no gradient comes back", tooltip="//: a detached state goes on, \
and no gradient comes back"]
  node [fontname="Helvetica", fontsize=14, fixedsize=true, shape=box]
  edge [fontname="Helvetica", fontsize=11, fontcolor="#333333", color="#555555", arrowsize=0.6]
  subgraph column_p0 {
    graph [rank=same]
    n0 [label="W, U, b", tooltip="weight_ih (5, 4)\\nweight_hh (5, 5)\\nbias_ih (5,)\\nbias_hh (5,)", \
shape=box, style="filled", fillcolor="#FCE3BF", color="#8A5A00", penwidth=1, width=0.95, height=0.36, \
group=row1]
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
    n3 [label="h₁\\n(2, 5)", tooltip="h₁\\nshape (2, 5)\\ndtype float32\\noperation RNNCell", shape=box, \
style="rounded,filled", fillcolor="#FFFFFF", color="#33658A", penwidth=1, width=0.65, height=0.54, group=row1]
  }
  subgraph column_p3 {
    graph [rank=same]
    n4 [label="losses[0] = Σ\\n()", tooltip="losses[0] = Σ\\nshape ()\\ndtype float32", shape=box, \
style="rounded,filled", fillcolor="#D3EFE3", color="#006B4C", penwidth=2.5, width=1.55, height=0.54, \
group=row1]
  }
  subgraph column_p4 {
    graph [rank=same]
    n5 [label="x₂\\n(2, 4)", tooltip="x₂\\nshape (2, 4)\\ndtype float32", shape=ellipse, style="filled", \
fillcolor="#E6E6E6", color="#4D4D4D", penwidth=1, width=0.75, height=0.54, group=row0]
    n6 [label="h₂\\n(2, 5)", tooltip="h₂\\nshape (2, 5)\\ndtype float32\\noperation RNNCell", shape=box, \
style="rounded,filled", fillcolor="#FFFFFF", color="#33658A", penwidth=1, width=0.65, height=0.54, group=row1]
  }
  subgraph column_p5 {
    graph [rank=same]
    n7 [label="losses[1] = Σ\\n()", tooltip="losses[1] = Σ\\nshape ()\\ndtype float32", shape=box, \
style="rounded,filled", fillcolor="#D3EFE3", color="#006B4C", penwidth=2.5, width=1.55, height=0.54, \
group=row1]
  }
  n0 -> n3 [weight=0]
  n1 -> n3 [label="h", weight=20]
  n3 -> n2 [dir=back]
  n3 -> n4 [weight=20]
  n3 -> n6 [label="h //", style=dashed, weight=0]
  n6 -> n5 [dir=back]
  n6 -> n7 [weight=20]
  n0 -> n1 [style=invis, weight=20]
  n2 -> n5 [style=invis, weight=20]
  n4 -> n6 [style=invis, weight=20]
}
"""


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
    with pytest.raises(ValueError, match="attention sees all steps at once: leave time out"):
        ts.graph(ts.nn.MultiheadAttention(4, 2)(ones(1, 3, 4)), time=True)
