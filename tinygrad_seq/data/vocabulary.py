"""Symbols and their numbers: characters and words of a text, symbols of sentences and pairs, labels of a tagger."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np

# One character is one 32-bit code point, so text and arrays turn into each other without a loop.
# "surrogatepass": a lone surrogate is a character of a Python string like any other.
_UTF32 = ("utf-32-le", "surrogatepass")
# What a word of a text is: letters, digits and underscores, with apostrophes inside; or one other sign; or a line end.
WORDS = r"\w+(?:['’]\w+)*|[^\w\s]|\n"


@dataclass(frozen=True)
class CharVocabulary:
    """An alphabet of V characters: character ↔ id, where the id is the character's place in `symbols`.

    There is no id for "unknown": a character outside the alphabet is an error that names it.

    Args:
        symbols: the V characters, each once; `from_text` collects them from a text.

    Raises:
        ValueError: `symbols` is empty or holds a character twice.

    >>> vocabulary = CharVocabulary.from_text("hello")
    >>> vocabulary.symbols, len(vocabulary)
    ('ehlo', 4)
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0])
    >>> vocabulary.decode([1, 0, 2, 2, 3])
    'hello'
    """

    symbols: str

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ValueError("a vocabulary needs at least one character, got an empty text")
        if len(set(self.symbols)) != len(self.symbols):
            twice = next(c for i, c in enumerate(self.symbols) if c in self.symbols[:i])
            raise ValueError(
                f"each character of a vocabulary stands there once, but {twice!r} came again; "
                "to collect the characters of a text use CharVocabulary.from_text(text)"
            )

    @classmethod
    def from_text(cls, text: str | Iterable[str]) -> CharVocabulary:
        """The characters of a text, or of its pieces, in the order of their code points."""
        return cls("".join(sorted(set(chain.from_iterable(_pieces(text))))))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _codes(self) -> np.ndarray:
        """The code point of each id, (V,)."""
        return _code_points(self.symbols)

    @cached_property
    def _by_code(self) -> np.ndarray:
        """The ids in the order of their code points, (V,): what a binary search needs."""
        return np.argsort(self._codes)

    def encode(self, text: str) -> np.ndarray:
        """The ids of the characters of `text`: (N,), int64, which is what NumPy indexes with.

        Raises:
            ValueError: a character is not in the vocabulary; the message says which one and where it stands.
        """
        codes = _code_points(text)
        place = np.searchsorted(self._codes, codes, sorter=self._by_code)
        ids = self._by_code[np.minimum(place, len(self) - 1)]
        unknown = self._codes[ids] != codes
        if unknown.any():
            position = int(unknown.argmax())
            character = text[position]
            raise ValueError(
                f"expected the {len(self)} characters of this vocabulary, got {character!r} (U+{ord(character):04X}) "
                f"at position {position}, line {text.count(chr(10), 0, position) + 1}; "
                "remove it, or build the vocabulary from a text that has it"
            )
        return ids

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text that the ids (N,) stand for, each in 0 … V-1.

        Raises:
            TypeError: the ids are not integers.
            ValueError: they have more than one axis, or one of them is outside 0 … V-1.
        """
        numbers = _numbers(ids)
        if numbers.size == 0:
            return ""
        outside = (numbers < 0) | (numbers >= len(self))
        if outside.any():
            position = int(outside.argmax())
            raise ValueError(
                f"expected ids from 0 to {len(self) - 1}, got {numbers[position]} at position {position}; "
                "these ids belong to another vocabulary"
            )
        return self._codes[numbers].tobytes().decode(*_UTF32)

    def to_json(self) -> dict[str, str]:
        """The vocabulary as a value that JSON can hold; `from_json` makes it a vocabulary again.

        >>> CharVocabulary("ab").to_json()
        {'kind': 'char', 'symbols': 'ab'}
        """
        return {"kind": "char", "symbols": self.symbols}

    @classmethod
    def from_json(cls, value: Any) -> CharVocabulary:
        """The vocabulary that `to_json` wrote.

        Raises:
            ValueError: the value is something else.
        """
        match value:
            case {"kind": "char", "symbols": str(symbols)}:
                return cls(symbols)
        raise _foreign(cls, value)


@dataclass(frozen=True)
class Vocabulary:
    """Symbols that are strings (words, tags, single characters), after four of its own: symbol ↔ id.

        id 0 <pad>    beyond the end of a sequence in a batch
        id 1 <bos>    before the first symbol
        id 2 <eos>    after the last one
        id 3 <unk>    instead of a symbol that is not in the vocabulary

    A text is a sequence of its characters, so it is encoded as a list of words is.

    Args:
        symbols: the symbols, each once, which get the ids from 4 on; `from_sequences` collects them.

    Raises:
        ValueError: a symbol stands there twice, or is one of the four.

    >>> words = Vocabulary.from_sequences([["the", "cat", "was", "cute"], ["the", "cats"]])
    >>> words.symbols, len(words)
    (('cat', 'cats', 'cute', 'the', 'was'), 9)
    >>> words.encode(["the", "dog", "was"], eos=True)
    array([7, 3, 8, 2])
    >>> words.decode([7, 4, 8, 2, 0])
    ['the', 'cat', 'was']
    >>> "".join(Vocabulary.from_sequences(["12+34"]).decode([7, 8]))
    '34'
    """

    symbols: tuple[str, ...]
    own: ClassVar[tuple[str, ...]] = ("<pad>", "<bos>", "<eos>", "<unk>")
    pad: ClassVar[int] = 0
    bos: ClassVar[int] = 1
    eos: ClassVar[int] = 2
    unk: ClassVar[int] = 3

    def __post_init__(self) -> None:
        twice = next((s for s, times in Counter(self.own + self.symbols).items() if times > 1), None)
        if twice is not None:
            raise ValueError(
                f"each symbol of a vocabulary stands there once, after its own {', '.join(self.own)}, but {twice!r} "
                "came again; to collect the symbols of sequences use Vocabulary.from_sequences(sequences)"
            )

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[Iterable[str]], *, min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """The symbols that occur in texts or lists of words, in alphabetical order.

        Args:
            min_count: leave out what occurs more rarely. From 2 on the training set has symbols that are <unk>, and a
                model learns what to do with one.
            max_size: keep at most so many, the most frequent; among equally frequent ones the first in the alphabet.
        """
        return cls(_frequent(Counter(chain.from_iterable(sequences)), min_count, max_size))

    def __len__(self) -> int:
        """V, its own four symbols with it."""
        return len(self.own) + len(self.symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: k for k, symbol in enumerate(self.own + self.symbols)}

    def encode(self, sequence: Iterable[str], *, bos: bool = False, eos: bool = False) -> np.ndarray:
        """The ids of the symbols of a sequence: (N,), int64.

        Args:
            bos: put <bos> before it.
            eos: put <eos> after it.
        """
        ids = [self._ids.get(symbol, self.unk) for symbol in sequence]
        return np.array([self.bos] * bos + ids + [self.eos] * eos, np.int64)

    def decode(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The symbols that the ids (N,) stand for, up to the first <eos>, without <pad> and <bos>.

        Raises:
            TypeError: the ids are not integers.
            ValueError: they have more than one axis, or one of them is outside 0 … V-1.
        """
        every = self.own + self.symbols
        symbols = []
        for k in _numbers(ids).tolist():
            if not 0 <= k < len(every):
                raise ValueError(f"expected ids from 0 to {len(every) - 1}, got {k}; it belongs to another vocabulary")
            if k == self.eos:
                break
            if k not in (self.pad, self.bos):
                symbols.append(every[k])
        return symbols

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as a value that JSON can hold."""
        return {"kind": "symbols", "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, value: Any) -> Vocabulary:
        """The vocabulary that `to_json` wrote.

        Raises:
            ValueError: the value is something else.
        """
        match value:
            case {"kind": "symbols", "symbols": list(symbols)} if _are_strings(symbols):
                return cls(tuple(symbols))
        raise _foreign(cls, value)


@dataclass(frozen=True)
class WordVocabulary:
    r"""The words of a language model's text: text ↔ ids, those of `Vocabulary` for the words that a regex finds.

        words = every match of  \w+(?:['’]\w+)*|[^\w\s]|\n  from left to right

    A word is a run of letters, digits and underscores, with apostrophes inside; or one other sign; or a line end. Other
    white space only separates. Decoding puts one space between words and none beside a line end.

    Args:
        symbols: the words, each once; `from_text` collects them.
        pattern: another regex.
    Raises:
        ValueError: a word stands there twice, or the pattern is no regex.

    >>> words = WordVocabulary.from_text("Don't panic, she said.\n")
    >>> words.symbols
    ('\n', ',', '.', "Don't", 'panic', 'said', 'she')
    >>> words.encode("she said: Don't.")
    array([10,  9,  3,  7,  6])
    >>> words.decode([10, 9, 3, 7, 6])
    "she said <unk> Don't ."
    """

    symbols: tuple[str, ...]
    pattern: str = WORDS

    def __post_init__(self) -> None:
        _ = self._regex, self._vocabulary

    @classmethod
    def from_text(
        cls, text: str | Iterable[str], *, min_count: int = 1, max_size: int | None = None, pattern: str = WORDS
    ) -> WordVocabulary:
        """The words of a text, or of its pieces; `min_count` and `max_size` as in `Vocabulary.from_sequences`.

        Where a pattern finds "<unk>" or "<eos>", as some corpora write them, it is the vocabulary's own.
        """
        found = cls((), pattern)._regex.finditer
        counts = Counter(match.group() for piece in _pieces(text) for match in found(piece))
        for own in Vocabulary.own:
            del counts[own]
        return cls(_frequent(counts, min_count, max_size), pattern)

    def __len__(self) -> int:
        """V, <pad>, <bos>, <eos> and <unk> with it."""
        return len(self._vocabulary)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.symbols)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        try:
            return re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"expected a regex that finds words, got {self.pattern!r}: {error}") from error

    def words(self, text: str) -> list[str]:
        """The words that the regex finds, known or not.

        >>> WordVocabulary(()).words("Don't panic.")
        ["Don't", 'panic', '.']
        """
        return [match.group() for match in self._regex.finditer(text)]

    def encode(self, text: str) -> np.ndarray:
        """The ids of the words of a text: (N,), int64, 3 where one is not in the vocabulary."""
        return self._vocabulary.encode(self.words(text))

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text that the ids (N,) stand for, as far as `Vocabulary.decode` reads, with the same errors."""
        return re.sub(r" ?\n ?", "\n", " ".join(self._vocabulary.decode(ids)))

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as a value that JSON can hold."""
        return {"kind": "word", "pattern": self.pattern, "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, value: Any) -> WordVocabulary:
        """The vocabulary that `to_json` wrote.

        Raises:
            ValueError: the value is something else.
        """
        match value:
            case {"kind": "word", "pattern": str(pattern), "symbols": list(symbols)} if _are_strings(symbols):
                return cls(tuple(symbols), pattern)
        raise _foreign(cls, value)


@dataclass(frozen=True)
class Labels:
    """The K labels of a tagger or a classifier: label ↔ id, 0 … K-1. There is none for an unknown label.

    Args:
        symbols: the labels, each once; `from_labels` collects them.
    Raises:
        ValueError: there are none, or one stands there twice.

    >>> tags = Labels.from_labels(["DET", "NOUN", "VERB", "NOUN"])
    >>> tags.symbols, len(tags)
    (('DET', 'NOUN', 'VERB'), 3)
    >>> tags.encode(["NOUN", "VERB"]), tags.decode([0, 1])
    (array([1, 2]), ['DET', 'NOUN'])
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ValueError("expected at least one label, got none")
        if len(self._ids) < len(self.symbols):
            twice = next(label for label, times in Counter(self.symbols).items() if times > 1)
            raise ValueError(
                f"each label stands there once, but {twice!r} came again; Labels.from_labels collects them"
            )

    @classmethod
    def from_labels(cls, labels: Iterable[str]) -> Labels:
        """The labels that occur, in alphabetical order."""
        return cls(tuple(sorted(set(labels))))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {label: k for k, label in enumerate(self.symbols)}

    def encode(self, labels: Iterable[str]) -> np.ndarray:
        """The ids of labels: (N,), int64.

        Raises:
            ValueError: for a label that is not one of the K.
        """
        ids = []
        for label in labels:
            if label not in self._ids:
                raise ValueError(f"expected one of the labels {', '.join(self.symbols)}, got {label!r}")
            ids.append(self._ids[label])
        return np.array(ids, np.int64)

    def decode(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The labels that the ids (N,) stand for.

        Raises:
            TypeError: the ids are not integers.
            ValueError: they have more than one axis, or one of them is outside 0 … K-1: cut the padding off first.
        """
        numbers = _numbers(ids).tolist()
        wrong = next((k for k in numbers if not 0 <= k < len(self)), None)
        if wrong is not None:
            raise ValueError(f"expected ids of labels from 0 to {len(self) - 1}, got {wrong}; cut padding off first")
        return [self.symbols[k] for k in numbers]

    def to_json(self) -> dict[str, Any]:
        """The labels as a value that JSON can hold."""
        return {"kind": "labels", "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, value: Any) -> Labels:
        """The labels that `to_json` wrote.

        Raises:
            ValueError: the value is something else.
        """
        match value:
            case {"kind": "labels", "symbols": list(symbols)} if _are_strings(symbols):
                return cls(tuple(symbols))
        raise _foreign(cls, value)


def _numbers(ids: Any) -> np.ndarray:
    """Ids as an array of integers, (N,)."""
    numbers = np.asarray(ids)
    if numbers.ndim != 1:
        raise ValueError(f"expected ids of shape (N,), got {numbers.shape}; decode one row at a time")
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"expected integer ids, got {numbers.dtype}")
    return numbers


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(*_UTF32), dtype="<u4")


def _pieces(text: str | Iterable[str]) -> Iterable[str]:
    return [text] if isinstance(text, str) else text


def _frequent(counts: Counter[str], min_count: int, max_size: int | None) -> tuple[str, ...]:
    """The symbols that are frequent enough, in alphabetical order."""
    if min_count < 1 or (max_size is not None and max_size < 1):
        raise ValueError(f"expected min_count and max_size of at least 1, got {min_count} and {max_size}")
    enough = [symbol for symbol, times in counts.items() if times >= min_count]
    return tuple(sorted(sorted(enough, key=lambda symbol: (-counts[symbol], symbol))[:max_size]))


def _are_strings(symbols: list[Any]) -> bool:
    return all(isinstance(symbol, str) for symbol in symbols)


def _foreign(cls: type, value: Any) -> ValueError:
    return ValueError(f"expected what {cls.__name__}.to_json writes, got {value!r:.80}")
