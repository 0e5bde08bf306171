"""NumPy's kernels that share their work among threads: the same results, whatever the pieces."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.backend import fast, numpy_backend, threads


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


B, S, T, D, N = 5, 6, 7, 8, 2
WEIGHTS = [numbers(3 * D, D), numbers(3 * D), numbers(D, D), numbers(D)]
MASKS = {
    "": None,
    "one": numbers(S, T) > -1,
    "of-heads": numbers(N, S, T) > -1,
    "of-keys": numbers(B, 1, 1, T) > -1,
    "of-all": numbers(B, N, S, T) > -1,
}


def cases() -> Iterator[tuple[str, Callable[..., Any], list[Any]]]:
    x, keys, values = numbers(B, S, D), numbers(B, T, D), numbers(B, T, D)
    yield "gelu", lambda x: ts.ops.gelu(x, "tanh"), [numbers(33, 7)]
    yield "exact gelu", ts.ops.gelu, [numbers(33, 7)]
    yield "gelu of a number", lambda x: ts.ops.gelu(x, "tanh"), [numbers()]
    for shape in [(D,), (1, D), (33, D), (3, 5, D)]:
        yield f"linear-{shape}", ts.ops.linear, [numbers(*shape), numbers(9, D), numbers(9)]
        yield f"linear-{shape}-no-bias", ts.ops.linear, [numbers(*shape), numbers(1, D)]
    for activation, shape, dropout in itertools.product(["relu", "gelu", "gelu_tanh"], [(D,), (3, 5, D)], (0.0, 0.3)):

        def network(*xs: Any, activation: str = activation, dropout: float = dropout) -> Any:
            ts.seed(0)
            return ts.ops.feed_forward(*xs, activation, dropout=dropout)

        weights = [numbers(9, D), numbers(9), numbers(D, 9), numbers(D)]
        name = f"feed-forward-{activation}-{shape}{'-dropout' * bool(dropout)}"
        yield name, network, [numbers(*shape), *weights]
        yield f"{name}-no-bias", network, [numbers(*shape), numbers(9, D), None, numbers(1, 9), None]
    for name, mask in MASKS.items():

        def attend(*xs: Any, mask: Any = mask) -> Any:
            return ts.ops.multi_head_attention(*xs, N, mask, causal=True)

        yield f"attention-{name}", attend, [x, keys, values, *WEIGHTS]
        yield f"attention-{name}-one-memory", attend, [x, keys, None, *WEIGHTS]
    yield "attention-self", lambda *xs: ts.ops.multi_head_attention(*xs, N), [x, None, None, *WEIGHTS]
    without = [WEIGHTS[0], None, WEIGHTS[2], None]
    yield "attention-self-no-bias", lambda *xs: ts.ops.multi_head_attention(*xs, N), [x, None, None, *without]


def recurrences() -> Iterator[tuple[str, Callable[..., Any], list[Any]]]:
    """Of so large a batch that sums over steps are taken in several parts; of one step, which is one part."""
    for B, T, reverse, short in itertools.product((100, 3), (9, 1), (False, True), (False, True)):
        D, H = 4, 3
        how = {"reverse": reverse, "lengths": np.random.default_rng(B).integers(1, T + 1, B) if short else None}
        name = f"B{B}-T{T}{'-reverse' * reverse}{'-lengths' * short}"
        x, h, c = numbers(B, T, D), numbers(B, H), numbers(B, H, 1)[:, :, 0]

        def weights(gates: int, biases: int = 1, D: int = D, H: int = H) -> list[np.ndarray]:
            return [numbers(gates * H, D), numbers(gates * H, H), *[numbers(gates * H, 1)[:, 0]] * biases]

        def run(op: Any, how: dict[str, Any] = how) -> Callable[..., Any]:
            def joined(*xs: Any) -> Any:  # outputs and the last state, of which all must have arrived
                y, state = op(*xs, **how)
                states = state if isinstance(state, tuple) else (state,)
                return ts.ops.concatenate([y, *(ts.ops.expand_dims(each, 1) for each in states)], 1)

            return joined

        yield f"lstm-{name}", run(ts.ops.lstm), [x, h, c, *weights(4)]
        yield f"gru-{name}", run(ts.ops.gru), [x, h, *weights(3, 2)]
        yield f"gru-cho-{name}", run(ts.ops.gru_cho), [x, h, *weights(3)]
        yield f"rnn-{name}", run(ts.ops.rnn), [x, h, *weights(1)]


CASES = {name: (f, inputs) for name, f, inputs in [*cases(), *recurrences()]}


@pytest.fixture(params=[1, 2, 3])
def on_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Everything is worth sharing, in small chunks, and numba's kernels are away."""
    monkeypatch.setattr(numpy_backend, "SHARED", 0)
    monkeypatch.setattr(numpy_backend, "CHUNK", 10)
    monkeypatch.setattr(fast, "_found", dict.fromkeys(fast.FILES))
    for name, value in {"_threads": request.param, "_pool": None, "_shares": True}.items():
        monkeypatch.setattr(threads, name, value)
    return request.param


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [0, 1 << 60], ids=["cut", "helped"])
def test_it_is_its_definition(
    on_threads: int, name: str, dtype: Any, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recurrence's batch is cut, or other threads take its sums."""
    f, inputs = CASES[name]
    monkeypatch.setattr(numpy_backend, "STEP", step)

    def run() -> list[np.ndarray]:
        xs = [None if a is None else ts.tensor(a.astype(dtype), requires_grad=True) for a in inputs]
        given = [x for x in xs if x is not None]
        y = f(*xs)
        seed = ts.tensor(numbers(*y.shape).astype(dtype))
        first = ts.grad(y, given, seed, retain_graph=True)
        threads._threads = on_threads + 1  # the pieces are those of the forward pass
        again = ts.grad(y, given, seed, retain_graph=True)
        threads._threads = on_threads
        alone = ts.grad(f(given[0].detach(), *xs[1:]), given[1:], seed) if given[1:] else ()
        return [y.data, *(g.data for g in (*first, *again, *alone))]

    found = run()
    with ts.definitions():
        expected = run()
    exact = 2e-5 if dtype is np.float32 else 1e-13
    for a, e in zip(found, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, e, rtol=0, atol=exact * (np.abs(e).max() + 1e-3))


def test_work_is_shared_among_threads(on_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = []
    split = threads.split
    monkeypatch.setattr(threads, "split", lambda work, size: (shared.append(size), split(work, size)))
    ts.ops.multi_head_attention(ts.tensor(numbers(B, S, D)), None, None, *map(ts.tensor, WEIGHTS), N)
    assert shared == ([on_threads] if on_threads > 1 else [])


def gradients(step: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    monkeypatch.setattr(numpy_backend, "STEP", step)
    f, inputs = CASES["lstm-B100-T9"]
    xs = [ts.tensor(a, requires_grad=True) for a in inputs]
    y = f(*xs)
    return [a.data.tobytes() for a in (y, *ts.grad(y, xs, ts.tensor(numbers(*y.shape))))]


@pytest.mark.parametrize("step", [0, 1 << 60], ids=["cut", "helped"])
def test_a_shared_recurrence_gives_the_same_bits_each_time(
    on_threads: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len({tuple(gradients(step, monkeypatch)) for _ in range(5)}) == 1


def test_a_recurrence_is_helped_or_its_batch_is_cut(on_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, cut = [], []
    begin, split = threads.begin, threads.split
    monkeypatch.setattr(threads, "begin", lambda work: (begun.append(work), begin(work))[1])
    monkeypatch.setattr(threads, "split", lambda work, size: (cut.append(size), split(work, size)))
    gradients(1 << 60, monkeypatch)
    assert (len(begun) > 2, cut) == (on_threads > 1, [])
    begun.clear()
    gradients(0, monkeypatch)
    assert (begun, cut) == ([], [on_threads, on_threads] if on_threads > 1 else [])
