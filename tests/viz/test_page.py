"""The page: one file that needs nothing else."""

import base64
import html.parser
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import Picture, Sample, Table, Text, page
from viz.renderers import needs_dot

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "path", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@needs_dot
def test_everything_is_inside(tmp_path: Path) -> None:
    w = ts.tensor([1.0], requires_grad=True)
    g = ts.graph(w * w, title="Twice <w>")
    g.save(tmp_path / "g.svg")
    (tmp_path / "p.png").write_bytes(PNG)
    foreign = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C" "http://www.w3.org/x.dtd"><svg id="a"></svg>'
    (tmp_path / "old.svg").write_text(foreign)
    path = page(
        'Runs & "results"',
        [
            Text("About", "One <i>.\n\nTwo."),
            Table("Losses", ("model", "nats"), [("<LSTM>", "1.5"), ("bigram", 2.5)]),
            Picture("A graph", g, "Look at w."),
            Picture("The same graph", tmp_path / "g.svg"),
            Picture("A photograph", str(tmp_path / "p.png"), 'of "it"'),
            Picture("Another's", tmp_path / "old.svg"),
            Sample("It wrote", "a  b\n</pre><script>alert(1)</script>"),
        ],
        tmp_path / "index.html",
    )
    read = Reader(path.read_text(encoding="utf-8"))
    assert not read.open  # every tag is closed
    for tag, attributes in read.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and "f2-n0" in ids and "f3-n0" in ids
    (image,) = [attributes for tag, attributes in read.tags if tag == "img"]
    assert image["src"] == "data:image/png;base64," + base64.b64encode(PNG).decode() and image["alt"] == 'of "it"'
    drawn = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert [a["aria-label"] for a in drawn] == ["Look at w.", "The same graph", "Another's"]
    assert all(a["role"] == "img" for a in drawn)
    for words in ("One <i>.", "<LSTM>", "2.5", "a  b\n</pre><script>alert(1)</script>", 'Runs & "results"'):
        assert words in read.text
    assert "w3.org/x.dtd" not in path.read_text(encoding="utf-8")
    assert ("html", {"lang": "en"}) in read.tags


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        page("x", [Picture("p", tmp_path / "p.png")], tmp_path / "x.html")
    (tmp_path / "p.gif").write_bytes(b"GIF")
    with pytest.raises(ValueError, match=r"\.svg, \.png or \.jpg, got 'p\.gif'"):
        page("x", [Picture("p", tmp_path / "p.gif")], tmp_path / "x.html")
    (tmp_path / "p.svg").write_text("hello")
    with pytest.raises(ValueError, match="holds no SVG"):
        page("x", [Picture("p", tmp_path / "p.svg")], tmp_path / "x.html")
    with pytest.raises(TypeError, match="a section is"):
        page("x", ["hello"], tmp_path / "x.html")  # type: ignore[list-item]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        page("x", [], tmp_path / "none" / "x.html")
    assert not (tmp_path / "x.html").exists()
