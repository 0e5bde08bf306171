"""Hooks, retain_grad, detach, and the modes."""

import pickle
import threading
from copy import deepcopy as copy_of
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core.state import state
from tinygrad_seq.core.tensor import Cut


def leaf(*values: float) -> ts.Tensor:
    return ts.tensor(np.array(values), requires_grad=True)


# -- hooks


def test_a_hook_hears_the_whole_gradient_once() -> None:
    x = leaf(2.0)
    h = x * 3
    heard = []
    h.register_hook(lambda g: heard.append(g.item()))
    (h * 5 + h * h).backward()
    assert heard == [5 + 2 * 6]
    assert x.grad.item() == 17 * 3, "a hook that returns None changes nothing"


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_hook_returns_takes_its_place(create_graph: bool) -> None:
    for at in ("leaf", "op", "slot"):
        x = leaf(2.0, 3.0)
        a = ts.ops.split(x, 2)[0] if at == "slot" else x * 1
        (x if at == "leaf" else a).register_hook(lambda g: g * 10)
        a.sum().backward(create_graph=create_graph)
        assert x.grad.data[0] == 10, at
        x.grad = None


def test_hooks_run_in_order_and_can_be_removed() -> None:
    x = leaf(1.0)
    double = x.register_hook(lambda g: g * 2)
    plus = x.register_hook(lambda g: g + 1)
    (x * 5).backward()
    assert x.grad.item() == 5 * 2 + 1
    double.remove()
    double.remove()  # a second time is no error
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 6
    plus.remove()
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 5


def test_a_hook_may_remove_itself() -> None:
    x = leaf(1.0)
    calls = []

    def once(g: ts.Tensor) -> None:
        calls.append(g.item())
        hook.remove()

    hook = x.register_hook(once)
    other = x.register_hook(lambda g: calls.append(-g.item()))
    for _ in range(2):
        (x * 2).backward()
    other.remove()
    assert calls == [2, -2, -2]


def test_a_hook_is_differentiated_under_create_graph() -> None:
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    g = ts.grad(x * x, x, create_graph=True)  # (2x)²
    assert g.item() == 36
    x.place.hooks.clear()
    assert ts.grad(g, x).item() == 8 * 3


def test_a_hook_of_the_wrong_shape() -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook must return the gradient's shape \(2,\), got \(\)"):
        (x * 2).sum().backward()


def test_hooks_and_retain_grad_need_a_gradient() -> None:
    with pytest.raises(ValueError, match="register_hook: this tensor has no gradient"):
        ts.tensor([1.0]).register_hook(print)
    with pytest.raises(ValueError, match="retain_grad: this tensor has no gradient"):
        ts.tensor([1.0]).retain_grad()


# -- retain_grad


def test_retain_grad_on_ops_and_slots_accumulates() -> None:
    x = leaf(2.0, 3.0)
    h = x * x
    a, b = ts.ops.split(h, 2)
    for t in (h, a, x):
        t.retain_grad()
    loss = (a * b).sum()
    loss.backward(retain_graph=True)
    assert h.grad.data.tolist() == [9, 4] and a.grad.data.tolist() == [9] and b.grad is None
    loss.backward()
    assert h.grad.data.tolist() == [18, 8] and a.grad.data.tolist() == [18]


def test_without_retain_grad_an_op_keeps_none() -> None:
    x = leaf(2.0)
    h = x * x
    (h * h).backward()
    assert h.grad is None and x.grad is not None


def test_retain_grad_sees_what_a_hook_returned() -> None:
    x = leaf(2.0)
    h = x * 1
    h.retain_grad()
    h.register_hook(lambda g: g * 7)
    (h * 1).backward()
    assert h.grad.item() == x.grad.item() == 7


# -- detach and modes


def test_detach_cuts_and_shares_the_array() -> None:
    x = leaf(2.0)
    y = x * 3
    y.name = "y"
    cut = y.detach()
    assert not cut.requires_grad and cut.data is y.data and cut.name == "y"
    (y * cut).backward()
    assert x.grad.item() == 3 * 6


def origins(t: ts.Tensor) -> list[tuple[Any, int]]:
    assert isinstance(t.constant, Cut)
    return [(reference(), index) for reference, index in t.constant.origins]


def test_what_is_detached_remembers_where_it_was_cut_off_as_long_as_that_lives() -> None:
    x = leaf(1.0, 2.0)
    y, z = x * 3, ts.ops.stack(ts.ops.split(ts.ops.exp(x), 2)[::-1], 0)
    assert origins(y.detach()) == origins(y.detach().detach()) == [(y.place, 0)]
    (exponentials,) = z.place.sources[0].op.sources
    assert origins(z.detach()) == [(exponentials, 0)]  # behind what only puts together, and may be gone with z
    assert origins(ts.ops.stack([y, z.reshape(2)]).reshape(-1).detach()) == [(y.place, 0), (exponentials, 0)]
    assert x.detach().constant is None and ts.tensor([1.0]).detach().constant is None
    cut = y.detach()
    del y
    assert origins(cut) == [(None, 0)]
    for copy in (pickle.loads(pickle.dumps(cut)), copy_of(cut)):
        assert copy.tolist() == cut.tolist() and not isinstance(copy.constant, Cut)


def test_detaching_a_deep_pile_of_views_is_no_work_twice() -> None:
    x = leaf(1.0) * 2
    made = x.place
    for _ in range(60):
        x = ts.ops.stack([x, x]).reshape(-1)[:1]
    assert origins(x.detach()) == [(made, 0)]


def test_no_grad_leaves_no_graph_and_ends() -> None:
    x = leaf(2.0)
    with ts.no_grad():
        y = x * x
        a, b = ts.ops.split(ts.ops.concatenate([x, x]), 2)
        s = ts.ops.softmax(x)
    assert not any(t.requires_grad for t in (y, a, b, s))
    assert (x * x).requires_grad


def test_modes_end_with_an_exception() -> None:
    with pytest.raises(KeyError), ts.no_grad(), ts.definitions():
        raise KeyError
    assert state.grad and state.fused


def test_modes_nest() -> None:
    with ts.no_grad():
        with ts.no_grad():
            pass
        assert not state.grad
    assert state.grad


def test_a_mode_that_is_made_and_not_entered_changes_nothing() -> None:
    ts.no_grad()
    ts.definitions()
    assert state.grad and state.fused


def test_modes_belong_to_their_thread() -> None:
    x = leaf(2.0)
    inside, done = threading.Event(), threading.Event()
    seen = {}

    def other() -> None:
        inside.wait(5)
        seen["grad"] = (x * x).requires_grad
        seen["fused"] = type(ts.ops.softmax(x).place).__name__
        with ts.no_grad():
            seen["inner"] = (x * x).requires_grad
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with ts.no_grad(), ts.definitions():
        inside.set()
        done.wait(5)
        assert not (x * x).requires_grad
    thread.join()
    assert seen == {"grad": True, "fused": "Softmax", "inner": False}


def test_threads_build_and_walk_graphs_at_the_same_time() -> None:
    results: dict[int, float] = {}

    def work(k: int) -> None:
        x = leaf(float(k))
        y = x
        for _ in range(300):
            y = y + x
        y.backward()
        results[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), 301.0)


def test_definitions_runs_the_equations() -> None:
    x = leaf(1.0, 2.0, 4.0)
    fused = ts.ops.softmax(x)
    with ts.definitions():
        opened = ts.ops.softmax(x)
    assert type(fused.place).__name__ == "Softmax" and type(opened.place).__name__ == "Div"
    assert opened.place.scope.owner.__class__.__name__ == "Softmax", "drawn together, under the fused op's name"
    np.testing.assert_allclose(fused.data, opened.data, rtol=1e-14)
    v = np.array([1.0, -1.0, 2.0])
    np.testing.assert_allclose(ts.grad((fused * v).sum(), x).data, ts.grad((opened * v).sum(), x).data, rtol=1e-12)
