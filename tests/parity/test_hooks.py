"""Hooks on modules, against PyTorch's: the same program on both sides sees the same, in the same order."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")

X = np.random.default_rng(0).standard_normal((2, 3)).astype("f4")
W = [np.random.default_rng(k).standard_normal((3, 3)).astype("f4") for k in (1, 2)]


def ours() -> tuple[Any, list[Any], Any]:
    layers = [ts.nn.Linear(3, 3, bias=False) for _ in W]
    for layer, w in zip(layers, W, strict=True):
        layer.weight.data[...] = w
    return ts.nn.Sequential(*layers), layers, ts.tensor(X, requires_grad=True)


def theirs() -> tuple[Any, list[Any], Any]:
    layers = [torch.nn.Linear(3, 3, bias=False) for _ in W]
    with torch.no_grad():
        for layer, w in zip(layers, W, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
    return torch.nn.Sequential(*layers), layers, torch.from_numpy(X).requires_grad_()


def arrays(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(arrays, x))
    return None if x is None else x.detach().numpy().copy()


def compare(a: Any, b: Any) -> None:
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    elif isinstance(a, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    else:
        assert a == b


def program(side: Any, requires_grad: bool = True) -> list[Any]:
    model, layers, x = side()
    x = x if requires_grad else x.detach()
    seen: list[Any] = []
    for name, module in (("model", model), ("first", layers[0]), ("second", layers[1])):
        module.register_forward_pre_hook(lambda m, i, name=name: seen.append(("pre", name, arrays(i))))
        module.register_forward_hook(lambda m, i, o, name=name: seen.append(("forward", name, arrays(i), arrays(o))))
        module.register_full_backward_hook(lambda m, gi, go, name=name: seen.append((name, arrays(gi), arrays(go))))
    layers[0].register_forward_pre_hook(lambda m, i: i[0] * 2)
    layers[0].register_forward_hook(lambda m, i, o: o + 1)
    layers[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    layers[1].register_full_backward_hook(lambda m, gi, go: seen.append(("first of all", arrays(gi))), prepend=True)
    (model(x) ** 2).sum().backward()
    seen += [arrays(layer.weight.grad) for layer in layers]
    return [*seen, arrays(x.grad)] if requires_grad else seen


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("requires_grad", [True, False])
def test_order_values_and_replacements(requires_grad: bool) -> None:
    compare(program(ours, requires_grad), program(theirs, requires_grad))


def test_second_derivatives_go_through_hooks() -> None:
    found = []
    for side, grad in ((ours, ts.grad), (theirs, lambda y, x, **options: torch.autograd.grad(y, x, **options)[0])):
        model, layers, x = side()
        layers[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * gi[0],))
        first = grad((model(x) ** 2).sum(), x, create_graph=True)
        found.append((arrays(first), arrays(grad(first.sum(), x))))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_a_recurrent_layer() -> None:
    seen: dict[str, Any] = {}
    for name, layer, x in (
        ("ours", ts.nn.LSTM(3, 2), ts.tensor(X[None], requires_grad=True)),
        ("theirs", torch.nn.LSTM(3, 2, batch_first=True), torch.from_numpy(X[None]).requires_grad_()),
    ):
        layer.register_full_backward_hook(
            lambda m, gi, go, name=name: seen.update({name: (len(gi), gi[0].shape, len(go), go[0].shape, go[1])})
        )
        out, _ = layer(x)
        out.sum().backward()
    assert seen["ours"] == seen["theirs"] == (1, (1, 2, 3), 2, (1, 2, 2), None)
