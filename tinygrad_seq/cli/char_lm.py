"""The job behind `train char-lm` and `demo`: a text, a vocabulary, a language model, a Trainer."""

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinygrad_seq as ts

from ..backend import backend_for
from ..data import CharVocabulary, pydoc_topics, read_text, split
from ..models import LanguageModel, LanguageModelConfig
from ..optim import schedules
from ..train import LanguageModelTask, Trainer

BATCH_SIZE, NUM_STEPS, WARMUP = 32, 64, 50


class CharLM(NamedTuple):
    """Everything that training a character language model needs."""

    vocabulary: CharVocabulary
    training: np.ndarray  # ids of the training text, (N,)
    held_out: np.ndarray
    model: LanguageModel
    task: LanguageModelTask
    trainer: Trainer


def char_lm(
    data: Path | None,
    *,
    steps: int,
    hidden: int,
    lr: float,
    seed: int,
    layers: int = 1,
    dropout: float = 0.0,
    device: str = "cpu",
    directory: Path | None = None,
    checkpoint_every: int | None = None,
) -> CharLM:
    """Prepare the training of a character language model.

    Args:
        data: a UTF-8 text file; the Python manual (`pydoc_data.topics`) where it is None.
        directory: the run's folder.
    Raises:
        ValueError: for a text that is empty, too short or not UTF-8.
    """
    text = pydoc_topics() if data is None else read_text(data)
    vocabulary = CharVocabulary.from_text(text)
    training, held_out = (vocabulary.encode(part) for part in split(text))
    backend_for(device)  # before anything is built: a device that is not there is the first thing to know
    ts.seed(seed)
    config = LanguageModelConfig(len(vocabulary), hidden, layers, dropout)
    model = LanguageModel(config)
    model.to(device)
    task = LanguageModelTask(model, training, held_out, batch_size=BATCH_SIZE, num_steps=NUM_STEPS, device=device)
    schedule = schedules.linear_warmup(schedules.cosine(lr, steps, lr / 20), min(WARMUP, steps))
    trainer = Trainer(
        task,
        ts.optim.Adam(model.parameters(), lr),
        steps=steps,
        schedule=schedule,
        evaluate_every=100,
        directory=directory,
        checkpoint_every=checkpoint_every,
        extra={"vocabulary": vocabulary.to_json(), "config": asdict(config), "training": {"lr": lr, "seed": seed}},
    )
    return CharLM(vocabulary, training, held_out, model, task, trainer)
