"""Sequence labelling: `train tagger`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import viz
from ...data import AnyVocabulary, Labels, Vocabulary, agreement, pad_batch, pad_words, read_columns, tagging_batches
from ...models import MostFrequentTag, MostFrequentTagConfig, Tagger, TaggerConfig
from ...nn import Module
from ...train import TaggingTask, Task, span_scores
from ...train.tagging import mark_spans
from ...viz.page import Section
from ..config import DATA, TRAINING, option
from . import job
from .pictures import confusions
from .text import CELLS

Sentence = tuple[list[str], list[str]]  # words, tags
SHOWN = 8  # sentences on the page
OUTSIDE = "O"  # the tag of tokens that are in no name


@dataclass(frozen=True, kw_only=True)
class TaggerJobConfig(job.Config):
    """The options of `train tagger`."""

    word_column: int = option(0, "The column of the words, counted from 0.", panel=DATA)
    tag_column: int = option(1, "The column of the tags, counted from 0; -1 is the last.", panel=DATA)
    separator: str = option("tab", "What stands between columns.", panel=DATA, choices=("tab", "space"))
    lower: bool = option(False, "Read words in lower case; their characters stay.", panel=DATA)
    min_count: int = option(2, "Words that come more rarely are <unk>.", panel=DATA, least=1)
    cell: str = option("lstm", "The recurrent layers, one in each direction.", choices=CELLS)
    embedding: int = option(64, "D, the width of a word's vector.", least=1)
    embedding_std: float = option(0.1, "How large words' vectors begin: small, for most are rare.", least=0.0)
    hidden: int = option(64, "H, the width of one direction.", least=1)
    layers: int = option(1, "Recurrent layers, one above the other.", least=1)
    characters: bool = option(False, "Look into words: a layer in each direction over their characters.")
    character_size: int = option(32, "The width of a character's vector, and of one direction.", least=1)
    crf: bool = option(False, "Choose the tags of a sentence together, by a conditional random field.")
    miss_cost: float = option(
        0.0, "How much the tag O is favoured in training where another is right: then more is found.", least=0.0
    )
    word_dropout: float = option(0.0, "The probability of reading a word as <unk>, in training.", least=0.0, most=0.99)
    dropout: float = option(0.3, "The probability of a zero, in training.", least=0.0, most=0.99)
    lr: float = option(5e-3, "The largest learning rate.", panel=TRAINING, least=0.0)


class TaggerJob(job.Job):
    name = "tagger"
    about = """Train a tagger, an LSTM in each direction, to label each word of a sentence.

    Examples:

    tinygrad-seq train tagger --data train.tsv --valid dev.tsv --out runs/tags

    tinygrad-seq train tagger --data train.conll --valid dev.conll --characters --crf --best-by f1 --out runs/names

    tinygrad-seq train tagger --data en.conllu --word-column 1 --tag-column 3 --out runs/ud
    """
    file = "a word a line with its tag in a column, and a blank line after each sentence: CoNLL, CoNLL-U, TSV"
    built_in = "made-up sentences whose subject and verb are marked"
    Config = TaggerJobConfig
    unit = "tag"
    per_label = ("output.", "crf.")

    @classmethod
    def examples(cls, config: TaggerJobConfig, path: str | None) -> list[Sentence]:
        if path is None:
            return [_marked(sentence) for sentence in agreement(1000, seed=job.MADE_UP_SEED)]
        return cls._read(config, path, None)

    def more(self, path: str) -> list[Sentence]:
        tags: Any = self.vocabularies["tags"]
        return self._read(self.config, path, tags.symbols)

    @staticmethod
    def _read(config: TaggerJobConfig, path: str, labels: Sequence[str] | None) -> list[Sentence]:
        separator = {"tab": "\t", "space": None}[config.separator]
        read = read_columns(path, (config.word_column, config.tag_column), separator=separator, labels=labels)
        return [(words, tags) for words, tags in read]

    @classmethod
    def number(cls, config: TaggerJobConfig, training: Any, held_out: Any) -> dict[str, AnyVocabulary]:
        read = ([_as_read(config, word) for word in words] for words, _ in training)
        tags = (tag for examples in (training, held_out) for _, tags in examples for tag in tags)
        vocabularies: dict[str, AnyVocabulary] = {
            "words": Vocabulary.from_sequences(read, min_count=config.min_count),
            "tags": Labels.from_labels(tags),
        }
        if config.characters:
            vocabularies["characters"] = Vocabulary.from_sequences(word for words, _ in training for word in words)
        return vocabularies

    def model(self) -> Module:
        c = self.config
        tags: Any = self.vocabularies["tags"]
        if c.miss_cost and OUTSIDE not in tags.symbols:
            raise ValueError(
                f"miss_cost: it is for taggers that find something among tokens of the tag {OUTSIDE!r}, which is not "
                f"among the tags {', '.join(tags.symbols)}: leave it at 0"
            )
        return Tagger(
            TaggerConfig(
                len(self.vocabularies["words"]),
                len(self.vocabularies["tags"]),
                embedding_size=c.embedding,
                embedding_std=c.embedding_std,
                hidden_size=c.hidden,
                num_layers=c.layers,
                cell=c.cell,
                dropout=c.dropout,
                num_characters=len(self.vocabularies["characters"]) if c.characters else 0,
                character_size=c.character_size,
                word_dropout=c.word_dropout,
                unknown=Vocabulary.unk,
                crf=c.crf,
                miss_cost=c.miss_cost,
                outside=int(tags.encode([OUTSIDE])[0]) if c.miss_cost else 0,
            )
        )

    def task(self, model: Module, training: Sequence[Sentence] | None, held_out: Sequence[Sentence]) -> Task:
        c = self.config
        judged = self._batches(held_out, seed=None)
        learned = judged if training is None else self._batches(training, seed=c.seed)
        labels: Any = self.vocabularies["tags"]
        return TaggingTask(model, learned, judged, labels=labels, device=c.device)

    def _batches(self, sentences: Sequence[Sentence], seed: int | None) -> Any:
        tags: Any = self.vocabularies["tags"]
        return tagging_batches(
            [self._ids(words) for words, _ in sentences],
            [tags.encode(own) for _, own in sentences],
            self.config.batch_size,
            seed=seed,
            characters=[self._spelled(words) for words, _ in sentences] if self.config.characters else None,
        )

    def _spelled(self, words: Sequence[str]) -> list[Any]:
        vocabulary: Any = self.vocabularies["characters"]
        return [vocabulary.encode(word) for word in words]

    def _ids(self, words: Sequence[str]) -> Any:
        vocabulary: Any = self.vocabularies["words"]
        return vocabulary.encode([_as_read(self.config, word) for word in words])

    def predict(self, model: Any, lines: Sequence[str], options: dict[str, Any]) -> Iterator[job.Prediction]:
        for words, tags in self._tagged(model, [line.split() for line in lines]):
            yield job.Prediction(" ".join(tags), {"words": words, "tags": tags})

    def _tagged(self, model: Any, sentences: Sequence[list[str]]) -> Iterator[Sentence]:
        labels: Any = self.vocabularies["tags"]
        for k in range(0, len(sentences), job.TOGETHER):
            some = sentences[k : k + job.TOGETHER]
            ids = [self._ids(words) for words in some]
            tokens: Any
            if self.config.characters:
                tokens, lengths = pad_words(ids, [self._spelled(words) for words in some])
            else:
                tokens, lengths = pad_batch(ids)
            predicted = model.predict(tokens, lengths).numpy()
            for words, row in zip(some, predicted, strict=True):
                yield words, labels.decode(row[: len(words)])

    def baselines(self, training: Sequence[Sentence], held_out: Sequence[Sentence]) -> dict[str, dict[str, float]]:
        tags: Any = self.vocabularies["tags"]
        counts = MostFrequentTag(MostFrequentTagConfig(len(self.vocabularies["words"]), len(tags)))
        counts.fit([self._ids(words) for words, _ in training], [tags.encode(own) for _, own in training])
        found = [tags.decode(row) for row in counts.predict([self._ids(words) for words, _ in held_out])]
        right = [own for _, own in held_out]
        hits = sum(one == other for a, b in zip(found, right, strict=True) for one, other in zip(a, b, strict=True))
        metrics = {"accuracy": hits / sum(map(len, right))}
        if mark_spans(tags):
            metrics["f1"] = span_scores(found, right).f1
        return {"most frequent tag": metrics}

    def sections(self, model: Any, held_out: Sequence[Sentence], folder: Path) -> Iterable[Section]:
        labels: Any = self.vocabularies["tags"]
        found = [tags for _, tags in self._tagged(model, [words for words, _ in held_out])]
        pairs = [
            (one, other)
            for tags, (_, right) in zip(found, held_out, strict=True)
            for one, other in zip(tags, right, strict=True)
        ]
        yield from confusions(pairs, labels, folder, "tag")
        lines = []
        for (words, right), tags in list(zip(held_out, found, strict=True))[:SHOWN]:
            said = zip(words, tags, right, strict=True)
            lines.append(" ".join(f"{w}/{tag}" if tag == true else f"{w}/{tag} ({true})" for w, tag, true in said))
        yield viz.Sample("Held-out sentences, tagged; in brackets what is right", "\n".join(lines))


def _as_read(config: TaggerJobConfig, word: str) -> str:
    return word.lower() if config.lower else word


def _marked(sentence: Any) -> Sentence:
    marks = {sentence.subject: "B-SUBJ", sentence.verb: "B-VERB"}
    return sentence.tokens, [marks.get(k, "O") for k in range(len(sentence.tokens))]
