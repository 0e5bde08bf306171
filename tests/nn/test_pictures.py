"""Pictures of layers: each is drawn by a real `dot`, closed and opened down to its equations."""

from pathlib import Path

import pytest

import tinygrad_seq as ts
from small_layers import LAYERS
from tinygrad_seq import nn
from viz.renderers import needs_dot


def made_by(layer: nn.Module) -> set[str]:
    return {type(part).__name__ for _, part in layer.named_modules()}


def test_every_layer_has_a_row() -> None:
    kinds = {
        name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    found = set().union(*(made_by(make()) for make, _, _ in LAYERS.values()))
    assert kinds - found == {"Module"}


@needs_dot
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_drawn(name: str, tmp_path: Path) -> None:
    make, x, options = LAYERS[name]
    ts.seed(0)
    layer = make()
    out = layer(ts.tensor(x), **options)
    out = out[0] if isinstance(out, tuple) else out
    closed, opened = ts.graph(out), ts.graph(out, open=all)
    for picture, file in ((closed, tmp_path / "closed.svg"), (opened, tmp_path / "opened.svg")):
        picture.save(file)
        svg = file.read_text(encoding="utf-8")
        assert svg.rstrip().endswith("</svg>") and type(layer).__name__ in svg
    assert not any(node.kind == "fused" for node in opened.nodes)
    fused = [node for node in closed.nodes if node.kind == "fused"]
    assert (sum(opened.size) > sum(closed.size)) == bool(fused)
