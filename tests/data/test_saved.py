"""Vocabularies in files: what is read is what was written, whichever kind it is, and nothing else is taken for one."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_seq.data import (
    CharVocabulary,
    Labels,
    SubwordTokenizer,
    Vocabulary,
    WordVocabulary,
    load_vocabulary,
    save_vocabulary,
    vocabulary_from_json,
)

TEXT = "Élan, naïveté & 北京: it's \ud800 unbelievable!\nlow lower lowest slow\n" * 2


@pytest.mark.parametrize(
    "vocabulary",
    [
        CharVocabulary.from_text(TEXT),
        WordVocabulary.from_text(TEXT, min_count=2),
        WordVocabulary.from_text(TEXT, pattern=r"\S+"),
        Vocabulary.from_sequences([TEXT]),
        Labels.from_labels(TEXT.split()),
    ],
)
def test_a_vocabulary_survives_its_file(vocabulary, tmp_path):
    save_vocabulary(vocabulary, tmp_path / "vocabulary.json")
    again = load_vocabulary(tmp_path / "vocabulary.json")
    assert again == vocabulary and type(again) is type(vocabulary)
    assert vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


def test_subwords_of_a_text_survive_their_file(tmp_path):
    text = TEXT.replace("\ud800", "")
    made = SubwordTokenizer.from_text(text.splitlines(keepends=True), 280)
    save_vocabulary(made, tmp_path / "vocabulary.json")
    again = load_vocabulary(tmp_path / "vocabulary.json")
    assert isinstance(again, SubwordTokenizer) and 257 < len(made) == len(again) <= 280
    for each in (text, "nothing of it: \x00 \U0001f600\r\n  "):
        np.testing.assert_array_equal(again.encode(each), made.encode(each))
        assert again.decode(again.encode(each)) == each
    assert len(made.encode(text)) < len(text.encode()) / 1.5
    with pytest.raises(ValueError, match="expected a subword of the .* in a saved vocabulary, got 'nowhere'"):
        again.id_of("nowhere")


def test_subwords_of_a_text_are_the_same_in_another_process():
    code = (
        "from tinygrad_seq.data import SubwordTokenizer, pydoc_topics; import hashlib, json;"
        "made = SubwordTokenizer.from_text(pydoc_topics()[:50_000], 500).to_json();"
        "print(hashlib.sha256(json.dumps(made).encode()).hexdigest())"
    )
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(found) == 1 and len(found.pop().strip()) == 64


def test_subwords_need_a_size_and_a_text():
    with pytest.raises(ValueError, match="vocab_size above 257, .*got 257"):
        SubwordTokenizer.from_text(TEXT, 257)
    for nothing in ("", "abcdef", []):
        with pytest.raises(ValueError, match="some pair of letters comes twice"):
            SubwordTokenizer.from_text(nothing, 300)


@pytest.mark.parametrize("cls", [CharVocabulary, WordVocabulary, Vocabulary, Labels, SubwordTokenizer])
@pytest.mark.parametrize("value", [None, {"kind": "other"}, {"symbols": ["a"]}])
def test_a_foreign_value_is_refused_by_each_kind(cls, value):
    with pytest.raises(ValueError, match=f"{cls.__name__}.to_json writes"):
        cls.from_json(value)


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "symbols", "symbols": "ab"},
        {"kind": "symbols", "symbols": ["a", 3]},
        {"kind": "labels", "symbols": [None]},
        {"kind": "word", "symbols": ["a"]},
        {"kind": "subword"},
        {"kind": "subword", "tokenizer": {"version": "1.0"}},
    ],
)
def test_half_a_vocabulary_is_refused(value):
    with pytest.raises(ValueError, match="to_json writes"):
        vocabulary_from_json(value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"kind": "other"}', b'{"kind": ["char"]}', b"\xff\xfe\x00"])
def test_a_file_without_a_vocabulary_is_named(text, tmp_path):
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"expected a vocabulary in .*file\.json, but "):
        load_vocabulary(tmp_path / "file.json")


def test_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        load_vocabulary(tmp_path / "nowhere.json")


def test_without_the_library_saved_subwords_name_the_extra(monkeypatch):
    value = SubwordTokenizer.from_text(TEXT.replace("\ud800", ""), 260).to_json()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for make in (lambda: vocabulary_from_json(value), lambda: SubwordTokenizer.from_text(TEXT, 300)):
        with pytest.raises(ImportError, match=r"pip install 'tinygrad-seq\[text\]'"):
            make()
