"""Gradients in pictures: every number is that of backward, the graph stays as it was, and small ones are seen."""

import math
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.cli.graph import draw
from tinygrad_seq.core.op import Slot
from tinygrad_seq.core.state import setting, state
from tinygrad_seq.viz import Edge, Graph, Node, fold, render
from tinygrad_seq.viz.build import _Ops
from tinygrad_seq.viz.gradients import Gradients, norms, summary, together
from tinygrad_seq.viz.layout import layout
from tinygrad_seq.viz.style import NOT_COMPUTED, NOT_FINITE, ZERO, Line, Scale, edge_look, gradient_scale
from viz.renderers import each_renderer

rng = np.random.default_rng(0)
B, T, D, H = 2, 3, 3, 5
LAYERS = {"rnn": ts.nn.RNN, "lstm": ts.nn.LSTM, "gru": ts.nn.GRU}
CELLS = {"rnn": ts.nn.RNNCell, "lstm": ts.nn.LSTMCell, "gru": ts.nn.GRUCell}


def normal(*shape: int, grad: bool = False) -> ts.Tensor:
    return ts.tensor(rng.standard_normal(shape), requires_grad=grad)


def gradients(g: Graph) -> dict[str, float | None]:
    """The norms in the boxes, by label."""
    return {node.label: node.gradient and node.gradient.norm for node in g.nodes}


def arrows(g: Graph) -> dict[tuple[str, str, str], float | None]:
    called = {node.id: node.label for node in g.nodes}
    return {(called[edge.source], called[edge.target], edge.label): edge.gradient for edge in g.edges}


def norm(x: Any) -> float:
    return float(np.linalg.norm(x.numpy()))


def places(loss: ts.Tensor) -> list[Any]:
    """Every place that the loss was made from."""
    found: dict[Any, None] = {}
    waiting = [loss.place]
    while waiting:
        place = waiting.pop()
        if place is not None and place not in found:
            found[place] = None
            waiting += place.op.sources if isinstance(place, Slot) else getattr(place, "sources", [])
    return list(found)


# -- programs: each gives a loss


def own_program() -> ts.Tensor:
    x, W, b = normal(4, 3), normal(3, 2, grad=True), normal(2, grad=True)
    y = ts.ops.sigmoid(x @ W + b)
    return ((y - normal(4, 2)) ** 2).mean() + (W * W).sum() * 0.1


def layer(kind: str, **options: Any) -> Callable[[], ts.Tensor]:
    def program() -> ts.Tensor:
        model = LAYERS[kind](D, H, 2, bidirectional=True, **options).to("float64")
        out, _ = model(normal(B, T, D))
        return (out[:, -1] ** 2).sum() + (out * normal(B, T, 2 * H)).sum()

    return program


def with_states() -> ts.Tensor:
    model = ts.nn.LSTM(D, H).to("float64")
    out, (h, c) = model(normal(B, T, D), (normal(1, B, H, grad=True), normal(1, B, H)))
    return (out * normal(B, T, H)).sum() + ts.ops.tanh(h).sum() + (h * c).sum()


def transformer() -> ts.Tensor:
    model = ts.models.GPT(ts.models.GPTConfig(7, block_size=4, n_layer=2, n_head=2, n_embd=4, dropout=0.0))
    model.to("float64")
    return ts.ops.cross_entropy(model(np.array([[1, 2, 3], [4, 5, 6]])), np.array([[2, 3, 4], [5, 6, 0]]))


def attention_decoder() -> ts.Tensor:
    model = ts.models.AttentionDecoder(ts.models.AttentionDecoderConfig(7, 7, embedding_size=3, hidden_size=4))
    model.to("float64")
    return model.loss(rng.integers(3, 7, (B, 4)), rng.integers(3, 7, (B, T)))


PROGRAMS: dict[str, Callable[[], ts.Tensor]] = {
    "own program": own_program,
    "rnn": layer("rnn"),
    "lstm": layer("lstm"),
    "gru": layer("gru"),
    "gru_cho": layer("gru", reset_after=False),
    "with states": with_states,
    "transformer": transformer,
    "attention decoder": attention_decoder,
}


def built(name: str, fused: bool = True) -> ts.Tensor:
    """The loss of a program; the same each time."""
    global rng
    rng = np.random.default_rng(0)
    ts.seed(0)
    with setting(fused=fused):
        return PROGRAMS[name]()


# -- the numbers


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_place_has_the_norm_that_grad_gives(name: str) -> None:
    loss = built(name)
    everything = places(loss)
    wanted = [
        ts.Tensor(np.zeros(place.shape), place) for place in everything if getattr(place, "shape", None) is not None
    ]
    assert len(wanted) > 10
    expected = {x.place: g for x, g in zip(wanted, ts.grad(loss, wanted, retain_graph=True), strict=True)}
    found = _Ops([loss], all, True, False)
    noted = Gradients(found, loss)
    for place, g in expected.items():
        ours = noted.of(place)
        assert ours is not None or norm(g) == 0
        if ours is not None:
            np.testing.assert_allclose(ours.norm, norm(g), rtol=1e-13, atol=0)
            np.testing.assert_allclose(
                ours[1:5], [f(g.numpy()) for f in (np.mean, np.std, np.min, np.max)], rtol=1e-9, atol=1e-15
            )
    assert sum(noted.of(place) is not None for place in expected) > len(expected) * 0.9


# Of a last state, an arrow outside tells of what arrives there; the definition itself has but one place for it and for
# the last part of the outputs.
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "with states"])
def test_opened_is_what_the_definitions_themselves_give(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Box by box and arrow by arrow; the definitions run here outside of any picture."""
    for limit in ("MOST", "HARDEST"):
        monkeypatch.setattr(f"tinygrad_seq.viz.build.{limit}", 10**9)
    opened = ts.graph(built(name), grad=True, open=all)
    unfused = ts.graph(built(name, fused=False), grad=True)

    def boxes(g: Graph) -> list[tuple[str, float]]:
        return sorted((node.op, node.gradient.norm) for node in g.nodes if node.op and node.gradient is not None)

    def into(g: Graph) -> list[tuple[str, float]]:
        op = {node.id: node.op for node in g.nodes}
        return sorted(
            (op[edge.target], edge.gradient) for edge in g.edges if op[edge.target] and edge.gradient is not None
        )

    for ours, theirs in ((boxes(opened), boxes(unfused)), (into(opened), into(unfused))):
        assert [op for op, _ in ours] == [op for op, _ in theirs] and len(ours) > 8
        np.testing.assert_allclose([n for _, n in ours], [n for _, n in theirs], rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("name", ["with states", "lstm", "gru", "attention decoder"])
def test_outside_of_what_is_opened_nothing_changes(name: str) -> None:
    closed, opened = ts.graph(built(name), grad=True), ts.graph(built(name), grad=True, open=all)
    known = {label: found for label, found in gradients(closed).items() if not label.endswith("sequence")}
    parameters = [node.label for node in closed.nodes if node.kind == "parameter"]
    assert len(parameters) > 3 and all(known[label] is not None for label in parameters)
    for label in parameters:
        assert known[label] == gradients(opened)[label]


def test_arrows_tell_of_what_is_read() -> None:
    x, W = normal(3, 4, 2), normal(2, 2, grad=True)
    y = x @ W
    last = y[:, -1]
    loss = (last * last).sum() + y.sum() * 2
    found = arrows(ts.graph(loss, grad=True))
    expected = dict(zip(("y", "last", "W"), map(norm, ts.grad(loss, [y, last, W], retain_graph=True)), strict=True))
    assert found["y = @", "⊙", "last"] == pytest.approx(expected["last"], rel=1e-14)
    assert found["y = @", "Σ", ""] == pytest.approx(expected["y"], rel=1e-14)  # the whole, that of y[:, -1] with it
    assert found["W", "y = @", ""] == pytest.approx(expected["W"], rel=1e-14)
    assert found["x", "y = @", ""] is None
    assert (
        found["⊙", "Σ", ""] == pytest.approx(math.sqrt(last.size))
        and gradients(ts.graph(loss, grad=True))["loss = +"] == 1
    )


def test_a_states_arrow_is_what_grad_says_of_it() -> None:
    model = ts.nn.LSTM(D, H).to("float64")
    out, (h, c) = model(normal(B, T, D))
    square, product = out**2, h * c
    loss = square.sum() + product.sum()
    of_out, of_h, of_c = (norm(g) for g in ts.grad(loss, [out, h, c], retain_graph=True))
    for opened in ((), "lstm"):
        into: dict[str, list[float | None]] = {}
        for (_, target, _), found in arrows(ts.graph(loss, grad=True, open=opened)).items():
            into.setdefault(target, []).append(found)
        assert into["square = ( )²"] == pytest.approx([of_out], rel=1e-14)
        assert into["product = ⊙"] == pytest.approx([of_h, of_c], rel=1e-14)


def test_a_box_with_several_outputs_tells_of_all_of_them() -> None:
    out, (h, c) = ts.nn.LSTM(D, H).to("float64")(normal(B, T, D))
    loss = (out**2).sum() + (h * c).sum()
    box = next(node for node in ts.graph(loss, grad=True).nodes if node.kind == "fused")
    whole = np.concatenate([g.numpy().ravel() for g in ts.grad(loss, [out, h, c], retain_graph=True)])
    assert box.gradient is not None
    expected = [np.linalg.norm(whole), whole.mean(), whole.std(), whole.min(), whole.max()]
    np.testing.assert_allclose(box.gradient[:5], expected, rtol=1e-12)
    assert together([]) is None and together([(summary(whole), whole.size)]) == summary(whole)


def test_small_and_large_numbers_keep_their_size() -> None:
    """The squares of 1e-200 are 0, those of 1e200 are inf; in float32, 1e-30 and 1e30."""
    for size in (1e-200, 1e200, 1e-300):
        x = np.array([3 * size, 4 * size])
        np.testing.assert_allclose([summary(x).norm, summary(x).std], [5 * size, size / 2], rtol=1e-12)
        np.testing.assert_allclose(norms(np.stack([x, 2 * x])[None], 1), [5 * size, 10 * size], rtol=1e-12)
    assert summary(np.array([3e-30, 4e-30], "float32")).norm == pytest.approx(5e-30, rel=1e-6)
    assert together([(summary(np.full(3, 1e200)), 3), (summary(np.full(5, 1e200)), 5)]) is not None
    assert summary(np.zeros((2, 3))).norm == 0 and summary(np.zeros((0, 3))) is None
    assert math.isinf(summary(np.array([1.0, np.inf])).norm) and math.isnan(summary(np.array([1.0, np.nan])).norm)
    assert list(norms(np.array([[[1.0, np.inf], [3.0, 4.0]]]), 1)) == [np.inf, 5.0]


def test_few_numbers_are_all_told() -> None:
    w = ts.tensor([1.0, 2.0], requires_grad=True)
    many = ts.tensor(np.ones(13, "f4"), requires_grad=True)
    g = ts.graph((w * w).sum() + many.sum(), grad=True)
    numbers = {node.label: node.gradient.numbers for node in g.nodes if node.gradient is not None}
    assert numbers["w"] == (2.0, 4.0) and numbers["⊙"] == (1.0, 1.0) and numbers["many"] == ()


# -- the graph stays as it was


def test_nothing_is_touched() -> None:
    model = ts.nn.LSTM(D, H).to("float64")
    out, _ = model(normal(B, T, D))
    y = out[:, -1] ** 2
    loss = y.sum()
    calls: list[int] = []
    for x in (y, loss, model.weight_hh_l0):
        x.register_hook(lambda g: calls.append(1) or g * 0)
    y.retain_grad()
    before = ts.graph(loss, open=all)
    with ts.record() as r, ts.no_grad():
        found = ts.graph(loss, grad=True, open=all)
        assert ts.graph(loss, grad=True, time=True) and not state.grad
    assert not calls and len(r) == 0
    assert y.grad is None and all(p.grad is None for p in model.parameters())
    assert gradients(found)["weight_hh_l0"] != 0  # hooks would have made it 0
    assert ts.graph(loss, open=all) == before and found != before
    assert ts.graph(loss, grad=True, open=all) == found  # again
    loss.backward()
    assert len(calls) == 3 and model.weight_ih_l0.grad is not None


def test_before_backward_or_with_a_graph_that_was_retained() -> None:
    loss = built("lstm")
    before = ts.graph(loss, grad=True)
    loss.backward(retain_graph=True)
    assert ts.graph(loss, grad=True) == before
    loss.backward()
    for options in ({}, {"open": "lstm"}, {"time": True}):
        with pytest.raises(RuntimeError, match=r"draw before backward, or call backward\(retain_graph=True\)"):
            ts.graph(loss, grad=True, **options)  # type: ignore[arg-type]
    assert (
        {node.gradient for node in ts.graph(loss).nodes} == {edge.gradient for edge in ts.graph(loss).edges} == {None}
    )


def test_what_has_no_gradients() -> None:
    out = normal(2, 3, grad=True) * 2
    with pytest.raises(ValueError, match=r"one loss of one element, got a tensor of shape \(2, 3\): reduce first"):
        ts.graph(out, grad=True)
    with pytest.raises(ValueError, match="got 2 tensors"):
        ts.graph([out.sum(), out.mean()], grad=True)
    with pytest.raises(ValueError, match="has no graph"):
        ts.graph(ts.tensor(1.0), grad=True)
    layer = ts.nn.Linear(3, 1)
    loss = (layer(normal(2, 3).astype("float32")) ** 2).sum()
    loss.backward(retain_graph=True)
    ts.optim.SGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match="written into"):
        ts.graph(loss, grad=True)


def test_on_every_device_it_is_the_same_picture(device: Any) -> None:
    values = np.random.default_rng(0).standard_normal((B, T, D)).astype("float32")

    def drawn(x: ts.Tensor, **options: Any) -> Graph:
        ts.seed(0)
        layer = ts.nn.LSTM(D, H, 2).to(x.device)
        loss = (layer(x)[0] ** 2).mean()
        return ts.graph(loss, grad=True, **options)

    for options in ({}, {"open": "lstm"}, {"time": True}):
        with device.reading():
            there = drawn(device.tensor(values), **options)
        here = drawn(ts.tensor(values), **options)
        assert [node.label for node in there.nodes] == [node.label for node in here.nodes]
        numbers = [[0.0 if edge.gradient is None else edge.gradient for edge in g.edges] for g in (there, here)]
        np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-7)
        assert max(numbers[0]) > 1e-3


# -- folding


def test_folded_arrows_tell_of_all_that_they_carry() -> None:
    def drawn(*norms: float | None) -> float | None:
        nodes = tuple(Node(f"n{k}", "op", str(k)) for k in range(5))
        a, b, c, d = norms
        edges = (
            Edge("n0", "n2", gradient=a),
            Edge("n0", "n3", gradient=b),
            Edge("n1", "n2", gradient=c),
            Edge("n1", "n4", "part", gradient=d),
        )
        small = fold(Graph("", nodes, edges, ()), [(["n0", "n1"], "from", None), (["n2", "n3", "n4"], "to", None)])
        (edge,) = small.edges
        return edge.gradient

    assert drawn(3.0, 3.0, 4.0, 12.0) == 13  # n0's value goes two ways, and counts once
    assert drawn(3.0, 3.0, 3.0, 3.0) == pytest.approx(math.sqrt(27))  # others with the same norm count on their own
    assert drawn(None, None, 4.0, None) == 4
    assert drawn(None, None, None, None) is None
    assert drawn(0.0, 0.0, 0.0, None) == 0
    assert drawn(1.0, 1.0, math.inf, 2.0) == math.inf


class Residual(ts.nn.Module):
    """Its input is read under two labels, and by two boxes."""

    def __init__(self) -> None:
        self.linear = ts.nn.Linear(D, D)

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        return ts.ops.tanh(x) + self.linear(x)


class Twice(ts.nn.Module):
    def __init__(self) -> None:
        self.first, self.second = Residual(), Residual()

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        between = self.first(ts.ops.tanh(x))
        return self.second(between)


def test_a_value_that_goes_into_a_fold_twice_counts_once() -> None:
    model = Twice().to("float64")
    x = normal(B, D, grad=True)
    y = model(x)
    loss = (y * y).sum()
    for depth in (1, 2):
        g = ts.graph(loss, grad=True, depth=depth)
        of = {node.id: node for node in g.nodes}
        # Each box here has one output: all arrows from it carry that value.
        arrows = [edge for edge in g.edges if edge.gradient is not None and of[edge.source].gradient is not None]
        assert len(arrows) >= 3
        for edge in arrows:
            gradient = of[edge.source].gradient
            assert gradient is not None and edge.gradient == pytest.approx(gradient.norm, rel=1e-12)
        assert Graph.from_json(g.json()) == g
    # Folded once more, with what carries the same value already folded: it still counts once.
    g = ts.graph(loss, grad=True, depth=1)
    fold_of = {node.label: node.id for node in g.nodes}
    sources = {edge.source for edge in g.edges if edge.target == fold_of["first: Residual"]}
    (into,) = (edge for edge in g.edges if edge.target == fold_of["first: Residual"])
    again = fold(g, [([fold_of["first: Residual"], fold_of["second: Residual"]], "both", None)])
    (same,) = (edge for edge in again.edges if edge.gradient is not None and of_label(again, edge.target) == "both")
    assert len(sources) == 1 and same.gradient == into.gradient


def of_label(g: Graph, id: str) -> str:
    return next(node.label for node in g.nodes if node.id == id)


@pytest.mark.parametrize("name", ["GPT", "BERT", "Transformer"])
def test_residual_blocks_of_models_do_not_count_twice(name: str) -> None:
    g = draw(name, grad=True, depth=2)
    of = {node.id: node for node in g.nodes}
    compared = 0
    for edge in g.edges:
        box = of[edge.source]
        # A slice of a box carries less than the box; none carries more.
        if edge.gradient is not None and box.gradient is not None and box.kind != "fold":
            assert edge.gradient <= box.gradient.norm * (1 + 1e-5), (box.label, of[edge.target].label)
            compared += 1
    assert compared >= 5


class Stacked(ts.nn.Module):
    """Four equal blocks in a row, all of whose outputs are read at the end."""

    def __init__(self) -> None:
        self.blocks = [Residual() for _ in range(4)]

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        self.outputs = []
        for block in self.blocks:
            x = block(x)
            self.outputs.append(x)
        return ts.ops.concatenate(self.outputs, axis=-1)


def test_what_reads_all_equal_blocks_has_one_arrow_from_the_one_that_is_drawn() -> None:
    model = Stacked().to("float64")
    loss = (model(normal(B, D, grad=True)) ** 2).sum()
    g = ts.graph(loss, grad=True)
    assert any(part.label.endswith("× 4") for part in g.parts)
    end = next(node.id for node in g.nodes if "concatenate" in node.label)
    (arrow,) = (edge for edge in g.edges if edge.target == end)
    of_first = ts.grad(loss, model.outputs[0]).numpy()
    assert arrow.gradient == pytest.approx(float(np.linalg.norm(of_first)), rel=1e-12)


def test_a_long_sequence_takes_seconds() -> None:
    out, _ = ts.nn.LSTM(D, H)(normal(B, 300, D).astype("float32"))
    loss = (out[:, -1] ** 2).sum()
    start = time.perf_counter()
    g = ts.graph(loss, grad=True, open="lstm")
    assert time.perf_counter() - start < 20  # some two
    assert "… 298 steps …" in gradients(g) and gradient_scale(g) is not None


# -- how it looks


def test_larger_is_wider_and_darker() -> None:
    scale = Scale(-8, 2, frozenset())
    lines = [scale.line(10**power) for power in np.linspace(-8, 2, 101)]
    assert all(a.width < b.width for a, b in zip(lines, lines[1:], strict=False))

    def grey(line: Line) -> float:
        r, g, b = (int(line.color[k : k + 2], 16) for k in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    assert all(grey(a) > grey(b) for a, b in zip(lines, lines[1:], strict=False))
    assert grey(lines[0]) < 215 and lines[0].color == "#B9DDA0" and lines[-1] == Line("#14296B", 4.6)
    # Of equal ratios, equal steps.
    assert np.ptp(np.diff([line.width for line in lines])) < 0.02
    special = {ZERO, NOT_FINITE, NOT_COMPUTED}
    assert [scale.line(x) for x in (0.0, math.inf, math.nan, None)] == [ZERO, NOT_FINITE, NOT_FINITE, NOT_COMPUTED]
    assert not special & set(lines) and len({line.color for line in special}) == 3


def test_the_scale_has_whole_powers_of_ten_at_its_ends() -> None:
    def scale_of(*norms: float | None) -> Any:
        return gradient_scale(
            Graph("", (Node("n0", "op", "a"),), tuple(Edge("n0", "n0", gradient=n) for n in norms), ())
        )

    assert scale_of(3e-7, 0.02, 1e-4)[:2] == (-7, -1) and scale_of(3e-7, 0.02).ticks == [(0, -7), (0.5, -4), (1, -1)]
    assert scale_of(0.5)[:2] == (-1, 0) and scale_of(1.0)[:2] == (0, 1) and scale_of(0.0, math.nan)[:2] == (0, 1)
    assert scale_of(1e-4, 0.1).ticks == [(0, -4), (pytest.approx(1 / 3), -3), (1, -1)]
    assert scale_of(None, None) is None and scale_of() is None
    assert scale_of(1.0, None, 0.0, math.inf).words == (
        "‖∂L/∂·‖: 1e0 (thin, pale) … 1e1 (wide, dark); dotted: 0; dashed: inf or NaN; grey: not computed"
    )
    assert scale_of(1.0).others == []


def strange() -> Graph:
    """Gradients of every kind: some, 0, inf, and none."""
    z, x = ts.tensor([0.0, 1.0], requires_grad=True), ts.tensor([1.0, 2.0])
    with np.errstate(all="ignore"):
        loss = ts.ops.log(z).sum() + (z * 0 * x).sum()
        return ts.graph(loss, grad=True, title="strange")


@each_renderer
def test_the_legend_and_the_tooltips(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    g = strange()
    drawn = ET.fromstring(g.svg())
    groups = {group.get("id"): group for group in drawn.iter("{http://www.w3.org/2000/svg}g")}
    heading = " ".join(" ".join(text.itertext()) for text in groups["heading"].iter("{http://www.w3.org/2000/svg}text"))
    assert heading == "strange ‖∂L/∂·‖ 10 0 10 1 inf or NaN not computed"
    called = {node.id: node.label for node in g.nodes}
    ids = {(called[edge.source], called[edge.target]): f"e{k}" for k, edge in enumerate(g.edges)}

    def arrow(source: str, target: str) -> tuple[str | None, dict[str, str]]:
        group = groups[ids[source, target]]
        path = next(group.iter("{http://www.w3.org/2000/svg}path"))
        return group.findtext("{http://www.w3.org/2000/svg}title"), path.attrib

    words, path = arrow("z", "log")
    assert words == "‖∂L/∂·‖ = inf" and path["stroke"] == NOT_FINITE.color and path["stroke-dasharray"] == "5 3"
    words, path = arrow("× 0", "⊙")
    assert words == "‖∂L/∂·‖ = 2.24" and path["stroke-width"] == f"{0.9 + 3.7 * math.log10(5**0.5):.2f}"
    words, path = arrow("x", "⊙")
    assert words is None and path["stroke"] == NOT_COMPUTED.color
    tip = groups[next(node.id for node in g.nodes if node.label == "× 0")].findtext("{http://www.w3.org/2000/svg}title")
    assert tip is not None and tip.splitlines()[-1] == "‖∂L/∂·‖ = 2.24, elements from 1 to 2"
    title = drawn.find("{http://www.w3.org/2000/svg}desc")
    assert title is not None and "‖∂L/∂·‖ inf" in (title.text or "")
    for form in ("png", "pdf"):
        if not (renderer.pure and form == "pdf"):
            assert len(g._bytes(form)) > 2000


def test_zero_is_no_small_number() -> None:
    a, b = ts.tensor([1.0], requires_grad=True), ts.tensor([2.0], requires_grad=True)
    g = ts.graph((a * 0).sum() + b.sum(), grad=True)
    assert arrows(g)["a", "× 0", ""] == 0
    edge = next(edge for edge in g.edges if edge.gradient == 0)
    scale = gradient_scale(g)
    assert scale is not None and edge_look(edge, scale).dash == "dotted" and scale.others == [(ZERO, "0")]
    assert "style=dotted" in g.dot and "dotted: 0" in g.dot and "‖∂L/∂·‖ 0\n" in g.text()


PRODUCT = """\
label="‖∂L/∂·‖: 1e0 (thin, pale) … 1e1 … 1e2 (wide, dark)", \
tooltip="‖∂L/∂·‖: 1e0 (thin, pale) … 1e1 … 1e2 (wide, dark)"]
"""
ARROWS = """\
  n0 -> n1 [color="#1F5E8E", penwidth=3.67, arrowsize=0.867, tooltip="‖∂L/∂·‖ = 31.6", labeltooltip="‖∂L/∂·‖ = 31.6"]
  n1 -> n2 [color="#72B8A8", penwidth=1.82, arrowsize=0.682, tooltip="‖∂L/∂·‖ = 3.16", labeltooltip="‖∂L/∂·‖ = 3.16"]
}
"""


def test_the_dot_text_of_a_small_program() -> None:
    x = ts.tensor([1.0] * 10, requires_grad=True)
    text = ts.graph((x * 10).sum(), grad=True).dot
    assert PRODUCT in text and text.endswith(ARROWS) and len(text.splitlines()) == 10


def test_the_same_program_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "import numpy as np, tinygrad_seq as ts\n"
        "waste = [ts.tensor([1.0], requires_grad=True) * k for k in range(SEED)]\n"
        "ts.seed(0)\n"
        "loss = ts.nn.LSTM(3, 4, 2)(ts.tensor(np.ones((2, 9, 3), 'f4')))[0].sum()\n"
        "drawn = [ts.graph(loss, grad=True, **o) for o in ({}, {'open': 'lstm'}, {'time': True}, {'time': 'rolled'})]\n"
        "import sys; sys.stdout.buffer.write(''.join(g.dot + g.json() for g in drawn).encode())\n"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", program.replace("SEED", n)],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": n, "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
        ).stdout
        for n in ("1", "7")
    ]
    assert texts[0] == texts[1] and len(texts[0]) > 5000


def test_json_holds_the_gradients() -> None:
    for g in (ts.graph(built("own program"), grad=True), ts.graph(built("lstm"), grad=True, time=True), strange()):
        again = Graph.from_json(g.json())
        assert again.json() == g.json() and again.dot == g.dot and gradient_scale(again) is not None


def test_a_difference_has_no_gradients() -> None:
    a, b = ts.graph(built("lstm"), grad=True), ts.graph(built("gru"), grad=True)
    d = ts.graph_diff(a, b)
    plain = [
        replace(
            g,
            nodes=tuple(replace(n, gradient=None) for n in g.nodes),
            edges=tuple(replace(e, gradient=None) for e in g.edges),
        )
        for g in (a, b)
    ]
    assert d == ts.graph_diff(*plain) and gradient_scale(d) is None and "‖" not in d.text()


# -- time as a grid


def by_hand(kind: str, x: ts.Tensor, weights: Any) -> tuple[ts.Tensor, list[Any], Any]:
    """A loop over a cell with a layer's weights: the loss, all states, and the cell."""
    cell = CELLS[kind](D, H).to("float64")
    for name, parameter in cell.named_parameters():
        parameter.data[...] = getattr(weights, f"{name}_l0").data
    state, states = None, []
    for t in range(x.shape[1]):
        state = cell(x[:, t], state)
        states.append(state if isinstance(state, tuple) else (state,))
    return (states[-1][0] ** 2).sum(), states, cell


def along(g: Graph) -> dict[tuple[str, str], float | None]:
    """The arrows from each step to the next: the box that they begin at, and their label."""
    rows = {node.id: (node.row, node.label) for node in g.nodes if node.kind != "parameter"}
    return {
        (rows[edge.source][1], edge.label): edge.gradient
        for edge in g.edges
        if edge.label and edge.source in rows and rows[edge.source][0] == rows[edge.target][0]
    }


@pytest.mark.parametrize("length", [3, 20])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_states_arrows_are_what_grad_gives_for_each_step(kind: str, length: int) -> None:
    layer, x = LAYERS[kind](D, H).to("float64"), normal(B, length, D)
    loss, states, cell = by_hand(kind, x, layer)
    fields = ("h", "c")[: len(states[0])]
    steps = range(length) if length == 3 else [*range(5), *range(length - 6, length)]  # of those before the last
    wanted = [states[t][k] for t in steps for k in range(len(fields))]
    found = iter(ts.grad(loss, wanted, retain_graph=True))
    digits = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

    def box(t: int) -> str:
        fold = length > 3 and 5 <= t < length - 5
        return (
            f"… {length - 10} steps …" if fold else ", ".join(f"{field}{t + 1}".translate(digits) for field in fields)
        )

    expected = {(box(t), field): norm(next(found)) for t in steps for field in fields}
    last = {field: expected.pop((box(length - 1), field)) for field in fields}  # goes on to no step
    assert last["h"] > 0 and all(found > 0 for found in expected.values())
    own_loop = ts.graph(loss, grad=True, time=True)
    of_layer = (layer(x)[0][:, -1] ** 2).sum()
    of_scan = ts.ops.scan(cell.step, cell.State(*(ts.tensor(np.zeros((B, H))) for _ in fields)), x)[0]
    pictures = {
        "own loop": own_loop,
        "closed": ts.graph(of_layer, grad=True, time=True),
        "opened": ts.graph(of_layer, grad=True, time=True, open=kind),
        "scan": ts.graph((of_scan.h_t[:, -1] ** 2).sum(), grad=True, time=True),
    }
    for name, g in pictures.items():
        ours = {key: found for key, found in along(g).items() if key[0] not in ("h₀", "h₀, c₀")}
        assert ours == pytest.approx(expected, rel=1e-12), name
    assert pictures["closed"] == pictures["opened"]
    parameters = [p for _, p in layer.named_parameters()]
    whole = math.hypot(*map(norm, ts.grad(of_layer, parameters, retain_graph=True)))
    (weights,) = (edge for edge in pictures["closed"].edges if edge.source == "n0")
    assert weights.gradient == pytest.approx(whole, rel=1e-12)
    (weights,) = (edge for edge in pictures["own loop"].edges if edge.source == "n0")
    assert weights.gradient == pytest.approx(whole, rel=1e-12)


def test_a_box_of_a_step_tells_of_its_state() -> None:
    loss, states, _ = by_hand("lstm", normal(B, 3, D), ts.nn.LSTM(D, H).to("float64"))
    g = ts.graph(loss, grad=True, time=True)
    for t, label in enumerate(("h₁, c₁", "h₂, c₂")):
        both = ts.grad(loss, list(states[t]), retain_graph=True)
        assert gradients(g)[label] == pytest.approx(math.hypot(*map(norm, both)), rel=1e-12)
    h, _ = states[-1]  # no gradient arrives at the last cell but through it
    (last,) = (node for node in g.nodes if node.label == "h₃, c₃")
    c = ts.grad(loss, states[-1][1], retain_graph=True)
    assert last.gradient is not None
    assert last.gradient.norm == pytest.approx(
        math.hypot(norm(ts.grad(loss, h, retain_graph=True)), norm(c)), rel=1e-12
    )
    assert "h₃, c₃" in g.text() and f"‖∂L/∂·‖ {last.gradient.norm:.3g}" in g.text()


def test_a_sequence_between_two_rows_is_told_step_by_step() -> None:
    embedding, lstm, linear = ts.nn.Embedding(7, D), ts.nn.LSTM(D, H, 2), ts.nn.Linear(H, 7)
    tokens = np.array([[1, 2, 3], [4, 5, 6]])
    e = embedding(tokens)
    out, _ = lstm(e)
    logits = linear(out)
    loss = (logits**2).sum()
    found = arrows(ts.graph(loss, grad=True, time=True))
    of_e, of_out, of_weight = ts.grad(loss, [e, out, embedding.weight], retain_graph=True)
    for t, digit in enumerate("₁₂₃"):
        below, above = f"h¹{digit}, c¹{digit}", f"h²{digit}, c²{digit}"
        assert found[f"e{digit}", below, ""] == pytest.approx(np.linalg.norm(of_e.numpy()[:, t]), rel=1e-5)
        assert found[above, "logits", ""] == pytest.approx(np.linalg.norm(of_out.numpy()[:, t]), rel=1e-5)
        assert (found[below, above, ""] or 0) > 0 and found["tokens", f"e{digit}", ""] is None
    assert found["embedding.weight", "e₁", ""] == pytest.approx(norm(of_weight), rel=1e-5)
    assert (found["logits", "loss", ""] or 0) > 0


def test_both_directions_and_lengths() -> None:
    lstm, x = ts.nn.LSTM(D, H, bidirectional=True).to("float64"), normal(3, 4, D)
    out, _ = lstm(x, lengths=[2, 4, 1])
    with ts.definitions():
        same, _ = lstm(x, lengths=[2, 4, 1])
    closed = along(ts.graph((out**2).sum(), grad=True, time=True))
    defined = along(ts.graph((same**2).sum(), grad=True, time=True))
    assert closed.keys() == defined.keys()
    numbers = {key: found for key, found in closed.items() if found is not None}
    assert numbers == pytest.approx({key: defined[key] for key in numbers}, rel=1e-12)
    assert len(numbers) == 2 * 2 * 3 and all(numbers.values())  # directions, h and c, steps to the next


def test_rolled_up_the_state_tells_of_all_steps() -> None:
    rnn = ts.nn.RNN(D, H).to("float64")
    loss, states, _ = by_hand("rnn", x := normal(B, 6, D), rnn)
    g = ts.graph((rnn(x)[0][:, -1] ** 2).sum(), grad=True, time="rolled")
    (circle,) = (edge for edge in g.edges if edge.source == edge.target)
    found = ts.grad(loss, [h for (h,) in states[:-1]], retain_graph=True)
    assert circle.gradient == pytest.approx(math.hypot(*map(norm, found)), rel=1e-12)
    lstm = ts.graph(ts.nn.LSTM(D, H)(normal(B, 6, D).astype("float32"))[0].sum(), grad=True, time="rolled")
    assert [edge.label for edge in lstm.edges if edge.source == edge.target] == ["h, c"]


@each_renderer
def test_a_tanh_rnn_fades_and_an_lstm_that_remembers_does_not(
    renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    x = ts.tensor(np.random.default_rng(0).standard_normal((1, 30, 3)).astype("float32"))
    rnn, lstm = ts.nn.RNN(3, 16), ts.nn.LSTM(3, 16)
    lstm.bias_ih_l0.data[16:32] = 4  # b_f: the forget gate is open
    loss = rnn(x)[0][:, -1].sum() + lstm(x)[0][:, -1].sum()
    g = ts.graph(loss, grad=True, time=True)
    found = along(g)
    scale = gradient_scale(g)
    assert scale is not None
    of_rnn = [scale.line(found[f"h{k}", "h"]).width for k in "₁₂₃₄₅"]
    of_lstm = [scale.line(found[f"h{k}, c{k}", "c"]).width for k in "₁₂₃₄₅"]
    assert of_rnn == sorted(of_rnn) and of_rnn[-1] < 1.8 and min(of_lstm) > 3.5
    # Both arrows of a step are drawn, and the row stays straight.
    drawn = layout(g)
    called = {node.label: drawn.nodes[node.id].y for node in g.nodes}
    row = [y for label, y in called.items() if ", c" in label]
    assert len(row) == 11 and max(row) - min(row) < 1
    assert all(len(curves) == 1 for curves, _ in drawn.edges) and len(drawn.edges) == len(g.edges)


def test_attention_over_an_encoder_has_gradients() -> None:
    g = ts.graph(built("attention decoder"), grad=True, time=True)
    found = arrows(g)
    states = [n for (_, _, label), n in found.items() if label == "h"]
    assert len(states) > 5 and sum(n is not None and n > 0 for n in states) >= len(states) - 2
    assert sum(n is not None for n in found.values()) > len(found) * 0.6
