"""Profiles, on a clock of the test's own: each second is where it was spent, and none is lost."""

import json
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import Op
from tinygrad_seq.core.state import listening, state
from tinygrad_seq.train import profiler


class Clock:
    """Goes on only where somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiler, "time", clock)
    return clock


def slow(clock: Clock, forward: float, backward: float) -> Any:
    """An operation that takes so many seconds."""

    class Slow(Op):
        def forward(self, be: Any, x: Any) -> Any:
            clock.now += forward
            return x * 2

        def backward(self, g: Any) -> Any:
            clock.now += backward
            return g * 2

    return lambda x: Slow()(x)


def rows(found: list[profiler.Row]) -> dict[str, tuple[float, float, int]]:
    return {row.name: (row.forward, row.backward, row.count) for row in found if row.seconds or row.name == "Slow"}


def total(p: profiler.Profile, found: list[profiler.Row]) -> float:
    return sum(row.seconds for row in found) + sum(p.phases.values())


def test_every_second_is_where_it_was_spent(clock: Clock) -> None:
    class Layer(ts.nn.Module):
        def __init__(self, forward: float, backward: float) -> None:
            self.op = slow(clock, forward, backward)
            self.weight = ts.nn.Parameter([1.0])

        def forward(self, x: Any) -> Any:
            clock.now += 0.25  # the model's own code
            return self.op(x * self.weight)

    class Model(ts.nn.Module):
        def __init__(self) -> None:
            self.layers = [Layer(1, 10), Layer(2, 20)]

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return slow(clock, 4, 40)(x)

    model = Model()
    optimizer = ts.optim.SGD(model.parameters())
    update = optimizer.update

    def slow_update(*arguments: Any) -> Any:
        clock.now += 100
        return update(*arguments)

    optimizer.update = slow_update  # type: ignore[method-assign]
    with ts.profile() as p:
        out = slow(clock, 8, 80)(model(ts.tensor([1.0])))
        out.register_hook(
            lambda g: setattr(clock, "now", clock.now + 1000)
        )  # neither an operation, nor outside of them
        out.sum().backward()
        ts.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        clock.now += 5000
    assert rows(p.operations) == {"Slow": (15.0, 150.0, 4)}
    assert rows(p.modules) == {
        "layers.0": (1.0, 10.0, 2),
        "layers.1": (2.0, 20.0, 2),
        "model": (4.0, 40.0, 1),
        "(no module)": (8.0, 80.0, 2),
    }
    assert p.phases == {"walk back": 1000.0, "clip": 0.0, "optimizer": 100.0, "rest": 5000.5}
    assert p.seconds == total(p, p.operations) == total(p, p.modules) == 15 + 150 + 1000 + 100 + 5000.5


def test_what_runs_inside_of_another_counts_once(clock: Clock) -> None:
    x = ts.tensor([1.0], requires_grad=True)
    with ts.profile() as p:
        ts.checkpoint(
            lambda x: slow(clock, 3, 30)(x), x
        ).sum().backward()  # forward twice, the second time on the way back
    assert rows(p.operations) == {"Slow": (3.0, 33.0, 1)}
    assert p.seconds == 36 and p.phases["rest"] == 0
    with ts.profile() as p:
        first = ts.grad(slow(clock, 3, 30)(x).sum(), x, create_graph=True)
        (first * x).sum().backward()
    assert rows(p.operations) == {"Slow": (3.0, 30.0, 1)}
    assert p.seconds == 33


def test_without_a_graph(clock: Clock) -> None:
    with ts.profile() as p, ts.no_grad():
        slow(clock, 3, 30)(ts.tensor([1.0], requires_grad=True))
    assert rows(p.operations) == {"Slow": (3.0, 0.0, 1)}


def test_after_an_error_the_clock_goes_on(clock: Clock) -> None:
    x = ts.tensor([1.0, 2.0], requires_grad=True)

    class Broken(Op):
        def forward(self, be: Any, x: Any) -> Any:
            clock.now += 1
            raise ValueError("broken")

        def backward(self, g: Any) -> Any:
            return g

    with ts.profile() as p:
        with pytest.raises(ValueError, match="broken"):
            Broken()(x)
        slow(clock, 3, 30)(x).sum().backward()
    assert rows(p.operations) == {"Slow": (3.0, 30.0, 1)}
    assert p.seconds == 34 and p.phases["rest"] == 1.0


def step(model: Any, optimizer: Any, ids: np.ndarray) -> None:
    loss = ts.ops.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    ts.optim.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()


def test_a_real_step_adds_up_and_stays_the_same() -> None:
    ids = np.random.default_rng(0).integers(0, 7, (2, 9))
    weights = []
    for profiled in (False, True):
        ts.seed(0)
        model = ts.models.GPT(ts.models.GPTConfig(7, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.1))
        optimizer = ts.optim.Adam(model.parameters())
        if profiled:
            with ts.profile() as p:
                step(model, optimizer, ids)
        else:
            step(model, optimizer, ids)
        weights.append(model.state_dict())
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name])
    counts = {row.name: row.count for row in p.operations}
    assert counts["MultiHeadAttention"] == 2 and counts["LayerNorm"] == 5
    assert {row.name: row.count for row in p.modules}["blocks.layers.1.self_attn"] == 1
    assert all(row.forward > 0 for row in p.operations)
    assert all(seconds > 0 for seconds in p.phases.values())
    for found in (p.operations, p.modules):
        assert total(p, found) == pytest.approx(p.seconds, rel=1e-9)


def test_the_tables() -> None:
    p = profiler.Profile(
        0.010, [profiler.Row("Tanh", 0.002, 0.004, 6)], [profiler.Row("lstm", 0.002, 0.004, 6)], {"rest": 0.004}
    )
    assert str(p).splitlines() == [
        "it took 10.00 ms",
        "",
        "operation  forward ms  backward ms   share    calls",
        "Tanh            2.000        4.000   60.0 %        6",
        "rest                         4.000   40.0 %",
        "",
        "module  forward ms  backward ms   share    calls",
        "lstm         2.000        4.000   60.0 %        6",
        "rest                      4.000   40.0 %",
    ]
    assert p.table(2).splitlines()[0] == "one of 2 steps took 5.00 ms"
    assert "Tanh            1.000        2.000   60.0 %        3" in p.table(2)
    assert json.loads(json.dumps(p.as_dict()))["operations"][0]["backward"] == 0.004


def test_outside_of_the_block_nothing_is_timed() -> None:
    with ts.profile():
        assert len(listening) == 1
    assert state.tracer is None and not listening
