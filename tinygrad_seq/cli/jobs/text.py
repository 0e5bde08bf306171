"""Language models, by characters, words or subwords: `train char-lm`, `train word-lm`, `train gpt`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as ts

from ... import viz
from ...data import (
    AnyVocabulary,
    CharVocabulary,
    SubwordTokenizer,
    Vocabulary,
    WordVocabulary,
    pydoc_topics,
    read_text,
    split,
)
from ...models import GPT, GPTConfig, LanguageModel, LanguageModelConfig, NGram, NGramConfig
from ...nn import Module
from ...train import BlockTask, LanguageModelTask, Task, perplexity
from ...viz.page import Section
from ..config import DATA, option
from . import job

SAMPLE, TEMPERATURE = 400, 0.8  # of what the page shows
CELLS = ("lstm", "gru", "rnn")
ORDERS = {"unigram": 1, "bigram": 2, "interpolated trigram": 3}


@dataclass(frozen=True, kw_only=True)
class TextConfig(job.Config):
    """The options that all language models share."""

    sections: int = option(
        10, "Pieces of the text, the end of each of which is held out; 1 holds out the end.", panel=DATA, least=1
    )


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(TextConfig):
    """The options of recurrent language models."""

    cell: str = option("lstm", "The recurrent layer.", choices=CELLS)
    hidden: int = option(256, "H, the width of the model.", least=1)
    layers: int = option(1, "Recurrent layers, one above the other.", least=1)
    dropout: float = option(0.0, "The probability of a zero, in training.", least=0.0, most=0.99)
    num_steps: int = option(64, "Steps that a gradient goes back.", panel="Training", least=1)
    steps: int = option(600, "Training steps in all.", panel="Training", least=1, free=True)
    lr: float = option(1.2e-2, "The largest learning rate.", panel="Training", least=0.0)
    lr_end: float = option(
        0.05, "The learning rate at the end, as a part of the largest.", panel="Training", least=0.0, most=1.0
    )


class TextJob(job.Job):
    """A text, of which each symbol is predicted from those before it."""

    file = "a UTF-8 text, plain or gzip"
    built_in = "the Python manual, which every Python carries"
    writes = True

    @classmethod
    def examples(cls, config: Any, path: str | None) -> str:
        return pydoc_topics() if path is None else read_text(path)

    @classmethod
    def split(cls, config: Any, examples: str) -> tuple[str, str]:
        return split(examples, config.held_out, sections=config.sections)

    @property
    def vocabulary(self) -> Any:
        return self.vocabularies["text"]

    def write(self, model: Any, prompt: str, length: int, options: dict[str, Any]) -> str:
        ids = self._prompt(prompt)
        return prompt + self._joined(prompt, model.generate(ids, length, **options))

    def _prompt(self, prompt: str) -> np.ndarray:
        ids = self.vocabulary.encode(prompt)
        if not len(ids):
            raise ValueError(f"expected a prompt of at least one {self.unit}, got {prompt!r}")
        return ids

    def _joined(self, prompt: str, ids: Sequence[int] | np.ndarray) -> str:
        """What the ids after a prompt say, apart from it where words stand apart."""
        if not isinstance(self.vocabulary, WordVocabulary):
            return self.vocabulary.decode(ids)
        drawn = [k for k in ids if k != Vocabulary.eos]  # no text holds it: drawn by chance, it ends nothing
        text = self.vocabulary.decode(drawn)
        return text if prompt[-1:].isspace() or text[:1] == "\n" else " " + text

    def baselines(self, training: str, held_out: str) -> dict[str, dict[str, float]]:
        ids, held, V = self.vocabulary.encode(training), self.vocabulary.encode(held_out), len(self.vocabulary)
        losses = {name: NGram(NGramConfig(V, order)).fit(ids).loss(held) for name, order in ORDERS.items()}
        return {name: {"loss": loss, "perplexity": perplexity(loss)} for name, loss in losses.items()}

    def sections(self, model: Any, held_out: str, folder: Path) -> Iterable[Section]:
        ts.seed(self.config.seed)
        begin = held_out.strip().split()[:1] or [held_out]
        for name, temperature in ((f"at temperature {TEMPERATURE}", TEMPERATURE), ("always the likeliest", 0)):
            text = self.write(model, begin[0], SAMPLE, {"temperature": temperature})
            yield viz.Sample(f"What it writes, {name}", text)


class RecurrentJob(TextJob):
    """A recurrent language model."""

    def model(self) -> Module:
        c = self.config
        return LanguageModel(LanguageModelConfig(len(self.vocabulary), c.hidden, c.layers, c.dropout, c.cell))

    def task(self, model: Module, training: str | None, held_out: str) -> Task:
        c, held = self.config, self.vocabulary.encode(held_out)
        if training is None:  # nothing is learned: whatever is long enough
            return LanguageModelTask(
                model, held, held, batch_size=1, num_steps=min(c.num_steps, len(held) - 1), device=c.device
            )
        return LanguageModelTask(
            model,
            self.vocabulary.encode(training),
            held,
            batch_size=c.batch_size,
            num_steps=c.num_steps,
            device=c.device,
        )


@dataclass(frozen=True, kw_only=True)
class CharConfig(RecurrentConfig):
    """The options of `train char-lm`."""


class CharLM(RecurrentJob):
    name = "char-lm"
    about = """Train an LSTM, a GRU or an RNN to predict the next character of a text.

    Examples:

    tinygrad-seq train char-lm --out runs/manual

    tinygrad-seq train char-lm --data book.txt --out runs/book --steps 3000 --cell gru
    """
    Config = CharConfig
    unit = "character"

    @classmethod
    def number(cls, config: CharConfig, training: str, held_out: str) -> dict[str, AnyVocabulary]:
        return {"text": CharVocabulary.from_text((training, held_out))}


@dataclass(frozen=True, kw_only=True)
class WordConfig(RecurrentConfig):
    """The options of `train word-lm`."""

    vocabulary: str = option("word", "What a text is cut into.", panel=DATA, choices=("word", "subword"))
    min_count: int = option(2, "Words that come more rarely are <unk>.", panel=DATA, least=1)
    vocab_size: int = option(10_000, "Words, or subwords, at most.", panel=DATA, least=258)
    dropout: float = option(0.3, "The probability of a zero, in training.", least=0.0, most=0.99)
    lr: float = option(5e-3, "The largest learning rate.", panel="Training", least=0.0)


class WordLM(RecurrentJob):
    name = "word-lm"
    about = """Train an LSTM, a GRU or an RNN to predict the next word, or subword, of a text.

    Examples:

    tinygrad-seq train word-lm --data book.txt --out runs/words --min-count 3

    tinygrad-seq train word-lm --data book.txt --out runs/subwords --vocabulary subword --vocab-size 2000
    """
    Config = WordConfig

    @property
    def unit(self) -> str:  # type: ignore[override]
        return self.config.vocabulary

    @classmethod
    def number(cls, config: Any, training: str, held_out: str) -> dict[str, AnyVocabulary]:
        return {"text": text_vocabulary(config.vocabulary, config, training, held_out)}


@dataclass(frozen=True, kw_only=True)
class GPTJobConfig(TextConfig):
    """The options of `train gpt`; without any, those of nanoGPT's small model for a CPU."""

    sections: int = option(
        1, "Pieces of the text, the end of each of which is held out; 1 holds out the end.", panel=DATA, least=1
    )
    vocabulary: str = option("char", "What a text is cut into.", panel=DATA, choices=("char", "word", "subword"))
    min_count: int = option(2, "Words that come more rarely are <unk>.", panel=DATA, least=1)
    vocab_size: int = option(10_000, "Words, or subwords, at most.", panel=DATA, least=258)
    hidden: int = option(128, "D, the width of the model.", least=1)
    layers: int = option(4, "Blocks, one above the other.", least=1)
    heads: int = option(4, "Heads of attention in each block.", least=1)
    block_size: int = option(64, "T, the longest text that it reads.", least=1)
    dropout: float = option(0.0, "The probability of a zero, in training.", least=0.0, most=0.99)
    bias: bool = option(False, "Whether linear layers and norms have a bias.")
    steps: int = option(2000, "Training steps in all.", panel="Training", least=1, free=True)
    batch_size: int = option(12, "Blocks in a batch.", panel="Training", least=1)
    warmup: int = option(100, "Steps in which the learning rate grows.", panel="Training", least=0)
    beta2: float = option(0.99, "AdamW's β₂.", panel="Training", least=0.0, most=0.99999)
    weight_decay: float = option(0.1, "AdamW's weight decay, of matrices alone.", panel="Training", least=0.0)
    evaluate_every: int = option(250, "Steps between evaluations.", panel="Training", least=1, free=True)
    checkpoint_every: int = option(500, "Steps between checkpoints.", panel="Run", least=1, free=True)


class GPTJob(TextJob):
    name = "gpt"
    about = """Train a GPT, a Transformer that reads from left to right, to predict the next symbol of a text.

    Without options it is nanoGPT's small model for a CPU: 4 blocks of 4 heads, 128 wide, blocks of 64 characters.

    Examples:

    tinygrad-seq train gpt --data input.txt --out runs/gpt

    tinygrad-seq train gpt --data input.txt --out runs/subwords --vocabulary subword --vocab-size 1000
    """
    Config = GPTJobConfig

    @property
    def unit(self) -> str:  # type: ignore[override]
        return {"char": "character"}.get(self.config.vocabulary, self.config.vocabulary)

    @classmethod
    def number(cls, config: Any, training: str, held_out: str) -> dict[str, AnyVocabulary]:
        return {"text": text_vocabulary(config.vocabulary, config, training, held_out)}

    def model(self) -> Module:
        c = self.config
        sizes = {"n_layer": c.layers, "n_head": c.heads, "n_embd": c.hidden, "dropout": c.dropout, "bias": c.bias}
        return GPT(GPTConfig(len(self.vocabulary), c.block_size, **sizes))

    def task(self, model: Module, training: str | None, held_out: str) -> Task:
        c, held = self.config, self.vocabulary.encode(held_out)
        if training is None:  # nothing is learned: whatever is long enough
            return BlockTask(model, held, held, block_size=min(c.block_size, len(held) - 1), device=c.device)
        return BlockTask(
            model,
            self.vocabulary.encode(training),
            held,
            batch_size=c.batch_size,
            block_size=c.block_size,
            seed=c.seed,
            device=c.device,
        )

    def write(self, model: Any, prompt: str, length: int, options: dict[str, Any]) -> str:
        """As others, but it reads at most a block: of what is longer it sees the last half of a block, and goes on."""
        block, given = self.config.block_size, self._prompt(prompt).tolist()
        ids = list(given)
        if len(given) + length > block and options.get("beams", 1) > 1:
            raise ValueError(f"beam search writes within a block, {block}, got a prompt of {len(given)} and {length}")
        while (missing := len(given) + length - len(ids)) > 0:
            seen = ids if len(ids) < block else ids[-max(1, block // 2) :]
            if len(seen) >= block:
                raise ValueError("a model with a block of 1 reads one symbol and cannot go on from it")
            ids += model.generate(seen, min(missing, block - len(seen)), **options)
        return prompt + self._joined(prompt, ids[len(given) :])


def text_vocabulary(kind: str, config: Any, training: str, held_out: str) -> AnyVocabulary:
    """Characters of both texts: an unknown one would be an error. Words and subwords of the training text alone."""
    if kind == "char":
        return CharVocabulary.from_text((training, held_out))
    if kind == "word":
        return WordVocabulary.from_text(training, min_count=config.min_count, max_size=config.vocab_size)
    return SubwordTokenizer.from_text(training, config.vocab_size)
