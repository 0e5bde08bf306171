"""DOT text and SVG: well-formed, whatever labels say; edges last and outside of the frames."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.core.equations import EQUATIONS
from tinygrad_seq.viz import Edge, Graph, Node, Part, render
from tinygrad_seq.viz.dot import quoted
from tinygrad_seq.viz.style import is_round
from tinygrad_seq.viz.symbols import runs
from viz.renderers import AVAILABLE, each_renderer, needs_dot

SVG = "{http://www.w3.org/2000/svg}"
HARD = ['"', "\\", '\\"', "\\N", "\\l", "a\nb", "<b>", "<<b>>", "&amp;", "&", "{x|y}", "]", ";", "//", "#", "%", "'",
        "fₜ = σ", "c̃ₜ", "日本", "🙂", "\x00\x07", "\ud800", "]]>", "<!--", "$x^2$", "", "\\n", "\\G", "\\E", "\\T",
        "\\H", "\\L", "\\r", "&#65;", "&nbsp;", "\r\n", "\t", "\x1b[31m", "\x7f", "\u200b", "\xa0", "\u202e", "שלום",
        "مرحبا", "é\u0301", "-->", "->", "digraph {", "}", "subgraph x", "/*", "*/", "=", ",", " a  b "]  # fmt: skip


def picture(label: str) -> Graph:
    return Graph(
        label,
        (Node("n0", "op", label, (2, 3), "float32"), Node("n1", "fused", "end", part="p0", equation=label)),
        (Edge("n0", "n1", label), Edge("n0", "n1", "")),
        (Part("p0", label, "module", note=label),),
    )


def words(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


labels = st.one_of(
    st.sampled_from(HARD), st.text(max_size=20), st.lists(st.sampled_from(HARD), max_size=4).map("".join)
)


@needs_dot
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(labels)
@example("".join(label for label in HARD))
def test_any_label_is_shown_as_it_is(label: str) -> None:
    drawn = picture(label)
    # What Graphviz itself makes of the text that it was given, for those who use the DOT text.
    own = ET.fromstring(render.run(f"digraph {{ a [label={quoted(label)}] }}", "svg"))
    shown = words(" ".join(element.text or "" for element in own.iter(f"{SVG}text")))
    assert shown == words(label.encode("utf-8", "replace").decode())
    render.run(drawn.dot, "svg")
    ours = ET.fromstring(drawn.svg().encode("utf-8", "replace"))
    title = [element.find(f"{SVG}title") for element in ours.iter(f"{SVG}g") if element.get("id") == "n0"][0]
    assert title is not None and words((title.text or "").partition("\nshape")[0]) == words(label).encode(
        "utf-8", "replace"
    ).decode("utf-8")


@each_renderer
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(label=labels)
@example(label="".join(HARD))
@example(label="x" * 6000)
@example(label="\n\n a \n\n")
@example(label="×")  # a circle
def test_graphviz_understands_each_label_as_it_is_meant(renderer: render.Renderer, label: str) -> None:
    """As a box's, an arrow's and a frame's label, and as a title."""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in label.encode("utf-8", "replace").decode())
    meant = [line for line in text.split("\n") if line]  # nothing is drawn for an empty line
    box = meant if label else [" "]
    if not is_round(picture(label).nodes[0]):
        box = [*box, "(2, 3)"]
    with patch.object(render, "find", lambda: renderer):
        if renderer.pure:  # whose JSON counts a backslash twice
            root = ET.fromstring(render.run(picture(label).dot, "svg"))
            drawn = [(element.text or "").replace("\xa0", " ") for element in root.iter(f"{SVG}text")]
            assert Counter(drawn) == Counter([*meant * 3, *box, "end"])
            return
        found = json.loads(render.run(picture(label).dot, "json"))

    def said(thing: dict[str, Any]) -> list[str]:
        return [step["text"] for step in thing.get("_ldraw_", []) if step["op"] == "T"]

    things = {thing["name"]: said(thing) for thing in found["objects"]}
    assert things == {"n0": box, "n1": ["end"], "cluster_p0": meant}
    assert said(found) == meant and list(map(said, found["edges"])) == [meant, []]


@each_renderer
@pytest.mark.parametrize("text", ["x" * 100_000, '\\"&' * 20_000, "日🙂" * 20_000])
def test_a_text_may_be_longer_than_what_graphviz_reads_at_once(renderer: render.Renderer, text: str) -> None:
    with patch.object(render, "find", lambda: renderer):
        found = json.loads(render.run(f"digraph {{ a [tooltip={quoted(text)}] }}", "json"))
    plain = found["objects"][0]["tooltip"].replace("\\\\", "\\")  # as written: \\ is a backslash
    assert plain.replace("&amp;", "&") == text


@pytest.mark.parametrize("label", HARD)
def test_nothing_leaves_its_quotes(label: str) -> None:
    text = quoted(label)
    assert text.isprintable() and re.fullmatch(r'"(?:[^"\\]|\\.)*"', text)


def test_edges_stand_last_and_outside() -> None:
    out, _ = ts.nn.LSTM(2, 3)(ts.tensor([[[1.0, 2.0]]]))
    lines = ts.graph(out).dot.splitlines()
    first = next(k for k, line in enumerate(lines) if "->" in line)
    assert all(re.match(r"  n\d+ -> n\d+", line) for line in lines[first:-1]) and lines[-1] == "}"
    assert sum(line.strip().startswith("subgraph") for line in lines) == sum(line == "  }" for line in lines) == 1


@each_renderer
def test_every_box_frame_and_arrow_is_drawn(renderer: render.Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "find", lambda: renderer)
    g = ts.viz.equation_graph("lstm")
    root = ET.fromstring(g.svg())
    ids = [element.get("id") for element in root.iter(f"{SVG}g")]
    assert set(ids) >= {node.id for node in g.nodes} | {"p0"} | {f"e{k}" for k in range(len(g.edges))}
    assert len(ids) == len(set(ids))
    width, height = (float(n) for n in root.attrib["viewBox"].split()[2:])
    for path in root.iter(f"{SVG}path"):  # nothing outside of the picture
        for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.attrib["d"]):
            assert 0 <= float(x) <= width and 0 <= float(y) <= height
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and title.text == "lstm: 6 equations"
    assert desc is not None and desc.text == g.text()
    tips = {element.get("id"): element.findtext(f"{SVG}title") for element in root.iter(f"{SVG}g")}
    forget = next(node.id for node in g.nodes if node.label == "fₜ = σ")
    line = EQUATIONS["lstm.f"].line
    assert Path(EQUATIONS["lstm.f"].file).read_text("utf-8").splitlines()[line - 1].strip().startswith("f_t = ")
    assert tips[forget] == (
        f"f_t = σ(W_f x_t + U_f h_{{t-1}} + b_f)\nlstm.py, line {line}\nshape (1, 5)\ndtype float32\n"
        "device cpu\noperation Sigmoid"
    )


@each_renderer
@pytest.mark.parametrize("form", ["png", "pdf"])
def test_pixels_are_painted(renderer: render.Renderer, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(render, "find", lambda: renderer)
    data = picture("fₜ = σ")._bytes(form)
    assert data.startswith({"png": b"\x89PNG", "pdf": b"%PDF"}[form]) and len(data) > 2000
    assert data == picture("fₜ = σ")._bytes(form)  # no date inside


@needs_dot
def test_png_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_seq.viz.plots.new_figure", _no_matplotlib)
    assert picture("a")._bytes("png").startswith(b"\x89PNG")


def test_pdf_needs_matplotlib_or_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_seq.viz.plots.new_figure", _no_matplotlib)
    monkeypatch.setattr(render, "find", lambda: render.Renderer("graphviz-pure", True))
    with pytest.raises(render.RenderError, match="draws no PDF: install matplotlib"):
        picture("a")._bytes("pdf")


def _no_matplotlib(width: float, height: float) -> None:
    raise ImportError("plots need matplotlib")


@needs_dot
def test_an_empty_picture_is_a_picture() -> None:
    assert len(AVAILABLE) >= 1
    assert ET.fromstring(Graph("nothing", (), (), ()).svg()).findtext(f"{SVG}title") == "nothing"


def test_subscripts() -> None:
    assert runs("hₜ₋₁") == [("h", 0), ("t−1", 0.25)]
    assert runs("W_fᵀ") == [("W", 0), ("f", 0.25), ("T", -0.35)]
    assert runs("h_{t-1} x") == [("h", 0), ("t−1", 0.25), (" x", 0)]
    assert runs("loss_total, a_bc, x.W_f") == [("loss_total, a_bc, x.W_f", 0)]
    assert runs("e_{ij} = @") == [("e", 0), ("ij", 0.25), (" = @", 0)]
    assert runs("W_1^Q") == [("W", 0), ("1", 0.25), ("Q", -0.35)]
    assert runs("h^k_t, h^{k-1}_t") == [("h", 0), ("k", -0.35), ("t", 0.25), (", h", 0), ("k−1", -0.35), ("t", 0.25)]
    assert runs("h\u20d7_t") == [("h\u20d7", 0), ("t", 0.25)]
    assert runs("c̃ₜ = tanh") == [("c̃", 0), ("t", 0.25), (" = tanh", 0)]
