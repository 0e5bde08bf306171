"""What all kinds of training share: the options, and the steps from a file to a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ...data import AnyVocabulary, random_split
from ...nn import Module
from ...optim import AdamW, Optimizer, schedules
from ...train import Task
from ...viz.page import Section
from ..config import DATA, RUN, TRAINING, option

MADE_UP_SEED = 0  # of the examples that are made up where no file is given
TOGETHER = 64  # lines that a model looks at side by side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The options of every kind of training; a kind adds its own, and defaults of its own."""

    data: str | None = option(None, "The file to learn from; built-in data if not given.", panel=DATA, free=True)
    valid: str | None = option(
        None, "A second file, to judge by; else a part of the first is held out.", panel=DATA, free=True
    )
    held_out: float = option(0.1, "The part that is held out.", panel=DATA, least=0.001, most=0.9)
    split_seed: int = option(0, "The seed by which examples are held out.", panel=DATA, least=0)

    steps: int = option(1000, "Training steps in all.", panel=TRAINING, least=1, free=True)
    batch_size: int = option(32, "Examples in a batch.", panel=TRAINING, least=1)
    accumulate: int = option(1, "Batches to a step.", panel=TRAINING, least=1)
    lr: float = option(1e-3, "The largest learning rate.", panel=TRAINING, least=0.0)
    lr_end: float = option(
        0.1, "The learning rate at the end, as a part of the largest.", panel=TRAINING, least=0.0, most=1.0
    )
    warmup: int = option(50, "Steps in which the learning rate grows.", panel=TRAINING, least=0)
    beta1: float = option(0.9, "AdamW's β₁.", panel=TRAINING, least=0.0, most=0.9999)
    beta2: float = option(0.999, "AdamW's β₂.", panel=TRAINING, least=0.0, most=0.99999)
    weight_decay: float = option(0.0, "AdamW's weight decay, of matrices alone.", panel=TRAINING, least=0.0)
    clip: float = option(1.0, "The largest norm of the gradient; 0 for any.", panel=TRAINING, least=0.0)
    best_by: str = option("loss", "The metric that says which checkpoint is best.", panel=TRAINING)
    evaluate_every: int = option(100, "Steps between evaluations.", panel=TRAINING, least=1, free=True)
    patience: int = option(
        0, "Stop after so many evaluations without a better one; 0 for never.", panel=TRAINING, least=0, free=True
    )

    init_from: str | None = option(
        None, "A run of the same kind, whose best weights this one begins with where they fit.", panel=RUN, free=True
    )
    checkpoint_every: int = option(200, "Steps between checkpoints.", panel=RUN, least=1, free=True)
    seed: int = option(0, "The seed of weights, batches and dropout.", panel=RUN, least=0)
    device: str = option("cpu", "Where to compute: cpu or cuda.", panel=RUN, free=True)
    threads: int = option(0, "Threads to compute with; 0 for all cores.", panel=RUN, least=0, free=True)


class Prediction(NamedTuple):
    """What a model says of a line."""

    text: str  # as it is printed
    values: dict[str, Any]  # for --json


class Job:
    """A kind of training, with its config and vocabularies: how a file becomes examples, a model, and a task.

    A subclass has the class attributes below, and the methods that raise NotImplementedError here.
    """

    name: ClassVar[str]  # of the command
    about: ClassVar[str]  # its help
    file: ClassVar[str]  # what stands in a file of data
    built_in: ClassVar[str]  # what it learns from without a file
    Config: ClassVar[type[Config]] = Config
    unit: ClassVar[str] = "symbol"  # what one prediction of the loss is of
    per_label: ClassVar[tuple[str, ...]] = ()  # how the parameters begin that have a row for each label
    writes: ClassVar[bool] = False  # whether it goes on from a prompt; else it says something of each line

    def __init__(self, config: Any, vocabularies: dict[str, AnyVocabulary]) -> None:
        self.config, self.vocabularies = config, vocabularies

    # -- from a file to a task

    @classmethod
    def examples(cls, config: Any, path: str | None) -> Any:
        """What stands in a file; None for what is built in."""
        raise NotImplementedError

    def more(self, path: str) -> Any:
        """The examples of another file, whose labels the job must know."""
        return self.examples(self.config, path)

    @classmethod
    def split(cls, config: Any, examples: Any) -> tuple[Any, Any]:
        """Examples to learn from, and examples to judge by."""
        training, held_out = random_split(examples, (1 - config.held_out, config.held_out), seed=config.split_seed)
        return training, held_out

    @classmethod
    def read(cls, config: Any) -> tuple[Any, Any]:
        """The examples that a config names: to learn from, and to judge by."""
        training = cls.examples(config, config.data)
        if config.valid is None:
            return cls.split(config, training)
        return training, cls.examples(config, config.valid)

    @classmethod
    def number(cls, config: Any, training: Any, held_out: Any) -> dict[str, AnyVocabulary]:
        """The vocabularies, by name."""
        raise NotImplementedError

    def model(self) -> Module:
        """The model, untrained."""
        raise NotImplementedError

    def task(self, model: Module, training: Any, held_out: Any) -> Task:
        """What a Trainer trains; with None to learn from, it can be evaluated alone."""
        raise NotImplementedError

    # -- training

    def optimizer(self, model: Module) -> Optimizer:
        """AdamW; weight decay of matrices alone, as GPT-2 was trained."""
        config, parameters = self.config, model.parameters()
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return AdamW([group for group in groups if group["params"]], config.lr, betas=(config.beta1, config.beta2))

    def schedule(self) -> schedules.Schedule:
        """From nearly 0 in a line to the largest rate, from there down along half a cosine."""
        lr, warmup = self.config.lr, min(self.config.warmup, self.config.steps - 1)
        after = schedules.cosine(lr, self.config.steps - warmup, lr * self.config.lr_end)
        return lambda step: lr * (step + 1) / (warmup + 1) if step < warmup else after(step - warmup)

    # -- what a trained model is used for

    def write(self, model: Any, prompt: str, length: int, options: dict[str, Any]) -> str:
        """What follows a prompt: `length` symbols, chosen as the options of `generate` say."""
        raise NotImplementedError

    def predict(self, model: Any, lines: Sequence[str], options: dict[str, Any]) -> Iterator[Prediction]:
        """What the model says of each line, none of which is blank."""
        raise NotImplementedError

    # -- what is told of a run

    def baselines(self, training: Any, held_out: Any) -> dict[str, dict[str, float]]:
        """Metrics of simple models on the same held-out examples: what the model has to beat."""
        return {}

    def shown(self, metrics: dict[str, float]) -> dict[str, str]:
        """Metrics under the names that people read, with their units."""
        named = {"loss": (f"loss, nats per {self.unit}", "{:.4f}"), "bleu": ("BLEU", "{:.2f}"), "f1": ("F1", "{:.2%}")}
        found = {}
        for name, value in metrics.items():
            label, form = named.get(name, (name.replace("_", " "), "{:.2%}" if "accuracy" in name else "{:.4g}"))
            found[label] = form.format(value)
        return found

    def sections(self, model: Any, held_out: Any, folder: Path) -> Iterable[Section]:
        """What the page of a run shows beside its numbers; pictures are drawn into the folder."""
        return ()
