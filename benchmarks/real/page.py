"""docs/real-tasks.md, written from the kept numbers: python -m benchmarks.real.page"""

from __future__ import annotations

import json
from statistics import fmean
from typing import Any

from .table import NAMES, RESULTS, ROOT, Kept, Measure, claims, seconds, spread, table, values

PAGE = ROOT / "docs" / "real-tasks.md"

HEAD = """\
# Real tasks, real numbers

Each task is a recipe, and one command that trains by it, on a data set that others publish numbers for. Beside it stand
what needs no training, and the same model in PyTorch: of the same architecture and initial weights, on the same
batches, with the same optimizer and number of steps, judged by the same code. Dropout draws other zeros there.

The numbers are means over the seeds, ± the standard deviation between them. Seconds are those of training alone,
without evaluations; ours and PyTorch's were trained one after the other on the same machine, seed by seed.
`python -m benchmarks.real --keep` measures all of it, `python -m benchmarks.real.page` writes this page anew.
"""


def kept(name: str) -> Kept:
    """What was measured and kept."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def kept_names() -> list[str]:
    """The tasks of which something was kept, in the order of the table."""
    return [name for name in NAMES if (RESULTS / f"{name}.json").exists()]


def page() -> str:
    """The whole page."""
    names = kept_names()
    return "\n".join([HEAD, summary(names), *(section(name) for name in names)])


def summary(names: list[str]) -> str:
    """A row for each task."""
    rows = []
    for name in names:
        found, real = kept(name), table()[name]
        m = real.measure
        best = max(found["baselines"], key=lambda each: m.better(found["baselines"][each], 0.0))
        rows.append(
            [
                f"[{real.title}](#{anchor(real.title)})",
                m.unit,
                mean(found, "ours", m),
                mean(found, "torch", m),
                f"{m.text(found['baselines'][best])} ({best})",
                f"{seconds(found, 'ours'):.0f}",
                f"{seconds(found, 'torch'):.0f}",
            ]
        )
    return markdown(["task", "measure", "result", "PyTorch", "to beat", "seconds", "PyTorch's seconds"], rows)


def section(name: str) -> str:
    """One task: what it is, its command, its numbers, what is claimed of them."""
    found, real = kept(name), table()[name]
    m, source = real.measure, real.source
    runs = [
        [str(run["seed"])]
        + [text for side in ("ours", "torch") for text in (m.text(run[side]["value"]), f"{run[side]['seconds']:.0f}")]
        for run in found["runs"]
    ]
    baselines = ", ".join(f"{m.text(value)} by {each}" for each, value in found["baselines"].items())
    judged = [
        [claim.sentence, f"{claim.value:.3g}", f"{'≤' if claim.relation == '<=' else '≥'} {claim.threshold:.3g}"]
        for claim in claims(real, found)
    ]
    where = ", ".join(
        f"{key} {found['machine'][key]}"
        for key in ("processor", "cores", "numpy", "numba", "torch")
        if key in found["machine"]
    )
    parts = [
        f"## {real.title}",
        real.about,
        f"```\n{' '.join(real.command(name, 'data', f'runs/{name}'))}\n```",
        f"Measured: {m.unit}, on {real.measured_on}. Without training: {baselines}.",
        markdown(["seed", m.unit, "seconds", f"PyTorch's {m.unit}", "PyTorch's seconds"], runs),
        markdown(["claim", "measured", "threshold"], judged),
        f"{found['parameters']:,} parameters, {found['threads']} threads. {where}.",
        f"Data: [{source.name}]({source.link}), {source.licence}.",
    ]
    return "\n\n".join(parts) + "\n"


def mean(found: Kept, side: str, m: Measure) -> str:
    numbers = values(found, side)
    return f"{m.text(fmean(numbers))} ± {m.text(spread(numbers))}"


def anchor(title: str) -> str:
    """A heading's link, as GitHub makes it."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def markdown(columns: list[str], rows: list[list[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
