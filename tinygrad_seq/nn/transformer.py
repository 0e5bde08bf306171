"""The Transformer (Vaswani et al., 2017): layers of attention and a small network, encoder, decoder, and both."""

from typing import Any, ClassVar

from .. import ops
from ..core import Tensor
from ..ops.feed_forward import ACTIVATIONS
from . import init
from .attention import KVCache, MultiheadAttention
from .layers import Dropout, LayerNorm, Linear
from .module import Module, is_plain


class _Layer(Module):
    """What layers of encoder and decoder share: their parts, the network, and what it takes to make one more."""

    reads_memory: ClassVar[bool]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        *,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        layer_norm_eps: float = 1e-5,
        bias: bool = True,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"{type(self).__name__}: activation is one of {list(ACTIVATIONS)}, got {activation!r}")
        self.sizes = d_model, nhead, dim_feedforward
        self.options: dict[str, Any] = {
            "dropout": dropout,
            "activation": activation,
            "norm_first": norm_first,
            "layer_norm_eps": layer_norm_eps,
            "bias": bias,
        }
        self.activation, self.norm_first = activation, norm_first
        self.self_attn = MultiheadAttention(d_model, nhead, dropout=dropout, bias=bias)
        if self.reads_memory:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout=dropout, bias=bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias)
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias)
        if self.reads_memory:
            self.norm3 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias)

    def alike(self, n: int) -> list[Any]:
        """n layers like this one, each with weights of its own."""
        if n < 1:
            raise ValueError(f"a Transformer has at least one layer, got num_layers = {n}")
        return [type(self)(*self.sizes, **self.options) for _ in range(n)]

    def feed_forward(self, x: Tensor) -> Tensor:
        """The network, the same for each position: linear2(dropout(activation(linear1(x)))), and dropout.

        One operation, but where a part has hooks or is of another kind: then each is called.
        """
        first, second = self.linear1, self.linear2
        if is_plain(first, Linear) and is_plain(second, Linear) and is_plain(self.dropout, Dropout):
            p = self.dropout.p if self.dropout.training else 0.0
            weights = first.weight, first.bias, second.weight, second.bias
            return self.dropout(ops.feed_forward(x, *weights, self.activation, dropout=p))
        return self.dropout(second(self.dropout(ACTIVATIONS[self.activation](first(x)))))

    def extra_repr(self) -> str:
        return f"{', '.join(map(str, self.sizes))}, {self.activation}" + (", norm_first" if self.norm_first else "")


class TransformerEncoderLayer(_Layer):
    """Self-attention and a network for each position, each added to its input.

        x = norm1(x + self_attn(x))                         norm_first: x = x + self_attn(norm1(x))
        x = norm2(x + linear2(activation(linear1(x))))                  x = x + linear2(activation(linear1(norm2(x))))

    Shapes: x (B, T, D) -> (B, T, D). PyTorch's names of parameters.

    Args:
        d_model: D; nhead: N, a divisor of D; dim_feedforward: the width of the network.
        dropout: the probability of a zero among attention weights, inside the network, and in what is added.
        activation: "relu"; "gelu", exact, as BERT has it; "gelu_tanh", as GPT-2 has it.
        norm_first: normalize the input of each part, not the sum after it.
        layer_norm_eps: ε of the norms; bias: whether projections, linear maps and norms add one.

    Calling it:
        mask: bool, True = may attend, broadcast to (B, N, T, T); causal: no position sees its future.
        cache: a `KVCache`, in generation.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> layer = ts.nn.TransformerEncoderLayer(4, 2, 8)
    >>> layer(ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3]), causal=True).shape
    (1, 3, 4)
    """

    reads_memory = False

    def forward(self, x: Tensor, mask: Any = None, *, causal: bool = False, cache: KVCache | None = None) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.dropout(self.self_attn(x, mask=mask, causal=causal, cache=cache))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + self.feed_forward(x))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention over an encoder's states (the memory), and a network, each added to its input.

        x = norm1(x + self_attn(x))
        x = norm2(x + multihead_attn(x, memory))
        x = norm3(x + linear2(activation(linear1(x))))

    and with norm_first x = x + self_attn(norm1(x)), and so on.

    Shapes: x (B, S, D), memory (B, T, D) -> (B, S, D). PyTorch's names of parameters.

    Args:
        as for `TransformerEncoderLayer`.

    Calling it:
        mask: of the self-attention, bool, True = may attend, broadcast to (B, N, S, S); causal: no position sees its
            future; memory_mask: broadcast to (B, N, S, T), for padded memories (B, 1, 1, T).
        cache: a `KVCache`, in generation; the memory is projected once.
    Raises:
        ValueError: where shapes do not fit, with the equation and the shapes put in.

    >>> import tinygrad_seq as ts
    >>> layer = ts.nn.TransformerDecoderLayer(4, 2, 8)
    >>> x, memory = ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3]), ts.tensor([[[1.0, 0.0, 0.0, 0.0]] * 5])
    >>> layer(x, memory, causal=True).shape
    (1, 3, 4)
    """

    reads_memory = True

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Any = None,
        memory_mask: Any = None,
        *,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.dropout(self.self_attn(x, mask=mask, causal=causal, cache=cache))

        def read(x: Tensor) -> Tensor:
            return self.dropout(self.multihead_attn(x, memory, mask=memory_mask, cache=cache))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            x = x + read(self.norm2(x))
            return x + self.feed_forward(self.norm3(x))
        x = self.norm1(x + attend(x))
        x = self.norm2(x + read(x))
        return self.norm3(x + self.feed_forward(x))


class TransformerEncoder(Module):
    """Encoder layers, one after another.

    Shapes: x (B, T, D) -> (B, T, D).

    Args:
        encoder_layer: a layer that says what all are like; each draws weights of its own (PyTorch's are copies).
        num_layers: how many; norm: a module applied to what comes out, such as LayerNorm(D): wanted after norm_first.

    Calling it:
        mask, causal, cache: as for `TransformerEncoderLayer`.

    >>> import tinygrad_seq as ts
    >>> encoder = ts.nn.TransformerEncoder(ts.nn.TransformerEncoderLayer(4, 2, 8), 3)
    >>> encoder(ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3])).shape
    (1, 3, 4)
    """

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Module | None = None) -> None:
        self.layers = encoder_layer.alike(num_layers)
        self.norm = norm

    def forward(self, x: Tensor, mask: Any = None, *, causal: bool = False, cache: KVCache | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask, causal=causal, cache=cache)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Decoder layers, one after another, all of which read the same memory.

    Shapes: x (B, S, D), memory (B, T, D) -> (B, S, D).

    Args:
        decoder_layer: a layer that says what all are like; each draws weights of its own (PyTorch's are copies).
        num_layers: how many; norm: a module applied to what comes out, such as LayerNorm(D): wanted after norm_first.

    Calling it:
        mask, memory_mask, causal, cache: as for `TransformerDecoderLayer`.

    >>> import tinygrad_seq as ts
    >>> decoder = ts.nn.TransformerDecoder(ts.nn.TransformerDecoderLayer(4, 2, 8), 3)
    >>> x = ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3])
    >>> decoder(x, x, causal=True).shape
    (1, 3, 4)
    """

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None) -> None:
        self.layers = decoder_layer.alike(num_layers)
        self.norm = norm

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Any = None,
        memory_mask: Any = None,
        *,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask, causal=causal, cache=cache)
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder, each with a norm at its end; no embeddings, positions or output layer.

    Shapes: src (B, T, D), tgt (B, S, D) -> (B, S, D). PyTorch's names of parameters; matrices as Xavier has them.

    Args:
        d_model: D; nhead: N, a divisor of D; num_encoder_layers, num_decoder_layers; the others as for
            `TransformerEncoderLayer`.

    Calling it:
        src_mask, tgt_mask, memory_mask: bool, True = may attend, broadcast to (B, N, T, T), (B, N, S, S), (B, N, S, T).
        causal: no target position sees its future.
        To generate, call `encoder` once and `decoder` with a cache.

    >>> import tinygrad_seq as ts
    >>> model = ts.nn.Transformer(4, 2, 1, 1, 8)
    >>> x = ts.tensor([[[1.0, 2.0, 3.0, 4.0]] * 3])
    >>> model(x, x[:, :2], causal=True).shape
    (1, 2, 4)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        *,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        layer_norm_eps: float = 1e-5,
        bias: bool = True,
    ) -> None:
        sizes = d_model, nhead, dim_feedforward
        options: dict[str, Any] = {
            "dropout": dropout,
            "activation": activation,
            "norm_first": norm_first,
            "layer_norm_eps": layer_norm_eps,
            "bias": bias,
        }
        self.encoder = TransformerEncoder(
            TransformerEncoderLayer(*sizes, **options),
            num_encoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, bias=bias),
        )
        self.decoder = TransformerDecoder(
            TransformerDecoderLayer(*sizes, **options),
            num_decoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, bias=bias),
        )
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform(p)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        memory = self.encoder(src, src_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, causal=causal)
