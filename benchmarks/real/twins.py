"""Our models in PyTorch: of one architecture, with our names for the parameters, so that weights go both ways.

A twin takes the batches of our tasks and has `loss`; it never predicts: its weights are loaded into our model, and one
piece of code judges both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tinygrad_seq as ts

from ..steps import copy_weights


def twin(model: ts.nn.Module) -> Any:
    """The twin of one of our models, with its weights."""
    kind = TWINS.get(type(model).__name__)
    if kind is None:
        raise TypeError(f"no twin of a {type(model).__name__}; there are those of {', '.join(TWINS)}")
    found = kind(model.config)  # type: ignore[attr-defined]
    copy_weights(found, {name: p.numpy() for name, p in model.named_parameters()})
    return found


def weights(found: Any) -> dict[str, np.ndarray]:
    """The weights of a twin, for `load_state_dict` of ours."""
    return {name: p.detach().numpy().copy() for name, p in found.named_parameters()}


def on_torch(x: Any) -> Any:
    """An array or a tensor of ours as one of PyTorch's."""
    if isinstance(x, torch.Tensor):
        return x
    return torch.from_numpy(np.ascontiguousarray(x.numpy() if isinstance(x, ts.Tensor) else x))


def mean_loss(logits: Any, targets: Any, ignore: int = -100) -> Any:
    """The mean cross entropy over all targets but those to ignore."""
    targets = on_torch(targets).long().reshape(-1)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets, ignore_index=ignore)


def recurrent(cell: str, *sizes: int, **options: Any) -> Any:
    return {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](*sizes, batch_first=True, **options)


def over_lengths(layer: Any, x: Any, lengths: Any) -> tuple[Any, Any]:
    """A recurrent layer over padded sequences: its outputs, 0 beyond the end, and its last states."""
    packed = pack_padded_sequence(x, on_torch(lengths), batch_first=True, enforce_sorted=False)
    out, state = layer(packed)
    return pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0], state


def within(lengths: Any, T: int) -> Any:
    return torch.arange(T) < on_torch(lengths)[:, None]


def without_words(ids: Any, model: Any) -> Any:
    """In training some words are read as unknown."""
    p = model.config.word_dropout if model.training else 0.0
    return ids.masked_fill(torch.rand(ids.shape) < p, model.config.unknown) if p else ids


class LanguageModel(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        H, self.cell = config.hidden_size, config.cell
        self.embedding = nn.Embedding(config.vocab_size, H)
        self.dropout = nn.Dropout(config.dropout)
        setattr(self, config.cell, recurrent(config.cell, H, H, config.num_layers, dropout=config.dropout))
        self.output = nn.Linear(H, config.vocab_size)
        self.output.weight = self.embedding.weight

    def loss(self, batch: Any, task: Any) -> Any:
        """The state is carried where our task carries its own, which it drops where the text begins anew."""
        h, state = getattr(self, self.cell)(self.dropout(self.embedding(on_torch(batch[0]))), task.state)
        task.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return mean_loss(self.output(self.dropout(h)), batch[1])


class SelfAttention(nn.Module):
    """Causal self-attention by PyTorch's fused kernel."""

    def __init__(self, D: int, heads: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * D, D))
        self.register_parameter("in_proj_bias", nn.Parameter(torch.empty(3 * D)) if bias else None)
        self.out_proj = nn.Linear(D, D, bias=bias)

    def forward(self, x: Any) -> Any:
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.rate if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, D: int, heads: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.self_attn = SelfAttention(D, heads, dropout, bias)
        self.linear1, self.linear2 = nn.Linear(D, 4 * D, bias=bias), nn.Linear(4 * D, D, bias=bias)
        self.norm1, self.norm2 = nn.LayerNorm(D, bias=bias), nn.LayerNorm(D, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        x = x + self.dropout(self.self_attn(self.norm1(x)))
        return x + self.dropout(self.linear2(F.gelu(self.linear1(self.norm2(x)), approximate="tanh")))


class Blocks(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        D = config.n_embd
        self.layers = nn.ModuleList(Block(D, config.n_head, config.dropout, config.bias) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(D, bias=config.bias)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class GPT(nn.Module):
    """nanoGPT's model: learned positions, the norm first, the table of embeddings as the output layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = Blocks(config)
        if not config.tied:
            self.output = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def loss(self, batch: Any, _: Any) -> Any:
        ids = on_torch(batch[0]).long()
        x = self.blocks(self.dropout(self.tokens(ids) + self.positions.weight[: ids.shape[1]]))
        table = self.output.weight if hasattr(self, "output") else self.tokens.weight
        return mean_loss(F.linear(x, table), batch[1])


def begin_as_nanogpt(model: GPT) -> None:
    """nanoGPT's initial weights: normal with deviation 0.02, smaller where a block adds to the sum of all blocks."""
    for name, p in model.named_parameters():
        if p.ndim == 2:
            adds = name.endswith(("out_proj.weight", "linear2.weight"))
            nn.init.normal_(p, 0.0, 0.02 / (2 * len(model.blocks.layers)) ** 0.5 if adds else 0.02)
        else:
            nn.init.constant_(p, float(name.endswith("weight")))


def random_blocks(text: np.ndarray, B: int, T: int) -> Iterator[Any]:
    """Blocks from anywhere in a text, (N,) ids, as nanoGPT draws them."""
    ids = torch.from_numpy(text.astype(np.int64))
    while True:
        starts = torch.randint(len(ids) - T, (B,))
        yield torch.stack([ids[k : k + T] for k in starts]), torch.stack([ids[k + 1 : k + T + 1] for k in starts])


class Classifier(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = recurrent(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        width = config.hidden_size * (2 if config.bidirectional else 1)
        if config.pooling == "attention":
            self.s = nn.Parameter(torch.empty(width))
        self.output = nn.Linear(width, config.num_classes)

    def loss(self, batch: Any, _: Any) -> Any:
        tokens, classes, lengths = batch
        ids = without_words(on_torch(tokens), self)
        h, state = over_lengths(self.encoder, self.dropout(self.embedding(ids)), lengths)
        return mean_loss(self.output(self.dropout(self.pool(h, state, lengths))), classes)

    def pool(self, h: Any, state: Any, lengths: Any) -> Any:
        inside = within(lengths, h.shape[1])
        match self.config.pooling:
            case "last":
                h_n = state[0] if isinstance(state, tuple) else state
                return torch.cat([h_n[-2], h_n[-1]], -1) if self.config.bidirectional else h_n[-1]
            case "mean":
                return h.sum(1) / inside.sum(1, keepdim=True)
            case "max":
                return h.masked_fill(~inside[..., None], -torch.inf).amax(1)
            case _:
                alpha = torch.softmax((h @ self.s).masked_fill(~inside, -torch.inf), -1)
                return (alpha[:, None] @ h)[:, 0]


class Spelling(nn.Module):
    """What is known of words by their characters: the last states in both directions."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size = config.character_size
        self.embedding = nn.Embedding(config.num_characters, size)
        self.encoder = recurrent(config.cell, size, size, bidirectional=True)

    def forward(self, characters: Any) -> Any:
        _, state = over_lengths(self.encoder, self.embedding(on_torch(characters)), (characters != 0).sum(-1))
        g = state[0] if isinstance(state, tuple) else state
        return torch.cat([g[0], g[1]], -1)


class CRF(nn.Module):
    def __init__(self, K: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.empty(K, K))
        self.start_transitions, self.end_transitions = nn.Parameter(torch.empty(K)), nn.Parameter(torch.empty(K))

    def loss(self, e: Any, tags: Any, inside: Any) -> Any:
        """-log P(tags) of all sentences by the number of their tokens: the recursion over time, a step at once."""
        A, tags, rows = self.transitions, tags.clamp(min=0), torch.arange(len(e))
        score = self.start_transitions[tags[:, 0]] + e[rows, 0, tags[:, 0]]
        alpha = self.start_transitions + e[:, 0]
        for t in range(1, e.shape[1]):
            runs = inside[:, t]
            score = score + runs * (A[tags[:, t - 1], tags[:, t]] + e[rows, t, tags[:, t]])
            alpha = torch.where(runs[:, None], e[:, t] + torch.logsumexp(alpha[:, :, None] + A, 1), alpha)
        last = tags.gather(1, inside.sum(1, keepdim=True) - 1)[:, 0]
        log_Z = torch.logsumexp(alpha + self.end_transitions, -1)
        return (log_Z - score - self.end_transitions[last]).sum() / inside.sum()


class Tagger(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.spelling = Spelling(config) if config.num_characters else None
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = recurrent(
            config.cell,
            config.embedding_size + (2 * config.character_size if config.num_characters else 0),
            config.hidden_size,
            config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.output = nn.Linear(config.hidden_size * (2 if config.bidirectional else 1), config.num_tags)
        self.crf = CRF(config.num_tags) if config.crf else None

    def embed(self, tokens: Any) -> Any:
        ids = without_words(on_torch(tokens if self.spelling is None else tokens.ids), self)
        e = self.embedding(ids)
        if self.spelling is None:
            return e
        return torch.cat([e, self.spelling(tokens.characters)[on_torch(tokens.spelling)]], -1)

    def loss(self, batch: Any, _: Any) -> Any:
        tokens, tags, lengths = batch
        h, _ = over_lengths(self.encoder, self.dropout(self.embed(tokens)), lengths)
        scores = self.output(self.dropout(h))
        if self.training and self.config.miss_cost:
            right, outside = on_torch(tags), self.config.outside
            missed = (right != outside) & (right != -1)
            scores = scores + self.config.miss_cost * missed[:, :, None] * F.one_hot(
                torch.tensor(outside), scores.shape[2]
            )
        if self.crf is not None:
            return self.crf.loss(scores, on_torch(tags), within(lengths, scores.shape[1]))
        return mean_loss(scores, tags, -1)


class MLPScore(nn.Module):
    def __init__(self, H: int) -> None:
        super().__init__()
        self.W_1, self.W_2 = nn.Parameter(torch.empty(H, H)), nn.Parameter(torch.empty(H, H))
        self.v = nn.Parameter(torch.empty(H))


class Attention(nn.Module):
    def __init__(self, H: int) -> None:
        super().__init__()
        self.score = MLPScore(H)


class AttentionDecoder(nn.Module):
    """Bahdanau's order with the MLP score and a GRU."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        if (config.score, config.order, config.cell) != ("mlp", "bahdanau", "gru"):
            raise TypeError(f"a twin of this AttentionDecoder is not written: {config}")
        D, H, self.pad = config.embedding_size, config.hidden_size, config.pad
        self.source_embedding = nn.Embedding(config.source_vocab_size, D)
        self.encoder = recurrent("gru", D, H // 2, bidirectional=True)
        self.bridge = nn.Linear(H, H)
        self.target_embedding = nn.Embedding(config.target_vocab_size, D)
        self.attention = Attention(H)
        self.cell = nn.GRUCell(D + H, H)
        self.output = nn.Linear(H, config.target_vocab_size)

    def loss(self, batch: Any, _: Any) -> Any:
        source, target, lengths = batch
        h, ends = over_lengths(self.encoder, self.source_embedding(on_torch(source)), lengths)
        outside, score = ~within(lengths, h.shape[1]), self.attention.score
        keys = h @ score.W_2.T
        state = torch.tanh(self.bridge(torch.cat([ends[0], ends[1]], -1)))
        states = []
        for y in self.target_embedding(on_torch(target)[:, :-1]).unbind(1):
            e = torch.tanh((state @ score.W_1.T)[:, None] + keys) @ score.v
            alpha = torch.softmax(e.masked_fill(outside, -torch.inf), -1)
            state = self.cell(torch.cat([y, (alpha[:, None] @ h)[:, 0]], -1), state)
            states.append(state)
        return mean_loss(self.output(torch.stack(states, 1)), target[:, 1:], self.pad)


class EncoderDecoder(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.pad, sizes = config.pad, (config.embedding_size, config.hidden_size, config.num_layers)
        self.source_embedding = nn.Embedding(config.source_vocab_size, config.embedding_size)
        self.encoder = recurrent(config.cell, *sizes)
        self.target_embedding = nn.Embedding(config.target_vocab_size, config.embedding_size)
        self.decoder = recurrent(config.cell, *sizes)
        self.output = nn.Linear(config.hidden_size, config.target_vocab_size)

    def loss(self, batch: Any, _: Any) -> Any:
        source, target, lengths = batch
        _, h_S = over_lengths(self.encoder, self.source_embedding(on_torch(source)), lengths)
        s, _ = self.decoder(self.target_embedding(on_torch(target)[:, :-1]), h_S)
        return mean_loss(self.output(s), target[:, 1:], self.pad)


class Transformer(nn.Module):
    """PyTorch's own, between embeddings, positions and an output layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        D, self.pad = config.d_model, config.pad
        self.source_embedding = nn.Embedding(config.source_vocab_size, D)
        self.target_embedding = nn.Embedding(config.target_vocab_size, D)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.Transformer(
            D,
            config.nhead,
            config.num_layers,
            config.num_layers,
            config.dim_feedforward,
            dropout=config.dropout,
            batch_first=True,
        )
        self.output = nn.Linear(D, config.target_vocab_size)

    def embed(self, embedding: Any, tokens: Any) -> Any:
        D, T = embedding.weight.shape[1], tokens.shape[1]
        angle = torch.arange(T)[:, None] / 10000.0 ** (torch.arange(0, D, 2) / D)
        waves = torch.stack([angle.sin(), angle.cos()], -1).reshape(T, D)
        return self.dropout(D**0.5 * embedding(tokens) + waves)

    def loss(self, batch: Any, _: Any) -> Any:
        source, target, lengths = batch
        padding = ~within(lengths, source.shape[1])
        y = on_torch(target)[:, :-1]
        s = self.layers(
            self.embed(self.source_embedding, on_torch(source)),
            self.embed(self.target_embedding, y),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(y.shape[1]),
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return mean_loss(self.output(s), target[:, 1:], self.pad)


TWINS = {
    "AttentionDecoder": AttentionDecoder,
    "Classifier": Classifier,
    "EncoderDecoder": EncoderDecoder,
    "GPT": GPT,
    "LanguageModel": LanguageModel,
    "Tagger": Tagger,
    "Transformer": Transformer,
}
