"""What a model attended to, how its gates stood, and what it takes for what: matrices with names on the axes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import names
from .plots import both_sides, checked_names, checked_path, head, heat_map, new_figure, numbers, save_figure, visible

ACROSS = 4  # heads side by side
LONGEST = 200  # characters that one can read below a picture
MOST_GATES = 12  # below each other
MOST_COUNTS = 25  # classes whose counts are written
MOST_UNITS = 500  # of a gate: more than one to a row of pixels


def attention_plot(
    alpha: Any,
    path: str | os.PathLike[str],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str | None = None,
) -> Path:
    """Draw attention weights: all heads of a layer, or one alignment. Dark is where a query looks.

    Args:
        alpha: (S, T) weights from 0 to 1, a row for each query, a column for each key; (N, S, T) for N heads; what
            `ts.record()` gives for one sequence has a first axis of size 1 as well. Of a batch, take one: alpha[0].
        path: a file ending in .png, .svg or .pdf.
        rows, columns: the S queries' and the T keys' tokens.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: where the weights are no numbers.
        ValueError: where the shape and the tokens do not fit, a weight is not from 0 to 1, or the suffix is not known.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> tokens = ["the", "cat", "sat"]
    >>> mha = ts.nn.MultiheadAttention(8, 2)
    >>> x = ts.nn.Embedding(3, 8)(ts.tensor([[0, 1, 2]]))
    >>> with ts.record() as r:
    ...     out = mha(x, x, x)
    >>> alpha = r["multiheadattention"].alpha  # (B, N, S, T) = (1, 2, 3, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.attention_plot(alpha, f"{folder}/heads.png", rows=tokens, columns=tokens).stat().st_size > 1000
    True
    """
    file = checked_path("attention_plot", path)
    heads = _heads(numbers("attention_plot", "alpha", alpha), rows, columns)
    across = min(len(heads), ACROSS)
    down = -(-len(heads) // across)
    token, most, size = (0.2, 60, 8) if len(heads) == 1 else (0.115, 48, 7)  # inches of a label, their number, points
    width, height = (max(1.6, token * min(most, len(labels))) for labels in (columns, rows))
    margin = 0.08 * max(len(visible(token)) for token in (*rows, *columns)) + 0.5
    figure = new_figure(across * width + margin + 0.9, down * (height + 0.3) + margin)
    for k, weights in enumerate(heads):
        axes = figure.add_subplot(down, across, k + 1)
        name = f"head {k + 1}" if len(heads) > 1 else ""
        image = heat_map(axes, weights, rows, columns, name, most=most, size=size)
        axes.tick_params(labelleft=k % across == 0, labelbottom=k + across >= len(heads))
    figure.supxlabel("keys: what is looked at", fontsize=10)
    figure.supylabel("queries: who looks", fontsize=10)
    figure.colorbar(image, ax=figure.axes, label="attention weight α", aspect=30)
    head(figure, title)
    return save_figure(figure, file)


def _heads(alpha: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """(N, S, T), checked."""
    S, T = len(rows), len(columns)
    shape = alpha.shape
    if alpha.ndim == 4 and len(alpha) == 1:
        alpha = alpha[0]
    if alpha.ndim == 2:
        alpha = alpha[None]
    if alpha.ndim != 3 or not alpha.size:
        batch = ": take one sequence, alpha[0]" if alpha.ndim == 4 else ""
        raise ValueError(f"attention_plot: expected alpha (S, T), (N, S, T) or (1, N, S, T), got {shape}{batch}")
    if alpha.shape[1:] != (S, T):
        raise ValueError(
            f"attention_plot: expected a row for each of {S} queries and a column for each of {T} keys, "
            f"(…, {S}, {T}), got alpha of shape {shape}"
        )
    low, high = float(alpha.min()), float(alpha.max())
    if not (-1e-3 <= low and high <= 1 + 1e-3):  # NaN too
        raise ValueError(f"attention_plot: expected weights from 0 to 1, got {low:.3g} to {high:.3g}: scores have none")
    return alpha


def gate_plot(
    gates: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    text: Sequence[str],
    title: str | None = None,
) -> Path:
    """Draw gates, or states, over a text: a column for each character, a row for each unit, a matrix for each symbol.

    What lies between 0 and 1, as gates do, is dark where it is large; what has negative values, as states do, is
    purple and dark above 0, orange and light below.

    Args:
        gates: {symbol: (T, H) numbers}, or (1, T, H), as `ts.record()` gives them for one text; at most 12 symbols of
            at most 500 units. "f_t" is shown as fₜ.
        path: a file ending in .png, .svg or .pdf.
        text: the T characters, or tokens; at most 200.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no dictionary of numbers.
        ValueError: where shape and text do not fit, there is nothing or too much to draw, or the suffix is not known.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 5)
    >>> with ts.record() as r:
    ...     out, state = lstm(ts.nn.Embedding(4, 3)(ts.tensor([[0, 1, 2, 2, 3]])))
    >>> gates = {"f_t": r["lstm"].f_t, "c_t": r["lstm"].c_t}  # each (1, 5, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.gate_plot(gates, f"{folder}/gates.png", text="hello").stat().st_size > 1000
    True
    """
    file = checked_path("gate_plot", path)
    checked_names("gate_plot", gates, MOST_GATES, "gates, one below the other")
    if not 1 <= len(text) <= LONGEST:
        raise ValueError(f"gate_plot: expected a text of 1 to {LONGEST} characters, got {len(text)}: draw a part")
    values = {name: _over_text(name, numbers("gate_plot", name, gate), len(text)) for name, gate in gates.items()}
    heights = [min(2.2, max(1.2, 0.1 * gate.shape[1])) for gate in values.values()]
    margin = 0.08 * max(len(visible(token)) for token in text) + 0.6
    figure = new_figure(max(5.0, 0.12 * len(text) + 1.6), sum(heights) + 0.55 * len(heights) + margin)
    grid = figure.add_gridspec(len(values), 1, height_ratios=heights)
    for row, (name, gate) in enumerate(values.items()):
        axes = figure.add_subplot(grid[row])
        signed = float(gate.min()) < 0
        largest = float(np.abs(gate).max()) if signed else max(1.0, float(gate.max()))
        colours = {"cmap": both_sides(), "vmin": -largest} if signed else {}
        image = heat_map(axes, gate.T, (), text, names.pretty(str(name)), most=LONGEST, vmax=largest, **colours)
        units = np.unique(np.linspace(0, gate.shape[1] - 1, 4).astype(int)).tolist()
        axes.set_yticks(units, [str(unit) for unit in units], fontsize=8)
        axes.set_ylabel("unit")
        axes.tick_params(labelbottom=row == len(values) - 1)
        figure.colorbar(image, ax=axes, pad=0.01, aspect=12)
    axes.set_xlabel("time step: what is read")
    head(figure, title)
    return save_figure(figure, file)


def _over_text(name: str, gate: np.ndarray, T: int) -> np.ndarray:
    """(T, H), checked."""
    shape = gate.shape
    if gate.ndim == 3 and len(gate) == 1:
        gate = gate[0]
    if gate.ndim != 2 or len(gate) != T or not gate.size:
        batch = f": take one text, {name}[0]" if gate.ndim == 3 else ""
        raise ValueError(
            f"gate_plot: expected {name} (T, H) or (1, T, H) with T = {T}, one for each character, got {shape}{batch}"
        )
    if gate.shape[1] > MOST_UNITS:
        raise ValueError(
            f"gate_plot: {name} has {gate.shape[1]} units, of which at most {MOST_UNITS} can be seen: draw a part"
        )
    if not np.isfinite(gate).all():
        raise ValueError(f"gate_plot: {name} has values that are not finite")
    return gate


def confusion_plot(
    counts: Any,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[str],
    title: str | None = None,
) -> Path:
    """Draw what a classifier or a tagger takes for what: a row for each true label, a column for each predicted one.

    Dark is what most of a row's examples are taken for, so that rare labels can be read beside frequent ones; a model
    without a fault is dark on the diagonal alone. Up to 25 labels, the counts are written.

    Args:
        counts: (K, K), as `ts.train.confusion_matrix` counts them.
        path: a file ending in .png, .svg or .pdf.
        labels: the K labels.
    Returns:
        The path.
    Raises:
        ImportError: without matplotlib, naming the extra that brings it.
        TypeError: for what is no matrix of numbers.
        ValueError: where shape and labels do not fit, a count is negative or not finite, or the suffix is not known.
        FileNotFoundError: where the folder does not exist.

    >>> import tempfile
    >>> import tinygrad_seq as ts
    >>> counts = ts.train.confusion_matrix([0, 1, 1, 1], [0, 0, 1, 1], 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.viz.confusion_plot(counts, f"{folder}/confusion.png", labels=["NOUN", "VERB"]).stat().st_size > 1000
    True
    """
    file = checked_path("confusion_plot", path)
    array, K = numbers("confusion_plot", "counts", counts), len(labels)
    if not K or array.shape != (K, K):
        raise ValueError(
            f"confusion_plot: expected a row and a column for each of {K} labels, {(K, K)}, got counts of shape "
            f"{array.shape}"
        )
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError("confusion_plot: expected counts, got negative numbers or some that are not finite")
    of_label = array.sum(1, keepdims=True)
    shares = array / np.where(of_label > 0, of_label, 1)
    written = K <= MOST_COUNTS
    size = max(2.0, (0.42 if written else 0.16) * min(K, 60))
    margin = 0.08 * max(len(visible(label)) for label in labels) + 0.6
    figure = new_figure(size + margin + 1.0, size + margin + 0.2)
    axes = figure.add_subplot()
    image = heat_map(axes, shares, labels, labels, "", most=60)
    for row, column in zip(*np.nonzero(array) if written else ((), ()), strict=True):
        colour = "white" if shares[row, column] > 0.55 else "black"
        text = f"{array[row, column]:,.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=10 if K < 7 else 6.5, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, ax=axes, label="share of the true label", aspect=30)
    head(figure, title)
    return save_figure(figure, file)
