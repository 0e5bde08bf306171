"""Language modelling by blocks: each block of text is read by itself, as a Transformer or a fixed window reads it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..core import Tensor
from ..data import RandomBlocks
from ..nn import Module, evaluating
from .batched import BatchedTask, mean_loss, on_device
from .metrics import perplexity

Block = tuple[np.ndarray, np.ndarray]  # x, y: (B, T) each


class BlockTask(BatchedTask[Block]):
    """The next symbol, given those before it in its block of T symbols: for GPT and FeedForwardLM.

    Trained on blocks from anywhere in the text, as nanoGPT is. Evaluated on the whole held-out text, cut into blocks
    side by side, so that each of its symbols but the first is predicted once:

        x = ids[kT … kT+T-1]        y = ids[kT+1 … kT+T]        k = 0, 1, …; the last block is what is left

    Args:
        model: tokens (B, T) -> logits (B, T, V).
        training, held_out: the ids of two texts, (N,) integers each.
        batch_size: B blocks in a batch; block_size: T symbols in a block.
        seed: of the blocks' places.
        device: where batches go: the model's.
    Raises:
        ValueError: where a text is too short: training needs T + 1 symbols, the held-out one 2.

    >>> import tinygrad_seq as ts
    >>> model = ts.models.GPT(ts.models.GPTConfig(3, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.0))
    >>> ids = np.array([0, 1, 2] * 40)
    >>> task = BlockTask(model, ids, ids[:20], batch_size=4, block_size=8)
    >>> history = ts.train.Trainer(task, ts.optim.Adam(model.parameters(), 1e-2), steps=50).run()
    >>> task.evaluate()["loss"] < 0.2
    True
    """

    metrics = ("loss", "perplexity")

    def __init__(
        self,
        model: Module,
        training: np.ndarray,
        held_out: np.ndarray,
        *,
        batch_size: int = 12,
        block_size: int = 64,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        blocks = RandomBlocks(training, batch_size, block_size, seed=seed)
        super().__init__(model, blocks, _side_by_side(held_out, batch_size, block_size), device=device)

    def loss(self, batch: Block) -> Tensor:
        """The mean loss of a batch, in nats a symbol."""
        x, y = on_device(batch, self.device)
        return ops.cross_entropy(self.model(x), y)

    def size(self, batch: Block) -> int:
        """B · T, the predictions of a batch."""
        return batch[0].size

    def evaluate(self) -> dict[str, float]:
        """The mean loss over all symbols of the held-out text but the first, in nats, and perplexity."""
        with evaluating(self.model):
            loss = mean_loss([(self.loss(batch), self.size(batch)) for batch in self.held_out])
        return {"loss": loss, "perplexity": perplexity(loss)}


def _side_by_side(ids: Any, batch_size: int, block_size: int) -> list[Block]:
    """A text in consecutive blocks, so many to a batch; what is left at the end is a batch of one shorter block."""
    ids = np.asarray(ids)
    if len(ids) < 2:
        raise ValueError(f"expected a held-out text of at least 2 symbols, got {len(ids)}; hold out more")
    whole = (len(ids) - 1) // block_size * block_size
    x, y = (row.reshape(-1, block_size) for row in (ids[:whole], ids[1 : whole + 1]))
    blocks = [(x[k : k + batch_size], y[k : k + batch_size]) for k in range(0, len(x), batch_size)]
    left = ids[whole:]
    return blocks if len(left) < 2 else [*blocks, (left[None, :-1], left[None, 1:])]
