"""GPT: a Transformer that reads from left to right, and so can write: GPT-2's architecture, with nanoGPT's names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_seq as ts

from .generation import Autoregressive
from .pretrained import Format, Source, load, read_config


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT; without arguments those of GPT-2 small, 124,439,808 parameters.

    Args:
        vocab_size: V, the number of tokens.
        block_size: the longest text that it reads, in tokens.
        n_layer: blocks, one above the other; n_head: heads of attention in each; n_embd: D, the width.
        dropout: the probability of a zero, in training: of embeddings, of attention weights, in each
            block's network, and of what it adds.
        bias: whether the linear layers and layer norms have one.
        tied: whether the output layer is the table of token embeddings.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.1
    bias: bool = True
    tied: bool = True


class GPT(Autoregressive):
    r"""The next token, given all before it, by attention that looks back alone (Radford et al., 2019).

        x = E[ids] + P                       E: tokens, P: learned positions
        x = x + MultiHead(LN(x))             in each block, causal; the norm comes first
        x = x + W_2 gelu(W_1 LN(x))
        logits = LN(x) Eᵀ                    the same table again: weight tying

    Shapes: ids (B, T), integers -> logits (B, T, V). T, with what a cache has seen, is at most `block_size`; `generate`
    refuses more too, since learned positions end there.

    Initial weights are GPT-2's: normal with deviation 0.02, what a block adds to x scaled by 1/√(2·n_layer) so that the
    sum of all blocks keeps its size; biases 0, norms 1.

    Args:
        config: the sizes; GPT-2 small without it.
    Raises:
        ValueError: where the text is longer than `block_size`.

    >>> model = GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=8))
    >>> model(ts.tensor([[1, 2, 3]])).shape
    (1, 3, 10)
    >>> len(model.generate([1, 2, 3], 5))
    5
    """

    def __init__(self, config: GPTConfig | None = None) -> None:
        self.config = config = config or GPTConfig()
        D = config.n_embd
        self.tokens = ts.nn.Embedding(config.vocab_size, D)
        self.positions = ts.nn.LearnedPositions(config.block_size, D)
        self.dropout = ts.nn.Dropout(config.dropout)
        block = ts.nn.TransformerEncoderLayer(
            D,
            config.n_head,
            4 * D,
            dropout=config.dropout,
            activation="gelu_tanh",
            norm_first=True,
            bias=config.bias,
        )
        self.blocks = ts.nn.TransformerEncoder(block, config.n_layer, ts.nn.LayerNorm(D, bias=config.bias))
        self.output = None if config.tied else ts.nn.Linear(D, config.vocab_size, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                adds = name.endswith(("self_attn.out_proj.weight", "linear2.weight"))
                ts.nn.init.normal(p, 0.02 / (2 * config.n_layer) ** 0.5 if adds else 0.02)
            elif name.endswith("bias"):
                ts.nn.init.constant(p, 0.0)

    def forward(self, ids: Any, cache: ts.nn.KVCache | None = None) -> ts.Tensor:
        return self._logits(self._hidden(ids, cache))

    def _hidden(self, ids: Any, cache: ts.nn.KVCache | None = None) -> ts.Tensor:
        """x after the last block and its norm: (B, T, D)."""
        seen, T = 0 if cache is None else len(cache), np.shape(ids)[-1]
        if seen + T > self.config.block_size:
            raise ValueError(
                f"GPT: expected at most block_size = {self.config.block_size} tokens, got {seen + T}: cut the text, "
                "ask for fewer tokens, or train with a larger block_size"
            )
        x = self.dropout(self.positions(self.tokens(ids), start=seen))
        return self.blocks(x, causal=True, cache=cache)

    def _logits(self, x: ts.Tensor) -> ts.Tensor:
        return ts.ops.linear(x, self.tokens.weight) if self.output is None else self.output(x)

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, ts.nn.KVCache]:
        """The logits of what follows the tokens: what `generate` is made of. The state is the cache."""
        cache = ts.nn.KVCache() if state is None else state
        return self._logits(self._hidden(tokens, cache)[:, -1]), cache

    def select(self, state: ts.nn.KVCache, rows: np.ndarray) -> ts.nn.KVCache:
        state.select(rows)
        return state

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> GPT:
        """The GPT-2 in a folder with `config.json` and `model.safetensors` as Hugging Face writes them.

        Its three rates of dropout are one here: that of what a block adds. As every new module, it is in training
        mode: call `eval()` to use it as it is.

        Raises:
            FileNotFoundError: where one of the files is missing.
            ValueError: where a file is damaged, of another model, or its weights are not those of its config: the
                message lists each that is missing, unexpected or of another shape.
        """
        sizes = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
        found = read_config(folder, "gpt2", sizes, "resid_pdrop", _FIXED)
        config = GPTConfig(
            vocab_size=found["vocab_size"],
            block_size=found["n_positions"],
            n_layer=found["n_layer"],
            n_head=found["n_head"],
            n_embd=found["n_embd"],
            dropout=found.get("resid_pdrop", 0.1),
            tied=found.get("tie_word_embeddings", True),
        )
        model = cls(config)
        load(model, folder, _format(config))
        return model


_FIXED = {  # settings of Hugging Face's GPT-2 that this one has no other value for
    "activation_function": "gelu_new",
    "add_cross_attention": False,
    "layer_norm_epsilon": 1e-5,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
}


def _format(config: GPTConfig) -> Format:
    """Hugging Face's names. Its `Conv1D` (all that begins with c_) is a linear layer whose weight is stored (D, H)."""
    parts = {
        "norm1.": "ln_1.",
        "self_attn.in_proj_": "attn.c_attn.",
        "self_attn.out_proj.": "attn.c_proj.",
        "norm2.": "ln_2.",
        "linear1.": "mlp.c_fc.",
        "linear2.": "mlp.c_proj.",
    }
    sources = {"tokens.weight": Source(("wte.weight",)), "positions.weight": Source(("wpe.weight",))}
    for kind in ("weight", "bias"):
        for k in range(config.n_layer):
            for ours, theirs in parts.items():
                transposed = kind == "weight" and ".c_" in theirs
                sources[f"blocks.layers.{k}.{ours}{kind}"] = Source((f"h.{k}.{theirs}{kind}",), transposed)
        sources[f"blocks.norm.{kind}"] = Source((f"ln_f.{kind}",))
    copies = {"lm_head.weight": "wte.weight"}
    if not config.tied:
        sources["output.weight"], copies = Source(("lm_head.weight",)), {}
    return Format("transformer.", sources, copies, ignored=r"h\.\d+\.attn\.(bias|masked_bias)")  # causal masks
