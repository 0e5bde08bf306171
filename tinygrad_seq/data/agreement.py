"""A grammar of English sentences whose verb agrees with a subject that stands far before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .synthetic import generator

_Noun = tuple[str, str]  # (singular, plural)

# Verbs of the clauses are in the past: they show no number.
PEOPLE = [
    ("student", "students"), ("teacher", "teachers"), ("doctor", "doctors"), ("child", "children"),
    ("woman", "women"), ("man", "men"), ("author", "authors"), ("pilot", "pilots"), ("farmer", "farmers"),
    ("girl", "girls"), ("boy", "boys"), ("friend", "friends"),
]  # fmt: skip
TESTS = [("exam", "exams"), ("test", "tests"), ("essay", "essays")]
THINGS = TESTS + [
    ("book", "books"), ("house", "houses"), ("garden", "gardens"), ("car", "cars"), ("letter", "letters"),
    ("picture", "pictures"), ("river", "rivers"),
]  # fmt: skip
NOUNS = PEOPLE + THINGS
ADJECTIVES = ["old", "new", "tall", "quiet", "strange", "good"]
PREPOSITIONS = [["near"], ["behind"], ["beside"], ["next", "to"]]
DEEDS = [  # of people, and to whom or what
    (["saw"], NOUNS),
    (["liked"], NOUNS),
    (["wrote", "about"], NOUNS),
    (["worked", "with"], PEOPLE),
    (["did", "well", "on"], TESTS),
]
EMBEDDED = ["saw", "liked", "painted", "knew", "found"]
# The verb of the sentence: (singular, plural), and what may follow it.
PREDICATES = [
    (("was", "were"), ["happy", "tired", "late", "famous", "ready"]),
    (("is", "are"), ["happy", "tired", "late", "famous", "ready"]),
    (("has", "have"), ["left", "arrived", "smiled", "waited"]),
]


class Agreement(NamedTuple):
    """A sentence with the place where its number is decided, and the place where it shows."""

    tokens: list[str]  # the sentence, with the right verb
    subject: int  # position of the noun that the verb agrees with
    verb: int  # position of the verb
    right: str  # the verb
    wrong: str  # the same verb in the other number


def agreement(n: int, *, seed: int, depths: Sequence[int] = (1, 2, 3)) -> list[Agreement]:
    """Sentences such as "the students who did well on the exam were happy": the verb agrees across a clause.

        sentence → the (adjective) SUBJECT modifier VERB predicate
        modifier → near NOUNS | who did well on NOUNS | that NOUNS knew        one for each level of depth
        NOUNS    → the (adjective) noun (modifier)                             singular or plural, by a fair coin

    Sentences come in pairs, 2k and 2k + 1, that differ in the subject's number and the verb's alone. So what stands
    between subject and verb says nothing about the verb, exactly and not only on average: whoever cannot see as far
    as the subject is right half of the time. Cut a list at an even place, and no pair is torn apart.

    Args:
        n: how many sentences, an even number.
        seed: the same seed gives the same sentences.
        depths: how many modifiers stand between subject and verb, each of them equally often; 1 or more.
    Raises:
        ValueError: n is not even and positive, or a depth is below 1.

    Source: the task is that of Linzen, Dupoux and Goldberg (2016), here from a grammar instead of a corpus.

    >>> one, other = agreement(2, seed=7, depths=[1])
    >>> print(" ".join(one.tokens))
    the farmers who wrote about the old garden were ready
    >>> print(" ".join(other.tokens))
    the farmer who wrote about the old garden was ready
    >>> one.verb, one.right, one.wrong
    (8, 'were', 'was')
    """
    if n < 2 or n % 2:
        raise ValueError(f"agreement: sentences come in pairs: expected an even n of at least 2, got {n}")
    if not len(depths) or min(depths) < 1:
        raise ValueError(
            f"agreement: expected depths of at least 1, got {list(depths)}; without a modifier "
            "the subject stands right before the verb, where a bigram sees it"
        )
    rng = generator(seed)
    sentences = []
    for _ in range(n // 2):
        before = ["the", *_adjective(rng)]
        subjects = _one(rng, PEOPLE)
        between = _modifier(rng, PEOPLE, _one(rng, depths))
        verbs, predicates = _one(rng, PREDICATES)
        after = _one(rng, predicates)
        for number in rng.permutation(2):
            right, wrong = verbs[number], verbs[1 - number]
            tokens = [*before, subjects[number], *between, right, after]
            sentences.append(Agreement(tokens, len(before), len(tokens) - 2, right, wrong))
    return sentences


def _modifier(rng: np.random.Generator, head: Sequence[_Noun], depth: int) -> list[str]:
    """What follows a noun out of `head`: `depth` modifiers, each inside the one before."""
    kind = rng.integers(3 if head is PEOPLE else 2)
    if kind == 0:
        return [*_one(rng, PREPOSITIONS), *_nouns(rng, NOUNS, depth - 1)]
    if kind == 1:
        return ["that", *_nouns(rng, PEOPLE, depth - 1), _one(rng, EMBEDDED)]
    deed, to_whom = _one(rng, DEEDS)
    return ["who", *deed, *_nouns(rng, to_whom, depth - 1)]


def _nouns(rng: np.random.Generator, nouns: Sequence[_Noun], depth: int) -> list[str]:
    noun = _one(rng, nouns)
    more = _modifier(rng, PEOPLE if noun in PEOPLE else THINGS, depth) if depth else []
    return ["the", *_adjective(rng), noun[rng.integers(2)], *more]


def _adjective(rng: np.random.Generator) -> list[str]:
    return [_one(rng, ADJECTIVES)] if rng.random() < 0.25 else []


def _one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]
