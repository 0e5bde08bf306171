"""Readers: what stands in the file comes out, and a line that is wrong is named."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.shared import shared
from tinygrad_seq.data import read_columns, read_labelled, read_lines, read_pairs, read_text, text_pieces

READERS: list[Callable[[Path], Any]] = [read_lines, read_labelled, read_pairs, read_columns, text_pieces]
# Characters that str.splitlines takes for line ends, and files do not.
ODD = "\x0b\x0c\x1c\x85\u2028\u2029\r"
field = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), min_size=1, max_size=4).filter(
    lambda s: s.strip() == s and not s.startswith(("#", "\ufeff"))
)


def written(folder: Path, text: str | bytes, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(
    st.lists(st.lists(st.tuples(field, field), min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\t\t", "  "]),
    st.booleans(),
    st.booleans(),
)
def test_columns_survive_the_way_there_and_back(folder, sentences, end, blank, last_end, packed):
    text = f"{end}{blank}{end}".join(end.join(f"{w}\t{t}" for w, t in sentence) for sentence in sentences)
    data = (text + end * last_end).encode()
    path = written(folder, gzip.compress(data) if packed else data)
    found = list(read_columns(path))
    assert [list(zip(words, tags, strict=True)) for words, tags in found] == sentences
    assert [tags for (tags,) in read_columns(path, [-1])] == [[t for _, t in sentence] for sentence in sentences]
    assert list(read_pairs(path)) == [pair for sentence in sentences for pair in sentence]
    assert list(read_labelled(path, separator="\t")) == [pair for sentence in sentences for pair in sentence]
    assert list(read_lines(path)) == [f"{w}\t{t}" for sentence in sentences for w, t in sentence]


def test_only_line_ends_end_a_line(tmp_path):
    path = written(tmp_path, f"a{ODD}b\r\n\nc")
    assert list(read_lines(path)) == [f"a{ODD}b", "c"]


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.booleans(), st.integers(1, 5))
def test_pieces_are_the_text(folder, text, packed, size):
    data = text.encode()
    path = written(folder, gzip.compress(data) if packed else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygrad_seq.data.files._PIECE", size)
        pieces = list(text_pieces(path))
    assert "".join(pieces) == text.removeprefix("\ufeff").replace("\r\n", "\n")
    assert all(pieces)
    if pieces:
        assert read_text(path) == "".join(pieces)


def test_pieces_end_where_words_end_if_they_can(tmp_path, monkeypatch):
    monkeypatch.setattr("tinygrad_seq.data.files._PIECE", 10)
    assert list(text_pieces(written(tmp_path, "one two three\n\nfour, five"))) == [
        "one two",
        " three\n\nfour,",
        " five",
    ]
    assert list(text_pieces(written(tmp_path, "x" * 9 + "\r\n" + "x" * 11))) == ["x" * 9, "\n" + "x" * 9, "xx"]


def test_comments_have_no_tab(tmp_path):
    path = written(tmp_path, "# newdoc\n# text = a\n#tag\tX\na\tD\n#\n\n#\tSYM\n")
    assert list(read_columns(path)) == [(["#tag", "a"], ["X", "D"]), (["#"], ["SYM"])]
    spaces = written(tmp_path, "EU NNP B-ORG\n# SYM O\n")
    assert list(read_columns(spaces, (0, -1), separator=None)) == [(["EU", "#"], ["B-ORG", "O"])]


def test_conllu_rows_that_are_no_words_are_left_out(tmp_path):
    rows = ["1-2\tdon't\t_", "1\tdo\tAUX", "2\tn't\tPART", "2.1\tgo\tVERB", "3\t5-6\tNUM", "4-5th\tx\tX"]
    path = written(tmp_path, "# text = don't 5-6\n" + "".join(row + "\t_" * 7 + "\n" for row in rows))
    assert list(read_columns(path, (1, 2))) == [(["do", "n't", "5-6", "x"], ["AUX", "PART", "NUM", "X"])]
    assert len(next(read_columns(written(tmp_path, "\n".join(rows))))[0]) == 6  # three columns are no CoNLL-U


@pytest.mark.parametrize("reader", READERS)
def test_a_path_without_a_file_is_refused_before_anything_is_read(reader, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\.txt"):
        reader(tmp_path / "nowhere.txt")
    with pytest.raises(IsADirectoryError, match="got the folder"):
        reader(tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_bytes_that_are_no_text_are_named_with_their_line(reader, tmp_path):
    good = "1 a\tb\n" * 3000  # longer than what is decoded at a time
    bad = written(tmp_path, good.encode() + b"1 caf\xe9\tb\n")
    match = rf"file\.txt has the byte 0xE9 at offset {len(good) + 5}, line 3001; .*iconv"
    with pytest.raises(ValueError, match=match):
        list(reader(bad))
    with pytest.raises(ValueError, match=match):
        list(reader(written(tmp_path, gzip.compress(bad.read_bytes()))))
    with pytest.raises(ValueError, match="has the byte 0xFF at offset 0, line 1;"):
        list(reader(written(tmp_path, "1 a\tb".encode("utf-16"))))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_once(pack, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def lines_of(data: bytes) -> list[str]:
        thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(pack(data),))
        thread.start()
        try:
            return list(read_lines(tmp_path / "pipe"))
        finally:
            thread.join()

    assert lines_of(b"a\nb\n") == ["a", "b"]
    with pytest.raises(ValueError, match="expected UTF-8 text, but .*pipe has .* byte 0xe9 in position 3"):
        lines_of(b"caf\xe9\n")


@pytest.mark.parametrize("reader", READERS)
def test_a_broken_gzip_file_is_named(reader, tmp_path):
    whole = gzip.compress(bytes(range(48, 58)) * 50)
    for broken in (whole[:-9], whole[:20], whole[:12] + b"\xff\xff\xff" + whole[15:], whole[:-5] + b"12345"):
        with pytest.raises(ValueError, match=r"a whole gzip file, but .*file\.txt cannot be unpacked"):
            list(reader(written(tmp_path, broken)))


@pytest.mark.parametrize("reader", READERS[:-1])
@pytest.mark.parametrize("text", ["", "\n \r\n\t\n", "\ufeff"])
def test_a_file_with_nothing_in_it_is_named(reader, text, tmp_path):
    with pytest.raises(ValueError, match=r"file\.txt (is empty|has none)"):
        list(reader(written(tmp_path, text)))


def test_comments_alone_are_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"a word a line, but .*file\.txt has none"):
        list(read_columns(written(tmp_path, "# one\n# two\n")))


@pytest.mark.parametrize("reader", [read_columns, read_pairs])
@pytest.mark.parametrize("row", ["a", "a\tb\tc"])
def test_ragged_columns_are_named(reader, row, tmp_path):
    path = written(tmp_path, f"a\tb\r\n\r\n{row}\r\n")
    with pytest.raises(
        ValueError, match=rf"file\.txt, line 3: expected 2 columns as in line 1, got {len(row) // 2 + 1}"
    ):
        list(reader(path))


@pytest.mark.parametrize("reader", [read_columns, read_pairs])
def test_columns_that_are_not_there_are_named(reader, tmp_path):
    path = written(tmp_path, "\na\tb\n")
    for far in (2, -3):
        with pytest.raises(ValueError, match=f"line 2: asked for column {far}, counted from 0, but there are 2"):
            list(reader(path, (0, far)))
    with pytest.raises(ValueError, match="line 2: a column that is asked for is empty"):
        list(reader(written(tmp_path, "a\tb\na\t \n")))


def test_no_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one column"):
        read_columns(written(tmp_path, "a\tb"), [])


def test_unknown_labels_are_named(tmp_path):
    path = written(tmp_path, "1 fine\n\n2 what\n")
    assert len(list(read_labelled(path, labels={"1", "2"}))) == 2
    with pytest.raises(ValueError, match=r"file\.txt, line 3: expected one of the labels 0, 1, got '2'"):
        list(read_labelled(path, labels=["1", "0"]))
    path = written(tmp_path, "a\tX\nb\tY\n")
    with pytest.raises(ValueError, match=r"file\.txt, line 2: expected one of the labels X, got 'Y'"):
        list(read_columns(path, labels=["X"]))
    assert len(list(read_columns(path, (1, 0), labels=["a", "b"]))) == 1


@pytest.mark.parametrize("line", ["1", " text", "1 ", "1\ttext"])
def test_a_label_without_a_text_is_named(line, tmp_path):
    with pytest.raises(ValueError, match=r"line 2: expected a label, ' ' and a text, got "):
        list(read_labelled(written(tmp_path, f"1 fine\n{line}\n")))


def test_reading_is_lazy(tmp_path):
    path = written(tmp_path, "a\tb\n\n" * 5000 + "ragged\n")
    assert next(read_columns(path)) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("name", "sentences", "words"),
    [
        ("ud_ewt/train.tsv.gz", 12_544, 204_577),
        ("ud_ewt/dev.tsv.gz", 2_001, 25_147),
        ("ud_ewt/test.tsv.gz", 2_077, 25_094),
        ("wnut17/wnut17train.conll", 3_394, 62_730),
        ("wnut17/emerging.dev.conll", 1_009, 15_733),
        ("wnut17/emerging.test.annotated", 1_287, 23_394),
    ],
)
def test_real_columns_have_their_published_sizes(name, sentences, words):
    found = list(read_columns(shared(name)))
    assert (len(found), sum(len(each) for each, _ in found)) == (sentences, words)


def test_real_lines_have_their_published_sizes():
    assert len(list(read_lines(shared("names/names.txt")))) == 32_033
    assert len(list(read_pairs(shared("tatoeba_eng_fra/fra.txt")))) == 18_065
    sizes = [len(list(read_labelled(shared(f"sst/stsa.binary.{s}"), labels="01"))) for s in ("train", "dev", "test")]
    assert sizes == [6_920, 872, 1_821]
    with pytest.raises(ValueError, match="byte 0xF0 at offset 3173, line 66"):  # it is Latin-1
        list(read_labelled(shared("sst/TREC.train.all")))
    assert len("".join(text_pieces(shared("tinyshakespeare/input.txt")))) == 1_115_394
