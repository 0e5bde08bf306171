"""Writes the golden files with PyTorch, by hand: `python tests/golden/make_golden.py`.

They hold inputs, weights, outputs and gradients in float64, so that the library is checked against PyTorch where
PyTorch is not installed. `test_golden.py` reads them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parent
F = torch.nn.functional


def gradients(outputs: dict[str, Any], inputs: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Outputs, the weights by which they are added up, and the gradient of each input."""
    weights = {name: torch.tensor(generator.standard_normal(out.shape)) for name, out in outputs.items()}
    loss = sum((out * weights[name]).sum() for name, out in outputs.items())
    gs = torch.autograd.grad(loss, list(inputs.values()))
    return (
        {f"in.{name}": x for name, x in inputs.items()}
        | {f"out.{name}": out for name, out in outputs.items()}
        | {f"weight.{name}": w for name, w in weights.items()}
        | {f"grad.{name}": g for name, g in zip(inputs, gs, strict=True)}
    )


def lstm(layers: int, bidirectional: bool, lengths: list[int] | None) -> dict[str, Any]:
    generator = np.random.default_rng(layers)
    torch.manual_seed(layers)
    B, T, D, H = 3, 4, 2, 3
    model = torch.nn.LSTM(D, H, layers, batch_first=True, bidirectional=bidirectional).double()
    directions = layers * (2 if bidirectional else 1)
    sizes = {"x": (B, T, D), "h_0": (directions, B, H), "c_0": (directions, B, H)}
    given = {name: torch.tensor(generator.standard_normal(shape), requires_grad=True) for name, shape in sizes.items()}
    state = (given["h_0"], given["c_0"])
    if lengths is None:
        out, (h, c) = model(given["x"], state)
    else:
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(given["x"], torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        out, (h, c) = model(packed, state)
        out, _ = rnn.pad_packed_sequence(out, batch_first=True, total_length=T)
    arrays = gradients({"out": out, "h_n": h, "c_n": c}, given | dict(model.named_parameters()), generator)
    sizes_used = {"sizes": torch.tensor([D, H, layers, int(bidirectional)])}
    return arrays | sizes_used | ({} if lengths is None else {"lengths": torch.tensor(lengths)})


def losses() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    z, x, t = (torch.tensor(generator.standard_normal((2, 3, 5)), requires_grad=True) for _ in range(3))
    targets = torch.tensor([[0, 4, 1], [2, 1, 1]])
    w = torch.tensor(generator.uniform(0.1, 2, 5))
    p = torch.tensor(generator.dirichlet(np.ones(5), (2, 3)))
    classes = torch.movedim(z, -1, 1)
    outputs = {
        "cross_entropy": F.cross_entropy(classes, targets),
        "cross_entropy_weighted": F.cross_entropy(classes, targets, w),
        "cross_entropy_smoothed": F.cross_entropy(classes, targets, label_smoothing=0.1),
        "cross_entropy_all": F.cross_entropy(classes, targets, w, ignore_index=1, label_smoothing=0.2),
        "bce": F.binary_cross_entropy_with_logits(z, p),
        "mse": F.mse_loss(x, t),
        "kl": F.kl_div(torch.log_softmax(z, -1), p, reduction="none").sum(-1).mean(),
    }
    return gradients(outputs, {"z": z, "x": x, "t": t}, generator) | {"targets": targets, "w": w, "p": p}


def layers() -> dict[str, Any]:
    generator = np.random.default_rng(1)

    def draw(*shape: int) -> Any:
        return torch.tensor(generator.standard_normal(shape), requires_grad=True)

    given = {"x": draw(2, 3, 4), "W": draw(5, 4), "b": draw(5), "gamma": draw(4), "beta": draw(4), "E": draw(6, 4)}
    tokens = torch.tensor([[1, 0, 5], [0, 2, 1]])
    x = given["x"]
    outputs = {
        "linear": F.linear(x, given["W"], given["b"]),
        "layer_norm": F.layer_norm(x, (4,), given["gamma"], given["beta"]),
        "embedding": F.embedding(tokens, given["E"], padding_idx=0),
        "gelu": F.gelu(x),
        "gelu_tanh": F.gelu(x, approximate="tanh"),
        "softmax": torch.softmax(x, 1),
        "log_softmax": torch.log_softmax(x, -1),
    }
    return gradients(outputs, given, generator) | {"tokens": tokens}


OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
}


def optimizers() -> dict[str, Any]:
    """Ten steps from one start, each with its own gradients."""
    generator = np.random.default_rng(2)
    start, gs = generator.standard_normal(6), generator.standard_normal((10, 6))
    arrays: dict[str, Any] = {"start": torch.tensor(start), "gradients": torch.tensor(gs)}
    for name, (kind, options) in OPTIMIZERS.items():
        p = torch.tensor(start, requires_grad=True)
        optimizer, path = getattr(torch.optim, kind)([p], **options), []
        for g in gs:
            p.grad = torch.tensor(g)
            optimizer.step()
            path.append(p.detach().clone())
        arrays[f"path.{name}"] = torch.stack(path)
    return arrays


def main() -> None:
    files = {
        "lstm": lstm(1, False, None),
        "lstm_stacked": lstm(2, False, [4, 1, 2]),
        "lstm_bidirectional": lstm(2, True, [2, 4, 3]),
        "losses": losses(),
        "layers": layers(),
        "optimizers": optimizers(),
    }
    for name, arrays in files.items():
        path = FOLDER / f"{name}.safetensors"
        save_file({key: np.ascontiguousarray(array.detach().numpy()) for key, array in arrays.items()}, path)
        print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
