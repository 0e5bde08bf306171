"""Plots: what is on them, and that they touch nothing else."""

import math
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tinygrad_seq import viz
from tinygrad_seq.viz import curves, heat_maps, loss_curve, plots

pytest.importorskip("matplotlib")
TRAINING = [(k, 4.0 / k + 1) for k in range(1, 101)]
VALIDATION = [(50, 1.2), (100, 1.1)]
BASELINES = {"unigram": 3.2, "bigram": 2.5, "interpolated trigram": 1.9}


def figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *args: Any, **options: Any) -> Any:
    """The figure, as it is before it is written."""
    caught: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda made, path: caught.append(made) or path)
    loss_curve(*args, tmp_path / "loss.png", **options)
    return caught[0]


def test_a_step_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    axes = figure(monkeypatch, tmp_path, [(10, 1.5), (20, 1.2)], [(20, 1.1)], {}).axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_curves_baselines_and_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    axes = figure(monkeypatch, tmp_path, TRAINING, VALIDATION, BASELINES, title="A run").axes[0]
    assert axes.get_xlabel() == "training step" and axes.get_ylabel() == "loss (nats per character)"
    (bits,) = axes.child_axes
    assert bits.get_ylabel() == "bits per character"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training, each batch",
        "training, smoothed",
        "validation",
    ]
    assert [text.get_text() for text in axes.texts] == [
        "unigram: 3.200",
        "bigram: 2.500",
        "interpolated trigram: 1.900",
    ]
    lines = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert [line.get_ydata()[0] for line in lines] == list(BASELINES.values())
    assert len({line.get_linestyle() for line in lines}) == 3  # told apart without colour
    low, high = axes.get_ylim()
    assert low < 1.04 and high > 3.2


def test_names_of_near_baselines_do_not_lie_on_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    near = {"a": 2.0, "b": 1.98, "c": 1.96, "d": 1.5, "e": 1.5}
    drawn = figure(monkeypatch, tmp_path, TRAINING, VALIDATION, near)
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert len(boxes) == 5
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]
    inside = drawn.axes[0].get_window_extent()
    assert all(inside.x0 < box.x0 and box.x1 < inside.x1 for box in boxes)


def every_plot(folder: Path, text: str, suffix: str = "svg") -> list[Path]:
    """One of each, with this text wherever a user's own stands."""
    title, path = text, f"{folder}/{{}}.{suffix}".format
    alpha = np.full((2, 2, 2), 0.5)
    return [
        loss_curve(TRAINING, VALIDATION, {text: 2.0}, path("loss"), unit=text, title=title),
        viz.gradient_plot({text: [1.0, np.inf, 2.0]}, path("gradient"), title=title),
        viz.singular_value_plot({text: [[1.0, 2.0]] * 3}, path("singular"), title=title),
        viz.schedule_plot({text: lambda step: 0.1}, 9, path("schedule"), title=title),
        viz.parameter_histogram({text: [1.0, 2.0]}, path("parameter"), title=title),
        viz.attention_plot(alpha, path("attention"), rows=["", text], columns=[text, "a"], title=title),
        viz.gate_plot({text: [[0.5], [0.5]]}, path("gate"), text=[text, "b"], title=title),
    ]


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")  # not every sign is in the font
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(min_size=1, max_size=12))
@example(r"$\frac{$ \ ^_{ } $x_t$ & <b> \$ -- --> %")
@example("_\x00\x07\x1b\ud800\ufffe\u200b\u2028\r\x85-")
def test_any_text_is_well_formed_svg_in_every_plot(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in every_plot(Path(folder), text):
            ET.fromstring(path.read_bytes())


def test_no_text_of_a_user_is_read_as_a_formula(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib.text import Text

    caught: list[Any] = []
    for module in (plots, curves, heat_maps):
        monkeypatch.setattr(module, "save_figure", lambda made, path: caught.append(made) or path)
    every_plot(tmp_path, r"$x_t$ \$5$")
    for drawn in caught:
        drawn.draw_without_rendering()
        found = [text for text in drawn.findobj(Text) if "$5" in text.get_text()]
        assert len(found) >= 2 and not any(text.get_parse_math() for text in found)
        assert all("$x_t$" in text.get_text() for text in found)


def test_a_label_is_a_formula_where_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    caught: list[Any] = []
    monkeypatch.setattr(curves, "save_figure", lambda made, path: caught.append(made) or path)
    viz.gradient_plot({"a": [1.0]}, tmp_path / "x.png", label=r"$\Vert W_{hh}\Vert$")
    label = caught[0].axes[0].yaxis.label
    assert label.get_text() == r"$\Vert W_{hh}\Vert$" and label.get_parse_math()


def test_text_as_an_axis_shows_it() -> None:
    assert plots.visible("a b\n\t") == "a␣b⏎⇥" and plots.visible("$\\") == "$\\"
    assert plots.visible("\x00\u200b\ud800\xa0") == r"\x00\u200b\ud800\xa0"
    assert plots.printable("two\nlines\t\xa0\x07é日") == "two\nlines  \\x07é日"


def test_the_same_plot_is_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from viz.test_plots import every_plot\n"
        "for suffix in ('svg', 'png', 'pdf'): every_plot(Path(sys.argv[1]), 'a name', suffix)\n"
    )
    for name, seed in (("first", "1"), ("second", "2")):
        (tmp_path / name).mkdir()
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": seed}
        environment |= {"SOURCE_DATE_EPOCH": seed * 9}  # another day
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], check=True, env=environment)
    first = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert len(first) == 21 and first == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix: str, tmp_path: Path) -> None:
    path = loss_curve(TRAINING, VALIDATION, BASELINES, tmp_path / f"loss.{suffix}")
    assert path.stat().st_size > 4000


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([], VALIDATION),
        (TRAINING, []),
        ([(1, 2.0)], []),
        ([(1, 2.0), (2, math.nan), (3, math.inf), (4, 2.0)], VALIDATION),
        ([(1, math.nan)], [(1, math.nan)]),
        ([(1, 2.0), (2, 2.0)], []),
    ],
)
def test_little_and_broken_data(training: Any, validation: Any, tmp_path: Path) -> None:
    assert loss_curve(training, validation, {}, tmp_path / "x.png").stat().st_size > 4000


def test_losses_that_are_not_finite_are_marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    training = [(k, 2.0 if k < 8 else math.nan) for k in range(10)]
    axes = figure(monkeypatch, tmp_path, training, [(5, 2.0), (9, math.inf)], {}).axes[0]
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert drawn["training: not finite"] == [8, 9] and drawn["validation: not finite"] == [9]
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [entry for entry in entries if "finite" in entry] == ["training: not finite", "validation: not finite"]


def test_the_smoothed_curve_ends_smoothly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    losses = [(k, 1.0 + (k % 2)) for k in range(600)]
    axes = figure(monkeypatch, tmp_path, losses, [], {}).axes[0]
    smooth = next(line for line in axes.lines if line.get_label() == "training, smoothed")
    assert smooth.get_xdata()[-1] > 590 and np.abs(smooth.get_ydata()[-20:] - 1.5).max() < 0.06


def test_smoothing_keeps_constants_and_lines() -> None:
    np.testing.assert_allclose(plots.smoothed([3.0] * 20, 7), 3.0)
    np.testing.assert_allclose(plots.smoothed(list(range(20)), 7), np.arange(20))  # it does not lag behind
    np.testing.assert_allclose(plots.smoothed([1.0, math.nan, 3.0], 3), [1, 2, 3])
    assert np.isnan(plots.smoothed([math.nan], 3)[0])


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        loss_curve(TRAINING, [], {}, tmp_path / "x.gif")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        loss_curve(TRAINING, [], {}, tmp_path / "none" / "x.png")
    with pytest.raises(ValueError, match="at least one loss"):
        loss_curve([], [], {}, tmp_path / "x.png")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad-seq\[viz\]'"):
        loss_curve(TRAINING, [], {}, tmp_path / "x.png")


def test_pyplot_is_not_touched_and_matplotlib_comes_late(tmp_path: Path) -> None:
    program = (
        "import sys, tinygrad_seq.viz as viz\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"viz.loss_curve([(1, 2.0), (2, 1.0)], [], {{}}, {str(tmp_path / 'x.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
