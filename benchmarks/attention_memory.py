"""Memory and time of causal attention, forward and backward, against the length of the sequence.

    python benchmarks/attention_memory.py [LENGTH ...]

For each length, 512 to 8192 if none is given: the peak of allocated memory over the start and the seconds, of the fused
operation and of its definition, the latter up to where its arrays of weights would take 4 GB.
"""

import contextlib
import sys
import time
import tracemalloc

import numpy as np

import tinygrad_seq as ts

LENGTHS = (512, 1024, 2048, 4096, 8192)
HEADS, WIDTH = 4, 32  # of one sequence, float32
HELD = 8  # arrays of the size of the weights that the definition holds at its peak
LIMIT = 4e9


def measure(T: int, fused: bool) -> tuple[float, float]:
    """Peak memory over the start in MB, and seconds."""
    rng = np.random.default_rng(0)
    q, k, v = (ts.tensor(rng.standard_normal((1, HEADS, T, WIDTH), np.float32), requires_grad=True) for _ in range(3))
    g = ts.tensor(np.ones((1, HEADS, T, WIDTH), np.float32))

    def train() -> None:
        with contextlib.nullcontext() if fused else ts.definitions():
            ts.grad([ts.ops.scaled_dot_product_attention(q, k, v, causal=True)], [q, k, v], [g])

    start = time.perf_counter()
    train()
    seconds = time.perf_counter() - start
    tracemalloc.start()  # NumPy tells it of every array; it takes time, so it has a run of its own
    train()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6, seconds


def main(lengths: list[int]) -> None:
    print(f"causal attention, {HEADS} heads of {WIDTH}, float32, forward and backward")
    print("     T   fused: MB        s   definition: MB        s   the weights alone: MB")
    for T in lengths:
        weights = HEADS * T * T * 4
        line = "{:6d} {:11.1f} {:8.2f}".format(T, *measure(T, True))
        if HELD * weights <= LIMIT:
            line += " {:16.1f} {:8.2f}".format(*measure(T, False))
        else:
            line += " {:>16s} {:>8s}".format("–", "–")
        print(f"{line} {weights / 1e6:23.1f}", flush=True)


if __name__ == "__main__":
    main([int(T) for T in sys.argv[1:]] or list(LENGTHS))
