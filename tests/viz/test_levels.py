"""Levels of a picture: parts closed by depth, equal blocks in a row drawn once, and names inside of frames."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.core import scope
from tinygrad_seq.viz import Edge, Graph, Node, Part, close, fold_depth, fold_repeats
from tinygrad_seq.viz.dot import tooltip
from tinygrad_seq.viz.style import lines, node_size


def labels(g: Graph, kind: str | None = None) -> list[str]:
    return [node.label for node in g.nodes if kind is None or node.kind == kind]


def frames(g: Graph) -> list[str]:
    return [part.label for part in g.parts]


def arrows(g: Graph) -> list[tuple[str, str]]:
    called = {n.id: n.label for n in g.nodes}
    return [(called[edge.source], called[edge.target]) for edge in g.edges]


def ones(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(np.ones(shape, "f4"), requires_grad=grad)


def bert(n: int) -> Any:
    model = ts.models.BERT(ts.models.BERTConfig(7, 4, n, 2, 6, max_position_embeddings=4, dropout=0.1))
    return model(np.array([[4, 1, 6, 2], [3, 5, 0, 0]]), lengths=np.array([4, 2])).pooled


def transformer(n: int) -> Any:
    model = ts.models.Transformer(ts.models.TransformerConfig(7, 7, 4, 2, n, 6, dropout=0.0))
    return model(np.array([[4, 1, 6, 2]]), np.array([[1, 3]]), np.array([4]))


# -- closing


def nested() -> Graph:
    """x -> [outer: a -> [inner: b -> c] -> d] -> e, with w into b."""
    nodes = (
        Node("n0", "input", "x", (1,), "float32"),
        Node("n1", "op", "a", (2,), "float32", "p0"),
        Node("n2", "parameter", "w", (7,), "float32", "p1"),
        Node("n3", "op", "b", (3,), "float32", "p1"),
        Node("n4", "op", "c", (4,), "float32", "p1"),
        Node("n5", "op", "d", (5,), "float32", "p0", output=True),
        Node("n6", "op", "e", (6,), "float32"),
    )
    pairs = [(0, 1), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)]
    edges = tuple(Edge(f"n{a}", f"n{b}") for a, b in pairs)
    return Graph("", nodes, edges, (Part("p0", "outer", "module"), Part("p1", "inner", "module", "p0")))


def test_a_closed_part_is_one_box_with_its_label_its_results_shape_and_its_count() -> None:
    g = close(nested(), ["p1"])
    assert labels(g) == ["x", "a", "inner", "d", "e"] and frames(g) == ["outer"]
    box = g.nodes[2]
    assert (box.kind, box.shape, box.dtype, box.count, box.output) == ("fold", (4,), "float32", 3, False)
    assert lines(box) == (["inner"], "(4,) · 3 boxes")
    assert arrows(g) == [("x", "a"), ("a", "inner"), ("inner", "d"), ("d", "e")]
    assert g.size == (4, 3) and "3 boxes folded" in tooltip(box) and "(4,)  3 boxes" in g.text()


def test_of_nested_parts_the_outermost_is_closed() -> None:
    g = close(nested(), ["p1", "p0"])
    assert g == close(nested(), ["p0"]) == close(nested(), iter(["p0", "p1"]))
    assert labels(g) == ["x", "outer", "e"] and g.parts == ()
    assert (g.nodes[1].shape, g.nodes[1].count, g.nodes[1].output) == ((5,), 5, True)
    assert close(nested(), []) == nested()


def test_a_part_with_several_results_has_no_shape_and_one_of_one_box_says_so() -> None:
    g = nested()
    two = replace(g, edges=(*g.edges, Edge("n3", "n6")))
    box = close(two, ["p1"]).nodes[2]
    assert box.shape is None and lines(box) == (["inner"], "3 boxes")
    single = Graph("", (Node("n0", "op", "a", (2,), part="p0", output=True),), (), (Part("p0", "only", "named"),))
    assert lines(close(single, ["p0"]).nodes[0]) == (["only"], "(2,) · 1 box")


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="close: expected ids of parts of this graph, got p7"):
        close(nested(), ["p0", "p7"])


# -- depth


def test_depth_closes_what_is_deeper() -> None:
    g = nested()
    assert fold_depth(g, 1) == close(g, ["p1"]) and fold_depth(g, 2) == g


def test_a_models_parts_are_boxes() -> None:
    y = bert(2)
    g = ts.graph(y, depth=1)
    assert frames(g) == ["BERT"]
    assert labels(g, "fold") == [
        "tokens: Embedding", "positions: LearnedPositions", "norm: LayerNorm", "dropout: Dropout",
        "encoder: TransformerEncoder",        "pooler: Linear",
    ]  # fmt: skip
    assert ("encoder: TransformerEncoder", "pooler: Linear") in arrows(g)
    two = ts.graph(y, depth=2)
    assert "encoder: TransformerEncoder" in frames(two)
    assert [label for label in labels(two, "fold") if label.startswith("layers")] == [
        "layers.0: TransformerEncoderLayer", "layers.1: TransformerEncoderLayer",
    ]  # fmt: skip
    sizes = [ts.graph(y, depth=depth).size for depth in (1, 2, 3, 4, 9)]
    assert {sum(size) for size in sizes} == {sum(ts.graph(y).size)}
    assert [size.shown for size in sizes] == sorted({size.shown for size in sizes[:4]}) + [sizes[3].shown]
    assert ts.graph(y, depth=9) == ts.graph(y)


def test_a_time_step_is_a_level() -> None:
    lstm, x = ts.nn.LSTM(2, 3), ones(1, 5, 2)
    out, _ = lstm(x)
    g = ts.graph(out, open="lstm", depth=2)
    assert frames(g) == ["lstm: LSTM", "LSTM sequence"]
    assert labels(g, "fold") == ["t = 1 · lstm", "… 3 steps …", "t = 5 · lstm"]
    assert ("t = 1 · lstm", "… 3 steps …") in arrows(g) and ("… 3 steps …", "t = 5 · lstm") in arrows(g)
    assert sum(g.size) == sum(ts.graph(out, open="lstm").size)


def test_what_depth_cannot_be() -> None:
    out, _ = ts.nn.LSTM(2, 3)(ones(1, 2, 2))
    for depth in (0, -1):
        with pytest.raises(ValueError, match=rf"depth counts the frames .* from 1 on, got {depth}"):
            ts.graph(out, depth=depth)
    for wrong in (1.5, "1", True):
        with pytest.raises(TypeError, match="depth is a whole number from 1 on, or None, got"):
            ts.graph(out, depth=wrong)  # type: ignore[arg-type]
    for option in ({"depth": 1}, {"equations": True}, {"repeats": True}):
        with pytest.raises(ValueError, match="depth, repeats and equations are for pictures without it"):
            ts.graph(out, time=True, **option)


# -- equal blocks in a row


@pytest.mark.parametrize("open", [(), all])
def test_twelve_layers_are_drawn_once(open: Any) -> None:
    y = bert(12)
    g, whole = ts.graph(y, open=open), ts.graph(y, open=open, repeats=True)
    assert [label for label in frames(g) if label.startswith("layers")] == ["layers.0: TransformerEncoderLayer × 12"]
    assert sum(g.size) == sum(whole.size) and g.size.folded == 11 * sum(n.count == 12 for n in g.nodes) > 200
    assert g.note in g.dot and "the first of 12 that are alike" in g.dot and "the first of 12" in tooltip(g.nodes[-9])
    assert "layers.0: TransformerEncoderLayer × 12" in labels(ts.graph(y, open=open, depth=2), "fold")
    y = bert(1)
    one = ts.graph(y, open=open)
    assert [(n.kind, n.label, n.shape) for n in g.nodes] == [(n.kind, n.label, n.shape) for n in one.nodes]
    assert [(e.source, e.target, e.label) for e in g.edges] == [(e.source, e.target, e.label) for e in one.edges]


def test_all_of_them_on_request() -> None:
    g = ts.graph(bert(3), repeats=True)
    assert g.note == "" and sum(label.startswith("layers.") for label in frames(g)) == 3
    assert sum(ts.graph(bert(3)).size) == len(g.nodes)
    short = ts.graph(transformer(3))
    assert [label for label in frames(short) if "×" in label] == [
        "layers.0: TransformerEncoderLayer × 3", "layers.0: TransformerDecoderLayer × 3",
    ]  # fmt: skip
    assert ts.graph(transformer(2)) == ts.graph(transformer(2), repeats=True)  # two are both drawn


def test_thirty_layers_in_a_list_of_ones_own() -> None:
    layers = [ts.nn.RNN(4, 4) for _ in range(30)]
    out = x = ones(1, 2, 4)
    for layer in layers:
        out, _ = layer(out)
    g = ts.graph(out.sum())
    assert frames(g) == ["layers[0]: RNN × 30"]
    assert labels(g)[-2:] == ["out = RNN sequence", "Σ"] and ("x", "out = RNN sequence") in arrows(g)
    assert [n.path for n in g.nodes if n.label == "weight_ih_l0"] == ["layers[0].weight_ih_l0"]
    assert x.shape == out.shape


def test_stacked_layers_of_one_module() -> None:
    out, _ = ts.nn.LSTM(3, 4, num_layers=6)(ones(1, 2, 3))
    g = ts.graph(out)
    assert [label for label in frames(g) if label[0] == "l"] == ["l0", "l1 × 5"]  # the first reads another size
    assert "weight_ih_l1" in labels(g) and "weight_ih_l2" not in labels(g)


def test_blocks_in_blocks() -> None:
    y = ones(2, grad=True)
    for k in range(4):
        with scope(f"block {k}"):
            for j in range(3):
                with scope(f"part {j}"):
                    y = ts.ops.exp(ts.ops.tanh(y))
    g = ts.graph(y.sum())
    assert frames(g) == ["block 0 × 4", "part 0 × 3"]
    assert [(n.label, n.count) for n in g.nodes] == [("tensor", 1), ("tanh", 12), ("y = exp", 12), ("Σ", 1)]
    assert g.size == (4, 22)


def chain(step: Callable[[ts.Tensor, int], ts.Tensor], n: int = 4) -> ts.Tensor:
    y = ones(2, grad=True)
    for k in range(n):
        with scope(f"block {k}"):
            y = step(y, k)
    return y


KEPT: list[ts.Tensor] = []


def dense(y: ts.Tensor, k: int) -> ts.Tensor:
    KEPT.append(y)
    return ts.ops.tanh(y) + (KEPT[k - 2] if k > 1 else y)


@pytest.mark.parametrize(
    "step",
    [
        lambda y, k: ts.ops.tanh(y) if k % 2 else ts.ops.sigmoid(y),
        lambda y, k: y * (k + 2.0),
        lambda y, k: (y * 2) if k < 2 else ((y * 2) * 2),
        lambda y, k: ts.ops.concatenate([y, y], axis=0),
        dense,
    ],
    ids=["operations", "numbers", "how many boxes", "shapes", "blocks before the last"],
)
def test_what_differs_is_drawn(step: Any) -> None:
    KEPT.clear()
    g = ts.graph(chain(step).sum())
    assert len(frames(g)) == 4 and not any("×" in label for label in frames(g)) and g.note == ""


def test_blocks_that_read_something_of_their_own_are_drawn() -> None:
    given = [ts.tensor([1.0, 2.0]) for _ in range(4)]
    y = chain(lambda y, k: y * given[k])
    g = ts.graph(y.sum())
    assert len(frames(g)) == 4 and labels(g, "input") == [f"given[{k}]" for k in range(4)]


def test_blocks_side_by_side_are_drawn() -> None:
    x = ones(2, grad=True)

    def heads() -> list[ts.Tensor]:
        found = []
        for k in range(4):
            with scope(f"head {k}"):
                found.append(ts.ops.tanh(x))
        return found

    g = ts.graph(ts.ops.stack(heads()))
    assert frames(g) == [f"head {k}" for k in range(4)]


def row(n: int) -> list[ts.Tensor]:
    """What each of n blocks computes, in a list that no variable of a test holds."""
    found = [ones(2, grad=True)]
    for k in range(n):
        with scope(f"block {k}"):
            found.append(ts.ops.tanh(found[-1]))
    return found[1:]


def last_and_third() -> list[ts.Tensor]:
    values = row(7)
    return [values[-1], values[2]]


def test_an_output_from_the_middle_of_a_run_ends_it() -> None:
    g = ts.graph(last_and_third())
    assert frames(g) == ["block 0 × 3", "block 3 × 4"]
    assert [n.output for n in g.nodes] == [False, True, True] and sum(g.size) == 8


def test_a_value_in_the_middle_that_has_a_name_ends_it() -> None:
    y = ones(2, grad=True)
    for k in range(7):
        with scope(f"block {k}"):
            y = ts.ops.tanh(y)
        if k == 3:
            middle = y
    g = ts.graph(y)
    assert frames(g) == ["block 0 × 4", "block 4 × 3"]
    assert labels(g) == ["tensor", "middle = tanh", "y = tanh"] and middle.shape == (2,)


def test_a_value_in_the_middle_that_something_else_reads_ends_it() -> None:
    def read_twice() -> ts.Tensor:
        values = row(7)
        return values[-1] * values[3]

    g = ts.graph(read_twice())
    assert frames(g) == ["block 0 × 4", "block 4 × 3"]
    assert arrows(g) == [("tensor", "tanh"), ("tanh", "tanh"), ("tanh", "⊙"), ("tanh", "⊙")]


def test_a_last_block_that_differs_is_drawn() -> None:
    g = ts.graph(chain(lambda y, k: y * (2.0 if k < 3 else 3.0)).sum())
    assert frames(g) == ["block 0 × 3", "block 3"] and labels(g) == ["tensor", "× 2", "× 3", "Σ"]


def test_blocks_that_read_at_other_places_are_drawn() -> None:
    s = ones(2)

    def step(y: ts.Tensor, k: int) -> ts.Tensor:
        return ts.ops.tanh(y + s + s) + s if k % 2 else ts.ops.tanh(y + s) + s + s

    assert len(frames(ts.graph(chain(step).sum()))) == 4


def test_blocks_that_cross_over_are_drawn() -> None:
    a = b = ones(2, grad=True)
    for k in range(4):
        with scope(f"block {k}"):
            a, b = ts.ops.tanh(a), ts.ops.exp(b)
        if k % 2:
            a, b = b, a
    product = a * b
    del a, b
    assert len(frames(ts.graph(product))) == 4


def test_what_reads_every_block_is_read_from_the_one_that_is_drawn() -> None:
    ys, shared = [ones(2, grad=True)], ones(2, grad=True)
    for k in range(5):
        with scope(f"block {k}"):
            ys.append(ts.ops.tanh(ys[-1] * shared))
    y = ts.ops.stack(ys[1:]).sum()
    del ys
    g = ts.graph(y)
    assert frames(g) == ["block 0 × 5"]
    assert arrows(g) == [("tensor", "⊙"), ("shared", "⊙"), ("⊙", "tanh"), ("tanh", "stack"), ("stack", "y = Σ")]


def test_the_function_of_the_value() -> None:
    y = bert(3)
    whole = ts.graph(y, repeats=True)
    assert fold_repeats(whole) == ts.graph(y) and fold_repeats(ts.graph(y)) == ts.graph(y)


@given(st.data())
def test_nothing_is_lost_count_of(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    parts = [Part(f"p{k}", "block", "module", data.draw(st.sampled_from([None, *[f"p{j}" for j in range(k)]])))
             for k in range(data.draw(st.integers(0, 5)))]  # fmt: skip
    homes = st.sampled_from([None, *[part.id for part in parts]])
    nodes = [Node(f"n{k}", "op", "tanh", (2,), part=data.draw(homes)) for k in range(n)]
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1])
    found = data.draw(st.lists(pairs, max_size=15)) if n > 1 else []
    edges = sorted({Edge(f"n{a}", f"n{b}") for a, b in found}, key=lambda edge: int(edge.target[1:]))
    g = Graph("", tuple(nodes), tuple(edges), tuple(parts))
    closed = data.draw(st.lists(st.sampled_from([part.id for part in parts]))) if parts else []
    for small in (close(g, closed), fold_depth(g, data.draw(st.integers(1, 3))), fold_repeats(g)):
        assert sum(small.size) == n
        ids = {node.id for node in small.nodes}
        assert len(ids) == len(small.nodes) and all(e.source in ids and e.target in ids for e in small.edges)
        assert {node.part for node in small.nodes} <= {None, *(part.id for part in small.parts)}


# -- names inside of frames


def test_inside_a_frame_names_are_relative_to_it() -> None:
    g = ts.graph(bert(2))
    inside = {n.path: n.label for n in g.nodes if n.kind == "parameter"}
    assert inside["encoder.layers.1.self_attn.in_proj_weight"] == "in_proj_weight"
    assert inside["encoder.layers.1.self_attn.out_proj.weight"] == "out_proj.weight"
    assert inside["segments.weight"] == "segments.weight"  # in no frame of its own
    assert "encoder: TransformerEncoder" in frames(g) and "self_attn: MultiheadAttention" in frames(g)
    assert "encoder.layers.1.self_attn: MultiheadAttention" in [part.note for part in g.parts]
    assert all(path in g.dot and label in g.text() for path, label in inside.items())


class Tied(ts.nn.Module):
    def __init__(self) -> None:
        self.first, self.second = ts.nn.Linear(2, 2), ts.nn.Linear(2, 2)
        self.second.bias = self.first.bias

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        return self.second(self.first(x))


def test_a_shared_weight_stands_outside_with_its_whole_path() -> None:
    g = ts.graph(Tied()(ones(1, 2)))
    assert labels(g, "parameter") == ["weight", "first.bias", "weight"]


def test_two_weights_of_one_label_are_told_apart() -> None:
    model, x = Tied(), ones(1, 2)
    a, b = ts.graph(model(x) * 1), ts.graph(model.second(x) * 1)
    assert parameters(ts.graph_diff(a, a)) == [
        ("first.weight", "weight", "="),
        ("first.bias", "first.bias", "="),
        ("second.weight", "weight", "="),
    ]
    assert parameters(ts.graph_diff(a, b)) == [  # in b it is no part of a model
        ("weight", "second.weight → weight", "="),
        ("bias", "first.bias → bias", "="),
        ("first.weight", "weight", "-"),
    ]


def test_a_weight_that_both_have_in_different_frames_has_its_whole_path() -> None:
    model, x = Tied(), ones(1, 2)
    with scope("around"):
        around = ts.graph(model(x) * 1)
    bare = ts.graph(model.second.forward(model.first.forward(x)) * 1)
    for both in (ts.graph_diff(around, bare), ts.graph_diff(bare, around), ts.graph_diff(around, ts.graph(model(x)))):
        assert {label for _, label, side in parameters(both) if side == "="} == {
            "first.weight", "first.bias", "second.weight",
        }  # fmt: skip


def parameters(g: Graph) -> list[tuple[str, str, str]]:
    return [(n.path, n.label, n.side) for n in g.nodes if n.kind == "parameter"]


def test_a_table_of_positions_has_its_symbol() -> None:
    model = ts.nn.SinusoidalPositions(4)
    g = ts.graph(model(ones(1, 3, 4, grad=True)))
    assert labels(g, "input") == ["PE"] and g.nodes[labels(g).index("PE")].part == g.nodes[-1].part


# -- equations in the boxes


def lstm_step(**options: Any) -> Graph:
    out, last = ts.nn.LSTM(2, 3)(ones(1, 1, 2))
    return ts.graph([last.h], open="lstm", **options)


def test_equations_are_written_into_the_boxes() -> None:
    g, short = lstm_step(equations=True), lstm_step()
    assert [label for label in labels(g) if "_t" in label or "ₜ = " in label] == [
        "fₜ = σ(W_f x_t + U_f h_{t-1} + b_f)",
        "iₜ = σ(W_i x_t + U_i h_{t-1} + b_i)",
        "c̃ₜ = tanh(W_c x_t + U_c h_{t-1} + b_c)",
        "cₜ = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t",
        "oₜ = σ(W_o x_t + U_o h_{t-1} + b_o)",
        "hₜ = o_t ⊙ tanh(c_t)",
    ]
    assert [replace(n, label="") for n in g.nodes] == [replace(n, label="") for n in short.nodes]
    assert (g.edges, g.parts) == (short.edges, short.parts)
    (box,) = [n for n in g.nodes if n.label.startswith("fₜ")]
    assert 2.6 < node_size(box)[0] < 3.6 and node_size(box)[1] == 0.54


def test_an_equation_has_the_number_of_its_symbol_and_a_true_minus() -> None:
    attention, q = ts.nn.MultiheadAttention(4, 2), ones(1, 3, 4)
    g = ts.graph(attention(q, q, q), open="multi head attention", equations=True)
    heads = [label for label in labels(g) if label.startswith("head_")]
    assert heads == [f"head_{k} = Attention(Q W_{k}^Q, K W_{k}^K, V W_{k}^V)" for k in (1, 2)]
    out, _ = ts.nn.GRU(2, 3)(ones(1, 1, 2))
    g = ts.graph(out, open="gru", equations=True)
    assert "hₜ = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t-1}" in labels(g)
    (wide,) = [n for n in g.nodes if n.label.startswith("nₜ")]
    assert lines(wide)[0] == ["nₜ = tanh(W_n x_t + b_n", "+ r_t ⊙ (U_n h_{t-1} + b_{hn}))"]
    assert " ".join(lines(wide)[0]) == wide.label and node_size(wide)[1] == pytest.approx(0.54 + 17 / 72, abs=0.01)
    assert "+ r" in g.svg()
