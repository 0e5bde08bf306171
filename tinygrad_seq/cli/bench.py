"""`tinygrad-seq bench`: how long a training step of a model takes, and, with --profile, where its time goes."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import models, nn, ops, optim
from ..backend.memory import keep_freed_memory
from ..core import Tensor
from ..core.random import seed
from ..train import Profile, profile
from ..viz.names import plain
from .graph import NOT_DRAWN, _function

WARM_UP = 3  # steps that nobody counts: compiled kernels are made, memory is got
LEARNING_RATE, CLIP = 1e-4, 1.0
CHARACTERS, WORDS, TAGS = 96, 10_000, 17  # in the vocabularies

Loss = Callable[[], Tensor]


class Case(NamedTuple):
    """A model at a size that people train: (hidden, batch, time) and a function of the three."""

    hidden: int
    batch: int
    time: int
    make: Callable[[int, int, int, np.random.Generator], tuple[nn.Module, Loss]]


class Measured(NamedTuple):
    """What was measured; seconds are those of each step."""

    name: str
    sizes: dict[str, int]
    seconds: list[float]
    profile: Profile | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def text(self) -> str:
        """For a terminal."""
        size = ", ".join(f"{name} {n}" for name, n in self.sizes.items())
        least, most = min(self.seconds), max(self.seconds)
        lines = [
            f"{self.name}{f', {size}' if size else ''}: a step takes {self.median * 1e3:.2f} ms, the median of "
            f"{len(self.seconds)}, from {least * 1e3:.2f} to {most * 1e3:.2f}"
        ]
        if self.sizes:
            lines.append(f"{self.per_second:,.0f} symbols a second")
        if self.profile is not None:
            n = len(self.seconds)
            lines += ["", f"with every operation timed, {self.profile.table(n)}"]
        return "\n".join(lines)

    @property
    def per_second(self) -> float:
        return self.sizes["batch"] * self.sizes["time"] / self.median

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"name": self.name, **self.sizes, "steps": len(self.seconds)}
        found["seconds"] = {"median": self.median, "least": min(self.seconds), "most": max(self.seconds)}
        found |= {"symbols_per_second": self.per_second} if self.sizes else {}
        return found | ({} if self.profile is None else {"profile": self.profile.as_dict()})


def bench(name: str, sizes: dict[str, int | None], *, steps: int, profiled: bool) -> Measured:
    """Time a step of a model by its name, or of what a function returns, by `module:function`.

    A step of a model is forward, loss, backward, clipping to norm 1 and Adam, on random symbols; one of a function,
    which returns a loss, is the function and backward.

    Args:
        name: one of CASES, in any spelling (`language-model`), or `module:function`.
        sizes: hidden, batch and time; None: the model's own.
        steps: how many are timed.
        profiled: whether as many again are timed operation by operation.
    Raises:
        ValueError: for a name that is not known, or sizes with a function.
        TypeError: where a function returns no loss.
    """
    if ":" in name:
        given = [size for size, n in sizes.items() if n is not None]
        if given:
            raise ValueError(f"{name}: --{given[0]} is for models of ours: a function has sizes of its own")
        step, chosen = _step_of(name), {}
    else:
        known = {plain(model): model for model in CASES}
        if plain(name) not in known:
            elsewhere = {plain(model): model for model in NOT_DRAWN}.get(plain(name))
            why = f"{elsewhere} is no model that is trained by itself" if elsewhere else f"no model is called {name!r}"
            raise ValueError(
                f"{why}; there are {', '.join(CASES)}; a loss of your own is given as module:function, a function that "
                "returns it"
            )
        name = known[plain(name)]
        case = CASES[name]
        chosen = {size: getattr(case, size) if n is None else n for size, n in sizes.items()}
        step = _training(case, chosen)
    keep_freed_memory()  # as the Trainer does
    for _ in range(WARM_UP):
        step()
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    found = None
    if profiled:
        with profile() as found:
            for _ in range(steps):
                step()
    return Measured(name, chosen, seconds, found)


def _training(case: Case, sizes: dict[str, int]) -> Callable[[], None]:
    seed(0)
    model, loss_of = case.make(sizes["hidden"], sizes["batch"], sizes["time"], np.random.default_rng(0))
    parameters = model.parameters()
    optimizer = optim.Adam(parameters, LEARNING_RATE)

    def step() -> None:
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(parameters, CLIP)
        optimizer.step()

    return step


def _step_of(name: str) -> Callable[[], None]:
    function = _function(name)

    def step() -> None:
        loss = function()
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"{name}: expected a function that returns a loss, a tensor of one element, got {got}")
        loss.backward()

    return step


# -- the models


def _attention_decoder(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.AttentionDecoder(models.AttentionDecoderConfig(CHARACTERS, CHARACTERS, H // 2, H))
    source, target = _pair(rng, CHARACTERS, B, T)
    return model, lambda: model.loss(source, target)


def _bert(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.BERT(_bert_config(H, T))
    ids = rng.integers(0, WORDS, (B, T))

    def loss() -> Tensor:
        hidden, _ = model(ids)
        return (hidden * hidden).mean()

    return model, loss


def _bert_for_pre_training(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.BERTForPreTraining(_bert_config(H, T))
    ids, hidden = rng.integers(0, WORDS, (B, T)), rng.random((B, T)) < 0.15
    words, follows = np.where(hidden, ids, -1), rng.integers(0, 2, B)

    def loss() -> Tensor:
        guesses, answers = model(ids)
        return ops.cross_entropy(guesses, words, ignore_index=-1) + ops.cross_entropy(answers, follows)

    return model, loss


def _bert_config(H: int, T: int) -> models.BERTConfig:
    return models.BERTConfig(WORDS, H, 4, _heads(H), 4 * H, T, dropout=0.0)


def _classifier(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.Classifier(models.ClassifierConfig(WORDS, 2, H, H))
    tokens, classes, lengths = rng.integers(0, WORDS, (B, T)), rng.integers(0, 2, B), _lengths(rng, B, T)
    return model, lambda: model.loss(tokens, classes, lengths)


def _encoder_decoder(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.EncoderDecoder(models.EncoderDecoderConfig(CHARACTERS, CHARACTERS, H // 2, H))
    source, target = _pair(rng, CHARACTERS, B, T)
    return model, lambda: model.loss(source, target)


def _feedforward_lm(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.FeedForwardLM(models.FeedForwardLMConfig(CHARACTERS, embedding_size=H // 2, hidden_size=H))
    x, y = _text(rng, B, T)
    return model, lambda: ops.cross_entropy(model(x), y)


def _gpt(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.GPT(models.GPTConfig(CHARACTERS, T, n_layer=4, n_head=_heads(H), n_embd=H, dropout=0.0))
    x, y = _text(rng, B, T)
    return model, lambda: ops.cross_entropy(model(x), y)


def _language_model(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.LanguageModel(models.LanguageModelConfig(CHARACTERS, H))
    x, y = _text(rng, B, T)
    return model, lambda: ops.cross_entropy(model(x)[0], y)


def _tagger(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    model = models.Tagger(models.TaggerConfig(WORDS, TAGS, H, H, num_layers=2))
    tokens, tags, lengths = rng.integers(0, WORDS, (B, T)), rng.integers(0, TAGS, (B, T)), _lengths(rng, B, T)
    tags[np.arange(T) >= lengths[:, None]] = -1
    return model, lambda: model.loss(tokens, tags, lengths)


def _transformer(H: int, B: int, T: int, rng: np.random.Generator) -> tuple[nn.Module, Loss]:
    config = models.TransformerConfig(CHARACTERS, CHARACTERS, H, _heads(H), 2, 4 * H, dropout=0.0, max_len=T + 1)
    model = models.Transformer(config)
    source, target = _pair(rng, CHARACTERS, B, T)
    return model, lambda: model.loss(source, target)


def _heads(H: int) -> int:
    return 4 if H % 4 == 0 else 1


def _lengths(rng: np.random.Generator, B: int, T: int) -> np.ndarray:
    """Of sequences from 5 symbols to T, one of which has T."""
    lengths = rng.integers(min(5, T), T + 1, B)
    lengths[0] = T
    return lengths


def _text(rng: np.random.Generator, B: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    ids = rng.integers(0, CHARACTERS, (B, T + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def _pair(rng: np.random.Generator, V: int, B: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    """A source (B, T), and a target of as many symbols after its first; 0 is padding, of which there is none."""
    return rng.integers(1, V, (B, T)), rng.integers(1, V, (B, T + 1))


CASES: dict[str, Case] = {
    "AttentionDecoder": Case(128, 32, 20, _attention_decoder),
    "BERT": Case(256, 16, 128, _bert),
    "BERTForPreTraining": Case(256, 16, 128, _bert_for_pre_training),
    "Classifier": Case(128, 32, 40, _classifier),
    "EncoderDecoder": Case(128, 32, 20, _encoder_decoder),
    "FeedForwardLM": Case(128, 32, 64, _feedforward_lm),
    "GPT": Case(128, 12, 64, _gpt),
    "LanguageModel": Case(256, 32, 64, _language_model),
    "Tagger": Case(128, 32, 40, _tagger),
    "Transformer": Case(128, 32, 32, _transformer),
}
