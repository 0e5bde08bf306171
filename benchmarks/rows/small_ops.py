"""Operations on 1×1 tensors, one after another, forward and backward: what an engine costs beside its arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..steps import Arrays, Given


@dataclass(frozen=True)
class Sizes:
    ops: int = 1000

    @property
    def count(self) -> int:
        """How many a step has: fours of them."""
        return self.ops // 4 * 4


TINY = Sizes(ops=40)


def batch(s: Sizes, rng: np.random.Generator) -> Arrays:
    return {"x": np.full((1, 1), 0.5, np.float32), "c": np.full((1, 1), 0.1, np.float32)}


def chain(s: Sizes, x: Any, c: Any, tanh: Callable[[Any], Any]) -> Any:
    """Additions, products and tanh, as a cell by its definition has them."""
    y = x
    for _ in range(s.count // 4):
        y = tanh(y * x + c) - c
    return y


class ours:
    def __init__(self, s: Sizes, given: Given) -> None:
        import tinygrad_seq as ts

        self.x, c = ts.tensor(given.arrays["x"], requires_grad=True), ts.tensor(given.arrays["c"])
        self.chain = lambda: chain(s, self.x, c, ts.ops.tanh)

    def weights(self) -> Arrays:
        return {}

    def result(self) -> Arrays:
        self.run()
        assert self.x.grad is not None
        return {"x": self.x.grad.numpy()}

    def run(self) -> None:
        self.x.grad = None
        self.chain().backward()


class in_torch:
    def __init__(self, s: Sizes, given: Given) -> None:
        import torch

        self.x = torch.tensor(given.arrays["x"], requires_grad=True)
        c = torch.tensor(given.arrays["c"])
        self.chain = lambda: chain(s, self.x, c, torch.tanh)

    def result(self) -> Arrays:
        self.run()
        return {"x": self.x.grad.numpy()}

    def run(self) -> None:
        self.x.grad = None
        self.chain().backward()
