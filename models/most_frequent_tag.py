"""The most frequent tag of each word: a count, and the baseline that a tagger must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MostFrequentTagConfig:
    """The sizes of a table of tags.

    Args:
        vocab_size: V, the number of words; ids are 0 … V-1.
        num_tags: K, the number of labels.
    """

    vocab_size: int
    num_tags: int


class MostFrequentTag:
    """Each word gets the tag that it had most often, whatever stands beside it.

        tag(w) = argmax_k n(w, k)                n(w, k): how often w had the tag k
        tag(w) = argmax_k Σ_w' n(w', k)          of a word that was never seen

    Of equally frequent tags it is the one with the lowest id.

    Args:
        config: the sizes.

    Attributes:
        counts: n, (V, K) int64, after `fit`.

    >>> model = MostFrequentTag(MostFrequentTagConfig(vocab_size=9, num_tags=3))
    >>> _ = model.fit([[5, 6, 7], [6, 8]], [[0, 1, 1], [2, 1]])
    >>> [tags.tolist() for tags in model.predict([[6, 5], [4]])]
    [[1, 0], [1]]
    """

    def __init__(self, config: MostFrequentTagConfig) -> None:
        self.config = config
        self.counts = np.zeros((config.vocab_size, config.num_tags), np.int64)

    def fit(self, tokens: Sequence[Any], tags: Sequence[Any]) -> MostFrequentTag:
        """Count the tags of N sentences, (T_n,) ids each, in place of whatever was counted; return the model itself.

        Raises:
            ValueError: there are no tokens, or not as many tags as tokens. IndexError: an id is out of range.
        """
        words, of_words = (np.concatenate([np.zeros(0, np.int64), *map(np.asarray, rows)]) for rows in (tokens, tags))
        if not len(words) or [len(row) for row in tokens] != [len(row) for row in tags]:
            raise ValueError(
                "MostFrequentTag: expected a tag for each token of at least one sentence, "
                f"got {len(words)} tokens and {len(of_words)} tags"
            )
        self._check(words, self.config.vocab_size, "words")
        self._check(of_words, self.config.num_tags, "tags")
        self.counts = np.zeros_like(self.counts)
        np.add.at(self.counts, (words.astype(np.int64), of_words.astype(np.int64)), 1)
        return self

    def predict(self, tokens: Sequence[Any]) -> list[np.ndarray]:
        """The tags of sentences, (T_n,) ids each.

        Raises:
            RuntimeError: nothing was fitted yet. IndexError: an id is out of range.
        """
        if not self.counts.any():
            raise RuntimeError("this table of tags has counted nothing yet; call fit(tokens, tags) first")
        best = np.where(self.counts.any(1), self.counts.argmax(1), self.counts.sum(0).argmax())
        for row in tokens:
            self._check(np.asarray(row), self.config.vocab_size, "words")
        return [best[np.asarray(row)] for row in tokens]

    def _check(self, ids: np.ndarray, size: int, what: str) -> None:
        if ids.size and not 0 <= ids.min() <= ids.max() < size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise IndexError(f"MostFrequentTag: expected ids of {what} from 0 to {size - 1}, got {wrong}")
