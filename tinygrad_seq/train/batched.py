"""What tasks have in common that learn from batches one after the other: pass after pass, and a held-out set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from ..core import Tensor, tensor
from ..data import Batches
from ..nn import Module

B = TypeVar("B")


class BatchedTask(Generic[B]):
    """Training batches without end, the held-out ones in a list. A subclass says what is predicted, and how well.

    Args:
        model: with a `loss`, the mean over the predictions of a batch, which it takes apart: `model.loss(*batch)`.
        training: batches that know where they stand; one `for` after the other over them.
        held_out: the batches of the held-out set: one `for` is made now, and they are kept.
        device: where batches go: the model's.
    Raises:
        ValueError: nothing is held out.
    """

    def __init__(
        self, model: Module, training: Batches[Any], held_out: Iterable[B], *, device: str | None = None
    ) -> None:
        self.model: Any = model
        self.training, self.held_out, self.device = training, list(held_out), device
        if not self.held_out:
            raise ValueError(f"{type(self).__name__}: expected at least one held-out batch, got none")

    def batches(self) -> Iterator[B]:
        """Pass after pass, from where the training batches stand; on the host."""
        while True:
            yield from self.training

    def loss(self, batch: B) -> Tensor:
        """The mean loss of a batch over its `size` predictions, in nats."""
        return self.model.loss(*on_device(batch, self.device))

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays, plain values): where the training batches stand."""
        return {}, self.training.state_dict()

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, over the same data."""
        self.training.load_state_dict(values)


def on_device(batch: Any, device: str | None) -> Any:
    """A batch, or a part of one, with its arrays as tensors there."""
    if isinstance(batch, np.ndarray):
        return tensor(batch, device=device)
    if isinstance(batch, tuple):
        parts = [on_device(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return batch


def mean_loss(losses: list[tuple[Tensor, int]]) -> float:
    """The mean over all predictions, of batches' mean losses and how many predictions each has."""
    return sum(loss.item() * n for loss, n in losses) / sum(n for _, n in losses)
