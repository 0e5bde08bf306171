"""Gradient clipping."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.optim import clip_grad_norm, clip_grad_value


def params(*gradients: list[float] | None, dtype: str = "float64") -> list[ts.Tensor]:
    made = []
    for g in gradients:
        p = ts.tensor(np.zeros(2 if g is None else len(g), dtype), requires_grad=True)
        p.grad = None if g is None else ts.tensor(np.array(g, dtype))
        made.append(p)
    return made


def test_a_large_norm_is_scaled_down_over_all_parameters_together() -> None:
    ps = params([3.0, 0.0], None, [4.0])
    norm = clip_grad_norm(ps, 1.0)
    assert isinstance(norm, ts.Tensor) and norm.shape == () and norm.item() == 5
    np.testing.assert_allclose(ps[0].grad.data, [3 / 5.000001, 0], rtol=1e-14)
    np.testing.assert_allclose(ps[2].grad.data, [4 / 5.000001], rtol=1e-14)
    assert ps[1].grad is None


def test_a_small_norm_stays_as_it_is() -> None:
    ps = params([3.0], [4.0])
    before = [p.grad for p in ps]
    assert clip_grad_norm(ps, 10.0).item() == 5
    assert ps[0].grad.item() == 3 and ps[1].grad.item() == 4
    assert all(p.grad is g for p, g in zip(ps, before, strict=True)), "nothing is copied"


def test_a_generator_of_parameters() -> None:
    ps = params([3.0], [4.0])
    clip_grad_norm((p for p in ps), 1.0)
    assert ps[1].grad.item() < 1


def test_a_gradient_is_a_value() -> None:
    """One array may be the gradient of two parameters: it is scaled once for each, never in place."""
    a, b = ts.tensor([0.0], requires_grad=True), ts.tensor([0.0], requires_grad=True)
    ((a + b) * 10).sum().backward()
    held = a.grad
    for clip in (lambda: clip_grad_norm([a, b], 1.0), lambda: clip_grad_value([a, b], 0.25)):
        clip()
        np.testing.assert_array_equal(a.grad.data, b.grad.data)
    assert held.item() == 10 and a.grad.item() == 0.25


@pytest.mark.filterwarnings("ignore:invalid value")
def test_not_finite_gradients_show_in_the_norm() -> None:
    assert np.isnan(clip_grad_norm(params([float("nan"), 1.0]), 1.0).item())
    assert np.isinf(clip_grad_norm(params([float("inf"), 1.0]), 1.0).item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(dtype: str) -> None:
    ps = params([3.0, 4.0], dtype=dtype)
    clip_grad_norm(ps, 1.0)
    assert ps[0].grad.dtype == dtype
    clip_grad_value(ps, 0.1)
    assert ps[0].grad.dtype == dtype


def test_mixed_dtypes_stay() -> None:
    ps = params([3.0], dtype="float32") + params([4.0], dtype="float64")
    clip_grad_norm(ps, 1.0)
    assert [p.grad.dtype for p in ps] == [np.float32, np.float64]


def test_float16_does_not_overflow() -> None:
    ps = params([300.0, 400.0], dtype="float16")
    assert clip_grad_norm(ps, 5.0).item() == pytest.approx(500, rel=1e-3)
    np.testing.assert_allclose(ps[0].grad.data, [3, 4], rtol=2e-3)
    assert ps[0].grad.dtype == np.float16


def test_values_are_cut_at_both_ends() -> None:
    ps = params([-3.0, 0.5, 3.0], None)
    clip_grad_value(ps, 1.0)
    assert ps[0].grad.data.tolist() == [-1, 0.5, 1] and ps[1].grad is None


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
def test_errors(clip: object) -> None:
    with pytest.raises(ValueError, match=f"{clip.__name__}: max_.* is above 0, got 0"):
        clip(params([1.0]), 0)
    with pytest.raises(ValueError, match=f"{clip.__name__}: no parameter has a gradient: call backward first"):
        clip(params(None), 1.0)


def test_one_tensor_alone() -> None:
    w = ts.tensor([3.0, 4.0], requires_grad=True)
    (w * w / 2).sum().backward()
    assert clip_grad_norm(w, 1.0).item() == 5
    clip_grad_value(w, 0.1)
    assert w.grad.tolist() == pytest.approx([0.1, 0.1])
