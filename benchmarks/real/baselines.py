"""What a trained model must beat, where it is no model of ours: a rule for names, and a memory of translations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

Sentence = Sequence[str]


class CapitalNames:
    """Takes for a person whoever is written with a capital, unless training knows the word as no name.

    Side by side they are one name. The names of WNUT-17's test set never occur in its training set: a dictionary of
    names would find none of them.

    >>> rule = CapitalNames([(["The", "cat", "in", "Rome"], ["O", "O", "O", "B-location"])])
    >>> rule.tag(["The", "new", "Ann", "Lee", "of", "rome"])
    ['O', 'O', 'B-person', 'I-person', 'O', 'O']
    """

    def __init__(self, sentences: Iterable[tuple[Sentence, Sentence]]) -> None:
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
        self.bags = [Counter(source.split()) for source, _ in self.pairs]
        self.having: dict[str, list[int]] = defaultdict(list)
        for k, bag in enumerate(self.bags):
            for word in bag:
                self.having[word].append(k)

    def translate(self, source: str) -> str:
        bag = Counter(source.split())
        found = {k for word in bag for k in self.having[word]} if bag else set()

        def similar(k: int) -> tuple[float, int]:
            return 2 * (bag & self.bags[k]).total() / (bag.total() + self.bags[k].total()), -k

        return self.pairs[max(found, key=similar, default=0)][1]
