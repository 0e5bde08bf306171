"""Words with their characters: padded on both axes, each spelling once."""

import numpy as np
import pytest

from tinygrad_seq.data import Words, pad_words, tagging_batches


def test_each_word_finds_its_characters_again() -> None:
    rng = np.random.default_rng(0)
    spelled = [[rng.integers(1, 3, rng.integers(1, 4)) for _ in range(rng.integers(1, 9))] for _ in range(20)]
    tokens = [rng.integers(4, 9, len(sentence)) for sentence in spelled]
    words, lengths = pad_words(tokens, spelled)
    assert lengths.tolist() == [len(sentence) for sentence in spelled]
    assert len(np.unique(words.characters, axis=0)) == len(words.characters) < sum(lengths)
    for b, sentence in enumerate(spelled):
        assert words.ids[b, : lengths[b]].tolist() == tokens[b].tolist() and not words.ids[b, lengths[b] :].any()
        for t, word in enumerate(sentence):
            row = words.characters[words.spelling[b, t]]
            assert row[row > 0].tolist() == word.tolist()


def test_batches_of_words() -> None:
    tokens, spelled = [[4, 5], [5], [6, 6, 6]], [[[1], [2, 3]], [[2, 3]], [[3], [3], [3]]]
    batches = list(tagging_batches(tokens, tokens, 2, seed=None, characters=spelled))
    assert all(isinstance(batch.tokens, Words) for batch in batches)
    assert batches[0].tokens.characters.tolist() == [[1, 0], [2, 3]] and batches[0].lengths.tolist() == [2, 1]
    assert batches[1].tokens.spelling.tolist() == [[0, 0, 0]]


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="the characters of 2 words, got those of 1 at 0"):
        pad_words([[4, 5]], [[[1]]])
    with pytest.raises(ValueError, match="characters that are not 0, which is padding, got one at 1"):
        pad_words([[4], [5]], [[[1]], [[0, 1]]])
    with pytest.raises(ValueError, match="as many characters as tokens, 1, got 2"):
        tagging_batches([[4]], [[1]], 1, seed=None, characters=[[[1]], [[1]]])
    with pytest.raises(ValueError, match="T at least 1"):
        pad_words([[4]], [[[]]])
