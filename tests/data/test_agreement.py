"""The agreement grammar: the verb follows the subject, and nothing else in the sentence tells it."""

from collections import Counter

import pytest

from tinygrad_seq.data import agreement
from tinygrad_seq.data.agreement import NOUNS, PEOPLE

SENTENCES = agreement(4000, seed=0)
SINGULAR, PLURAL = {"was", "is", "has"}, {"were", "are", "have"}


def test_the_verb_has_the_number_of_the_subject():
    number = {form: k for pair in PEOPLE for k, form in enumerate(pair)}
    for s in SENTENCES:
        assert s.tokens[s.verb] == s.right and s.right != s.wrong
        assert s.right in (SINGULAR, PLURAL)[number[s.tokens[s.subject]]]
        assert s.wrong in (PLURAL, SINGULAR)[number[s.tokens[s.subject]]]
        assert s.subject < s.verb - 1 and not {*s.tokens[: s.verb]} & (SINGULAR | PLURAL)


def test_sentences_come_in_pairs_that_differ_in_subject_and_verb_alone():
    for one, other in zip(SENTENCES[::2], SENTENCES[1::2], strict=True):
        different = [k for k, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=True)) if a != b]
        assert different == [one.subject, one.verb] == [other.subject, other.verb]
        assert (one.right, one.wrong) == (other.wrong, other.right)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_words_right_before_the_verb_say_nothing_about_its_number(window):
    """Even whoever knew all counts, the test's own, would be right half of the time."""
    counts: dict[tuple, Counter] = {}
    for s in SENTENCES:
        if s.verb - window > s.subject:
            counts.setdefault(tuple(s.tokens[s.verb - window : s.verb]), Counter())[s.right in PLURAL] += 1
    assert len(counts) > 30 and all(count[True] == count[False] for count in counts.values())


def test_nouns_of_both_numbers_lie_between_subject_and_verb():
    number = {form: k for pair in NOUNS for k, form in enumerate(pair)}
    attractors = Counter()
    for s in SENTENCES:
        between = [number[word] for word in s.tokens[s.subject + 1 : s.verb] if word in number]
        assert 1 <= len(between) <= 3
        attractors.update(n != number[s.tokens[s.subject]] for n in between)
    assert attractors[True] == attractors[False]  # by the pairs
    assert len({tuple(s.tokens) for s in SENTENCES}) > 0.9 * len(SENTENCES)
    assert {5, 6, 8, 12} <= {s.verb for s in SENTENCES}


def test_depth_is_the_number_of_nouns_between():
    people_and_things = {form for pair in NOUNS for form in pair}
    for depth in (1, 2, 5):
        for s in agreement(20, seed=3, depths=[depth]):
            assert sum(word in people_and_things for word in s.tokens[s.subject + 1 : s.verb]) == depth


def test_a_seed_gives_the_same_sentences_again():
    assert agreement(20, seed=5) == agreement(20, seed=5) != agreement(20, seed=6)


@pytest.mark.parametrize("n", [0, 3])
def test_a_number_that_is_not_even_is_refused(n):
    with pytest.raises(ValueError, match=f"pairs: expected an even n of at least 2, got {n}"):
        agreement(n, seed=0)


@pytest.mark.parametrize("depths", [[], [0, 1]])
def test_depths_without_a_modifier_are_refused(depths):
    with pytest.raises(ValueError, match="a bigram sees it"):
        agreement(2, seed=0, depths=depths)
