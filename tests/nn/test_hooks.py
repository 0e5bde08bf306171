"""Hooks on modules: order, what they see, what they change, and that they leave no trace."""

import copy
import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts


class Scale(ts.nn.Module):
    """y = a x."""

    def __init__(self, a: float = 2.0) -> None:
        self.a = ts.nn.Parameter([a])

    def forward(self, x: Any, *, plus: float = 0.0) -> Any:
        return x * self.a + plus


def x() -> ts.Tensor:
    return ts.tensor([1.0, 2.0], requires_grad=True)


def test_forward_hooks_see_inputs_and_output_in_order() -> None:
    layer, seen = Scale(), []
    layer.register_forward_hook(
        lambda module, inputs, output: seen.append(("after", inputs[0].tolist(), output.tolist()))
    )
    layer.register_forward_hook(lambda module, inputs, output: seen.append("first after"), prepend=True)
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(("before", module is layer, len(inputs))))
    layer.register_forward_pre_hook(lambda module, inputs: seen.append("first before"), prepend=True)
    layer(x())
    assert seen == ["first before", ("before", True, 1), "first after", ("after", [1.0, 2.0], [2.0, 4.0])]


def test_what_a_forward_hook_returns_takes_the_place() -> None:
    layer = Scale()
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] + 1)  # not a tuple
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 10,))
    layer.register_forward_hook(lambda module, inputs, output: output + inputs[0])
    assert layer(x()).tolist() == [20 + 40.0, 30 + 60.0]


def test_hooks_with_options() -> None:
    layer, seen = Scale(), []
    layer.register_forward_pre_hook(
        lambda module, inputs, options: (inputs, {"plus": options["plus"] + 1}), with_kwargs=True
    )
    layer.register_forward_hook(lambda module, inputs, options, output: seen.append(options), with_kwargs=True)
    assert layer(x(), plus=5.0).tolist() == [8.0, 10.0]
    assert seen == [{"plus": 6.0}]
    layer.register_forward_pre_hook(lambda module, inputs, options: inputs, with_kwargs=True)
    with pytest.raises(TypeError, match="Scale: a forward pre-hook with with_kwargs=True returns None or the new"):
        layer(x(), plus=5.0)


def test_a_removed_hook_is_not_called_and_no_other_goes_with_it() -> None:
    layer, seen = Scale(), []

    def note(module: Any, inputs: Any, output: Any) -> None:
        seen.append(1)

    first, second = layer.register_forward_hook(note), layer.register_forward_hook(note)
    first.remove()
    first.remove()
    layer(x())
    assert seen == [1]
    second.remove()
    layer(x())
    assert seen == [1]


def test_a_hook_may_remove_itself() -> None:
    layer, seen = Scale(), []

    def once(module: Any, inputs: Any, output: Any) -> None:
        seen.append(1)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer.register_forward_hook(lambda *_: seen.append(2))
    layer(x())
    layer(x())
    assert seen == [1, 2, 2]


def test_a_backward_hook_sees_both_gradients_and_may_change_one() -> None:
    layer, seen = Scale(3.0), []

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((module is layer, grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 10,)

    handle = layer.register_full_backward_hook(hook)
    t = x()
    (layer(t * 1) * 2).sum().backward()
    assert seen == [(True, [6.0, 6.0], [2.0, 2.0])]
    assert t.grad is not None and t.grad.tolist() == [60.0, 60.0]
    assert layer.a.grad is not None and layer.a.grad.tolist() == [6.0]  # of the output's gradient, not of the hook's
    handle.remove()
    assert not any(node.op == "Hooked" for node in ts.graph(layer(t)).nodes)


def test_backward_hooks_run_once_in_each_pass_and_only_with_a_graph() -> None:
    layer, seen, t = Scale(), [], x()
    layer.register_full_backward_hook(lambda *_: seen.append(1))
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0] is t))
    with ts.no_grad():
        layer(t)
    assert seen == [True]  # without a graph nothing is put around the module
    handle.remove()
    seen.clear()
    y = layer(x())
    assert seen == []
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert seen == [1, 1]


def test_a_module_whose_input_requires_no_gradient_tells_that_of_its_output() -> None:
    layer, seen = Scale(), []
    layer.register_full_backward_hook(lambda module, gi, go: seen.append((gi, go[0].tolist())))
    layer(ts.tensor([1.0])).sum().backward()
    assert seen == [((None,), [1.0])]


def test_several_inputs_and_outputs() -> None:
    class Two(ts.nn.Module):
        def forward(self, a: Any, k: int, b: Any) -> Any:
            return a * b, a + b, k

    module, seen = Two(), []
    module.register_full_backward_hook(lambda module, gi, go: seen.append((gi, go)))
    a, b = ts.tensor([2.0], requires_grad=True), ts.tensor([3.0], requires_grad=True)
    product, _, k = module(a, 7, b)
    product.sum().backward()
    ((gi, go),) = seen
    assert [g if g is None else g.tolist() for g in gi] == [[3.0], None, [2.0]]
    assert [g if g is None else g.tolist() for g in go] == [[1.0], None, None]
    assert k == 7


def test_a_recurrent_layer_has_the_gradient_of_its_output() -> None:
    lstm, seen = ts.nn.LSTM(2, 3), []
    lstm.register_full_backward_hook(lambda module, gi, go: seen.append((gi[0].shape, go[0].shape, go[1])))
    out, (h, _) = lstm(ts.tensor(np.ones((1, 4, 2), "f4"), requires_grad=True))
    (out.sum() + h.sum()).backward()
    assert seen == [((1, 4, 2), (1, 4, 3), None)]


def test_wrong_gradients_of_a_hook() -> None:
    layer = Scale()
    handle = layer.register_full_backward_hook(lambda module, gi, go: (gi[0], gi[0]))
    with pytest.raises(ValueError, match="Scale: a backward hook returns None or a gradient for each of the 1"):
        layer(x()).sum().backward()
    handle.remove()
    layer.register_full_backward_hook(lambda module, gi, go: gi[0].sum())
    with pytest.raises(ValueError, match=r"a backward hook gave input 0 a gradient of shape \(\): expected \(2,\)"):
        layer(x()).sum().backward()


def test_values_and_gradients_stay_the_same_to_the_last_bit() -> None:
    """In float64, where one operation and its parts compute alike: hooks take the network of a layer apart."""
    model = ts.models.GPT(ts.models.GPTConfig(7, block_size=4, n_layer=2, n_head=2, n_embd=4, dropout=0.0))
    model.to("float64")
    ids = np.array([[1, 2, 3, 4]])

    def gradients() -> list[np.ndarray]:
        return [g.numpy() for g in ts.grad((model(ids) ** 2).sum(), model.parameters())]

    before = gradients()
    for _, module in model.named_modules():
        module.register_full_backward_hook(lambda *_: None)
        module.register_forward_hook(lambda *_: None)
    for a, b in zip(before, gradients(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_hooks_are_no_part_of_the_module() -> None:
    layer, other = Scale(), Scale()
    names, state = [name for name, _ in layer.named_modules()], layer.state_dict().keys()
    layer.register_forward_hook(other)  # a module is a function too
    layer.register_full_backward_hook(lambda *_: None)
    assert [name for name, _ in layer.named_modules()] == names
    assert layer.state_dict().keys() == state and len(layer.parameters()) == 1
    assert "Hook" not in repr(layer)


def test_a_deep_copy_has_hooks_of_its_own() -> None:
    layer, seen = Scale(), []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(module))
    twin = copy.deepcopy(layer)
    handle.remove()
    twin(x())
    layer(x())
    assert seen == [twin]


def test_pictures_show_nothing_of_them() -> None:
    layer = Scale()
    t = x()
    loss = layer(t).sum()
    before = ts.graph(loss).text()
    layer.register_full_backward_hook(lambda *_: None)
    loss = layer(t).sum()
    assert ts.graph(loss).text() == before


def test_no_cycles() -> None:
    layer = Scale()
    layer.register_full_backward_hook(lambda *_: None)
    gc.collect()
    gc.disable()
    try:
        layer(x()).sum().backward()
        layer(x())
        assert gc.collect() == 0
    finally:
        gc.enable()
