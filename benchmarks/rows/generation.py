"""Writing: the most likely symbol after a prompt, again and again, by an LSTM with its state or a GPT with a cache."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, Given, copy_weights


@dataclass(frozen=True)
class Sizes:
    model: str  # "lstm" or "gpt"
    B: int = 1
    prompt: int = 8
    n: int = 56  # symbols to write
    V: int = 65
    width: int = 256
    layers: int = 4  # of the GPT
    heads: int = 4

    @property
    def count(self) -> int:
        """How many symbols a step writes."""
        return self.B * self.n


TINY = Sizes("gpt", B=2, prompt=3, n=4, V=7, width=8, layers=2, heads=2)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    return {"prompt": rng.integers(0, s.V, (s.B, s.prompt))}


class ours:
    def __init__(self, s: Sizes, given: Given) -> None:
        from tinygrad_seq.models import GPT, GPTConfig, LanguageModel, LanguageModelConfig

        if s.model == "lstm":
            self.model: Any = LanguageModel(LanguageModelConfig(s.V, s.width))
        else:
            self.model = GPT(GPTConfig(s.V, s.prompt + s.n, s.layers, s.heads, s.width))
        self.prompt, self.n = given.arrays["prompt"], s.n

    def weights(self) -> Arrays:
        return {name: p.numpy() for name, p in self.model.named_parameters()}

    def result(self) -> Arrays:
        return {"tokens": np.array(self.model.generate(self.prompt, self.n, temperature=0))}

    def run(self) -> None:
        self.model.generate(self.prompt, self.n, temperature=0)


class in_torch:
    def __init__(self, s: Sizes, given: Given) -> None:
        import torch
        from torch import nn

        class LSTM(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(s.V, s.width)
                self.lstm = nn.LSTM(s.width, s.width, batch_first=True)
                self.output = nn.Linear(s.width, s.V)
                self.output.weight = self.embedding.weight

            def forward(self, tokens: Any, state: Any) -> Any:
                h, state = self.lstm(self.embedding(tokens), state)
                return self.output(h[:, -1]), state

        class Cached(nn.Module):
            """A GPT whose state is what it has seen: keys and values of each block, and how many."""

            def __init__(self) -> None:
                from .blocks_in_torch import GPT

                super().__init__()
                self.gpt = GPT(s.V, s.prompt + s.n, s.layers, s.heads, s.width)

            def forward(self, tokens: Any, state: Any) -> Any:
                caches, seen = state or ([[] for _ in range(s.layers)], 0)
                return self.gpt(tokens, caches, seen)[:, -1], (caches, seen + tokens.shape[1])

        model = LSTM() if s.model == "lstm" else Cached()
        copy_weights(model if isinstance(model, LSTM) else model.gpt, given.weights)
        prompt = torch.from_numpy(given.arrays["prompt"])

        @torch.inference_mode()
        def generate() -> Any:
            written, chunk, state = [], prompt, None
            for _ in range(s.n):
                logits, state = model(chunk, state)
                chunk = logits.argmax(-1, keepdim=True)
                written.append(chunk)
            return torch.cat(written, 1).tolist()

        self.generate = generate

    def result(self) -> Arrays:
        return {"tokens": np.array(self.generate())}

    def run(self) -> None:
        self.generate()
