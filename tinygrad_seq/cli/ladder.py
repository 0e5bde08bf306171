"""`tinygrad-seq ladder`: one list of words, one split, and models that each know more of a word than the one before.

Every model predicts each character of a word from those before it, and where the word ends.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts

from ..core import Tensor, no_grad
from ..data import CharVocabulary, TaggingBatch, pydoc_topics, random_split, read_lines, tagging_batches
from ..models import (
    GPT,
    FeedForwardLM,
    FeedForwardLMConfig,
    GPTConfig,
    LanguageModel,
    LanguageModelConfig,
    NGram,
    NGramConfig,
)
from ..nn import Module
from ..optim import AdamW, schedules
from ..train import Trainer

MARK = "\n"  # the end of a word, and what stands before its first character
PARTS = (0.8, 0.1, 0.1)
USES = {"training": "to learn from", "validation": "to choose by", "test": "to report"}
BATCH_SIZE, WARMUP = 64, 100
BETAS, WEIGHT_DECAY = (0.9, 0.99), 0.01
LONGER = (3, 4, 5, 6)  # orders of count tables that are reported beside the ladder
MANY = 500  # words in a batch of an evaluation


class Rung(NamedTuple):
    """A model of the ladder, and what it found."""

    name: str
    sees: str  # of the word so far
    parameters: int  # or counted pairs
    steps: int  # of training; counting takes none
    seconds: float
    validation: float  # nats per character, the end of a word included
    test: float


class Sizes(NamedTuple):
    """How large a rung is, and how it is trained."""

    name: str
    sees: str
    hidden: int  # H, or the width of a Transformer
    passes: int  # over the training words
    lr: float


RUNGS = (  # about 35,000 parameters each, but for the Transformer, which has 200,000
    Sizes("feed-forward", "3 characters", 350, 12, 3e-3),
    Sizes("RNN", "all, by a state", 128, 12, 3e-3),
    Sizes("LSTM", "all, by a gated cell", 64, 12, 5e-3),
    Sizes("GRU", "all, by a gated state", 74, 12, 5e-3),
    Sizes("Transformer", "all, directly", 64, 24, 3e-3),
)


class Words:
    """The task: words in batches of about equal length, the loss a mean over their characters and ends."""

    def __init__(self, model: Module, words: Split, seed: int) -> None:
        self.model, self.words = model, words
        self.training = batches(words.training, BATCH_SIZE, seed)

    def batches(self) -> Iterator[TaggingBatch]:
        while True:
            yield from self.training

    def loss(self, batch: TaggingBatch) -> Tensor:
        logits = self.model(batch.tokens)
        logits = logits[0] if isinstance(logits, tuple) else logits  # a recurrent model gives its state too
        return ts.ops.cross_entropy(logits, batch.tags, ignore_index=-1)

    def size(self, batch: TaggingBatch) -> int:
        return int(batch.lengths.sum())

    def evaluate(self) -> dict[str, float]:
        return {"loss": self.judged(self.words.validation)}

    def judged(self, rows: Sequence[np.ndarray]) -> float:
        """The mean loss over all characters of these words, in nats."""
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                each = [(self.loss(batch).item(), self.size(batch)) for batch in batches(rows, MANY, None)]
        finally:
            self.model.train(was_training)
        return math.fsum(loss * size for loss, size in each) / sum(size for _, size in each)

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, self.training.state_dict()

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        self.training.load_state_dict(values)


class Split(NamedTuple):
    """Words as ids, a mark at either end, in three parts; no part is sorted."""

    vocabulary: CharVocabulary
    training: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray]

    @property
    def longest(self) -> int:
        """Of all words: how many predictions it takes."""
        return max(len(row) - 1 for part in self[1:] for row in part)


def batches(rows: Sequence[np.ndarray], batch_size: int, seed: int | None) -> Any:
    """Words as (what is read, what follows), each character and then the mark."""
    return tagging_batches([row[:-1] for row in rows], [row[1:] for row in rows], batch_size, seed=seed)


def read(data: Path | None) -> list[str]:
    """The words: a file's lines; or without one the distinct words of the Python manual, by the alphabet."""
    if data is not None:
        return list(read_lines(data))
    return sorted(set(re.findall(r"\b[a-z]{2,15}\b", pydoc_topics())))


def split(words: Sequence[str], seed: int) -> Split:
    """Dealt out by the seed, as they stand: a word that is there twice may be in two parts."""
    vocabulary = CharVocabulary.from_text(MARK + "".join(words))
    parts = random_split(words, PARTS, seed=seed)
    return Split(vocabulary, *([vocabulary.encode(MARK + word + MARK) for word in part] for part in parts))


def count_table(words: Split, order: int) -> tuple[float, float]:
    """Counted on the training words, one after another: the validation and the test loss."""
    table = NGram(NGramConfig(len(words.vocabulary), order)).fit(_in_a_row(words.training))
    return table.loss(_in_a_row(words.validation)), table.loss(_in_a_row(words.test))


def _in_a_row(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One text, in which the mark after a word is the one before the next."""
    return np.concatenate([rows[0][:1], *(row[1:] for row in rows)])


def new_model(sizes: Sizes, words: Split) -> Module:
    V = len(words.vocabulary)
    match sizes.name:
        case "feed-forward":  # of makemore's shape
            return FeedForwardLM(FeedForwardLMConfig(V, window=3, embedding_size=24, hidden_size=sizes.hidden))
        case "Transformer":
            return GPT(GPTConfig(V, words.longest, n_layer=4, n_head=4, n_embd=sizes.hidden, dropout=0.0))
        case _:
            return LanguageModel(LanguageModelConfig(V, sizes.hidden, cell=sizes.name.lower()))


def climb(words: Split, *, seed: int, steps: int | None = None) -> Iterator[Rung]:
    """The rungs from the lowest, as each is done; with `steps`, no training takes more."""
    start = time.perf_counter()
    losses = count_table(words, 2)
    ids = _in_a_row(words.training)
    pairs = len(set(zip(ids.tolist(), ids[1:].tolist(), strict=False)))
    yield Rung("n-gram", "1 character", pairs, 0, time.perf_counter() - start, *losses)
    for sizes in RUNGS:
        start = time.perf_counter()
        ts.seed(seed)
        model = new_model(sizes, words)
        task = Words(model, words, seed)
        n = sizes.passes * len(task.training)
        n = n if steps is None else min(steps, n)
        Trainer(
            task,
            AdamW(model.parameters(), sizes.lr, betas=BETAS, weight_decay=WEIGHT_DECAY),
            steps=n,
            schedule=schedules.linear_warmup(schedules.cosine(sizes.lr, n), min(WARMUP, n)),
            evaluate_every=n,
            report_every=n,
        ).run()
        seconds = time.perf_counter() - start
        parameters = sum(p.size for p in model.parameters())
        losses = task.judged(words.validation), task.judged(words.test)
        yield Rung(sizes.name, sizes.sees, parameters, n, seconds, *losses)


HEAD = f"{'model':12}  {'sees':22}  {'parameters':>10}  {'seconds':>7}  {'validation':>10}  {'test':>6}"


def line(rung: Rung) -> str:
    """A row of the table, under `HEAD`."""
    return (
        f"{rung.name:12}  {rung.sees:22}  {rung.parameters:10,}  {rung.seconds:7.1f}  "
        f"{rung.validation:10.3f}  {rung.test:6.3f}"
    )


def not_below(rungs: Sequence[Rung]) -> list[tuple[str, str]]:
    """Where the ladder does not come down: (a rung, the next one), by the test loss."""
    return [
        (lower.name, upper.name) for lower, upper in zip(rungs, rungs[1:], strict=False) if upper.test >= lower.test
    ]


def report(words: Split, rungs: Sequence[Rung], seed: int) -> dict[str, Any]:
    """Everything that was found, and of what: what --json prints."""
    known = {row.tobytes() for row in words.training}
    return {
        "words": {part: len(getattr(words, part)) for part in USES},
        "seed": seed,
        "characters": len(words.vocabulary),
        "test_words_in_training": sum(row.tobytes() in known for row in words.test),
        "rungs": [rung._asdict() for rung in rungs],
        "count_tables": {order: count_table(words, order)[1] for order in LONGER},
        "does_not_come_down": [f"from {before} to {name}" for before, name in not_below(rungs)],
    }


def summary(found: dict[str, Any]) -> str:
    """What stands under the table: the data, the count tables beside the ladder, and whether it comes down."""
    words, tables, above = found["words"], found["count_tables"], found["does_not_come_down"]
    sizes = ", ".join(f"{words[part]:,} {use}" for part, use in USES.items())
    longer = ", ".join(f"{order - 1} characters {loss:.3f}" for order, loss in tables.items())
    return "\n".join(
        (
            f"words: {sizes}, dealt out with seed {found['seed']};",
            f"{found['test_words_in_training']:,} of those to report stand among those to learn from, too",
            f"count tables that look further back: {longer}",
            f"the ladder does not come down {', '.join(above)}" if above else "each rung is below the one before it",
        )
    )


def draw(rungs: Sequence[Rung], path: Path, *, unit: str = "character") -> Path:
    """The test loss of each rung, from the left to the right."""
    from ..viz import plots

    file = plots.checked_path("ladder", path)
    figure, (axes,) = plots.panels(1, width=9.5, height=4.4)
    places, losses = range(len(rungs)), [rung.test for rung in rungs]
    axes.plot(places, losses, color=plots.BLUE, marker="o", markersize=7, linewidth=1.2, linestyle=":")
    for place, rung in zip(places, rungs, strict=True):
        axes.annotate(f"{rung.test:.3f}", (place, rung.test), (8, 6), textcoords="offset points")
    axes.set_xticks(places, [f"{rung.name}\n{rung.sees}" for rung in rungs], fontsize=9)
    axes.set_xlabel("model, and what it sees of the word so far")
    axes.set_xlim(-0.5, len(rungs) - 0.5)
    axes.margins(y=0.15)
    axes.set_ylabel(f"test loss (nats per {unit})")
    bits = axes.secondary_yaxis("right", functions=(lambda nats: nats / math.log(2), lambda b: b * math.log(2)))
    bits.set_ylabel(f"bits per {unit}")
    return plots.save_figure(figure, file)


def run(data: Path | None, *, seed: int, steps: int | None, out: Path | None, as_json: bool) -> None:
    """What the command does: the table, row by row, what stands under it, and the plot; or one JSON object."""
    if out is not None:
        from ..viz import plots

        plots.checked_path("ladder", out)  # before minutes of training
    words = split(read(data), seed)
    if not as_json:
        print(HEAD, flush=True)
    rungs = []
    for rung in climb(words, seed=seed, steps=steps):
        rungs.append(rung)
        if not as_json:
            print(line(rung), flush=True)
    found = report(words, rungs, seed)
    print(json.dumps(found) if as_json else summary(found), flush=True)
    if out is not None:
        draw(rungs, out)
        if not as_json:
            print(f"the plot: {out}")
