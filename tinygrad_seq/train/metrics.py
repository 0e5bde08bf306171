"""How good predictions are: perplexity, accuracy, span F1, BLEU, confusion. Counts of batches add up to a corpus's.

total = sum((token_accuracy(model.predict(b.tokens, b.lengths), b.tags) for b in batches), Accuracy())
total.value
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..core import Tensor

# -- language models


def perplexity(loss: float) -> float:
    """exp(loss): among how many equally likely symbols the model is in doubt.

    Args:
        loss: the mean of -log P(symbol), in nats.

    >>> round(perplexity(4.174), 2)
    64.97
    """
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def bits_per_character(loss: float, *, symbols: int = 1, characters: int = 1) -> float:
    """loss / ln 2 · symbols / characters: models of characters, words and subwords on one scale.

    Args:
        loss: the mean of -log P(symbol), in nats.
        symbols: how many symbols a text has for the model, and
        characters: how long it is; leave both out where a symbol is a character.
    Raises:
        ValueError: one of them is below 1.

    >>> bits_per_character(math.log(2))
    1.0
    >>> text = "to be or not to be"
    >>> bits_per_character(math.log(8), symbols=len(text.split()), characters=len(text))
    1.0
    """
    if symbols < 1 or characters < 1:
        raise ValueError(f"expected symbols and characters of at least 1, got {symbols} and {characters}")
    return loss / math.log(2) * symbols / characters


# -- accuracy


@dataclass(frozen=True)
class Accuracy:
    """Right predictions among all; `+` is that of both."""

    correct: int = 0
    total: int = 0

    def __add__(self, other: Accuracy) -> Accuracy:
        return Accuracy(self.correct + other.correct, self.total + other.total)

    @property
    def value(self) -> float:
        """From 0 to 1. ValueError where there was nothing to predict."""
        if not self.total:
            raise ValueError("expected at least one prediction to be right or wrong, got none")
        return self.correct / self.total


def token_accuracy(predicted: Any, targets: Any, *, ignore_index: int = -1) -> Accuracy:
    """How many symbols, tags or classes are right.

    Args:
        predicted, targets: arrays or tensors of integers, of one shape.
        ignore_index: the target of places that do not count: beyond the end of a sequence.
    Raises:
        ValueError: the shapes differ.

    >>> token_accuracy([[1, 2, 3], [1, 1, 9]], [[1, 2, 4], [1, -1, -1]])
    Accuracy(correct=3, total=4)
    """
    predicted, targets = _pair(predicted, targets)
    counts = targets != ignore_index
    return Accuracy(int(((predicted == targets) & counts).sum()), int(counts.sum()))


def sequence_accuracy(predicted: Any, targets: Any, *, ignore_index: int = -1) -> Accuracy:
    """How many sequences are right from beginning to end.

    Args:
        predicted, targets: equally many sequences: rows of arrays or tensors, lists of ids or words, or texts. One is
            right if it is as long as its target and has the same everywhere.
        ignore_index: the target of places that do not count: beyond the end of a sequence.
    Raises:
        ValueError: there are not equally many.

    >>> sequence_accuracy(["1597", "64"], ["1597", "647"])
    Accuracy(correct=1, total=2)
    >>> sequence_accuracy([[1, 2, 5], [3, 4, 5]], [[1, 2, -1], [3, 3, 5]])
    Accuracy(correct=1, total=2)
    """
    rows = list(zip(_rows(predicted), _rows(targets), strict=False))
    if not len(predicted) == len(targets) == len(rows):
        raise ValueError(f"expected as many sequences as targets, {len(targets)}, got {len(predicted)}")
    right = [len(p) == len(t) and all(a == b or b == ignore_index for a, b in zip(p, t, strict=True)) for p, t in rows]
    return Accuracy(sum(right), len(right))


def confusion_matrix(predicted: Any, targets: Any, num_classes: int, *, ignore_index: int = -1) -> np.ndarray:
    """What is taken for what: (K, K) int64, the true class by rows, the predicted one by columns. Matrices add up.

    Args:
        predicted, targets: arrays or tensors of integers from 0 to K-1, of one shape.
        num_classes: K.
        ignore_index: the target of places that do not count: beyond the end of a sequence.
    Raises:
        ValueError: the shapes differ, or a class is out of range.

    >>> confusion_matrix([0, 1, 1, 1], [0, 0, 1, -1], 2)
    array([[1, 1],
           [0, 1]])
    """
    predicted, targets = _pair(predicted, targets)
    counts = targets != ignore_index
    predicted, targets = predicted[counts], targets[counts]
    for classes in (predicted, targets):
        if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
            wrong = classes.min() if classes.min() < 0 else classes.max()
            raise ValueError(f"confusion_matrix: expected classes from 0 to {num_classes - 1}, got {wrong}")
    places = targets.astype(np.int64) * num_classes + predicted
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


# -- spans


class Span(NamedTuple):
    """A stretch of tokens with a name, such as a person's: tokens begin … end-1."""

    type: str
    begin: int
    end: int


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that the tags of one sentence mark, from left to right.

        B-X  a span of type X begins         I-X  it goes on         O  none
        E-X  it goes on and ends here        S-X  it is this one token alone

    What no scheme allows has a meaning all the same, as in CoNLL's evaluation: I or E begin a span where none of their
    type can go on. "I" without a type is of type "_".

    Raises:
        ValueError: for another tag.

    >>> spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Span(type='PER', begin=0, end=2), Span(type='LOC', begin=3, end=4), Span(type='LOC', begin=4, end=5)]
    """
    found: list[Span] = []
    is_open = False  # whether the last span may go on
    for t, tag in enumerate(tags):
        mark, dash, kind = tag.partition("-")
        if tag != "O" and (mark not in ("B", "I", "E", "S") or (dash and not kind)):
            raise ValueError(f"spans: expected O, or B-, I-, E- or S- and a type, got {tag!r} at {t}")
        kind = kind or "_"
        if mark in ("I", "E") and is_open and found[-1].type == kind:
            found[-1] = found[-1]._replace(end=t + 1)
        elif mark != "O":
            found.append(Span(kind, t, t + 1))
        is_open = mark in ("B", "I")
    return found


@dataclass(frozen=True)
class SpanScores:
    """Spans counted by their type; `+` is those of both.

    precision P = correct / predicted        recall R = correct / expected        F1 = 2 P R / (P + R)

    over all types together (micro average); 0 where nothing is there to divide by.
    """

    correct: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: SpanScores) -> SpanScores:
        return SpanScores(
            self.correct + other.correct, self.predicted + other.predicted, self.expected + other.expected
        )

    @property
    def precision(self) -> float:
        return _ratio(self.correct.total(), self.predicted.total())

    @property
    def recall(self) -> float:
        return _ratio(self.correct.total(), self.expected.total())

    @property
    def f1(self) -> float:
        return _ratio(2 * self.correct.total(), self.predicted.total() + self.expected.total())

    def by_type(self) -> dict[str, SpanScores]:
        """The scores of each type, in alphabetical order."""
        return {
            kind: SpanScores(*(Counter({kind: n[kind]}) for n in (self.correct, self.predicted, self.expected)))
            for kind in sorted(self.predicted | self.expected)
        }


def span_scores(predicted: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> SpanScores:
    """Which spans are right, in type, beginning and end: seqeval's numbers in its default mode.

    Args:
        predicted, targets: the tags of N sentences, such as "B-PER"; see `spans`.
    Raises:
        ValueError: there are not equally many sentences, or one has not as many tags as its target; or for a tag that
            marks no span.

    >>> scores = span_scores([["B-PER", "I-PER", "O", "O"]], [["B-PER", "I-PER", "O", "B-LOC"]])
    >>> scores.precision, scores.recall, round(scores.f1, 3), scores.by_type()["LOC"].f1
    (1.0, 0.5, 0.667, 0.0)
    """
    if len(predicted) != len(targets):
        raise ValueError(f"span_scores: expected as many sentences as targets, {len(targets)}, got {len(predicted)}")
    correct, of_model, expected = Counter[str](), Counter[str](), Counter[str]()
    for n, (one, other) in enumerate(zip(predicted, targets, strict=True)):
        if len(one) != len(other):
            raise ValueError(f"span_scores: expected {len(other)} tags as the target has, got {len(one)} at {n}")
        ours, theirs = spans(one), spans(other)
        of_model.update(span.type for span in ours)
        expected.update(span.type for span in theirs)
        correct.update(span.type for span in {*ours} & {*theirs})
    return SpanScores(correct, of_model, expected)


# -- translation

_ORDER = 4  # n-grams of 1 … 4 words


@dataclass(frozen=True)
class Bleu:
    """What BLEU is made of; `+` is that of both corpora.

        p_n = matches_n / totals_n                              the n-grams that a reference has too, n = 1 … 4
        BP = min(1, exp(1 - reference_length / length))         against leaving words out
        BLEU = 100 · BP · exp(¼ Σ_n log p_n)

    Where no n-gram of an order matches, p_n is 1 / (2 totals_n) for the first such order, 1 / (4 totals_n) for the
    next, and so on; BLEU is 0 if no word matches, or if there are no n-grams of an order at all.
    """

    matches: tuple[int, ...] = (0,) * _ORDER
    totals: tuple[int, ...] = (0,) * _ORDER
    length: int = 0
    reference_length: int = 0

    def __add__(self, other: Bleu) -> Bleu:
        return Bleu(
            tuple(a + b for a, b in zip(self.matches, other.matches, strict=True)),
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            self.length + other.length,
            self.reference_length + other.reference_length,
        )

    @property
    def brevity_penalty(self) -> float:
        if self.length >= self.reference_length:
            return 1.0
        return math.exp(1 - self.reference_length / self.length) if self.length else 0.0

    @property
    def score(self) -> float:
        """From 0 to 100."""
        if not self.matches[0] or not all(self.totals):
            return 0.0
        logs, doubled = 0.0, 1
        for matches, total in zip(self.matches, self.totals, strict=True):
            if not matches:
                doubled *= 2
            logs += math.log((matches or 1 / doubled) / total)
        return 100 * self.brevity_penalty * math.exp(logs / _ORDER)


def bleu(hypotheses: Sequence[str | Sequence[Hashable]], references: Sequence[Sequence[Any]]) -> Bleu:
    """How many of a translation's words, and of its pairs, triples and quadruples of words, a reference has too.

    The numbers are those of sacrebleu with its own settings (13a, exponential smoothing, case counts). A corpus has one
    BLEU; the mean of its sentences' is another number.

    Args:
        hypotheses: N translations: texts, which `tokenize_13a` cuts, or lists of tokens, taken as they are.
        references: N lists of right translations, each as a hypothesis is.
    Raises:
        ValueError: there are not equally many, or one has no reference. TypeError: a reference stands alone, not in a
            list.

    Source: Papineni et al., 2002; Post, 2018.

    >>> total = bleu(["The cat sat on the mat."], [["The cat sat on a mat.", "A cat was sitting on the mat."]])
    >>> total.matches, total.totals, round(total.score, 2)
    ((7, 6, 4, 2), (7, 6, 5, 4), 79.53)
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"bleu: expected as many hypotheses as references, {len(references)}, got {len(hypotheses)}")
    matches, totals, length, reference_length = [0] * _ORDER, [0] * _ORDER, 0, 0
    for k, (hypothesis, several) in enumerate(zip(hypotheses, references, strict=True)):
        if isinstance(several, str):
            raise TypeError(
                f"bleu: expected a list of references, got the text {several!r:.40} at {k}; put it in a list"
            )
        if not len(several):
            raise ValueError(f"bleu: expected at least one reference, got none at {k}")
        words = _words(hypothesis)
        right = [_words(reference) for reference in several]
        length += len(words)
        reference_length += min((len(each) for each in right), key=lambda n: (abs(n - len(words)), n))
        for n in range(1, _ORDER + 1):
            there = Counter[tuple[Hashable, ...]]()
            for each in right:
                there |= _ngrams(each, n)  # the most often that any of them has it
            ours = _ngrams(words, n)
            matches[n - 1] += (ours & there).total()
            totals[n - 1] += ours.total()
    return Bleu(tuple(matches), tuple(totals), length, reference_length)


# 13a: the tokenisation of mteval-v13a, by which translations have been compared since 2009. The order matters.
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_RULES = (
    (re.compile(r"""([!"#$%&()*+/:;<=>?@\[\\\]^_`{|}~])"""), r" \1 "),  # signs stand alone
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # full stop and comma too, but not within a number: 1,234.5
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])-"), r"\1 - "),  # a dash only after a digit
)


def tokenize_13a(text: str) -> list[str]:
    """A text as the tokens that BLEU compares: words, numbers, and each sign by itself.

    >>> tokenize_13a("It's 3.5 km (about 2-3 miles), isn't it?")
    ["It's", '3.5', 'km', '(', 'about', '2', '-', '3', 'miles', ')', ',', "isn't", 'it', '?']
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, sign in _ENTITIES:
        text = text.replace(entity, sign)
    text = f" {text} "
    for rule, replacement in _RULES:
        text = rule.sub(replacement, text)
    return text.split()


def _words(text: str | Sequence[Hashable]) -> list[Hashable]:
    return list(tokenize_13a(text)) if isinstance(text, str) else list(text)


def _ngrams(words: list[Hashable], n: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _pair(predicted: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    one, other = _array(predicted), _array(targets)
    if one.shape != other.shape:
        raise ValueError(f"expected predictions of the shape of the targets, {other.shape}, got {one.shape}")
    return one, other


def _array(values: Any) -> np.ndarray:
    return values.numpy() if isinstance(values, Tensor) else np.asarray(values)


def _rows(sequences: Any) -> Any:
    """Sequences that can be walked: of tensors and arrays as lists."""
    return _array(sequences).tolist() if isinstance(sequences, Tensor | np.ndarray) else sequences
