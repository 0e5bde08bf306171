"""docs/speed.md, written from the kept results: python -m benchmarks.page"""

import json
from pathlib import Path
from typing import Any

from . import report

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "speed.md"
RESULTS = Path(__file__).resolve().parent / "results"  # what `--keep` keeps, a folder for each

HEAD = """\
# How fast it is

A step here is one of training: forward, loss, backward, clipping, Adam. Other libraries take the same step in the same
run: they begin with the same weights, must come to the same gradients before anything is timed, and then all take
turns. What counts are the ratios; the times of one machine say little about another.

```
make bench-quick                                          # a few models beside PyTorch, in less than 3 minutes
make bench                                                # everything, beside everyone who is installed
.venv/bin/python -m benchmarks lstm --peers torch,jax     # some rows, some libraries
```

PyTorch is not installed by `make`: `.venv/bin/pip install torch==2.13.0`.

## Where the speed comes from

- One operation for a whole sequence. A layer over 64 steps is one node of the graph with a forward and a backward
  kernel of its own, not some thousand nodes. Beside the kernel stands its definition, the equations in primitive
  operations; the tests compare the two, second derivatives included.
- Work that fits the cache. Elementwise passes and large sums go by pieces that stay in a core's cache, into arrays that
  are there already.
- Compiled kernels. With the extra `fast`, numba compiles kernels for float32 when they are first used, once for a
  machine, and says so in a line. Where that fails, a warning names the reason and NumPy's kernels go on.
  `TINYGRAD_SEQ_FAST=0` leaves them out. Where the processor has AVX-512 they multiply matrices by tiles of their own,
  elsewhere by NumPy's OpenBLAS.
- Memory that stays. While a Trainer runs, or once `ts.set_num_threads` was called, freed arrays are kept for the next
  step, in pages of 2 MB where Linux has them. `TINYGRAD_SEQ_MALLOPT=0` leaves memory as it is.
- Threads. Kernels share their work among as many threads as the process has cores, or as OPENBLAS_NUM_THREADS says.
  How it is cut depends on the sizes and the number of threads alone, so that one number gives the same bits in every
  run. A checkpoint holds the number, and a resumed run uses it again.

```python
import tinygrad_seq as ts

ts.set_num_threads(1)
print(ts.num_threads())
```

`tinygrad-seq bench MODEL --profile` and `ts.profile()` show where the time of a step goes:
[Memory, time, and what went wrong](debugging.md).
"""


def kept() -> dict[str, Any]:
    """What `--keep` kept, by its name; the newest first."""
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*/results.json")}
    return dict(sorted(found.items(), key=lambda item: item[1]["date"], reverse=True))


def page() -> str:
    """The whole page: how it is measured, the newest results, and links to all of them."""
    results = kept()
    if not results:
        return HEAD + "\nNo results are kept yet.\n"
    newest, others = next(iter(results)), list(results)[1:]
    parts = [HEAD, section(newest, results[newest])]
    if others:
        lines = [f"- [{name}]({folder(name)}/results.md): {machine(results[name])}" for name in others]
        parts.append("## Earlier results\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def section(name: str, results: dict[str, Any]) -> str:
    """Ratios, memory and growth, as tables and pictures; the times themselves are in results.md."""
    there = folder(name)
    plots = [f"![{text}]({there}/{file})" for file, text in PLOTS.items() if (RESULTS / name / file).exists()]
    chosen = [table for table in report.tables(results) if table.title in SHOWN]
    parts = [
        f"## Measured: {name}",
        f"{machine(results)}. `{results['command']}`: {results['settings']['rounds']} rounds, "
        f"{results['settings']['threads']} threads; medians, and quartiles in parentheses. "
        f"[All tables, with the times]({there}/results.md).",
        *plots[:1],
        *(table.markdown().replace("## ", "### ", 1) for table in chosen),
        *plots[1:],
    ]
    return "\n\n".join(parts) + "\n"


PLOTS = {
    "rows.png": "PyTorch's time by that of each library, for each row: to the right of 1 is faster than PyTorch",
    "growth.png": "How the time of a step grows with T, B, H and the number of operations, and memory with T",
}
SHOWN = (report.RATIOS, report.MEMORY, report.SCALING, report.GROWTH, report.LOOP)


def folder(name: str) -> str:
    """Of a kept result, as the page links to it."""
    return f"../benchmarks/results/{name}"


def machine(results: dict[str, Any]) -> str:
    described = results["machine"]
    libraries = [f"{key} {described[key]}" for key in ("numpy", "numba", "torch", "jax") if key in described]
    return ", ".join([results["date"][:10], described["processor"], f"{described['cores']} cores", *libraries])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
