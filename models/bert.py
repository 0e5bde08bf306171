"""BERT: a Transformer that reads in both directions, the encoder that pretrained sentence vectors come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, NoReturn

import numpy as np

import tinygrad_seq as ts

from .generation import refuse
from .pretrained import Format, Source, load, read_config
from .recurrent import within


@dataclass(frozen=True)
class BERTConfig:
    """The sizes of a BERT; without arguments those of BERT-base, 109,482,240 parameters.

    Args:
        vocab_size: V, the number of tokens; type_vocab_size: kinds of segment, the first text of a pair and the second.
        max_position_embeddings: the longest text that it reads, in tokens.
        hidden_size: D, the width; num_hidden_layers: layers, one above the other.
        num_attention_heads: heads of attention in each; intermediate_size: the width of the network in each.
        dropout: the probability of a zero, in training: of embeddings, of attention weights, in each
            layer's network, and of what it adds.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    dropout: float = 0.1


EPS = 1e-12  # of all layer norms


class BERTOutput(NamedTuple):
    """What BERT says of a text."""

    hidden: ts.Tensor  # (B, T, D): each token, having seen all others
    pooled: ts.Tensor  # (B, D): the whole, from its first token


class BERT(ts.nn.Module):
    r"""A vector for each token that has seen the whole text, and one for the text (Devlin et al., 2019).

        x = LN(E[ids] + P + S[types])        E: tokens, P: learned positions, S: segments
        x = LN(x + MultiHead(x))             in each layer: attention in both directions, the norm after the sum
        x = LN(x + W_2 gelu(W_1 x))
        pooled = tanh(W x_[CLS] + b)         of the first token

    Shapes: ids (B, T), types (B, T), integers -> hidden (B, T, D), pooled (B, D).

    Initial weights are normal with deviation 0.02, biases 0, norms 1.

    Args:
        config: the sizes; BERT-base without it.

    Calling it:
        types: the segment of each token; all 0, if not given.
        lengths: (B,), the tokens of each text: what stands beyond is padding, which no token attends to. What comes
            out there has no meaning.
    Raises:
        ValueError: where a text is longer than the positions.

    >>> model = BERT(BERTConfig(10, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16))
    >>> hidden, pooled = model(ts.tensor([[1, 2, 3], [4, 5, 0]]), lengths=[3, 2])
    >>> hidden.shape, pooled.shape
    ((2, 3, 8), (2, 8))
    """

    def __init__(self, config: BERTConfig | None = None) -> None:
        self.config = config = config or BERTConfig()
        D = config.hidden_size
        self.tokens = ts.nn.Embedding(config.vocab_size, D)
        self.positions = ts.nn.LearnedPositions(config.max_position_embeddings, D)
        self.segments = ts.nn.Embedding(config.type_vocab_size, D)
        self.norm = ts.nn.LayerNorm(D, eps=EPS)
        self.dropout = ts.nn.Dropout(config.dropout)
        layer = ts.nn.TransformerEncoderLayer(
            D,
            config.num_attention_heads,
            config.intermediate_size,
            dropout=config.dropout,
            activation="gelu",
            layer_norm_eps=EPS,
        )
        self.encoder = ts.nn.TransformerEncoder(layer, config.num_hidden_layers)
        self.pooler = ts.nn.Linear(D, D)
        _initialize(self)

    def forward(self, ids: Any, types: Any = None, *, lengths: Any = None) -> BERTOutput:
        e = self.tokens(ids)
        # As a NumPy array, zeros would have to be moved to a device: row 0 of the table is where it should be.
        segments = self.segments.weight[0] if types is None else self.segments(types)
        x = self.dropout(self.norm(self.positions(e + segments)))
        mask = None if lengths is None else within(lengths, x)[:, None, None, :]
        hidden = self.encoder(x, mask)
        return BERTOutput(hidden, ts.ops.tanh(self.pooler(hidden[:, 0])))

    def generate(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: a TypeError with the reason."""
        refuse(self)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> BERT:
        """The BERT in a folder with `config.json` and `model.safetensors` as Hugging Face writes them.

        The file may hold heads too: `BERTForPreTraining.from_pretrained` reads them. Its two rates of dropout are one
        here: that of what a layer adds. As every new module, it is in training mode: call `eval()` to use it as it is.

        Raises:
            FileNotFoundError: where one of the files is missing.
            ValueError: where a file is damaged, of another model, or its weights are not those of its config: the
                message lists each that is missing, unexpected or of another shape.
        """
        model = cls(_read_config(folder))
        load(model, folder, Format("bert.", _sources(model.config), {}, rf"{_BUFFERS}|cls\..*"))
        return model


class MaskedLMHead(ts.nn.Module):
    """What stands at a hidden place? The probability of each token there.

        logits = LN(gelu(W h + b)) Eᵀ + c         E: BERT's own table of tokens

    Shapes: hidden (..., D) -> logits (..., V).

    Args:
        bert: the model whose table of tokens is the output layer.

    >>> bert = BERT(BERTConfig(10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16))
    >>> MaskedLMHead(bert)(bert(ts.tensor([[1, 2, 3]])).hidden).shape
    (1, 3, 10)
    """

    def __init__(self, bert: BERT) -> None:
        D, V = bert.config.hidden_size, bert.config.vocab_size
        self.dense = ts.nn.Linear(D, D)
        self.norm = ts.nn.LayerNorm(D, eps=EPS)
        self.weight = bert.tokens.weight
        self.bias = ts.nn.Parameter(np.zeros(V, np.float32))
        _initialize(self.dense)

    def forward(self, hidden: ts.Tensor) -> ts.Tensor:
        x = self.norm(ts.ops.gelu(self.dense(hidden)))
        return ts.ops.linear(x, self.weight, self.bias)


class NextSentenceHead(ts.nn.Module):
    """Does the second text of a pair follow the first? Class 0 says yes, class 1 no.

    Shapes: pooled (B, D) -> logits (B, 2).

    >>> bert = BERT(BERTConfig(10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16))
    >>> NextSentenceHead(bert)(bert(ts.tensor([[1, 2, 3]])).pooled).shape
    (1, 2)
    """

    def __init__(self, bert: BERT) -> None:
        self.dense = ts.nn.Linear(bert.config.hidden_size, 2)
        _initialize(self.dense)

    def forward(self, pooled: ts.Tensor) -> ts.Tensor:
        return self.dense(pooled)


class BERTForPreTraining(ts.nn.Module):
    """BERT with both heads that it is trained with: hidden tokens are guessed, and whether a sentence follows.

    Shapes: as `BERT` -> logits of tokens (B, T, V), logits of what follows (B, 2).

    >>> sizes = BERTConfig(10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> tokens, follows = BERTForPreTraining(sizes)(ts.tensor([[1, 2, 3]]))
    >>> tokens.shape, follows.shape
    ((1, 3, 10), (1, 2))
    """

    def __init__(self, config: BERTConfig | None = None) -> None:
        self.bert = BERT(config)
        self.masked_lm = MaskedLMHead(self.bert)
        self.next_sentence = NextSentenceHead(self.bert)

    @property
    def config(self) -> BERTConfig:
        return self.bert.config

    def forward(self, ids: Any, types: Any = None, *, lengths: Any = None) -> tuple[ts.Tensor, ts.Tensor]:
        out = self.bert(ids, types, lengths=lengths)
        return self.masked_lm(out.hidden), self.next_sentence(out.pooled)

    def generate(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: a TypeError with the reason."""
        refuse(self)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> BERTForPreTraining:
        """As `BERT.from_pretrained`, with the weights of both heads."""
        model = cls(_read_config(folder))
        sources = {f"bert.{path}": source for path, source in _sources(model.config).items()}
        sources["masked_lm.bias"] = Source(("cls.predictions.bias",))
        parts = {"dense": "transform.dense", "norm": "transform.LayerNorm"}
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                sources[f"masked_lm.{ours}.{kind}"] = Source((f"cls.predictions.{theirs}.{kind}",))
        for kind in ("weight", "bias"):
            sources[f"next_sentence.dense.{kind}"] = Source((f"cls.seq_relationship.{kind}",))
        copies = {
            "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        }
        load(model, folder, Format("bert.", sources, copies, _BUFFERS))
        return model


def _initialize(part: ts.nn.Module) -> None:
    """BERT's initial weights: normal with deviation 0.02, biases 0; norms are left at 1 and 0."""
    for name, p in part.named_parameters():
        if p.ndim == 2:
            ts.nn.init.normal(p, 0.02)
        elif name.endswith("bias"):
            ts.nn.init.constant(p, 0.0)


# -- Hugging Face's names

_BUFFERS = r"embeddings\.position_ids"  # 0, 1, 2 …
_FIXED = {  # settings that this BERT has no other value for
    "add_cross_attention": False,
    "hidden_act": "gelu",
    "is_decoder": False,
    "layer_norm_eps": EPS,
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
}


def _read_config(folder: str | os.PathLike[str]) -> BERTConfig:
    sizes = [field.name for field in fields(BERTConfig) if field.name != "dropout"]  # the same names there
    found = read_config(folder, "bert", sizes, "hidden_dropout_prob", _FIXED)
    return BERTConfig(**{name: found[name] for name in sizes}, dropout=found.get("hidden_dropout_prob", 0.1))


def _sources(config: BERTConfig) -> dict[str, Source]:
    pairs = {
        "tokens.weight": "embeddings.word_embeddings.weight",
        "positions.weight": "embeddings.position_embeddings.weight",
        "segments.weight": "embeddings.token_type_embeddings.weight",
    }
    parts = {"norm": "embeddings.LayerNorm", "pooler": "pooler.dense"}
    sources = {}
    for k in range(config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{k}", f"encoder.layer.{k}"
        parts[f"{ours}.self_attn.out_proj"] = f"{theirs}.attention.output.dense"
        parts[f"{ours}.norm1"] = f"{theirs}.attention.output.LayerNorm"
        parts[f"{ours}.linear1"] = f"{theirs}.intermediate.dense"
        parts[f"{ours}.linear2"] = f"{theirs}.output.dense"
        parts[f"{ours}.norm2"] = f"{theirs}.output.LayerNorm"
        for kind in ("weight", "bias"):
            three = tuple(f"{theirs}.attention.self.{which}.{kind}" for which in ("query", "key", "value"))
            sources[f"{ours}.self_attn.in_proj_{kind}"] = Source(three)
    for ours, theirs in parts.items():
        pairs |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return sources | {ours: Source((theirs,)) for ours, theirs in pairs.items()}
