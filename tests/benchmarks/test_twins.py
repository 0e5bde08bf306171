"""Each twin of a real task comes to our loss and our gradients, from our weights and a padded batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from benchmarks.side_by_side import TOLERANCE, difference
from small_models import LENGTHS, PAIRS, TARGET, TOKENS
from tinygrad_seq import models

pytest.importorskip("torch", reason="PyTorch is not installed: its twins are not checked")

CLASSES = np.array([1, 0])


def gpt(**options: Any) -> models.GPT:
    return models.GPT(models.GPTConfig(7, block_size=4, n_layer=2, n_head=2, n_embd=4, dropout=0.0, **options))


def classifier(pooling: str) -> models.Classifier:
    return models.Classifier(models.ClassifierConfig(7, 2, embedding_size=3, hidden_size=2, pooling=pooling))


def language_model(cell: str) -> models.LanguageModel:
    return models.LanguageModel(models.LanguageModelConfig(7, hidden_size=3, num_layers=2, cell=cell))


def next_symbols(model: Any, x: Any, y: Any) -> ts.Tensor:
    """The loss of a model that continues texts."""
    logits = model(x)
    return ts.ops.cross_entropy(logits[0] if isinstance(logits, tuple) else logits, y)


def by_itself(model: Any, *batch: Any) -> ts.Tensor:
    return model.loss(*batch)


def tagger(characters: int = 0, **options: Any) -> models.Tagger:
    return models.Tagger(
        models.TaggerConfig(
            7, 3, embedding_size=3, hidden_size=2, num_characters=characters, character_size=2, **options
        )
    )


TAGS = np.array([[0, 2, 1, 0], [1, 1, -1, -1]])
SPELLED = ts.data.pad_words([[4, 1, 6, 2], [3, 5]], [[[4, 5], [6], [4, 4, 5], [5]], [[6, 6], [4]]])[0]
TEXTS, SENTENCES = (TOKENS, TARGET[:, :4]), (TOKENS, CLASSES, LENGTHS)
CASES = {
    "gpt": (gpt, next_symbols, TEXTS),
    "gpt without biases": (lambda: gpt(bias=False), next_symbols, TEXTS),
    "gpt untied": (lambda: gpt(tied=False), next_symbols, TEXTS),
    **{cell: (lambda cell=cell: language_model(cell), next_symbols, TEXTS) for cell in ("rnn", "gru", "lstm")},
    **{
        f"classifier {pooling}": (lambda pooling=pooling: classifier(pooling), by_itself, SENTENCES)
        for pooling in models.classifier.POOLINGS
    },
    "tagger": (tagger, by_itself, (TOKENS, TAGS, LENGTHS)),
    "tagger with characters": (lambda: tagger(7), by_itself, (SPELLED, TAGS, LENGTHS)),
    "tagger with a CRF": (lambda: tagger(7, crf=True), by_itself, (SPELLED, TAGS, LENGTHS)),
    "tagger that must not miss": (lambda: tagger(7, crf=True, miss_cost=2.0), by_itself, (SPELLED, TAGS, LENGTHS)),
    "encoder-decoder": (
        lambda: models.EncoderDecoder(models.EncoderDecoderConfig(7, 5, embedding_size=3, hidden_size=4)),
        by_itself,
        PAIRS,
    ),
    "attention decoder": (
        lambda: models.AttentionDecoder(models.AttentionDecoderConfig(7, 5, embedding_size=3, hidden_size=4)),
        by_itself,
        PAIRS,
    ),
    "transformer": (
        lambda: models.Transformer(models.TransformerConfig(7, 7, 4, 2, 2, 6, dropout=0.0)),
        by_itself,
        PAIRS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_twin_comes_to_our_loss_and_gradients(name: str) -> None:
    from benchmarks.real.twins import twin, weights

    make, loss_of, batch = CASES[name]
    ts.seed(0)
    model = make()
    for p in model.parameters():  # what begins at 0 would hide what it is multiplied by
        ts.nn.init.normal(p, 0.5)
    other = twin(model)
    assert difference(weights(other), {name: p.numpy() for name, p in model.named_parameters()}) == 0
    loss, theirs = loss_of(model, *batch), other.loss(batch, SimpleNamespace(state=None))
    assert theirs.item() == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    theirs.backward()
    ours = {name: p.grad.numpy() for name, p in model.named_parameters()}
    assert difference({name: p.grad.numpy() for name, p in other.named_parameters()}, ours) < TOLERANCE


def text_trainer(**options: Any) -> ts.train.Trainer:
    """A language model on a text, three passes over it, by AdamW with two groups of parameters."""
    ts.seed(0)
    model = models.LanguageModel(models.LanguageModelConfig(7, hidden_size=6))
    ids = np.arange(200) ** 2 % 7
    task = ts.train.LanguageModelTask(model, ids, ids[:50], batch_size=4, num_steps=8)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return ts.train.Trainer(
        task,
        ts.optim.AdamW(groups, betas=(0.9, 0.99)),
        steps=18,
        schedule=ts.optim.schedules.linear_warmup(ts.optim.schedules.cosine(0.05, 18, 0.001), 5),
        clip=0.1,
        evaluate_every=6,
        **options,
    )


def test_a_twin_is_trained_as_our_trainer_trains() -> None:
    """The same evaluations on the way, and at the end the weights of the best."""
    from benchmarks.real.by_torch import train

    ours, other = text_trainer(), text_trainer()
    history = ours.run()
    last = train(other, best=False)
    assert other.step == 0  # our Trainer took no part
    assert last.step == 18 and last.seconds > 0
    assert last.metrics["loss"] == pytest.approx(history.validation[-1][1]["loss"], rel=1e-4)
    assert last.metrics["loss"] < history.validation[0][1]["loss"]
    assert other.task.evaluate()["loss"] == pytest.approx(last.metrics["loss"], rel=1e-6)
    other = text_trainer()
    other.best_by = "worst"
    evaluate = other.task.evaluate
    other.task.evaluate = lambda: (found := evaluate()) | {"worst": found["loss"]}
    best = train(other)
    assert best.step == 6  # by a measure that is better larger
    assert best.metrics["loss"] == pytest.approx(history.validation[0][1]["loss"], rel=1e-4)
    assert other.task.evaluate()["loss"] == pytest.approx(best.metrics["loss"], rel=1e-6)


def test_a_twin_differs_where_a_setting_does() -> None:
    """So the agreement above is one of batches, schedule, clipping and groups."""
    from benchmarks.real.by_torch import train

    expected = train(text_trainer(), best=False).metrics["loss"]
    for change in ("clip", "schedule", "decay", "batches"):
        other = text_trainer()
        if change == "clip":
            other.clip = None
        elif change == "schedule":
            other.schedule = None
        elif change == "decay":
            other.optimizer.param_groups[0]["weight_decay"] = 0.0
        else:
            next(other.task.batches())
        assert abs(train(other, best=False).metrics["loss"] - expected) > 1e-4, change


def test_what_has_no_twin_is_said() -> None:
    from benchmarks.real.twins import twin

    with pytest.raises(TypeError, match="no twin of a Linear"):
        twin(ts.nn.Linear(2, 2))
