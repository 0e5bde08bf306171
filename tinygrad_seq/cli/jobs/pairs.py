"""Translation, one sequence to another: `train seq2seq` and `train transformer`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import viz
from ...core import record, tensor
from ...data import AnyVocabulary, Vocabulary, WordVocabulary, dates, pair_batches, random_split, read_pairs
from ...models import (
    AttentionDecoder,
    AttentionDecoderConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    Transformer,
    TransformerConfig,
)
from ...nn import Module, evaluating
from ...train import Task, TranslationTask
from ...viz.page import Section
from ..config import DATA, TRAINING, option
from . import job
from .text import CELLS

Pair = tuple[str, str]  # source, target
NO_ATTENTION = "none"
ALIGNMENTS = 3  # pictures on the page
LONG_ENOUGH = 5  # symbols of a source that shows where a model looks
LONGEST = 60  # symbols of a source whose alignment is drawn


@dataclass(frozen=True, kw_only=True)
class PairsConfig(job.Config):
    """The options that all translations share."""

    source_column: int = option(0, "The column of the source, counted from 0.", panel=DATA)
    target_column: int = option(1, "The column of the target, counted from 0.", panel=DATA)
    symbols: str | None = option(
        None,
        "What a text is cut into; words, but characters for built-in dates.",
        panel=DATA,
        choices=("word", "char"),
    )
    lower: bool = option(False, "Read texts in lower case.", panel=DATA)
    min_count: int = option(1, "Symbols that come more rarely are <unk>.", panel=DATA, least=1)
    translate: int = option(
        200,
        "Held-out texts to translate in an evaluation, for BLEU; 0: none.",
        panel=TRAINING,
        least=0,
        free=True,
    )
    batch_size: int = option(64, "Pairs in a batch.", panel=TRAINING, least=1)
    evaluate_every: int = option(200, "Steps between evaluations.", panel=TRAINING, least=1, free=True)


class PairsJob(job.Job):
    """A file of pairs, each source with one right translation or several."""

    file = "a source and a target a line, with a tab between them"
    built_in = "dates in many spellings, to be written as 2026-12-31"
    unit = "symbol"

    @classmethod
    def examples(cls, config: PairsConfig, path: str | None) -> list[Pair]:
        if path is None:
            return dates(3000, seed=job.MADE_UP_SEED)
        pairs = read_pairs(path, (config.source_column, config.target_column))
        return [(one.lower(), other.lower()) if config.lower else (one, other) for one, other in pairs]

    @classmethod
    def split(cls, config: PairsConfig, examples: list[Pair]) -> tuple[list[Pair], list[Pair]]:
        """A source with all its translations is on one side."""
        groups = list(_by_source(examples).items())
        parts = random_split(groups, (1 - config.held_out, config.held_out), seed=config.split_seed)
        learned, judged = ([(source, target) for source, targets in part for target in targets] for part in parts)
        return learned, judged

    @classmethod
    def number(cls, config: PairsConfig, training: list[Pair], held_out: list[Pair]) -> dict[str, AnyVocabulary]:
        found: dict[str, AnyVocabulary] = {}
        for name, texts in zip(("source", "target"), zip(*training, strict=True), strict=True):
            if cls._by_characters(config):
                found[name] = Vocabulary.from_sequences(texts, min_count=config.min_count)
            else:
                found[name] = WordVocabulary.from_text(texts, min_count=config.min_count)
        return found

    @staticmethod
    def _by_characters(config: PairsConfig) -> bool:
        return config.symbols == "char" or (config.symbols is None and config.data is None)

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.vocabularies["source"]), len(self.vocabularies["target"])

    def task(self, model: Module, training: Sequence[Pair] | None, held_out: Sequence[Pair]) -> Task:
        judged = self._batches(held_out, seed=None)
        learned = judged if training is None else self._batches(training, seed=self.config.seed)
        groups = list(_by_source(held_out).items())[: self.config.translate]
        return TranslationTask(
            model,
            learned,
            judged,
            sources=[self._source(source) for source, _ in groups],
            references=[[self._as_written(target) for target in targets] for _, targets in groups],
            decode=self._text,
            device=self.config.device,
        )

    def _batches(self, pairs: Sequence[Pair], seed: int | None) -> Any:
        sources = [self._source(source) for source, _ in pairs]
        targets = [self._target(target) for _, target in pairs]
        return pair_batches(sources, targets, self.config.batch_size, seed=seed)

    def _source(self, text: str) -> np.ndarray:
        vocabulary: Any = self.vocabularies["source"]
        return vocabulary.encode(text.lower() if self.config.lower else text)

    def _target(self, text: str) -> np.ndarray:
        vocabulary: Any = self.vocabularies["target"]
        return np.array([Vocabulary.bos, *vocabulary.encode(text), Vocabulary.eos])

    def _as_written(self, text: str) -> str:
        """A right translation as a model can write it: with one space between words."""
        vocabulary: Any = self.vocabularies["target"]
        return text if isinstance(vocabulary, Vocabulary) else " ".join(vocabulary.words(text))

    def _text(self, ids: Sequence[int]) -> str:
        vocabulary: Any = self.vocabularies["target"]
        return "".join(vocabulary.decode(ids)) if isinstance(vocabulary, Vocabulary) else vocabulary.decode(ids)

    def predict(self, model: Any, lines: Sequence[str], options: dict[str, Any]) -> Iterator[job.Prediction]:
        options = dict(options)
        length = options.pop("length", None)
        for k in range(0, len(lines), job.TOGETHER):
            some = lines[k : k + job.TOGETHER]
            sources = [self._source(line) for line in some]
            n = length or 2 * max(map(len, sources)) + 10
            for line, ids in zip(some, model.generate(sources, n, **options), strict=True):
                text = self._text(ids)
                yield job.Prediction(text, {"text": line, "translation": text})

    def sections(self, model: Any, held_out: Sequence[Pair], folder: Path) -> Iterable[Section]:
        every = _by_source(held_out)
        groups = list(every.items())[:12]
        found = [p.text for p in self.predict(model, [source for source, _ in groups], {"temperature": 0})]
        yield viz.Table(
            "Held-out sources, translated",
            ("source", "translation", "right"),
            [
                (source, text, " / ".join(dict.fromkeys(targets)))  # a pair may stand in the file more than once
                for (source, targets), text in zip(groups, found, strict=True)
            ],
        )
        telling_first = sorted(every, key=self._is_telling, reverse=True)  # else in the order of the file
        for k, source in enumerate(telling_first[:ALIGNMENTS], 1):
            alpha, rows, columns = self._alignment(model, source)
            if alpha is not None and len(columns) <= LONGEST:
                file = viz.attention_plot(alpha, folder / f"alignment_{k}.png", rows=rows, columns=columns)
                yield viz.Picture(
                    f"Where it looks, {k}: {source}",
                    file,
                    "A row for each symbol that is written, a column for each that is read; each row sums to 1.",
                )

    def _is_telling(self, source: str) -> bool:
        """Whether an alignment shows something: of a source that is not very short, and known to the last symbol."""
        ids = self._source(source)
        return LONG_ENOUGH <= len(ids) <= LONGEST and Vocabulary.unk not in ids

    def _alignment(self, model: Any, source: str) -> tuple[Any, list[str], list[str]]:
        """The attention weights (T, S) or (heads, T, S) of a translation, and the symbols on both sides."""
        ids = self._source(source)
        written = model.generate(ids, 2 * len(ids) + 10, temperature=0)
        target = [Vocabulary.bos, *written]
        with evaluating(model), record() as r:
            model(tensor(ids[None], device=self.config.device), tensor([target[:-1]], device=self.config.device))
        columns, rows = self._symbols("source", ids), self._symbols("target", written)
        return self.alpha(r), rows, columns

    def _symbols(self, side: str, ids: Iterable[int]) -> list[str]:
        vocabulary: Any = self.vocabularies[side]
        every = (*Vocabulary.own, *vocabulary.symbols)
        return [every[int(k)] for k in ids]

    def alpha(self, recorded: Any) -> Any:
        """What a model recorded as its attention to one source; None where there is none."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(PairsConfig):
    """The options of `train seq2seq`."""

    attention: str = option(
        "mlp", "How well a state of the source fits.", choices=("dot", "scaled_dot", "bilinear", "mlp", NO_ATTENTION)
    )
    order: str = option("bahdanau", "Who asks: the state before, or the new one.", choices=("bahdanau", "luong"))
    cell: str = option("gru", "The recurrent layers.", choices=CELLS)
    embedding: int = option(64, "D, the width of a symbol's vector.", least=1)
    embedding_std: float = option(1.0, "How large symbols' vectors begin.", least=0.0)
    hidden: int = option(128, "H, the width of the states.", least=2)
    lr: float = option(3e-3, "The largest learning rate.", panel=TRAINING, least=0.0)


class Seq2Seq(PairsJob):
    name = "seq2seq"
    about = """Train an encoder and a decoder with attention to translate.

    Examples:

    tinygrad-seq train seq2seq --out runs/dates

    tinygrad-seq train seq2seq --data fra.txt --attention dot --order luong --cell lstm --out runs/french
    """
    Config = Seq2SeqConfig

    def model(self) -> Module:
        c = self.config
        sizes = {"embedding_size": c.embedding, "hidden_size": c.hidden, "cell": c.cell}
        sizes |= {"embedding_std": c.embedding_std}
        if c.attention == NO_ATTENTION:
            return EncoderDecoder(EncoderDecoderConfig(*self.sizes, **sizes))
        return AttentionDecoder(AttentionDecoderConfig(*self.sizes, **sizes, score=c.attention, order=c.order))

    def alpha(self, recorded: Any) -> Any:
        return None if self.config.attention == NO_ATTENTION else recorded["attention"].alpha.numpy()[0]


@dataclass(frozen=True, kw_only=True)
class TransformerJobConfig(PairsConfig):
    """The options of `train transformer`."""

    hidden: int = option(128, "D, the width of the model.", least=1)
    layers: int = option(2, "Layers of the encoder, and of the decoder.", least=1)
    heads: int = option(4, "Heads of attention in each layer.", least=1)
    feedforward: int = option(256, "The width of the network in each layer.", least=1)
    dropout: float = option(0.1, "The probability of a zero, in training.", least=0.0, most=0.99)
    warmup: int = option(200, "Steps in which the learning rate grows.", panel=TRAINING, least=0)
    beta2: float = option(0.98, "AdamW's β₂.", panel=TRAINING, least=0.0, most=0.99999)


class TransformerJob(PairsJob):
    name = "transformer"
    about = """Train a Transformer, an encoder and a decoder of attention alone, to translate.

    Examples:

    tinygrad-seq train transformer --out runs/dates

    tinygrad-seq train transformer --data fra.txt --layers 3 --heads 8 --steps 3000 --out runs/french
    """
    Config = TransformerJobConfig

    def model(self) -> Module:
        c = self.config
        return Transformer(
            TransformerConfig(
                *self.sizes,
                d_model=c.hidden,
                nhead=c.heads,
                num_layers=c.layers,
                dim_feedforward=c.feedforward,
                dropout=c.dropout,
            )
        )

    def alpha(self, recorded: Any) -> Any:
        return recorded[f"layers.decoder.layers.{self.config.layers - 1}.multihead_attn"].alpha.numpy()[0]


def _by_source(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for source, target in pairs:
        groups.setdefault(source, []).append(target)
    return groups
