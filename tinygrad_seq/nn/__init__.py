"""Parts with parameters."""

from ..core import Parameter
from . import init
from .attention import Attention, BilinearScore, DotScore, KVCache, MLPScore, MultiheadAttention, ScaledDotScore
from .crf import CRF
from .layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from .module import Module, evaluating
from .positional import LearnedPositions, SinusoidalPositions
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .recurrent_variants import LayerNormLSTM, PeepholeLSTM, ResidualRNN
from .transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "CRF",
    "Attention",
    "BilinearScore",
    "DotScore",
    "KVCache",
    "MLPScore",
    "MultiheadAttention",
    "ScaledDotScore",
    "LearnedPositions",
    "SinusoidalPositions",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "LayerNormLSTM",
    "Linear",
    "Module",
    "Parameter",
    "PeepholeLSTM",
    "RNNCell",
    "ResidualRNN",
    "Sequential",
    "evaluating",
    "init",
]
