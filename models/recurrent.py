"""What models with a recurrent layer share: the layer that a config names, steps of a padded batch, word dropout."""

from typing import Any

import tinygrad_seq as ts
from tinygrad_seq.backend import backend_of
from tinygrad_seq.core.random import next_key
from tinygrad_seq.ops.index import beside, integers
from tinygrad_seq.ops.scan import checked_lengths

CELLS = ("rnn", "gru", "lstm")


def recurrent(cell: str, input_size: int, hidden_size: int, num_layers: int, **options: Any) -> Any:
    """An RNN, a GRU or an LSTM.

    An LSTM begins with forget gates that are open: b_f = 1 (Jozefowicz, Zaremba and Sutskever, 2015).

    Args:
        cell: "rnn", "gru" or "lstm".
        options: bidirectional and dropout, as the layers have them.
    Raises:
        ValueError: for another cell.

    >>> recurrent("lstm", 3, 5, 1).b_f
    tensor([1., 1., 1., 1., 1.], requires_grad=True)
    """
    if cell not in CELLS:
        raise ValueError(f"expected a cell that is one of {', '.join(CELLS)}, got {cell!r}")
    layer = getattr(ts.nn, cell.upper())(input_size, hidden_size, num_layers, **options)
    if cell == "lstm":
        ts.nn.init.lstm_forget_bias(layer)
    return layer


def within(lengths: Any, x: ts.Tensor) -> Any:
    """Which steps of a padded batch belong to its sequences: bool (B, T), for lengths (B,) and x (B, T, …).

    >>> within([2, 1], ts.tensor([[[1.0]] * 3] * 2)).tolist()
    [[True, True, False], [True, False, False]]
    """
    return backend_of(x.data).xp.arange(x.shape[1]) < checked_lengths(lengths, x)[:, None]


def check_word_dropout(name: str, p: float) -> None:
    """Refuse what is no probability of leaving a word out."""
    if not 0 <= p < 1:
        raise ValueError(f"{name}: word_dropout is a probability, 0 <= p < 1, got {p}")


def drop_words(name: str, ids: Any, weight: ts.Tensor, p: float, unknown: int) -> Any:
    """Ids (B, T), each read as `unknown` with probability p; beside a table of embeddings."""
    ids = beside(weight, integers(name, ids))
    be = backend_of(ids)
    return be.xp.where(be.keep_mask(next_key(), ids.shape, p), ids, unknown)
