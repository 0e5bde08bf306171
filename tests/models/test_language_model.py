"""The recurrent language model with each cell: the chapter's equations, its carried state, and what memory is worth."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import data
from tinygrad_seq.models import FeedForwardLM, FeedForwardLMConfig, LanguageModel, LanguageModelConfig
from tinygrad_seq.models.language_model import lm_step
from train_small import train

CELLS = ["rnn", "gru", "lstm"]
TOKENS = np.random.default_rng(0).integers(0, 7, (2, 6))


def small(cell: str, **sizes) -> LanguageModel:
    ts.seed(0)
    return LanguageModel(LanguageModelConfig(7, **{"hidden_size": 5, "cell": cell} | sizes)).to("float64")


def test_the_model_is_the_equations_step_by_step():
    model = small("rnn")
    for bias in (model.rnn.bias_ih_l0, model.rnn.bias_hh_l0, model.output.bias):
        bias.data[...] = 0
    E, W_he, W_hh, W_hy = model.E, model.W_he, model.W_hh, model.W_hy
    symbols, last = ts.ops.scan(
        lambda x_t, state: lm_step(x_t, state.h, E, W_he, W_hh, W_hy),
        ts.ops.RNNState(ts.tensor(np.zeros((2, 5)))),
        ts.tensor(TOKENS),
    )
    logits, state = model(TOKENS)
    np.testing.assert_allclose(ts.ops.softmax(logits).numpy(), symbols.p.numpy(), rtol=1e-12)
    np.testing.assert_allclose(state.h.numpy()[0], last.h.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(model.embedding(TOKENS).numpy(), symbols.e_t.numpy())
    weights = np.random.default_rng(1).standard_normal(logits.shape)
    for fused, plain in zip(
        ts.grad((ts.ops.softmax(logits) * weights).sum(), [E, W_he, W_hh]),
        ts.grad((symbols.p * weights).sum(), [E, W_he, W_hh]),
        strict=True,
    ):
        np.testing.assert_allclose(fused.numpy(), plain.numpy(), rtol=1e-10, atol=1e-14)


def test_the_equations_are_the_chapters():
    found = {e.id: e.latex for e in lm_step.block.equations.values()}
    assert found == {
        "lm.e": "e_t = E x_t",
        "lm.h": "h_t = g(W_{hh} h_{t-1} + W_{he} e_t)",
        "lm.p": r"P(w_{t+1}) = \text{softmax}(W_{hy} h_t)",
    }


@pytest.mark.parametrize("cell", CELLS)
def test_the_output_shares_the_embeddings(cell):
    model = small(cell)
    assert model.W_hy is model.E is model.embedding.weight and model.b_y is model.output.bias
    layer = getattr(model, cell)
    assert model.num_parameters() == 7 * 5 + 7 + layer.num_parameters()
    assert f"{cell}.weight_ih_l0" in model.state_dict()
    (g,) = ts.grad(model(TOKENS)[0].sum(), [model.E])
    assert g.numpy().any(1).all()  # from the output, also where a symbol was not read


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_in_two_pieces_is_the_text(cell):
    model = small(cell, num_layers=2)
    whole, last = model(TOKENS)
    first, state = model(TOKENS[:, :2])
    second, end = model(TOKENS[:, 2:], state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], 1), whole.numpy(), rtol=1e-12)
    assert type(end) is (ts.ops.LSTMState if cell == "lstm" else ts.ops.RNNState)
    for a, b in zip(end, last, strict=True):
        assert a.shape == (2, 2, 5)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_of_training_goes_through_a_checkpoint(cell):
    ids = np.arange(60) % 7
    model = small(cell).to("float32")
    task, again = (ts.train.LanguageModelTask(model, ids, ids, batch_size=2, num_steps=4) for _ in range(2))
    batches = task.batches()
    task.loss(next(batches))
    again.load_state_dict(*task.state_dict())
    assert again.loss(next(again.batches())).item() == task.loss(next(batches)).item()


STRINGS = data.anbn(200, seed=0, max_count=6)
VOCABULARY = data.Vocabulary.from_sequences(STRINGS)
IDS, _ = data.pad_batch([VOCABULARY.encode(s, bos=True, eos=True) for s in STRINGS])


def counted(logits_of, counts) -> float:
    """Of the strings aⁿbⁿ, how many are predicted without a mistake from the first b on."""
    right = []
    for n in counts:
        ids = VOCABULARY.encode("a" * n + "b" * n, bos=True, eos=True)[None]
        predicted = logits_of(ids[:, :-1]).numpy().argmax(-1)
        right.append((predicted[0, n + 1 :] == ids[0, n + 2 :]).all())
    return np.mean(right)


@pytest.mark.parametrize("cell", CELLS)
def test_it_counts(cell):
    ts.seed(0)
    model = LanguageModel(LanguageModelConfig(len(VOCABULARY), hidden_size=16, cell=cell))
    train(
        model,
        lambda k: ts.ops.cross_entropy(model(IDS[k, :-1])[0], IDS[k, 1:], ignore_index=VOCABULARY.pad),
        len(IDS),
        steps=300,
    )
    assert counted(lambda ids: model(ids)[0], range(1, 7)) == 1


def test_a_window_cannot_count():
    ts.seed(0)
    model = FeedForwardLM(FeedForwardLMConfig(len(VOCABULARY), window=3, embedding_size=16, hidden_size=16))
    train(
        model,
        lambda k: ts.ops.cross_entropy(model(IDS[k, :-1]), IDS[k, 1:], ignore_index=VOCABULARY.pad),
        len(IDS),
        steps=300,
    )
    assert counted(model, range(1, 7)) <= 0.5  # after bbb it says the same, whatever was before


def test_another_cell_is_refused():
    with pytest.raises(ValueError, match="one of rnn, gru, lstm, got 'elman'"):
        LanguageModel(LanguageModelConfig(7, cell="elman"))
