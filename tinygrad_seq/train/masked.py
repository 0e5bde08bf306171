"""Masked language modelling as a task: some tokens of a text are hidden, and guessed from both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..core import Tensor
from ..data import Batches, TextBatch
from ..nn import evaluating
from .batched import BatchedTask, mean_loss, on_device
from .metrics import Accuracy, token_accuracy

RATE = 0.15  # of a text's tokens are guessed,
HIDDEN, CHANGED = 0.8, 0.1  # of these so many are hidden, so many replaced; the others stand as they are


class MaskedBatch(NamedTuple):
    """Texts of which some tokens are to be guessed."""

    tokens: np.ndarray  # (B, T) int64, as the model reads them
    places: np.ndarray  # (M,) int64: the tokens to be guessed, b · T + t each
    targets: np.ndarray  # (M,) int64: what stood there
    lengths: np.ndarray  # (B,) int64


class MaskedLanguageModelTask(BatchedTask[MaskedBatch]):
    """What stands at a hidden place? 15 % of each text's tokens, at least one, are guessed, drawn anew in each pass.

        80 % of them are replaced by the mask, 10 % by any token, 10 % stand as they are

    The held-out texts are hidden once, always in the same way. Only the chosen tokens go through the output layer.

    Args:
        model: with `bert` and `masked_lm`, such as BERTForPreTraining; its other head is not trained.
        training, held_out: what `data.text_batches` makes.
        mask: the id that hides a token.
        special: ids that are never hidden and never put in another's place, such as those of [CLS] and [SEP].
        seed: of what is hidden.
        device: where batches go: the model's.
    Raises:
        ValueError: nothing is held out; in training too, where a text has no token that may be hidden.

    Source: Devlin et al., 2019.

    >>> import tinygrad_seq as ts
    >>> from tinygrad_seq.data import text_batches
    >>> sizes = ts.models.BERTConfig(
    ...     6, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, dropout=0.0
    ... )
    >>> ts.seed(0)
    >>> model = ts.models.BERTForPreTraining(sizes)
    >>> texts = [[1, 2, 3, 4] * 3, [4, 3, 2, 1] * 2] * 8
    >>> training, held_out = (text_batches(texts, 8, seed=seed) for seed in (0, None))
    >>> task = MaskedLanguageModelTask(model, training, held_out, mask=5)
    >>> history = ts.train.Trainer(task, ts.optim.Adam(model.parameters(), 1e-2), steps=100).run()
    >>> task.evaluate()["accuracy"] > 0.7  # chance has 1/4
    True
    """

    metrics = ("loss", "accuracy")

    def __init__(
        self,
        model: Any,
        training: Batches[TextBatch],
        held_out: Iterable[TextBatch],
        *,
        mask: int,
        special: Sequence[int] = (),
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        vocab_size = model.bert.config.vocab_size
        self.mask, self.special, self.seed = mask, np.array([mask, *special]), seed
        self.others = np.setdiff1d(np.arange(vocab_size), self.special)
        self.position = 0  # batches handed out: what is hidden in the next one depends on the seed and on this
        hidden = [self._hide(batch, np.random.default_rng([seed, 1, k])) for k, batch in enumerate(held_out)]
        super().__init__(model, training, hidden, device=device)

    def batches(self) -> Iterator[MaskedBatch]:
        while True:
            for batch in self.training:
                rng = np.random.default_rng([self.seed, 0, self.position])
                self.position += 1
                yield self._hide(batch, rng)

    def loss(self, batch: MaskedBatch) -> Tensor:
        """The mean of -log P(token) over the chosen ones, in nats."""
        return ops.cross_entropy(self._logits(batch), on_device(batch.targets, self.device))

    def size(self, batch: MaskedBatch) -> int:
        """The tokens that are guessed."""
        return len(batch.targets)

    def evaluate(self) -> dict[str, float]:
        """On the held-out texts: "loss", the mean over all chosen tokens in nats, and "accuracy"."""
        losses, right = [], Accuracy()
        with evaluating(self.model):
            for batch in self.held_out:
                logits, targets = self._logits(batch), on_device(batch.targets, self.device)
                losses.append((ops.cross_entropy(logits, targets), self.size(batch)))
                right += token_accuracy(logits.argmax(-1), batch.targets)
        return {"loss": mean_loss(losses), "accuracy": right.value}

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, self.training.state_dict() | {"masked": self.position}

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        self.training.load_state_dict({name: value for name, value in values.items() if name != "masked"})
        self.position = values["masked"]

    def _logits(self, batch: MaskedBatch) -> Tensor:
        """Of the chosen tokens alone: (M, V)."""
        tokens, places, _, lengths = on_device(batch, self.device)
        hidden = self.model.bert(tokens, lengths=lengths).hidden
        return self.model.masked_lm(hidden.reshape(-1, hidden.shape[-1])[places])

    def _hide(self, batch: TextBatch, rng: np.random.Generator) -> MaskedBatch:
        tokens = batch.tokens.copy()
        allowed = batch.mask & ~np.isin(tokens, self.special)
        if not allowed.any(1).all():
            raise ValueError(
                "MaskedLanguageModelTask: expected texts with a token that is not special, got one without"
            )
        chances = np.where(allowed, rng.random(tokens.shape), 2.0)
        count = np.maximum(1, np.rint(RATE * allowed.sum(1)).astype(int))
        rank = chances.argsort(1).argsort(1)
        places = np.flatnonzero(rank < count[:, None])
        targets = batch.tokens.ravel()[places]
        kind = rng.random(len(places))
        anything = rng.choice(self.others, len(places))
        tokens.ravel()[places] = np.where(
            kind < HIDDEN, self.mask, np.where(kind < HIDDEN + CHANGED, anything, targets)
        )
        return MaskedBatch(tokens, places, targets, batch.lengths)
