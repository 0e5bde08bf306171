"""Count tables: the n-gram model, the baseline that a neural language model must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class NGramConfig:
    """The sizes of an n-gram model.

    Args:
        vocab_size: V, the number of symbols; ids are 0 … V-1.
        order: n, the length of the counted stretches: 1 unigram, 2 bigram, 3 trigram. The model sees n-1 symbols back.

    Raises:
        ValueError: a size is below 1, or Vⁿ does not fit into 63 bits (each n-gram is one int64).
    """

    vocab_size: int
    order: int = 3

    def __post_init__(self) -> None:
        if self.vocab_size < 1 or self.order < 1:
            raise ValueError(f"expected vocab_size and order of at least 1, got {self.vocab_size} and {self.order}")
        if self.vocab_size**self.order >= 2**63:
            raise ValueError(
                f"expected vocab_size ** order below 2 ** 63, got {self.vocab_size} ** {self.order}; "
                "take a lower order or a smaller vocabulary"
            )


class _Counts(NamedTuple):
    """What was counted for one order k: stretches h c of k symbols, of which h are the k-1 symbols of history.

    Only what occurred is kept, sorted by key, so memory grows with the text and not with V to the k.
    """

    grams: np.ndarray  # keys of the different h c
    gram_counts: np.ndarray  # n(hc)
    histories: np.ndarray  # keys of the different h
    history_counts: np.ndarray  # n(h), how often something followed h
    followers: np.ndarray  # d(h), how many different symbols followed h


class NGram:
    """An interpolated n-gram model with Witten–Bell smoothing, each order's strength chosen on training data.

    With h the last k-1 symbols, n(hc) how often c followed h, n(h) = Σ_c n(hc), and d(h) how many different symbols
    followed h, order k mixes what it counted with what order k-1 says:

        p_k(c | h) = (n(hc) + κ_k d(h) p_{k-1}(c | h')) / (n(h) + κ_k d(h))        h' = h without its oldest symbol
        p_0(c) = 1 / V

    A history that was often seen is believed; one that was followed by many different symbols is believed less; one
    that was never seen leaves p_{k-1} as it is. Every probability is positive and each distribution sums to 1.

    κ = 1 is Witten's and Bell's own choice. Here κ_1, κ_2, … are chosen one after another, each the value between 1/32
    and 32 (in steps of ⁴√2) with the lowest loss on the last tenth of the *training* ids under counts of the rest; then
    everything is counted. Fewer than 20 ids leave nothing to predict there, and κ stays 1.

    The first symbol of a sequence is given, never predicted, as in `tinygrad_seq.data.LanguageModelStream`; the next
    ones, which have less than n-1 symbols before them, are predicted by the lower orders.

    Args:
        config: the sizes.

    Attributes:
        kappa: (n,), κ_1 … κ_n, after `fit`.

    Source: Witten and Bell 1991, "The zero-frequency problem"; Chen and Goodman 1998 compare it with others.

    >>> ids = np.array([0, 1, 2] * 40)
    >>> model = NGram(NGramConfig(vocab_size=3, order=2)).fit(ids)
    >>> model.probabilities([1]).round(2)
    array([0., 0., 1.])
    >>> model.loss(ids) < 0.01 < NGram(NGramConfig(vocab_size=3, order=1)).fit(ids).loss(ids)
    True
    """

    def __init__(self, config: NGramConfig) -> None:
        self.config = config
        self.kappa = np.ones(config.order)
        self._counts: list[_Counts] = []

    def fit(self, ids: np.ndarray) -> NGram:
        """Count `ids`, (N,) integers, in place of whatever was counted before, and return the model itself.

        Raises:
            TypeError: the ids are not integers.
            ValueError: they are not a row of at least n symbols, or one is outside 0 … V-1.
        """
        ids = self._checked(ids)
        if len(ids) < self.config.order:
            raise ValueError(f"an n-gram model of order {self.config.order} needs as many symbols, got {len(ids)}")
        cut = len(ids) - len(ids) // 10
        self.kappa = self._choose_kappa(ids[:cut], ids[cut:])
        self._counts = self._count(ids)
        return self

    def log_probs(self, ids: np.ndarray) -> np.ndarray:
        """log p(ids[t] | the symbols before) for t = 1 … N-1: (N-1,), nats.

        Raises:
            RuntimeError: nothing was fitted yet.
            TypeError, ValueError: as `fit`; at least 2 symbols are needed.
        """
        ids = self._checked(ids)
        if len(ids) < 2:
            raise ValueError(f"a loss needs at least 2 symbols, one to see and one to predict, got {len(ids)}")
        p = np.full(len(ids) - 1, 1 / self.config.vocab_size)
        for k, (counts, kappa) in enumerate(zip(self._fitted(), self.kappa, strict=True), start=1):
            keys = self._grams_predicted(ids, k)
            later = slice(len(p) - len(keys), None)
            p[later] = _mix(p[later], kappa, *self._look_up(counts, keys))
        return np.log(p)

    def loss(self, ids: np.ndarray) -> float:
        """The mean of -log p over the N-1 symbols that follow the first: nats per symbol (divide by log 2 for bits)."""
        return float(-self.log_probs(ids).mean())

    def probabilities(self, context: np.ndarray | Sequence[int]) -> np.ndarray:
        """The distribution of the symbol that follows `context`, of which the last n-1 count: (V,), sums to 1."""
        V = self.config.vocab_size
        # An empty list is an array of floats to NumPy.
        history = self._checked(np.asarray(context) if len(context) else np.zeros(0, dtype=np.int64))
        p = np.full(V, 1 / V)
        for k, (counts, kappa) in enumerate(zip(self._fitted(), self.kappa, strict=True), start=1):
            if k - 1 <= len(history):
                h = self._grams(history[len(history) - (k - 1) :], k - 1)
                p = _mix(p, kappa, *self._look_up(counts, h * V + np.arange(V)))
        return p

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` symbols, each given those before it: (n,), int64. The first comes from the unigram."""
        ids = np.zeros(n, dtype=np.int64)
        for t in range(n):
            p = self.probabilities(ids[max(t - self.config.order + 1, 0) : t])
            ids[t] = rng.choice(self.config.vocab_size, p=p)
        return ids

    def _count(self, ids: np.ndarray) -> list[_Counts]:
        tables = []
        for k in range(1, self.config.order + 1):
            grams, gram_counts = np.unique(self._grams(ids, k), return_counts=True)
            histories, start, followers = np.unique(
                grams // self.config.vocab_size, return_index=True, return_counts=True
            )
            tables.append(_Counts(grams, gram_counts, histories, np.add.reduceat(gram_counts, start), followers))
        return tables

    def _choose_kappa(self, ids: np.ndarray, judged: np.ndarray) -> np.ndarray:
        """κ_1 … κ_n with the lowest losses on `judged` under counts of `ids`, the lower orders first."""
        if len(judged) < 2:
            return np.ones(self.config.order)
        chosen = []
        p = np.full(len(judged) - 1, 1 / self.config.vocab_size)
        for k, counts in enumerate(self._count(ids), start=1):
            keys = self._grams_predicted(judged, k)
            later = slice(len(p) - len(keys), None)
            counted = self._look_up(counts, keys)
            tried = [(_mix(p[later], kappa, *counted), kappa) for kappa in 2.0 ** np.arange(-5, 5.25, 0.25)]
            p[later], kappa = max(tried, key=lambda pair: np.log(pair[0]).sum())
            chosen.append(kappa)
        return np.array(chosen)

    def _grams(self, ids: np.ndarray, k: int) -> np.ndarray:
        """Each stretch of k ids as one number, the ids its digits in base V: (N-k+1,), none if the text is shorter."""
        keys = np.zeros(max(len(ids) - k + 1, 0), dtype=np.int64)
        for j in range(k):
            keys = keys * self.config.vocab_size + ids[j : j + len(keys)]
        return keys

    def _grams_predicted(self, ids: np.ndarray, k: int) -> np.ndarray:
        """The stretches whose last symbol is predicted: every symbol that has k-1 before it, but not the very first."""
        return self._grams(ids, k)[1 if k == 1 else 0 :]

    def _look_up(self, counts: _Counts, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """n(hc), n(h) and d(h) for each h c in `grams`, zeros where it never occurred."""
        histories = grams // self.config.vocab_size
        n_hc = _find(counts.grams, grams, counts.gram_counts)
        n_h = _find(counts.histories, histories, counts.history_counts)
        d_h = _find(counts.histories, histories, counts.followers)
        return n_hc, n_h, d_h

    def _fitted(self) -> list[_Counts]:
        if not self._counts:
            raise RuntimeError("this n-gram model has counted nothing yet; call fit(ids) first")
        return self._counts

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        if ids.dtype.kind not in "iu":
            raise TypeError(f"expected integer ids, got {ids.dtype}; encode the text with a vocabulary first")
        if ids.ndim != 1:
            raise ValueError(f"expected ids of shape (N,), got {ids.shape}")
        if ids.size and not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(f"expected ids from 0 to {self.config.vocab_size - 1} (vocab_size - 1), got {wrong}")
        return ids.astype(np.int64)


def _find(keys: np.ndarray, wanted: np.ndarray, values: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _mix(p: np.ndarray, kappa: float, n_hc: np.ndarray, n_h: np.ndarray, d_h: np.ndarray) -> np.ndarray:
    """p_k from p_{k-1}: the equation in `NGram`."""
    seen = n_h > 0
    return np.where(seen, (n_hc + kappa * d_h * p) / np.where(seen, n_h + kappa * d_h, 1), p)
