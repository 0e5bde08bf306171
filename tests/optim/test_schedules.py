"""Learning-rate schedules against their formulas."""

import math

import pytest

import tinygrad_seq as ts
from tinygrad_seq.optim import schedules

STEPS = range(0, 200, 7)


def test_constant() -> None:
    assert {schedules.constant(0.3)(step) for step in STEPS} == {0.3}


def test_step_decay() -> None:
    schedule = schedules.step_decay(2.0, every=30, factor=0.5)
    for step in STEPS:
        assert schedule(step) == 2.0 * 0.5 ** (step // 30)
    assert schedules.step_decay(1.0, every=10)(10) == 0.1


def test_cosine() -> None:
    schedule = schedules.cosine(1.0, steps=100, final=0.1)
    for step in STEPS:
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * step / 100)) / 2 if step < 100 else 0.1
        assert schedule(step) == pytest.approx(expected, rel=1e-14)
    assert schedule(0) == 1.0 and schedule(50) == pytest.approx(0.55) and schedule(100) == schedule(10**6) == 0.1


def test_linear_warmup() -> None:
    schedule = schedules.linear_warmup(schedules.constant(2.0), steps=10)
    assert [schedule(step) for step in range(12)] == [pytest.approx(2.0 * min(1, (s + 1) / 10)) for s in range(12)]
    both = schedules.linear_warmup(schedules.cosine(1.0, steps=100), steps=10)
    assert both(4) == pytest.approx(0.5 * schedules.cosine(1.0, steps=100)(4))
    assert both(50) == schedules.cosine(1.0, steps=100)(50)


def test_noam() -> None:
    schedule = schedules.noam(512, warmup=4000, factor=2.0)
    for step in (0, 100, 3999, 4000, 100_000):
        n = step + 1  # the paper counts from 1
        assert schedule(step) == pytest.approx(2 * 512**-0.5 * min(n**-0.5, n * 4000**-1.5), rel=1e-14)
    assert schedule(3999) == max(schedule(s) for s in range(0, 10_000))
    assert schedule(3999) == pytest.approx(2 * 512**-0.5 * 4000**-0.5)


def test_every_schedule_is_positive_and_finite_from_the_first_step() -> None:
    for schedule in (
        schedules.constant(1.0),
        schedules.step_decay(1.0, every=3),
        schedules.linear_warmup(schedules.constant(1.0), steps=5),
        schedules.cosine(1.0, steps=50, final=0.01),
        schedules.noam(64, warmup=10),
    ):
        assert all(0 < schedule(step) < math.inf for step in range(100))


def test_a_schedule_drives_an_optimizer() -> None:
    w = ts.tensor([0.0], dtype="float64", requires_grad=True)
    opt, schedule = ts.optim.SGD([w]), schedules.linear_warmup(schedules.constant(1.0), steps=4)
    for step in range(5):
        w.grad = ts.tensor([1.0])
        opt.set_lr(schedule(step))
        opt.step()
    assert w.item() == -(0.25 + 0.5 + 0.75 + 1 + 1)


def test_errors() -> None:
    for name, make in {
        "every": lambda: schedules.step_decay(1.0, every=0),
        "steps": lambda: schedules.cosine(1.0, steps=0),
        "warmup": lambda: schedules.noam(10, warmup=0),
        "d_model": lambda: schedules.noam(0, warmup=1),
    }.items():
        with pytest.raises(ValueError, match=f"schedule: {name} is at least 1, got 0"):
            make()
    with pytest.raises(ValueError, match="steps is at least 1"):
        schedules.linear_warmup(schedules.constant(1.0), steps=0)
