"""The n-gram model against the same equation written with dictionaries, one symbol at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_seq.models.ngram import NGram, NGramConfig

TEXT = np.array(["abcd _".index(c) for c in "ab cab_dab abc_cab dab_bad cab ab_abc dad_bab cab bad_abc ab dab" * 3])
V = 7  # one more than the text uses: a symbol that is never seen


def by_hand(ids, kappa, context, c):
    """p_n(c | context) by the equation, counting in plain loops."""
    p = 1 / V
    for k in range(1, len(kappa) + 1):
        if k - 1 > len(context):
            break
        h = list(context[len(context) - (k - 1) :])
        after = [ids[t + k - 1] for t in range(len(ids) - k + 1) if list(ids[t : t + k - 1]) == h]
        if after:
            weight = kappa[k - 1] * len(set(after))
            p = (after.count(c) + weight * p) / (len(after) + weight)
    return p


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_equation(order):
    model = NGram(NGramConfig(V, order)).fit(TEXT)
    for context in ([], [0], [6], [0, 1], [6, 1], [1, 6], [3, 0, 1], [4, 5, 0, 1], [4, 4, 4]):
        p = model.probabilities(context)
        expected = [by_hand(TEXT.tolist(), model.kappa, context, c) for c in range(V)]
        np.testing.assert_allclose(p, expected, rtol=1e-12)


@settings(max_examples=50)
@given(
    ids=st.lists(st.integers(0, V - 1), min_size=4, max_size=60),
    context=st.lists(st.integers(0, V - 1), max_size=5),
    order=st.integers(1, 4),
)
def test_probabilities_sum_to_one_and_none_is_zero(ids, context, order):
    p = NGram(NGramConfig(V, order)).fit(np.array(ids)).probabilities(context)
    assert p.shape == (V,) and p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [2, 3, 4, 40])
def test_loss_is_the_mean_of_minus_log_p_of_all_but_the_first(order, length):
    model = NGram(NGramConfig(V, order)).fit(TEXT)
    ids = np.random.default_rng(length).integers(0, V, length)
    # The symbols before t, all of them: the model takes the n-1 it needs.  The unigram needs none.
    log_p = [math.log(model.probabilities(ids[:t])[ids[t]]) for t in range(1, length)]
    np.testing.assert_allclose(model.log_probs(ids), log_p, rtol=1e-12)
    assert model.loss(ids) == pytest.approx(-np.mean(log_p), rel=1e-12)


def test_kappa_is_chosen_on_the_end_of_the_training_ids():
    cut = len(TEXT) - len(TEXT) // 10
    counted, judged = TEXT[:cut].tolist(), TEXT[cut:].tolist()
    model = NGram(NGramConfig(V, 2)).fit(TEXT)

    def loss(kappa):
        k = len(kappa)
        p = [by_hand(counted, kappa, judged[max(t - (k - 1), 0) : t], judged[t]) for t in range(1, len(judged))]
        return -np.log(p).sum()

    grid = 2.0 ** np.arange(-5, 5.25, 0.25)
    best_1 = min(grid, key=lambda kappa: loss([kappa]))
    best_2 = min(grid, key=lambda kappa: loss([best_1, kappa]))
    assert model.kappa.tolist() == [best_1, best_2]
    assert best_2 != 1  # there was something to choose


def test_a_text_too_short_to_choose_on_keeps_kappa_at_one():
    assert NGram(NGramConfig(V, 3)).fit(TEXT[:19]).kappa.tolist() == [1, 1, 1]


def test_a_longer_memory_wins_on_text_that_has_one():
    losses = [NGram(NGramConfig(V, order)).fit(TEXT[:150]).loss(TEXT[150:]) for order in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]


def test_fitting_again_forgets_what_was_counted():
    model = NGram(NGramConfig(V)).fit(TEXT[::-1]).fit(TEXT)
    assert model.loss(TEXT) == NGram(NGramConfig(V)).fit(TEXT).loss(TEXT)


def test_a_large_vocabulary_costs_no_more_than_the_text():
    ids = np.random.default_rng(0).integers(0, 50_000, 2_000).astype(np.int32)  # V³ would be 10¹⁴ cells
    assert NGram(NGramConfig(50_000, 3)).fit(ids).loss(ids[:100]) < math.log(50_000)


def test_samples_follow_the_counts():
    model = NGram(NGramConfig(V, 2)).fit(TEXT)
    sample = model.sample(4_000, np.random.default_rng(1))
    assert sample.shape == (4_000,) and 0 <= sample.min() and sample.max() < V
    np.testing.assert_array_equal(sample[:50], model.sample(50, np.random.default_rng(1)))
    after_a = np.bincount(sample[1:][sample[:-1] == 0], minlength=V)
    assert after_a.sum() > 500
    np.testing.assert_allclose(after_a / after_a.sum(), model.probabilities([0]), atol=0.05)
    assert NGram(NGramConfig(V, 3)).fit(TEXT).sample(0, np.random.default_rng(1)).shape == (0,)


def test_bad_input_is_refused():
    model = NGram(NGramConfig(V))
    for use in (
        lambda: model.loss(TEXT),
        lambda: model.probabilities([0]),
        lambda: model.sample(1, np.random.default_rng()),
    ):
        with pytest.raises(RuntimeError, match=r"fit\(ids\) first"):
            use()
    for use in (model.fit, model.loss, model.probabilities):
        with pytest.raises(TypeError, match="integer ids, got float64"):
            use(np.array([0.0, 1.0, 2.0]))
        with pytest.raises(ValueError, match=r"shape \(N,\), got \(2, 3\)"):
            use(np.zeros((2, 3), dtype=int))
        for wrong in (-1, V):
            with pytest.raises(ValueError, match=rf"from 0 to 6 \(vocab_size - 1\), got {wrong}"):
                use(np.array([0, 1, wrong, 2]))
    with pytest.raises(ValueError, match="order 3 needs .* got 2"):
        model.fit(np.array([0, 1]))
    with pytest.raises(ValueError, match="at least 2 symbols"):
        model.loss(np.array([0]))


@pytest.mark.parametrize(
    ("vocab_size", "order", "message"), [(0, 3, "at least 1"), (9, 0, "at least 1"), (2, 63, "63")]
)
def test_impossible_sizes_are_refused(vocab_size, order, message):
    with pytest.raises(ValueError, match=message):
        NGramConfig(vocab_size, order)
