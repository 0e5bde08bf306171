"""Language modelling as a task: truncated backpropagation through time, with the state carried and detached."""

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import ops
from ..core import Tensor, tensor
from ..data import LanguageModelStream
from ..nn import Module, evaluating
from .bptt import detach
from .metrics import perplexity

_ALONE = "state"  # the name of a carried state that is one tensor


class LanguageModelTask:
    """The next symbol, given all before it; gradients flow back through the T steps of a batch and no further.

    Args:
        model: (tokens, state) -> (logits, state), the state a tensor or a NamedTuple of them.
        training, held_out: the ids of two texts, (N,) integers each.
        batch_size: B rows of the text side by side; num_steps: T symbols a batch.
        device: where batches go: the model's.
    Raises:
        ValueError: where a text is too short: training needs B · T + 1 symbols, the held-out one 2.

    `Trainer` has an example.
    """

    metrics = ("loss", "perplexity")

    def __init__(
        self,
        model: Module,
        training: np.ndarray,
        held_out: np.ndarray,
        *,
        batch_size: int = 32,
        num_steps: int = 64,
        device: str | None = None,
    ) -> None:
        self.model, self.device = model, device
        self.stream = LanguageModelStream(training, batch_size, num_steps)
        if len(held_out) < 2:
            raise ValueError(f"expected a held-out text of at least 2 symbols, got {len(held_out)}; hold out more")
        rows = max(1, min(16, len(held_out) // (4 * num_steps)))
        row_length = (len(held_out) - 1) // rows
        batches = -(-row_length // num_steps)
        self.held_out = LanguageModelStream(held_out, rows, row_length // batches)  # hardly anything is left over
        self.state: Any = None  # carried from batch to batch; None at the beginning of the text

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pass after pass over the text; each begins with a fresh state."""
        while True:
            if self.stream.position == 0:
                self.state = None
            for x, y in self.stream:
                yield self._on_device(x), self._on_device(y)
            self.state = None

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The mean loss of a batch, (B, T) each, in nats; the state goes on from the batch before, detached."""
        x, y = batch
        logits, state = self.model(x, self.state)
        self.state = detach(state)
        return ops.cross_entropy(logits, y)

    def size(self, batch: tuple[Tensor, Tensor]) -> int:
        """B · T, the predictions of a batch."""
        return batch[0].size

    def evaluate(self, *, memory: bool = True) -> dict[str, float]:
        """The mean loss on the held-out text, in nats per symbol, and perplexity; the state is carried through it.

        Args:
            memory: False zeroes the state before every symbol: what the model knows from the last symbol alone.
        """
        losses, state = [], None
        self.held_out.position = 0
        with evaluating(self.model):
            for x, y in self.held_out:
                if not memory:
                    x, y, state = x.reshape(-1, 1), y.reshape(-1, 1), None
                logits, state = self.model(self._on_device(x), state)
                losses.append(ops.cross_entropy(logits, self._on_device(y)))
            loss = ops.mean(ops.stack(losses)).item()
        return {"loss": loss, "perplexity": perplexity(loss)}

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays, plain values): the carried state, and the place in the text."""
        if isinstance(self.state, Tensor):
            carried = {_ALONE: self.state}
        else:
            carried = {} if self.state is None else self.state._asdict()
        arrays = {name: t.numpy() for name, t in carried.items()}
        return arrays, self.stream.state_dict() | {"carried": list(arrays)}  # files of arrays have no order

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.stream.load_state_dict(values)
        names = values.get("carried", ["h", "c"] if arrays else [])  # version 0.1.0 did not say: it was an LSTM's
        parts = [self._on_device(arrays[name]) for name in names]
        if names == [_ALONE]:
            self.state = parts[0]
        else:  # of the model's own type again after its next call
            self.state = namedtuple("State", names)(*parts) if names else None

    def _on_device(self, array: np.ndarray) -> Tensor:
        return tensor(array, device=self.device)
