"""The kernels of fused operations, written once for every array library: name -> forward and backward."""

from ..base import Kernel
from . import one_step
from .attention import attention, multi_head_attention
from .attention_decoder import gru_attention_decoder
from .crf import crf_log_likelihood
from .dropout import dropout
from .feed_forward import feed_forward
from .gelu import exact_gelu, gelu
from .gru import gru_cho_sequence, gru_sequence
from .linear import linear
from .loss import cross_entropy
from .lstm import lstm_sequence
from .norm import layer_norm
from .rnn import rnn_sequence
from .softmax import log_softmax, masked_softmax, softmax

KERNELS: dict[str, Kernel] = {
    "attention": attention._replace(infer=one_step.attention),
    "crf_log_likelihood": crf_log_likelihood,
    "cross_entropy": cross_entropy,
    "dropout": dropout,
    "exact_gelu": exact_gelu,
    "feed_forward": feed_forward._replace(infer=one_step.feed_forward),
    "gelu": gelu,
    "gru_attention_decoder": gru_attention_decoder,
    "gru_cho_sequence": gru_cho_sequence,
    "gru_sequence": gru_sequence._replace(infer=one_step.gru),
    "layer_norm": layer_norm,
    "linear": linear._replace(infer=one_step.linear),
    "log_softmax": log_softmax,
    "lstm_sequence": lstm_sequence._replace(infer=one_step.lstm),
    "masked_softmax": masked_softmax,
    "multi_head_attention": multi_head_attention,
    "rnn_sequence": rnn_sequence._replace(infer=one_step.rnn),
    "softmax": softmax,
}
