"""The benchmark works: every row in small in every library that is installed. No time is asserted anywhere.

Most of it runs in this process; a few tests start the processes of a race.
"""

import doctest
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from benchmarks import __main__ as command
from benchmarks import (
    contender,
    import_time,
    loop,
    machine,
    memory,
    page,
    pictures,
    report,
    rows,
    scaling,
    side_by_side,
    steps,
    table,
)
from benchmarks.contender import KINDS, Contender, Failed, Kind, missing
from benchmarks.side_by_side import Row, Settings, difference, measure
from house import ROOT

FILES = {row.module.__name__: row.module for row in table.ROWS.values()}
TINY = {name: row._replace(sizes=row.module.TINY) for name, row in table.ROWS.items()}
SETTINGS = Settings(rounds=2, seconds=0.001, threads=1, contenders=("numpy", "products"))


def step(kind: str, module: ModuleType, sizes: Any, arrays: Any, weights: Any = None) -> Any:
    ts.seed(0)
    return getattr(module, KINDS[kind].function)(sizes, steps.Given(arrays, weights))


def variants(module: ModuleType) -> list[Any]:
    """The tiny sizes of a file, in each kind that a row has of it."""
    kinds = {"cell", "layers", "model"} if module.__name__.endswith(("language_model", "generation")) else set()
    found = []
    for row in table.ROWS.values():
        if row.module is module:
            kept = {name: value for name, value in vars(row.sizes).items() if name in kinds}
            tiny = type(row.sizes)(**(vars(module.TINY) | kept))  # type: ignore[attr-defined]
            if tiny not in found:
                found.append(tiny)
    return found


SMALL = [(module, sizes) for module in FILES.values() for sizes in variants(module)]
NAMES = [f"{module.__name__.rpartition('.')[2]} {k}" for k, (module, _) in enumerate(SMALL)]


@pytest.mark.parametrize(("module", "sizes"), SMALL, ids=NAMES)
def test_every_row_learns_or_writes(module: ModuleType, sizes: Any) -> None:
    """A step of ours changes the weights; of what only writes or counts, it gives the same again."""
    arrays = module.batch(sizes, np.random.default_rng(0))
    ours = step("numpy", module, sizes, arrays)
    before = {name: array.copy() for name, array in ours.weights().items()}
    first = ours.result()
    ours.run()
    if isinstance(ours, steps.OurTraining):
        assert first.keys() == before.keys()
        assert all((array != ours.weights()[name]).any() for name, array in before.items() if first[name].any())
        products = steps.Products(module.products(sizes))
        products.run()
        assert all(np.isfinite(out).all() for _, _, _, out in products.calls)
    else:
        assert difference(ours.result(), first) == 0


def pairs() -> Iterator[Any]:
    """(kind, module, sizes) of all that some row compares."""
    for (module, sizes), name in zip(SMALL, NAMES, strict=True):
        for kind in ("torch", "jax", *table.OTHERS):
            one_lstm = module.__name__.endswith("language_model") and (sizes.cell, sizes.layers) == ("lstm", 1)
            if hasattr(module, KINDS[kind].function) and (kind not in table.OTHERS or one_lstm):
                yield pytest.param(kind, module, sizes, id=f"{name} {kind}")


@pytest.mark.parametrize(("kind", "module", "sizes"), [*pairs()])
def test_others_come_to_our_result(kind: str, module: ModuleType, sizes: Any) -> None:
    """And after a step with Adam, PyTorch and JAX are still where we are."""
    if reason := missing(kind):
        pytest.skip(f"{KINDS[kind].label}: {reason}")
    arrays = module.batch(sizes, np.random.default_rng(0))
    ours = step("numpy", module, sizes, arrays)
    other = step(kind, module, sizes, arrays, {name: array.copy() for name, array in ours.weights().items()})
    assert difference(other.result(), ours.result()) < side_by_side.TOLERANCE
    other.run()
    if kind in ("torch", "jax"):
        ours.run()
        assert difference(other.result(), ours.result()) < 10 * side_by_side.TOLERANCE


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_step_clips(kind: str) -> None:
    """A loss that is a thousand times as large leaves gradients of norm 1."""
    if reason := missing(kind):
        pytest.skip(f"{KINDS[kind].label}: {reason}")
    module = table.ROWS["rnn"].module
    arrays = module.batch(module.TINY, np.random.default_rng(0))
    weights = step("numpy", module, module.TINY, arrays).weights()
    training = step(kind, module, module.TINY, arrays, weights)
    loss = training.loss
    training.loss = lambda: 1000 * loss()
    training.run()
    norm = math.sqrt(sum(float((p.grad.numpy() ** 2).sum()) for p in training.model.parameters()))
    assert norm == pytest.approx(1, rel=1e-3)


def test_adam_in_numpy_is_ours() -> None:
    """Three steps of the one that stands in for libraries without Adam, clipping included, against ours."""
    gradients = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    w, ours = np.ones(5, np.float32), ts.tensor(np.ones(5, np.float32), requires_grad=True)
    adam, optimizer = steps.FlatAdam({"w": w}), ts.optim.Adam([ours], steps.LEARNING_RATE)
    for g in gradients:
        adam.step({"w": g})
        ours.grad = ts.tensor(g)
        ts.optim.clip_grad_norm([ours], steps.CLIP)
        optimizer.step()
    assert np.allclose(w - 1, ours.numpy() - 1, rtol=1e-2, atol=0)


def test_products_of_a_linear_map_count_forward_and_backward() -> None:
    """Against what a matrix product's gradients are: x (7, 3), W (3, 5)."""
    shapes = [((p.m, p.k), (p.k, p.n)) for p in steps.linear(7, 3, 5)]
    assert shapes == [((7, 3), (3, 5)), ((3, 7), (7, 5)), ((7, 5), (5, 3))]


def test_every_row_has_what_its_contenders_are_made_by() -> None:
    for name, row in table.ROWS.items():
        for each in row.contenders:
            assert hasattr(row.module, KINDS[each].function), f"{name}: {each}"
        assert hasattr(row.sizes, "count") == (row.unit != "ms a step")


def test_every_file_has_a_row() -> None:
    files = {path.stem for path in (ROOT / "benchmarks/rows").glob("*.py")}
    shared = {"__init__", "blocks_in_torch", "cells_in_jax", "layers_in_jax"}
    assert files - shared == {name.rpartition(".")[2] for name in FILES}
    assert rows.__doc__


@pytest.mark.parametrize("module", [side_by_side, scaling, steps, machine, contender, report], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module: ModuleType) -> None:
    assert not doctest.testmod(module).failed


# -- what is compared


def test_a_wrong_gradient_is_seen() -> None:
    right = {"W": np.array([1.0, -4.0], np.float32), "b": np.array([0.5], np.float32)}
    assert difference(right, right) == 0
    assert difference(right | {"W": np.array([1.0, -4.01])}, right) == pytest.approx(0.0025)
    assert math.isnan(difference(right | {"b": np.array([np.nan])}, right))
    assert difference(right | {"b": np.array([np.inf])}, right) == math.inf
    assert difference({"ids": np.array([1, 2])}, {"ids": np.array([1, 3])}) == 1
    with pytest.raises(Failed, match=r"not on both sides: \['b'\]"):
        difference({"W": right["W"]}, right)
    with pytest.raises(Failed, match=r"W: expected \(2,\), got \(1, 2\)"):
        difference(right | {"W": right["W"][None]}, right)


def test_what_should_be_nothing_may_be_rounding_errors() -> None:
    large, noise = np.array([1.0]), np.array([1e-9])
    assert difference({"W": large, "b": -noise}, {"W": large, "b": noise}) < 1e-5
    assert difference({"W": large, "b": np.array([1e-3])}, {"W": large, "b": noise}) > 0.9


# -- processes

FALSE_ROW = """
import os, time
import numpy as np
class Sizes:
    tiny = False
TINY = Sizes()
TINY.tiny = True
def batch(s, rng): return {"x": np.ones(3)}
class ours:
    factor = 1.0
    def __init__(self, s, given): self.x = self.factor * given.arrays["x"]
    def weights(self): return {}
    def result(self): return {"x": self.x}
    def run(self): pass
class wrong(ours): factor = 1.001
class close(ours): factor = 1.00001
class kinked(ours):
    def __init__(self, s, given): self.x = (1 if s.tiny else 1.01) * given.arrays["x"]
class undefined(ours): factor = float("nan")
class short(ours):
    def result(self): return {}
class broken(ours):
    def run(self): raise ZeroDivisionError("in a step")
class dying(ours):
    def run(self): os._exit(3)
class slow(ours):
    def run(self): time.sleep(1)
class told(ours):
    def result(self): return {"x": np.array([float(os.environ["TOLD"]), 1, 1])}
class threads(ours):
    def result(self): return {"x": np.array([1, 1, float(os.environ["OPENBLAS_NUM_THREADS"]) / 3])}
"""


@pytest.fixture
def false_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """A row whose contenders go wrong in all ways: where they are looked up, they are kinds of their own."""
    (tmp_path / "false_row.py").write_text(FALSE_ROW, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    names = ("wrong", "close", "kinked", "undefined", "short", "broken", "dying", "slow", "told", "threads", "absent")
    for name in names:
        monkeypatch.setitem(KINDS, name, Kind(name, name, environment={"TOLD": "1"}))
    monkeypatch.setitem(KINDS, "absent", Kind("absent", "absent", ("no_such_package_at_all",)))
    monkeypatch.setattr(contender, "PATIENCE", 20)
    module = importlib.import_module("false_row")
    return Row("false", module, module.Sizes(), ("numpy", *names))


def test_whoever_goes_wrong_is_dropped_and_the_others_stay(false_row: Row) -> None:
    row = false_row._replace(contenders=tuple(name for name in false_row.contenders if name != "slow"))
    found = measure(row, SETTINGS._replace(contenders=row.contenders, threads=3))
    assert list(found["contenders"]) == ["numpy", "close", "told", "threads"]
    assert found["skipped"] == {"absent": "not installed: pip install no_such_package_at_all"}
    failed = found["failed"]
    assert failed.keys() == {"wrong", "kinked", "undefined", "short", "broken", "dying"}
    assert failed["wrong"] == "its result is not ours: 1.0e-03 apart, more than 1e-04"
    assert failed["short"] == "results that are not on both sides: ['x']"
    assert "nan apart" in failed["undefined"]
    assert failed["broken"].startswith("ZeroDivisionError: in a step")
    assert failed["dying"] == "its process ended with code 3"


def test_where_there_are_relus_what_is_right_in_small_may_differ_at_full_size(false_row: Row) -> None:
    row = false_row._replace(contenders=("numpy", "wrong", "kinked"), tolerance=table.RELU)
    found = measure(row, SETTINGS._replace(contenders=row.contenders))
    assert list(found["contenders"]) == ["numpy", "kinked"]
    assert found["contenders"]["kinked"]["difference"] == pytest.approx(0.01)
    assert {name for name, row in table.ROWS.items() if row.tolerance != side_by_side.TOLERANCE} == {"transformer"}


def test_one_that_does_not_answer_is_ended(false_row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    with Contender(KINDS["slow"], "false_row", 1) as slow:
        slow.answer()
        slow.call("build", None, {"x": np.ones(3)}, {})
        monkeypatch.setattr(contender, "PATIENCE", 0.1)
        with pytest.raises(Failed, match=r"no answer within 0.1 s"):
            slow.call("turn", 0.0)
        slow.process.join(10)
        assert not slow.process.is_alive()


def test_without_ours_there_is_no_race(false_row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "numpy", KINDS["broken"])
    found = measure(false_row._replace(contenders=("numpy", "close")), SETTINGS._replace(contenders=("close",)))
    assert not found["contenders"] and found["failed"]["numpy"].startswith("ZeroDivisionError")


def test_ratios_are_taken_round_by_round(false_row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "BASE", "close")
    found = measure(false_row._replace(contenders=("numpy", "close")), SETTINGS._replace(contenders=("close",)))
    ours, base = found["contenders"]["numpy"], found["contenders"]["close"]
    assert len(ours["rounds"]) == len(base["rounds"]) == SETTINGS.rounds
    expected = np.median([b / a for a, b in zip(ours["rounds"], base["rounds"], strict=True)])
    assert ours["ratio"]["median"] == pytest.approx(expected)
    assert base["ratio"]["low"] == base["ratio"]["high"] == 1


def test_memory_is_that_of_the_step() -> None:
    """An LSTM of 2 million weights: them, their gradients and Adam's two arrays are 33 MB, in MB of this process."""
    if machine.peak() is None:
        pytest.skip("only Linux tells a process its peak")
    sizes = table.ROWS["lstm-512"].sizes
    row = table.ROWS["lstm-512"]._replace(sizes=type(sizes)(H=512, B=2, T=3))
    found = measure(row, Settings(1, 0.001, 1, ()))["contenders"]["numpy"]
    assert 4 * 8.4 < found["memory"] < 12 * 8.4


# -- the command


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The command on tiny rows, writing to a folder of the test's."""
    monkeypatch.setattr(command, "ROWS", TINY)
    monkeypatch.setattr(scaling, "ROWS", TINY)
    monkeypatch.setattr(command, "OUT", tmp_path / "out")
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "PAGE", tmp_path / "speed.md")
    monkeypatch.setattr(scaling, "SERIES", {"T": scaling.Series("LSTM", "lstm-256", "T", (2, 3))})
    monkeypatch.setattr(memory, "WAYS", {name: way._replace(lengths=(8, 16)) for name, way in memory.WAYS.items()})
    some = {name: pictures.SUBJECTS[name]._replace(sizes=(2, 4)) for name in ("opened", "grid", "loop")}
    monkeypatch.setattr(pictures, "SUBJECTS", some)
    monkeypatch.setattr(loop, "STEPS", 2)
    return tmp_path


def test_everything_by_the_command(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["lstm-128", "write-gpt-1", "overhead", "scaling", "memory", "loop", "pictures", "import"]
    arguments = ["--peers", "none", "--rounds", "1", "--seconds", "0.001", "--threads", "1"]
    assert command.main([*names, *arguments]) == 0
    results = json.loads((small / "out/results.json").read_text(encoding="utf-8"))
    assert set(results["rows"]) == set(names[:3])
    assert results["rows"]["write-gpt-1"]["contenders"]["numpy"]["seconds"]["median"] > 0
    assert results["scaling"]["T"]["contenders"]["numpy"]["values"] == [2, 3]
    assert set(results["memory"]) == {"bptt", "truncated", "checkpointed", "attention", "definition"}
    assert set(results["loop"]) == {"char-lm", "gpt"}
    assert all(found["per_second"]["bare"]["median"] > 1 for found in results["loop"].values())
    assert all(found["cost"]["median"] > -1 and found["checkpoint"] > 0 for found in results["loop"].values())
    assert results["pictures"]["opened"]["boxes"][1] > results["pictures"]["opened"]["boxes"][0] > 10
    assert all(min(found["dot"] + found["svg"] + found["MB"]) > 0 for found in results["pictures"].values())
    assert results["imports"]["tinygrad_seq"]["median"] > 0
    assert results["machine"]["numpy"] == np.__version__ and results["machine"]["products"]
    text = (small / "out/results.md").read_text(encoding="utf-8")
    for title in (
        "Machine",
        "Time",
        "Time of a step, ms, by size",
        "Memory, MB, by the length T",
        "The Trainer's loop",
        "Pictures",
        "Import, ms",
    ):
        assert f"## {title}" in text
    assert "tokens/s" in text and "µs an op" in text
    assert (small / "out/growth.png").stat().st_size > 2000
    assert not (small / "out/rows.png").exists()  # nobody to compare with
    assert "all of it, and plots" in capsys.readouterr().out


def test_a_failure_is_the_commands_failure(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {
        "about": "x",
        "unit": "ms a step",
        "count": 1,
        "contenders": {},
        "skipped": {},
        "failed": {"torch": "no"},
    }
    monkeypatch.setattr(command, "measure", lambda row, settings: failing)
    assert command.main(["gru", "--rounds", "1"]) == 1
    assert "| PyTorch | failed: no | gru |" in (small / "out/results.md").read_text(encoding="utf-8")


def made_up() -> dict[str, Any]:
    """Results with every kind of contender."""

    def spread(x: float) -> dict[str, float]:
        return {"median": x, "low": 0.9 * x, "high": 1.1 * x}

    contenders: dict[str, dict[str, Any]] = {
        name: {"seconds": spread(0.01 * (k + 1)), "rounds": [], "ratio": spread(4 / (k + 1))}
        for k, name in enumerate(KINDS)
    }
    for name, megabytes, loaded in (("numpy", 50.0, 2.0), ("fast", 50.0, 2.0), ("torch", 100.0, 30.0)):
        contenders[name] |= {"memory": megabytes, "loaded": loaded}
    row = {"about": "LSTM", "unit": "ms a step", "count": 1, "contenders": contenders, "skipped": {}, "failed": {}}
    return {
        "command": "python -m benchmarks lstm-256",
        "date": "2026-01-01 00:00",
        "machine": {"processor": "one", "cores": 2},
        "settings": {"rounds": 3, "seconds": 0.1, "threads": 2},
        "rows": {"lstm-256": row, "gru": row | {"about": "GRU", "contenders": {"numpy": contenders["numpy"]}}},
        "scaling": {},
    }


def test_kept_results_are_shown_again(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(made_up()), encoding="utf-8")
    assert command.main(["--show", str(file)]) == 0
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| lstm-256 | LSTM | ms a step | 10 (9–11) | 20 (18–22) |" in text
    assert "| lstm-256 | 4.00 (3.60–4.40) | 2.00 (1.80–2.20) |" in text
    assert "| lstm-256 | 50.0 + 2.0 | 50.0 + 2.0 | 100.0 + 30.0 | 0.50 | 0.40 |" in text
    assert (tmp_path / "rows.png").stat().st_size > 2000


def test_the_page_of_what_was_kept(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest in full with its plots, the others by a line; without any it says so."""
    assert page.page().endswith("No results are kept yet.\n")
    older = made_up() | {"date": "2025-12-31 00:00"}
    for name, results in (("second", made_up()), ("first", older)):
        monkeypatch.setattr(command, "run", lambda options, say, results=results: results)
        assert command.main(["--keep", name]) == 0
    text = (small / "speed.md").read_text(encoding="utf-8")
    assert text == page.page()
    assert "## Measured: second\n" in text and "| lstm-256 | 4.00 (3.60–4.40) | 2.00 (1.80–2.20) |" in text
    assert "results/second/rows.png)" in text and "growth.png" not in text  # no scaling was measured
    assert text.rstrip().endswith("- [first](../benchmarks/results/first/results.md): 2025-12-31, one, 2 cores")
    for title in (report.RATIOS, report.MEMORY):
        assert f"### {title}\n" in text
    assert f"### {report.GROWTH}" not in text


def test_the_kept_page_is_what_was_kept() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


def test_names_and_peers() -> None:
    options = command.parse(["lstm", "write-gpt", "lstm-256", "--peers", "torch,jax", "--rounds", "7"])
    assert options.names == ["lstm-128", "lstm-256", "lstm-512", "lstm-2x512", "write-gpt-1", "write-gpt-32"]
    assert options.peers == ("torch", "jax") and options.rounds == 7
    assert command.parse([]).names == [*table.ROWS, *command.OTHER]
    assert command.parse(["--quick"]).peers == ("products", "torch")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ltsm"], "unknown name 'ltsm': expected some of lstm-128"),
        (["--peers", "pytorch"], "unknown peer 'pytorch': expected some of products, torch"),
        (["--rounds", "0"], "above 0"),
        (["--keep", "x", "--quick"], "the docs show everything"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert message in capsys.readouterr().err


def test_exponents_are_those_of_the_upper_half() -> None:
    sizes = [1, 10, 100, 1000, 10_000]
    assert scaling.exponent(sizes, [5, 5, 100, 1000, 10_000]) == pytest.approx(1)


def test_memory_is_what_a_pass_allocates() -> None:
    assert memory.peak(lambda: np.ones(1_000_000).sum()) == pytest.approx(8, rel=0.01)  # type: ignore[arg-type,return-value]
    assert import_time.measure_imports(1)["numpy"]["median"] > 0
