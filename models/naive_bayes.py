"""Naive Bayes: which words a class has, whatever their order; the baseline that a classifier of sentences must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NaiveBayesConfig:
    """The sizes of a naive Bayes classifier.

    Args:
        vocab_size: V, the number of words; ids are 0 … V-1.
        num_classes: K, the number of labels.
        alpha: α, what each word is counted besides, so that no probability is 0.

    Raises:
        ValueError: a size is below 1, or α is not positive.
    """

    vocab_size: int
    num_classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.vocab_size < 1 or self.num_classes < 1 or not self.alpha > 0:
            raise ValueError(
                "NaiveBayesConfig: expected vocab_size and num_classes of at least 1 and a positive alpha, "
                f"got {self.vocab_size}, {self.num_classes} and {self.alpha}"
            )


class NaiveBayes:
    """A sentence as a bag of words, each drawn from its class by itself.

        P(k | w_1 … w_T) ∝ P(k) Π_t P(w_t | k)
        P(k) = N(k) / N                                   N(k): sentences of the class k, of N
        P(w | k) = (n(w, k) + α) / (Σ_w' n(w', k) + α V)  n(w, k): how often w stood in them

    Args:
        config: the sizes.

    Source: Manning, Raghavan and Schütze, 2008, "Introduction to Information Retrieval", chapter 13: the multinomial
    model.

    >>> model = NaiveBayes(NaiveBayesConfig(vocab_size=8, num_classes=2))
    >>> _ = model.fit([[4, 5], [4, 6], [7, 6]], [1, 1, 0])
    >>> model.predict([[5, 4], [7]])
    array([1, 0])
    >>> np.exp(model.log_probs([[5]])).round(3)  # 1/3 · 1/10 against 2/3 · 2/12
    array([[0.231, 0.769]])
    """

    def __init__(self, config: NaiveBayesConfig) -> None:
        self.config = config
        self._log_prior: np.ndarray | None = None  # log P(k): (K,)
        self._log_likelihood = np.zeros((config.vocab_size, config.num_classes))  # log P(w | k)

    def fit(self, tokens: Sequence[Any], classes: Sequence[int] | np.ndarray) -> NaiveBayes:
        """Count N sentences, (T_n,) ids each, in place of whatever was counted before, and return the model itself.

        Raises:
            ValueError: there are no sentences, or not as many classes as sentences.
            IndexError: an id is out of range.
        """
        V, K, alpha = self.config.vocab_size, self.config.num_classes, self.config.alpha
        of_each = np.asarray(classes)
        if not len(tokens) or len(tokens) != len(of_each):
            raise ValueError(
                "NaiveBayes: expected a class for each of at least one sentence, "
                f"got {len(tokens)} sentences and {len(of_each)} classes"
            )
        _check(of_each, K, "classes")
        counts = np.full((V, K), alpha)
        for row, k in zip(self._checked(tokens), of_each, strict=True):
            np.add.at(counts, (row, k), 1)
        with np.errstate(divide="ignore"):  # a class without a sentence has the probability 0
            self._log_prior = np.log(np.bincount(of_each, minlength=K) / len(of_each))
        self._log_likelihood = np.log(counts / counts.sum(0))
        return self

    def log_probs(self, tokens: Sequence[Any]) -> np.ndarray:
        """log P(k | sentence) of N sentences: (N, K), nats.

        Raises:
            RuntimeError: nothing was fitted yet. IndexError: an id is out of range.
        """
        if self._log_prior is None:
            raise RuntimeError("this naive Bayes classifier has counted nothing yet; call fit(tokens, classes) first")
        joint = np.array([self._log_prior + self._log_likelihood[row].sum(0) for row in self._checked(tokens)])
        return joint - np.logaddexp.reduce(joint, 1, keepdims=True)

    def loss(self, tokens: Sequence[Any], classes: Sequence[int] | np.ndarray) -> float:
        """The mean of -log P(class | sentence), in nats."""
        return float(-self.log_probs(tokens)[np.arange(len(tokens)), np.asarray(classes)].mean())

    def predict(self, tokens: Sequence[Any]) -> np.ndarray:
        """The most likely class of each sentence: (N,), integers."""
        return self.log_probs(tokens).argmax(1)

    def _checked(self, tokens: Sequence[Any]) -> list[np.ndarray]:
        rows = [np.asarray(row, np.int64) for row in tokens]
        for row in rows:
            _check(row, self.config.vocab_size, "words")
        return rows


def _check(ids: np.ndarray, size: int, what: str) -> None:
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise IndexError(f"NaiveBayes: expected ids of {what} from 0 to {size - 1}, got {wrong}")
