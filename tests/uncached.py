"""A model that writes without remembering what it computed: what a cache must not change."""

from typing import Any

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.models import GPT, Transformer
from tinygrad_seq.models.generation import Autoregressive, SequenceToSequence


class Uncached(Autoregressive):
    """A GPT that reads the whole text again for each token; its state is the text."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        text = tokens if state is None else np.concatenate([state, tokens], 1)
        return self.model(text)[:, -1], text

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return state[rows]


class UncachedPairs(SequenceToSequence):
    """A Transformer that reads source and target again for each symbol; its state is both."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.config = model, model.config

    def encode(self, source: np.ndarray, source_lengths: np.ndarray) -> Any:
        return source, source_lengths, np.zeros((len(source), 0), int)

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        source, lengths, target = state
        target = np.concatenate([target, tokens], 1)
        return self.model(source, target, lengths)[:, -1], (source, lengths, target)

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return tuple(part[rows] for part in state)
