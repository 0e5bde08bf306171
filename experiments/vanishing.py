"""Vanishing gradients.

"If ∂h_t/∂h_{t-1} < 1 consistently → vanishing gradients … Sigmoid derivative: max 0.25. Tanh derivative: max 1.0.
Repeated multiplication through many steps → exponential decay."

Measured is how much ∏ ∂s_t/∂s_{t-1}, from a step far back to the last one, stretches a gradient at most: its largest
singular value, s being all of a cell's state (h; for the LSTM h and c). Above, left: W_hh is orthogonal, which alone
keeps every length, so that what shrinks is the nonlinearity's doing. Above, right: the weights as the layers draw them
at first, the LSTM with open forget gates, b_f = 1. Below: the same cells trained on the adding problem, which asks for
a memory over all steps; on the right the gradient of the loss itself. And along the LSTM's cell path (h_{t-1}, from
which the gates are computed, held constant) the derivative is exactly what c_t = f_t ⊙ c_{t-1} + … says:
∂c_T/∂c_1 = ∏ f_t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.ops import LSTMState, RNNState
from tinygrad_seq.viz.plots import BLACK, panels

from .common import Claim, Outcome, curve, main, outcome, update

LAYERS: dict[str, Callable[..., Any]] = {
    "sigmoid RNN": lambda *sizes: ts.nn.RNN(*sizes, nonlinearity="sigmoid"),
    "tanh RNN": ts.nn.RNN,
    "LSTM": ts.nn.LSTM,
}


class Sizes(NamedTuple):
    """How much is trained and measured."""

    length: int = 100
    hidden: int = 48
    batch: int = 64
    rate: float = 0.003
    steps: int = 2500


QUICK = Sizes(length=24, hidden=32, batch=32, rate=0.01, steps=600)
MEASURED = 4  # sequences


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    rows, _ = ts.data.adding_problem(MEASURED, seed=1_000_000 * seed, length=sizes.length)
    x = ts.tensor(rows, "float64")
    singular: dict[str, Any] = {"orthogonal": {}, "at first": {}, "trained": {}}
    numbers: dict[str, Any] = {"length": sizes.length, "singular": singular, "gradient": {}, "error": {}}
    for model in LAYERS:
        layer = new_layer(model, sizes, seed)
        singular["at first"][model] = stretch(jacobians(layer, x))
        numbers["error"][model], dL_dh_T = train(layer, sizes, seed)
        found = jacobians(layer, x)
        singular["trained"][model] = stretch(found)
        numbers["gradient"][model] = gradient_norms(found, dL_dh_T)
        if model == "LSTM":
            numbers["cell path"] = cell_path_error(layer, x)
        else:
            layer = new_layer(model, sizes, seed)
            ts.nn.init.orthogonal(layer.weight_hh_l0)
            singular["orthogonal"][model] = stretch(jacobians(layer, x))
    return outcome(numbers, claims, draw)


def new_layer(model: str, sizes: Sizes, seed: int) -> Any:
    ts.seed(seed)
    layer = LAYERS[model](2, sizes.hidden)
    if model == "LSTM":
        ts.nn.init.lstm_forget_bias(layer)
    return layer


def train(layer: Any, sizes: Sizes, seed: int) -> tuple[float, np.ndarray]:
    """Train on the adding problem; the mean squared error on new rows, and the direction of ∂L/∂h_T, (1, H)."""
    read_off = ts.nn.Linear(sizes.hidden, 1)
    parameters = [*layer.parameters(), *read_off.parameters()]
    optimizer = ts.optim.Adam(parameters, sizes.rate)

    def error(n: int, seed: int) -> ts.Tensor:
        x, y = ts.data.adding_problem(n, seed=seed, length=sizes.length)
        h, _ = layer(ts.tensor(x))
        return ts.ops.mse_loss(read_off(h[:, -1])[:, 0], ts.tensor(y))

    for step in range(1, sizes.steps + 1):
        update(error(sizes.batch, 1_000_000 * seed + step), optimizer, parameters)
    with ts.no_grad():
        return error(1000, 1_000_000 * seed).item(), read_off.weight.numpy().astype(np.float64)


def cell_of(layer: Any) -> tuple[Any, Any]:
    """A cell with the layer's weights in float64, and a state of zeros to begin with."""
    sizes = layer.input_size, layer.hidden_size
    zeros = ts.tensor(np.zeros((MEASURED, layer.hidden_size)))
    cell: Any
    start: Any
    if isinstance(layer, ts.nn.LSTM):
        cell, start = ts.nn.LSTMCell(*sizes), LSTMState(zeros, zeros)
    else:
        cell, start = ts.nn.RNNCell(*sizes, nonlinearity=layer.nonlinearity), RNNState(zeros)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in layer.state_dict().items()})
    return cell.to("float64"), start


def jacobians(layer: Any, x: ts.Tensor) -> np.ndarray:
    """∂s_t/∂s_{t-1} at each step, (T, B, K, K)."""
    cell, start = cell_of(layer)
    return ts.train.state_jacobians(cell.step, start, x).numpy()


def stretch(jacobians: np.ndarray) -> list[float]:
    """The largest singular value of ∂s_T/∂s_t for t = T, T - 1, …, 1: the geometric mean over the sequences."""
    values = ts.train.largest_singular_values(jacobians)
    return np.exp(np.log(values).mean(1))[::-1].tolist()


def gradient_norms(jacobians: np.ndarray, dL_dh_T: np.ndarray) -> list[float]:
    """‖∂L/∂s_t‖ / ‖∂L/∂s_T‖ for t = T, T - 1, …, 1: the geometric mean over the sequences."""
    T, B, K, _ = jacobians.shape
    last = np.zeros((B, 1, K))
    last[:, :, : dL_dh_T.shape[1]] = dL_dh_T  # the loss reads h_T; it does not see c_T
    products = (ts.train.gradient_at_start(last, list(jacobians[t:])).product for t in range(T, 0, -1))
    norms = np.array([np.linalg.norm(product, axis=(1, 2)) for product in products])
    return np.exp(np.log(norms / norms[0]).mean(1)).tolist()


def cell_path_error(layer: Any, x: ts.Tensor) -> float:
    """The largest difference between ∂c_T/∂c_1 by autograd, h held constant, and the diagonal matrix of ∏ f_t."""
    cell, start = cell_of(layer)
    first = cell.step(x[:, 0], start)
    c_1 = first.c_t.detach()
    c_1.requires_grad = True
    symbols, last = ts.ops.scan(
        lambda x_t, s: cell.step(x_t, LSTMState(s.h.detach(), s.c)), LSTMState(first.h_t, c_1), x[:, 1:]
    )
    product = np.prod(symbols.f_t.numpy(), axis=1)  # (B, H)
    error = 0.0
    for k in range(layer.hidden_size):
        by_autograd = ts.grad(last.c[:, k].sum(), c_1, retain_graph=True)  # row k of ∂c_T/∂c_1, for each sequence
        expected = np.zeros_like(product)
        expected[:, k] = product[:, k]
        error = max(error, float(np.abs(by_autograd.numpy() - expected).max()))
    return error


def claims(numbers: dict[str, Any]) -> list[Claim]:
    T, error, gradient = numbers["length"], numbers["error"], numbers["gradient"]
    lone, first = numbers["singular"]["orthogonal"], numbers["singular"]["at first"]

    def a_step(values: list[float]) -> float:
        """The factor of one step, if all were alike."""
        return values[-1] ** (1 / (T - 1))

    return [
        Claim("sigmoid RNN, W_hh orthogonal: factor per step", a_step(lone["sigmoid RNN"]), "<=", 0.25),
        Claim("… which is the sigmoid's greatest derivative", a_step(lone["sigmoid RNN"]), ">=", 0.23),
        Claim("tanh RNN, W_hh orthogonal: factor per step", a_step(lone["tanh RNN"]), "<=", 0.98),
        Claim("sigmoid RNN at first: factor per step", a_step(first["sigmoid RNN"]), "<=", 0.2),
        Claim("tanh RNN at first: factor per step", a_step(first["tanh RNN"]), "<=", 0.7),
        Claim("LSTM at first: factor per step", a_step(first["LSTM"]), ">=", 0.8),
        Claim("sigmoid RNN, trained: factor per step of ∂L/∂h_t", a_step(gradient["sigmoid RNN"]), "<=", 0.5),
        Claim("tanh RNN, trained: factor per step of ∂L/∂h_t", a_step(gradient["tanh RNN"]), "<=", 0.8),
        Claim("LSTM, trained: factor per step of ∂L/∂s_t", a_step(gradient["LSTM"]), ">=", 0.95),
        Claim("tanh RNN, trained: mean squared error, 0.167 being the baseline", error["tanh RNN"], ">=", 0.12),
        Claim("LSTM, trained: mean squared error", error["LSTM"], "<=", 0.01),
        Claim("largest difference between ∂c_T/∂c_1 by autograd and ∏ f_t", numbers["cell path"], "<=", 1e-12),
    ]


STRETCH = r"largest singular value of $\partial s_T/\partial s_t$"
NORM = r"$\Vert\partial L/\partial s_t\Vert \;/\; \Vert\partial L/\partial s_T\Vert$"


def draw(numbers: dict[str, Any]) -> Any:
    figure, axes = panels(2, 2, height=3.4)
    back = range(numbers["length"])
    axes[0].plot(back, [0.25**k for k in back], color=BLACK, linewidth=1, label="0.25 at each step")
    for each, title, label, found in zip(
        axes,
        (
            r"before training, $W_{hh}$ orthogonal",
            "before training",
            "trained on the adding problem",
            "trained on the adding problem",
        ),
        (STRETCH, STRETCH, STRETCH, NORM),
        (*numbers["singular"].values(), numbers["gradient"]),
        strict=True,
    ):
        for model, values in found.items():
            curve(each, back, values, model)
        each.set(title=title, yscale="log", ylim=(1e-50, 1e5), xlabel="steps back in time, T - t", ylabel=label)
    axes[0].legend(frameon=False)
    axes[1].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "vanishing")
