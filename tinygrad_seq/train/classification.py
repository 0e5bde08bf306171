"""Classification as a task: one label for a whole sentence, judged by accuracy."""

from __future__ import annotations

from ..data import ClassificationBatch
from ..nn import evaluating
from .batched import BatchedTask, mean_loss, on_device
from .metrics import Accuracy, token_accuracy


class ClassificationTask(BatchedTask[ClassificationBatch]):
    """One label for a whole sentence.

    Args:
        model: with `loss(tokens, classes, lengths)` and `predict(tokens, lengths)`, such as Classifier.
        training, held_out: what `data.classification_batches` makes.
        device: where batches go: the model's.
    Raises:
        ValueError: nothing is held out.

    >>> import tinygrad_seq as ts
    >>> from tinygrad_seq.data import classification_batches
    >>> tokens, classes = [[4, 5, 6], [5, 4]] * 8, [0, 1] * 8
    >>> model = ts.models.Classifier(ts.models.ClassifierConfig(vocab_size=7, num_classes=2, hidden_size=8))
    >>> training, held_out = (classification_batches(tokens, classes, 4, seed=seed) for seed in (0, None))
    >>> task = ClassificationTask(model, training, held_out)
    >>> history = ts.train.Trainer(task, ts.optim.Adam(model.parameters(), 1e-2), steps=30).run()
    >>> task.evaluate()["accuracy"]
    1.0
    """

    metrics = ("loss", "accuracy")

    def size(self, batch: ClassificationBatch) -> int:
        """B, the sentences of a batch."""
        return len(batch.classes)

    def evaluate(self) -> dict[str, float]:
        """On the held-out set: "loss", the mean over all sentences in nats, and "accuracy"."""
        losses, right = [], Accuracy()
        with evaluating(self.model):
            for batch in self.held_out:
                tokens, classes, lengths = on_device(batch, self.device)
                losses.append((self.model.loss(tokens, classes, lengths), self.size(batch)))
                right += token_accuracy(self.model.predict(tokens, lengths), batch.classes)
        return {"loss": mean_loss(losses), "accuracy": right.value}
