"""The compiled kernels: each is its definition, in every way it can be called; and when they run at all."""

import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.backend import backend_for, fast, threads
from tinygrad_seq.core import FusedOp
from tinygrad_seq.ops.attention import MaskedSoftmax, MultiHeadAttention, ScaledDotProductAttention
from tinygrad_seq.ops.attention_decoder import UNNAMED, GRUAttentionDecoder
from tinygrad_seq.ops.dropout import Dropout
from tinygrad_seq.ops.elementwise import ExactGelu, Gelu
from tinygrad_seq.ops.feed_forward import FeedForward
from tinygrad_seq.ops.gru import GRUSequence
from tinygrad_seq.ops.linalg import Linear
from tinygrad_seq.ops.loss import CrossEntropy
from tinygrad_seq.ops.lstm import LSTMSequence
from tinygrad_seq.ops.normalization import LayerNorm
from tinygrad_seq.ops.rnn import RNNSequence
from tinygrad_seq.ops.softmax import LogSoftmax, Softmax

pytest.importorskip("numba")
if os.environ.get("TINYGRAD_SEQ_FAST") == "0":
    pytest.skip("TINYGRAD_SEQ_FAST=0 leaves out the compiled kernels", allow_module_level=True)

Array = np.ndarray


class Case(NamedTuple):
    """One op on one choice of inputs."""

    kind: type[FusedOp]
    inputs: list[Any]  # float32, or None
    static: dict[str, Any]

    def apply(self, xs: list[Any]) -> list[ts.Tensor]:
        ys = self.kind(**self.static)(*xs)
        return list(ys) if isinstance(ys, tuple) else [ys]


def numbers(*shape: int, seed: int = 0, scale: float = 0.5) -> Array:
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


# B, T, D, H of recurrences and B, T, S, D, E, H, A of the decoder: below, at and above those of a block and of a tile.
SEQUENCES = [(1, 1, 1, 1), (1, 6, 3, 5), (3, 1, 17, 16), (16, 5, 16, 32), (17, 4, 20, 37), (33, 3, 40, 27)]
DECODERS = [
    (1, 1, 1, 1, 1, 1, 1),
    (1, 4, 6, 3, 7, 5, 2),
    (3, 1, 4, 17, 5, 16, 30),
    (16, 5, 3, 16, 20, 32, 26),
    (17, 4, 5, 20, 32, 37, 16),
    (33, 3, 1, 4, 9, 27, 33),
]


def sequences(sizes: list[Any] = SEQUENCES) -> Iterator[tuple[str, Case]]:
    """Every recurrence."""
    for (B, T, D, H), reverse, short in itertools.product(sizes, (False, True), (False, True)):
        lengths = np.random.default_rng(B).integers(1, T + 1, B) if short else None
        how = {"reverse": reverse, "lengths": lengths}
        name = f"B{B}-T{T}-D{D}-H{H}{'-reverse' * reverse}{'-lengths' * short}"
        x, h, c = numbers(B, T, D), numbers(B, H), numbers(B, H, seed=1)

        def weights(gates: int, *names: str, D: int = D, H: int = H) -> list[Array]:
            shapes = {"W": (gates * H, D), "U": (gates * H, H), "b": (gates * H,)}
            # As layers have them: with larger ones a recurrence multiplies whatever is rounded.
            return [numbers(*shapes[each], seed=k + 2, scale=H**-0.5) for k, each in enumerate(names)]

        yield f"lstm_sequence-{name}", Case(LSTMSequence, [x, h, c, *weights(4, "W", "U", "b")], how)
        yield f"gru_sequence-{name}", Case(GRUSequence, [x, h, *weights(3, "W", "U", "b", "b")], how)
        for g in ("tanh", "relu", "sigmoid"):
            inputs = [x, h, *weights(1, "W", "U", "b")]
            yield f"rnn_sequence-{g}-{name}", Case(RNNSequence, inputs, how | {"nonlinearity": g})


def decoders(sizes: list[Any] = DECODERS) -> Iterator[tuple[str, Case]]:
    """The decoder; a mask of states at the end of a source, and one that hides all of one."""
    for (B, T, S, D, E, H, A), hidden in itertools.product(sizes, (False, True)):
        mask = None
        if hidden:
            mask = np.arange(S) < np.random.default_rng(B).integers(1, S + 1, (B, 1))
            mask[-1] = B == 1
        W_1, v = numbers(A, H, scale=H**-0.5), numbers(A, scale=2 * A**-0.5)
        shapes = (3 * H, D + E), (3 * H, H), (3 * H,), (3 * H,)
        cell = [numbers(*shape, seed=k + 1, scale=H**-0.5) for k, shape in enumerate(shapes)]
        inputs = [numbers(B, T, D), numbers(B, H), numbers(B, S, E), numbers(B, S, A), W_1, v, *cell]
        name = f"gru_attention_decoder-B{B}-T{T}-S{S}-D{D}-E{E}-H{H}-A{A}{'-mask' * hidden}"
        yield name, Case(GRUAttentionDecoder, inputs, {"mask": mask, "parts": UNNAMED})


def others() -> Iterator[tuple[str, Case]]:
    """The kernels that work element by element and row by row."""
    for shape in [(), (1,), (3, 5), (17, 64), (2, 70, 33)]:
        yield f"gelu-{shape}", Case(Gelu, [numbers(*shape, scale=2.0)], {})
        yield f"dropout-{shape}", Case(Dropout, [numbers(*shape)], {"p": 0.3, "key": 2**64 - 3})
        yield f"exact_gelu-{shape}", Case(ExactGelu, [numbers(*shape, scale=2.0)], {})
    for x, W, bias in itertools.product([(3,), (1, 4), (5, 4), (2, 35, 33), (3, 43, 33)], (1, 2, 40), (False, True)):
        weights = [numbers(W, x[-1], seed=1), numbers(W, seed=2) if bias else None]
        yield f"linear-{x}-{W}{'-bias' * bias}", Case(Linear, [numbers(*x), *weights], {})
    # Below, at and above the sizes of a tile, of the rows that are computed at once, and of what threads share.
    networks = itertools.product(
        ["relu", "gelu", "gelu_tanh"], [(3,), (1, 4), (50, 16), (2, 35, 33), (3, 43, 33)], (False, True)
    )
    for (activation, x, bias), F in itertools.product(networks, (1, 40)):
        E = x[-1] + 1 if bias else x[-1]
        weights = [numbers(F, x[-1], seed=1), numbers(F, seed=2), numbers(E, F, seed=3), numbers(E, seed=4)]
        if not bias:
            weights[1] = weights[3] = None
        how = {"activation": activation, "dropout": 0.3 if bias else 0.0, "key": 2**64 - 3}
        name = f"feed_forward-{activation}-{x}-{F}{'-bias-dropout' * bias}"
        yield name, Case(FeedForward, [numbers(*x), *weights], how)
    for shape, weight, bias in itertools.product([(3,), (2, 3), (70, 32), (3, 43, 33)], (False, True), (False, True)):
        D = shape[-1:]
        parameters = [numbers(*D, seed=1) if weight else None, numbers(*D, seed=2) if bias else None]
        name = f"layer_norm-{shape}{'-weight' * weight}{'-bias' * bias}"
        yield name, Case(LayerNorm, [numbers(*shape), *parameters], {"eps": 1e-5})
    for shape in [(1,), (3, 5), (17, 64), (4, 6, 33)]:
        x = numbers(*shape, scale=3.0)
        yield f"softmax-{shape}", Case(Softmax, [x], {"axis": -1})
        yield f"log_softmax-{shape}", Case(LogSoftmax, [x], {"axis": len(shape) - 1})
        for of in (shape, shape[-1:]):  # a mask of its own for each row; one for all
            mask = np.random.default_rng(1).random(of) > 0.4
            if len(of) > 1:
                mask[1] = False
            yield f"masked_softmax-{shape}-{of}", Case(MaskedSoftmax, [x], {"mask": mask})
    for shape, ignored in itertools.product([(2,), (1, 3), (5, 96), (4, 6, 33)], (None, 1)):
        targets = np.random.default_rng(1).integers(0, shape[-1], shape[:-1])
        if targets.size:
            targets.reshape(-1)[:1] = 0  # one counts
        how = {"targets": targets, "ignore_index": ignored, "smoothing": 0.0}
        yield f"cross_entropy-{shape}-{ignored}", Case(CrossEntropy, [numbers(*shape, scale=3.0), None], how)


def attentions() -> Iterator[tuple[str, Case]]:
    """One head and many, of the same keys and of others, on sizes below, at and above those of a vector."""
    sizes = [(1, 1, 3, 8, 2), (2, 1, 37, 66, 2), (2, 16, 16, 8, 2), (3, 5, 33, 12, 3), (2, 43, 20, 8, 4)]
    ways = itertools.product(sizes, (False, True), (None, "keys", "pairs", "padding"), (0.0, 0.3))
    for (B, S, T, D, N), causal, masked, dropout in ways:
        mask = None
        if masked == "padding":  # the last sequence is all of it
            mask = (np.arange(T) < np.arange(B)[::-1, None] * T // B)[:, None, None]
        elif masked:
            shape = (B, 1, 1, T) if masked == "keys" else (N, S, T)
            mask = np.random.default_rng(S).random(shape) > 0.4  # some queries see nothing
        how = {"mask": mask, "causal": causal, "dropout": dropout, "key": 2**64 - 3}
        name = (
            f"B{B}-S{S}-T{T}-D{D}-N{N}{'-causal' * causal}{f'-{masked}' if masked else ''}{'-dropout' * bool(dropout)}"
        )
        heads = [numbers(B, N, S, D // N), numbers(B, N, T, D // N, seed=1), numbers(B, N, T, D // N + 3, seed=2)]
        yield f"attention-{name}", Case(ScaledDotProductAttention, heads, how)
        x = [numbers(B, S, D), numbers(B, T, D, seed=1), numbers(B, T, D, seed=2)]
        weights = [numbers(3 * D, D, seed=3), numbers(3 * D, seed=4), numbers(D, D, seed=5), numbers(D, seed=6)]
        for given in range(3):
            if given == 0 and S != T and masked:
                continue  # the mask is of other keys
            inputs = [*x[: given + 1], *[None] * (2 - given), *weights]
            if given == 2:
                inputs[4] = inputs[6] = None
            yield f"multi_head_attention-{given + 1}-{name}", Case(MultiHeadAttention, inputs, how | {"heads": N})


CASES = dict([*sequences(), *decoders(), *others(), *attentions()])


def tensors(case: Case, dtype: Any, needed: Any = None) -> list[Any]:
    """The inputs; `needed` says which of them require a gradient, all if not given."""
    needed = [True] * len(case.inputs) if needed is None else needed
    return [
        None if a is None else ts.tensor(a.astype(dtype), requires_grad=need)
        for a, need in zip(case.inputs, needed, strict=True)
    ]


def given(xs: list[Any]) -> list[ts.Tensor]:
    return [x for x in xs if x is not None]


def seeds(ys: list[ts.Tensor]) -> list[ts.Tensor]:
    return [ts.tensor(numbers(*y.shape, seed=9).astype(y.dtype)) for y in ys]


def assert_near(found: list[ts.Tensor], expected: list[ts.Tensor], exact: float = 2e-6) -> None:
    """As near as float32 can be, relative to the largest number of the array."""
    assert len(found) == len(expected)
    for k, (a, e) in enumerate(zip(found, expected, strict=True)):
        assert a.dtype == np.float32 and a.shape == e.shape
        np.testing.assert_allclose(a.data, e.data, rtol=0, atol=exact * (np.abs(e.data).max() + 1e-3), err_msg=f"{k}")


def turned(a: Array) -> Array:
    return np.asfortranarray(a).reshape(a.shape)  # it gives a 0-d array an axis


def ran_compiled(ys: list[ts.Tensor]) -> bool:
    place: Any = ys[0].place
    return type(getattr(place, "op", place).kept[1]) is fast._Tape


@pytest.fixture(params=[1, 2])
def on_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread, and on two, which share small products too."""
    from tinygrad_seq.backend.fast import linear, team

    monkeypatch.setattr(linear, "WORTH", 0)
    monkeypatch.setattr(team, "SHARED", 0)
    for name, value in {"_threads": request.param, "_pool": None, "_shares": True}.items():
        monkeypatch.setattr(threads, name, value)


on_threads_too = pytest.mark.usefixtures("on_threads")


def test_every_kernel_of_the_table_has_cases() -> None:
    assert {name.split("-")[0] for name in CASES} == set(fast.KERNELS)
    assert set(fast.KERNELS) | {"adam", "add", "add_rows", "scaled", "squares", "times"} == set(fast.FILES)
    assert all(name.startswith(case.kind.kernel) for name, case in CASES.items())


@on_threads_too
@pytest.mark.parametrize("name", CASES)
def test_it_is_its_definition(name: str) -> None:
    """Outputs, the gradients of all inputs, and those with one output or one input alone."""
    case = CASES[name]
    with ts.definitions():
        exact = case.apply(inputs := tensors(case, np.float64))
    ys = case.apply(xs := tensors(case, np.float32))
    assert ran_compiled(ys)
    assert_near(ys, exact)
    assert_near(
        list(ts.grad(ys, given(xs), seeds(ys), retain_graph=True)),
        list(ts.grad(exact, given(inputs), seeds(exact), retain_graph=True)),
    )
    for y, e in zip(ys, exact, strict=True):  # each output alone; over a tape that was written over
        found = ts.grad([y], given(xs), seeds([y]), retain_graph=True)
        assert_near(list(found), list(ts.grad([e], given(inputs), seeds([e]), retain_graph=True)))
    for k in range(len(xs)):  # each input alone
        if xs[k] is None:
            continue
        alone = tensors(case, np.float32, [j == k for j in range(len(xs))])
        found = ts.grad(ys := case.apply(alone), alone[k], seeds(ys))
        assert_near([found], [ts.grad(exact, inputs[k], seeds(exact), retain_graph=True)])


@on_threads_too
@pytest.mark.parametrize("name", [name for name in CASES if "-B3-" in name or "-B17-" in name or "-B" not in name])
def test_the_second_derivative_is_the_definition_s(name: str) -> None:
    case = CASES[name]

    def second(dtype: Any) -> list[ts.Tensor]:
        ys = case.apply(xs := tensors(case, dtype))
        gs = ts.grad(ys, given(xs), seeds(ys), create_graph=True)
        having = [g for g in gs if g.requires_grad]
        return [*gs, *(ts.grad(having, given(xs), seeds(having)) if having else [])]  # dropout has none

    with ts.definitions():
        exact = second(np.float64)
    assert_near(second(np.float32), exact, 2e-5)


@on_threads_too
@pytest.mark.parametrize("name", [name for name in CASES if "-B17-" in name or "-B" not in name])
def test_layouts_and_who_writes(name: str) -> None:
    """How arrays lie in memory changes nothing, and nothing is written into."""
    case = CASES[name]
    ys = case.apply(xs := tensors(case, np.float32))
    gs = seeds(ys)
    expected = ts.grad(ys, given(xs), gs)
    other = tensors(case, np.float32)
    for x in given(other):
        x.data = turned(x.data)
        x.data.flags.writeable = False
    other_gs = [ts.Tensor(turned(g.data)) for g in gs]
    for g in other_gs:
        g.data.flags.writeable = False
    again = case.apply(other)
    assert_near(again, ys)
    assert_near(list(ts.grad(again, given(other), other_gs)), list(expected))


@on_threads_too
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CASES
        if "-B16-" in name
        and "lengths" not in name
        or "4, 6" in name
        or "3, 43" in name
        or "2, 70" in name
        or "2, 35" in name
        or "-B2-S16" in name
        and "padding" not in name  # which is not read
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_go_through(name: str, bad: float) -> None:
    """What the definition makes of them, this makes too."""
    case = CASES[name]
    inputs = [None if a is None else a.copy() for a in case.inputs]
    inputs[0][(1, 2, 1) if inputs[0].ndim == 3 else (1, 1, 2, 1)] = bad
    case = case._replace(inputs=inputs)
    with np.errstate(all="ignore"), ts.definitions():
        expected = [y.data for y in case.apply(tensors(case, np.float32))]
    ys = case.apply(tensors(case, np.float32))
    assert ran_compiled(ys)
    for y, e in zip(ys, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(y.data), np.isnan(e))


@on_threads_too
@pytest.mark.parametrize("name", ["lstm_sequence-B33-T3-D40-H27", "attention-B2-S43-T20-D8-N4-dropout"])
def test_results_are_the_same_to_the_bit(name: str) -> None:
    """For a number of threads; what a sequence becomes does not depend on it at all."""
    case, runs = CASES[name], []
    for _ in range(3):
        ys = case.apply(xs := tensors(case, np.float32))
        runs.append([*ys, *ts.grad(ys, xs, seeds(ys))])
    for run in runs[1:]:
        for a, b in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(a.data, b.data)
    threads.set_num_threads(3)
    for a, b in zip(case.apply(tensors(case, np.float32)), runs[0], strict=False):  # the outputs
        np.testing.assert_array_equal(a.data, b.data)


@on_threads_too
@pytest.mark.parametrize(
    "name",
    [
        "gru_sequence-B17-T4-D20-H37",
        "multi_head_attention-1-B2-S16-T16-D8-N2",
        "attention-B2-S1-T37-D66-N2",
        "softmax-(3, 5)",
    ],
)
def test_outputs_and_gradients_stay_what_they_are(name: str) -> None:
    """No buffer that is used again is handed out."""
    case, held = CASES[name], []
    for step in range(4):
        xs = [None if a is None else ts.tensor(a + np.float32(step), requires_grad=True) for a in case.inputs]
        ys = case.apply(xs)
        for y in [*ys, *ts.grad(ys, given(xs), seeds(ys))]:
            held.append((y.data, y.data.copy()))
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


@on_threads_too
@pytest.mark.parametrize("kind", [Gelu, ExactGelu])
def test_far_out_the_slope_of_gelu_is_0_or_1(kind: type[FusedOp]) -> None:
    """However far: x³ and x² overflow there."""
    far = np.array([10.5, 1e6, 1e12, 1e13, 1e15, 1e20, 3e38], np.float32)
    case = Case(kind, [np.concatenate([-far, far])], {})
    ys = case.apply(xs := tensors(case, np.float32))
    assert ran_compiled(ys)
    found = ts.grad(ys[0].sum(), xs[0])
    np.testing.assert_allclose(found.data, np.repeat([0, 1], len(far)), rtol=0, atol=1e-22)


def test_float64_and_empty_batches_are_left_to_numpy() -> None:
    case = CASES["lstm_sequence-B3-T1-D17-H16"]
    assert not ran_compiled(case.apply(tensors(case, np.float64)))
    empty = case._replace(inputs=[a[:0] for a in case.inputs[:3]] + case.inputs[3:])
    assert not ran_compiled(empty.apply(tensors(empty, np.float32)))


@pytest.mark.parametrize("kind", ["lstm_sequence", "gru_sequence", "rnn_sequence-tanh", "gru_attention_decoder"])
def test_few_sequences_are_left_to_numpy(kind: str) -> None:
    """A block computes for 16, however few there are; where H is small, that is faster still."""
    if kind == "gru_attention_decoder":
        expected = {(1, 96): False, (1, 94): True, (4, 192): False, (5, 192): True}
        cases = ((B, H, decoders([(B, 2, 3, 5, 7, H, 6)])) for B, H in expected)
    else:
        expected = {(1, 40): False, (1, 39): True, (4, 64): False, (5, 64): True, (8, 96): False, (9, 200): True}
        cases = ((B, H, sequences([(B, 2, 5, H)])) for B, H in expected)
    for B, H, found in cases:
        case = next(case for name, case in found if name.startswith(kind))
        assert ran_compiled(case.apply(tensors(case, np.float32))) == expected[B, H], (B, H)


def test_one_query_reads_keys_and_values_in_their_cache() -> None:
    """They lie in a longer array, which is not copied."""
    case = CASES["attention-B2-S1-T37-D66-N2-keys"]
    expected = case.apply(xs := tensors(case, np.float32))
    q, *others = tensors(case, np.float32)
    for x in others:
        x.data = np.concatenate([x.data, np.full_like(x.data, np.nan)], 2)[:, :, :37]
    again = case.apply([q, *others])
    assert ran_compiled(again)
    np.testing.assert_array_equal(again[0].data, expected[0].data)
    gs = (ts.grad(ys, given, seeds(ys)) for ys, given in ((again, [q, *others]), (expected, xs)))
    for a, b in zip(*gs, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize(("B", "compiles"), [(15, False), (16, True), (40, True)])
def test_many_queries_of_one_more_symbol_are_compiled(B: int, compiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are left to NumPy, where nothing is kept either."""
    q, *others = (numbers(B, 4, n, 8, seed=n) for n in (1, 37, 37))
    kernel, seen = fast.compiled("attention"), []
    spy = kernel._replace(forward=lambda *given, **how: seen.append(given) or kernel.forward(*given, **how))
    monkeypatch.setitem(fast._found, "attention", spy)
    y = ts.ops.scaled_dot_product_attention(q, *others)
    with ts.definitions():
        expected = ts.ops.scaled_dot_product_attention(*(a.astype(np.float64) for a in (q, *others)))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    assert bool(seen) == compiles


def test_one_more_symbol_of_one_sequence_does_not_wait_for_numba() -> None:
    """Whose import takes a second: neither the recurrence nor the linear map nor one query asks for it."""
    program = (
        "import sys, numpy as np, tinygrad_seq as ts\n"
        "x = ts.tensor(np.ones((1, 1, 8), 'float32'))\n"
        "with ts.no_grad():\n"
        "    ts.nn.Linear(8, 8)(ts.nn.LSTM(8, 8)(x)[0])\n"
        "    ts.ops.scaled_dot_product_attention(x, x, x)\n"
        "    ts.ops.feed_forward(x, x[0], None, x[0].swapaxes(0, 1), None)\n"
        "print('numba' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


@pytest.mark.parametrize("shape", [(), (1,), (20,), (43, 1), (4, 1, 1)])
def test_a_mask_of_fewer_axes_is_that_of_all(shape: tuple[int, ...]) -> None:
    case = CASES["attention-B2-S43-T20-D8-N4"]
    mask = np.random.default_rng(0).random(shape) > 0.3
    small, whole = (
        case._replace(static=case.static | {"mask": each}) for each in (mask, np.broadcast_to(mask, (2, 4, 43, 20)))
    )
    np.testing.assert_array_equal(*(each.apply(tensors(each, np.float32))[0].data for each in (small, whole)))


def test_keys_that_no_query_sees_are_not_read() -> None:
    """Neither padding nor the future of all queries side by side: nan there changes nothing."""
    case = CASES["attention-B3-S5-T33-D12-N3-padding"]
    q, k, v = case.inputs
    k, v = k.copy(), v.copy()
    k[:2, :, 22:] = v[:2, :, 22:] = np.nan  # beyond all of these lengths, 22 and 11
    again = case._replace(inputs=[q, k, v])
    np.testing.assert_array_equal(*(each.apply(tensors(each, np.float32))[0].data for each in (case, again)))


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_numpy_s(l2: float, decay: float) -> None:
    """Two steps from one state, with moments of all sizes, of a small array and one that threads share."""
    be, rng = backend_for("cpu"), np.random.default_rng(0)
    for size in (7, 40_000):
        g = (rng.standard_normal(size) * 10.0 ** rng.integers(-12, 2, size)).astype(np.float32)
        g[:3] = 0, np.nan, np.inf
        p = rng.standard_normal(size).astype(np.float32)
        found, exact = ([a.astype(kind) for a in (p, g, 0 * p, 0 * p)] for kind in (np.float32, np.float64))
        for step in (1, 2):
            with np.errstate(invalid="ignore"):
                for part in (found, exact):
                    be.adam([part[0]], [part[1]], *part[2:], 1e-3, 0.9, 0.999, 1e-8, l2, decay, step)
            np.testing.assert_array_equal(found[1], g)
            np.testing.assert_allclose(found[0], exact[0], rtol=2e-7, atol=1e-7)  # half a last digit, twice
            for a, e in zip(found[2:], exact[2:], strict=True):
                # With l2, g + l2 p may cancel: what is left then has the last digits of p.
                np.testing.assert_allclose(a, e, rtol=2e-5, atol=1e-8 if l2 else 1e-30)


SIZES = [(1,), (15,), (0,), (16, 17), (3, 5000), (70_000,), (1, 2)]


@on_threads_too
def test_adam_of_many_parameters_is_adam_of_each() -> None:
    """To the bit, whoever computes which part; and of what is not laid out row by row, by NumPy."""
    be, n = backend_for("cpu"), sum(int(np.prod(shape)) for shape in SIZES)
    ps, gs = ([numbers(*shape, seed=k).reshape(-1) for shape in SIZES] for k in (0, 1))
    m, v = numbers(n, seed=2), np.abs(numbers(n, seed=3))
    options = 1e-3, 0.9, 0.999, 1e-8, 0.1, 0.1, 3
    alone, start = [], 0
    for p, g in zip(ps, gs, strict=True):
        here = slice(start, start := start + p.size)
        state = p.copy(), g, m[here].copy(), v[here].copy()
        be.adam([state[0]], [g], *state[2:], *options)
        alone.append(state)
    held = [p.copy() for p in ps], m.copy(), v.copy()
    be.adam(ps, gs, m, v, *options)
    for k, array in enumerate((np.concatenate(ps), np.concatenate(gs), m, v)):
        np.testing.assert_array_equal(array, np.concatenate([state[k] for state in alone]))
    spread = [np.repeat(p, 2)[::2] for p in held[0]]
    be.adam(spread, gs, *held[1:], *options)
    for p, expected in zip(spread, ps, strict=True):
        np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-7)
    ps[3].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        be.adam(ps, gs, m, v, *options)


@on_threads_too
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_and_multiples_of_many_arrays_are_numpy_s(dtype: Any) -> None:
    be, arrays = backend_for("cpu"), [numbers(*shape, seed=1).astype(dtype) for shape in SIZES]
    assert (fast.ask("squares", arrays, arrays) is None) == (dtype == np.float64)
    exact = sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)
    for layout in (arrays, [turned(a) for a in arrays]):
        held = [a.copy() for a in layout]
        assert be.squares(layout) == pytest.approx(exact, rel=2e-7 if dtype == np.float32 else 1e-12)
        assert be.squares(layout).dtype == dtype and be.squares(layout) == be.squares(layout)
        for a, kept, found in zip(layout, held, be.scaled(layout, dtype(0.3)), strict=True):
            np.testing.assert_array_equal(found, a * dtype(0.3))
            np.testing.assert_array_equal(a, kept)
            assert found.dtype == dtype and not np.shares_memory(found, a)
    for bad in (np.nan, np.inf):
        arrays[4][1, 3] = bad
        np.testing.assert_equal(be.squares(arrays), dtype(bad))


@on_threads_too
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_numpy_s(dtype: Any) -> None:
    """To the bit: of large arrays and small ones, of any layout, into a new array or one of the two."""
    be, _ = backend_for("cpu"), threads.take_over()
    for shape in ((70_000,), (3, 43, 301), (5,)):
        a, b = (numbers(*shape, seed=k).astype(dtype) for k in (1, 2))
        assert (fast.ask("add", (a, b), a, b, None) is None) == (dtype == np.float64)
        for x, y in ((a, b), (turned(a), b), (a, b[:1]), (a, 2.0)):
            np.testing.assert_array_equal(be.add(x, y), x + y)
        expected = a + b
        for out in (a, b):
            x, y = (o if o is out else o.copy() for o in (a, b))
            kept = out.copy()
            assert be.add(x, y, out=out) is out
            np.testing.assert_array_equal(out, expected)
            out[...] = kept


@on_threads_too
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_one_more_step_are_numpy_s(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """W xᵀ where threads share work: of any layout; nan and inf go through, and nothing is written into."""
    be, calls = backend_for("cpu"), []
    monkeypatch.setattr(fast, "ask", lambda *given, ask=fast.ask: calls.append(ask(*given)) or calls[-1])
    for M, K, B in ((1, 1, 1), (7, 5, 3), (160, 33, 32), (65, 300, 50)):
        W, x = numbers(M, K).astype(dtype), numbers(B, K, seed=1).astype(dtype)
        for W_given, x_given in ((W, x), (turned(W), turned(x)), (W[::-1], x[:, ::-1])):
            kept = W_given.copy(), x_given.copy()
            found = be.times(W_given, x_given)
            exact = W_given.astype(np.float64) @ x_given.astype(np.float64).T
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6 * np.abs(exact).max())
            assert found.dtype == dtype and found is calls[-1] or dtype == np.float64
            np.testing.assert_array_equal(W_given, kept[0])
            np.testing.assert_array_equal(x_given, kept[1])
        W[-1, 0], x[0, -1] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(np.isnan(be.times(W, x)), np.isnan(W @ x.T))
    assert all((found is None) == (dtype == np.float64) for found in calls) and len(calls) == 16


def test_a_sum_does_not_take_the_threads_of_numpy_s_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_shares", False)
    monkeypatch.setattr(threads, "_threads", 2)
    x = ts.tensor(numbers(70_000), requires_grad=True)
    (x + x + x).sum().backward()
    assert not threads.shares()


@pytest.mark.parametrize("V", [1, 7, 300])
def test_rows_are_added_as_numpy_adds_them(V: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that stand several times, counted from the end, or never; of any layout, and of no float32."""
    be, rng = backend_for("cpu"), np.random.default_rng(V)
    rows = rng.integers(-V, V, (5, 9))
    for shape in ((5, 9, 4), (5, 9), (5, 9, 2, 3)):
        values = rng.standard_normal(shape).astype(np.float32)
        expected = np.zeros((V, *shape[2:]))
        np.add.at(expected, rows, values.astype(np.float64))
        for given in (values, turned(values), np.flip(np.flip(values).copy()), values.astype(np.float64)):
            found = be.scatter_add(expected.shape, rows, given)
            assert found.dtype == given.dtype and found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    calls: list[Any] = []
    monkeypatch.setattr(fast, "_found", {"add_rows": lambda *arrays: calls.append(arrays)})
    be.scatter_add((V, 4), rows, rng.standard_normal((5, 9, 4)).astype(np.float32))
    be.scatter_add((V, 4), rows, rng.standard_normal((5, 9, 4)))
    assert len(calls) == 1


def test_a_score_that_is_hidden_does_not_drown_those_that_are_seen() -> None:
    """The largest score is looked for among what is seen alone, else no weight were left."""
    case = CASES["gru_attention_decoder-B3-T1-S4-D17-E5-H16-A30-mask"]
    y, s_0, h, keys, W_1, v, *cell = case.inputs
    keys = np.where(np.arange(4)[:, None] == 1, np.float32(9), np.float32(-9)) + np.zeros_like(keys)
    case = Case(
        case.kind, [y, s_0, h, keys, W_1, np.full_like(v, 30), *cell], case.static | {"mask": np.arange(4) != 1}
    )
    with ts.definitions():
        exact = case.apply(tensors(case, np.float64))
    assert_near(case.apply(tensors(case, np.float32)), exact)


# -- functions of one number


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp"])
def test_functions_are_as_exact_as_float32_allows(name: str) -> None:
    from tinygrad_seq.backend.fast import vector

    top = 0.0 if name == "exp" else 20.0
    xs = np.concatenate([np.linspace(-80, top, 200_001), np.linspace(-1, min(top, 1), 200_001), -np.logspace(-30, 0)])
    xs = xs.astype(np.float32)
    exact = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "exp": np.exp}[name](xs.astype(np.float64))
    found = np.array([getattr(vector, name)(x) for x in xs[::7]], np.float64)
    exact = exact[::7]
    units = np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert units.max() <= 2.5 and units.mean() <= 0.5, (units.max(), xs[::7][units.argmax()], units.mean())
    assert np.isnan(getattr(vector, name)(np.float32(np.nan)))


# -- when they run


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env=os.environ | environment,
    )


RUN = """
import numpy as np, sys
import tinygrad_seq as ts
ts.seed(0)
assert "numba" not in sys.modules
out, h = ts.nn.RNN(2, 2)(ts.tensor(np.ones((1, 2, 2), np.float32)))
print("numba" in sys.modules, round(float(out.numpy().sum()), 3))
"""


def test_compiling_is_said_once_and_not_repeated(tmp_path: Any) -> None:
    first, second = (_python(RUN, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout == second.stdout and first.stdout.startswith("True"), first.stderr
    assert first.stderr.splitlines() == [
        "tinygrad_seq: compiling kernels for this machine, once; this takes some seconds"
    ]
    assert second.stderr == ""
    assert list(tmp_path.rglob("*.nbc")), "NUMBA_CACHE_DIR is where the code lies"


def test_a_cache_that_cannot_be_written(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    done = _python(RUN, NUMBA_CACHE_DIR=str(tmp_path / "file"))
    assert done.returncode == 0 and done.stdout.startswith("True"), done.stderr


def test_the_environment_keeps_numpy_s() -> None:
    done = _python(RUN, TINYGRAD_SEQ_FAST="0")
    assert done.stdout.startswith("False") and not done.stderr


def test_without_numba_nothing_is_said() -> None:
    done = _python("import sys; sys.modules['numba'] = None\n" + RUN.replace('assert "numba" not in sys.modules', ""))
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_a_numba_that_fails_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.backend.fast import rnn

    def fails(*_: Any, **__: Any) -> Any:
        raise fast.CannotCompile("no code today")

    case = CASES["rnn_sequence-tanh-B3-T1-D17-H16"]
    for broken in ("forward", "backward"):
        monkeypatch.setattr(fast, "_found", {"rnn_sequence": rnn.rnn_sequence._replace(**{broken: fails})})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                ys = case.apply(xs := tensors(case, np.float32))
                gs = ts.grad(ys, xs, seeds(ys))
        assert len(caught) == 1 and "NumPy computes" in str(caught[0].message), broken
        with ts.definitions():
            exact = case.apply(inputs := tensors(case, np.float64))
        assert_near(list(gs), list(ts.grad(exact, inputs, seeds(exact))))
