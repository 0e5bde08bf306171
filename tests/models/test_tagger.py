"""The sequence tagger: a tag for each token, from both sides, whatever the padding."""

from dataclasses import replace

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


# -- words with their characters

SPELLED = [[[3, 1, 4], [1], [5, 9]], [[2, 6, 5, 3]]]  # of two sentences
IDS = [[3, 1, 4], [5]]


def words(*chosen: int, spelled: list = SPELLED) -> tuple[data.Words, np.ndarray]:
    return data.pad_words([IDS[k] for k in chosen], [spelled[k] for k in chosen])


def spelling(**options) -> Tagger:
    return small(num_characters=10, character_size=3, **options)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("crf", [False, True])
def test_padding_of_words_and_of_sentences_changes_nothing(cell, crf):
    model = spelling(cell=cell, crf=crf)
    both, lengths = words(0, 1)
    scores, tags = model(both, lengths).numpy(), model.predict(both, lengths).numpy()
    for b in (0, 1):
        alone, (n,) = words(b)
        np.testing.assert_allclose(scores[b, :n], model(alone).numpy()[0], rtol=1e-12)
        assert tags[b].tolist() == [*model.predict(alone).numpy()[0].tolist(), *[-1] * (3 - n)]


def test_a_word_is_its_vector_and_what_both_directions_say_of_its_characters():
    model = spelling()
    alone, _ = words(0)
    e = model.embed(alone).numpy()[0]
    np.testing.assert_allclose(e[:, :4], model.E.numpy()[IDS[0]])
    for t, word in enumerate(SPELLED[0]):
        g, last = model.spelling.encoder(model.spelling.embedding(np.array([word])))
        np.testing.assert_allclose(e[t, 4:], [*g.numpy()[0, -1, :3], *g.numpy()[0, 0, 3:]], rtol=1e-12)
    assert model.encoder.input_size == 4 + 2 * 3


def test_the_same_spelling_is_read_once():
    again, _ = words(0, 0, 1)
    assert again.characters.shape == (4, 4) and again.spelling.tolist() == [[0, 1, 2], [0, 1, 2], [3, 0, 0]]
    model = spelling()
    np.testing.assert_allclose(model(again, [3, 3, 1]).numpy()[0], model(words(0)[0]).numpy()[0], rtol=1e-12)


def test_characters_tell_new_words_apart():
    """All words are unknown: their last character alone says what tag they have."""
    rng = np.random.default_rng(0)
    spelled = [[rng.integers(1, 7, rng.integers(1, 6)).tolist() for _ in range(rng.integers(1, 5))] for _ in range(300)]
    tags = [[word[-1] % 3 for word in sentence] for sentence in spelled]
    ts.seed(0)
    model = Tagger(TaggerConfig(4, 3, embedding_size=4, hidden_size=16, num_characters=7, character_size=16))

    def batch(rows):
        tokens, lengths = data.pad_words([[3] * len(spelled[k]) for k in rows], [spelled[k] for k in rows])
        return tokens, data.pad_batch([tags[k] for k in rows], pad=-1)[0], lengths

    train(model, lambda rows: model.loss(*batch(rows)), 200, steps=150)
    tokens, expected, lengths = batch(range(200, 300))
    assert (model.predict(tokens, lengths).numpy() == expected).mean() > 0.97


def test_a_crf_knows_what_follows_what():
    """The tag of a token is the parity of the number of tokens from the start: the one before says it."""
    model = Tagger(TaggerConfig(5, 2, embedding_size=4, hidden_size=4, crf=True))
    for p in model.parameters():
        p.data[...] = 0
    model.crf.transitions.data[...] = [[-5, 5], [5, -5]]
    model.crf.start_transitions.data[...] = [5, 0]
    assert model.predict(np.array([[4, 4, 4, 4], [4, 4, 0, 0]]), [4, 2]).numpy().tolist() == [
        [0, 1, 0, 1],
        [0, 1, -1, -1],
    ]


def test_the_loss_with_a_crf_is_a_mean_over_tokens():
    model = small(crf=True)
    tokens, tags = np.array([[3, 1, 4], [5, 0, 0]]), np.array([[0, 2, 1], [2, -1, -1]])
    log_p = ts.ops.crf_log_likelihood(model(tokens, [3, 1]), model.crf.A, model.crf.a, model.crf.b, tags, [3, 1])
    assert model.loss(tokens, tags, [3, 1]).item() == pytest.approx(-log_p.numpy().sum() / 4, rel=1e-12)


def test_word_dropout_makes_words_unknown_in_training_alone():
    model = small(word_dropout=0.5, unknown=7)
    tokens = np.full((1, 1000), 2)
    e = model.embed(tokens).numpy()[0]
    unknown = (e == model.E.numpy()[7]).all(1)
    assert ((e == model.E.numpy()[2]).all(1) ^ unknown).all() and 400 < unknown.sum() < 600
    model.eval()
    assert (model.embed(tokens).numpy() == model.E.numpy()[2]).all()


def test_words_and_ids_are_told_apart():
    with pytest.raises(TypeError, match="num_characters=10 expected tokens that are data.Words, got ndarray"):
        spelling()(np.array([[1]]))
    with pytest.raises(TypeError, match="num_characters=0 expected tokens that are ids, got Words"):
        small()(words(0)[0])
    with pytest.raises(ValueError, match="word_dropout is a probability"):
        small(word_dropout=1.0)


@pytest.mark.parametrize("crf", [False, True])
def test_to_miss_what_is_not_outside_costs_more_in_training_alone(crf: bool) -> None:
    ts.seed(0)
    model = small(crf=crf, miss_cost=2.0, outside=1)
    tokens, tags, lengths = np.array([[4, 5, 6], [7, 8, 0]]), np.array([[0, 1, 2], [2, 1, -1]]), np.array([3, 2])
    plain = Tagger(replace(model.config, miss_cost=0.0)).to("float64")
    plain.load_state_dict(model.state_dict())
    cost = np.zeros((2, 3, 3))
    for place in ((0, 0), (0, 2), (1, 0)):  # where another tag than 1 is right
        cost[(*place, 1)] = 2
    scores = plain(tokens, lengths) + cost
    if plain.crf is not None:
        expected = plain.crf.loss(scores, tags, lengths)
    else:
        expected = ts.ops.cross_entropy(scores, tags, ignore_index=-1)
    assert model.loss(tokens, tags, lengths).item() == pytest.approx(expected.item(), rel=1e-6)
    assert model.loss(tokens, tags, lengths).item() > plain.loss(tokens, tags, lengths).item() + 0.1
    model.eval(), plain.eval()
    assert model.loss(tokens, tags, lengths).item() == plain.loss(tokens, tags, lengths).item()


@pytest.mark.parametrize("options", [{"miss_cost": -1.0}, {"outside": 3}, {"outside": -1}])
def test_a_cost_or_a_tag_that_is_none(options) -> None:
    with pytest.raises(ValueError, match="Tagger: expected miss_cost of at least 0 and outside, a tag, from 0 to 2"):
        small(**options)
