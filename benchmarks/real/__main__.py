"""Run real tasks, our side and PyTorch's in turn: python -m benchmarks.real [NAME ...] [--seeds 0,1,2] [--keep]"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .. import machine
from .page import PAGE, page
from .sides import Failed, Settings, by_torch, ladder, ours, prepare
from .table import DATA, LADDER, PICTURES, REAL, RESULTS, claims

OUT = RESULTS.parents[2] / "out" / "real"
EVERY = [*REAL, LADDER]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    folder = RESULTS if options.keep else OUT
    folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    for name in options.names:
        start = time.perf_counter()
        try:
            found = climb(options) if name == LADDER else measure(name, options)
        except Failed as error:
            print(f"{name} failed: {error}", flush=True)
            wrong.append(name)
            continue
        print(f"{name}: {(time.perf_counter() - start) / 60:.1f} min in all", flush=True)
        write(folder / f"{name}.json", found)
        for claim in [] if name == LADDER else claims(REAL[name], found):
            print(f"  {claim}", flush=True)
            wrong += [] if claim.holds else [name]
    if options.keep:
        PAGE.write_text(page(), encoding="utf-8")
    print(f"all of it: {PAGE if options.keep else folder}")
    return 1 if wrong else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description="Real tasks, beside PyTorch.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(EVERY)}; all by default")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas (0,1,2)")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="of each side (all cores)")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of data sets")
    parser.add_argument("--steps", type=int, help="instead of the recipes': for a first look")
    parser.add_argument("--keep", action="store_true", help="keep the numbers, and write docs/real-tasks.md")
    options = parser.parse_args(arguments)
    options.names = options.names or EVERY
    for name in options.names:
        if name not in EVERY:
            parser.error(f"unknown name {name!r}: expected some of {', '.join(EVERY)}")
    if options.keep and options.steps is not None:
        parser.error("the docs show whole trainings: --keep without --steps")
    if not options.data.is_dir():
        parser.error(f"there is no folder {options.data}: name that of the data sets by --data")
    options.data = options.data.resolve()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides of a task, seed by seed, and its baselines."""
    real, m = REAL[name], REAL[name].measure
    runs, parameters = [], 0
    for seed in options.seeds[: real.seeds]:
        settings = Settings(options.data, seed, options.threads, options.steps)
        with tempfile.TemporaryDirectory() as folder:
            if real.begins_with is not None:
                settings = settings._replace(init_from=Path(folder) / real.begins_with)
                ours(real.begins_with, settings._replace(init_from=None), Path(folder) / real.begins_with)
            mine = ours(name, settings, Path(folder) / name)
            if options.keep and real.picture is not None and seed == options.seeds[0]:
                PICTURES.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(folder) / name / real.picture, PICTURES / f"{name}.png")
            theirs = by_torch(name, settings)
        parameters = theirs.pop("parameters")
        runs.append({"seed": seed, "ours": mine, "torch": theirs})
        both = ", ".join(
            f"{who} {m.text(run['value'])} in {run['seconds']:.0f} s"
            for who, run in (("ours", mine), ("PyTorch", theirs))
        )
        print(f"{name}, seed {seed}: {both} ({m.unit})", flush=True)
    prepared = prepare(name, settings._replace(init_from=None))
    baselines = real.baselines(prepared.training, prepared.judged)
    print("  to beat: " + ", ".join(f"{each} {m.text(value)}" for each, value in baselines.items()), flush=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "threads": options.threads,
        "parameters": parameters,
        "learned_from": len(prepared.training),
        "judged_by": len(prepared.judged),
        "baselines": baselines,
        "runs": runs,
    }


def climb(options: argparse.Namespace) -> dict[str, Any]:
    """The ladder, with the first seed."""
    folder = PICTURES if options.keep else OUT
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(options.data, options.seeds[0], options.threads, options.steps)
    found = ladder(settings, folder / f"{LADDER}.png")
    print(", ".join(f"{rung['name']} {rung['test']:.3f}" for rung in found["rungs"]), flush=True)
    return {"machine": machine.describe(), "threads": options.threads} | found


def write(path: Path, found: dict[str, Any]) -> None:
    """As JSON, six digits of each number."""
    short = json.loads(json.dumps(found), parse_float=lambda x: float(f"{float(x):.6g}"))
    path.write_text(json.dumps(short, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
