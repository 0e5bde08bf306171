"""What `import tinygrad_seq` takes over `import numpy`: fresh processes, interleaved, medians.

python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    times: dict[str, list[float]] = {"import numpy": [], "import tinygrad_seq": []}
    for statement in times:
        seconds(statement)  # once, so that everything is compiled and in the cache
    for _ in range(ROUNDS):
        for statement, found in times.items():
            found.append(seconds(statement))
    medians = [statistics.median(found) for found in times.values()]
    for statement, median in zip(times, medians, strict=True):
        print(f"{statement:20s} {median:.3f} s, the interpreter's start included")
    print(f"tinygrad_seq over numpy: {medians[1] - medians[0]:.3f} s")


if __name__ == "__main__":
    main()
