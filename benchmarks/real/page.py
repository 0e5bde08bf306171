"""docs/real-tasks.md, written from the kept numbers: python -m benchmarks.real.page"""

from __future__ import annotations

import json
from statistics import fmean

from .table import REAL, RECIPES, RESULTS, ROOT, Kept, claims, deviation, eval_command, seconds, train_command, values

PAGE = ROOT / "docs" / "real-tasks.md"

HEAD = """\
# Real tasks, real numbers

Each task is a recipe and one command that trains by it, on a data set that others publish numbers for. Beside it stands
what needs no training and has to be beaten, and the same model in PyTorch: of one architecture, from the same initial
weights, on the same batches, with the same optimizer, schedule and number of steps, judged by the same code. Only
dropout draws other zeros.

Results are means over the seeds, ± the standard deviation between them. Seconds are those of training, without
evaluations; the two sides took turns, seed by seed, on the same machine and with as many threads.
`python -m benchmarks.real --keep` measures it all, `python -m benchmarks.real.page` writes this page anew.
"""
MACHINE = ("processor", "cores", "numpy", "numba", "torch")


def kept(name: str) -> Kept:
    """What was measured and kept."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def page() -> str:
    """The whole page; a task of which nothing was kept says so."""
    names = [name for name in REAL if (RESULTS / f"{name}.json").exists()]
    parts = [HEAD, summary(names)] if names else [HEAD]
    if missing := [name for name in REAL if name not in names]:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join([*parts, *(section(name) for name in names)])


def summary(names: list[str]) -> str:
    """A row for each task."""
    rows = []
    for name in names:
        found, real = kept(name), REAL[name]
        rows.append(
            [
                f"[{real.title}](#{anchor(real.title)})",
                real.measure.unit,
                mean(name, "ours"),
                mean(name, "torch"),
                real.measure.text(found["baselines"][real.to_beat]),
                f"{seconds(found, 'ours'):.0f}",
                f"{seconds(found, 'torch'):.0f}",
            ]
        )
    return markdown(["task", "measure", "result", "PyTorch", "to beat", "seconds", "PyTorch's"], rows)


def section(name: str) -> str:
    """One task: what it is, its commands, its numbers, what is claimed of them."""
    found, real = kept(name), REAL[name]
    m, source = real.measure, real.source
    baselines = ", ".join(f"{m.text(value)} by {each}" for each, value in found["baselines"].items())
    runs = [
        [str(run["seed"])]
        + [text for side in ("ours", "torch") for text in (m.text(run[side]["value"]), f"{run[side]['seconds']:.0f}")]
        for run in found["runs"]
    ]
    judged = [
        [claim.sentence, f"{claim.value:.3g}", f"{'≤' if claim.relation == '<=' else '≥'} {claim.threshold:.3g}"]
        for claim in claims(real, found)
    ]
    commands = train_command(real, name, "data", f"runs/{name}"), eval_command(real, "data", f"runs/{name}")
    machine = ", ".join(f"{key} {found['machine'][key]}" for key in MACHINE if key in found["machine"])
    parts = [
        f"## {real.title}",
        real.about,
        "```\n" + "\n".join(" ".join(command) for command in commands) + "\n```",
        f"Measured in {m.unit}. Without training: {baselines}.",
        markdown(["seed", m.unit, "seconds", f"PyTorch: {m.unit}", "seconds"], runs).rstrip(),
        markdown(["claim", "measured", "threshold"], judged).rstrip(),
        f"{found['parameters']:,} parameters, {found['threads']} threads; {machine}. "
        f"The settings: [{name}.toml](../{(RECIPES / f'{name}.toml').relative_to(ROOT).as_posix()}).",
        f"Data: [{source.name}]({source.link}), {source.licence}.",
    ]
    return "\n\n".join(parts) + "\n"


def mean(name: str, side: str) -> str:
    numbers, m = values(kept(name), side), REAL[name].measure
    return f"{m.text(fmean(numbers))} ± {m.text(deviation(numbers))}"


def anchor(title: str) -> str:
    """A heading's link, as GitHub makes it."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
