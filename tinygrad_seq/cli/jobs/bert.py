"""A masked language model: `train bert`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import viz
from ...core import tensor
from ...data import AnyVocabulary, Vocabulary, WordVocabulary, pydoc_topics, read_lines, text_batches
from ...data.vocabulary import WORDS
from ...models import BERTConfig, BERTForPreTraining
from ...nn import Module, evaluating
from ...train import MaskedLanguageModelTask, Task
from ...viz.page import Section
from ..config import DATA, TRAINING, option
from . import job

MASK = "<mask>"
LIKELY = 5  # words that are named for a place
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+")


@dataclass(frozen=True, kw_only=True)
class BERTJobConfig(job.Config):
    """The options of `train bert`."""

    min_count: int = option(2, "Words that come more rarely are <unk>.", panel=DATA, least=1)
    vocab_size: int = option(10_000, "Words at most.", panel=DATA, least=1)
    hidden: int = option(64, "D, the width of the model.", least=1)
    layers: int = option(2, "Layers, one above the other.", least=1)
    heads: int = option(4, "Heads of attention in each layer.", least=1)
    feedforward: int = option(256, "The width of the network in each layer.", least=1)
    block_size: int = option(64, "T, the longest text that it reads, in words; longer ones are cut.", least=4)
    dropout: float = option(0.1, "The probability of a zero, in training.", least=0.0, most=0.99)
    lr: float = option(2e-3, "The largest learning rate.", panel=TRAINING, least=0.0)
    weight_decay: float = option(0.01, "AdamW's weight decay, of matrices alone.", panel=TRAINING, least=0.0)


class BERTJob(job.Job):
    name = "bert"
    about = """Train a BERT, a Transformer that reads in both directions, to guess hidden words.

    Examples:

    tinygrad-seq train bert --out runs/bert

    tinygrad-seq train bert --data sentences.txt --layers 4 --hidden 128 --out runs/sentences
    """
    file = "a sentence, or another short text, a line"
    built_in = "sentences of the Python manual, which every Python carries"
    Config = BERTJobConfig
    unit = "hidden word"

    @classmethod
    def examples(cls, config: BERTJobConfig, path: str | None) -> list[str]:
        if path is not None:
            return list(read_lines(path))
        paragraphs = (" ".join(paragraph.split()) for paragraph in pydoc_topics().split("\n\n"))
        sentences = (sentence for paragraph in paragraphs for sentence in _SENTENCE_END.split(paragraph))
        return [sentence for sentence in sentences if sentence.count(" ") >= 4]

    @classmethod
    def number(cls, config: BERTJobConfig, training: Any, held_out: Any) -> dict[str, AnyVocabulary]:
        words = WordVocabulary.from_text(
            training, min_count=config.min_count, max_size=config.vocab_size, pattern=f"{MASK}|{WORDS}"
        )
        symbols = (*(word for word in words.symbols if word != MASK), MASK)
        return {"words": WordVocabulary(symbols, words.pattern)}

    @property
    def vocabulary(self) -> Any:
        return self.vocabularies["words"]

    @property
    def mask(self) -> int:
        return len(self.vocabulary) - 1

    def model(self) -> Module:
        c = self.config
        return BERTForPreTraining(
            BERTConfig(
                len(self.vocabulary),
                hidden_size=c.hidden,
                num_hidden_layers=c.layers,
                num_attention_heads=c.heads,
                intermediate_size=c.feedforward,
                max_position_embeddings=c.block_size,
                dropout=c.dropout,
            )
        )

    def task(self, model: Module, training: Sequence[str] | None, held_out: Sequence[str]) -> Task:
        c = self.config
        judged = self._batches(held_out, seed=None)
        return MaskedLanguageModelTask(
            model,
            judged if training is None else self._batches(training, seed=c.seed),
            judged,
            mask=self.mask,
            special=range(len(Vocabulary.own)),
            seed=c.seed,
            device=c.device,
        )

    def _batches(self, texts: Sequence[str], seed: int | None) -> Any:
        ids = [self._ids(text) for text in texts]
        known = [row for row in ids if (row >= len(Vocabulary.own)).any()]  # a text of <unk> alone teaches nothing
        if not known:
            raise ValueError("expected texts with words that are known, got none; lower --min-count or give more text")
        return text_batches(known, self.config.batch_size, seed=seed)

    def _ids(self, text: str) -> np.ndarray:
        """bos, the words as far as there is room, eos."""
        words = self.vocabulary.encode(text)[: self.config.block_size - 2]
        return np.array([Vocabulary.bos, *words, Vocabulary.eos])

    def predict(self, model: Any, lines: Sequence[str], options: dict[str, Any]) -> Iterator[job.Prediction]:
        """Each line with the likeliest word in the place of each <mask>."""
        for line in lines:
            if MASK not in line:
                raise ValueError(f"expected {MASK} in each line, in the place of a word to guess, got {line!r:.80}")
            ids = self._ids(line)
            places = np.flatnonzero(ids == self.mask)
            if len(places) < line.count(MASK):
                raise ValueError(f"expected at most {self.config.block_size - 2} words in a line, got {line!r:.80}")
            with evaluating(model):
                hidden = model.bert(tensor(ids[None], device=self.config.device)).hidden[0]
                logits = model.masked_lm(hidden).numpy()[places].astype(np.float64)
            logits[:, [*range(len(Vocabulary.own)), self.mask]] = -np.inf
            likely = np.argsort(-logits, axis=-1)[:, : min(LIKELY, self.mask - len(Vocabulary.own))]
            words = [[self.vocabulary.symbols[k - len(Vocabulary.own)] for k in row] for row in likely]
            filled = line
            for row in words:
                filled = filled.replace(MASK, row[0], 1)
            yield job.Prediction(filled, {"text": line, "filled": filled, "likely": words})

    def sections(self, model: Any, held_out: Sequence[str], folder: Path) -> Iterable[Section]:
        hidden = []
        for text in held_out:
            words = [match.group() for match in re.finditer(WORDS, text)]
            long = [word for word in words if len(word) > 3 and word in self.vocabulary.symbols]
            if long and len(words) < self.config.block_size - 2:
                hidden.append((text.replace(long[len(long) // 2], MASK, 1), long[len(long) // 2]))
            if len(hidden) == 10:
                break
        guesses = [p.values["likely"][0] for p in self.predict(model, [text for text, _ in hidden], {})]
        yield viz.Table(
            "Held-out sentences with a hidden word",
            ("sentence", "likeliest words", "right"),
            [(text, ", ".join(words[:3]), right) for (text, right), words in zip(hidden, guesses, strict=True)],
        )
