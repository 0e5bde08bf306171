"""Bucketed batches: each pass has each example once, whole, and the same seed goes on exactly where it was stopped."""

import json
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as ts
from data.shared import shared
from tinygrad_seq.data import (
    BucketedBatches,
    classification_batches,
    length_mask,
    pair_batches,
    read_columns,
    tagging_batches,
)

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=40)
seeds = st.none() | st.integers(0, 5)


def sentences(lengths: list[int], base: int = 1000) -> list[list[int]]:
    """Row n holds n·base + 1, n·base + 2, …: each id says where it belongs."""
    return [[n * base + t + 1 for t in range(length)] for n, length in enumerate(lengths)]


def tagging(lengths: list[int], batch_size: int, seed: int | None) -> BucketedBatches[Any]:
    rows = sentences(lengths)
    return tagging_batches(rows, [[t % 1000 for t in row] for row in rows], batch_size, seed=seed)


@given(lengths, st.integers(1, 7), seeds)
def test_a_pass_has_each_example_once_and_whole(lengths, batch_size, seed):
    batches = tagging(lengths, batch_size, seed)
    rows = sentences(lengths)
    for epoch in range(3):
        assert (batches.epoch, batches.position) == (epoch, 0)
        found = list(batches)
        assert len(found) == len(batches) == -(-len(rows) // batch_size)
        assert sorted(len(b.tokens) for b in found)[1:] == [batch_size] * (len(found) - 1)
        seen = []
        for batch in found:
            assert (
                batch.tokens.shape == batch.tags.shape == batch.mask.shape == (len(batch.lengths), max(batch.lengths))
            )
            assert {a.dtype for a in batch} == {np.dtype(np.int64)} and batch.mask.dtype == bool
            for tokens, tags, length, mask in zip(*batch, batch.mask, strict=True):
                row = rows[tokens[0] // 1000]
                assert tokens.tolist() == row + [0] * (len(tokens) - len(row)) and length == len(row)
                assert tags.tolist() == [t % 1000 for t in row] + [-1] * (len(tokens) - len(row))
                assert mask.tolist() == [t < length for t in range(len(tokens))]
                seen.append(tokens[0] // 1000)
        assert sorted(seen) == list(range(len(rows)))
        if seed is None:
            assert seen == list(range(len(rows)))


@given(lengths, st.integers(1, 7), seeds)
def test_classes_and_pairs_stay_together(lengths, batch_size, seed):
    rows, n = sentences(lengths), len(lengths)
    found = [b for b in classification_batches(rows, np.arange(n, dtype=np.uint8), batch_size, seed=seed)]
    assert all(b.classes.dtype == np.int64 and (b.classes == b.tokens[:, 0] // 1000).all() for b in found)
    assert sorted(k for b in found for k in b.classes.tolist()) == list(range(n))
    targets = [[10**6 + row[0]] * (1 + 7 * k % 5) for k, row in enumerate(rows)]
    pairs = list(pair_batches(rows, targets, batch_size, seed=seed))
    for b in pairs:
        assert (b.target[:, 0] == 10**6 + b.source[:, 0]).all()
        assert (b.mask.sum(1) == b.source_lengths).all()
        for row, target in zip(b.source, b.target, strict=True):
            assert target[target > 0].tolist() == targets[row[0] // 1000]
    assert sorted(k for b in pairs for k in b.source[:, 0].tolist()) == [row[0] for row in rows]


@given(lengths, st.integers(1, 7), seeds, st.data())
def test_batches_go_on_where_they_were_stopped(lengths, batch_size, seed, data):
    def three_passes(batches):
        for _ in range(3):
            yield from batches

    whole = [b.tokens.tolist() for b in three_passes(tagging(lengths, batch_size, seed))]
    after = data.draw(st.integers(0, len(whole) - 1))
    stopped, done = tagging(lengths, batch_size, seed), 0
    while done < after:
        for _ in islice(stopped, after - done):
            done += 1
    resumed = tagging(lengths, batch_size, seed)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    for batches in (stopped, resumed):
        assert [b.tokens.tolist() for b in three_passes(batches)][: len(whole) - after] == whole[after:]


def test_orders_differ_by_pass_and_by_seed_alone():
    def orders(seed):
        batches = tagging([3] * 40, 4, seed)
        return [[b.tokens[:, 0].tolist() for b in batches] for _ in range(2)]

    first, second = orders(0)
    assert first != second and orders(0) == [first, second] and orders(1)[0] != first
    assert first != sorted(first)


def test_lengths_of_a_batch_are_about_equal_and_batches_in_no_order_of_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 6400).tolist()
    batches = list(tagging(lengths, 32, 0))
    assert sum(lengths) / sum(b.tokens.size for b in batches) > 0.97  # in an order of chance 0.5
    longest = np.array([b.tokens.shape[1] for b in batches])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


def test_pairs_are_sorted_by_source_then_target():
    rng = np.random.default_rng(0)
    sources, targets = ([[1] * n for n in rng.integers(1, 12, 3200)] for _ in range(2))
    batches = list(pair_batches(sources, targets, 8, seed=0))
    assert sum(map(len, sources)) / sum(b.source.size for b in batches) > 0.98
    assert sum(map(len, targets)) / sum(b.target.size for b in batches) > 0.7  # without, 0.6


def test_models_take_batches_as_they_are():
    rows, tags = [[4, 5, 6], [7], [5, 4]], [[0, 1, 2], [2], [1, 0]]
    sizes = {"embedding_size": 4, "hidden_size": 4}
    tagger = ts.models.Tagger(ts.models.TaggerConfig(vocab_size=8, num_tags=3, **sizes))
    classifier = ts.models.Classifier(ts.models.ClassifierConfig(vocab_size=8, num_classes=2, **sizes))
    pairs = ts.models.EncoderDecoder(ts.models.EncoderDecoderConfig(source_vocab_size=8, target_vocab_size=8, **sizes))
    targets = [[1, *row, 2] for row in rows]
    for model, batches in (
        (tagger, tagging_batches(rows, tags, 3, seed=None)),
        (classifier, classification_batches(rows, [0, 1, 0], 3, seed=None)),
        (pairs, pair_batches(rows, targets, 3, seed=None)),
    ):
        (batch,) = batches
        assert np.isfinite(model.loss(*batch).item())
    (batch,) = tagging_batches(rows, tags, 3, seed=None)
    each = [tagger.loss(*b).item() for b in tagging_batches(rows, tags, 1, seed=None)]
    np.testing.assert_allclose(tagger.loss(*batch).item(), np.dot(each, [3, 1, 2]) / 6, rtol=1e-6)


def test_length_mask():
    assert length_mask([2, 0, 3]).tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_what_makes_no_batches_is_refused():
    with pytest.raises(ValueError, match="batch_size of at least 1, got 0"):
        tagging([1], 0, 0)
    with pytest.raises(ValueError, match="at least one example, got none"):
        tagging([], 1, 0)
    with pytest.raises(ValueError, match="a seed that is an integer"):
        tagging([1], 1, -1)
    with pytest.raises(ValueError, match="as many tags as tokens, 2, got 1"):
        tagging_batches([[1], [2]], [[1]], 1, seed=0)
    with pytest.raises(ValueError, match="a tag for each token, got 1 tokens and 2 tags at 1"):
        tagging_batches([[1], [2]], [[1], [1, 2]], 1, seed=0)
    with pytest.raises(ValueError, match="as many classes as tokens, 2, got 3"):
        classification_batches([[1], [2]], [0, 1, 0], 1, seed=0)
    with pytest.raises(ValueError, match="as many targets as sources, 1, got 2"):
        pair_batches([[1]], [[1], [2]], 1, seed=0)
    with pytest.raises(ValueError, match=r"tokens of shape \(T,\), T at least 1, got \(0,\) at 1"):
        classification_batches([[1], []], [0, 1], 1, seed=0)
    with pytest.raises(TypeError, match="targets that are integers, got float64 at 0; encode them first"):
        pair_batches([[1]], [[0.5]], 1, seed=0)
    with pytest.raises(TypeError, match="classes that are integers"):
        classification_batches([[1]], ["NEG"], 1, seed=0)


def test_the_position_of_other_batches_is_refused():
    batches = tagging([1] * 10, 2, 0)
    good = batches.state_dict()
    for wrong in (
        tagging([1] * 11, 2, 0).state_dict(),
        tagging([1] * 10, 3, 0).state_dict(),
        tagging([1] * 10, 2, 1).state_dict(),
        tagging([1] * 10, 2, None).state_dict(),
        good | {"position": 5},
        good | {"position": -1},
        {name: value for name, value in good.items() if name != "epoch"},
        {},
    ):
        with pytest.raises(ValueError, match="same examples, batch_size and seed"):
            batches.load_state_dict(wrong)


def test_little_of_a_real_set_is_padding():
    words = [[1] * len(sentence) for sentence, _ in read_columns(shared("ud_ewt/train.tsv.gz"))]
    tokens = sum(batch.tokens.size for batch in tagging_batches(words, words, 32, seed=0))
    assert 0.90 < sum(map(len, words)) / tokens < 0.94
