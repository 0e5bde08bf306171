"""How a run's model begins: at random, with what an earlier run has learned (`--init-from`), or to be resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data import AnyVocabulary, CharVocabulary, Labels, Vocabulary, WordVocabulary, vocabulary_from_json
from ..nn import Module
from ..train.resume import load_latest
from .jobs import Job
from .run import Run, load, prepare


class Beginning(NamedTuple):
    """A job and its model, before the first step."""

    job: Job
    model: Module
    taken: str  # what it has of an earlier run, to be printed; empty where it begins at random


def beginning(kind: type[Job], config: Any, training: Any, held_out: Any, *, latest: Path | None = None) -> Beginning:
    """Number the examples and make the model.

    With `init_from` the vocabularies begin with the symbols of that run, new ones come after them; each parameter of
    the same name and shape takes the run's values, a table of symbols its first rows. What has a row for each label is
    taken where both have the same labels.

    Args:
        latest: the checkpoint from which the run will go on. It holds all that was taken of `init_from`, whose folder
            is not looked at then.
    Raises:
        ValueError: `init_from` is not the folder of a run, or that of another kind, or nothing of it fits.
        CheckpointError: its checkpoint is damaged, or the latest one.
    """
    own = kind.number(config, training, held_out)
    if config.init_from is None:
        job = kind(config, own)
        return Beginning(job, job.model(), "")
    if latest is not None:
        kept = load_latest(latest).state.get("vocabularies", {})
        job = _numbered_as(kind, config, own, {name: vocabulary_from_json(each) for name, each in kept.items()})
        return Beginning(job, job.model(), "")
    run = load(Path(config.init_from), device="cpu")
    if type(run.job) is not kind:
        raise ValueError(f"--init-from {config.init_from} is a run of {run.job.name}: name one of {kind.name}")
    prepare(config)  # loading set the seed and the threads of that run
    job = _numbered_as(kind, config, own, run.job.vocabularies)
    model = job.model()
    return Beginning(job, model, _take(job, model, run))


def _numbered_as(
    kind: type[Job], config: Any, own: dict[str, AnyVocabulary], before: Mapping[str, AnyVocabulary]
) -> Job:
    """A job whose vocabularies begin with the symbols of those before."""
    return kind(config, {name: _joined(each, before.get(name)) for name, each in own.items()})


def _joined(own: AnyVocabulary, before: AnyVocabulary | None) -> AnyVocabulary:
    """A vocabulary that begins with the symbols of another. Labels stay; subwords are cut as before."""
    if before is None or isinstance(own, Labels) or type(own) is not type(before):
        return own
    if isinstance(own, CharVocabulary):
        return CharVocabulary(before.symbols + "".join(c for c in own.symbols if c not in before.symbols))  # type: ignore
    if isinstance(own, Vocabulary | WordVocabulary):
        known = set(before.symbols)  # type: ignore[union-attr]
        new = tuple(symbol for symbol in own.symbols if symbol not in known)
        return dataclasses.replace(own, symbols=(*before.symbols, *new))  # type: ignore[union-attr]
    return before


def _take(job: Job, model: Module, run: Run) -> str:
    """Give a model what fits of a run's; a line that says what."""
    before = run.job.vocabularies
    grown = {(len(before[name]), len(each)) for name, each in job.vocabularies.items() if name in before}
    other_labels = any(isinstance(each, Labels) and each != before.get(n) for n, each in job.vocabularies.items())
    weights, taken, left = model.state_dict(), [], []
    theirs: Mapping[str, np.ndarray] = run.checkpoint.model
    for name, at_random in weights.items():
        value = theirs.get(name)
        if value is None or (other_labels and name.startswith(job.per_label)):
            left.append(name)
        elif value.shape == at_random.shape:
            weights[name] = value
            taken.append(name)
        elif value.shape[1:] == at_random.shape[1:] and (len(value), len(at_random)) in grown:
            weights[name] = np.concatenate([value, at_random[len(value) :]])
            taken.append(name)
        else:
            left.append(name)
    if not any(weights[name].ndim > 1 for name in taken):  # a bias of the output alone is nothing
        raise ValueError(f"--init-from {run.folder}: none of its weights fits: give the sizes in its config.toml")
    model.load_state_dict(weights)
    rest = f"; at random: {', '.join(left)}" if left else ""
    return f"beginning with {len(taken)} of {len(weights)} parameters from {run.checkpoint.path}{rest}"
