"""Curves and histograms of training: gradients through time, learning rates, parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .plots import BLACK, BLUE, LOOKS, checked_path, curve, numbers, panels, save_figure

MOST_PARAMETERS = 48  # in one picture


def gradient_plot(
    gradients: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    label: str = "norm of the gradient",
    title: str | None = None,
) -> Path:
    """Draw how large a gradient is at each time step, a curve for each architecture or weight, on a log scale.

    A gradient of exactly 0 has no place on the scale: the curve has a gap there.

    Args:
        gradients: {name: (T, …) gradients}, whose norm over all other axes is drawn, or (T,) norms: what
            `ts.explain_grad` gives, or ∂L/∂x with time as its first axis.
        path: a file ending in .png, .svg or .pdf.
        label: of the vertical axis.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
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
    _check_count("gradient_plot", gradients)
    norms = {}
    for name, gradient in gradients.items():
        g = numbers(gradient)
        if not g.ndim or not g.size:
            raise ValueError(f"gradient_plot: expected {name} (T, …), a gradient for each time step, got {g.shape}")
        norms[name] = np.linalg.norm(g.reshape(len(g), -1).astype(np.float64), axis=1)
    figure, (axes,) = panels(1, width=7, height=4.2)
    for look, (name, norm) in zip(LOOKS, norms.items(), strict=False):
        curve(axes, range(1, len(norm) + 1), list(np.where(norm > 0, norm, np.nan)), name, **look)
    _time_axis(axes, max(map(len, norms.values())))
    if any((norm > 0).any() for norm in norms.values()):
        axes.set_yscale("log")
    axes.set(xlabel="time step t", ylabel=label)
    return _finished(figure, axes, title, file)


def singular_value_plot(values: Mapping[str, Any], path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    r"""Draw how much ∏ ∂s_t/∂s_{t-1} stretches a gradient at most, against how far it goes back in time.

    Below the line at 1 it vanishes, above it may explode. Of several sequences the median is the curve, and the band
    reaches from the least to the largest.

    Args:
        values: {name: (T, B) or (T,) numbers}, as `ts.train.largest_singular_values` gives them: t = 1 … T.
        path: a file ending in .png, .svg or .pdf.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
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
    _check_count("singular_value_plot", values)
    figure, (axes,) = panels(1, width=7, height=4.2)
    axes.axhline(1, color=BLACK, linewidth=0.9)
    for look, (name, value) in zip(LOOKS, values.items(), strict=False):
        array = numbers(value).astype(np.float64)
        if array.ndim not in (1, 2) or not array.size:
            raise ValueError(f"singular_value_plot: expected {name} (T,) or (T, B), got {array.shape}")
        back = array.reshape(len(array), -1)[::-1]
        back = np.where(back > 0, back, np.nan)
        steps = range(len(back))
        if back.shape[1] > 1:
            axes.fill_between(steps, back.min(1), back.max(1), color=look["color"], alpha=0.18, linewidth=0)
        curve(axes, steps, list(np.median(back, 1)), name, **look)
    axes.set(
        yscale="log",
        xlabel="steps back in time, T - t",
        ylabel=r"largest singular value of $\partial s_T/\partial s_t$",
    )
    return _finished(figure, axes, title, file)


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
    _check_count("schedule_plot", schedules)
    if steps < 1:
        raise ValueError(f"schedule_plot: steps is at least 1, got {steps}")
    at = np.unique(np.linspace(0, steps - 1, 1000).astype(int)).tolist()
    figure, (axes,) = panels(1, width=7, height=4.2)
    for look, (name, schedule) in zip(LOOKS, schedules.items(), strict=False):
        curve(axes, at, [schedule(step) for step in at], name, **look)
    axes.set(xlabel="training step", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    return _finished(figure, axes, title, file)


def parameter_histogram(
    parameters: Mapping[str, Any], path: str | os.PathLike[str], *, title: str | None = None
) -> Path:
    """Draw how the values of each parameter are spread, with their mean and standard deviation.

    Args:
        parameters: {name: a tensor of any shape}, such as `dict(model.named_parameters())`, or their gradients.
        path: a file ending in .png, .svg or .pdf.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
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
    if not 1 <= len(parameters) <= MOST_PARAMETERS:
        raise ValueError(
            f"parameter_histogram: expected 1 to {MOST_PARAMETERS} parameters, got {len(parameters)}: choose some"
        )
    across = min(4, len(parameters))
    figure, axes = panels(across, -(-len(parameters) // across), width=3.2, height=2.3)
    for each in axes[len(parameters) :]:
        each.remove()
    for k, (each, (name, parameter)) in enumerate(zip(axes, parameters.items(), strict=False)):
        values = numbers(parameter).astype(np.float64).ravel()
        finite = values[np.isfinite(values)]
        if not values.size:
            raise ValueError(f"parameter_histogram: {name} has no values, its shape is {numbers(parameter).shape}")
        each.hist(finite, bins=min(40, max(5, int(finite.size**0.5))), color=BLUE, edgecolor="white", linewidth=0.3)
        shape = " × ".join(map(str, numbers(parameter).shape))
        each.yaxis.get_major_locator().set_params(integer=True)
        each.set_title(f"{name}  ({shape})" if shape else name, fontsize=9)
        notes = [f"mean {finite.mean():.2g}", f"std {finite.std():.2g}"] if finite.size else []
        notes += [f"{values.size - finite.size} not finite"] if finite.size < values.size else []
        each.set_xlabel("value: " + ", ".join(notes), fontsize=9)
        if k % across == 0:
            each.set_ylabel("number of values")
    if title:
        figure.suptitle(title)
    return save_figure(figure, file)


def _check_count(what: str, curves: Mapping[str, Any]) -> None:
    if not 1 <= len(curves) <= len(LOOKS):
        raise ValueError(f"{what}: expected 1 to {len(LOOKS)} curves, which can be told apart, got {len(curves)}")


def _time_axis(axes: Any, T: int) -> None:
    axes.set_xlim(0.5, T + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _finished(figure: Any, axes: Any, title: str | None, file: Path) -> Path:
    """The legend above all curves, and the title above that."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    if title:
        figure.suptitle(title)
    return save_figure(figure, file)
