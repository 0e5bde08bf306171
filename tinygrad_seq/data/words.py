"""Words with their characters: what a model reads that looks into words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .padding import pad_batch


class Words(NamedTuple):
    """A batch of words and how they are spelled; each spelling stands there once."""

    ids: np.ndarray  # (B, T) int64, 0 beyond the end of a sentence
    spelling: np.ndarray  # (B, T) int64, the row of `characters` that spells the word; 0 beyond the end
    characters: np.ndarray  # (W, C) int64, the ids of characters, 0 beyond the end of a word


def pad_words(tokens: Sequence[Any], characters: Sequence[Sequence[Any]]) -> tuple[Words, np.ndarray]:
    """What `pad_batch` does, for words and their characters.

    Args:
        tokens: B sentences of ids, (T_b,) each.
        characters: for each word of each sentence the ids of its characters, (C,), C at least 1, none of them 0.
    Returns:
        The words, and the sentences' lengths (B,).
    Raises:
        ValueError, TypeError: as `pad_batch`; also where a sentence has not as many spellings as words, or a character
            is 0.

    >>> words, lengths = pad_words([[7, 8, 7], [9]], [[[1, 2], [3], [1, 2]], [[4]]])
    >>> words.spelling.tolist(), words.characters.tolist()
    ([[0, 1, 0], [2, 0, 0]], [[1, 2], [3, 0], [4, 0]])
    """
    ids, lengths = pad_batch(tokens)
    different: dict[tuple[int, ...], int] = {}
    rows = []
    for b, (n, words) in enumerate(zip(lengths, characters, strict=True)):
        if len(words) != n:
            raise ValueError(f"pad_words: expected the characters of {n} words, got those of {len(words)} at {b}")
        spellings = [tuple(np.asarray(word).tolist()) for word in words]
        if any(0 in spelling for spelling in spellings):
            raise ValueError(f"pad_words: expected characters that are not 0, which is padding, got one at {b}")
        rows.append([different.setdefault(spelling, len(different)) for spelling in spellings])
    return Words(ids, pad_batch(rows)[0], pad_batch(list(different))[0]), lengths
