"""The Transformer for pairs: its equations by hand, its padding, its cache, and that it learns to reverse."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.models import Transformer, TransformerConfig
from tinygrad_seq.optim.schedules import cosine, linear_warmup
from uncached import UncachedPairs

SOURCE = np.array([[4, 1, 6, 2, 5], [3, 5, 0, 0, 0]])
LENGTHS = np.array([5, 2])
TARGET = np.array([[1, 4, 3, 5, 2], [1, 6, 2, 0, 0]])


def small(**changes: Any) -> Transformer:
    ts.seed(1)
    sizes = {"d_model": 8, "nhead": 2, "num_layers": 2, "dim_feedforward": 12, "max_len": 10} | changes
    model = Transformer(TransformerConfig(7, 7, **sizes)).eval().to("float64")
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data += (0.3 if p.ndim == 2 else 0.1) * rng.standard_normal(p.shape)
    return model


def test_the_base_model_of_the_paper() -> None:
    """65 million parameters in the paper, with a shared table of 37,000; here the tables and the output are three."""
    D, F, V = 512, 2048, 1000
    model = Transformer(TransformerConfig(V, V))
    attention, network, norm = 4 * D * D + 4 * D, 2 * D * F + F + D, 2 * D
    encoder, decoder = attention + network + 2 * norm, 2 * attention + network + 3 * norm
    assert model.num_parameters() == 6 * (encoder + decoder) + 2 * norm + 3 * V * D + V
    assert float(model.source_embedding.weight.data.std()) == pytest.approx(D**-0.5, rel=0.01)


def test_embeddings_are_scaled_and_told_their_position() -> None:
    model, seen = small(), []
    first = model.layers.encoder.layers[0]
    plain = first.forward
    first.forward = lambda x, *rest, **options: seen.append(x) or plain(x, *rest, **options)  # type: ignore[method-assign, func-returns-value]
    model(SOURCE, TARGET)
    position, i = np.arange(5.0)[:, None], np.arange(4)
    angle = position / 10000 ** (2 * i / 8)
    encoding = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(5, 8)
    expected = 8**0.5 * model.source_embedding.weight.data[SOURCE] + encoding
    np.testing.assert_allclose(seen[0].data, expected, atol=1e-12)


def test_padding_is_not_seen() -> None:
    model = small()
    logits = model(SOURCE, TARGET, LENGTHS).data
    np.testing.assert_allclose(logits[1:], model(SOURCE[1:, :2], TARGET[1:]).data, atol=1e-12)
    other = SOURCE.copy()
    other[1, 2:] = 6
    np.testing.assert_array_equal(model(other, TARGET, LENGTHS).data, logits)
    assert np.abs(model(SOURCE, TARGET).data[1] - logits[1]).max() > 1e-3


def test_the_target_sees_the_whole_source_and_no_future() -> None:
    model = small()
    logits = model(SOURCE, TARGET).data
    later = TARGET.copy()
    later[:, 3] = 6
    change = np.abs(model(SOURCE, later).data - logits).max((0, 2))
    assert (change[:3] == 0).all() and (change[3:] > 1e-6).all()
    source = SOURCE.copy()
    source[:, 4] = 3
    assert (np.abs(model(source, TARGET).data - logits).max((0, 2)) > 1e-6).all()


@pytest.mark.parametrize("options", [{"temperature": 0}, {"beams": 3, "length_penalty": 1.0}, {"temperature": 2.0}])
def test_writing_with_and_without_cache(options: dict[str, Any]) -> None:
    model = small()
    sources = [[4, 1, 6, 2, 5], [3, 5], [6, 6, 0]]
    written = []
    for each in (model, UncachedPairs(model)):
        ts.seed(3)
        written.append(each.generate(sources, 8, **options))
    assert written[0] == written[1]
    assert len({tuple(row) for row in written[0]}) == 3
    ts.seed(3)
    assert [model.generate(source, 8, **options) for source in sources] == written[0]


def test_writing_on_the_device(device: Any) -> None:
    model, sources = small(), [[4, 1, 6, 2, 5], [3, 5]]
    ways: list[dict[str, Any]] = [{"temperature": 0}, {"beams": 2}]
    expected = [model.generate(sources, 5, **options) for options in ways]
    model.to("cuda")
    with device.reading():  # which symbol came is known on the host
        assert [model.generate(sources, 5, **options) for options in ways] == expected


def test_the_source_is_read_once() -> None:
    model, calls = small(), []
    plain = model.layers.encoder.forward
    model.layers.encoder.forward = lambda *inputs: calls.append(1) or plain(*inputs)  # type: ignore[method-assign, func-returns-value]
    model.generate([4, 1, 6], 6, temperature=0, stop=[])
    assert len(calls) == 1


def test_too_long_is_refused() -> None:
    model = small()
    with pytest.raises(ValueError, match="there are 10 positions"):
        model(np.zeros((1, 11), int), TARGET[:1])
    with pytest.raises(ValueError, match="there are 10 positions"):
        model.generate([1, 2], 12, temperature=0, stop=[])


def test_it_learns_to_reverse() -> None:
    """Strings of 2 to 5 letters; on ones it never saw. Without looking back at the source it could not know one."""
    letters = ts.data.Vocabulary.from_sequences("abcde")
    pairs = ts.data.reversal(4000, seed=0, symbols=5, min_length=2, max_length=5)
    held_out = sorted(set(pairs[:150]))
    training = [pair for pair in pairs if pair not in held_out]
    rng = np.random.default_rng(0)

    ts.seed(0)
    model = Transformer(TransformerConfig(len(letters), len(letters), 24, 2, 2, 48, dropout=0.0, max_len=8))
    optimizer = ts.optim.Adam(model.parameters())
    schedule = linear_warmup(cosine(0.004, steps=400), steps=20)
    for step in range(400):
        optimizer.set_lr(schedule(step))
        batch = [training[k] for k in rng.integers(0, len(training), 32)]
        source, lengths = ts.data.pad_batch([letters.encode(text) for text, _ in batch])
        target, _ = ts.data.pad_batch([letters.encode(text, bos=True, eos=True) for _, text in batch])
        loss = model.loss(source, target, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def right(sources: list[str]) -> float:
        written = model.generate([letters.encode(text) for text in sources], 6, temperature=0)
        said = ["".join(letters.decode(row)) for row in written]
        return float(np.mean([a == answer for a, (_, answer) in zip(said, held_out, strict=True)]))

    sources = [text for text, _ in held_out]
    assert right(sources) > 0.95
    assert right([sources[-1]] * len(sources)) < 0.05  # asked about another string
