"""Plots: what is on them, and that they touch nothing else."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.viz import loss_curve, plots

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
