"""Overhead of one recorded op, forward and backward, on 1×1 tensors, side by side with PyTorch.

    python benchmarks/overhead.py

Prints the median time per op of each and PyTorch's time / ours; PyTorch is skipped with a line where it is absent.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as ts

OPS, ROUNDS = 1000, 60


def chain(x: Any, c: Any, tanh: Callable[[Any], Any]) -> Any:
    """A chain of additions, products and tanh, as a definition of a cell has them."""
    y = x
    for _ in range(OPS // 4):
        y = tanh(y * x + c) - c
    return y


def ours() -> Callable[[], None]:
    x, c = ts.tensor(np.full((1, 1), 0.5, np.float32), requires_grad=True), ts.tensor(np.full((1, 1), 0.1, np.float32))

    def run() -> None:
        x.grad = None
        chain(x, c, ts.ops.tanh).backward()

    return run


def pytorch() -> Callable[[], None] | None:
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: its column is skipped (pip install 'tinygrad-seq[parity]')")
        return None
    torch.set_num_threads(1)
    x, c = torch.full((1, 1), 0.5, requires_grad=True), torch.full((1, 1), 0.1)

    def run() -> None:
        x.grad = None
        chain(x, c, torch.tanh).backward()

    return run


def main() -> None:
    runs = {"tinygrad_seq": ours(), "PyTorch": pytorch()}
    times: dict[str, list[float]] = {name: [] for name, run in runs.items() if run}
    for _ in range(ROUNDS):  # interleaved: the machine's speed drifts
        for name in times:
            start = time.perf_counter()
            runs[name]()  # type: ignore[misc]
            times[name].append((time.perf_counter() - start) / OPS * 1e6)
    medians = {name: statistics.median(ts_) for name, ts_ in times.items()}
    for name, median in medians.items():
        print(f"{name:14s} {median:6.2f} µs per op, forward and backward")
    if "PyTorch" in medians:
        print(f"PyTorch's time / ours: {medians['PyTorch'] / medians['tinygrad_seq']:.2f}")


if __name__ == "__main__":
    main()
