"""Pictures of models: each is drawn by a real `dot`, closed and opened down to its equations."""

from pathlib import Path

import pytest

import tinygrad_seq as ts
from small_models import SMALL, outputs
from viz.renderers import needs_dot


@needs_dot
@pytest.mark.parametrize("name", SMALL)
def test_a_model_is_drawn(name: str, tmp_path: Path) -> None:
    make, inputs, call = SMALL[name]
    ts.seed(0)
    model = make()
    out = [y for y in outputs(call(model, *map(ts.tensor, inputs))) if y.requires_grad]
    closed, opened = ts.graph(out), ts.graph(out, open=all)
    for picture, file in ((closed, tmp_path / "closed.svg"), (opened, tmp_path / "opened.svg")):
        picture.save(file)
        svg = file.read_text(encoding="utf-8")
        assert svg.rstrip().endswith("</svg>") and type(model).__name__ in svg
    assert any(part.kind == "opened" for part in opened.parts) and not any(n.kind == "fused" for n in opened.nodes)
    assert opened.size.shown + opened.size.folded > closed.size.shown + closed.size.folded
