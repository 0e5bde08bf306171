"""A recurrence over rows of a table: W multiplies each row once, and everything else is as it was."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.backend import NumpyBackend, RowsGradient
from tinygrad_seq.backend.base import Kernel
from tinygrad_seq.core.state import setting

V, B, T, D, H = 6, 4, 9, 12, 3  # so many places of so few rows that it is worth it
KINDS = {
    "rnn": (1, lambda x, h, c, W, U, b, **how: ts.ops.rnn(x, h, W, U, b, **how)),
    "gru": (3, lambda x, h, c, W, U, b, **how: ts.ops.gru(x, h, W, U, b, b * 0.5, **how)),
    "gru_cho": (3, lambda x, h, c, W, U, b, **how: ts.ops.gru_cho(x, h, W, U, b, **how)),
    "lstm": (4, lambda x, h, c, W, U, b, **how: ts.ops.lstm(x, h, c, W, U, b, **how)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class Problem:
    def __init__(self, kind: str, dtype: str = "float64", seed: int = 0, padding: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        gates, self.run = KINDS[kind]
        shapes = {"E": (V, D), "h": (B, H), "c": (B, H), "W": (gates * H, D), "U": (gates * H, H), "b": (gates * H,)}
        self.p = {
            name: ts.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True)
            for name, shape in shapes.items()
        }
        self.tokens, self.padding = rng.integers(0, V - 1, (B, T)), padding  # the last row stands nowhere
        self.weights = ts.tensor(rng.standard_normal((B, T, H)), dtype=dtype)

    def embedded(self) -> ts.Tensor:
        return ts.ops.embedding(self.p["E"], self.tokens, self.padding)

    def outputs(self, x: ts.Tensor, **how: Any) -> ts.Tensor:
        y, last = self.run(x, *(self.p[name] for name in "hcWUb"), **how)
        ends = last if isinstance(last, tuple) else (last,)
        return (y * self.weights).sum() + sum((end**2).sum() for end in ends)

    def sources(self, kind: str) -> list[ts.Tensor]:
        return [p for name, p in self.p.items() if name != "c" or kind == "lstm"]


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of x that the kernels were given."""
    seen: list[tuple[int, ...]] = []

    def watched(kernel: Kernel) -> Kernel:
        def forward(be: Any, x: Any, *others: Any, **static: Any) -> Any:
            seen.append(x.shape)
            return kernel.forward(be, x, *others, **static)

        return Kernel(forward, kernel.backward)

    kernels = NumpyBackend.kernels
    monkeypatch.setattr(
        NumpyBackend, "kernels", kernels | {f"{name}_sequence": watched(kernels[f"{name}_sequence"]) for name in KINDS}
    )
    yield seen


def assert_near(found: Any, expected: Any, dtype: str = "float64") -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype == dtype
        exact = 1e-12 if dtype == "float64" else 2e-6
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=exact * max(np.abs(b.data).max(), 1))


@every_kind
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [9, 1, 4, 8]])
@pytest.mark.parametrize("padding", [None, 2])
def test_gradients_are_those_of_the_definition(
    kind: str, dtype: str, reverse: bool, lengths: Any, padding: int | None, inputs: list[tuple[int, ...]]
) -> None:
    problem = Problem(kind, dtype, padding=padding)
    how = {"reverse": reverse, "lengths": lengths}
    gs = ts.grad(problem.outputs(problem.embedded(), **how), problem.sources(kind))
    assert inputs == [(B, T, V)]
    with setting(fused=False):
        expected = ts.grad(problem.outputs(problem.embedded(), **how), problem.sources(kind))
    assert_near(gs, expected, dtype)
    assert np.any(gs[0].data[0]) and not gs[0].data[-1].any()


@every_kind
def test_of_more_sequences_than_compiled_kernels_take_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"B": 35, "H": 20}.items():
        monkeypatch.setitem(globals(), name, size)
    problem = Problem(kind, "float32")
    problem.tokens = problem.tokens.astype(np.uint8)
    how = {"lengths": np.random.default_rng(1).integers(1, T + 1, B)}
    for p in problem.p.values():
        p.data *= 0.3
    gs = ts.grad(problem.outputs(problem.embedded(), **how), problem.sources(kind))
    with setting(fused=False):
        expected = ts.grad(problem.outputs(problem.embedded(), **how), problem.sources(kind))
    assert_near(gs, expected, "float32")


@every_kind
def test_who_asks_for_the_gradient_of_x_gets_it(kind: str) -> None:
    """By grad, by a hook, by retain_grad, and where x is used once more; each time the table's too."""
    problem = Problem(kind)
    with setting(fused=False):
        x = problem.embedded()
        expected = ts.grad(problem.outputs(x), [x, problem.p["E"]])
        x = problem.embedded()
        expected_twice = ts.grad(problem.outputs(x) + (x * x).sum() + problem.outputs(x), [x, problem.p["E"]])
    x = problem.embedded()
    assert_near(ts.grad(problem.outputs(x), [x, problem.p["E"]]), expected)
    x = problem.embedded()
    assert_near([ts.grad(problem.outputs(x), x)], expected[:1])
    x = problem.embedded()
    assert_near(ts.grad(problem.outputs(x) + (x * x).sum() + problem.outputs(x), [x, problem.p["E"]]), expected_twice)
    x, seen = problem.embedded(), []
    x.register_hook(seen.append)
    x.retain_grad()
    problem.outputs(x).backward()
    assert_near([seen[0], x.grad, problem.p["E"].grad], [expected[0], *expected])
    assert type(seen[0].data) is type(x.grad.data) is np.ndarray


@every_kind
def test_a_hook_s_change_reaches_the_table(kind: str) -> None:
    problem = Problem(kind)
    expected = ts.grad(problem.outputs(problem.embedded()), problem.p["E"])
    x = problem.embedded()
    x.register_hook(lambda g: g * 2)
    problem.outputs(x).backward()
    assert_near([problem.p["E"].grad], [expected * 2])


@every_kind
def test_two_recurrences_over_the_same_rows(kind: str, inputs: list[tuple[int, ...]]) -> None:
    """As the two directions of a layer: their gradients are added as the table's."""
    problem = Problem(kind)
    with setting(fused=False):
        x = problem.embedded()
        expected = ts.grad(problem.outputs(x) + problem.outputs(x, reverse=True), [*problem.sources(kind), x])
    x = problem.embedded()
    assert_near(ts.grad(problem.outputs(x) + problem.outputs(x, reverse=True), problem.sources(kind)), expected[:-1])
    assert inputs == [(B, T, V)] * 2  # nothing ran again over all places
    assert_near([ts.grad(problem.outputs(x) + problem.outputs(x, reverse=True), x)], expected[-1:])


@every_kind
def test_a_second_walk_and_a_second_derivative(kind: str) -> None:
    problem = Problem(kind)
    loss = problem.outputs(problem.embedded())
    first = ts.grad(loss, problem.sources(kind), retain_graph=True)
    assert_near(ts.grad(loss, problem.sources(kind), retain_graph=True), first)
    found = ts.grad(loss, problem.sources(kind), create_graph=True)
    assert_near(found, first)
    again = ts.grad((found[0] ** 2).sum(), problem.p["W"])
    with setting(fused=False):
        found = ts.grad(problem.outputs(problem.embedded()), problem.sources(kind), create_graph=True)
        assert_near([again], [ts.grad((found[0] ** 2).sum(), problem.p["W"])])


@every_kind
def test_a_row_that_is_infinite_reaches_only_its_readers(kind: str) -> None:
    problem = Problem(kind)
    problem.tokens[problem.tokens == 0] = 1
    problem.tokens[2, 3] = 0
    problem.p["E"].data[0] = np.inf
    with np.errstate(invalid="ignore"):
        y = problem.run(problem.embedded(), *(problem.p[name] for name in "hcWUb"))[0].data
    assert np.isfinite(y[[0, 1, 3]]).all()


@every_kind
def test_places_that_were_written_into_are_read_as_they_are(kind: str, inputs: list[tuple[int, ...]]) -> None:
    """One of several that read the same row: the others keep theirs."""
    problem = Problem(kind)
    problem.tokens[0, :4] = 1

    def found() -> list[Any]:
        x = problem.embedded()
        x.data[0, 1] = 0
        return [problem.outputs(x), *ts.grad(problem.outputs(x), [x, *problem.sources(kind)[1:]])]

    with setting(fused=False):
        expected = found()
    assert_near(found(), expected)
    assert inputs == [(B, T, D)] * 2


@every_kind
def test_a_table_of_whole_sequences_is_no_table_of_rows(kind: str) -> None:
    problem, E = Problem(kind), ts.tensor(np.random.default_rng(1).standard_normal((V, T, D)), requires_grad=True)
    with setting(fused=False):
        expected = ts.grad(problem.outputs(ts.ops.embedding(E, [0, 1, 1, 4])), E)
    assert_near([ts.grad(problem.outputs(ts.ops.embedding(E, [0, 1, 1, 4])), E)], [expected])


@every_kind
def test_a_large_table_is_read_place_by_place(kind: str, inputs: list[tuple[int, ...]]) -> None:
    problem = Problem(kind)
    problem.p["E"] = ts.tensor(np.ones((100, D)), requires_grad=True)
    gs = ts.grad(problem.outputs(problem.embedded()), problem.sources(kind))
    assert inputs == [(B, T, D)] and gs[0].shape == (100, D)


def test_a_gradient_not_written_out_is_an_array_to_numpy() -> None:
    array, index = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    g = RowsGradient(array.shape, array.dtype, index, np.ones((2, 2)), lambda: array)
    np.testing.assert_array_equal(np.isnan(g), np.isnan(array))
    for found in (g + array, array + g, g * 2, g.reshape(2, 3).reshape(3, 2) * 2):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, array * 2)
    assert type(g + g) is RowsGradient and (g + g).of_table.tolist() == [[2, 2], [2, 2]]


@every_kind
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rows", [True, False])
def test_what_is_held_over_many_steps_stays_as_it_was(kind: str, dtype: str, rows: bool) -> None:
    """Outputs, states and gradients are nobody's working memory, and inputs are not written into."""
    held: list[np.ndarray] = []
    copies: list[np.ndarray] = []
    for step in range(6):
        problem = Problem(kind, dtype, seed=step)
        x = problem.embedded() if rows else ts.tensor(problem.embedded().data, requires_grad=True)
        y, last = problem.run(x, *(problem.p[name] for name in "hcWUb"))
        ends = last if isinstance(last, tuple) else (last,)
        seed = ts.tensor(np.ones(y.shape), dtype=dtype)
        given = [x, seed, *problem.sources(kind)]
        sources = problem.sources(kind) if rows else [x, *problem.sources(kind)[1:]]
        before = [t.data.copy() for t in (*given, y, *ends)]
        gs = ts.grad([y, *ends], sources, [seed, *(ts.tensor(np.ones(end.shape), dtype=dtype) for end in ends)])
        held += [t.data for t in (*given, y, *ends, *gs)]
        copies += [*before, *(g.data.copy() for g in gs)]
    for array, copy in zip(held, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("uses", ["three layers", "a layer of both directions, and another use before it"])
@pytest.mark.parametrize("again", [False, True])
def test_all_uses_of_large_embeddings_count(kind: str, uses: str, again: bool) -> None:
    """Gradients of so many numbers are added up in place, where the engine made the sum."""
    cell = {"lstm": ts.nn.LSTM, "gru": ts.nn.GRU, "rnn": ts.nn.RNN}[kind]
    tokens = np.random.default_rng(1).integers(0, 20, (8, 40))

    def gradient() -> Any:
        ts.seed(0)
        embedding = ts.nn.Embedding(20, 64)
        layers = [cell(64, 8) for _ in range(3)] if uses == "three layers" else [cell(64, 8, bidirectional=True)]

        def loss(x: ts.Tensor) -> ts.Tensor:
            first = (x * x).sum() if uses != "three layers" else 0.0
            return sum((layer(x)[0].sum() for layer in layers), first)

        x = embedding(tokens)
        (ts.checkpoint(loss, x) if again else loss(x)).backward()
        return embedding.weight.grad.numpy()

    found = gradient()
    with ts.definitions():
        expected = gradient()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
