"""A training loop of five lines, for models that are small enough to be trained in a test."""

from collections.abc import Callable

import numpy as np

import tinygrad_seq as ts


def train(
    model: ts.nn.Module, loss: Callable[[np.ndarray], ts.Tensor], examples: int, steps: int, lr: float = 1e-2
) -> None:
    """Adam on batches of 32 out of so many examples; `loss` gets their numbers."""
    optimizer, rng = ts.optim.Adam(model.parameters(), lr), np.random.default_rng(0)
    for _ in range(steps):
        batch_loss = loss(rng.integers(0, examples, 32))
        optimizer.zero_grad()
        batch_loss.backward()
        ts.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
