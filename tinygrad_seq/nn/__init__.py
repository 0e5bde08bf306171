"""Parts with parameters."""

from ..core import Parameter
from . import init
from .layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from .module import Module
from .recurrent import LSTM

__all__ = [
    "LSTM",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "Sequential",
    "init",
]
