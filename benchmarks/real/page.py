"""docs/real-tasks.md, written from the kept numbers: python -m benchmarks.real.page"""

from __future__ import annotations

import json
from itertools import pairwise
from statistics import fmean
from typing import Any

from .table import (
    LADDER,
    PICTURES,
    REAL,
    RECIPES,
    RESULTS,
    ROOT,
    Kept,
    claims,
    deviation,
    eval_command,
    ladder_command,
    seconds,
    train_command,
    values,
)

PAGE = ROOT / "docs" / "real-tasks.md"

HEAD = """\
# Real tasks, real numbers

Each task is a recipe and one command that trains by it, on a data set that others publish numbers for. Beside it stands
what needs no training and has to be beaten, and the same model in PyTorch: of one architecture, from the same initial
weights, on the same batches, with the same optimizer, schedule and number of steps, judged by the same code. Only
dropout draws other zeros.

Results are means over the seeds, three for the GPT and two for the others, ± the standard deviation between them.
Seconds are those of training, without evaluations; the two sides took turns, seed by seed, on the same machine and with
as many threads.
`python -m benchmarks.real --keep` measures it all, `python -m benchmarks.real.page` writes this page anew.
"""
MACHINE = ("processor", "cores", "numpy", "numba", "torch")


def kept(name: str) -> Kept:
    """What was measured and kept."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def page() -> str:
    """The whole page; a task of which nothing was kept says so."""
    names = [name for name in REAL if (RESULTS / f"{name}.json").exists()]
    has_ladder = (RESULTS / f"{LADDER}.json").exists()
    parts = [HEAD, summary(names)] if names else [HEAD]
    if missing := [name for name in REAL if name not in names] + ([] if has_ladder else [LADDER]):
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join([*parts, *(section(name) for name in names), *([ladder()] if has_ladder else [])])


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
        [
            claim.sentence,
            f"{claim.value:.3g}",
            f"{'≤' if claim.relation == '<=' else '≥'} {claim.threshold:.3g}",
            "yes" if claim.holds else "**no**",
        ]
        for claim in claims(real, found)
    ]
    first = None if real.begins_with is None else f"runs/{real.begins_with}"
    commands = train_command(real, name, "data", f"runs/{name}", first), eval_command(real, "data", f"runs/{name}")
    machine = ", ".join(f"{key} {found['machine'][key]}" for key in MACHINE if key in found["machine"])
    picture = (PICTURES / f"{name}.png").relative_to(PAGE.parent).as_posix()
    parts = [
        f"## {real.title}",
        real.about,
        "```\n" + "\n".join(" ".join(command) for command in commands) + "\n```",
        f"Measured in {m.unit}. Without training: {baselines}.",
        markdown(["seed", m.unit, "seconds", f"PyTorch: {m.unit}", "seconds"], runs).rstrip(),
        markdown(["claim", "measured", "threshold", "borne out"], judged).rstrip(),
        *([f"**Not reached.** {real.not_reached}"] if real.not_reached else []),
        *([] if real.picture is None else [f"![{real.shows}]({picture})", real.shows]),
        f"{found['parameters']:,} parameters, {found['threads']} threads; {machine}. "
        f"The settings: [{name}.toml](../{(RECIPES / f'{name}.toml').relative_to(ROOT).as_posix()}).",
        f"Data: [{source.name}]({source.link}), {source.licence}.",
    ]
    return "\n\n".join(parts) + "\n"


LADDER_HEAD = """\
## A ladder of models

One list of names, one split, one number for each model: the loss on the test names in nats per character, the end of a
name included. makemore, whose list it is, has 2.454 for bigrams, counted and judged on all names; 2.17 for its
feed-forward network, on its dev set; and about 1.92 for its Transformer, on a test set of 1,000 names and after much
longer training. Its splits and this one deal out the lines of the file, of which some names are several."""


def ladder() -> str:
    """The kept ladder: each rung, and what is beside it."""
    found = kept(LADDER)
    words = found["words"]
    rows = [
        [rung["name"], rung["sees"], f"{rung['parameters']:,}", f"{rung['seconds']:.0f}", f"{rung['validation']:.3f}"]
        + [f"{rung['test']:.3f}"]
        for rung in found["rungs"]
    ]
    longer = ", ".join(f"{int(order) - 1} characters {loss:.3f}" for order, loss in found["count_tables"].items())
    above = found["does_not_come_down"]
    picture = (PICTURES / f"{LADDER}.png").relative_to(PAGE.parent).as_posix()
    parts = [
        LADDER_HEAD,
        "```\n" + " ".join(ladder_command("data")) + "\n```",
        markdown(["model", "sees", "parameters", "seconds", "validation", "test"], rows).rstrip(),
        f"It does not come down {', '.join(above)}." if above else _smallest_step(found["rungs"]),
        f"Count tables that look further back, beside the ladder: {longer}.",
        f"![The test loss of each model]({picture})",
        f"{words['training']:,} names to learn from, {words['validation']:,} to choose by and {words['test']:,} to "
        f"report, dealt out with seed {found['seed']}; {found['test_words_in_training']:,} of the last are among the "
        f"first too. {found['threads']} threads.",
        "Data: [makemore's names](https://github.com/karpathy/makemore/tree/988aa59e4d8fefa526d06f3b453ad116258398d4), "
        "MIT; made of the public-domain list of the US Social Security Administration.",
    ]
    return "\n\n".join(parts) + "\n"


def _smallest_step(rungs: list[dict[str, Any]]) -> str:
    """That all come down, and how little one of them does."""
    steps = [(a["test"] - b["test"], a["name"], b["name"]) for a, b in pairwise(rungs)]
    step, above, below = min(steps)
    return f"Each rung is below the one before it, with one seed; from {above} to {below} by {step:.4f} alone."


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
