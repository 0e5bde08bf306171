"""The sequence classifier with each pooling: its equations, padding that is never seen, and a task."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import data
from tinygrad_seq.models import Classifier, ClassifierConfig
from train_small import train

POOLINGS = ["last", "mean", "max", "attention"]

# One or several? The beginning of a sentence, up to its verb; the nouns before the verb say nothing about it.
SENTENCES = data.agreement(1200, seed=0, depths=[1, 2])
WORDS = data.Vocabulary.from_sequences(s.tokens for s in SENTENCES)
TOKENS, LENGTHS = data.pad_batch([WORDS.encode(s.tokens[: s.verb]) for s in SENTENCES])
CLASSES = np.array([s.right in ("were", "are", "have") for s in SENTENCES]).astype(int)
TRAINING = 900
NEW = [k for k in range(TRAINING, 1200) if SENTENCES[k].tokens not in [s.tokens for s in SENTENCES[:TRAINING]]]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_it_finds_the_number_of_the_subject(pooling, cell):
    ts.seed(0)
    model = Classifier(ClassifierConfig(len(WORDS), 2, embedding_size=16, hidden_size=16, pooling=pooling, cell=cell))
    train(model, lambda k: model.loss(TOKENS[k], CLASSES[k], LENGTHS[k]), TRAINING, steps=100)
    assert (model.predict(TOKENS[NEW], LENGTHS[NEW]).numpy() == CLASSES[NEW]).mean() > 0.95


def test_the_last_words_do_not_tell():
    """The baseline: for the last two words, what followed them most often in the training sentences."""
    votes: dict[tuple, int] = {}
    for s, c in zip(SENTENCES[:TRAINING], CLASSES, strict=False):
        words = tuple(s.tokens[s.verb - 2 : s.verb])
        votes[words] = votes.get(words, 0) + (1 if c else -1)
    guesses = [votes.get(tuple(SENTENCES[k].tokens[SENTENCES[k].verb - 2 : SENTENCES[k].verb]), 0) > 0 for k in NEW]
    assert len(NEW) > 200 and (guesses == CLASSES[NEW]).mean() < 0.6


def small(pooling: str, **options) -> Classifier:
    ts.seed(0)
    model = Classifier(ClassifierConfig(9, 3, embedding_size=4, hidden_size=5, pooling=pooling, **options))
    if pooling == "attention":
        ts.nn.init.normal(model.s)  # at 0 it would be the mean
    return model.to("float64")


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("options", [{}, {"cell": "gru", "num_layers": 2}, {"cell": "rnn", "bidirectional": False}])
def test_padding_is_never_seen(pooling, options):
    model = small(pooling, **options)
    alone = model(np.array([[3, 1, 4]])).numpy()
    for padded in ([[3, 1, 4, 0, 0]], [[3, 1, 4, 7, 8]]):
        both = model(np.array([*padded, [5, 6, 7, 8, 2]]), lengths=[3, 5])
        np.testing.assert_allclose(both.numpy()[:1], alone, rtol=1e-12)
    g = ts.grad(model(np.array([[3, 1, 4, 7, 8]]), lengths=[3]).sum(), model.E)
    assert g.numpy()[[3, 1, 4]].any(1).all() and not g.numpy()[[0, 7, 8]].any()


@pytest.mark.parametrize("lengths", [None, [4, 2]])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_that_of_the_equations(pooling, bidirectional, lengths):
    model, H = small(pooling, bidirectional=bidirectional), 5
    tokens = np.array([[3, 1, 4, 2], [5, 6, 7, 8]])
    states, _ = model.encoder(model.embedding(tokens), lengths=lengths)
    rows = []
    for h, T in zip(states.numpy(), lengths or [4, 4], strict=True):
        h = h[:T]
        if pooling == "last":
            rows.append(np.concatenate([h[-1, :H], h[0, H:]]))  # the second is empty with one direction
        elif pooling == "attention":
            e = np.exp(h @ model.s.numpy())
            rows.append((e / e.sum()) @ h)
        else:
            rows.append(h.mean(0) if pooling == "mean" else h.max(0))
    expected = np.array(rows) @ model.W_hy.numpy().T + model.b_y.numpy()
    np.testing.assert_allclose(model(tokens, lengths).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_logits_have_the_dtype_of_the_model(pooling, dtype):
    model = small(pooling).to(dtype)
    tokens = np.array([[3, 1, 4], [1, 5, 0]])
    assert model(tokens).dtype == model(tokens, lengths=[3, 2]).dtype == dtype


def test_attention_begins_as_the_mean():
    model = Classifier(ClassifierConfig(9, 3, embedding_size=4, hidden_size=5, pooling="attention"))
    mean = Classifier(ClassifierConfig(9, 3, embedding_size=4, hidden_size=5, pooling="mean"))
    mean.load_state_dict({name: array for name, array in model.state_dict().items() if name != "s"})
    tokens = np.array([[3, 1, 4, 2], [5, 6, 0, 0]])
    np.testing.assert_allclose(model(tokens, [4, 2]).numpy(), mean(tokens, [4, 2]).numpy(), rtol=1e-5)


def test_attention_weights_are_recorded_and_padding_has_none():
    model = small("attention")
    with ts.record() as r:
        model(np.array([[3, 1, 4, 2], [5, 6, 0, 0]]), [4, 2])
    alpha = r["attention"].alpha.numpy()
    np.testing.assert_allclose(alpha.sum(-1), 1, rtol=1e-12)
    assert (alpha[0] > 0).all() and (alpha[1, :2] > 0).all() and not alpha[1, 2:].any()


def test_predicting_drops_nothing_out():
    model, tokens = small("last", dropout=0.5), np.array([[3, 1, 4]] * 50)
    assert len(set(model.predict(tokens).numpy().tolist())) == 1 and model.training
    assert len({tuple(row) for row in model(tokens).numpy()}) > 1


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="one of last, mean, max, attention, got 'sum'"):
        small("sum")
    with pytest.raises(ValueError, match="one of rnn, gru, lstm, got 'cnn'"):
        small("last", cell="cnn")


def test_word_dropout_makes_words_unknown_in_training_alone():
    """A thousand sentences of one word: each has the logits of the word or those of <unk>."""
    ts.seed(0)
    model = Classifier(ClassifierConfig(9, 2, embedding_size=4, hidden_size=3, word_dropout=0.5, unknown=7))
    plain, unknown = (model.eval()(np.array([[k]])).numpy()[0] for k in (2, 7))
    tokens = np.full((1000, 1), 2)
    np.testing.assert_allclose(model(tokens).numpy(), np.tile(plain, (1000, 1)), rtol=1e-5)
    out = model.train()(tokens).numpy()
    dropped = np.isclose(out, unknown, rtol=1e-5).all(1)
    assert (np.isclose(out, plain, rtol=1e-5).all(1) ^ dropped).all() and 400 < dropped.sum() < 600
    with pytest.raises(ValueError, match="Classifier: word_dropout is a probability"):
        Classifier(ClassifierConfig(9, 2, word_dropout=1.0))
