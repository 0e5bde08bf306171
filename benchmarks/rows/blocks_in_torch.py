"""A Transformer's layers in PyTorch, around its fused attention, with our names: what GPT and BERT share."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    def __init__(self, D: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * D, D))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * D))
        self.out_proj = nn.Linear(D, D)

    def forward(self, x: Any, cache: list[Any] | None = None) -> Any:
        """A cache is a list, empty at first, of the keys and values before x."""
        B, T, D = x.shape
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (part.view(B, T, self.heads, D // self.heads).transpose(1, 2) for part in (q, k, v))
        alone = cache is not None and len(cache) > 0  # one more token, which may look at all before it
        if cache is not None:
            if cache:
                k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            cache[:] = [k, v]
        out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal and not alone)
        return self.out_proj(out.transpose(1, 2).reshape(B, T, D))


class Layer(nn.Module):
    def __init__(self, D: int, heads: int, *, gpt: bool, eps: float) -> None:
        """GPT's: causal, the norm first, the tanh form of gelu. BERT's: none of them."""
        super().__init__()
        self.gpt = gpt
        self.self_attn = SelfAttention(D, heads, causal=gpt)
        self.linear1, self.linear2 = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
        self.norm1, self.norm2 = nn.LayerNorm(D, eps=eps), nn.LayerNorm(D, eps=eps)

    def feed_forward(self, x: Any) -> Any:
        return self.linear2(F.gelu(self.linear1(x), approximate="tanh" if self.gpt else "none"))

    def forward(self, x: Any, cache: list[Any] | None = None) -> Any:
        if self.gpt:
            x = x + self.self_attn(self.norm1(x), cache)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + self.feed_forward(x))


class Layers(nn.Module):
    def __init__(self, n: int, D: int, heads: int, *, gpt: bool, eps: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(D, heads, gpt=gpt, eps=eps) for _ in range(n))
        if gpt:
            self.norm = nn.LayerNorm(D, eps=eps)

    def forward(self, x: Any, caches: list[list[Any]] | None = None) -> Any:
        for k, layer in enumerate(self.layers):
            x = layer(x, None if caches is None else caches[k])
        return self.norm(x) if hasattr(self, "norm") else x


class GPT(nn.Module):
    def __init__(self, V: int, T: int, n: int, heads: int, D: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = Layers(n, D, heads, gpt=True, eps=1e-5)

    def forward(self, ids: Any, caches: list[list[Any]] | None = None, start: int = 0) -> Any:
        positions = torch.arange(start, start + ids.shape[1])
        x = self.blocks(self.tokens(ids) + self.positions(positions), caches)
        return F.linear(x if caches is None else x[:, -1:], self.tokens.weight)
