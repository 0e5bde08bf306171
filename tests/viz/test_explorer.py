"""The page, without a browser: which pictures it has, what leads where, and that nothing in it reaches outside."""

import gc
import html.parser
import json
import pickle
import re
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.core import FusedOp, scope
from tinygrad_seq.viz import Edge, Graph, Node, Part, graph_diff
from tinygrad_seq.viz.explorer import MOST_PICTURES, _Book, explorer, in_script, way_back
from tinygrad_seq.viz.inside import but_for_names
from tinygrad_seq.viz.value import close
from viz.renderers import needs_dot


def lstm(T: int, title: str = "") -> Graph:
    x = ts.tensor(np.ones((2, T, 3), "float32"))
    layer = ts.nn.LSTM(3, 4)
    out, _ = layer(x)
    loss = out.mean()
    return ts.graph(loss, title=title)


def bert(layers: int) -> Graph:
    config = ts.models.BERTConfig(7, 4, layers, 2, 6, max_position_embeddings=4, dropout=0.0)
    model = ts.models.BERT(config)
    ids = np.array([[4, 1, 6, 2]])
    out = model(ids)
    return ts.graph(out)


def labels(graph: Graph) -> list[str]:
    return [node.label for node in graph.nodes]


def opened(book: _Book, picture: int, label: str) -> int:
    """The picture that a box leads to."""
    shown = book.pictures[picture]
    (box,) = [node.id for node in shown.graph.nodes if node.label == label]
    return shown.opens[box]


# -- the whole of a picture


def test_the_whole_has_all_opened_and_nothing_folded() -> None:
    g = lstm(30)
    assert g.whole is not None
    whole = g.whole()
    steps = [part.label for part in whole.parts if part.kind == "step"]
    assert steps == [f"t = {t + 1} · lstm" for t in range(30)]
    assert {node.kind for node in whole.nodes} == {"input", "op", "parameter"} and whole.size.folded == 0
    assert whole.nodes[-1].label == "loss = mean" and whole == g.whole()


def test_the_whole_is_drawn_after_backward_too() -> None:
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    loss = ts.ops.softmax(x)[0]
    g = ts.graph(loss)
    loss.backward()
    assert g.whole is not None and "exp" in labels(g.whole())


def test_json_and_pickle_leave_the_computation_out() -> None:
    g = lstm(3)
    assert "whole" not in json.loads(g.json())
    assert Graph.from_json(g.json()) == g == pickle.loads(pickle.dumps(g))
    assert pickle.loads(pickle.dumps(g)).whole is None


def test_a_graph_holds_on_to_its_own_computation_alone() -> None:
    def program() -> tuple[Graph, Any, Any]:
        x = ts.tensor([1.0, 2.0], requires_grad=True)
        other = ts.tensor(np.zeros(5), requires_grad=True) * 2
        mine = x * x
        return ts.graph(mine), weakref.ref(mine.place), weakref.ref(other.place)

    g, mine, other = program()
    gc.collect()
    assert mine() is not None and other() is None
    assert g.whole is not None and labels(g.whole()) == ["x", "mine = ⊙"]
    del g
    gc.collect()
    assert mine() is None


class Unopenable(FusedOp):
    """2 x."""

    kernel = "none"

    def definition(self, x: Any) -> Any:
        if not x.data.any():  # a picture runs it on zeros
            raise ValueError("zeros")
        return x * 2


def test_what_cannot_be_opened_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.backend.base import Kernel
    from tinygrad_seq.backend.numpy_backend import NumpyBackend

    def forward(backend: Any, x: Any) -> Any:
        return 2 * x, None

    twice = Kernel(forward, lambda backend, tape, inputs, g, needs: 2 * g)
    monkeypatch.setattr(NumpyBackend, "kernels", NumpyBackend.kernels | {"none": twice})
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    g = ts.graph(Unopenable()(x))
    assert g.whole is not None and g.whole() == g


def test_opening_ends_where_it_would_be_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_seq.viz.build.MOST_OPENED", 1000)
    x = ts.tensor(np.ones((2, 20, 3), "float32"))
    out, _ = ts.nn.LSTM(3, 4, num_layers=3)(x)
    g = ts.graph(out)
    assert g.whole is not None
    kinds = [node.kind for node in g.whole().nodes]
    assert kinds.count("fused") == 2 and len(kinds) > 400  # one is opened, and is more than enough
    assert _Book(g).left_out == "2 operations stay closed"


def test_closing_parts() -> None:
    whole = ts.nn.LSTM(3, 4)(ts.tensor(np.ones((1, 3, 3), "float32")))[0]
    g = ts.graph(whole, open=all)
    steps = [part.id for part in g.parts if part.kind == "step"]
    closed = close(g, steps[1:])
    assert [node.label for node in closed.nodes if node.kind == "fold"] == ["t = 2 · lstm", "t = 3 · lstm"]
    assert sum(closed.size) == sum(g.size)
    outermost = next(part.id for part in g.parts if part.parent is None)
    assert labels(close(g, [outermost, *steps]))[-1] == "LSTM"
    assert close(g, []) == g
    with pytest.raises(ValueError, match="close: expected ids of parts of this graph, got p99"):
        close(g, ["p99"])


# -- which pictures there are


def test_a_program_without_parts_is_one_picture() -> None:
    W = ts.tensor([[1.0, 2.0]], requires_grad=True)
    y = ts.ops.tanh(W * 2)
    book = _Book(ts.graph(y))
    assert [picture.name for picture in book.pictures] == ["as drawn"]


def test_a_closed_operation_opens_into_its_equations() -> None:
    book = _Book(lstm(3))
    sequence = opened(book, 0, "out = LSTM sequence")
    shown = book.pictures[sequence].graph
    assert labels(shown)[-2:] == ["out = stack", "loss"]
    outside = {node.label: node.kind for node in shown.nodes if node.id not in {n.id for n in shown.nodes if n.part}}
    assert outside["x"] == "input" and outside["loss"] == "outside"
    step = book.pictures[opened(book, sequence, "t = 2 · lstm")]
    assert {"fₜ = σ", "cₜ = +", "t = 1 · lstm", "t = 3 · lstm"} <= set(labels(step.graph))
    called = {node.id: node.label for node in step.graph.nodes}
    carried = {
        edge.label or called[edge.target]
        for edge in step.graph.edges
        if called[edge.source] == "t = 1 · lstm" and edge.target in called
    }
    assert {"hₜ", "cₜ"} <= carried  # what a neighbour hands over is on the arrow


def test_equal_parts_share_a_picture() -> None:
    book = _Book(bert(12))
    layers = [name for name, part in book.tree.parts.items() if part.label.endswith(": TransformerEncoderLayer")]
    assert len(layers) == 12
    ways = {book.of_part[name] for name in layers if name in book.of_part}
    assert len(ways) <= 3  # the first, those between, the last one: they have other neighbours
    between = next(k for k in ways if book.equal[k] > 2)
    told = book.data()["pictures"][between]["note"]
    assert re.fullmatch(r"one picture for \d+ equal parts; the names are those of the first", told)
    assert len(book.pictures) < 40


def test_parts_that_differ_in_more_than_names_do_not_share() -> None:
    def part(**changes: Any) -> Graph:
        return Graph("", (replace(Node("n0", "op", "h₁ = × 2", (3,), op="Mul"), **changes),), (), ())

    assert but_for_names(part()) == but_for_names(part(label="h₂ = × 2"))
    for changes in ({"label": "h₁ = × 3"}, {"shape": (4,)}, {"dtype": "float64"}, {"op": "Div"}, {"output": True}):
        assert but_for_names(part()) != but_for_names(part(**changes))


def test_folded_steps_open_into_one_of_them() -> None:
    book = _Book(lstm(100))
    sequence = opened(book, 0, "out = LSTM sequence")
    assert labels(book.pictures[sequence].graph).count("… 98 steps …") == 1
    step = book.pictures[opened(book, sequence, "… 98 steps …")]
    assert step.name == "t = 2 · lstm" and "fₜ = σ" in labels(step.graph)


def test_a_part_that_holds_one_part_opens_into_that() -> None:
    book = _Book(bert(1))
    assert book.pictures[1].name == "1"
    pooler = opened(book, 1, "pooler: Linear")
    assert book.pictures[pooler].name == "pooler: Linear · linear"
    assert {"@", "+"} <= set(labels(book.pictures[pooler].graph))
    for k in range(len(book.pictures)):  # a trail ends
        seen, at = set(), k
        while at is not None:
            assert at not in seen
            seen.add(at)
            at = book.data()["pictures"][at]["around"]


def test_there_is_an_end_to_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    with scope("all"):
        x = ts.tensor([1.0], requires_grad=True)
        for k in range(MOST_PICTURES + 20):  # no two alike
            with scope(f"part {'ab'[k % 2] * k}"):
                x = ts.ops.tanh(x * (k + 2)) + k
    book = _Book(ts.graph(x))
    assert len(book.pictures) == book.tabs + MOST_PICTURES
    assert book.data()["leftOut"] == f"{book.without:,} more parts have no picture on this page" and book.without > 0


@pytest.mark.parametrize("whole", [True, False])
def test_every_way_leads_somewhere(whole: bool) -> None:
    g = bert(2)
    data = _Book(g if whole else replace(g, whole=None)).data()
    for picture in data["pictures"]:
        for box in picture["boxes"]:
            assert box.get("opens", 0) in range(len(data["pictures"]))
            assert box.get("opens", len(data["tabs"])) >= len(data["tabs"])  # a part, never a level
        for source, target in picture["arrows"]:
            assert max(source, target) < len(picture["boxes"])


def test_pictures_without_a_computation_have_what_they_hold() -> None:
    assert len(_Book(Graph.from_json(lstm(3).json())).pictures) == 1  # its operation is closed for good
    again = Graph.from_json(bert(2).json())
    assert [picture.name for picture in _Book(again).pictures][:3] == ["as drawn", "1", "2"]
    rnn, cell = ts.viz.equation_graph("rnn.h", title="RNN"), ts.viz.equation_graph("lstm", title="LSTM")
    data = _Book(graph_diff(rnn, cell)).data()
    assert {picture["start"] for picture in data["pictures"]} == {""}  # two computations have no one way back
    assert not any(picture["order"] for picture in data["pictures"])
    layer = ts.nn.LSTM(3, 4)(ts.tensor(np.ones((2, 9, 3), "float32")))[0]
    grid = _Book(ts.graph(layer, time=True)).data()
    assert grid["pictures"][0]["order"] and len(grid["tabs"]) > 2
    rolled = _Book(ts.graph(layer, time="rolled")).data()["pictures"][0]
    assert not rolled["order"] and "once they are opened" in rolled["start"]  # its arrows go in a circle
    assert len(_Book(Graph("", (), (), ())).pictures) == 1


# -- the way back


def test_the_way_back_is_the_engines() -> None:
    w = ts.tensor([0.5, 2.0], requires_grad=True)
    numbers: list[int] = []
    values = [w]
    rng = np.random.default_rng(4)
    for _ in range(40):  # a graph with many uses of each value
        a, b = rng.integers(0, len(values), 2)
        values.append(ts.ops.tanh(values[a] * values[b]))
    used = values[-1] + 0.0
    for k, value in enumerate(values[1:]):
        value.register_hook(lambda g, k=k: numbers.append(k))
    used.backward(np.ones(2, "float32"))
    names = [f"v{k}" for k in range(40)]
    variables = dict(zip(names, values[1:], strict=True))
    g = ts.viz.build.build(used, variables)
    order = [g.nodes[k].label.partition(" = ")[0] for k in way_back(g)]
    assert [name for name in order if name in variables] == [f"v{k}" for k in numbers] and len(numbers) > 8


def test_a_closed_part_waits_for_all_that_uses_it() -> None:
    nodes = tuple(Node(f"n{k}", "fold" if k == 0 else "op", "abc"[k], output=k == 2) for k in range(3))
    g = Graph("", nodes, (Edge("n1", "n0"), Edge("n0", "n2")), ())  # a stands where its first box stood
    assert way_back(g) == [2, 0, 1]
    assert way_back(replace(g, edges=(*g.edges, Edge("n2", "n1")))) == []


# -- what is told


def test_what_is_not_known_is_said() -> None:
    data = _Book(lstm(3)).data()
    loss = next(box for box in data["pictures"][0]["boxes"] if box["label"] == "loss = mean")
    assert ("gradient", "not computed") in loss["facts"] and ("value", "not noted") in loss["facts"]
    assert loss["gradient"] == ""
    x = next(box for box in data["pictures"][0]["boxes"] if box["label"] == "x")
    assert "gradient" not in dict(x["facts"])  # an input has none


def test_numbers_where_they_are_few_and_their_size_where_they_are_many() -> None:
    few = ts.viz.Summary(5.0, 3.5, 0.5, 3.0, 4.0, (3.0, -4.0))
    many = ts.viz.Summary(5.0, -0.25, 0.5, -3.0, 4.0)
    nodes = (
        Node("n0", "parameter", "a", gradient=few),
        Node("n1", "op", "b", value=many),
        Node("n2", "op", "c", gradient=many, output=True),
    )
    boxes = _Book(Graph("", nodes, (Edge("n0", "n1"), Edge("n1", "n2")), ())).data()["pictures"][0]["boxes"]
    assert boxes[0]["gradient"] == "3, −4" and boxes[2]["gradient"] == "norm 5"
    assert dict(boxes[1]["facts"])["value"] == "norm 5, mean −0.25 ± 0.5, from −3 to 4"


def test_a_stretched_input_adds_up_what_it_gets() -> None:
    x, b = ts.tensor(np.ones((8, 3))), ts.tensor(np.ones(3), requires_grad=True)
    y = x + b
    box = _Book(ts.graph(y)).data()["pictures"][0]["boxes"][-1]
    assert box["gets"] == [["a", "g"], ["b", "g, added up to (3,)"]]


# -- the file


class Outside(html.parser.HTMLParser):
    """All that an attribute could load or lead to, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name.rpartition(":")[2] in ("src", "href", "action")]


@needs_dot
def test_everything_is_inside(tmp_path: Path) -> None:
    path = lstm(3, title="{{script}} {{pictures}} </title>").save(tmp_path / "x.html")
    text = path.read_text(encoding="utf-8")
    outside = Outside(text)
    assert outside.found == [] and {"link", "iframe", "object", "img", "base"}.isdisjoint(outside.tags)
    assert outside.tags.count("script") == 2 and "default-src 'none'" in text
    assert "@import" not in text and not re.search(r"url\(|\beval\b|fetch\(|XMLHttp", text)
    assert "<h1>{{script}} {{pictures}} &lt;/title&gt;</h1>" in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None and len(json.loads(data[1])["pictures"]) == text.count('<section class="picture"')


@needs_dot
def test_the_same_program_gives_the_same_page() -> None:
    assert explorer(lstm(3)) == explorer(lstm(3))


@given(st.text())
def test_any_text_may_stand_in_a_script(text: str) -> None:
    written = in_script({"a": text})
    assert json.loads(written) == {"a": text}
    assert not set("<>&\u2028\u2029") & set(written)


@needs_dot
def test_a_page_of_something_large_is_bounded(tmp_path: Path) -> None:
    x = ts.tensor(np.ones((2, 1000, 8), "float32"))
    out, _ = ts.nn.LSTM(8, 16)(x)
    before = time.perf_counter()
    path = ts.graph(out.mean()).save(tmp_path / "long.html")
    assert time.perf_counter() - before < 60  # it takes 3 to 5
    assert path.stat().st_size < 2_000_000


def test_a_part_of_a_value_and_parts_without_names() -> None:
    g = Graph(
        "",
        (Node("n0", "op", "a", part="p0"), Node("n1", "op", "b", part="p1", output=True)),
        (Edge("n0", "n1"),),
        (Part("p0", "same", "module"), Part("p1", "same", "module")),
    )
    book = _Book(g)
    closed = book.pictures[1]
    assert closed.name == "closed" and list(closed.opens) == ["n0", "n1"]
    assert len(set(closed.opens.values())) == 2  # the first and the second, told apart by their order
