"""What `import tinygrad_seq` takes over `import numpy`: fresh processes, interleaved."""

import subprocess
import sys
import time

from .side_by_side import Spread, spread


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def measure_imports(rounds: int) -> dict[str, dict[str, float]]:
    """{"numpy", "tinygrad_seq": Spreads, the interpreter's start included; "over": that of the differences}."""
    statements = {"numpy": "import numpy", "tinygrad_seq": "import tinygrad_seq"}
    for statement in statements.values():
        seconds(statement)  # once, so that everything is compiled and in the cache
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(rounds):
        for name, statement in statements.items():
            times[name].append(seconds(statement))
    over = [ours - numpy for numpy, ours in zip(times["numpy"], times["tinygrad_seq"], strict=True)]
    spreads: dict[str, Spread] = {name: spread(found) for name, found in (times | {"over": over}).items()}
    return {name: each._asdict() for name, each in spreads.items()}
