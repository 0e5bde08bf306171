"""A decoder that attends to all states of an encoder before each step, over a whole target."""

from contextlib import nullcontext
from typing import Any, NamedTuple

from ..core import FusedOp, scope
from .attention import attend, attention_state, checked_mask, mlp_score
from .gru import gru_biases, gru_gates, gru_step
from .rnn import RNNState
from .scan import scan
from .shape import concatenate


class DecoderParts(NamedTuple):
    """The modules whose parameters a decoder runs with: records and pictures have its symbols under their names."""

    attention: Any = None
    score: Any = None
    cell: Any = None


UNNAMED = DecoderParts()


class AttentionDecoderStep(NamedTuple):
    """The symbols of one step of a decoder with attention; over time (B, T, …)."""

    score: Any  # e_ij, (B, S)
    alpha: Any  # α_ij, (B, S): the alignment
    context: Any  # c_i, (B, E)
    h_t: Any  # s_i, (B, H)


class GRUAttentionDecoder(FusedOp):
    """Every symbol of a GRU decoder with MLP attention in Bahdanau's order, over a given target."""

    kernel = "gru_attention_decoder"

    def definition(
        self,
        y: Any,
        s_0: Any,
        h: Any,
        keys: Any,
        W_1: Any,
        v: Any,
        W: Any,
        U: Any,
        b_ih: Any,
        b_hh: Any,
        mask: Any,
        parts: DecoderParts,
    ) -> tuple[Any, ...]:
        W, U = gru_gates(W, "W"), gru_gates(U, "U")
        b, b_hn = gru_biases(b_ih, b_hh)

        def score(s: Any, h: Any) -> Any:
            with _of(parts.score):
                return mlp_score(s, h, W_1, None, v, keys).mlp

        def f(s_prev: Any, y_prev: Any, c: Any) -> Any:
            x = concatenate([y_prev, c], -1)
            with _of(parts.cell):
                return gru_step(x, s_prev, W, U, b, b_hn).h_t

        def step(y_prev: Any, s_prev: RNNState) -> AttentionDecoderStep:
            with _of(parts.attention):
                attended = attend(score, s_prev.h, h, mask)
            s = attention_state(f, s_prev.h, y_prev, attended.context).state
            return AttentionDecoderStep(attended.score, attended.alpha, attended.context, s)

        symbols, _ = scan(step, RNNState(s_0), y)
        return tuple(symbols)


def _of(part: Any) -> Any:
    """A `with` block whose operations belong to a module, if there is one."""
    return nullcontext() if part is None else scope(part)


def gru_attention_decoder(
    y: Any,
    s_0: Any,
    h: Any,
    keys: Any,
    W_1: Any,
    v: Any,
    W: Any,
    U: Any,
    b_ih: Any,
    b_hh: Any,
    *,
    mask: Any = None,
    parts: DecoderParts = UNNAMED,
) -> AttentionDecoderStep:
    """A GRU that attends to all states of an encoder before each step, over a whole target (teacher forcing).

        e_ij = vᵀ tanh(W_1 s_{i-1} + W_2 h_j)       the MLP score
        α_ij = exp(e_ij) / Σ_k exp(e_ik)
        c_i = Σ_j α_ij h_j
        s_i = f(s_{i-1}, [y_{i-1}; c_i])            f: `gru_step`, r_t acting after the product

    Source: Bahdanau, Cho and Bengio, 2015.

    Args:
        y: (B, T, D), what each step reads: the vectors of y_0 … y_{T-1}; s_0: (B, H).
        h: (B, S, E), the encoder's states; keys: (B, S, A), W_2 h.
        W_1: (A, H); v: (A,).
        W: (3H, D + E), U: (3H, H), b_ih and b_hh: (3H,), as `gru` has them.
        mask: bool, True = may attend, broadcast to (B, S), as for a padded source.
        parts: the modules that these parameters belong to, where there are such.
    Returns:
        The symbols of all steps: score and alpha (B, T, S), context (B, T, E), h_t (B, T, H).
    Raises:
        ValueError: where the shapes do not fit, with the equations and the shapes put in.
        TypeError: where the mask is not bool.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> B, T, S, D, E, H, A = 2, 3, 4, 1, 2, 2, 5
    >>> shapes = (B, T, D), (B, H), (B, S, E), (B, S, A), (A, H), (A,), (3 * H, D + E), (3 * H, H), (3 * H,), (3 * H,)
    >>> symbols = ts.ops.gru_attention_decoder(*(ts.tensor(np.ones(shape)) for shape in shapes))
    >>> symbols.h_t.shape, symbols.alpha.shape, symbols.alpha[0, 0].tolist()
    ((2, 3, 2), (2, 3, 4), [0.25, 0.25, 0.25, 0.25])
    """
    inputs = {"y": y, "s_0": s_0, "h": h, "keys": keys, "W_1": W_1, "v": v, "W": W, "U": U, "b_ih": b_ih, "b_hh": b_hh}
    wrong = _wrong(**inputs)
    if wrong:
        put_in = ", ".join(f"{name} {x.shape}" for name, x in inputs.items())
        raise ValueError(
            "gru_attention_decoder: e_ij = vᵀ tanh(W_1 s_{i-1} + W_2 h_j), s_i = f(s_{i-1}, [y_{i-1}; c_i]) with "
            f"{put_in}: expected {wrong}"
        )
    mask = checked_mask("gru_attention_decoder", mask, h.shape[:2], h)
    return AttentionDecoderStep(*GRUAttentionDecoder(mask=mask, parts=parts)(*inputs.values()))


def _wrong(y: Any, s_0: Any, h: Any, keys: Any, **parameters: Any) -> str:
    """What was to be expected of the first input whose shape does not fit; empty if all do."""
    for name, x, axes in (("y", y, "B, T, D"), ("s_0", s_0, "B, H"), ("h", h, "B, S, E"), ("keys", keys, "B, S, A")):
        if x.ndim != len(axes.split(", ")):
            return f"{name} to be ({axes})"
    (B, T, D), H, (S, E), A = y.shape, s_0.shape[1], h.shape[1:], keys.shape[2]
    if not T or not S:
        return "at least one step, and one state to attend to"
    shapes = {"s_0": (B, H), "h": (B, S, E), "keys": (B, S, A), "W_1": (A, H), "v": (A,)}
    shapes |= {"W": (3 * H, D + E), "U": (3 * H, H), "b_ih": (3 * H,), "b_hh": (3 * H,)}
    given = {"s_0": s_0, "h": h, "keys": keys, **parameters}
    return next((f"{name} to have shape {shape}" for name, shape in shapes.items() if given[name].shape != shape), "")
