"""Make the pictures of README.md and docs/ anew: python docs/make_images.py"""

from pathlib import Path

import numpy as np

import tinygrad_seq as ts

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    ts.viz.equation_graph("lstm", title="One step of an LSTM").save(IMAGES / "lstm_step.svg")
    unrolled(IMAGES / "unrolled_lstm.svg")
    contributions(IMAGES / "contributions.png")


def unrolled(path: Path) -> None:
    """Two layers over 50 steps."""
    lstm = ts.nn.LSTM(3, 5, num_layers=2)
    out, _ = lstm(ts.tensor(np.zeros((1, 50, 3), np.float32)))
    ts.graph(out, time=True).save(path)


def contributions(path: Path) -> None:
    """What each step contributes to the gradient of W_hh when the loss stands at the end, in untrained layers."""
    ts.seed(0)
    x = ts.tensor(np.random.default_rng(0).standard_normal((8, 60, 3)))
    parts = {}
    for name, layer in {"tanh RNN": ts.nn.RNN(3, 16), "GRU": ts.nn.GRU(3, 16), "LSTM": ts.nn.LSTM(3, 16)}.items():
        layer.to("float64")
        out, _ = layer(x)
        parts[name] = ts.explain_grad((out[:, -1] ** 2).mean(), layer.weight_hh_l0)
    label = r"$\Vert(\partial L/\partial W_{hh})_t\Vert$"
    ts.viz.gradient_plot(parts, path, label=label, title="What each step contributes, for a loss at the end")


if __name__ == "__main__":
    main()
