import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as ts
from tinygrad_seq.data import CharVocabulary, Labels, Vocabulary, WordVocabulary

# Every code point, lone surrogates and NUL too: a Python string may hold them.
any_text = st.text(alphabet=st.characters(exclude_categories=()), min_size=1)


@given(any_text)
def test_a_text_survives_the_way_there_and_back(text):
    vocabulary = CharVocabulary.from_text(text)
    ids = vocabulary.encode(text)
    assert ids.shape == (len(text),) and ids.dtype == np.int64
    assert [vocabulary.symbols[i] for i in ids] == list(text)
    assert vocabulary.decode(ids) == text


@given(any_text)
def test_a_vocabulary_survives_json(text):
    vocabulary = CharVocabulary.from_text(text)
    again = CharVocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary and len(again) == len(set(text))


def test_the_id_is_the_place_in_symbols_whatever_their_order():
    vocabulary = CharVocabulary("zaσ")
    assert vocabulary.encode("aσzza").tolist() == [1, 2, 0, 0, 1]
    assert vocabulary.decode(np.array([2, 0, 1], dtype=np.uint8)) == "σza"


def test_the_order_of_the_text_does_not_matter():
    assert CharVocabulary.from_text("hello") == CharVocabulary.from_text("loleh")


def test_nothing_is_encoded_and_decoded_as_nothing():
    vocabulary = CharVocabulary("ab")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == "" == vocabulary.decode(np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize("unknown", ["é", "!", "\U0001f600"])  # between, below and above the known code points
def test_an_unknown_character_is_named_with_its_place(unknown):
    with pytest.raises(ValueError, match=rf"U\+{ord(unknown):04X}\) at position 5, line 2") as error:
        CharVocabulary("abz\n\u4e00").encode(f"ab\naz{unknown}b{unknown}")
    assert repr(unknown) in str(error.value)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_an_id_outside_the_vocabulary_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"from 0 to 1, got {wrong} at position 1"):
        CharVocabulary("ab").decode([0, wrong])


@pytest.mark.parametrize("vocabulary", [CharVocabulary("abcdef"), Vocabulary(("a", "b"))])
def test_ids_are_integers_of_any_container_and_others_are_refused(vocabulary):
    expected = vocabulary.decode([4, 5])
    assert vocabulary.decode(np.array([4, 5], np.int32)) == vocabulary.decode(ts.tensor([4, 5])) == expected
    assert vocabulary.decode([]) == vocabulary.decode(()) == type(expected)()
    with pytest.raises(TypeError, match="integer ids, got float64"):
        vocabulary.decode(np.array([4.0, 5.0]))
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(1, 2\)"):
        vocabulary.decode(np.array([[4, 5]]))


def test_a_vocabulary_holds_each_character_once():
    with pytest.raises(ValueError, match="'b' came again"):
        CharVocabulary("abcb")
    with pytest.raises(ValueError, match="empty"):
        CharVocabulary.from_text("")


@pytest.mark.parametrize(
    "value", [None, [], {"kind": "word", "symbols": "ab"}, {"kind": "char"}, {"kind": "char", "symbols": 3}]
)
def test_a_foreign_value_is_refused(value):
    with pytest.raises(ValueError, match="to_json"):
        CharVocabulary.from_json(value)


def test_a_vocabulary_of_words_numbers_them_after_its_own_symbols():
    words = Vocabulary.from_sequences([["b", "a"], ("a", "see")])
    assert words == Vocabulary(("a", "b", "see")) and len(words) == 7
    ids = words.encode(["see", "a", "dog"], bos=True, eos=True)
    assert ids.tolist() == [words.bos, 6, 4, words.unk, words.eos] and ids.dtype == np.int64
    assert words.encode([]).dtype == np.int64
    assert words.decode(ids) == ["see", "a", "<unk>"]
    assert words.decode([4, 0, 5, 2, 6]) == ["a", "b"]  # nothing is said after <eos>
    for k in (-1, 7):
        with pytest.raises(ValueError, match=f"ids from 0 to 6, got {k}"):
            words.decode([4, k])


@given(st.text(alphabet="abc+", min_size=1))
def test_a_text_is_a_sequence_of_its_characters(text):
    characters = Vocabulary.from_sequences([text])
    assert "".join(characters.decode(characters.encode(text, eos=True))) == text


def test_a_large_vocabulary_is_checked_in_one_pass():
    begin = time.perf_counter()
    Vocabulary(tuple(map(str, range(50_000))))  # comparing each with all before it took half a minute
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize(("symbols", "twice"), [(("a", "b", "a"), "a"), (("a", "<eos>"), "<eos>")])
def test_a_symbol_that_comes_twice_is_refused(symbols, twice):
    with pytest.raises(ValueError, match=f"'{twice}' came again"):
        Vocabulary(symbols)


def test_the_pieces_of_a_text_give_its_vocabulary():
    text = "to be\nor not to be"
    for cls in (CharVocabulary, WordVocabulary):
        assert cls.from_text(iter(["to", " be\nor", " not to", " be"])) == cls.from_text(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop!", ["Don't", "stop", "!"]),
        ("it’s 'quoted' rock'n'roll", ["it’s", "'", "quoted", "'", "rock'n'roll"]),
        ("a_1  b-c\t…é\r\n\n", ["a_1", "b", "-", "c", "…", "é", "\n", "\n"]),
        ("北京 x", ["北京", "x"]),
        (" \t", []),
    ],
)
def test_words_are_what_the_regex_finds(text, words):
    vocabulary = WordVocabulary.from_text(text)
    assert vocabulary.symbols == tuple(sorted(set(words))) and len(vocabulary) == 4 + len(set(words))
    ids = vocabulary.encode(text)
    assert ids.tolist() == [4 + vocabulary.symbols.index(w) for w in words] and ids.dtype == np.int64
    assert vocabulary.decode(ids) == " ".join(words).replace(" \n", "\n").replace("\n ", "\n")


@given(st.text(alphabet="ab' \n.,"))
def test_decoded_words_are_the_same_words(text):
    vocabulary = WordVocabulary.from_text("a b ab aa bb . , ' \n" + text)
    ids = vocabulary.encode(text)
    assert Vocabulary.unk not in ids
    again = vocabulary.decode(ids)
    assert again.split() == [vocabulary.symbols[i - 4] for i in ids if vocabulary.symbols[i - 4] != "\n"]
    assert again.count("\n") == text.count("\n") and " \n" not in again and "\n " not in again


def test_another_pattern_finds_other_words():
    vocabulary = WordVocabulary.from_text("ab-c d", pattern=r"([^ ])+")
    assert vocabulary.symbols == ("ab-c", "d")
    written = WordVocabulary.from_text("a <unk> b <eos>", pattern=r"\S+")
    assert written.symbols == ("a", "b") and written.encode("<unk> b <eos>").tolist() == [3, 5, 2]
    with pytest.raises(ValueError, match=r"a regex that finds words, got '\('"):
        WordVocabulary.from_text("a", pattern="(")
    with pytest.raises(ValueError, match="'a' came again"):
        WordVocabulary(("a", "a"))


@pytest.mark.parametrize(
    "cls", [WordVocabulary.from_text, lambda s, **options: Vocabulary.from_sequences([s.split()], **options)]
)
def test_rare_symbols_can_be_left_out(cls):
    text = "d c c b b b a a"
    assert cls(text, min_count=2).symbols == ("a", "b", "c")
    assert cls(text, max_size=2).symbols == ("a", "b")  # a comes as often as c
    assert cls(text, min_count=3, max_size=2).symbols == ("b",)
    for wrong in ({"min_count": 0}, {"max_size": 0}):
        with pytest.raises(ValueError, match="min_count and max_size of at least 1"):
            cls(text, **wrong)


def test_labels_have_no_unknown():
    labels = Labels.from_labels(iter(["b", "a", "b"]))
    assert labels == Labels(("a", "b")) and labels.encode([]).dtype == np.int64
    assert labels.decode(labels.encode(["b", "a"])) == ["b", "a"]
    with pytest.raises(ValueError, match="one of the labels a, b, got 'c'"):
        labels.encode(["a", "c"])
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"from 0 to 1, got {wrong}; cut padding off"):
            labels.decode([0, wrong])
    with pytest.raises(TypeError, match="integer ids"):
        labels.decode([0.5])
    with pytest.raises(ValueError, match="at least one label"):
        Labels(())
    with pytest.raises(ValueError, match="'x' came again"):
        Labels(("x", "y", "x"))
