"""A small one of every model, with an input for it: one row each in `SMALL`, for the tests that all models pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq import models
from tinygrad_seq.data import Words

TOKENS = np.array([[4, 1, 6, 2], [3, 5, 0, 0]])
LENGTHS = np.array([4, 2])
TARGET = np.array([[1, 3, 4, 3, 2], [1, 4, 2, 0, 0]])
PAIRS = (TOKENS, TARGET, LENGTHS)
SPELLING = (np.array([[2, 1, 0, 1], [0, 1, 0, 0]]), np.array([[3, 1, 4], [2, 0, 0], [5, 1, 0]]))


class Small(NamedTuple):
    """A model, and how it is called."""

    make: Callable[[], ts.nn.Module]
    inputs: tuple[np.ndarray, ...]  # arrays that `call` gets as tensors, on the device of the test
    call: Callable[..., Any]  # (model, *inputs) -> a floating-point tensor, or several


def _feedforward_lm() -> models.FeedForwardLM:
    return models.FeedForwardLM(models.FeedForwardLMConfig(7, window=2, embedding_size=3, hidden_size=4))


def _language_model(cell: str) -> models.LanguageModel:
    return models.LanguageModel(models.LanguageModelConfig(7, hidden_size=3, num_layers=2, dropout=0.1, cell=cell))


def _tagger(cell: str) -> models.Tagger:
    return models.Tagger(models.TaggerConfig(7, 3, embedding_size=3, hidden_size=2, dropout=0.1, cell=cell))


def _classifier(pooling: str) -> models.Classifier:
    return models.Classifier(models.ClassifierConfig(7, 2, embedding_size=3, hidden_size=2, pooling=pooling))


def _encoder_decoder(cell: str) -> models.EncoderDecoder:
    return models.EncoderDecoder(models.EncoderDecoderConfig(7, 5, embedding_size=3, hidden_size=4, cell=cell))


def _attention_decoder(score: str, order: str, cell: str = "gru") -> models.AttentionDecoder:
    config = models.AttentionDecoderConfig(7, 5, embedding_size=3, hidden_size=4, score=score, order=order, cell=cell)
    return models.AttentionDecoder(config)


def _gpt() -> models.GPT:
    return models.GPT(models.GPTConfig(7, block_size=4, n_layer=2, n_head=2, n_embd=4))


def _bert() -> models.BERTForPreTraining:
    return models.BERTForPreTraining(models.BERTConfig(7, 4, 2, 2, 6, max_position_embeddings=4))


def _transformer() -> models.Transformer:
    return models.Transformer(models.TransformerConfig(7, 7, 4, 2, 2, 6))


def _word_tagger() -> models.Tagger:
    config = models.TaggerConfig(7, 3, embedding_size=3, hidden_size=4, num_characters=6, character_size=2, crf=True)
    return models.Tagger(config)


def _words(model: Any, ids: Any, spelling: Any, characters: Any, lengths: Any) -> Any:
    return model(Words(ids, spelling, characters), lengths)


def _words_loss(model: Any, ids: Any, spelling: Any, characters: Any, lengths: Any) -> Any:
    return model.loss(Words(ids, spelling, characters), np.resize([[0, 2, 1, 1], [2, 2, 0, 1]], ids.shape), lengths)


def _tokens(model: Any, tokens: ts.Tensor) -> Any:
    return model(tokens)


def _pairs(model: Any, source: ts.Tensor, target_in: ts.Tensor, lengths: ts.Tensor) -> Any:
    return model(source, target_in, lengths)


def _pairs_loss(model: Any, source: ts.Tensor, target: ts.Tensor, lengths: ts.Tensor) -> Any:
    return model.loss(source, target, lengths)


def _padded(model: Any, tokens: ts.Tensor, lengths: ts.Tensor) -> Any:
    return model(tokens, lengths)


SMALL: dict[str, Small] = {
    "feed-forward language model": Small(_feedforward_lm, (TOKENS,), _tokens),
    "RNN language model": Small(lambda: _language_model("rnn"), (TOKENS,), _tokens),
    "GRU language model": Small(lambda: _language_model("gru"), (TOKENS,), _tokens),
    "LSTM language model": Small(lambda: _language_model("lstm"), (TOKENS,), _tokens),
    "LSTM tagger": Small(lambda: _tagger("lstm"), (TOKENS, LENGTHS), _padded),
    "GRU tagger": Small(lambda: _tagger("gru"), (TOKENS, LENGTHS), _padded),
    "tagger's loss": Small(
        lambda: _tagger("lstm"), (TOKENS, np.array([[0, 2, 1, 1], [2, 2, -1, -1]]), LENGTHS), models.Tagger.loss
    ),
    "tagger of words with characters and a CRF": Small(_word_tagger, (TOKENS, *SPELLING, LENGTHS), _words),
    "the loss of a CRF": Small(_word_tagger, (TOKENS, *SPELLING, LENGTHS), _words_loss),
    "classifier, last": Small(lambda: _classifier("last"), (TOKENS, LENGTHS), _padded),
    "classifier, mean": Small(lambda: _classifier("mean"), (TOKENS, LENGTHS), _padded),
    "classifier, max": Small(lambda: _classifier("max"), (TOKENS, LENGTHS), _padded),
    "classifier, attention": Small(lambda: _classifier("attention"), (TOKENS, LENGTHS), _padded),
    "classifier's loss": Small(
        lambda: _classifier("last"), (TOKENS, np.array([0, 1]), LENGTHS), models.Classifier.loss
    ),
    "GRU encoder–decoder": Small(lambda: _encoder_decoder("gru"), PAIRS, _pairs),
    "LSTM encoder–decoder": Small(lambda: _encoder_decoder("lstm"), PAIRS, _pairs),
    "encoder–decoder's loss": Small(lambda: _encoder_decoder("rnn"), PAIRS, _pairs_loss),
    "attention decoder, MLP": Small(lambda: _attention_decoder("mlp", "bahdanau"), PAIRS, _pairs),
    "attention decoder, bilinear": Small(lambda: _attention_decoder("bilinear", "bahdanau", "rnn"), PAIRS, _pairs),
    "attention decoder, Luong, dot": Small(lambda: _attention_decoder("dot", "luong"), PAIRS, _pairs),
    "attention decoder, Luong, LSTM": Small(lambda: _attention_decoder("scaled_dot", "luong", "lstm"), PAIRS, _pairs),
    "attention decoder's loss": Small(lambda: _attention_decoder("mlp", "luong"), PAIRS, _pairs_loss),
    "GPT": Small(_gpt, (TOKENS,), _tokens),
    "BERT with both heads": Small(
        _bert,
        (TOKENS, np.array([[0, 0, 1, 1], [0, 1, 0, 0]]), LENGTHS),
        lambda model, tokens, types, lengths: model(tokens, types, lengths=lengths),
    ),
    "Transformer": Small(
        _transformer, (TOKENS, TOKENS, LENGTHS), lambda model, source, target, lengths: model(source, target, lengths)
    ),
    "Transformer's loss": Small(_transformer, (TOKENS, TOKENS, LENGTHS), models.Transformer.loss),
}


def outputs(result: Any) -> list[ts.Tensor]:
    """The tensors of what a model returned, states and symbols included."""
    if isinstance(result, ts.Tensor):
        return [result]
    return [t for part in result for t in outputs(part)]
