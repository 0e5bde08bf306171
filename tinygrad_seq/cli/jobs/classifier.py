"""Classification of whole sequences: `train classifier`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

from ... import viz
from ...data import AnyVocabulary, Labels, Vocabulary, agreement, classification_batches, pad_batch, read_labelled
from ...models import Classifier, ClassifierConfig, NaiveBayes, NaiveBayesConfig
from ...models.classifier import POOLINGS
from ...nn import Module, evaluating
from ...ops import softmax
from ...train import ClassificationTask, Task
from ...viz.page import Section
from ..config import DATA, TRAINING, option
from . import job
from .pictures import confusions
from .text import CELLS

Labelled = tuple[str, str]  # label, text


@dataclass(frozen=True, kw_only=True)
class ClassifierJobConfig(job.Config):
    """The options of `train classifier`."""

    separator: str = option("space", "What stands between label and text.", panel=DATA, choices=("tab", "space"))
    lower: bool = option(False, "Read words in lower case.", panel=DATA)
    min_count: int = option(2, "Words that come more rarely are <unk>.", panel=DATA, least=1)
    pooling: str = option("last", "How the states become one vector.", choices=POOLINGS)
    cell: str = option("lstm", "The recurrent layers, one in each direction.", choices=CELLS)
    embedding: int = option(64, "D, the width of a word's vector.", least=1)
    embedding_std: float = option(0.1, "How large words' vectors begin: small, for most are rare.", least=0.0)
    hidden: int = option(64, "H, the width of one direction.", least=1)
    layers: int = option(1, "Recurrent layers, one above the other.", least=1)
    word_dropout: float = option(0.0, "The probability of reading a word as <unk>, in training.", least=0.0, most=0.99)
    dropout: float = option(0.3, "The probability of a zero, in training.", least=0.0, most=0.99)
    steps: int = option(600, "Training steps in all.", panel=TRAINING, least=1, free=True)
    lr: float = option(3e-3, "The largest learning rate.", panel=TRAINING, least=0.0)


class ClassifierJob(job.Job):
    name = "classifier"
    about = """Train a classifier to give a whole text one label.

    Examples:

    tinygrad-seq train classifier --data reviews.txt --out runs/reviews

    tinygrad-seq train classifier --data train.txt --valid dev.txt --pooling attention --out runs/attention
    """
    file = "an example a line, its label first: 1 a joy to watch"
    built_in = "made-up sentences up to their verb: is the subject one or several?"
    Config = ClassifierJobConfig
    unit = "text"
    per_label = ("output.",)

    @classmethod
    def examples(cls, config: ClassifierJobConfig, path: str | None) -> list[Labelled]:
        if path is None:  # is the subject one or several?
            made_up = agreement(1000, seed=job.MADE_UP_SEED)
            several = ("were", "are", "have")
            return [("several" if s.right in several else "one", " ".join(s.tokens[: s.verb])) for s in made_up]
        return cls._read(config, path, None)

    def more(self, path: str) -> list[Labelled]:
        labels: Any = self.vocabularies["labels"]
        return self._read(self.config, path, labels.symbols)

    @staticmethod
    def _read(config: ClassifierJobConfig, path: str, labels: Sequence[str] | None) -> list[Labelled]:
        return list(read_labelled(path, separator={"tab": "\t", "space": " "}[config.separator], labels=labels))

    @classmethod
    def number(cls, config: ClassifierJobConfig, training: Any, held_out: Any) -> dict[str, AnyVocabulary]:
        return {
            "words": Vocabulary.from_sequences(
                (_words(config, text) for _, text in training), min_count=config.min_count
            ),
            "labels": Labels.from_labels(label for examples in (training, held_out) for label, _ in examples),
        }

    def model(self) -> Module:
        c = self.config
        return Classifier(
            ClassifierConfig(
                len(self.vocabularies["words"]),
                len(self.vocabularies["labels"]),
                embedding_size=c.embedding,
                embedding_std=c.embedding_std,
                hidden_size=c.hidden,
                num_layers=c.layers,
                pooling=c.pooling,
                cell=c.cell,
                dropout=c.dropout,
                word_dropout=c.word_dropout,
                unknown=Vocabulary.unk,
            )
        )

    def task(self, model: Module, training: Sequence[Labelled] | None, held_out: Sequence[Labelled]) -> Task:
        judged = self._batches(held_out, seed=None)
        learned = judged if training is None else self._batches(training, seed=self.config.seed)
        return ClassificationTask(model, learned, judged, device=self.config.device)

    def _batches(self, examples: Sequence[Labelled], seed: int | None) -> Any:
        labels: Any = self.vocabularies["labels"]
        ids = [self._ids(text) for _, text in examples]
        return classification_batches(ids, labels.encode(k for k, _ in examples), self.config.batch_size, seed=seed)

    def _ids(self, text: str) -> Any:
        vocabulary: Any = self.vocabularies["words"]
        return vocabulary.encode(_words(self.config, text))

    def predict(self, model: Any, lines: Sequence[str], options: dict[str, Any]) -> Iterator[job.Prediction]:
        labels: Any = self.vocabularies["labels"]
        for k in range(0, len(lines), job.TOGETHER):
            some = lines[k : k + job.TOGETHER]
            tokens, lengths = pad_batch([self._ids(line) for line in some])
            with evaluating(model):
                probabilities = softmax(model(tokens, lengths)).numpy().astype(np.float64)
            for line, row in zip(some, probabilities, strict=True):
                label = labels.symbols[int(row.argmax())]
                chances = dict(zip(labels.symbols, row.round(6).tolist(), strict=True))
                yield job.Prediction(label, {"text": line, "label": label, "probabilities": chances})

    def baselines(self, training: Sequence[Labelled], held_out: Sequence[Labelled]) -> dict[str, dict[str, float]]:
        labels: Any = self.vocabularies["labels"]
        bayes = NaiveBayes(NaiveBayesConfig(len(self.vocabularies["words"]), len(labels)))
        bayes.fit([self._ids(text) for _, text in training], labels.encode(label for label, _ in training))
        found = labels.decode(bayes.predict([self._ids(text) for _, text in held_out]))
        right = [label for label, _ in held_out]
        return {"naive Bayes": {"accuracy": sum(map(eq, found, right)) / len(right)}}

    def sections(self, model: Any, held_out: Sequence[Labelled], folder: Path) -> Iterable[Section]:
        labels: Any = self.vocabularies["labels"]
        found = [p.text for p in self.predict(model, [text for _, text in held_out], {})]
        pairs = [(label, right) for label, (right, _) in zip(found, held_out, strict=True)]
        yield from confusions(pairs, labels, folder, "label")
        yield viz.Table(
            "Held-out texts",
            ("text", "predicted", "right"),
            [(text, label, right) for (right, text), label in list(zip(held_out, found, strict=True))[:10]],
        )


def _words(config: ClassifierJobConfig, text: str) -> list[str]:
    return (text.lower() if config.lower else text).split()
