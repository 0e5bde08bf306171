"""Vocabularies of every kind in a JSON file, and back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .files import checked
from .subword import SubwordTokenizer
from .vocabulary import CharVocabulary, Labels, Vocabulary, WordVocabulary

AnyVocabulary = CharVocabulary | WordVocabulary | SubwordTokenizer | Vocabulary | Labels

_KINDS: dict[str, type[AnyVocabulary]] = {
    "char": CharVocabulary,
    "word": WordVocabulary,
    "subword": SubwordTokenizer,
    "symbols": Vocabulary,
    "labels": Labels,
}


class TextVocabulary(Protocol):
    """What a language model's text is numbered by: CharVocabulary, WordVocabulary, SubwordTokenizer."""

    def __len__(self) -> int:
        """V."""

    def encode(self, text: str, /) -> np.ndarray:
        """The ids of a text, (N,), int64."""

    def decode(self, ids: np.ndarray, /) -> str:
        """The text of ids (N,)."""


def vocabulary_from_json(value: Any) -> AnyVocabulary:
    """The vocabulary whose `to_json` gave a value; its "kind" says which it is.

    Raises:
        ValueError: no vocabulary gave it. ImportError: where subwords need the extra `text`.

    >>> vocabulary_from_json(CharVocabulary("ab").to_json())
    CharVocabulary(symbols='ab')
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"expected a vocabulary of one of the kinds {', '.join(_KINDS)}, got {value!r:.80}")
    return _KINDS[kind].from_json(value)


def save_vocabulary(vocabulary: AnyVocabulary, path: str | os.PathLike[str]) -> None:
    """Write a vocabulary to a JSON file; `load_vocabulary` reads it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "words.json"
    >>> save_vocabulary(WordVocabulary.from_text("to be or not to be"), file)
    >>> load_vocabulary(file).symbols
    ('be', 'not', 'or', 'to')
    """
    Path(path).write_text(json.dumps(vocabulary.to_json()) + "\n", encoding="utf-8")


def load_vocabulary(path: str | os.PathLike[str]) -> AnyVocabulary:
    """Read what `save_vocabulary` wrote.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: it holds something else. ImportError: where subwords need the extra `text`.
    """
    try:
        return vocabulary_from_json(json.loads(checked(path).read_bytes()))
    except ValueError as error:  # no JSON and no UTF-8 are ValueErrors too
        raise ValueError(f"expected a vocabulary in {path}, but {error}") from error
