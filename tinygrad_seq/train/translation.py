"""Translation as a task: one sequence written after reading another, judged by accuracy and by BLEU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import ops
from ..data import Batches, PairBatch
from ..nn import Module, evaluating
from .batched import BatchedTask, mean_loss, on_device
from .metrics import Accuracy, bleu, token_accuracy

_TOGETHER = 64  # sources that are translated side by side


class TranslationTask(BatchedTask[PairBatch]):
    """The target of a source, symbol by symbol: for EncoderDecoder, AttentionDecoder and Transformer.

    Training and loss are by teacher forcing, and so is the accuracy: how often the symbol that comes next is the
    likeliest, the true ones before it being given. BLEU is of what the model writes by itself.

    Args:
        model: (source, target_in, source_lengths) -> logits, with `loss(source, target, source_lengths)`, `generate`,
            and a `config` that has `pad` and `eos`.
        training, held_out: what `data.pair_batches` makes.
        sources: what is translated at each evaluation, by greedy decoding: held-out sources, ids each; none: no BLEU.
        references: for each of them its right translations, a list, as `bleu` takes it.
        decode: from the ids of a translation to a text or words, as references are: `vocabulary.decode`.
        device: where batches go: the model's.
    Raises:
        ValueError: nothing is held out, there are not as many references as sources, or no `decode`.

    >>> import tinygrad_seq as ts
    >>> from tinygrad_seq.data import Vocabulary, pair_batches
    >>> words = Vocabulary(("a", "b", "c"))
    >>> sources = [words.encode(text) for text in ("abc", "ba", "cc")]
    >>> targets = [words.encode(text, bos=True, eos=True) for text in ("cba", "ab", "cc")]
    >>> model = ts.models.EncoderDecoder(ts.models.EncoderDecoderConfig(len(words), len(words), hidden_size=32))
    >>> training, held_out = (pair_batches(sources, targets, 3, seed=seed) for seed in (0, None))
    >>> references = [[words.decode(target)] for target in targets]
    >>> task = TranslationTask(
    ...     model, training, held_out, sources=sources, references=references, decode=words.decode
    ... )
    >>> history = ts.train.Trainer(task, ts.optim.Adam(model.parameters(), 1e-2), steps=60).run()
    >>> metrics = task.evaluate()
    >>> metrics["accuracy"], metrics["sequence_accuracy"]
    (1.0, 1.0)
    """

    def __init__(
        self,
        model: Module,
        training: Batches[PairBatch],
        held_out: Iterable[PairBatch],
        *,
        sources: Sequence[Any] = (),
        references: Sequence[Sequence[str | Sequence[str]]] = (),
        decode: Callable[[list[int]], str | list[str]] | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(model, training, held_out, device=device)
        if len(sources) != len(references) or (len(sources) and decode is None):
            raise ValueError(
                "TranslationTask: expected a decode function and a list of references for each of "
                f"{len(sources)} sources, got {len(references)} lists and decode={decode}"
            )
        self.sources, self.references, self.decode = list(sources), list(references), decode
        self.metrics = ("loss", "accuracy", *(("bleu", "sequence_accuracy") if self.sources else ()))
        self.longest = max(batch.target.shape[1] for batch in self.held_out)  # as many symbols as a translation has

    def size(self, batch: PairBatch) -> int:
        """The symbols that a batch's targets have after bos, eos with them, without padding."""
        return int((batch.target[:, 1:] != self.model.config.pad).sum())

    def evaluate(self) -> dict[str, float]:
        """On the held-out set: "loss", the mean over all symbols of the targets in nats, and "accuracy".

        With `sources`, "bleu" from 0 to 100 too, and "sequence_accuracy": how many are one of their references.
        """
        losses, right = [], Accuracy()
        pad = self.model.config.pad
        with evaluating(self.model):
            for batch in self.held_out:
                source, target, lengths = on_device(batch, self.device)
                logits = self.model(source, target[:, :-1], lengths)
                losses.append((ops.cross_entropy(logits, target[:, 1:], ignore_index=pad), self.size(batch)))
                right += token_accuracy(logits.argmax(-1), batch.target[:, 1:], ignore_index=pad)
        metrics = {"loss": mean_loss(losses), "accuracy": right.value}
        if self.sources:
            written = self.translate(self.sources)
            exact = [text in allowed for text, allowed in zip(written, self.references, strict=True)]
            metrics |= {
                "bleu": bleu(written, self.references).score,
                "sequence_accuracy": sum(exact) / len(exact),
            }
        return metrics

    def translate(self, sources: Sequence[Any]) -> list[Any]:
        """What the model writes for sources, ids each, by greedy decoding; decoded."""
        if self.decode is None:
            raise ValueError("translate: this task has no decode function: give it one")
        written = []
        for k in range(0, len(sources), _TOGETHER):
            written += self.model.generate(sources[k : k + _TOGETHER], self.longest, temperature=0)
        return [self.decode([i for i in row if i != self.model.config.eos]) for row in written]
