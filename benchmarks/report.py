"""What was measured, as tables (on the terminal and in Markdown) and as plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_seq.viz import plots

from .contender import KINDS
from .side_by_side import BASE, OURS, TOLERANCE
from .table import RELU

Results = dict[str, Any]

# A contender looks the same in all plots.
LOOKS: dict[str, dict[str, Any]] = {
    "numpy": {"color": plots.BLUE, "marker": "o", "linestyle": "-"},
    "fast": {"color": plots.RED, "marker": "^", "linestyle": "--"},
    "products": {"color": "#777777", "marker": "|"},
    "torch": {"color": plots.BLACK, "marker": "s", "linestyle": "-."},
    "compile": {"color": plots.ORANGE, "marker": "s"},
    "jax": {"color": plots.PURPLE, "marker": "v"},
    "autograd": {"color": plots.GREEN, "marker": "x"},
    "dezero": {"color": plots.SKY, "marker": "P"},
    "tinygrad": {"color": plots.GREEN, "marker": "D"},
}

# Titles of tables.
RATIOS = "PyTorch's time / theirs: above 1 is faster"
MEMORY = "Peak memory, MB: a model and its steps + what the library loads with the first of them, after its import"
SCALING = "Time of a step, ms, by size; k in time ∝ sizeᵏ"
GROWTH = "Memory, MB, by the length T; k in memory ∝ Tᵏ"
LOOP = "The Trainer's loop: predictions per second against its bare step's"


class Table(NamedTuple):
    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        lines = [self.columns, ["---"] + ["---:"] * (len(self.columns) - 1), *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def show(self, console: Any) -> None:
        from rich.table import Table as Rich

        table = Rich(title=self.title, title_justify="left", title_style="bold")
        for k, column in enumerate(self.columns):
            table.add_column(column, justify="right" if k else "left", overflow="fold")
        for cells in self.rows:
            table.add_row(*cells)
        console.print(table)


def tables(results: Results) -> list[Table]:
    """Every table that the results have numbers for."""
    made = [_machine(results)]
    if results["rows"]:
        made += [_times(results["rows"]), _ratios(results["rows"]), _memory(results["rows"])]
    if results.get("scaling"):
        made.append(_scaling(results["scaling"]))
    if results.get("memory"):
        made.append(_growth(results["memory"]))
    if results.get("loop"):
        made.append(_loop(results["loop"]))
    if results.get("pictures"):
        made.append(_pictures(results["pictures"]))
    if results.get("imports"):
        made.append(_imports(results["imports"]))
    made.append(_absent(results))
    return [table for table in made if table.rows]


def markdown(results: Results) -> str:
    settings = results["settings"]
    head = (
        "# Side by side\n\n"
        f"`{results['command']}`, {results['date']}: {settings['rounds']} rounds of {settings['seconds']:g} s a turn, "
        f"{settings['threads']} threads. Median (quartiles). Before anything was timed, all began with the same "
        f"float32 weights and batch, and each gradient was within {TOLERANCE:.0e} of ours, relative to its largest. "
        f"Where there are ReLUs, that holds in small, and {RELU:.0e} at full size: an input may round to the other "
        "side of 0."
    )
    return "\n\n".join([head, *(table.markdown() for table in tables(results))]) + "\n"


def _machine(results: Results) -> Table:
    return Table("Machine", ["what", "which"], [[name, str(value)] for name, value in results["machine"].items()])


def _present(rows: Mapping[str, Any]) -> list[str]:
    """The contenders that have a time anywhere, in the order of KINDS."""
    return [name for name in KINDS if any(name in row["contenders"] for row in rows.values())]


def _times(rows: Mapping[str, Any]) -> Table:
    names = _present(rows)
    lines = []
    for name, row in rows.items():
        cells = [row["contenders"].get(each) for each in names]
        lines.append([name, row["about"], row["unit"], *("–" if not c else _time(row, c["seconds"]) for c in cells)])
    return Table("Time", ["row", "", "unit", *(KINDS[name].label for name in names)], lines)


def _time(row: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    n = row["count"]
    in_unit = {"ms a step": lambda s: 1e3 * s, "tokens/s": lambda s: n / s, "µs an op": lambda s: 1e6 * s / n}
    middle, *ends = (in_unit[row["unit"]](seconds[part]) for part in ("median", "low", "high"))
    return f"{_digits(middle)} ({_digits(min(ends))}–{_digits(max(ends))})"


def _digits(x: float) -> str:
    """Three of them, or all before the point."""
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def _ratios(rows: Mapping[str, Any]) -> Table:
    names = [name for name in _present(rows) if name != BASE]
    lines = []
    for name, row in rows.items():
        ratios = [row["contenders"].get(each, {}).get("ratio") for each in names]
        if any(ratios):
            lines.append([name, *("–" if not r else _spread(r) for r in ratios)])
    return Table(RATIOS, ["row", *(KINDS[name].label for name in names)], lines)


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({values['low']:.2f}–{values['high']:.2f})"


def _memory(rows: Mapping[str, Any]) -> Table:
    names = [
        name for name in _present(rows) if any("memory" in row["contenders"].get(name, {}) for row in rows.values())
    ]
    lines = []
    for name, row in rows.items():
        found = {each: c for each, c in row["contenders"].items() if "memory" in c}
        ratios = ["–", "–"]
        if OURS in found and BASE in found:
            ours, theirs = found[OURS], found[BASE]
            sums = [c["memory"] + c["loaded"] for c in (ours, theirs)]
            ratios = [f"{ours['memory'] / theirs['memory']:.2f}", f"{sums[0] / sums[1]:.2f}"]
        cells = [f"{c['memory']:.1f} + {c['loaded']:.1f}" if c else "–" for c in map(found.get, names)]
        if found:
            lines.append([name, *cells, *ratios])
    return Table(MEMORY, ["row", *(KINDS[name].label for name in names), "ours / PyTorch's", "of the sums"], lines)


def _scaling(scaling: Mapping[str, Any]) -> Table:
    lines = []
    for series in scaling.values():
        for name, line in series["contenders"].items():
            points = ", ".join(
                f"{value:,}: {_digits(1e3 * seconds)}"
                for value, seconds in zip(line["values"], line["seconds"], strict=True)
            )
            lines.append([series["about"], series["size"], KINDS[name].label, points, _exponent(line["exponent"])])
    return Table(SCALING, ["what", "size", "", "ms", "k"], lines)


def _growth(memory: Mapping[str, Any]) -> Table:
    lines = []
    for way in memory.values():
        points = ", ".join(f"{T:,}: {_digits(MB)}" for T, MB in zip(way["lengths"], way["MB"], strict=True))
        lines.append([way["about"], points, _exponent(way["exponent"])])
    return Table(GROWTH, ["what", "MB", "k"], lines)


def _loop(loop: Mapping[str, Any]) -> Table:
    lines = []
    for found in loop.values():
        speeds = [_digits(found["per_second"][each]["median"]) for each in ("bare", "loop")]
        costs = (
            "{median:.1f} ({low:.1f}–{high:.1f})".format(**{q: 100 * x for q, x in found[each].items()})
            for each in ("cost", "cost_in_cpu")
        )
        lines.append([found["about"], *speeds, *costs, _digits(found["checkpoint"])])
    columns = ["what", "bare step", "loop", "loop's cost, % of time", "% of CPU time", "a checkpoint, ms"]
    return Table(LOOP, columns, lines)


def _pictures(pictures: Mapping[str, Any]) -> Table:
    lines = []
    for found in pictures.values():
        columns = [found[key] for key in ("sizes", "boxes", "shown", "dot", "svg", "page", "MB")]
        for size, boxes, shown, dot, svg, page, MB in zip(*columns, strict=True):
            times = (_digits(1e3 * seconds) for seconds in (dot, svg, page))
            lines.append([found["about"], f"{size:,}", f"{boxes:,}", f"{shown:,}", *times, f"{MB:.2f}"])
        lines.append([found["about"], "k", "", "", _exponent(found["exponent"]), "", "", ""])
    title = "Pictures: ms to DOT, SVG and page, page in MB; k in time to DOT ∝ boxesᵏ"
    return Table(title, ["what", "size", "boxes", "shown", "DOT", "SVG", "page", "MB"], lines)


def _exponent(k: float | None) -> str:
    return "–" if k is None else f"{k:.2f}"


def _imports(imports: Mapping[str, Mapping[str, float]]) -> Table:
    labels = {"numpy": "import numpy", "tinygrad_seq": "import tinygrad_seq", "over": "the second over the first"}
    lines = [
        [labels[name], *(f"{1e3 * each[q]:.0f}" for q in ("median", "low", "high"))] for name, each in imports.items()
    ]
    return Table("Import, ms", ["", "median", "first quartile", "third quartile"], lines)


def _absent(results: Results) -> Table:
    """Who was not measured, and why: one line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for kind in ("failed", "skipped"):
        for place, found in [*results["rows"].items(), *results.get("scaling", {}).items()]:
            for name, reason in found.get(kind, {}).items():
                label = KINDS[name].label if name in KINDS else name
                reasons.setdefault((label, f"{kind}: {reason.strip().splitlines()[0]}"), []).append(place)
    lines = [[label, reason, ", ".join(places)] for (label, reason), places in reasons.items()]
    return Table("Not measured", ["who", "why", "where"], lines)


# -- plots


def save_plots(results: Results, folder: Path) -> list[Path]:
    """rows.png and growth.png, each where there are numbers for it."""
    made = []
    if _ratios(results["rows"]).rows:
        made.append(plots.save_figure(_rows_figure(results["rows"]), folder / "rows.png"))
    if results.get("scaling") or results.get("memory"):
        figure = _growth_figure(results.get("scaling", {}), results.get("memory", {}))
        made.append(plots.save_figure(figure, folder / "growth.png"))
    return made


def _rows_figure(rows: Mapping[str, Any]) -> Any:
    """PyTorch's time / theirs for each row: a point, and a line between the quartiles."""
    names = [name for name in _present(rows) if name != BASE]
    rows = {name: row for name, row in rows.items() if any("ratio" in c for c in row["contenders"].values())}
    figure = plots.new_figure(8, 1.5 + 0.42 * len(rows))
    axes = figure.add_subplot()
    for k, name in enumerate(names):
        at = [(y, row["contenders"][name]["ratio"]) for y, row in enumerate(rows.values()) if name in row["contenders"]]
        offset = 0.5 * (k - (len(names) - 1) / 2) / len(names)
        medians = [ratio["median"] for _, ratio in at]
        ends = [
            [m - ratio["low"] for m, (_, ratio) in zip(medians, at, strict=True)],
            [ratio["high"] - m for m, (_, ratio) in zip(medians, at, strict=True)],
        ]
        heights = [y + offset for y, _ in at]
        axes.errorbar(
            medians, heights, xerr=ends, markersize=5, label=KINDS[name].label, **LOOKS[name] | {"linestyle": "none"}
        )
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(_ticks())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks(range(len(rows)), [row["about"] for row in rows.values()])
    axes.invert_yaxis()
    axes.set_xlabel("PyTorch's time / theirs: to the right of 1 is faster than PyTorch")
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def _ticks() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 2, 5))


def _growth_figure(scaling: Mapping[str, Any], memory: Mapping[str, Any]) -> Any:
    count = len(scaling) + bool(memory)
    columns = min(count, 3)
    figure, panels = plots.panels(columns, -(-count // columns))
    for axes, series in zip(panels, scaling.values(), strict=False):
        for name, line in series["contenders"].items():
            label = f"{KINDS[name].label}, k = {_exponent(line['exponent'])}"
            plots.curve(axes, line["values"], [1e3 * s for s in line["seconds"]], label, **LOOKS[name])
        longest: list[int] = max((line["values"] for line in series["contenders"].values()), key=len, default=[])
        _finish(axes, series["about"], series["size"], "ms a step", longest)
    if memory:
        for way, look in zip(memory.values(), plots.LOOKS, strict=False):
            label = f"{way['about']}, k = {_exponent(way['exponent'])}"
            plots.curve(panels[len(scaling)], way["lengths"], way["MB"], label, **look)
        longest = max((way["lengths"] for way in memory.values()), key=len)
        _finish(panels[len(scaling)], "memory", "T", "MB", longest)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure


def _finish(axes: Any, title: str, size: str, unit: str, values: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.set_xticks([], minor=True)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.3)  # room for the legend
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(size)
    axes.set_ylabel(unit)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
