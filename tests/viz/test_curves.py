"""Curves through time and training, and histograms: what is on them, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.optim import schedules
from tinygrad_seq.viz import curves, gradient_plot, parameter_histogram, plots, schedule_plot, singular_value_plot

pytest.importorskip("matplotlib")
Many = dict[str, Any]


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures, as they are before they are written."""
    figures: list[Any] = []
    monkeypatch.setattr(curves, "save_figure", lambda made, path: figures.append(made) or path)
    return figures


def lines(figure: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_child")}


def entries(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_curves_are_told_apart_without_colour(caught: list[Any], tmp_path: Path) -> None:
    names = [f"curve {k}" for k in range(len(plots.LOOKS))]
    gradient_plot({name: np.arange(1.0, 4.0) for name in names}, tmp_path / "x.png")
    drawn = lines(caught[0])
    assert list(drawn) == names
    for what in ("color", "linestyle", "marker"):
        assert len({repr(look[what]) for look in plots.LOOKS}) == len(plots.LOOKS)
    assert [line.get_marker() for line in drawn.values()] == [look["marker"] for look in plots.LOOKS]


def test_gradients_and_norms(caught: list[Any], tmp_path: Path) -> None:
    gradient = np.random.default_rng(0).standard_normal((4, 2, 3))
    gradient[1] = 0
    path = gradient_plot(
        {"W": ts.tensor(gradient, requires_grad=True), "norms": [1.0, 2.0]}, tmp_path / "x.png", label="size", title="T"
    )
    assert path == tmp_path / "x.png"
    axes, drawn = caught[0].axes[0], lines(caught[0])
    np.testing.assert_array_equal(drawn["W"].get_xdata(), [1, 2, 3, 4])
    expected = np.sqrt((gradient**2).sum((1, 2)))
    expected[1] = np.nan  # a gap
    np.testing.assert_allclose(drawn["W"].get_ydata(), expected)
    np.testing.assert_array_equal(drawn["norms"].get_ydata(), [1, 2])
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "time step t" and axes.get_ylabel() == "size"
    assert caught[0].get_suptitle() == "T"


def test_what_is_not_finite_is_marked_above_its_step(caught: list[Any], tmp_path: Path) -> None:
    broken = {"a": [np.inf, 1.0, np.nan, 4.0], "b": [1.0, 2.0, 3.0, 4.0], "c": [np.nan] * 4}
    gradient_plot(broken, tmp_path / "x.png")
    drawn = lines(caught[0])
    assert entries(caught[0]) == list(drawn) == ["a", "a: not finite", "b", "c", "c: not finite"]
    np.testing.assert_array_equal(drawn["a"].get_ydata(), [np.nan, 1, np.nan, 4])
    for name, steps in (("a", [1, 3]), ("c", [1, 2, 3, 4])):
        marks = drawn[f"{name}: not finite"]
        np.testing.assert_array_equal(marks.get_xdata(), steps)
        assert marks.get_marker() == drawn[name].get_marker() and marks.get_linestyle() == "None"
    heights = [set(drawn[f"{name}: not finite"].get_ydata()) for name in "ac"]
    assert not heights[0] & heights[1] and all(1 < y < 1.1 for height in heights for y in height)

    values = np.array([[1.0, np.inf], [2.0, 3.0], [1.0, 1.0]])  # t = 1, 2, 3
    singular_value_plot({"RNN": values}, tmp_path / "x.png")
    drawn = lines(caught[1])
    np.testing.assert_array_equal(drawn["RNN"].get_ydata(), [1, 2.5, np.nan])
    np.testing.assert_array_equal(drawn["RNN: not finite"].get_xdata(), [2])
    for suffix in ("svg", "png"):
        gradient_plot({"a": np.full(3, np.nan)}, tmp_path / f"x.{suffix}")


def test_a_name_may_begin_with_an_underscore(caught: list[Any], tmp_path: Path) -> None:
    names = ["_hidden", "__", "_child0"]
    gradient_plot({name: np.ones(3) for name in names}, tmp_path / "x.png")
    singular_value_plot({name: np.ones(3) for name in names}, tmp_path / "x.png")
    schedule_plot({name: schedules.constant(0.1) for name in names}, 10, tmp_path / "x.png")
    assert [entries(figure) for figure in caught] == [names] * 3


def test_a_gradient_that_is_nowhere_is_drawn_too(tmp_path: Path) -> None:
    assert gradient_plot({"W": np.zeros((3, 2))}, tmp_path / "x.png").stat().st_size > 4000


def test_what_explain_grad_gives(caught: list[Any], tmp_path: Path) -> None:
    gru = ts.nn.GRU(3, 5)
    x = ts.tensor(np.random.default_rng(0).standard_normal((2, 6, 3)).astype("float32"))
    parts = ts.explain_grad(gru(x)[1].sum(), gru.weight_hh_l0)
    gradient_plot({"weight_hh_l0": parts}, tmp_path / "x.png")
    drawn = lines(caught[0])["weight_hh_l0"].get_ydata()
    np.testing.assert_allclose(drawn[1:], np.linalg.norm(parts.numpy().reshape(6, -1), axis=1)[1:], rtol=1e-6)
    assert np.isnan(drawn[0])  # h_0 = 0


def test_singular_values(caught: list[Any], tmp_path: Path) -> None:
    values = np.array([[1e-4, 4e-4, 3e-4], [0.1, 0.2, 0.4], [1, 1, 1]])
    singular_value_plot({"RNN": values, "LSTM": values[:, 0]}, tmp_path / "x.png")
    axes, drawn = caught[0].axes[0], lines(caught[0])
    np.testing.assert_array_equal(drawn["RNN"].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(drawn["RNN"].get_ydata(), [1, 0.2, 3e-4])  # backwards, the median
    np.testing.assert_array_equal(drawn["LSTM"].get_ydata(), [1, 0.1, 1e-4])
    (band,) = axes.collections
    np.testing.assert_array_equal(np.ptp(band.get_paths()[0].vertices[:, 1]), 1 - 1e-4)
    assert axes.get_yscale() == "log" and "T - t" in axes.get_xlabel() and "singular value" in axes.get_ylabel()
    assert [list(line.get_ydata()) for line in axes.lines if line not in drawn.values()] == [[1, 1]]


def test_schedules(caught: list[Any], tmp_path: Path) -> None:
    noam, steps = schedules.noam(64, warmup=30), schedules.step_decay(0.1, every=10)
    schedule_plot({"Noam": noam, "steps": steps}, 100, tmp_path / "x.png")
    axes, drawn = caught[0].axes[0], lines(caught[0])
    np.testing.assert_array_equal(drawn["Noam"].get_xdata(), np.arange(100))
    np.testing.assert_array_equal(drawn["steps"].get_ydata(), [steps(k) for k in range(100)])
    assert axes.get_xlabel() == "training step" and axes.get_ylabel() == "learning rate"
    schedule_plot({"Noam": noam}, 1_000_000, tmp_path / "x.png")
    assert len(lines(caught[1])["Noam"].get_xdata()) == 1000


def test_histograms(caught: list[Any], tmp_path: Path) -> None:
    lstm = ts.nn.LSTM(3, 5)
    parameters = dict(lstm.named_parameters()) | {"broken": np.array([1.0, np.nan]), "scalar": np.array(2.0)}
    parameter_histogram(parameters, tmp_path / "x.png", title="T")
    axes = caught[0].axes
    assert [each.get_title() for each in axes] == [
        "weight_ih_l0  (20 × 3)",
        "weight_hh_l0  (20 × 5)",
        "bias_ih_l0  (20)",
        "bias_hh_l0  (20)",
        "broken  (2)",
        "scalar",
    ]
    counts = [sum(patch.get_height() for patch in each.patches) for each in axes]
    assert counts == [60, 100, 20, 20, 1, 1]
    W = lstm.weight_ih_l0.numpy()
    assert axes[0].get_xlabel() == f"value: mean {W.mean():.2g}, std {W.std():.2g}"
    assert axes[4].get_xlabel().endswith("1 not finite") and axes[0].get_ylabel() == "number of values"


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e20, -1e30, 1e-30, 16777216.0])
def test_a_histogram_of_one_value_has_one_bar_inside(value: float, caught: list[Any], tmp_path: Path) -> None:
    for values in (np.full(9, value), np.array([value, np.nextafter(value, np.inf)])):
        parameter_histogram({"b": values}, tmp_path / "x.png")
        bars = [patch for patch in caught.pop().axes[0].patches if patch.get_height()]
        assert [bar.get_height() for bar in bars] == [len(values)]
        assert bars[0].get_x() <= value <= bars[0].get_x() + bars[0].get_width() and bars[0].get_width() > 0


def test_the_end_of_a_long_name_is_shown(caught: list[Any], tmp_path: Path) -> None:
    parameter_histogram({"encoder.layers.11.self_attn.in_proj_weight": np.ones((3, 4))}, tmp_path / "x.png")
    assert caught[0].axes[0].get_title() == "…oder.layers.11.self_attn.in_proj_weight\n(3 × 4)"


DRAWN: dict[str, tuple[Callable[..., Path], Many]] = {
    "gradient_plot": (gradient_plot, {"a": np.ones(3)}),
    "singular_value_plot": (singular_value_plot, {"a": np.ones((3, 2))}),
    "schedule_plot": (lambda many, path: schedule_plot(many, 10, path), {"a": schedules.constant(0.1)}),
    "parameter_histogram": (parameter_histogram, {"a": np.ones(3)}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_files_and_errors_of_all(name: str, tmp_path: Path) -> None:
    draw, many = DRAWN[name]
    for suffix in ("png", "svg", "pdf"):
        assert draw(many, tmp_path / f"x.{suffix}").stat().st_size > 3000
    with pytest.raises(ValueError, match=rf"{name}: 'x.gif' does not end in \.png, \.svg or \.pdf"):
        draw(many, tmp_path / "x.gif")
    with pytest.raises(FileNotFoundError, match=f"{name}: the folder .* does not exist"):
        draw(many, tmp_path / "none" / "x.png")
    with pytest.raises(ValueError, match=rf"{name}: expected 1 to \d+ .*, got 0"):
        draw({}, tmp_path / "x.png")
    with pytest.raises(ValueError, match=rf"{name}: expected 1 to \d+ .*, got 99"):
        draw({str(k): many["a"] for k in range(99)}, tmp_path / "x.png")
    with pytest.raises(TypeError, match=rf"{name}: expected a dictionary, \{{name: values\}}, got list"):
        draw([many["a"]], tmp_path / "x.png")
    for wrong in ("text", None, [[1.0], [1.0, 2.0]], np.array([1j]), object()):
        with pytest.raises(TypeError, match=f"{name}: expected a to be a"):
            draw({"a": wrong}, tmp_path / "x.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pdf", "x.png", "x.svg"]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match=r"expected W \(T, …\), a gradient for each time step, got \(\)"):
        gradient_plot({"W": np.array(1.0)}, path)
    with pytest.raises(ValueError, match=r"expected RNN \(T,\) or \(T, B\), got \(2, 1, 4, 4\)"):
        singular_value_plot({"RNN": np.ones((2, 1, 4, 4))}, path)
    with pytest.raises(ValueError, match="steps is at least 1, got 0"):
        schedule_plot({"a": schedules.constant(0.1)}, 0, path)
    with pytest.raises(ValueError, match=r"W has no values, its shape is \(0, 3\)"):
        parameter_histogram({"W": np.ones((0, 3))}, path)
    with pytest.raises(TypeError, match="expected W to be .* got None: leave out what has no gradient"):
        parameter_histogram({"W": ts.tensor([1.0], requires_grad=True).grad}, path)
