"""What our Trainer would do, done by PyTorch: a twin of the model from the same weights, on the same batches."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
import torch

import tinygrad_seq as ts
from tinygrad_seq.train import Trainer
from tinygrad_seq.train.task import is_better

from .twins import begin_as_nanogpt, random_blocks, twin, weights


class Trained(NamedTuple):
    """What came of it. The task's model has the weights of that step."""

    seconds: float  # of training, evaluations left out
    step: int
    metrics: dict[str, float]  # on what the task holds out


def train(trainer: Trainer, *, best: bool = True, own_text: np.ndarray | None = None) -> Trained:
    """Train the twin of a trainer's model as the trainer would, which itself does nothing.

    Batches, schedule, clipping and the settings of the optimizer are the trainer's. To be judged, the twin's weights
    are loaded into our model: the task's own `evaluate` judges both. Dropout draws other zeros.

    Args:
        best: keep the step that the trainer would call best; else the last one.
        own_text: of a GPT: the ids of its training text, for initial weights and batches as nanoGPT draws them.
    """
    if trainer.accumulate != 1:
        raise ValueError(f"a twin takes one batch a step, got accumulate={trainer.accumulate}")
    task, model, by = trainer.task, trainer.task.model, trainer.best_by
    other = twin(model)
    optimizer = same_optimizer(trainer.optimizer, dict(model.named_parameters()), dict(other.named_parameters()))
    batches, seconds = task.batches(), 0.0
    if own_text is not None:
        begin_as_nanogpt(other)
        batches = random_blocks(own_text, *next(batches)[0].shape)
    kept: tuple[int, dict[str, float], dict[str, Any]] = (0, {}, {})
    for step in range(1, trainer.steps + 1):
        start = time.perf_counter()
        if trainer.schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = trainer.schedule(step - 1)
        optimizer.zero_grad()
        other.loss(next(batches), task).backward()
        if trainer.clip is not None:
            torch.nn.utils.clip_grad_norm_(other.parameters(), trainer.clip)
        optimizer.step()
        seconds += time.perf_counter() - start
        if step % trainer.evaluate_every == 0 or step == trainer.steps:
            model.load_state_dict(weights(other))
            metrics = task.evaluate()
            if not best or is_better(by, metrics[by], than=kept[1].get(by, math.nan)):
                kept = step, metrics, weights(other)
    model.load_state_dict(kept[2])
    return Trained(seconds, *kept[:2])


def same_optimizer(ours: Any, parameters: dict[str, ts.Tensor], theirs: dict[str, Any]) -> Any:
    """PyTorch's Adam or AdamW, fused, with our groups and their options."""
    kinds = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
    name = type(ours).__name__
    if name not in kinds:
        raise TypeError(f"expected one of {', '.join(kinds)}, got {name}")
    names = {id(p): path for path, p in parameters.items()}
    groups = [
        {
            "params": [theirs[names[id(p)]] for p in group["params"]],
            "lr": group["lr"],
            "betas": (group["beta1"], group["beta2"]),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
        }
        for group in ours.param_groups
    ]
    return kinds[name](groups, fused=True)
