"""Curves and histograms of training: gradients through time, learning rates, parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import names
from .plots import (
    BLACK,
    BLUE,
    LOOKS,
    checked_names,
    checked_path,
    curve,
    head,
    legend,
    not_finite,
    numbers,
    panels,
    printable,
    save_figure,
)

MOST_PARAMETERS = 48  # in one picture
CURVES = "curves, which can be told apart"


def gradient_plot(
    gradients: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    label: str = "norm of the gradient",
    title: str | None = None,
) -> Path:
    """Draw how large a gradient is at each time step, a curve for each architecture or weight, on a log scale.

    What is exactly 0 has no place on the scale: the curve has a gap there. What is infinite or NaN is marked above.

    Args:
        gradients: {name: (T, …) gradients}, whose norm over all other axes is drawn, or (T,) norms: what
            `ts.explain_grad` gives, or ∂L/∂x with time as its first axis.
        path: a file ending in .png, .svg or .pdf.
        label: of the vertical axis; what stands between two $ is a formula, as matplotlib writes them.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no dictionary of numbers.
        ValueError: for no curve or more than can be told apart, a wrong shape, or an unknown suffix.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> gru = ts.nn.GRU(3, 5)
    >>> out, h_n = gru(ts.tensor([[[1.0, 2.0, 3.0]] * 4]))
    >>> parts = {name: ts.explain_grad(h_n.sum(), p) for name, p in gru.named_parameters()}  # each (4, …)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.gradient_plot(parts, f"{folder}/parts.png").stat().st_size > 1000
    True
    """
    file = checked_path("gradient_plot", path)
    checked_names("gradient_plot", gradients, len(LOOKS), CURVES)
    norms = {}
    for name, gradient in gradients.items():
        g = numbers("gradient_plot", name, gradient)
        if not g.ndim or not g.size:
            raise ValueError(f"gradient_plot: expected {name} (T, …), a gradient for each time step, got {g.shape}")
        norms[name] = np.linalg.norm(g.reshape(len(g), -1), axis=1)
    figure, (axes,) = panels(1, width=7, height=4.2)
    lines = []
    for k, (name, norm) in enumerate(norms.items()):
        lines += _on_a_log_scale(axes, k, name, np.arange(1, len(norm) + 1), norm)
    axes.set_xlim(0.5, max(map(len, norms.values())) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="time step t", ylabel=printable(label))
    legend(axes, lines)
    head(figure, title)
    return save_figure(figure, file)


def singular_value_plot(values: Mapping[str, Any], path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    r"""Draw how much ∏ ∂s_t/∂s_{t-1} stretches a gradient at most, against how far it goes back in time.

    Below the line at 1 it vanishes, above it may explode. Of several sequences the median is the curve, and the band
    reaches from the least to the largest. What is infinite or NaN in one of them is marked above.

    Args:
        values: {name: (T, B) or (T,) numbers}, as `ts.train.largest_singular_values` gives them: t = 1 … T.
        path: a file ending in .png, .svg or .pdf.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no dictionary of numbers.
        ValueError: for no curve or more than can be told apart, a wrong shape, or an unknown suffix.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> cell = ts.nn.RNNCell(3, 4)
    >>> start = ts.ops.RNNState(ts.tensor(np.zeros((2, 4), "float32")))
    >>> jacobians = ts.train.state_jacobians(cell.step, start, ts.tensor(np.ones((2, 9, 3), "float32")))
    >>> values = {"tanh RNN": ts.train.largest_singular_values(jacobians)}  # (9, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.singular_value_plot(values, f"{folder}/values.png").stat().st_size > 1000
    True
    """
    file = checked_path("singular_value_plot", path)
    checked_names("singular_value_plot", values, len(LOOKS), CURVES)
    figure, (axes,) = panels(1, width=7, height=4.2)
    axes.axhline(1, color=BLACK, linewidth=0.9)
    lines = []
    for k, (name, value) in enumerate(values.items()):
        array = numbers("singular_value_plot", name, value)
        if array.ndim not in (1, 2) or not array.size:
            raise ValueError(f"singular_value_plot: expected {name} (T,) or (T, B), got {array.shape}")
        back = array.reshape(len(array), -1)[::-1]
        steps = np.arange(len(back))
        if back.shape[1] > 1:
            shown = np.where(np.isfinite(back) & (back > 0), back, np.nan)
            axes.fill_between(steps, shown.min(1), shown.max(1), color=LOOKS[k]["color"], alpha=0.18, linewidth=0)
        median = np.where(np.isfinite(back).all(1), np.median(back, 1), np.nan)
        lines += _on_a_log_scale(axes, k, name, steps, median)
    axes.set(xlabel="steps back in time, T - t", ylabel=r"largest singular value of $\partial s_T/\partial s_t$")
    legend(axes, lines)
    head(figure, title)
    return save_figure(figure, file)


def schedule_plot(
    schedules: Mapping[str, Callable[[int], float]],
    steps: int,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> Path:
    """Draw learning rates over the steps of a training.

    Args:
        schedules: {name: a function from the step 0, 1, … to the rate}, as `ts.optim.schedules` has them.
        steps: how many to draw.
        path: a file ending in .png, .svg or .pdf.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no dictionary of functions.
        ValueError: for no step, no curve or more than can be told apart, or an unknown suffix.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> from tinygrad_seq.optim import schedules
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ts.viz.schedule_plot({"Noam": schedules.noam(512, warmup=100)}, 1000, f"{folder}/rate.png")
    ...     path.stat().st_size > 1000
    True
    """
    file = checked_path("schedule_plot", path)
    checked_names("schedule_plot", schedules, len(LOOKS), CURVES)
    if steps < 1:
        raise ValueError(f"schedule_plot: steps is at least 1, got {steps}")
    for name, schedule in schedules.items():
        if not callable(schedule):
            raise TypeError(
                f"schedule_plot: expected {name} to be a function of the step, got {type(schedule).__name__}"
            )
    at = np.unique(np.linspace(0, steps - 1, 1000).astype(int)).tolist()
    figure, (axes,) = panels(1, width=7, height=4.2)
    lines = [
        curve(axes, at, [schedule(step) for step in at], name, **look)
        for look, (name, schedule) in zip(LOOKS, schedules.items(), strict=False)
    ]
    axes.set(xlabel="training step", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    legend(axes, lines)
    head(figure, title)
    return save_figure(figure, file)


def comparison_plot(
    runs: Mapping[str, Sequence[tuple[int, float]]],
    path: str | os.PathLike[str],
    *,
    label: str = "loss",
    title: str | None = None,
) -> Path:
    """Draw how a metric went in several runs, a curve for each; of more than can be told apart the first seven.

    Args:
        runs: {name: (step, value) of each evaluation}.
        path: a file ending in .png, .svg or .pdf.
        label: of the vertical axis.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        ValueError: for no run, one without an evaluation, or an unknown suffix.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> runs = {"lstm": [(100, 2.1), (200, 1.9)], "gru": [(100, 2.2), (200, 1.8)]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.comparison_plot(runs, f"{folder}/runs.png").stat().st_size > 1000
    True
    """
    file = checked_path("comparison_plot", path)
    drawn = dict(list(runs.items())[: len(LOOKS)])
    checked_names("comparison_plot", drawn, len(LOOKS), CURVES)
    figure, (axes,) = panels(1, width=7, height=4.2)
    lines = []
    for look, (name, values) in zip(LOOKS, drawn.items(), strict=False):
        if not len(values):
            raise ValueError(f"comparison_plot: expected at least one evaluation of {name}, got none")
        steps, metric = zip(*values, strict=True)
        lines.append(curve(axes, steps, metric, name, **look))
        lines += not_finite(axes, name, steps, metric, **look)
    axes.set(xlabel="training step")
    axes.set_ylabel(printable(label), parse_math=False)
    axes.set_xlim(left=0)
    legend(axes, lines)
    head(figure, title)
    return save_figure(figure, file)


def parameter_histogram(
    parameters: Mapping[str, Any], path: str | os.PathLike[str], *, title: str | None = None
) -> Path:
    """Draw how the values of each parameter are spread, with their mean and standard deviation.

    Args:
        parameters: {name: a tensor of any shape}, such as `dict(model.named_parameters())`, or their gradients; at most
            48.
        path: a file ending in .png, .svg or .pdf.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no dictionary of numbers; a gradient that is None has none.
        ValueError: for no parameter or too many for one picture, an empty one, or an unknown suffix.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> parameters = dict(ts.nn.LSTM(3, 5).named_parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.parameter_histogram(parameters, f"{folder}/parameters.png").stat().st_size > 1000
    True
    """
    file = checked_path("parameter_histogram", path)
    checked_names("parameter_histogram", parameters, MOST_PARAMETERS, "parameters")
    across = min(4, len(parameters))
    figure, axes = panels(across, -(-len(parameters) // across), width=3.2, height=2.4)
    for each in axes[len(parameters) :]:
        each.remove()
    for k, (each, (name, parameter)) in enumerate(zip(axes, parameters.items(), strict=False)):
        values = numbers("parameter_histogram", name, parameter)
        if not values.size:
            raise ValueError(f"parameter_histogram: {name} has no values, its shape is {values.shape}")
        finite = values[np.isfinite(values)]
        each.hist(finite, bins=_edges(finite), color=BLUE, edgecolor="white", linewidth=0.3)
        each.yaxis.get_major_locator().set_params(integer=True)
        each.set_title(_heading(name, values.shape), fontsize=9, parse_math=False)
        notes = [f"mean {finite.mean():.2g}", f"std {finite.std():.2g}"] if finite.size else []
        notes += [f"{values.size - finite.size} not finite"] if finite.size < values.size else []
        each.set_xlabel("value: " + ", ".join(notes), fontsize=9)
        if k % across == 0:
            each.set_ylabel("number of values")
    head(figure, title)
    return save_figure(figure, file)


def _on_a_log_scale(axes: Any, k: int, name: str, x: np.ndarray, y: np.ndarray) -> list[Any]:
    """The k-th curve, without what has no place on a log scale, and marks above it where it is not finite."""
    if (y > 0).any():  # else there is no power of ten to write
        axes.set_yscale("log")
    line = curve(axes, x.tolist(), np.where(np.isfinite(y) & (y > 0), y, np.nan).tolist(), name, **LOOKS[k])
    return [line, *not_finite(axes, name, x, y, **LOOKS[k])]


def _edges(values: np.ndarray) -> np.ndarray:
    """The edges of a histogram's bars; what is all but one value stands in the middle."""
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)) + 1e-300:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    return np.linspace(low, high, 1 + min(40, max(5, int(values.size**0.5))))


def _heading(name: str, shape: tuple[int, ...]) -> str:
    """A parameter's name, of which the end says most, and its shape; on two lines where they are long."""
    called = names.clean(name, 10_000)
    called = called if len(called) <= 40 else "…" + called[-39:]
    size = f"({' × '.join(map(str, shape))})" if shape else ""
    return f"{called}{'  ' if len(called) + len(size) < 38 else chr(10)}{size}".rstrip()
