"""What needs no training and must be beaten: counts, a rule for names, a memory of translations.

Each function takes the examples to learn from and those to judge by, and gives values of the task's measure by name.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tinygrad_seq.data import CharVocabulary, Labels, Vocabulary, WordVocabulary
from tinygrad_seq.models import (
    MostFrequentTag,
    MostFrequentTagConfig,
    NaiveBayes,
    NaiveBayesConfig,
    NGram,
    NGramConfig,
)
from tinygrad_seq.train import bleu, span_scores

Sentence = Sequence[str]
Tagged = Sequence[tuple[Sentence, Sentence]]  # words and their tags

ORDERS = {"a bigram": 2, "a trigram": 3, "a 7-gram": 7}


class CapitalNames:
    """Takes for a person whoever is written with a capital, unless training knows the word as no name.

    Side by side they are one name. The names of WNUT-17's test set never occur in its training set: a dictionary of
    names would find none of them.

    >>> rule = CapitalNames([(["The", "cat", "in", "Rome"], ["O", "O", "O", "B-location"])])
    >>> rule.tag(["The", "new", "Ann", "Lee", "of", "rome"])
    ['O', 'O', 'B-person', 'I-person', 'O', 'O']
    """

    def __init__(self, sentences: Tagged) -> None:
        counts: dict[str, Counter[bool]] = defaultdict(Counter)
        for words, tags in sentences:
            for word, tag in zip(words, tags, strict=True):
                counts[word][tag == "O"] += 1
        self.no_names = {word for word, count in counts.items() if count[True] >= count[False]}

    def tag(self, words: Sentence) -> list[str]:
        names = [word[:1].isupper() and word.isalpha() and word not in self.no_names for word in words]
        before = [False, *names[:-1]]
        return [("I-person" if b else "B-person") if n else "O" for n, b in zip(names, before, strict=True)]


class TranslationMemory:
    """Gives the known translation of the most similar known sentence: that with the most words in common.

    Similar is Dice's coefficient of the two bags of words; of equals the first in the file.

    >>> TranslationMemory([("go on !", "continue !"), ("i am cold .", "j'ai froid .")]).translate("i am here .")
    "j'ai froid ."
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        self.bags = [_words(source) for source, _ in self.pairs]
        self.having: dict[str, list[int]] = defaultdict(list)
        for k, bag in enumerate(self.bags):
            for word in bag:
                self.having[word].append(k)

    def translate(self, source: str) -> str:
        bag = _words(source)
        found = {k for word in bag for k in self.having[word]} if bag else set()

        def similar(k: int) -> tuple[float, int]:
            return 2 * (bag & self.bags[k]).total() / (bag.total() + self.bags[k].total()), -k

        return self.pairs[max(found, key=similar, default=0)][1]


def _words(text: str) -> Counter[str]:
    """The words of a text and its punctuation, in lower case."""
    return Counter(re.findall(r"\w+|[^\w\s]", text.lower()))


def _spaced(text: str) -> str:
    """With one space between words, as our models write."""
    return " ".join(WordVocabulary(()).words(text))


def count_tables(training: str, judged: str) -> dict[str, float]:
    """Smoothed counts of characters: nats per character."""
    vocabulary = CharVocabulary.from_text((training, judged))
    learned, held = vocabulary.encode(training), vocabulary.encode(judged)
    return {name: NGram(NGramConfig(len(vocabulary), n)).fit(learned).loss(held) for name, n in ORDERS.items()}


def _frequent_tags(training: Tagged, judged: Tagged) -> list[list[str]]:
    """Each word with the tag that it had most often; new words with the most frequent of all."""
    words = Vocabulary.from_sequences(words for words, _ in training)
    labels = Labels.from_labels(tag for _, tags in training for tag in tags)
    model = MostFrequentTag(MostFrequentTagConfig(len(words), len(labels)))
    model.fit([words.encode(own) for own, _ in training], [labels.encode(tags) for _, tags in training])
    return [labels.decode(row) for row in model.predict([words.encode(own) for own, _ in judged])]


def frequent_tag(training: Tagged, judged: Tagged) -> dict[str, float]:
    """The most frequent tag of each word: % of the words."""
    pairs = zip(_frequent_tags(training, judged), judged, strict=True)
    right = [a == b for found, (_, tags) in pairs for a, b in zip(found, tags, strict=True)]
    return {"the most frequent tag of each word": 100 * sum(right) / len(right)}


def names(training: Tagged, judged: Tagged) -> dict[str, float]:
    """A rule, and again the most frequent tag: F1 of spans in percent."""
    rule, right = CapitalNames(training), [tags for _, tags in judged]
    found = {
        "who is written with a capital is a person": [rule.tag(words) for words, _ in judged],
        "the most frequent tag of each word": _frequent_tags(training, judged),
    }
    return {name: 100 * span_scores(tags, right).f1 for name, tags in found.items()}


def bag_of_words(training: Sequence[tuple[str, str]], judged: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Naive Bayes over words, whatever their order: % of the sentences."""
    words = Vocabulary.from_sequences(text.lower().split() for _, text in training)
    labels = Labels.from_labels(label for label, _ in training)
    model = NaiveBayes(NaiveBayesConfig(len(words), len(labels)))
    model.fit([words.encode(text.lower().split()) for _, text in training], labels.encode(k for k, _ in training))
    found = model.predict([words.encode(text.lower().split()) for _, text in judged])
    return {"naive Bayes": 100 * float(np.mean(found == labels.encode(k for k, _ in judged)))}


def similar_translation(training: Sequence[tuple[str, str]], judged: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The translation of the most similar known sentence: BLEU, all translations of a sentence being right."""
    memory, references = TranslationMemory(training), defaultdict(list)
    for source, target in judged:
        references[source].append(_spaced(target))
    found = [_spaced(memory.translate(source)) for source in references]
    return {"the translation of the most similar known sentence": bleu(found, list(references.values())).score}
