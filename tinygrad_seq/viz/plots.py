"""What all plots share: colours that colour-blind eyes tell apart, figures, files; and the curve of a loss."""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Tensor
from . import names
from .value import write

# Okabe and Ito, 2008: told apart by colour-blind eyes.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
LONGEST = 24  # characters of what stands on an axis
ROW = 0.035  # of marks above a plot, as a part of its height
# One for each curve of a plot. In print, without colour, the marker and the line tell them apart.
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": RED, "marker": "^", "linestyle": "--"},
    {"color": GREEN, "marker": "D", "linestyle": "-."},
    {"color": ORANGE, "marker": "s", "linestyle": ":"},
    {"color": PURPLE, "marker": "v", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": BLACK, "marker": "x", "linestyle": (0, (1, 3))},
    {"color": SKY, "marker": "P", "linestyle": (0, (8, 3))},
)


def loss_curve(
    training: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    baselines: Mapping[str, float],
    path: str | os.PathLike[str],
    *,
    unit: str = "character",
    title: str | None = None,
) -> Path:
    """Draw the losses of a run, with what it has to beat as lines across. What is infinite or NaN is marked above.

    Args:
        training: (step, loss in nats); drawn light, and smoothed over it.
        validation: (step, loss in nats).
        baselines: {name: loss in nats}, each a labelled line.
        path: a file ending in .png, .svg or .pdf.
        unit: what one prediction is of, for the axis.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        ValueError: where there is nothing to draw, or the suffix is not known.
        FileNotFoundError: where the folder does not exist.

    >>> import pathlib, tempfile
    >>> import tinygrad_seq as ts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ts.viz.loss_curve([(1, 4.0), (2, 3.0)], [(2, 3.1)], {"unigram": 3.2}, f"{folder}/loss.png")
    ...     pathlib.Path(path).stat().st_size > 1000
    True
    """
    file = checked_path("loss_curve", path)
    if not len(training) and not len(validation):
        raise ValueError("loss_curve: expected at least one loss, got none")
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    curves = _curves(axes, training, validation)
    last = max(step for step, _ in (*training, *validation))
    axes.set_xlim(0, last * 1.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    low, high = _limits([loss for _, loss in training], [loss for _, loss in validation], baselines.values())
    axes.set_ylim(low, high)
    _baselines(axes, baselines, (high - low) / 24)
    axes.set_xlabel("training step")
    unit = names.clean(unit, LONGEST)
    axes.set_ylabel(f"loss (nats per {unit})", parse_math=False)
    bits = axes.secondary_yaxis("right", functions=(lambda nats: nats / math.log(2), lambda b: b * math.log(2)))
    bits.set_ylabel(f"bits per {unit}", parse_math=False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["top"].set_visible(False)
    legend(axes, curves)
    head(figure, title)
    return save_figure(figure, file)


def smoothed(losses: Sequence[float], span: int) -> np.ndarray:
    """The mean over `span` values around each; over fewer near the ends, as many before as after. What is not finite
    (a step that diverged) does not count."""
    values = np.asarray(losses, float)
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    at = np.arange(len(values))
    half = np.minimum(np.minimum(at, at[::-1]), span // 2)
    first, last = at - half, at + half + 1
    n = counts[last] - counts[first]
    return np.where(n > 0, (sums[last] - sums[first]) / np.maximum(n, 1), np.nan)


def _curves(axes: Any, training: Sequence[tuple[int, float]], validation: Sequence[tuple[int, float]]) -> list[Any]:
    lines = []
    if len(training):
        steps, losses = zip(*training, strict=True)
        lines += axes.plot(steps, losses, color=SKY, linewidth=0.8, alpha=0.6, label="training, each batch")
        if len(losses) > 2:
            span = max(2, len(losses) // 30)
            end = len(losses) - span // 4  # the mean of few values at the end would not be smooth
            smooth = smoothed(losses, span)[:end]
            lines += axes.plot(steps[:end], smooth, color=BLUE, linewidth=1.8, label="training, smoothed")
        lines += not_finite(axes, "training", steps, losses, color=BLUE, marker="x")
    if len(validation):
        steps, losses = zip(*validation, strict=True)
        lines += axes.plot(steps, losses, color=RED, linewidth=1.8, marker="o", markersize=5, label="validation")
        lines += not_finite(axes, "validation", steps, losses, color=RED, marker="o")
    return lines


def _baselines(axes: Any, baselines: Mapping[str, float], room: float) -> None:
    """Lines across, and their names on them, where no other name stands: each needs so much room, in nats."""
    styles = ["--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
    taken: list[tuple[int, float]] = []
    for k, (name, loss) in enumerate(baselines.items()):
        axes.axhline(loss, color="#444444", linewidth=1.1, linestyle=styles[k % len(styles)], zorder=1)
        under = any(0 < other - loss < room for other in baselines.values())
        middle = loss + room / 2 * (-1 if under else 1)
        column = next(n for n in count() if all(n != other or abs(middle - at) >= room for other, at in taken))
        taken.append((column, middle))
        axes.annotate(
            f"{names.clean(name, LONGEST)}: {loss:.3f}",
            (0.99 - 0.3 * column, loss),
            xycoords=("axes fraction", "data"),
            xytext=(0, -3 if under else 3),
            textcoords="offset points",
            fontsize=9,
            color="#222222",
            ha="right",
            va="top" if under else "bottom",
            zorder=5,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            parse_math=False,
        )


def _limits(training: Sequence[float], validation: Sequence[float], baselines: Any) -> tuple[float, float]:
    """What to show: everything but rare peaks, which would press the rest flat."""
    finite = [loss for loss in training if math.isfinite(loss)]
    rest = [loss for loss in (*validation, *baselines) if math.isfinite(loss)]
    if not finite and not rest:
        return 0.0, 1.0
    high = max([*rest, *([float(np.percentile(finite, 99.9))] if finite else [])])
    low = min(*finite, *rest) if len(finite) + len(rest) > 1 else high - 1
    room = (high - low or 1) * 0.08
    return low - room, high + room


# -- what all plots share


def checked_path(what: str, path: str | os.PathLike[str]) -> Path:
    """Where the plot goes, looked at before anything is drawn."""
    file = Path(path)
    if file.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{what}: {file.name!r} does not end in .png, .svg or .pdf")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{what}: the folder {str(file.parent)!r} does not exist: make it first")
    return file


def checked_names(what: str, values: Any, most: int, things: str) -> None:
    """That there is a dictionary of what is to be drawn, and that it has a place in one picture."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{what}: expected a dictionary, {{name: values}}, got {type(values).__name__}")
    if not 1 <= len(values) <= most:
        raise ValueError(f"{what}: expected 1 to {most} {things}, got {len(values)}: choose some")


def numbers(what: str, name: str, x: Any) -> np.ndarray:
    """The values of a tensor, an array or a list, on the host.

    Raises:
        TypeError: for what has none.
    """
    try:
        array = np.asarray(x.detach().numpy() if isinstance(x, Tensor) else x)
        if array.dtype.kind in "biuf":
            return array.astype(np.float64)
        came = "no numbers" if array.dtype.kind == "O" else f"values of {array.dtype}"
    except (TypeError, ValueError) as error:  # a list of lists of several lengths
        came = str(error)
    came = "None: leave out what has no gradient" if x is None else came
    raise TypeError(f"{what}: expected {name} to be a tensor, an array or a list of numbers, got {came}")


def printable(text: object) -> str:
    r"""Text as every format can hold it: what has no sign of its own shows as Python writes it.

    >>> print(printable("a\tb\x07"))
    a b\x07
    """
    return "".join(
        c if c.isprintable() or c == "\n" else " " if c.isspace() else c.encode("unicode_escape").decode()
        for c in str(text)
    )


def visible(token: object) -> str:
    r"""A token as an axis shows it: on one line, and no character is invisible.

    >>> print(visible("a b\n\x00"))
    a␣b⏎\x00
    """
    signs = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    shown = "".join(signs.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in str(token))
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def new_figure(width: float, height: float) -> Any:
    """A matplotlib Figure of its own, in inches: neither pyplot nor a window is touched.

    Raises:
        ImportError: naming the extra that brings matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'tinygrad-seq[viz]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(columns: int, rows: int = 1, *, width: float = 4.6, height: float = 3.8) -> tuple[Any, list[Any]]:
    """A figure of plots in a grid, row by row, each so many inches wide and high, with light lines across."""
    figure = new_figure(columns * width, rows * height)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(rows * columns)]
    for each in axes:
        each.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curve(axes: Any, x: Sequence[float], y: Sequence[float | None], label: str, **style: Any) -> Any:
    """A line with some ten markers; gaps where y is None."""
    values = [math.nan if each is None else each for each in y]
    (line,) = axes.plot(x, values, label=label, markersize=5, markevery=max(1, len(x) // 10), linewidth=1.6, **style)
    return line


def not_finite(axes: Any, name: str, x: Any, y: Any, **style: Any) -> list[Any]:
    """Marks above the plot, in a row of their own, where a curve is infinite or NaN; none where it is so nowhere."""
    broken = np.asarray(x)[~np.isfinite(np.asarray(y, float))]
    if not len(broken):
        return []
    height = np.full(len(broken), 1.02 + ROW * len(_marks(axes)))
    style |= {"linestyle": "none", "markersize": 5, "clip_on": False, "transform": axes.get_xaxis_transform()}
    return list(axes.plot(broken, height, label=f"{names.clean(name, 45)}: not finite", **style))


def _marks(axes: Any) -> list[Any]:
    return [line for line in axes.lines if line.get_transform() is axes.get_xaxis_transform()]


def legend(axes: Any, lines: Sequence[Any]) -> None:
    """The labels of lines above all curves, as they are: a $ is no formula, and a _ at the beginning hides none."""
    labels = [names.clean(line.get_label()) for line in lines]
    across = max(1, min(3, 90 // (max(map(len, labels)) + 8)))
    at = (0.5, 1 + ROW * len(_marks(axes)))
    box = axes.legend(lines, ["…"] * len(lines), loc="lower center", bbox_to_anchor=at, ncols=across, frameon=False)
    for text, label in zip(box.get_texts(), labels, strict=True):
        text.set(text=label, parse_math=False)


def head(figure: Any, title: str | None) -> None:
    """What stands above everything, if anything, on as many lines as it needs."""
    if title:
        across = int(figure.get_figwidth() / 0.1)  # characters
        lines = [textwrap.fill(line, across) for line in printable(title).split("\n")]
        figure.suptitle("\n".join(lines), parse_math=False)


def shades() -> Any:
    """A colour map from white to dark blue whose lightness falls evenly, so that equal steps look equal, in print too.

    It is matplotlib's Blues, passed through at another speed.
    """
    from matplotlib import colormaps

    return _evenly(colormaps["Blues"](np.linspace(0, 1, 256))[:, :3])


def both_sides() -> Any:
    """A colour map for values around 0: orange and light below, grey at 0, purple and dark above.

    A map that is white at 0 and dark on both sides loses the sign in print.
    """
    stops = np.array([[1.0, 0.8, 0.1], [0.5, 0.5, 0.5], [0.3, 0.0, 0.55]])
    return _evenly(np.stack([np.interp(np.linspace(0, 2, 256), range(3), part) for part in stops.T], 1))


def _evenly(colours: np.ndarray) -> Any:
    """A colour map through these colours, from light to dark, in equal steps of lightness."""
    from matplotlib.colors import ListedColormap

    lightness = lightness_of(colours)
    even = np.linspace(lightness[0], lightness[-1], 256)
    return ListedColormap(np.stack([np.interp(-even, -lightness, part) for part in colours.T], 1))


def lightness_of(colours: Any) -> np.ndarray:
    """L* of CIELAB, from 0 for black to 100 for white, of sRGB colours (…, 3) from 0 to 1."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance <= 216 / 24389, luminance * 24389 / 27, 116 * np.cbrt(luminance) - 16)


def heat_map(
    axes: Any,
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    *,
    most: int = 80,
    size: float = 8,
    **colours: Any,
) -> Any:
    """A matrix, dark where it is large, with a label for each row and each column: the image, for a colour bar.

    Args:
        values: (rows, columns), from 0 to 1 where `colours` does not say otherwise.
        rows, columns: texts; a space shows as ␣, a line break as ⏎.
        most: how many labels an axis has room for; of more, every second, third … is written.
        size: of the labels, in points.
        colours: vmin, vmax and cmap, matplotlib's.
    """
    image = axes.imshow(values, aspect="auto", **{"cmap": shades(), "vmin": 0, "vmax": 1, **colours})
    axes.grid(False)
    axes.tick_params(length=0)
    below, beside = ([visible(label) for label in labels] for labels in (columns, rows))
    for set_ticks, labels in ((axes.set_xticks, below), (axes.set_yticks, beside)):
        every = max(1, -(-len(labels) // most))
        set_ticks(range(0, len(labels), every), labels[::every], fontsize=size, parse_math=False)
    if max(map(len, below), default=0) > 1:
        axes.tick_params(axis="x", rotation=90)
    else:  # letters stand on one line
        axes.tick_params(axis="x", pad=11)
        for label in axes.get_xticklabels():
            label.set_va("baseline")
    axes.set_title(printable(title), fontsize=11, parse_math=False)
    return image


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure whole or not at all, in the format of the suffix."""
    return write(path, figure_bytes(figure, path.suffix[1:], 150))


def figure_bytes(figure: Any, form: str, dpi: float) -> bytes:
    """A figure as a file's bytes: the same ones each time, with no date, no version and no random name inside."""
    from matplotlib import rc_context

    empty = {"png": ["Software"], "svg": ["Date", "Creator"], "pdf": ["CreationDate", "Producer", "Creator"]}
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "tinygrad_seq"}):
        figure.savefig(buffer, format=form, dpi=dpi, facecolor="white", metadata=dict.fromkeys(empty[form]))
    return buffer.getvalue()
