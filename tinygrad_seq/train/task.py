"""What a Trainer trains: a model with its data, its loss, and how it is judged."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

from ..core import Tensor
from ..nn import Module

SMALLER_IS_BETTER = ("loss", "perplexity")


class Task(Protocol):
    """A model, its data, and the loss of a batch. A class of one's own with these methods is a task too."""

    model: Module
    # A task may have `metrics` too, the names of what `evaluate` gives: another best_by is then refused at once.

    def batches(self) -> Iterator[Any]:
        """Training batches without end, from where the task stands."""

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch, over `size(batch)` predictions, to be differentiated."""

    def size(self, batch: Any) -> int:
        """How many predictions a batch holds: its weight in a step of several, and what "per second" counts."""

    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out data: "loss", the mean in nats, and others under their names, such as "accuracy"."""

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays, plain values): where the task stands in its data, after the last batch that was handed out."""

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        """Go on from there."""


def is_better(name: str, value: float, than: float) -> bool:
    """Whether a metric is better than before: smaller for a loss or a perplexity, larger for all others.

    NaN is never better, and everything is better than NaN.

    >>> is_better("loss", 1.0, than=2.0), is_better("accuracy", 1.0, than=2.0), is_better("loss", 1.0, than=1.0)
    (True, False, False)
    """
    if math.isnan(value) or math.isnan(than):
        return not math.isnan(value)
    return value < than if name in SMALLER_IS_BETTER else value > than
