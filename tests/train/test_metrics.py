"""Metrics: small cases by hand, numbers that sacrebleu and seqeval gave, sums over batches, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.train import (
    Accuracy,
    Bleu,
    Span,
    SpanScores,
    bits_per_character,
    bleu,
    confusion_matrix,
    perplexity,
    sequence_accuracy,
    span_scores,
    spans,
    token_accuracy,
    tokenize_13a,
)


def test_perplexity_and_bits():
    uniform = ts.ops.cross_entropy(ts.tensor(np.zeros((5, 10))), np.arange(5)).item()
    assert perplexity(uniform) == pytest.approx(10, rel=1e-12)
    assert perplexity(0.0) == 1 and perplexity(1e6) == math.inf and math.isnan(perplexity(math.nan))
    assert bits_per_character(1.5) == pytest.approx(math.log2(math.exp(1.5)), rel=1e-12)
    assert bits_per_character(6.0, symbols=20, characters=100) == pytest.approx(bits_per_character(1.2), rel=1e-12)
    for sizes in ({"symbols": 0}, {"characters": 0}):
        with pytest.raises(ValueError, match="symbols and characters of at least 1"):
            bits_per_character(1.0, **sizes)


def test_token_accuracy(backend):
    tags = np.array([[0, 1, 2], [1, -1, -1]])
    predicted = backend.tensor(np.array([[0, 1, 1], [1, -1, 7]]))
    with backend.reading():
        assert token_accuracy(predicted, backend.tensor(tags)) == Accuracy(3, 4)
        assert sequence_accuracy(predicted, backend.tensor(tags)) == Accuracy(1, 2)
    assert token_accuracy([1, 0, 3], [1, 0, 0], ignore_index=0) == Accuracy(1, 1)
    assert token_accuracy(np.zeros((0,), int), np.zeros((0,), int)) == Accuracy(0, 0)
    with pytest.raises(ValueError, match=r"shape of the targets, \(3,\), got \(2,\)"):
        token_accuracy([1, 2], [1, 2, 3])


def test_sequence_accuracy():
    assert sequence_accuracy(["ab", "a", "", "abc"], ["ab", "b", "", "ab"]) == Accuracy(2, 4)
    assert sequence_accuracy([["the", "cat"], ["a"]], [("the", "cat"), ("a", "cat")]) == Accuracy(1, 2)
    assert sequence_accuracy([[1, 2, 9], [1, 2]], [[1, 2, 0], [1, 0]], ignore_index=0) == Accuracy(2, 2)
    assert sequence_accuracy([[1, 2, 9]], [[1, 3, -1]]) == Accuracy(0, 1)
    with pytest.raises(ValueError, match="as many sequences as targets, 2, got 1"):
        sequence_accuracy(["a"], ["a", "b"])


def test_accuracies_add_up():
    rng = np.random.default_rng(0)
    predicted, targets = rng.integers(0, 3, (2, 40, 5))
    whole = token_accuracy(predicted, targets)
    assert sum((token_accuracy(predicted[k : k + 7], targets[k : k + 7]) for k in range(0, 40, 7)), Accuracy()) == whole
    assert whole.value == np.mean(predicted == targets)
    with pytest.raises(ValueError, match="at least one prediction"):
        _ = Accuracy().value


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3))))
def test_confusion_matrix(pairs):
    predicted, targets = ([pair[k] for pair in pairs] for k in range(2))
    matrix = confusion_matrix(np.array(predicted, np.uint8), np.array(targets, np.int64), 4)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[pairs.count((column, row)) for column in range(4)] for row in range(4)]


def test_confusion_matrix_refuses_other_classes():
    for predicted, targets, wrong in (([2], [0], 2), ([0], [2], 2), ([-1], [0], -1), ([0], [-2], -2)):
        with pytest.raises(ValueError, match=f"classes from 0 to 1, got {wrong}"):
            confusion_matrix(predicted, targets, 2)
    assert confusion_matrix([7], [-1], 2).sum() == 0  # where nothing counts, anything may be predicted
    with pytest.raises(ValueError, match="shape of the targets"):
        confusion_matrix([0], [[0]], 2)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-X I-X I-X", [("X", 0, 3)]),
        ("B-X B-X", [("X", 0, 1), ("X", 1, 2)]),
        ("I-X I-X O I-X", [("X", 0, 2), ("X", 3, 4)]),  # I begins what it cannot go on
        ("B-X I-Y I-Y", [("X", 0, 1), ("Y", 1, 3)]),
        ("B-X E-X I-X", [("X", 0, 2), ("X", 2, 3)]),
        ("S-X E-X E-X", [("X", 0, 1), ("X", 1, 2), ("X", 2, 3)]),
        ("B-X S-X I-X", [("X", 0, 1), ("X", 1, 2), ("X", 2, 3)]),
        ("B I O B-creative-work", [("_", 0, 2), ("creative-work", 3, 4)]),
    ],
)
def test_spans(tags, expected):
    assert spans(tags.split()) == [Span(*each) for each in expected]


@pytest.mark.parametrize("tag", ["", "PER", "B-", "b-PER", "0", "O-PER", "-PER", "X-PER"])
def test_what_marks_no_span_is_refused(tag):
    with pytest.raises(ValueError, match=f"expected O, or B-, I-, E- or S- and a type, got {tag!r} at 1"):
        spans(["O", tag])


def test_span_scores():
    targets = [["B-X", "I-X", "O", "B-Y"], ["B-Y"], []]
    predicted = [["B-X", "I-X", "O", "B-X"], ["B-Y"], []]
    scores = span_scores(predicted, targets)
    assert (scores.precision, scores.recall, scores.f1) == (2 / 3, 2 / 3, 2 / 3)
    by_type = {kind: (s.precision, s.recall, s.f1) for kind, s in scores.by_type().items()}
    assert by_type == {"X": (1 / 2, 1, 2 / 3), "Y": (1, 1 / 2, 2 / 3)}
    parts = [span_scores(predicted[k : k + 1], targets[k : k + 1]) for k in range(3)]
    assert sum(parts, SpanScores()) == scores
    nothing = SpanScores()
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.by_type()) == (0, 0, 0, {})
    # The right place under another name, and one word too many, are wrong.
    assert span_scores([["B-X", "I-X"], ["B-X", "I-X"]], [["B-Y", "I-Y"], ["B-X", "O"]]).f1 == 0
    with pytest.raises(ValueError, match="as many sentences as targets, 1, got 2"):
        span_scores([["O"], ["O"]], [["O"]])
    with pytest.raises(ValueError, match="expected 2 tags as the target has, got 1 at 0"):
        span_scores([["O"]], [["O", "O"]])


HYPOTHESES = [
    "It is a guide to action which ensures that the military always obeys the commands of the party.",
    "he read the book because he was interested in world history",
    "5.3% of it, i.e. 1,000-2,000",
]
REFERENCES = [
    [
        "It is a guide to action that ensures that the military will forever heed Party commands.",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party.",
    ],
    ["he was interested in world history because he read the book"],
    ["5.3 % of it , i.e. 1,000 - 2,000"],
]


@pytest.mark.parametrize(
    ("hypotheses", "references", "matches", "totals", "lengths", "score"),
    [
        (HYPOTHESES, REFERENCES, (40, 29, 22, 17), (42, 39, 36, 33), (42, 42), 68.71472509080783),
        (["a b c d e"], [["a x b y c"]], (3, 0, 0, 0), (5, 4, 3, 2), (5, 5), 14.058533129758727),  # smoothed
        (["a b c d"], [["a b c d e f g"]], (4, 3, 2, 1), (4, 3, 2, 1), (4, 7), 47.23665527410149),  # too short
        (["the cat"], [["the cat sat on the mat"]], (2, 1, 0, 0), (2, 1, 0, 0), (2, 6), 0.0),
        (["a b c d"], [["e f g h"]], (0, 0, 0, 0), (4, 3, 2, 1), (4, 4), 0.0),
        ([""], [["a b c d"]], (0, 0, 0, 0), (0, 0, 0, 0), (0, 4), 0.0),
        (["the the the"], [["the cat", "the the dog"]], (2, 1, 0, 0), (3, 2, 1, 0), (3, 3), 0.0),  # clipped
    ],
)
def test_bleu_is_sacrebleus(hypotheses, references, matches, totals, lengths, score):
    found = bleu(hypotheses, references)
    assert found == Bleu(matches, totals, *lengths)
    assert found.score == pytest.approx(score, rel=1e-12)
    words = [h.split() for h in hypotheses], [[r.split() for r in several] for several in references]
    if hypotheses is not HYPOTHESES:  # of plain words 13a cuts none
        assert bleu(*words) == found
    parts = [bleu([h], [r]) for h, r in zip(hypotheses, references, strict=True)]
    assert sum(parts, Bleu()) == found


def test_bleu_of_ids():
    assert bleu([[4, 5, 6, 7, 8]], [[[4, 5, 6, 7, 9]]]) == Bleu((4, 3, 2, 1), (5, 4, 3, 2), 5, 5)
    assert bleu([[4, 5, 6, 7, 8]], [[np.array([4, 5, 6, 7, 8])]]).score == pytest.approx(100)


def test_bleu_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="as many hypotheses as references, 1, got 2"):
        bleu(["a", "b"], [["a"]])
    with pytest.raises(TypeError, match="a list of references, got the text 'a b' at 1; put it in a list"):
        bleu(["a", "b"], [["a"], "a b"])
    with pytest.raises(ValueError, match="at least one reference, got none at 0"):
        bleu(["a"], [[]])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, world! (1,234.5)", "Hello , world ! ( 1,234.5 )"),
        ("1.5, 2-3 x-y .5 5.", "1.5 , 2 - 3 x-y . 5 5 ."),
        ("don't $5/6 a_b", "don't $ 5 / 6 a _ b"),
        ("a&amp;b &quot;c&quot; &lt;d&gt;", 'a & b " c " < d >'),
        ("cut-\nhere <skipped>\nend-\n", "cuthere end-"),
        ("5.,.6", "5 . , .6"),
        ("", ""),
    ],
)
def test_tokenize_13a(text, tokens):
    assert tokenize_13a(text) == tokens.split()
