"""Optimizers on every backend: whole training steps in which the host never waits, with the same weights after them."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import optim

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SGD": (optim.SGD, {"lr": 0.1}),
    "SGD with momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "Adam": (optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    "AdamW": (optim.AdamW, {"lr": 0.01}),
    "RMSprop": (optim.RMSprop, {"lr": 0.01, "momentum": 0.5}),
}
X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
T = np.array([0, 1, 1, 0])


def train(kind: Any, options: dict[str, Any], place: Any, clip: Any) -> tuple[ts.nn.Module, optim.Optimizer]:
    ts.seed(0)
    model = ts.nn.Sequential(ts.nn.Linear(3, 4), ts.ops.tanh, ts.nn.LayerNorm(4), ts.nn.Linear(4, 2)).to(place.device)
    opt = kind(model.parameters(), **options)
    x, t = place.tensor(X), place.tensor(T)
    for _ in range(4):
        opt.zero_grad()
        ts.ops.cross_entropy(model(x), t).backward()
        if clip is not None:
            clip(model.parameters(), 0.1)
        opt.step()
    return model, opt


@pytest.mark.parametrize("clip", [None, optim.clip_grad_norm, optim.clip_grad_value])
@pytest.mark.parametrize("name", KINDS)
def test_training_is_the_same_as_on_the_cpu(name: str, clip: Any, device: Any) -> None:
    kind, options = KINDS[name]
    there, opt = train(kind, options, device, clip)
    here, _ = train(kind, options, device._replace(name="numpy", device="cpu"), clip)
    with device.reading():
        for path, array in there.state_dict().items():
            np.testing.assert_allclose(array, here.state_dict()[path], rtol=1e-4, atol=1e-6, err_msg=path)
        assert all(type(array) is np.ndarray for array in opt.state_dict().values())


@pytest.mark.parametrize("name", KINDS)
def test_the_state_follows_the_model_to_another_device(name: str, device: Any) -> None:
    kind, options = KINDS[name]
    numpy = device._replace(name="numpy", device="cpu")
    model, opt = train(kind, options, numpy, None)
    twin, twin_opt = train(kind, options, numpy, None)
    model.to("cuda")
    twin_opt.load_state_dict(opt.state_dict())
    for m, o, place in ((model, opt, device), (twin, twin_opt, numpy)):
        o.zero_grad()
        ts.ops.cross_entropy(m(place.tensor(X)), place.tensor(T)).backward()
        with place.reading():  # moving the optimizer's own arrays, once
            o.step()
    with device.reading():
        for path, array in model.state_dict().items():
            np.testing.assert_allclose(array, twin.state_dict()[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_the_norm_stays_on_the_device(device: Any) -> None:
    w = device.tensor([3.0, 4.0], requires_grad=True)
    (w * w / 2).sum().backward()
    norm = optim.clip_grad_norm([w], 1.0)
    assert norm.device == "cuda:0"
    assert device.host(norm).item() == pytest.approx(5)
