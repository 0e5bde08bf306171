"""The conditional random field as a layer: its scores are parameters, and it says which tags are best together."""

from operator import attrgetter
from typing import Any

from .. import ops
from ..core import Tensor, no_grad
from ..ops.scan import checked_lengths
from . import init
from .layers import new_parameter
from .module import Module


class CRF(Module):
    """A linear-chain conditional random field on top of scores for each token.

        s(y) = a_{y_1} + Σ_t e_t(y_t) + Σ_{t>1} A_{y_{t-1} y_t} + b_{y_T}
        P(y) = exp(s(y)) / Σ_{y'} exp(s(y'))                                over all Kᵀ sequences of tags y'

    Shapes: emissions e (B, T, K), tags y (B, T) -> log P(y), (B,). Parameters: transitions A (K, K), from the tag of a
    row to that of a column, start_transitions a (K,), end_transitions b (K,); at first uniform within ± 0.1.

    Args:
        num_tags: K.

    Calling it:
        lengths: (B,) integers from 1 to T, for padded batches: nothing beyond a sentence's end counts.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    Source: Lafferty, McCallum and Pereira, 2001.

    >>> import tinygrad_seq as ts
    >>> crf = ts.nn.CRF(3)
    >>> emissions = ts.tensor([[[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]], [[0.0, 9.0, 0.0], [0.0, 0.0, 0.0]]])
    >>> crf.decode(emissions, lengths=[2, 1]).tolist()
    [[0, 2], [1, -1]]
    >>> crf(emissions, [[0, 2], [1, -1]], lengths=[2, 1]).shape
    (2,)
    """

    def __init__(self, num_tags: int) -> None:
        if num_tags < 1:
            raise ValueError(f"CRF: expected at least 1 tag, got {num_tags}")
        self.num_tags = num_tags
        self.transitions = new_parameter(num_tags, num_tags)
        self.start_transitions = new_parameter(num_tags)
        self.end_transitions = new_parameter(num_tags)
        for p in self.parameters():
            init.uniform(p, -0.1, 0.1)

    def forward(self, emissions: Any, tags: Any, lengths: Any = None) -> Tensor:
        return ops.crf_log_likelihood(emissions, self.A, self.a, self.b, tags, lengths)

    def loss(self, emissions: Any, tags: Any, lengths: Any = None) -> Tensor:
        """-log P(y) of all sentences together, by the number of their tokens: nats a token."""
        log_p = self(emissions, tags, lengths)
        B, T = emissions.shape[:2]
        tokens = B * T if lengths is None else checked_lengths(lengths, emissions).sum().astype(log_p.dtype)
        return -log_p.sum() / tokens

    def decode(self, emissions: Any, lengths: Any = None) -> Tensor:
        """The most likely tags of each sentence, by Viterbi's algorithm: (B, T), integers, -1 beyond the end."""
        with no_grad():
            return ops.viterbi(emissions, self.A, self.a, self.b, lengths).tags

    def extra_repr(self) -> str:
        return f"{self.num_tags}"

    # The symbols of the equations.
    A = property(attrgetter("transitions"), doc="(K, K).")
    a = property(attrgetter("start_transitions"), doc="(K,).")
    b = property(attrgetter("end_transitions"), doc="(K,).")
