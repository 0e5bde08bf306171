"""Naive Bayes against a count by hand."""

import math

import numpy as np
import pytest

from tinygrad_seq.models import NaiveBayes, NaiveBayesConfig

TEXTS = ["good good film", "bad film", "bad bad plot", "good plot and film"]
CLASSES = [1, 0, 0, 1]
WORDS = sorted({word for text in TEXTS for word in text.split()})


def encode(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_probabilities_are_those_of_the_counts(alpha: float) -> None:
    model = NaiveBayes(NaiveBayesConfig(len(WORDS), 2, alpha=alpha)).fit([encode(text) for text in TEXTS], CLASSES)
    text = "good film good bad"
    joint = []
    for k in (0, 1):
        bag = [word for t, c in zip(TEXTS, CLASSES, strict=True) if c == k for word in t.split()]
        p = CLASSES.count(k) / len(CLASSES)
        for word in text.split():
            p *= (bag.count(word) + alpha) / (len(bag) + alpha * len(WORDS))
        joint.append(p)
    expected = np.array(joint) / sum(joint)
    np.testing.assert_allclose(np.exp(model.log_probs([encode(text)]))[0], expected, rtol=1e-12)
    assert model.predict([encode(text), encode("bad plot")]).tolist() == [1, 0]
    assert model.loss([encode(text)], [1]) == pytest.approx(-math.log(expected[1]))


def test_the_share_of_a_class_counts() -> None:
    """Of a word that says nothing, the class that is more frequent."""
    model = NaiveBayes(NaiveBayesConfig(2, 2)).fit([[0], [0], [0]], [0, 1, 1])
    np.testing.assert_allclose(np.exp(model.log_probs([[]])), [[1 / 3, 2 / 3]])


def test_a_class_without_a_sentence_is_never_said() -> None:
    model = NaiveBayes(NaiveBayesConfig(3, 3)).fit([[0], [1]], [0, 2])
    assert np.exp(model.log_probs([[2]]))[0].tolist() == pytest.approx([0.5, 0, 0.5])


def test_what_cannot_be() -> None:
    for wrong in ((0, 2, 1.0), (3, 0, 1.0), (3, 2, 0.0)):
        with pytest.raises(ValueError, match="NaiveBayesConfig: expected"):
            NaiveBayesConfig(wrong[0], wrong[1], alpha=wrong[2])
    model = NaiveBayes(NaiveBayesConfig(3, 2))
    with pytest.raises(RuntimeError, match="counted nothing yet"):
        model.predict([[0]])
    with pytest.raises(ValueError, match="got 1 sentences and 2 classes"):
        model.fit([[0]], [0, 1])
    with pytest.raises(IndexError, match="ids of words from 0 to 2, got 3"):
        model.fit([[3]], [0])
    with pytest.raises(IndexError, match="ids of classes from 0 to 1, got 2"):
        model.fit([[0]], [2])
