"""A picture as text: what a terminal of 80 columns shows of it."""

import numpy as np
from rich.cells import cell_len

import tinygrad_seq as ts
from tinygrad_seq.cli.graph import MODELS, draw
from tinygrad_seq.viz import Edge, Graph, Node


def test_many_inputs_are_written_by_their_ends() -> None:
    x = ts.tensor([1.0], requires_grad=True)
    y = ts.ops.stack([x * k for k in range(2, 50)]).sum()
    assert "stack (1 … 48) " in ts.graph(y).text().splitlines()[49]
    three = ts.ops.stack([x * k for k in range(2, 5)])
    assert "stack (1, 2, 3) " in ts.graph(three.sum()).text()


def test_a_side_is_not_lost_in_a_run() -> None:
    nodes = tuple(Node(f"n{k}", "op", "f", side=side) for k, side in enumerate("=--++++++="))
    edges = tuple(Edge(node.id, "n9", side=node.side) for node in nodes[:9])
    last = Graph("", nodes, edges, (), ("a", "b")).text().splitlines()[-1]
    assert last == "  9  f (0, -1, -2, +3 … +8)"


def test_shapes_stand_below_each_other_whatever_a_sign_is_wide() -> None:
    labels = ["h", "h⃗ₜ", "c̃ₜ", "日本", "e\u0301"]
    nodes = tuple(Node(f"n{k}", "input", label, (1, 2)) for k, label in enumerate(labels))
    lines = Graph("", nodes, (), ()).text().splitlines()
    assert len({cell_len(line.partition("(1, 2)")[0]) for line in lines}) == 1


def test_a_terminal_of_80_columns_is_wide_enough_for_short_names() -> None:
    for name in MODELS:
        for line in draw(name).text().splitlines():
            assert cell_len(line) <= 80 or "layers.decoder.layers.0" in line, line  # a path can be as long as that
    out, _ = ts.nn.LSTM(3, 4, num_layers=2)(ts.tensor(np.ones((1, 60, 3), "float32")))
    assert max(map(cell_len, ts.graph(out, open="lstm").text().splitlines())) <= 80
