"""The sequence tagger: a tag for each token, from both sides, whatever the padding."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import data
from tinygrad_seq.models import Tagger, TaggerConfig
from train_small import train

# Has this letter been there before, and will it come again? One direction alone sees half of the answer.
TEXTS = [text for text, _ in data.copy(700, seed=0, symbols=6, min_length=4, max_length=9)]
CHARACTERS = data.Vocabulary.from_sequences(TEXTS)
TOKENS, LENGTHS = data.pad_batch([CHARACTERS.encode(text) for text in TEXTS])
TAGS, _ = data.pad_batch([[(c in s[:i]) + 2 * (c in s[i + 1 :]) for i, c in enumerate(s)] for s in TEXTS], pad=-1)
TRAINING = 500


def accuracy(**options) -> float:
    """On texts that are not among those trained on."""
    ts.seed(0)
    model = Tagger(TaggerConfig(len(CHARACTERS), 4, embedding_size=16, hidden_size=32, **options))
    train(model, lambda k: model.loss(TOKENS[k], TAGS[k], LENGTHS[k]), TRAINING, steps=200)
    new = [k for k in range(TRAINING, len(TEXTS)) if TEXTS[k] not in TEXTS[:TRAINING]]
    tags = model.predict(TOKENS[new], LENGTHS[new]).numpy()
    assert ((tags == -1) == (TAGS[new] == -1)).all()
    return (tags == TAGS[new])[TAGS[new] >= 0].mean()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_both_directions_tag_what_depends_on_both(cell):
    assert accuracy(cell=cell) > 0.93


def test_one_direction_does_not():
    assert accuracy(bidirectional=False) < 0.75


def small(**options) -> Tagger:
    ts.seed(0)
    return Tagger(TaggerConfig(9, 3, embedding_size=4, hidden_size=5, **options)).to("float64")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_padding_changes_nothing(cell):
    model = small(cell=cell, num_layers=2)
    alone = model(np.array([[3, 1, 4]])).numpy()
    for padded in ([[3, 1, 4, 0, 0]], [[3, 1, 4, 7, 8]]):
        tokens = np.array([*padded, [5, 6, 7, 8, 2]])
        np.testing.assert_allclose(model(tokens, [3, 5]).numpy()[:1, :3], alone, rtol=1e-12)
        tags = model.predict(tokens, [3, 5]).numpy()
        assert tags[0].tolist() == [*alone[0].argmax(-1), -1, -1] and (tags[1] >= 0).all()
        loss = model.loss(tokens[:1], np.array([[0, 2, 1, -1, -1]]), [3]).item()
        assert loss == pytest.approx(model.loss(np.array([[3, 1, 4]]), np.array([[0, 2, 1]])).item(), rel=1e-12)


def test_the_loss_is_the_mean_over_all_tokens():
    model = small()
    tokens, tags = np.array([[3, 1, 4], [5, 0, 0]]), np.array([[0, 2, 1], [2, -1, -1]])
    log_p = ts.ops.log_softmax(model(tokens, [3, 1])).numpy()
    mean = -(log_p[0, 0, 0] + log_p[0, 1, 2] + log_p[0, 2, 1] + log_p[1, 0, 2]) / 4
    assert model.loss(tokens, tags, [3, 1]).item() == pytest.approx(mean, rel=1e-12)


def test_the_logits_are_read_off_both_directions():
    model = small(dropout=0.5)
    assert model.W_hy.shape == (3, 10) and model.b_y.shape == (3,) and model.E.shape == (9, 4)
    assert small(bidirectional=False).W_hy.shape == (3, 5)
    tokens = np.array([[3, 1, 4]])
    assert model.predict(tokens).numpy().tolist() == model.predict(tokens).numpy().tolist() and model.training
    model.eval()
    h, _ = model.encoder(ts.tensor(model.E.numpy()[tokens]))
    expected = h.numpy() @ model.W_hy.numpy().T + model.b_y.numpy()
    np.testing.assert_allclose(model(tokens).numpy(), expected, rtol=1e-12)


def test_another_cell_is_refused():
    with pytest.raises(ValueError, match="one of rnn, gru, lstm, got 'crf'"):
        small(cell="crf")
