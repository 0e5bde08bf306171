"""Kernels for one more symbol, of which nothing is kept, against the definitions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import ops
from tinygrad_seq.backend import backend_for

B_D_H = [(1, 1, 1), (1, 5, 3), (2, 4, 6), (17, 3, 5), (0, 2, 3)]


def recurrent(run: Any, states: int, gates: int, biases: int, B: int, D: int, H: int) -> tuple[Any, list[Any]]:
    return run, [(B, 1, D), *[(B, H)] * states, (gates * H, D), (gates * H, H), *[(gates * H,)] * biases]


CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {}
for B, D, H in B_D_H:
    for name, run, states, gates, biases in [
        ("lstm", ops.lstm, 2, 4, 1),
        ("gru", ops.gru, 1, 3, 2),
        *((f"rnn {g}", partial(ops.rnn, nonlinearity=g), 1, 1, 1) for g in ("tanh", "relu", "sigmoid")),
        ("lstm with lengths", partial(ops.lstm, lengths=np.ones(B, int), reverse=True), 2, 4, 1),
    ]:
        CASES[f"{name} {B} {D} {H}"] = recurrent(run, states, gates, biases, B, D, H)
for rows in [(), (1,), (1, 1), (2, 1), (4, 4), (3, 0)]:
    CASES[f"linear {rows}"] = ops.linear, [(*rows, 5), (3, 5), (3,)]
    CASES[f"linear without bias {rows}"] = ops.linear, [(*rows, 5), (3, 5)]
for causal in (False, True):
    attention = partial(ops.scaled_dot_product_attention, causal=causal)
    CASES[f"attention {causal}"] = attention, [(2, 3, 1, 4), (2, 3, 6, 4), (2, 3, 6, 5)]


def flat(ys: Any) -> list[Any]:
    return [ys] if isinstance(ys, ts.Tensor) else [part for y in ys for part in flat(y)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_they_compute_what_the_definitions_say(case: str, dtype: Any) -> None:
    """Of weights that require a gradient, under no_grad; in each layout; and no input is written into."""
    run, shapes = CASES[case]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    with ts.definitions():
        expected = [y.numpy() for y in flat(run(*map(ts.tensor, arrays)))]
    for layout in (np.array, np.asfortranarray):
        given = [ts.Tensor(layout(a)) for a in arrays]
        for x in given:
            x.requires_grad = True
        with ts.no_grad():
            found = flat(run(*given))
        for y, e in zip(found, expected, strict=True):
            assert y.shape == e.shape and y.dtype == dtype
            np.testing.assert_allclose(y.numpy(), e, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
        for x, a in zip(given, arrays, strict=True):
            np.testing.assert_array_equal(x.data, a)
        memory = [*(y.data for y in found), *(x.data for x in given)]
        assert not any(np.shares_memory(a, b) for k, a in enumerate(memory) for b in memory[:k])


@pytest.mark.parametrize("case", CASES)
def test_they_run_where_no_gradient_is_wanted(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They, not the kernels that keep something; with a gradient those run."""
    run, shapes = CASES[case]
    ran: list[str] = []
    be = backend_for("cpu")
    for name in ("attention", "gru_sequence", "linear", "lstm_sequence", "rnn_sequence"):
        kernel = be.kernels[name]

        def forward(*inputs: Any, kernel: Any = kernel, **static: Any) -> Any:
            ran.append("forward")
            return kernel.forward(*inputs, **static)

        monkeypatch.setitem(be.kernels, name, kernel._replace(forward=forward))
    xs = [ts.tensor(np.ones(shape, np.float32), requires_grad=True) for shape in shapes]
    with ts.no_grad():
        run(*xs)
        run(*(x.detach() for x in xs))
    assert ran == []
    run(*xs)
    assert ran == ["forward"]
