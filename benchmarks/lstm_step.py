"""One training step of the demo's language model, side by side with PyTorch: forward, loss, backward, clip, Adam.

    python benchmarks/lstm_step.py [--hidden 256] [--rounds 20]

Gradients are compared before anything is timed. Steps are interleaved in one process; prints the median time of each
and PyTorch's time / ours.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.backend.memory import keep_freed_memory
from tinygrad_seq.models import LanguageModel, LanguageModelConfig

try:
    import torch
except ImportError:
    print("PyTorch is not installed, and there is nothing to compare with: pip install torch")
    raise SystemExit(0) from None

B, T, V = 32, 64, 103


class TorchModel(torch.nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(V, hidden)
        self.lstm = torch.nn.LSTM(hidden, hidden, batch_first=True)
        self.output = torch.nn.Linear(hidden, V)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h, _ = self.lstm(self.embedding(tokens))
        return self.output(h)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    threads = f"{torch.get_num_threads()} threads"
    print(f"cores {os.cpu_count()}, PyTorch {torch.__version__} with {threads}, NumPy {np.__version__}")
    print(f"memory kept between steps: {keep_freed_memory()}")

    ts.seed(0)
    ours = LanguageModel(LanguageModelConfig(V, options.hidden))
    theirs = TorchModel(options.hidden)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    ids = np.random.default_rng(0).integers(0, V, (B, T + 1))
    x, y = ts.tensor(ids[:, :-1]), ts.tensor(ids[:, 1:])
    tx, ty = torch.from_numpy(ids[:, :-1].copy()), torch.from_numpy(ids[:, 1:].copy())
    our_adam = ts.optim.Adam(ours.parameters(), 1e-4)
    their_adam = torch.optim.Adam(theirs.parameters(), 1e-4, fused=True)

    def our_gradients() -> None:
        loss = ts.ops.cross_entropy(ours(x)[0], y)
        our_adam.zero_grad()
        loss.backward()

    def their_gradients() -> None:
        loss = torch.nn.functional.cross_entropy(theirs(tx).reshape(-1, V), ty.reshape(-1))
        their_adam.zero_grad()
        loss.backward()

    def our_step() -> None:
        our_gradients()
        ts.optim.clip_grad_norm(ours.parameters(), 1.0)
        our_adam.step()

    def their_step() -> None:
        their_gradients()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_adam.step()

    our_gradients()
    their_gradients()
    named = dict(theirs.named_parameters())
    worst = max(
        np.abs(p.grad.numpy() - named[name].grad.numpy()).max() / np.abs(named[name].grad.numpy()).max()  # type: ignore[union-attr]
        for name, p in ours.named_parameters()
    )
    print(f"largest difference of a gradient, relative: {worst:.1e}")
    if worst > 1e-4:
        raise SystemExit("the gradients differ: nothing is timed")

    steps: dict[str, Callable[[], None]] = {"tinygrad_seq": our_step, "PyTorch": their_step}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(options.rounds + 3):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if k >= 3:  # after the warm-up
                times[name].append(1e3 * (time.perf_counter() - start))
    for name, ms in times.items():
        print(f"{name:14s} median {statistics.median(ms):6.1f} ms   fastest {min(ms):6.1f}   slowest {max(ms):6.1f}")
    medians = {name: statistics.median(ms) for name, ms in times.items()}
    print(f"H {options.hidden}: PyTorch's time / ours: {medians['PyTorch'] / medians['tinygrad_seq']:.2f}")


if __name__ == "__main__":
    main()
