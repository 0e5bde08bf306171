"""The table of tags against a count by hand."""

import numpy as np
import pytest

from tinygrad_seq.models import MostFrequentTag, MostFrequentTagConfig

SENTENCES = [("the run was long", "DNVA"), ("the long run", "DAN"), ("they run long", "PVA"), ("run", "V")]
WORDS = sorted({word for text, _ in SENTENCES for word in text.split()})
TAGS = "ADNPV"
TOKENS = [[WORDS.index(word) for word in text.split()] for text, _ in SENTENCES]
LABELS = [[TAGS.index(tag) for tag in tags] for _, tags in SENTENCES]


def fitted() -> MostFrequentTag:
    return MostFrequentTag(MostFrequentTagConfig(len(WORDS) + 1, len(TAGS))).fit(TOKENS, LABELS)


def test_counts_and_the_best_of_them() -> None:
    model = fitted()
    for w, word in enumerate(WORDS):
        pairs = [pair for text, tags in SENTENCES for pair in zip(text.split(), tags, strict=True)]
        assert model.counts[w].tolist() == [pairs.count((word, tag)) for tag in TAGS]
    # "run" was V twice and N twice, of which N has the lower id; "long" A three times.
    (tags,) = model.predict([[WORDS.index("run"), WORDS.index("was"), WORDS.index("long")]])
    assert [TAGS[k] for k in tags] == ["N", "V", "A"]


def test_an_unknown_word_has_the_tag_that_is_most_frequent_of_all() -> None:
    model = MostFrequentTag(MostFrequentTagConfig(3, 3)).fit([[0, 0, 1]], [[2, 2, 1]])
    assert model.predict([[2], [1]])[0].tolist() == [2] and model.predict([[1]])[0].tolist() == [1]


def test_fitting_again_forgets() -> None:
    model = fitted()
    assert model.fit([[0]], [[3]]).counts.sum() == 1


def test_what_cannot_be() -> None:
    model = MostFrequentTag(MostFrequentTagConfig(3, 2))
    with pytest.raises(RuntimeError, match="counted nothing yet"):
        model.predict([[0]])
    with pytest.raises(ValueError, match="a tag for each token of at least one sentence, got 0 tokens"):
        model.fit([], [])
    with pytest.raises(ValueError, match="got 2 tokens and 1 tags"):
        model.fit([[0, 1]], [[0]])
    with pytest.raises(IndexError, match="ids of words from 0 to 2, got 3"):
        model.fit([[3]], [[0]])
    with pytest.raises(IndexError, match="ids of tags from 0 to 1, got -1"):
        model.fit([[0]], [[-1]])
    model.fit([[0]], [[0]])
    with pytest.raises(IndexError, match="ids of words from 0 to 2, got 7"):
        model.predict([np.array([7])])
