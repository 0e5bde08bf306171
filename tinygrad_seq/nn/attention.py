"""Attention: scores with parameters, attention over an encoder's states, many heads, and a cache for generation."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import ops
from ..backend import backend_of
from ..core import Tensor, value
from ..ops.attention import Attended
from . import init
from .layers import Linear, new_parameter
from .module import Module


class DotScore(Module):
    """score(s, h) = sᵀ h.

    Shapes: s (B, D) or (B, S, D), h (B, T, D) -> (B, T) or (B, S, T). Source: Luong, Pham and Manning, 2015.

    Raises:
        ValueError: where s and h are not of the same width, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> ts.nn.DotScore()(ts.tensor([[1.0, 2.0]]), ts.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    tensor([[1., 2.]])
    """

    def forward(self, s: Tensor, h: Tensor) -> Tensor:
        return ops.dot_score(s, h).dot


class ScaledDotScore(Module):
    """score(s, h) = sᵀ h / √d.

    Shapes: s (B, D) or (B, S, D), h (B, T, D) -> (B, T) or (B, S, T). Source: Vaswani et al., 2017.

    Raises:
        ValueError: where s and h are not of the same width, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> ts.nn.ScaledDotScore()(ts.tensor([[4.0, 0, 0, 0]]), ts.tensor([[[1.0, 0, 0, 0]]]))
    tensor([[2.]])
    """

    def forward(self, s: Tensor, h: Tensor) -> Tensor:
        return ops.scaled_dot_score(s, h).scaled_dot


class BilinearScore(Module):
    """score(s, h) = sᵀ W h, which Luong calls the general score.

    Shapes: s (B, D) or (B, S, D), h (B, T, E) -> (B, T) or (B, S, T); weight W (D, E), at first as Xavier has it.
    Source: Luong, Pham and Manning, 2015.

    Args:
        query_size: D; key_size: E.
    Raises:
        ValueError: where s or h is of another width, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> ts.nn.BilinearScore(2, 3)(ts.tensor([[1.0, 2.0]]), ts.tensor([[[1.0, 0.0, 0.0]] * 4])).shape
    (1, 4)
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        self.query_size, self.key_size = query_size, key_size
        self.weight = new_parameter(query_size, key_size)
        init.xavier_uniform(self.weight)

    @property
    def W(self) -> Tensor:
        """W of the equation, (D, E)."""
        return self.weight

    def forward(self, s: Tensor, h: Tensor) -> Tensor:
        return ops.bilinear_score(s, h, self.W).bilinear

    def extra_repr(self) -> str:
        return f"{self.query_size}, {self.key_size}"


class MLPScore(Module):
    """score(s, h) = vᵀ tanh(W_1 s + W_2 h), a network of one layer.

    Shapes: s (B, D) or (B, S, D), h (B, T, E) -> (B, T) or (B, S, T); W_1 (H, D), W_2 (H, E), v (H,), at first uniform
    within ± 1/√D, ± 1/√E, ± 1/√H. Source: Bahdanau, Cho and Bengio, 2015.

    Args:
        query_size: D; key_size: E; hidden_size: H.

    Calling it:
        keys: what `keys(h)` gave, for a decoder that scores the same h at each step.
    Raises:
        ValueError: where s or h is of another width, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> ts.nn.MLPScore(2, 3, 5)(ts.tensor([[1.0, 2.0]]), ts.tensor([[[1.0, 0.0, 0.0]] * 4])).shape
    (1, 4)
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        self.query_size, self.key_size, self.hidden_size = query_size, key_size, hidden_size
        self.W_1 = new_parameter(hidden_size, query_size)
        self.W_2 = new_parameter(hidden_size, key_size)
        self.v = new_parameter(hidden_size)
        for p in self.parameters():
            bound = p.shape[-1] ** -0.5
            init.uniform(p, -bound, bound)

    def keys(self, h: Tensor) -> Tensor:
        """W_2 h, (B, T, H), to be computed once."""
        return h @ self.W_2.T

    def forward(self, s: Tensor, h: Tensor, keys: Tensor | None = None) -> Tensor:
        return ops.mlp_score(s, h, self.W_1, self.W_2, self.v, keys).mlp

    def extra_repr(self) -> str:
        return f"{self.query_size}, {self.key_size}, {self.hidden_size}"


class Attention(Module):
    """Attention of a decoder's state over all states of an encoder.

        e_ij = score(s_{i-1}, h_j)                  how well h_j fits
        α_ij = exp(e_ij) / Σ_k exp(e_ik)            its weight
        c_i = Σ_j α_ij h_j                          the context

    Shapes: s (B, D), h (B, T, E) -> score (B, T), alpha (B, T), context (B, E); or for several s at once, (B, S, D) ->
    (B, S, T), (B, S, T), (B, S, E). Source: Bahdanau, Cho and Bengio, 2015.

    Args:
        score: a module or function of (s, h), such as `MLPScore`.

    Calling it:
        mask: bool, True = may attend, broadcast to the scores: (B, T) for padded sequences, (B, 1, T) with several s.
        keys: what the score has computed from h beforehand, `MLPScore.keys(h)`.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> attention = ts.nn.Attention(ts.nn.DotScore())
    >>> attention(ts.tensor([[0.0, 9.0]]), ts.tensor([[[1.0, 0.0], [0.0, 1.0]]])).alpha.numpy().round(3).tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, score: Any) -> None:
        self.score = score

    def forward(self, s: Tensor, h: Tensor, mask: Any = None, keys: Tensor | None = None) -> Attended:
        return ops.attend(self.score if keys is None else partial(self.score, keys=keys), s, h, mask)


class KVCache:
    """The keys and values of the tokens that a model has seen, so that each new token is computed alone.

    One object for a whole model, which the caller makes and passes to each call; layers keep no state. Every attention
    layer has its own part in it. For generation: use it within `ts.no_grad()`.

    >>> import tinygrad_seq as ts
    >>> attention, x = ts.nn.MultiheadAttention(4, 2), ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3])
    >>> cache = ts.nn.KVCache()
    >>> with ts.no_grad():
    ...     y = attention(x[:, :2], causal=True, cache=cache)
    ...     y = attention(x[:, 2:], causal=True, cache=cache)  # the third position, which sees all three
    >>> len(cache)
    3
    """

    def __init__(self) -> None:
        self._seen: dict[Module, _Buffer] = {}  # by attention layer
        self._memory: dict[Module, tuple[Tensor, Tensor]] = {}  # of an encoder, for each layer that reads it

    def __len__(self) -> int:
        """How many tokens were seen."""
        return max((buffer.length for buffer in self._seen.values()), default=0)

    def extend(self, layer: Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's newest keys and values (B, N, S, d); all of them until now, (B, N, T, d)."""
        buffer, (k, v) = self._seen.setdefault(layer, _Buffer()), _without_graph(k, v)
        return buffer.extend(k.data, v.data)

    def once(self, layer: Module, make: Callable[[], Any]) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of an encoder's states, made at the first call."""
        if layer not in self._memory:
            self._memory[layer] = _without_graph(*make())
        return self._memory[layer]

    def select(self, rows: Any) -> None:
        """Reorder the batch: row b goes on as a copy of row rows[b] until now, as beam search wants it.

        Args:
            rows: integers; there may be more or fewer of them than there were rows.
        """
        rows = value(rows)
        for buffer in self._seen.values():
            buffer.k, buffer.v = buffer.k[rows], buffer.v[rows]
        self._memory = {layer: (k[rows], v[rows]) for layer, (k, v) in self._memory.items()}


def _without_graph(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    if k.requires_grad or v.requires_grad:
        raise RuntimeError("a KVCache is for generation, and keeps no graph: call the model within ts.no_grad()")
    return k, v


class _Buffer:
    """Keys and values of one layer, with room for more: it doubles, so that a token costs its own copy alone."""

    def __init__(self) -> None:
        self.length = 0
        self.k: Any = None  # (B, N, room, d)
        self.v: Any = None

    def extend(self, k: Any, v: Any) -> tuple[Tensor, Tensor]:
        if self.k is not None and len(self.k) != len(k):
            raise ValueError(
                f"KVCache: it has seen {len(self.k)} sequences, and now come {len(k)}: `select` rows first, or begin "
                "with a new cache"
            )
        end = self.length + k.shape[-2]
        self.k, self.v = (self._append(old, new, end) for old, new in ((self.k, k), (self.v, v)))
        self.length = end
        return Tensor(self.k[:, :, :end]), Tensor(self.v[:, :, :end])

    def _append(self, old: Any, new: Any, end: int) -> Any:
        if old is None or end > old.shape[-2]:
            B, N, _, d = new.shape
            wider = backend_of(new).empty((B, N, max(2 * end, 16), d), new.dtype)
            if old is not None:
                wider[:, :, : self.length] = old[:, :, : self.length]
            old = wider
        old[:, :, self.length : end] = new
        return old


class MultiheadAttention(Module):
    """N attentions in parallel, each in a space of its own (Vaswani et al., 2017).

        head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)       Attention(Q, K, V) = softmax(Q Kᵀ / √d) V
        MultiHead = Concat(head_1, …, head_N) W^O

    Shapes: query (B, S, D), key and value (B, T, D) -> (B, S, D); N num_heads, d = D / N.

    Parameters, named and stacked as PyTorch's: in_proj_weight (3D, D), for q, k, v in this order and in each head by
    head, at first as Xavier has it; in_proj_bias (3D,), at first 0; out_proj.weight (D, D), at first uniform within
    ± 1/√D; out_proj.bias (D,), at first 0. The chapter's symbols can be read: `W_q`, `W_k`, `W_v` (N, D, d) and `W_o`
    (N, d, D).

    Args:
        embed_dim: D; num_heads: N, a divisor of D.
        dropout: the probability of a zero among the weights, in training.
        bias: whether the four projections add one.

    Calling it:
        key: the query, if not given; value: the key, if not given.
        mask: bool, True = may attend (PyTorch's mean the opposite), broadcast to (B, N, S, T); (S, T) is one. For
            padded sequences, with a mask of keys (B, T): mask[:, None, None, :]; with one for each sequence,
            (B, S, T): mask[:, None]. Where a query sees nothing, all heads are 0.
        causal: a query sees no key from its future; the last query and the last key are of the same time.
        cache: a `KVCache`: the query is what comes after the tokens in it. Keys that are given are those of an
            encoder, and are projected once.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> attention, x = ts.nn.MultiheadAttention(4, 2), ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3])
    >>> with ts.record() as r:
    ...     y = attention(x, x, x)
    >>> y.shape, r["multiheadattention"].alpha.shape
    ((1, 3, 4), (1, 2, 3, 3))
    """

    def __init__(self, embed_dim: int, num_heads: int, *, dropout: float = 0.0, bias: bool = True) -> None:
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: {embed_dim} features do not fall into {num_heads} equal heads")
        if not 0 <= dropout < 1:
            raise ValueError(f"MultiheadAttention: dropout is a probability, 0 <= dropout < 1, got {dropout}")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.in_proj_weight = new_parameter(3 * embed_dim, embed_dim)
        init.xavier_uniform(self.in_proj_weight)
        self.in_proj_bias = new_parameter(3 * embed_dim) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias)
        for b in (self.in_proj_bias, self.out_proj.bias):
            if b is not None:
                init.constant(b, 0.0)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Any = None,
        *,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        value = None if value is key else value
        key = None if key is query else key
        if cache is not None:
            return self._cached(query, key, value, mask, causal, cache)
        return ops.multi_head_attention(
            query,
            key,
            value,
            self.in_proj_weight,
            self.in_proj_bias,
            self.out_proj.weight,
            self.out_proj.bias,
            self.num_heads,
            mask,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
        )

    def _cached(
        self, query: Tensor, key: Tensor | None, value: Tensor | None, mask: Any, causal: bool, cache: KVCache
    ) -> Tensor:
        D = self.embed_dim
        if value is not None:
            raise ValueError("MultiheadAttention: with a cache, the values are of the same states as the keys")
        if key is None:
            q, k, v = self._project(query, 0, 3)
            k, v = cache.extend(self, k, v)
        else:
            (q,) = self._project(query, 0, 1)
            k, v = cache.once(self, lambda: self._project(key, 1, 3))
        dropout = self.dropout if self.training else 0.0
        y = ops.scaled_dot_product_attention(q, k, v, mask, causal=causal, dropout=dropout)
        return self.out_proj(y.swapaxes(1, 2).reshape(*query.shape[:2], D))

    def _project(self, x: Tensor, first: int, end: int) -> tuple[Tensor, ...]:
        """Queries (0), keys (1), values (2), from `first` to before `end`: each (B, N, T, d)."""
        D = self.embed_dim
        if x.ndim != 3:
            raise ValueError(f"MultiheadAttention: expected queries or keys of shape (B, T, {D}), got {x.shape}")
        W: Tensor = self.in_proj_weight
        b: Tensor | None = self.in_proj_bias
        if end - first < 3:  # a part of it
            W, b = W[first * D : end * D], None if b is None else b[first * D : end * D]
        B, T, _ = x.shape
        y = ops.linear(x, W, b).reshape(B, T, end - first, self.num_heads, -1)
        return ops.unstack(y.transpose(2, 0, 3, 1, 4), 0)

    @property
    def W_q(self) -> Tensor:
        """W_i^Q of all heads, (N, D, d), read-only."""
        return self._heads(0)

    @property
    def W_k(self) -> Tensor:
        """W_i^K of all heads, (N, D, d), read-only."""
        return self._heads(1)

    @property
    def W_v(self) -> Tensor:
        """W_i^V of all heads, (N, D, d), read-only."""
        return self._heads(2)

    @property
    def W_o(self) -> Tensor:
        """W^O, the part for each head, (N, d, D), read-only."""
        return self.out_proj.weight.T.reshape(self.num_heads, -1, self.embed_dim)

    def _heads(self, which: int) -> Tensor:
        D, N = self.embed_dim, self.num_heads
        return self.in_proj_weight[which * D : (which + 1) * D].reshape(N, D // N, D).swapaxes(1, 2)

    def extra_repr(self) -> str:
        more = [f"dropout={self.dropout}"] if self.dropout else []
        more += [] if self.in_proj_bias is not None else ["bias=False"]
        return ", ".join([f"{self.embed_dim}, {self.num_heads}", *more])
