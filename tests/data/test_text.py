import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.data import pydoc_topics, random_split, read_text, split


def test_pydoc_topics_is_english_text_in_a_fixed_order():
    text = pydoc_topics()
    assert text == pydoc_topics()
    assert len(text) > 300_000
    assert text.index('The "assert" statement') < text.index("comparison") < text.index("traceback")
    assert "\r" not in text and text.endswith("\n") and not text.endswith("\n\n")


def test_pydoc_topics_says_everything_once():
    from pydoc_data.topics import topics

    def paragraphs(text):
        return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]

    kept = paragraphs(pydoc_topics())
    raw = [p for name in topics for p in paragraphs(topics[name].strip("\n"))]
    assert len(kept) == len(set(kept))
    assert set(kept) == set(raw)
    assert len(raw) > 1.1 * len(kept)  # there was something to leave out


def test_held_out_pydoc_text_is_not_in_the_training_text():
    """But for sentences that the manual says of several methods: Python 3.11 has none there, 3.13 has 5 %."""
    from pydoc_data.topics import topics

    def shared(text):
        training, held_out = split(text)
        pieces = [held_out[i : i + 60] for i in range(0, len(held_out) - 60, 60)]
        return sum(piece in training for piece in pieces) / len(pieces)

    said_again = shared("\n\n".join(topics[name].strip("\n") for name in sorted(topics)))
    assert said_again > 0.25  # what a model would be praised for remembering, were paragraphs not left out
    assert shared(pydoc_topics()) < said_again / 4


def test_a_python_without_pydoc_data_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ModuleNotFoundError, match="standard library"):
        pydoc_topics()


@given(text=st.text(min_size=100), held_out=st.floats(0.1, 0.8), sections=st.integers(1, 10))
def test_split_keeps_every_character_on_one_side(text, held_out, sections):
    training, held = split(text, held_out, sections=sections)
    assert abs(len(held) - held_out * len(text)) <= 2 * sections
    rebuilt, a, b = "", 0, 0
    for i in range(sections):  # the two parts, put back piece by piece
        length = len(text) * (i + 1) // sections - len(text) * i // sections
        cut = int(length * (1 - held_out))
        rebuilt += training[a : a + cut] + held[b : b + length - cut]
        a, b = a + cut, b + length - cut
    assert rebuilt == text and a == len(training) and b == len(held)


def test_split_takes_the_end_of_each_section():
    text = "".join(chr(i) for i in range(1000))
    training, held = split(text)
    assert held == "".join(text[i : i + 10] for i in range(90, 1000, 100))
    assert training == "".join(text[i : i + 90] for i in range(0, 1000, 100))
    assert split(text, 0.25, sections=1) == (text[:750], text[750:])


@pytest.mark.parametrize("held_out", [0, 1, -0.1, 1.5, float("nan")])
def test_split_wants_a_part_of_the_text(held_out):
    with pytest.raises(ValueError, match="between 0 and 1"):
        split("abc" * 100, held_out)


def test_split_says_when_the_text_is_too_short():
    with pytest.raises(ValueError, match="a text of 9 characters is too short .* 10 sections"):
        split("a" * 9)
    with pytest.raises(ValueError, match="at least 1 section"):
        split("a" * 9, sections=0)


def test_read_text_reads_utf8_and_ends_lines_alike(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes("\ufeffσ one\r\ntwo\r\n\nthree\rfour".encode())
    assert read_text(file) == "σ one\ntwo\n\nthree\rfour"
    assert read_text(str(file)) == read_text(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        read_text(tmp_path / "nowhere.txt")


def test_a_folder_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="folder"):
        read_text(tmp_path)


@pytest.mark.parametrize("nothing", [b"", "\ufeff".encode()])
def test_an_empty_file_is_named(tmp_path, nothing):
    (tmp_path / "empty.txt").write_bytes(nothing)
    with pytest.raises(ValueError, match="empty.txt is empty"):
        read_text(tmp_path / "empty.txt")


def test_undecodable_bytes_are_located(tmp_path):
    (tmp_path / "latin.txt").write_bytes("ab\r\nσ ".encode() + "é".encode("latin-1") + b"\n\xff")
    with pytest.raises(ValueError, match="latin.txt has the byte 0xE9 at offset 7, line 2; .*iconv"):
        read_text(tmp_path / "latin.txt")


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99), st.integers(20, 60))
def test_random_split_deals_each_example_once(weights, seed, n):
    shares = [w / sum(weights) for w in weights]
    dealt = random_split(range(n), shares, seed=seed)
    assert sorted(k for part in dealt for k in part) == list(range(n))
    assert all(abs(len(part) - share * n) <= 1 for part, share in zip(dealt, shares, strict=True))
    assert dealt == random_split(list(range(n)), shares, seed=seed) != random_split(range(n), shares, seed=seed + 1)


def test_random_split_refuses_what_is_no_split():
    for parts in ([], [0.5, 0.4], [1.0, 0.0], [1.5, -0.5]):
        with pytest.raises(ValueError, match="above 0 that are together 1"):
            random_split("abc", parts, seed=0)
    with pytest.raises(ValueError, match="3 examples are too few"):
        random_split("abc", seed=0)
    with pytest.raises(ValueError, match=r"1 example is too few for the parts \(0.8, 0.2\)"):
        random_split("a", [0.8, 0.2], seed=0)
    with pytest.raises(ValueError, match="a seed that is an integer"):
        random_split("abcd", [0.5, 0.5], seed=None)
