"""Attention: how well states fit each other, weights from that, and what they gather; one head and many."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import backend_of
from ..backend.kernels.attention import kept_weights
from ..core import FusedOp, Tensor, equations, value
from ..core.random import next_key
from .elementwise import in_float32, tanh, where
from .index import beside
from .shape import broadcast_to, concatenate, expand_dims, split, squeeze, stack
from .softmax import softmax

# -- scores: how well each state h fits a state s


class Dot(NamedTuple):
    """(B, T) for one s a sequence, (B, S, T) for several."""

    dot: Any


class ScaledDot(NamedTuple):
    """(B, T) for one s a sequence, (B, S, T) for several."""

    scaled_dot: Any


class Bilinear(NamedTuple):
    """(B, T) for one s a sequence, (B, S, T) for several."""

    bilinear: Any


class MLP(NamedTuple):
    """(B, T) for one s a sequence, (B, S, T) for several."""

    mlp: Any


@equations("score", dot=r"\text{score}(s, h) = s^\top h")
def dot_score(s: Any, h: Any) -> Dot:
    """The dot product.  s: (B, D) or (B, S, D); h: (B, T, D)."""
    dot = _products(s, h)
    return Dot(dot)


@equations("score", scaled_dot=r"\text{score}(s, h) = \frac{s^\top h}{\sqrt{d}}")
def scaled_dot_score(s: Any, h: Any) -> ScaledDot:
    """The dot product over the square root of its length.  s: (B, D) or (B, S, D); h: (B, T, D)."""
    scaled_dot = _products(s, h) / math.sqrt(s.shape[-1])
    return ScaledDot(scaled_dot)


@equations("score", bilinear=r"\text{score}(s, h) = s^\top W h")
def bilinear_score(s: Any, h: Any, W: Any) -> Bilinear:
    """Luong's general score (2015).  s: (B, D) or (B, S, D); h: (B, T, E); W: (D, E)."""
    bilinear = _products(s @ W, h)
    return Bilinear(bilinear)


@equations("score", mlp=r"\text{score}(s, h) = v^\top \tanh(W_1 s + W_2 h)")
def mlp_score(s: Any, h: Any, W_1: Any, W_2: Any, v: Any, keys: Any = None) -> MLP:
    """Bahdanau's score (2015).  s: (B, D) or (B, S, D); h: (B, T, E); W_1: (H, D), W_2: (H, E), v: (H,).

    keys: W_2 h, (B, T, H), where it is known already, as in a decoder, which scores the same h at each step.
    """
    keys = h @ W_2.T if keys is None else keys
    each_s, each_key = expand_dims(s, -2), keys if s.ndim < h.ndim else expand_dims(keys, -3)
    mlp = tanh(each_s @ W_1.T + each_key) @ v
    return MLP(mlp)


def _products(s: Any, h: Any) -> Any:
    """sᵀh of every s with every h."""
    if s.ndim < h.ndim:
        return squeeze(h @ expand_dims(s, -1), -1)
    return s @ h.swapaxes(-1, -2)


# -- attention over the states of an encoder


class Attended(NamedTuple):
    """The symbols of attention. (B, T) and (B, E) for one s a sequence, (B, S, T) and (B, S, E) for several."""

    score: Any  # e_ij: how well h_j fits s_i
    alpha: Any  # α_ij: the weight of h_j, adding up to 1 over j
    context: Any  # c_i: what was gathered


@equations(
    "attn",
    score=r"e_{ij} = \text{score}(s_{i-1}, h_j)",
    alpha=r"\alpha_{ij} = \frac{\exp(e_{ij})}{\sum_k \exp(e_{ik})}",
    context=r"c_i = \sum_j \alpha_{ij} h_j",
)
def attend(score_of: Callable[[Any, Any], Any], s: Any, h: Any, mask: Any = None) -> Attended:
    """Attention of s over all h.

    Args:
        score_of: (s, h) -> (B, T) or (B, S, T), such as `lambda s, h: dot_score(s, h).dot`.
        s: (B, D), or several a sequence, (B, S, D).
        h: (B, T, E).
        mask: bool, True = may attend, broadcast to the scores; where a row sees nothing, its weights are 0.
    """
    score = score_of(s, h)
    alpha = masked_softmax(score, mask)
    context = alpha @ h if alpha.ndim == h.ndim else squeeze(expand_dims(alpha, -2) @ h, -2)
    return Attended(score, alpha, context)


class DecoderState(NamedTuple):
    """What a decoder carries to its next step: what its cell f gives, (B, H) or a NamedTuple of such."""

    state: Any


@equations("attn", state=r"s_i = f(s_{i-1}, y_{i-1}, c_i)")
def attention_state(f: Callable[[Any, Any, Any], Any], s_prev: Any, y_prev: Any, c: Any) -> DecoderState:
    """The decoder's step with any cell f (Bahdanau, Cho and Bengio, 2015): the context comes in, scored by s_{i-1}."""
    state = f(s_prev, y_prev, c)
    return DecoderState(state)


@equations("luong", state=r"s_i = f(s_{i-1}, y_{i-1})")
def luong_state(f: Callable[[Any, Any], Any], s_prev: Any, y_prev: Any) -> DecoderState:
    """The decoder's step in Luong's order (2015): first the cell f, then attention, scored by the new s_i."""
    state = f(s_prev, y_prev)
    return DecoderState(state)


class LuongOutput(NamedTuple):
    """s̃_i: (B, H)."""

    output_t: Any  # not `output`: its equation is luong.output


@equations("luong", output_t=r"\tilde{s}_i = \tanh(W_c [c_i; s_i])")
def luong_output(c: Any, s: Any, W_c: Any) -> LuongOutput:
    """What the decoder shows, from the context and its state.  c: (B, E), s: (B, D), W_c: (H, E + D)."""
    output_t = tanh(concatenate([c, s], -1) @ W_c.T)
    return LuongOutput(output_t)


class MaskedSoftmax(FusedOp):
    """softmax of what the mask lets through; 0 elsewhere, and in a row that sees nothing."""

    kernel = "masked_softmax"

    def definition(self, e: Any, mask: Any) -> Any:
        low = float(np.finfo(e.dtype).min) / 2  # finite, so that a row of nothing but it has no 0 / 0
        return softmax(where(mask, e, low)) * mask.astype(e.dtype)


def masked_softmax(e: Any, mask: Any = None) -> Any:
    """softmax over the last axis of what the mask lets through; 0 elsewhere, and in a row that sees nothing.

    Args:
        e: scores (..., T); mask: bool, True = may attend, broadcast to e.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> ts.ops.masked_softmax(ts.tensor([[0.0, 0.0, 5.0]]), np.array([True, True, False]))
    tensor([[0.5, 0.5, 0. ]])
    """
    mask = checked_mask("masked_softmax", mask, e.shape, e)
    return softmax(e) if mask is None else MaskedSoftmax(mask=mask)(e)


# -- scaled dot-product attention


class Attention(NamedTuple):
    """The symbols of scaled dot-product attention."""

    score: Any  # (..., S, T)
    alpha: Any  # (..., S, T)
    output: Any  # (..., S, E)


@equations("sdpa", output=r"\text{Attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V")
def attention(Q: Any, K: Any, V: Any, mask: Any = None, kept: Any = None) -> Attention:
    """Scaled dot-product attention.  Q: (..., S, d_k), K: (..., T, d_k), V: (..., T, E).

    mask: bool (..., S, T), True = may attend. kept: dropout's factor of each weight, (..., S, T).
    """
    score = Q @ K.swapaxes(-1, -2) / math.sqrt(Q.shape[-1])
    alpha = masked_softmax(score, mask)
    output = (alpha if kept is None else alpha * kept) @ V
    return Attention(score, alpha, output)


class SelfAttention(NamedTuple):
    """The output of self-attention: (..., T, D)."""

    output: Any


@equations("self", output=r"\text{output}_i = \text{Attention}(x_i, (x_1, x_1), (x_2, x_2), \ldots, (x_n, x_n))")
def self_attention(x: Any, mask: Any = None) -> SelfAttention:
    """Each position attends to all positions of the same sequence.  x: (..., T, D)."""
    output = attention(x, x, x, mask).output
    return SelfAttention(output)


class ScaledDotProductAttention(FusedOp):
    """softmax(Q Kᵀ / √d_k) V, in tiles: memory grows with the number of queries and keys, not with their product."""

    kernel = "attention"

    def definition(self, Q: Any, K: Any, V: Any, mask: Any, causal: bool, dropout: float, key: int) -> Any:
        seen, kept = _seen(Q, K, mask, causal), None
        if dropout:
            kept = kept_weights(backend_of(value(Q)), key, (*Q.shape[:-1], K.shape[-2]), dropout, Q.dtype)
        return attention(Q, K, V, seen, kept).output


def scaled_dot_product_attention(
    q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, dropout: float = 0.0
) -> Any:
    """Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V (Vaswani et al., 2017).

    Memory grows with S + T, not with S · T; the weights are to be had under `ts.record()`.

    Args:
        q: queries (..., S, d_k); k: keys (..., T, d_k); v: values (..., T, E); the axes before are broadcast.
        mask: bool, True = may attend, broadcast to (..., S, T). A query that sees nothing gets 0.
        causal: query i sees the keys up to T - S + i: none from the future, where both end at the same time.
        dropout: the probability of a zero among the weights; for training only.
    Returns:
        (..., S, E).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
        TypeError: where the mask is not bool.

    >>> import tinygrad_seq as ts
    >>> x = ts.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ts.ops.scaled_dot_product_attention(x, x, x, causal=True)[0]
    tensor([1., 0.])
    """
    _check_dropout("scaled_dot_product_attention", dropout)
    lead = _leading_axes(q, k, v)
    mask = checked_mask("scaled_dot_product_attention", mask, (*lead, q.shape[-2], k.shape[-2]), q)
    q, k, v = (x if x.shape[:-2] == lead else broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    op = ScaledDotProductAttention(mask=mask, causal=causal, dropout=dropout, key=next_key() if dropout else 0)
    return in_float32(op, q, k, v)


def _check_dropout(what: str, p: float) -> None:
    if not 0 <= p < 1:
        raise ValueError(f"{what}: dropout is a probability, 0 <= dropout < 1, got {p}")


def _leading_axes(q: Any, k: Any, v: Any) -> tuple[int, ...]:
    """The axes before the last two, broadcast."""
    problem = None
    if min(q.ndim, k.ndim, v.ndim) < 2:
        problem = "each has at least two axes"
    elif q.shape[-1] != k.shape[-1]:
        problem = f"a query and a key have the same length d_k, got {q.shape[-1]} and {k.shape[-1]}"
    elif k.shape[-2] != v.shape[-2]:
        problem = f"there is a value for each key, got {k.shape[-2]} keys and {v.shape[-2]} values"
    elif not k.shape[-2] or not k.shape[-1]:
        problem = "expected at least one key, of at least one feature"
    elif q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        return tuple(q.shape[:-2])
    else:
        try:
            return np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        except ValueError:
            problem = "the axes before the last two must broadcast"
    raise ValueError(
        f"scaled_dot_product_attention: softmax(Q Kᵀ / √d_k) V with Q (..., S, d_k) {q.shape}, "
        f"K (..., T, d_k) {k.shape}, V (..., T, E) {v.shape}: {problem}"
    )


def checked_mask(what: str, mask: Any, shape: tuple[int, ...], like: Any) -> Any:
    """A mask as an array on the device of `like`; None stays None."""
    if mask is None:
        return None
    array = value(mask) if hasattr(mask, "dtype") else np.asarray(mask)
    if array.dtype.kind != "b":
        raise TypeError(f"{what}: a mask is bool, True = may attend, got {array.dtype}: write mask != 0, say")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{what}: expected a mask that broadcasts to the scores {shape}, got {array.shape}"
            + (": for a mask of keys, (B, T), write mask[:, None, None, :]" if len(shape) == 4 else "")
        )
    return beside(like, array)


def _seen(q: Any, k: Any, mask: Any, causal: bool) -> Any:
    """Which keys each query sees: the mask, and the past where causal."""
    if not causal:
        return mask
    xp, S, T = backend_of(value(q)).xp, q.shape[-2], k.shape[-2]
    past = xp.arange(T) <= xp.arange(T - S, T)[:, None]
    return past if mask is None else mask & past


# -- many heads


class MultiHead(NamedTuple):
    """The symbols of multi-head attention."""

    head: Any  # head_1 … head_N, each (B, S, d)
    score: Any  # (B, N, S, T)
    alpha: Any  # (B, N, S, T)
    concat: Any  # (B, S, D)


class HeadWeights(NamedTuple):
    """The parameters of N heads: a sequence for each of the first six, with one part a head; b_… may be None."""

    W_q: Any  # N of (D, d)
    W_k: Any
    W_v: Any
    b_q: Any  # N of (d,)
    b_k: Any
    b_v: Any
    W_o: Any  # (N · d, D)
    b_o: Any  # (D,)


@equations(
    "mha",
    head=r"\text{head}_i = \text{Attention}(Q W_i^Q, K W_i^K, V W_i^V)",
    concat=r"\text{MultiHead} = \text{Concat}(\text{head}_1, \ldots, \text{head}_h) W^O",
)
def multi_head(Q: Any, K: Any, V: Any, weights: HeadWeights, masks: Any, kept: Any) -> MultiHead:
    """Attention by N heads, each in a space of its own.  Q: (B, S, D); K, V: (B, T, D).

    masks, kept: for each head what `attention` takes.
    """
    W_q, W_k, W_v, b_q, b_k, b_v, W_o, b_o = weights
    each = [
        attention(_project(Q, W_q, b_q, i), _project(K, W_k, b_k, i), _project(V, W_v, b_v, i), masks[i], kept[i])
        for i in range(len(W_q))
    ]
    head = tuple(one.output for one in each)
    score = stack([one.score for one in each], 1)
    alpha = stack([one.alpha for one in each], 1)
    concat = concatenate(head, -1) @ W_o if b_o is None else concatenate(head, -1) @ W_o + b_o
    return MultiHead(head, score, alpha, concat)


def _project(x: Any, W: Any, b: Any, i: int) -> Any:
    """x W_i, and the bias where there is one."""
    return x @ W[i] if b is None else x @ W[i] + b[i]


class MultiHeadAttention(FusedOp):
    """All heads at once: one product for their queries, keys and values, tiles over them, and one for the output."""

    kernel = "multi_head_attention"

    def definition(
        self,
        Q: Any,
        K: Any,
        V: Any,
        W_in: Any,
        b_in: Any,
        W_out: Any,
        b_out: Any,
        heads: int,
        mask: Any,
        causal: bool,
        dropout: float,
        key: int,
    ) -> Any:
        K = Q if K is None else K
        V = K if V is None else V
        be, shape = backend_of(value(Q)), (Q.shape[0], heads, Q.shape[1], K.shape[1])
        seen, kept = _seen(Q, K, mask, causal), None
        if dropout:
            kept = kept_weights(be, key, shape, dropout, Q.dtype)
        masks, kept = ([None] * heads if a is None else _by_head(be, a, shape) for a in (seen, kept))
        weights = head_weights(W_in, b_in, W_out, b_out, heads)
        return multi_head(Q, K, V, weights, masks, kept).concat


def _by_head(be: Any, a: Any, shape: tuple[int, ...]) -> list[Any]:
    a = be.xp.broadcast_to(a, shape)
    return [a[:, i] for i in range(shape[1])]


def head_weights(W_in: Any, b_in: Any, W_out: Any, b_out: Any, heads: int) -> HeadWeights:
    """Stored parameters, stacked as PyTorch stacks them (q, k, v; in each, head by head), cut and named by the chapter.

    Args:
        W_in: (3D, D); b_in: (3D,) or None; W_out: (D, D); b_out: (D,) or None.
    """
    parts: list[Any] = []
    for symbol, stacked in (("W", W_in), ("b", b_in)):
        for letter, part in zip("QKV", [None] * 3 if stacked is None else split(stacked, 3), strict=True):
            if part is None:
                parts.append(None)
                continue
            cut = split(part, heads)
            if symbol == "W":
                cut = tuple(each.swapaxes(0, 1) for each in cut)
            for i, each in enumerate(cut, start=1):
                if isinstance(each, Tensor):
                    each.name = f"{symbol}_{i}^{letter}"
            parts.append(cut)
    W_q, W_k, W_v, b_q, b_k, b_v = parts
    return HeadWeights(W_q, W_k, W_v, b_q, b_k, b_v, W_out.swapaxes(0, 1), b_out)


def multi_head_attention(
    Q: Any,
    K: Any,
    V: Any,
    W_in: Any,
    b_in: Any,
    W_out: Any,
    b_out: Any,
    heads: int,
    mask: Any = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Any:
    """MultiHead = Concat(head_1, …, head_N) W^O, with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).

    Args:
        Q: (B, S, D); K: (B, T, D), or None for Q; V: (B, T, D), or None for K.
        W_in: (3D, D) and b_in: (3D,) or None, which project Q, K and V, stacked in this order; W_out: (D, D) and
            b_out: (D,) or None.
        heads: N, a divisor of D.
        mask, causal, dropout: as for `scaled_dot_product_attention`; the mask broadcasts to (B, N, S, T).
    Returns:
        (B, S, D).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
    """
    _check_dropout("multi_head_attention", dropout)
    _check_heads(Q, K, V, W_in, b_in, W_out, b_out, heads)
    shape = (Q.shape[0], heads, Q.shape[1], (Q if K is None else K).shape[1])
    mask = checked_mask("multi_head_attention", mask, shape, Q)
    op = MultiHeadAttention(heads=heads, mask=mask, causal=causal, dropout=dropout, key=next_key() if dropout else 0)
    return in_float32(op, Q, K, V, W_in, b_in, W_out, b_out)


def _check_heads(Q: Any, K: Any, V: Any, W_in: Any, b_in: Any, W_out: Any, b_out: Any, heads: int) -> None:
    given = {"Q": Q, "K": K, "V": V, "W_in": W_in, "b_in": b_in, "W_out": W_out, "b_out": b_out}
    given = {name: x for name, x in given.items() if x is not None}
    D = W_out.shape[-1]
    B, T = Q.shape[:1], (Q if K is None else K).shape[1:2]
    expected = {"Q": (*B, *Q.shape[1:2], D), "K": (*B, *T, D), "V": (*B, *T, D)}
    expected |= {"W_in": (3 * D, D), "b_in": (3 * D,), "W_out": (D, D), "b_out": (D,)}
    problem = next((f"{name} has three axes" for name in "QKV" if name in given and given[name].ndim != 3), None)
    problem = problem or next((f"expected {n} {expected[n]}" for n in given if given[n].shape != expected[n]), None)
    if problem is None and (heads < 1 or D % heads):
        problem = f"D = {D} features do not fall into {heads} equal heads"
    if problem is None and not T[0]:
        problem = "expected at least one key"
    if problem is not None:
        raise ValueError(
            "multi_head_attention: head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V) with Q (B, S, D), K and V (B, T, D), "
            f"W_in (3D, D): {', '.join(f'{name} {x.shape}' for name, x in given.items())}: {problem}"
        )
