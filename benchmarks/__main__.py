"""The command line: python -m benchmarks [NAME ...] [--peers torch,jax] [--rounds 15] [--quick] [--keep NAME]."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from . import machine
from .contender import KINDS
from .page import PAGE, RESULTS, page
from .report import markdown, save_plots, tables
from .side_by_side import Settings, measure
from .table import OURS, ROWS

OUT = Path(__file__).resolve().parents[1] / "out" / "benchmarks"
OTHER = ("scaling", "memory", "loop", "pictures", "import")  # what is measured beside the rows
QUICK = ("lstm-256", "gru", "gpt", "seq2seq", "write-lstm-1", "overhead")  # under --quick, where nothing is named
PEERS = tuple(name for name in KINDS if name not in OURS)

EPILOG = f"""\
names: {", ".join(ROWS)};
       {", ".join(OTHER)}; the beginning of a name means all that begin so: lstm, write
peers: {", ".join(PEERS)}; all by default, and whoever is not installed is left out with a line
"""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console = Console()
    if options.show:
        results = json.loads(options.show.read_text(encoding="utf-8"))
        folder = options.show.parent
    else:
        results = run(options, lambda line: console.print(line, highlight=False, markup=False))
        folder = RESULTS / options.keep if options.keep else OUT
        folder.mkdir(parents=True, exist_ok=True)
        # Six digits of each number.
        text = json.dumps(json.loads(json.dumps(results), parse_float=lambda x: float(f"{float(x):.6g}")), indent=1)
        (folder / "results.json").write_text(text + "\n", encoding="utf-8")

    for table in tables(results):
        table.show(console)
    (folder / "results.md").write_text(markdown(results), encoding="utf-8")
    save_plots(results, folder)
    console.print(f"all of it, and plots: {folder}", highlight=False)
    if options.keep:
        PAGE.write_text(page(), encoding="utf-8")
        console.print(f"the page of the docs: {PAGE}", highlight=False)
    failed = [found["failed"] for found in [*results["rows"].values(), *results["scaling"].values()]]
    return 1 if any(failed) else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory, side by side with other libraries.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; everything by default")
    parser.add_argument("--peers", help="with whom to compare, separated by commas; none for nobody")
    parser.add_argument("--rounds", type=int, help="turns of each contender (15)")
    parser.add_argument("--seconds", type=float, help="of a turn (0.5)")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="of each contender (all cores)")
    parser.add_argument("--quick", action="store_true", help="some rows, beside PyTorch alone, in less than 3 minutes")
    parser.add_argument("--keep", metavar="NAME", help="keep it in benchmarks/results/NAME, for the docs")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="tables and plots of a results.json, without measuring"
    )
    options = parser.parse_args(arguments)
    if options.keep and (options.quick or options.names or options.peers):
        parser.error("the docs show everything: --keep without names, --peers or --quick")
    options.names = chosen(options.names or (QUICK if options.quick else (*ROWS, *OTHER)), parser)
    options.peers = peers(options.peers, options.quick, parser)
    if options.rounds is None:
        options.rounds = 5 if options.quick else 15
    if options.seconds is None:
        options.seconds = 0.25 if options.quick else 0.5
    if min(options.rounds, options.seconds, options.threads) <= 0:
        parser.error("--rounds, --seconds and --threads are above 0")
    return options


def chosen(names: Any, parser: argparse.ArgumentParser) -> list[str]:
    found: list[str] = []
    for name in names:
        matching = [each for each in (*ROWS, *OTHER) if each == name or each.startswith(f"{name}-")]
        if not matching:
            parser.error(f"unknown name {name!r}: expected some of {', '.join((*ROWS, *OTHER))}")
        found += [each for each in matching if each not in found]
    return found


def peers(text: str | None, quick: bool, parser: argparse.ArgumentParser) -> tuple[str, ...]:
    if text is None:
        return ("products", "torch") if quick else PEERS
    names = tuple(name for name in text.split(",") if name != "none")
    for name in names:
        if name not in PEERS:
            parser.error(f"unknown peer {name!r}: expected some of {', '.join(PEERS)}")
    return names


def run(options: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Measure what was asked for, and tell of each as it is done."""
    settings = Settings(options.rounds, options.seconds, options.threads, (*OURS, *options.peers))
    results: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine.describe(),
        "settings": settings._asdict() | {"contenders": list(settings.contenders)},
        "rows": {},
        "scaling": {},
    }
    for name in options.names:
        start = time.perf_counter()
        if name in ROWS:
            results["rows"][name] = found = measure(ROWS[name], settings)
            times = [
                f"{KINDS[each].label} {1e3 * c['seconds']['median']:.4g}" for each, c in found["contenders"].items()
            ]
            say(f"{name}: {', '.join(times)} ms  ({time.perf_counter() - start:.0f} s)")
            for each, reason in found["failed"].items():
                say(f"  {KINDS[each].label} failed: {reason}")
        elif name == "scaling":
            from .scaling import SERIES, measure_series

            few = settings._replace(rounds=min(settings.rounds, 3), seconds=0.2)
            for size, series in SERIES.items():
                results["scaling"][size] = measure_series(series, few, say)
        elif name == "memory":
            from .memory import WAYS, measure_ways

            results["memory"] = measure_ways(WAYS, say)
        elif name == "loop":
            from .loop import SUBJECTS as LOOPS
            from .loop import measure_loops

            results["loop"] = measure_loops(LOOPS, settings.rounds, say)
        elif name == "pictures":
            from .pictures import SUBJECTS, measure_pictures

            results["pictures"] = measure_pictures(SUBJECTS, min(settings.rounds, 3), say)
        else:
            from .import_time import measure_imports

            results["imports"] = measure_imports(settings.rounds)
    return results


if __name__ == "__main__":
    sys.exit(main())
