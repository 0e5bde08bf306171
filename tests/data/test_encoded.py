"""A text as a file of ids: the same ids as in memory, in as little memory as a piece takes."""

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.shared import shared
from tinygrad_seq.data import (
    CharVocabulary,
    LanguageModelStream,
    SubwordTokenizer,
    WordVocabulary,
    encode_file,
    pydoc_topics,
    read_text,
    text_pieces,
)


@pytest.mark.parametrize(
    "cls", [CharVocabulary.from_text, WordVocabulary.from_text, lambda t: SubwordTokenizer.from_text(t, 500)]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_ids_are_those_of_the_whole_text(cls, pack, tmp_path, monkeypatch):
    monkeypatch.setattr("tinygrad_seq.data.files._PIECE", 999)
    text = pydoc_topics()[:40_000]
    (tmp_path / "text").write_bytes(pack(text.encode()))
    vocabulary = cls(text_pieces(tmp_path / "text"))
    ids = encode_file(tmp_path / "text", vocabulary, tmp_path / "ids.npy")
    np.testing.assert_array_equal(ids, vocabulary.encode(text))
    assert ids.dtype == (np.uint8 if len(vocabulary) <= 256 else np.uint16)
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), ids)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "text"]


word = st.text("ab.", min_size=1, max_size=4)


@given(
    st.lists(st.tuples(word, st.sampled_from([" ", "\n", "  ", "\r\n", " \n\n"]), word), min_size=1),
    st.integers(20, 40),
)
def test_pieces_cut_no_word_where_there_is_a_single_space_in_each(tmp_path_factory, triples, size):
    folder = tmp_path_factory.mktemp("encoded")
    (folder / "text").write_bytes(" ".join(a + white + b for a, white, b in triples).encode())
    whole = read_text(folder / "text")
    words, subwords = WordVocabulary.from_text(whole), SubwordTokenizer.from_text("aa aa aa \n\n \n\n b. b.", 265)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygrad_seq.data.files._PIECE", size)
        for vocabulary in (words, subwords):
            ids = encode_file(folder / "text", vocabulary, folder / "ids.npy")
            np.testing.assert_array_equal(ids, vocabulary.encode(whole))


@pytest.mark.parametrize(
    ("size", "dtype"), [(256, np.uint8), (257, np.uint16), (65_536, np.uint16), (65_537, np.uint32)]
)
def test_ids_take_as_few_bytes_as_they_can(size, dtype, tmp_path):
    vocabulary = CharVocabulary("".join(map(chr, range(0x10000, 0x10000 + size))))
    (tmp_path / "text").write_text(vocabulary.symbols[-1], encoding="utf-8")
    ids = encode_file(tmp_path / "text", vocabulary, tmp_path / "ids.npy")
    assert ids.dtype == dtype and ids.tolist() == [size - 1]


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(characters: int) -> int:
        (tmp_path / "text").write_bytes(b"to be or not to be, " * (characters // 20))
        tracemalloc.start()
        try:
            ids = encode_file(
                tmp_path / "text", CharVocabulary.from_text(text_pieces(tmp_path / "text")), tmp_path / "ids.npy"
            )
            for _ in LanguageModelStream(ids, 4, 1000):
                pass
            assert len(ids) == characters
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(4_000_000) < 1.1 * peak(1_000_000) < 12e6  # bytes, of which half is one piece in 64-bit ids


def test_a_file_that_cannot_be_encoded_leaves_nothing(tmp_path):
    (tmp_path / "text").write_text("ab", encoding="utf-8")
    (tmp_path / "empty").touch()
    vocabulary = CharVocabulary("ab")
    with pytest.raises(ValueError, match=r"end with \.npy, got .*ids\.bin"):
        encode_file(tmp_path / "text", vocabulary, tmp_path / "ids.bin")
    with pytest.raises(ValueError, match="empty is empty"):
        encode_file(tmp_path / "empty", vocabulary, tmp_path / "ids.npy")
    with pytest.raises(ValueError, match="got 'b'"):
        encode_file(tmp_path / "text", CharVocabulary("a"), tmp_path / "ids.npy")
    with pytest.raises(FileNotFoundError):
        encode_file(tmp_path / "nowhere", vocabulary, tmp_path / "ids.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text"]


def test_tiny_shakespeare(tmp_path):
    path = shared("tinyshakespeare/input.txt")
    vocabulary = CharVocabulary.from_text(text_pieces(path))
    ids = encode_file(path, vocabulary, tmp_path / "ids.npy")
    assert len(vocabulary) == 65 and len(ids) == 1_115_394
    assert vocabulary.decode(ids[:14]) == "First Citizen:"
