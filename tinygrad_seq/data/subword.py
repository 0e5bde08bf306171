"""Subwords and their numbers, of pretrained models or of a text, cut by the `tokenizers` library (extra `text`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .padding import pad_batch

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class SubwordBatch(NamedTuple):
    """Texts side by side, padded to the longest: what BERT reads."""

    ids: np.ndarray  # (B, T) int64
    types: np.ndarray  # (B, T) int64: 0 in the first text of a pair, 1 in the second
    lengths: np.ndarray  # (B,) int64: beyond them stands padding


class SubwordTokenizer:
    """Text ↔ the ids of its subwords, by the vocabulary in the folder of a pretrained model, or `from_text`.

    Three kinds of folder are known; the first that is there is read:

        tokenizer.json               whatever the `tokenizers` library wrote: all of it stands in the file
        vocab.txt                    BERT's WordPiece, lower case unless tokenizer_config.json says otherwise:
                                     [CLS] text [SEP], or [CLS] text [SEP] pair [SEP]
        vocab.json and merges.txt    GPT-2's byte-level BPE: the text alone

    Padding and truncation that a tokenizer.json asks for are switched off: `batch` pads to its longest text, and how
    long a text may be is the model's business.

    Args:
        folder: where the files lie.
    Raises:
        ImportError: naming the extra that brings `tokenizers`.
        FileNotFoundError: where the folder has none of the three. ValueError: where a file is not what its name says.

    Source: WordPiece: Schuster and Nakajima, 2012, as BERT uses it; byte-level BPE: Radford et al., 2019.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "is", "fun"]
    >>> _ = (folder / "vocab.txt").write_text("\\n".join(words))
    >>> tokenizer = SubwordTokenizer(folder)
    >>> tokenizer.encode("Playing is fun")
    array([2, 5, 6, 7, 8, 3])
    >>> tokenizer.decode([2, 5, 6, 7, 8, 3])
    'playing is fun'
    >>> tokenizer.batch(["playing", "is playing fun"]).lengths
    array([4, 6])
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._where = str(folder)
        try:
            self._tokenizer = _read(Path(folder))
        except (FileNotFoundError, ImportError):
            raise
        except Exception as error:  # `tokenizers` raises plain Exception for whatever it cannot read
            raise ValueError(f"expected the vocabulary of a tokenizer in {folder}, but {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def from_text(cls, text: str | Iterable[str], vocab_size: int) -> SubwordTokenizer:
        """Byte-level BPE as GPT-2's, learned from a text, or from its pieces: no text is unknown to it.

        It begins with the 256 bytes and the mark <|endoftext|>, and again and again makes one subword of the two that
        follow each other most often.

        Args:
            vocab_size: V, above 257; fewer where the text has not as many pairs that come twice.
        Raises:
            ImportError: naming the extra that brings `tokenizers`. ValueError: for a smaller V, or for an empty text.

        >>> tokenizer = SubwordTokenizer.from_text("low lower lowest " * 9, vocab_size=262)
        >>> tokenizer.tokens(tokenizer.encode("low slow"))
        ['low', 'Ġ', 's', 'low']
        """
        if vocab_size < 258:
            raise ValueError(f"expected a vocab_size above 257, the bytes and <|endoftext|>, got {vocab_size}")
        _tokenizers()
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([text] if isinstance(text, str) else text, trainer)
        if tokenizer.get_vocab_size() <= 257:
            raise ValueError(
                "expected a text in which some pair of letters comes twice, got one without; give more text"
            )
        return cls._of(tokenizer, "the vocabulary of a text")

    @classmethod
    def _of(cls, tokenizer: Tokenizer, where: str) -> SubwordTokenizer:
        made = cls.__new__(cls)
        made._tokenizer, made._where = tokenizer, where
        return made

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as a value that JSON can hold: under "tokenizer" what `tokenizers` writes."""
        return {"kind": "subword", "tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_json(cls, value: Any) -> SubwordTokenizer:
        """The vocabulary that `to_json` wrote.

        Raises:
            ImportError: naming the extra that brings `tokenizers`. ValueError: the value is something else.
        """
        if not isinstance(value, dict) or value.get("kind") != "subword":
            raise ValueError(f"expected what SubwordTokenizer.to_json writes, got {value!r:.80}")
        try:
            return cls._of(_tokenizers().Tokenizer.from_str(json.dumps(value.get("tokenizer"))), "a saved vocabulary")
        except ImportError:
            raise
        except Exception as error:
            raise ValueError(f"expected what SubwordTokenizer.to_json writes, but {error}") from error

    def __len__(self) -> int:
        """V, the number of subwords."""
        return self._tokenizer.get_vocab_size()

    def id_of(self, token: str) -> int:
        """The id of one subword as the vocabulary writes it: "[MASK]", "##ing", "<|endoftext|>".

        Raises:
            ValueError: the vocabulary does not have it.
        """
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"expected a subword of the {len(self)} in {self._where}, got {token!r}")
        return found

    def tokens(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """The subwords as the vocabulary writes them."""
        return [self._tokenizer.id_to_token(i) or "" for i in self._checked(ids)]

    def encode(self, text: str, pair: str | None = None) -> np.ndarray:
        """The ids of a text, or of a pair of texts, with the marks that the model expects: (N,), int64."""
        return np.array(self._tokenizer.encode(text, pair).ids, np.int64)

    def batch(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> SubwordBatch:
        """Texts, or pairs of texts, padded to the longest with [PAD], or with id 0 where there is none.

        Raises:
            ValueError: there are no texts, one of them is empty and gets no marks, or there are not as many pairs.
        """
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"expected a list of at least one text, got {texts!r:.80}")
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"expected as many pairs as texts, {len(texts)}, got {len(pairs)}")
        encoded = self._tokenizer.encode_batch(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))
        ids, lengths = pad_batch([each.ids for each in encoded], self._tokenizer.token_to_id("[PAD]") or 0)
        types, _ = pad_batch([each.type_ids for each in encoded])
        return SubwordBatch(ids, types, lengths)

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text that ids (N,) stand for, without marks such as [CLS].

        Raises:
            TypeError: the ids are not integers. ValueError: one of them is outside 0 … V-1, or they are not a row.
        """
        return self._tokenizer.decode(self._checked(ids))

    def _checked(self, ids: np.ndarray | Sequence[int]) -> list[int]:
        numbers = np.asarray(ids)
        if numbers.ndim != 1:
            raise ValueError(f"expected ids of shape (N,), got {numbers.shape}; decode one row at a time")
        if numbers.size and numbers.dtype.kind not in "iu":
            raise TypeError(f"expected integer ids, got {numbers.dtype}")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise ValueError(f"expected ids from 0 to {len(self) - 1}, got {wrong}; they belong to another vocabulary")
        return numbers.tolist()


def _tokenizers() -> ModuleType:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "subwords are cut by the package tokenizers, which is not installed: pip install 'tinygrad-seq[text]'"
        ) from error
    return tokenizers


def _read(folder: Path) -> Tokenizer:
    tokenizers = _tokenizers()
    if (folder / "tokenizer.json").is_file():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "vocab.txt").is_file():
        return _word_piece(folder)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _byte_level_bpe(folder)
    there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no such folder"
    raise FileNotFoundError(
        f"expected tokenizer.json, or vocab.txt, or vocab.json and merges.txt in {folder}; it has: {there}"
    )


def _word_piece(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    config: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer(models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]"))
    vocabulary = tokenizer.get_vocab()
    missing = [mark for mark in ("[UNK]", "[CLS]", "[SEP]") if mark not in vocabulary]
    if missing:
        raise ValueError(f"vocab.txt has no line {' and no line '.join(missing)}, so it is no vocabulary of a BERT")
    tokenizer.add_special_tokens([t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary])
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _byte_level_bpe(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    if tokenizer.token_to_id("<|endoftext|>") is not None:
        tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
