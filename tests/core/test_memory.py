"""What is let go, and when: no cycles, no arrays behind a loss that was walked."""

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygrad_seq as ts

RNG = np.random.default_rng(0)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Reference counts alone, so that a cycle stays to be found."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def make(*shape: int) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal(shape), requires_grad=True)


def lstm(**options: bool) -> Callable[[], tuple[ts.Tensor, list[ts.Tensor]]]:
    def build() -> tuple[ts.Tensor, list[ts.Tensor]]:
        layer, x = ts.nn.LSTM(3, 2, **options).to("float64"), make(2, 3, 3)
        out, (h, c) = layer(x, lengths=[3, 2])
        return (out**2).sum() + (h * c).sum(), [x, *layer.parameters()]

    return build


def opened() -> tuple[ts.Tensor, list[ts.Tensor]]:
    with ts.definitions():
        return lstm()()


def plain() -> tuple[ts.Tensor, list[ts.Tensor]]:
    x, W = make(3, 4), make(4, 4)
    a, b = ts.ops.split(ts.ops.tanh(x @ W), 2, axis=1)
    rows = ts.ops.unstack(a * b)
    return (ts.ops.stack(rows) ** 2).sum() + x[1:].max() + ts.ops.logsumexp(W), [x, W]


def attention() -> tuple[ts.Tensor, list[ts.Tensor]]:
    q, k = make(2, 3, 4), make(2, 3, 4)
    return (ts.ops.softmax(q @ k.swapaxes(-1, -2)) @ k).sum(), [q, k]


def classifier() -> tuple[ts.Tensor, list[ts.Tensor]]:
    E, x, W = make(5, 4), make(3, 4), make(5, 4)
    h = ts.ops.layer_norm(x + ts.ops.embedding(E, np.array([0, 1, 1])), make(4), make(4))
    logits = ts.ops.linear(ts.ops.dropout(ts.ops.gelu(h, "tanh"), 0.3), W)
    return ts.ops.cross_entropy(logits, np.array([0, 4, 2]), label_smoothing=0.1), [E, x, W]


GRAPHS = {
    "lstm": lstm(),
    "lstm, both directions": lstm(bidirectional=True),
    "lstm, opened": opened,
    "plain ops": plain,
    "attention": attention,
    "classifier": classifier,
}


@pytest.mark.parametrize("what", GRAPHS)
def test_no_cycles(what: str, no_collector: None) -> None:
    def first() -> None:
        loss, _ = GRAPHS[what]()
        loss.backward()

    def forward_only() -> None:
        GRAPHS[what]()

    def second() -> None:
        loss, inputs = GRAPHS[what]()
        gs = ts.grad(loss, inputs, create_graph=True)
        total = gs[0].sum() * 0
        for g in gs:
            total = total + (g * g).sum()
        total.backward()

    def hooked() -> None:
        loss, inputs = GRAPHS[what]()
        inputs[0].register_hook(lambda g: g * 2)
        loss.register_hook(lambda g: g * 2)
        loss.retain_grad()
        loss.backward(retain_graph=True)

    for run in (forward_only, first, second, hooked):
        run()
        assert gc.collect() == 0, run.__name__


@pytest.mark.parametrize("what", GRAPHS)
def test_a_loss_that_is_held_holds_no_arrays_after_backward(what: str, no_collector: None) -> None:
    loss, _ = GRAPHS[what]()
    kept = [weakref.ref(array) for array in arrays_of(loss)]
    assert kept, "before backward the graph keeps arrays"
    loss.backward()
    held = [ref() for ref in kept if ref() is not None]
    weights = {id(array) for array in arrays_of(loss)}
    assert not weights, "after backward no op holds an array"
    assert len(held) < len(kept)


def arrays_of(loss: ts.Tensor) -> list[np.ndarray]:
    """Every array that the ops below a loss keep."""
    found, seen, stack = [], set(), [loss.place]
    while stack:
        place = stack.pop()
        op = getattr(place, "op", place)
        if op is None or id(op) in seen:
            continue
        seen.add(id(op))
        stack += getattr(op, "sources", [])
        parts = [getattr(op, "kept", None)]
        while parts:
            part = parts.pop()
            if isinstance(part, tuple | list):
                parts += part
            elif isinstance(part, np.ndarray):
                found.append(part)
    return found


def test_backward_frees_while_it_walks_and_retain_keeps() -> None:
    x = make(100_000)
    tracemalloc.start()
    try:
        y = x
        for _ in range(10):
            y = ts.ops.tanh(y)
        loss = y.sum()
        del y
        before = tracemalloc.get_traced_memory()[0]
        assert before > 9 * x.data.nbytes, "ten outputs are kept"
        loss.backward(retain_graph=True)
        assert tracemalloc.get_traced_memory()[0] > 9 * x.data.nbytes
        x.grad = None
        tracemalloc.reset_peak()
        loss.backward()
        after, peak = tracemalloc.get_traced_memory()
        assert after < 1.5 * x.data.nbytes, "what is left is the gradient"
        assert peak < before + 3.5 * x.data.nbytes
    finally:
        tracemalloc.stop()


def test_no_grad_keeps_nothing(no_collector: None) -> None:
    x = make(10)
    with ts.no_grad():
        h = ts.ops.exp(x)
        y = ts.ops.tanh(h)
    ref = weakref.ref(h.data)
    del h
    assert ref() is None and y.place is None


def test_an_op_keeps_only_what_its_backward_names(no_collector: None) -> None:
    x = make(10)
    h = ts.ops.exp(x)  # keeps its output
    s = h + x  # keeps nothing
    t = ts.ops.tanh(s)  # keeps its output, not its input
    ref = weakref.ref(s.data)
    del s
    assert ref() is None
    t.sum().backward()


def test_the_graph_holds_no_tensors(no_collector: None) -> None:
    x = make(10)
    h = x * 2
    y = h * h
    ref, array = weakref.ref(h), h.data
    del h
    assert ref() is None, "a node keeps arrays and places, never tensors"
    assert sys.getrefcount(array) > 2, "Mul keeps the array itself"
    y.sum().backward()


def test_a_training_step_leaves_nothing_behind(no_collector: None) -> None:
    model = ts.nn.Sequential(ts.nn.Linear(4, 8), ts.ops.tanh, ts.nn.Linear(8, 2))
    opt = ts.optim.Adam(model.parameters())
    x, t = ts.tensor(RNG.standard_normal((3, 4)).astype(np.float32)), np.array([0, 1, 1])
    for step in range(4):
        if step == 1:
            gc.collect()  # the first one may import numba, which leaves cycles of its own
        opt.zero_grad()
        loss = ts.ops.cross_entropy(model(x), t)
        loss.backward()
        ts.optim.clip_grad_norm(model.parameters(), 1.0)
        opt.step()
    assert gc.collect() == 0
