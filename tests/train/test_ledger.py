"""The ledger of memory: predicted is measured, measured is what Python allocated, and both grow as they should."""

import contextlib
import gc
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from benchmarks.memory import bptt, checkpointed, peak, truncated
from benchmarks.scaling import exponent
from conftest import Place
from tinygrad_seq import models
from tinygrad_seq.backend import threads
from tinygrad_seq.backend.kernels import KERNELS
from tinygrad_seq.train.ledger import COMPILED_TAPES, TAPES, Entry, Ledger, memory_ledger, size

RNG = np.random.default_rng(0)
B, T, H, V = 16, 96, 64, 50
BOUND = 0.2  # of what is predicted of kernels; most are within 0.03
IDS = RNG.integers(1, V, (B, T + 1))

Loss = Callable[[], ts.Tensor]


def language_model(cell: str, layers: int = 2) -> Loss:
    model = models.LanguageModel(models.LanguageModelConfig(V, H, layers, cell=cell))
    return lambda: ts.ops.cross_entropy(model(IDS[:, :-1])[0], IDS[:, 1:])


def gpt() -> Loss:
    model = models.GPT(models.GPTConfig(V, T, 2, 4, H, dropout=0.1))
    return lambda: ts.ops.cross_entropy(model(IDS[:, :-1]), IDS[:, 1:])


def transformer() -> Loss:
    model = models.Transformer(models.TransformerConfig(V, V, H, 4, 2, 4 * H, dropout=0.0))
    return lambda: model.loss(IDS[:, :-1], IDS)


def tagger() -> Loss:
    model = models.Tagger(models.TaggerConfig(V, 5, H, H, num_layers=2))
    return lambda: model.loss(IDS, IDS % 5, np.full(B, T + 1))


def cho() -> Loss:
    layer, x = ts.nn.GRU(H, H, reset_after=False), ts.tensor(RNG.standard_normal((B, T, H)).astype("f4"))
    return lambda: layer(x)[0].sum()


def attention(S: int) -> Loss:
    q, k, v = (ts.tensor(RNG.standard_normal((2, 4, S, 32)).astype("f4"), requires_grad=True) for _ in range(3))
    return lambda: ts.ops.scaled_dot_product_attention(q * 1, k * 1, v * 1, causal=True).sum()


def decoder() -> Loss:
    model = models.AttentionDecoder(models.AttentionDecoderConfig(V, V, embedding_size=H, hidden_size=H))
    return lambda: ts.ops.cross_entropy(model(IDS[:, :40], IDS[:, :-1]), IDS[:, 1:])


def crf() -> Loss:
    scores, layer = ts.tensor(RNG.standard_normal((B, T, V)).astype("f4"), requires_grad=True), ts.nn.CRF(V)
    return lambda: layer(scores * 1, IDS[:, :-1]).sum()


LOSSES: dict[str, Callable[[], Loss]] = {
    "LSTM": lambda: language_model("lstm"),
    "GRU": lambda: language_model("gru"),
    "GRU, r before the product": cho,
    "RNN": lambda: language_model("rnn"),
    "bidirectional LSTM": tagger,
    "attention": lambda: attention(96),
    "attention, tiled": lambda: attention(300),
    "GPT": gpt,
    "attention decoder": decoder,
    "conditional random field": crf,
    "Transformer": transformer,
}


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "definitions"])
@pytest.mark.parametrize("name", LOSSES)
def test_predicted_is_measured(name: str, fused: bool) -> None:
    with contextlib.nullcontext() if fused else ts.definitions():
        ledger = memory_ledger(LOSSES[name]()())
    assert ledger.measured > 0
    # What a derivative needs is in the formulas; a kernel may keep a little more, to be faster, or less.
    bound = BOUND if fused else 0.001
    assert ledger.predicted == pytest.approx(ledger.measured, rel=bound)
    for entry in ledger.entries:
        assert entry.predicted == pytest.approx(entry.measured, rel=bound, abs=10_000), entry


@pytest.mark.parametrize("name", LOSSES)
def test_measured_is_what_was_allocated(name: str) -> None:
    run = LOSSES[name]()
    run()
    gc.collect()
    tracemalloc.start()
    try:
        loss = run()
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # The rest is the graph itself: its nodes are Python objects.
    assert memory_ledger(loss).measured == pytest.approx(allocated, rel=0.03)


def test_the_formula_of_a_layer() -> None:
    layer, x = ts.nn.LSTM(H, H).to("float64"), ts.tensor(RNG.standard_normal((B, T, H)), requires_grad=True)
    out, _ = layer(x * 1)
    (found,) = [entry for entry in memory_ledger(out).entries if entry.operation == "LSTMSequence"]
    assert found.module == "lstm" and found.count == 1
    inputs, states = B * T * H + 4 * H, B * H  # x, and b, which is the sum of two weights
    assert found.predicted == 8 * (inputs + B * T * (H + 1 + 7 * H) + states)
    assert found.measured == pytest.approx(found.predicted, rel=0.01)


@pytest.mark.parametrize("layer", [ts.nn.LSTM, ts.nn.GRU, ts.nn.RNN])
def test_batches_that_compiled_kernels_fill_up(layer: Any) -> None:
    out, _ = layer(9, 20)(ts.tensor(RNG.standard_normal((5, 30, 9)).astype("f4")))
    (entry,) = [entry for entry in memory_ledger(out).entries if entry.operation.endswith("Sequence")]
    assert entry.predicted == pytest.approx(entry.measured, rel=0.05)


def test_every_kernel_has_a_formula() -> None:
    assert TAPES.keys() == KERNELS.keys()
    assert COMPILED_TAPES.keys() <= TAPES.keys()


def test_an_array_that_two_keep_counts_once_and_weights_do_not() -> None:
    W, x = ts.tensor(np.ones((10, 10)), requires_grad=True), ts.tensor(np.ones((5, 10)))
    h = ts.ops.tanh(x @ W)
    loss = (h * h).sum() + (h.reshape(50) * h.reshape(50)).sum() + (W.T * 2 * W).sum()
    ledger = memory_ledger(loss)
    kept = {entry.operation: entry.measured for entry in ledger.entries if entry.measured}
    assert kept == {"Tanh": 5 * 10 * 8, "Mul": 10 * 10 * 8}  # h, and W.T * 2
    assert ledger.predicted == ledger.measured


def test_of_a_checkpointed_part_only_what_it_was_given() -> None:
    layer = ts.nn.LSTM(H, H)
    x = ts.tensor(RNG.standard_normal((B, T, H)).astype("f4"), requires_grad=True)
    out, _ = ts.checkpoint(layer, x * 1)
    ledger = memory_ledger(out)
    assert ledger.measured == ledger.predicted == x.data.nbytes


def test_the_table() -> None:
    ledger = Ledger([Entry("lstm", "LSTMSequence", 1, 2.1e6, 2e6), Entry("", "Sum", 1, 0, 8)], 50)
    assert str(ledger).splitlines() == [
        "module       operation     count  predicted  measured  a step",
        "lstm         LSTMSequence      1     2.1 MB      2 MB   40 kB",
        "(no module)  Sum               1        0 B       8 B     0 B",
        "all                            2     2.1 MB      2 MB   40 kB",
    ]
    assert [size(n) for n in (0, 999, 1234, 5.678e9)] == ["0 B", "999 B", "1.23 kB", "5.68 GB"]


def test_errors() -> None:
    x = ts.tensor([1.0], requires_grad=True)
    loss = (x * x).sum()
    with pytest.raises(TypeError, match="expected a tensor or several, got float"):
        memory_ledger([1.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="steps is the number of time steps, at least 1, got 0"):
        memory_ledger(loss, steps=0)
    with pytest.raises(ValueError, match="got a tensor without a graph"):
        memory_ledger(ts.tensor([1.0]))
    loss.backward()
    with pytest.raises(RuntimeError, match="backward has freed what Mul kept|backward has freed what Sum kept"):
        memory_ledger(loss)


# -- how it grows with T


def test_what_is_predicted_and_measured_grows_with_the_steps() -> None:
    lengths = (64, 128, 256, 512)
    predicted, measured = [], []
    model = models.LanguageModel(models.LanguageModelConfig(V, 16))
    for T in lengths:
        ids = RNG.integers(0, V, (B, T))
        ledger = memory_ledger(model(ids)[0].sum(), steps=T)
        predicted.append(ledger.predicted)
        measured.append(ledger.measured)
    assert exponent(lengths, predicted) == pytest.approx(1, abs=0.01)
    assert exponent(lengths, measured) == pytest.approx(1, abs=0.01)


LENGTHS = (256, 576, 1024, 2304)  # squares: as many pieces as steps in each


def test_the_peak_of_one_graph_is_a_constant_and_so_much_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constant, weights in other orders and their gradients, is half of the peak at 256 steps: no power of T.

    On one thread: a second one, which helps from some length on, has room of its own.
    """
    monkeypatch.setattr(threads, "_threads", 1)
    peaks = [peak(bptt(T)) for T in LENGTHS]
    slopes = np.diff(peaks) / np.diff(LENGTHS)  # MB a step
    assert slopes == pytest.approx([slopes[-1]] * 3, rel=0.02), peaks


def test_the_peak_of_a_truncated_sequence_is_a_constant() -> None:
    peaks = [peak(truncated(T)) for T in LENGTHS]
    assert exponent(LENGTHS, peaks) == pytest.approx(0, abs=0.08), peaks


def test_the_peak_of_a_checkpointed_sequence_is_a_constant_and_so_much_for_each_root_of_T() -> None:
    peaks = [peak(checkpointed(T)) for T in LENGTHS]
    slopes = [
        (peaks[k] - peaks[0]) / (math.isqrt(T) - math.isqrt(LENGTHS[0])) for k, T in enumerate(LENGTHS) if k
    ]  # MB for one step more in each piece, and one piece more
    assert slopes == pytest.approx([slopes[-1]] * 3, rel=0.15), peaks
    assert peaks[-1] < 0.1 * peak(bptt(LENGTHS[-1]))


def test_on_a_device(device: Place) -> None:
    layer, x = ts.nn.LSTM(H, H), device.tensor(RNG.standard_normal((B, T, H)).astype("f4"), requires_grad=True)
    layer.to(device.device)
    out, _ = layer(x * 1)
    ledger = memory_ledger(out)
    assert ledger.measured > 0
    assert ledger.predicted == pytest.approx(ledger.measured, rel=BOUND)  # no kernel there is compiled
