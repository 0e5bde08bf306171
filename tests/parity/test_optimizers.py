"""Optimizers, clipping and PyTorch's, step by step on the same gradients."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")
torch.set_num_threads(1)  # small arrays: threads only get in each other's way

SHAPES = [(3, 2), (4,), (), (2, 1, 3)]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.5}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "momentum": 0.5, "weight_decay": 0.1}),
]


def pair() -> tuple[list[ts.Tensor], list[Any]]:
    generator = np.random.default_rng(0)
    arrays = [np.asarray(generator.standard_normal(shape)) for shape in SHAPES]
    ours = [ts.tensor(a, requires_grad=True) for a in arrays]
    return ours, [torch.tensor(a, requires_grad=True) for a in arrays]


def give(ours: list[ts.Tensor], theirs: list[Any], t: int, skipped: bool) -> None:
    generator = np.random.default_rng(100 + t)
    for k, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        g = np.asarray(generator.standard_normal(p.shape) * 10 ** generator.uniform(-3, 1))
        missing = skipped and ((k == 1 and t < 5) or (k == 3 and t % 4 == 2))
        p.grad = None if missing else ts.tensor(g)
        q.grad = None if missing else torch.tensor(g)


@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_step_by_step(name: str, options: dict[str, Any], skipped: bool) -> None:
    ours, theirs = pair()
    groups = [{"params": slice(0, 2)}, {"params": slice(2, 4), "lr": 0.03}]
    opt = getattr(ts.optim, name)([g | {"params": ours[g["params"]]} for g in groups], **options)
    ref = getattr(torch.optim, name)([g | {"params": theirs[g["params"]]} for g in groups], **options)
    for t in range(20):
        give(ours, theirs, t, skipped)
        if t == 10:  # a schedule at work
            for group in (*opt.param_groups, *ref.param_groups):
                group["lr"] *= 0.5
        opt.step()
        ref.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("max_norm", [0.1, 1e3])
def test_clip_grad_norm(max_norm: float) -> None:
    ours, theirs = pair()
    give(ours, theirs, 5, True)
    norm = ts.optim.clip_grad_norm(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=1e-13)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)


def test_clip_grad_value() -> None:
    ours, theirs = pair()
    give(ours, theirs, 5, True)
    ts.optim.clip_grad_value(ours, 0.2)
    torch.nn.utils.clip_grad_value_(theirs, 0.2)
    for p, q in zip(ours, theirs, strict=True):
        if p.grad is not None:
            np.testing.assert_array_equal(p.grad.data, q.grad.numpy())


def test_schedules() -> None:
    w = torch.zeros(1, requires_grad=True)
    for ours, make in (
        (ts.optim.schedules.step_decay(0.5, every=7), lambda o: torch.optim.lr_scheduler.StepLR(o, 7)),
        (ts.optim.schedules.cosine(0.5, 30, 0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30, 0.1)),
    ):
        ref = torch.optim.SGD([w], lr=0.5)
        schedule = make(ref)
        for step in range(30):
            assert ours(step) == pytest.approx(ref.param_groups[0]["lr"], rel=1e-12)
            ref.step()
            schedule.step()
