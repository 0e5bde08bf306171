"""Parts with parameters."""

from ..core import Parameter
from . import init
from .layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from .module import Module
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "RNNCell",
    "Sequential",
    "init",
]
