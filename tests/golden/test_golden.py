"""The library against what PyTorch computed, from files, where PyTorch is not installed too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygrad_seq as ts

FOLDER = Path(__file__).resolve().parent
TOLERANCE = 1e-11
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (ts.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": (ts.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": (ts.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": (ts.optim.RMSprop, {"lr": 0.01, "momentum": 0.5}),
}


def load(name: str) -> dict[str, np.ndarray]:
    return load_file(FOLDER / f"{name}.safetensors")


def inputs(golden: dict[str, np.ndarray]) -> dict[str, ts.Tensor]:
    found = {name.removeprefix("in."): array for name, array in golden.items() if name.startswith("in.")}
    return {name: ts.tensor(array, requires_grad=True) for name, array in found.items()}


def compare(golden: dict[str, np.ndarray], outputs: dict[str, ts.Tensor], given: dict[str, ts.Tensor]) -> None:
    """Every output, and every gradient of their weighted sum, plain and with create_graph."""
    assert set(outputs) == {name.removeprefix("out.") for name in golden if name.startswith("out.")}
    assert set(given) == {name.removeprefix("grad.") for name in golden if name.startswith("grad.")}
    terms = []
    for name, out in outputs.items():
        np.testing.assert_allclose(out.data, golden[f"out.{name}"], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
        terms.append((out * golden[f"weight.{name}"]).sum())
    loss = sum(terms[1:], terms[0])
    for create_graph in (True, False):
        gs = ts.grad(loss, list(given.values()), create_graph=create_graph)
        for name, g in zip(given, gs, strict=True):
            np.testing.assert_allclose(g.data, golden[f"grad.{name}"], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("name", ["lstm", "lstm_stacked", "lstm_bidirectional"])
@pytest.mark.parametrize("opened", [False, True])
def test_lstm(name: str, opened: bool) -> None:
    golden = load(name)
    D, H, layers, bidirectional = golden["sizes"].tolist()
    lstm = ts.nn.LSTM(D, H, layers, bidirectional=bool(bidirectional)).to("float64")
    given = inputs(golden)
    states = {key: given.pop(key) for key in ("x", "h_0", "c_0")}
    lstm.load_state_dict({key: p.data for key, p in given.items()})
    x, h_0, c_0 = states.values()

    def run() -> None:
        out, (h, c) = lstm(x, (h_0, c_0), golden.get("lengths"))
        compare(golden, {"out": out, "h_n": h, "c_n": c}, states | dict(lstm.named_parameters()))

    if opened:
        with ts.definitions():
            run()
    else:
        run()


def test_losses() -> None:
    golden = load("losses")
    given, targets, w = inputs(golden), golden["targets"], ts.tensor(golden["w"])
    z, p = given["z"], ts.tensor(golden["p"])
    outputs = {
        "cross_entropy": ts.ops.cross_entropy(z, targets),
        "cross_entropy_weighted": ts.ops.cross_entropy(z, targets, weight=w),
        "cross_entropy_smoothed": ts.ops.cross_entropy(z, targets, label_smoothing=0.1),
        "cross_entropy_all": ts.ops.cross_entropy(z, targets, weight=w, ignore_index=1, label_smoothing=0.2),
        "bce": ts.ops.binary_cross_entropy_with_logits(z, p),
        "mse": ts.ops.mse_loss(given["x"], given["t"]),
        "kl": ts.ops.kl_div(ts.ops.log_softmax(z), p),
    }
    compare(golden, outputs, given)


def test_layers() -> None:
    golden = load("layers")
    given = inputs(golden)
    x = given["x"]
    outputs = {
        "linear": ts.ops.linear(x, given["W"], given["b"]),
        "layer_norm": ts.ops.layer_norm(x, given["gamma"], given["beta"]),
        "embedding": ts.ops.embedding(given["E"], golden["tokens"], padding_idx=0),
        "gelu": ts.ops.gelu(x),
        "gelu_tanh": ts.ops.gelu(x, "tanh"),
        "softmax": ts.ops.softmax(x, 1),
        "log_softmax": ts.ops.log_softmax(x),
    }
    compare(golden, outputs, given)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    golden, (kind, options) = load("optimizers"), OPTIMIZERS[name]
    p = ts.tensor(golden["start"], requires_grad=True)
    optimizer = kind([p], **options)
    for g, expected in zip(golden["gradients"], golden[f"path.{name}"], strict=True):
        p.grad = ts.tensor(g)
        optimizer.step()
        np.testing.assert_allclose(p.data, expected, rtol=1e-12, atol=1e-14)


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 50_000
