"""Tagging as a task: a label for each token, judged by accuracy and, where labels mark spans, by F1."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..data import Batches, Labels, TaggingBatch
from ..nn import Module, evaluating
from .batched import BatchedTask, mean_loss, on_device
from .metrics import Accuracy, SpanScores, span_scores, token_accuracy

_MARKS_SPANS = re.compile("O|[BIES]-.+")


class TaggingTask(BatchedTask[TaggingBatch]):
    """A label for each token of a sentence. Padding counts nowhere.

    Args:
        model: with `loss(tokens, tags, lengths)` and `predict(tokens, lengths)`, such as Tagger.
        training, held_out: what `data.tagging_batches` makes.
        labels: of the tags. Where each is "O" or one of B-, I-, E-, S- with a type, spans are counted too.
        device: where batches go: the model's.
    Raises:
        ValueError: nothing is held out.

    >>> import tinygrad_seq as ts
    >>> from tinygrad_seq.data import tagging_batches
    >>> tokens, tags = [[4, 5, 6], [5, 4]] * 8, [[0, 1, 0], [1, 0]] * 8
    >>> model = ts.models.Tagger(ts.models.TaggerConfig(vocab_size=7, num_tags=2, hidden_size=8))
    >>> task = TaggingTask(model, tagging_batches(tokens, tags, 4, seed=0), tagging_batches(tokens, tags, 4, seed=None))
    >>> history = ts.train.Trainer(task, ts.optim.Adam(model.parameters(), 1e-2), steps=30).run()
    >>> task.evaluate()["accuracy"]
    1.0
    """

    def __init__(
        self,
        model: Module,
        training: Batches[TaggingBatch],
        held_out: Iterable[TaggingBatch],
        *,
        labels: Labels | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(model, training, held_out, device=device)
        self.labels = labels
        self.counts_spans = labels is not None and mark_spans(labels)
        self.metrics = ("loss", "accuracy", *(("f1",) if self.counts_spans else ()))

    def size(self, batch: TaggingBatch) -> int:
        """The tokens of a batch, without padding."""
        return int(batch.lengths.sum())

    def evaluate(self) -> dict[str, float]:
        """On the held-out set: "loss", the mean over all tokens in nats, "accuracy", and "f1" where tags mark spans."""
        losses, right, spans = [], Accuracy(), SpanScores()
        with evaluating(self.model):
            for batch in self.held_out:
                tokens, tags, lengths = on_device(batch, self.device)
                losses.append((self.model.loss(tokens, tags, lengths), self.size(batch)))
                predicted = self.model.predict(tokens, lengths).numpy()
                right += token_accuracy(predicted, batch.tags)
                if self.labels is not None and self.counts_spans:
                    both = (
                        [self.labels.decode(row[:n]) for row, n in zip(tags, batch.lengths, strict=True)]
                        for tags in (predicted, batch.tags)
                    )
                    spans += span_scores(*both)
        metrics = {"loss": mean_loss(losses), "accuracy": right.value}
        return metrics | {"f1": spans.f1} if self.counts_spans else metrics


def mark_spans(labels: Labels) -> bool:
    """Whether labels say where spans begin and end."""
    symbols = labels.symbols
    return symbols != ("O",) and all(_MARKS_SPANS.fullmatch(symbol) for symbol in symbols)
