"""Optimizers against their formulas, written out one parameter at a time; groups, state, errors."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import optim
from tinygrad_seq.backend.threads import get_state, set_state, take_over

SHAPES = [(3, 2), (4,), (), (2, 1, 3)]
STEPS = 20


# -- the formulas: from a gradient to the change, for one array


def sgd(lr: float, momentum: float = 0, nesterov: bool = False, weight_decay: float = 0) -> Iterator[Any]:
    v, p, g = None, *(yield)
    while True:
        g = g + weight_decay * p
        v = g if v is None else momentum * v + g
        p, g = yield p - lr * (g + momentum * v if nesterov else v if momentum else g)


def adam(
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0,
    decoupled: bool = False,
) -> Iterator[Any]:
    (b1, b2), m, v, t = betas, 0.0, 0.0, 0
    p, g = yield
    while True:
        t += 1
        g = g if decoupled else g + weight_decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        p, g = yield p - lr * (m_hat / (np.sqrt(v_hat) + eps) + (weight_decay * p if decoupled else 0))


def adamw(lr: float, weight_decay: float = 1e-2, **options: Any) -> Iterator[Any]:
    return adam(lr, weight_decay=weight_decay, decoupled=True, **options)


def rmsprop(
    lr: float, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0, weight_decay: float = 0
) -> Iterator[Any]:
    v = u = 0.0
    p, g = yield
    while True:
        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        u = momentum * u + g / (np.sqrt(v) + eps)
        p, g = yield p - lr * u


CASES: list[tuple[Any, Callable[..., Iterator[Any]], dict[str, Any]]] = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.01}),
    (optim.Adam, adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.01, "betas": (0.0, 0.9)}),
    (optim.AdamW, adamw, {"lr": 0.01}),
    (optim.AdamW, adamw, {"lr": 0.01, "weight_decay": 0.5, "betas": (0.8, 0.99)}),
    (optim.AdamW, adamw, {"lr": 0.01, "weight_decay": 0.0}),
    (optim.RMSprop, rmsprop, {"lr": 0.01}),
    (optim.RMSprop, rmsprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "momentum": 0.5, "weight_decay": 0.1}),
]
IDS = [f"{kind.__name__} {options}" for kind, _, options in CASES]


def parameters(seed: int = 0) -> list[ts.Tensor]:
    generator = np.random.default_rng(seed)
    return [ts.tensor(np.asarray(generator.standard_normal(shape)), requires_grad=True) for shape in SHAPES]


def give_gradients(
    params: list[ts.Tensor], step: int, skip: Callable[[int, int], bool] = lambda k, step: False
) -> None:
    generator = np.random.default_rng(100 + step)
    for k, p in enumerate(params):
        g = generator.standard_normal(p.shape) * 10 ** generator.uniform(-3, 1)
        p.grad = None if skip(k, step) else ts.tensor(np.asarray(g))


def expect(
    params: list[ts.Tensor], formula: Callable[..., Iterator[Any]], options: dict[str, Any]
) -> Callable[[], list[np.ndarray]]:
    """A function that does one step by the formula and returns the values that follow."""
    values, rules = [p.data.copy() for p in params], [formula(**options) for _ in params]
    for rule in rules:
        next(rule)

    def step() -> list[np.ndarray]:
        for k, p in enumerate(params):
            if p.grad is not None:
                values[k] = rules[k].send((values[k], p.grad.data))
        return values

    return step


@pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=IDS)
def test_formula(kind: Any, formula: Any, options: dict[str, Any]) -> None:
    params = parameters()
    opt, step = kind(params, **options), expect(params, formula, options)
    arrays = [p.data for p in params]
    for t in range(STEPS):
        give_gradients(params, t)
        expected = step()
        opt.step()
        for p, array, value in zip(params, arrays, expected, strict=True):
            assert p.data is array, "parameters stay where they are"
            np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=IDS)
def test_parameters_without_gradient_are_passed_over(kind: Any, formula: Any, options: dict[str, Any]) -> None:
    """Each has its own step number: one that joins later starts with the correction of a first step."""
    params = parameters()
    opt, step = kind(params, **options), expect(params, formula, options)
    for t in range(STEPS):
        give_gradients(params, t, skip=lambda k, t: (k == 1 and t < 5) or (k == 2 and t % 3 == 0) or t == 7)
        expected = step()
        opt.step()
        for p, value in zip(params, expected, strict=True):
            np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop])
def test_gradients_are_not_written(kind: Any) -> None:
    params = parameters()
    opt = kind(params, lr=0.1, weight_decay=0.1)
    give_gradients(params, 0)
    before = [p.grad.data.copy() for p in params]
    opt.step()
    for p, g in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad.data, g)


def test_gradients_of_any_layout_and_dtype() -> None:
    """Broadcast views, transposes, and a wider dtype than the parameter's."""
    w = ts.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    w.grad = ts.tensor(np.arange(6.0, dtype=np.float32).reshape(3, 2).copy())[:, :].T
    optim.SGD([w], lr=1.0).step()
    np.testing.assert_array_equal(w.data, -np.arange(6.0).reshape(3, 2).T)
    w.grad = ts.Tensor(np.broadcast_to(np.float64(1), (2, 3)))
    optim.Adam([w], lr=1.0).step()
    assert w.dtype == np.float32


def test_parameters_of_any_layout_stay_where_they_are() -> None:
    """A transpose lies in memory column by column: what is flat of it is a copy."""
    w = ts.tensor(np.zeros((2, 3)), requires_grad=True)
    w.data = array = np.zeros((3, 2)).T
    w.grad = ts.tensor(np.arange(6.0).reshape(2, 3))
    optim.SGD([w], lr=1.0).step()
    assert w.data is array
    np.testing.assert_array_equal(array, -np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_threads_and_pieces_change_no_bit(kind: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut among threads, in the middle of parameters, or not; clipped before."""
    monkeypatch.setattr("tinygrad_seq.backend.numpy_backend.SHARED", 1)

    def trained(threads: int) -> list[np.ndarray]:
        ts.set_num_threads(threads)
        rng = np.random.default_rng(0)
        params = [ts.tensor(rng.standard_normal(n).astype(dtype), requires_grad=True) for n in (50_000, 3, 40_001)]
        opt = kind(params, lr=0.1, weight_decay=0.1)
        if threads > 1:
            take_over()
        for _ in range(2):
            for p in params:
                p.grad = ts.tensor(rng.standard_normal(p.shape).astype(dtype))
            optim.clip_grad_norm(params, 1.0)
            opt.step()
        return [p.data for p in params]

    before = get_state()
    try:
        for one, three in zip(trained(1), trained(3), strict=True):
            np.testing.assert_array_equal(one, three)
    finally:
        set_state(before)


# -- groups


def test_groups_have_options_of_their_own() -> None:
    a, b, c, d = parameters()
    opt = optim.Adam([{"params": [a, b], "lr": 0.1}, {"params": (p for p in [c, d]), "beta1": 0.5}], lr=0.01)
    assert [group["lr"] for group in opt.param_groups] == [0.1, 0.01]
    first, second = expect([a, b], adam, {"lr": 0.1}), expect([c, d], adam, {"lr": 0.01, "betas": (0.5, 0.999)})
    for t in range(5):
        give_gradients([a, b, c, d], t)
        expected = [*first(), *second()]
        opt.step()
        for p, value in zip([a, b, c, d], expected, strict=True):
            np.testing.assert_allclose(p.data, value, rtol=1e-12, atol=1e-14)


def test_groups_may_differ_in_dtype_and_one_may_not() -> None:
    a = ts.tensor([1.0], requires_grad=True)
    b = ts.tensor([1.0], dtype="float64", requires_grad=True)
    a.grad, b.grad = ts.tensor([1.0]), ts.tensor([1.0], dtype="float64")
    optim.Adam([{"params": [a]}, {"params": [b]}], lr=0.1).step()
    assert a.item() == pytest.approx(0.9) and b.item() == pytest.approx(0.9)
    with pytest.raises(ValueError, match="the parameters of one group have one device and dtype"):
        optim.Adam([a, b]).step()


def test_learning_rates_can_be_set() -> None:
    params = parameters()
    opt = optim.SGD([{"params": params[:2]}, {"params": params[2:], "lr": 3.0}], lr=1.0)
    give_gradients(params, 0)
    before = [p.data.copy() for p in params]
    opt.set_lr(0.5)
    opt.step()
    for p, value in zip(params, before, strict=True):
        np.testing.assert_allclose(p.data, value - 0.5 * p.grad.data)


def test_zero_grad() -> None:
    params = parameters()
    opt = optim.SGD(params)
    give_gradients(params, 0)
    opt.zero_grad()
    assert all(p.grad is None for p in params)
    before = [p.data.copy() for p in params]
    opt.step()  # nothing has a gradient: nothing moves
    for p, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.data, value)


# -- state


@pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("stop", [0, 1, 9])
def test_state_goes_on_bit_by_bit(kind: Any, formula: Any, options: dict[str, Any], stop: int) -> None:
    def skip(k: int, t: int) -> bool:
        return k == 1 and t % 3 == 0

    whole = parameters()
    opt = kind(whole, **options)
    half = parameters()
    first = kind(half, **options)
    for t in range(stop):
        for params, o in ((whole, opt), (half, first)):
            give_gradients(params, t, skip)
            o.step()
    state = first.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    resumed = [ts.tensor(p.data, requires_grad=True) for p in half]
    second = kind(resumed, **(options | {"lr": 123.0}))  # options come from the state
    give_gradients(resumed, 99)
    second.step()  # and whatever it had done before is forgotten
    for p, q in zip(resumed, half, strict=True):
        p.data[...] = q.data
    second.load_state_dict(state)
    for t in range(stop, stop + 6):
        for params, o in ((whole, opt), (resumed, second)):
            give_gradients(params, t, skip)
            o.step()
    for p, q in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_the_state_is_a_copy() -> None:
    params = parameters()
    opt = optim.Adam(params)
    give_gradients(params, 0)
    opt.step()
    state = opt.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    give_gradients(params, 1)
    opt.step()
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name], array)


def test_a_foreign_state_is_refused_with_every_mistake_and_changes_nothing() -> None:
    params = parameters()
    opt = optim.Adam(params, lr=0.01)
    give_gradients(params, 0)
    opt.step()
    before = opt.state_dict()
    good = opt.state_dict()
    foreign = {name: array for name, array in good.items() if name not in ("0.m", "0.eps")}
    foreign |= {"0.v": np.zeros(3), "1.lr": np.array(1.0)}
    with pytest.raises(ValueError) as caught:
        opt.load_state_dict(foreign)
    assert str(caught.value).splitlines() == [
        "load_state_dict of Adam:",
        "  missing: 0.eps ()",
        "  missing: 0.m (17,)",
        "  wrong shape: 0.v: expected (17,), got (3,)",
        "  unexpected: 1.lr ()",
    ]
    other = optim.SGD(parameters(), momentum=0.9)
    with pytest.raises(ValueError, match="missing: 0.beta1"):
        opt.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match=r"wrong shape: 0.steps: expected \(4,\), got \(2,\)"):
        opt.load_state_dict(optim.Adam(parameters()[:2]).state_dict())
    with pytest.raises(ValueError, match="missing: 0.lr"):
        opt.load_state_dict({})
    for name, array in opt.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# -- errors


def test_wrong_options() -> None:
    params = parameters()
    with pytest.raises(ValueError, match=r"Adam: lr is a number of at least 0, got -1"):
        optim.Adam(params, lr=-1)
    with pytest.raises(ValueError, match="SGD: momentum is a number of at least 0, got nan"):
        optim.SGD(params, momentum=float("nan"))
    with pytest.raises(ValueError, match="SGD: lr is a number of at least 0, got -2"):
        optim.SGD([{"params": params, "lr": -2}])
    with pytest.raises(ValueError, match=r"AdamW: betas are at least 0 and below 1, got \(0.9, 1.0\)"):
        optim.AdamW(params, betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="SGD: nesterov looks ahead along the momentum"):
        optim.SGD(params, nesterov=True)
    with pytest.raises(ValueError, match=r"SGD has no option \['beta'\]; it has \['lr', 'momentum', 'weight_decay'\]"):
        optim.SGD([{"params": params, "beta": 1}])


def test_wrong_parameters() -> None:
    w = ts.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="Adam: expected parameters, got none: pass model.parameters"):
        optim.Adam([])
    with pytest.raises(TypeError, match="Adam: expected tensors with requires_grad=True, got tensor"):
        optim.Adam([ts.tensor([1.0])])
    with pytest.raises(TypeError, match=r"SGD: expected a list of tensors, got one: pass \[tensor\]"):
        optim.SGD(w)
    with pytest.raises(TypeError, match="SGD: expected leaves, got what an op made"):
        optim.SGD([w * 2])
    with pytest.raises(ValueError, match="SGD: group 1 has no parameters"):
        optim.SGD([{"params": [w]}, {"params": []}])
    with pytest.raises(TypeError, match="SGD: expected tensors with requires_grad=True, got array"):
        optim.SGD([np.ones(2)])
    with pytest.raises(ValueError, match="SGD: a parameter is given twice"):
        optim.SGD([w, w])
    with pytest.raises(ValueError, match="SGD: a parameter is given twice"):
        optim.SGD([{"params": [w]}, {"params": [w]}])


# -- they train


@pytest.mark.parametrize(
    ("kind", "options"),
    [(optim.SGD, {"lr": 0.1}), (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}), (optim.Adam, {"lr": 0.1}),
     (optim.AdamW, {"lr": 0.1}), (optim.RMSprop, {"lr": 0.02})],
)  # fmt: skip
def test_it_fits_a_line(kind: Any, options: dict[str, Any]) -> None:
    ts.seed(0)
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    y = 3 * x - 1
    model = ts.nn.Linear(1, 1)
    opt = kind(model.parameters(), **options)
    for _ in range(200):
        opt.zero_grad()
        loss = ts.ops.mse_loss(model(ts.tensor(x)), y)
        loss.backward()
        opt.step()
    assert loss.item() < 1e-2
