"""A run that stopped and went on is, to the last bit, the run that never stopped: for every model."""

import json
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from small_models import SMALL
from small_tasks import assert_equal_runs, gpt, language_model, on_rows, small_trainer
from tinygrad_seq.backend import fast
from tinygrad_seq.train import (
    CheckpointError,
    Trainer,
    begin,
    best_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    read_log,
    save_checkpoint,
)


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost here by waiting for no disk, and each of many checkpoints waits for it seven times."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(params=["numpy", "fast"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The plain kernels, then the compiled ones."""
    if request.param == "numpy":
        monkeypatch.setenv("TINYGRAD_SEQ_FAST", "0")
        monkeypatch.setattr(fast, "_found", {})
    else:
        pytest.importorskip("numba")
        if fast.in_use() == "numpy":
            pytest.skip("the compiled kernels are switched off")
    return request.param


class Stop(ts.train.Callback):
    """Ends a run as kill -9 does, but for the process: in the middle of everything, with nothing saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise Stopped


class Stopped(Exception):
    pass


def check_resume(task: Callable[[], Any], tmp_path: Path, **options: Any) -> Trainer:
    """Straight, against stopped between two checkpoints and resumed."""
    options = {"checkpoint_every": 7} | options
    straight = small_trainer(task, tmp_path / "straight", **options)
    straight.run()
    with pytest.raises(Stopped):
        small_trainer(task, tmp_path / "resumed", **options, callbacks=[Stop(10)]).run()
    assert max(line["step"] for line in read_log(tmp_path / "resumed").reports) == 9  # of these two are done again
    again = small_trainer(task, tmp_path / "resumed", **options)
    assert "from step" in begin(again, resume=True)
    assert again.step < 10
    again.run()
    assert_equal_runs(tmp_path / "straight", tmp_path / "resumed")
    assert again.history == straight.history and again.best == straight.best
    return straight


@pytest.mark.parametrize("name", SMALL)
def test_every_model(name: str, tmp_path: Path, kernels: str) -> None:
    trainer = check_resume(partial(on_rows, name), tmp_path)
    assert trainer.history.loss[-1][1] < trainer.history.loss[0][1]
    assert load_checkpoint(tmp_path / "resumed").state["kernels"] == kernels


def test_a_language_model_with_its_carried_state(tmp_path: Path, kernels: str) -> None:
    check_resume(language_model, tmp_path)
    assert load_checkpoint(tmp_path / "resumed").optimizer["task.h"].any()


def test_random_blocks_made_ahead(tmp_path: Path, kernels: str) -> None:
    check_resume(gpt, tmp_path)
    assert load_checkpoint(tmp_path / "resumed").state["task"]["position"] == 20


OPTIMIZERS: dict[str, Callable[[Any], ts.optim.Optimizer]] = {
    "SGD": lambda params: ts.optim.SGD(params, 0.1),
    "SGD with momentum": lambda params: ts.optim.SGD(params, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda params: ts.optim.Adam(params, 0.01, weight_decay=0.01),
    "AdamW": lambda params: ts.optim.AdamW(params, 0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "RMSprop": lambda params: ts.optim.RMSprop(params, 0.01),
    "RMSprop with momentum": lambda params: ts.optim.RMSprop(params, 0.01, momentum=0.9),
    "two groups": lambda params: ts.optim.Adam(
        [{"params": list(params)[:3], "lr": 0.1}, {"params": list(params)[3:], "weight_decay": 0.01}]
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str, tmp_path: Path) -> None:
    check_resume(language_model, tmp_path, optimizer=OPTIMIZERS[name], schedule=None)


def test_every_optimizer_has_a_row() -> None:
    kinds = {kind for kind in vars(ts.optim).values() if isinstance(kind, type)} - {ts.optim.Optimizer}
    assert {type(make([ts.nn.Parameter([1.0]) for _ in range(4)])) for make in OPTIMIZERS.values()} == kinds


SCHEDULES = {
    "constant": ts.optim.schedules.constant(0.01),
    "step decay": ts.optim.schedules.step_decay(0.02, 6),
    "cosine with warm-up": ts.optim.schedules.linear_warmup(ts.optim.schedules.cosine(0.02, 20), 9),
    "Noam": ts.optim.schedules.noam(16, 9),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule(name: str, tmp_path: Path) -> None:
    check_resume(language_model, tmp_path, schedule=SCHEDULES[name])


@pytest.mark.parametrize("options", [{"accumulate": 3}, {"clip": None}, {"checkpoint_every": 1}, {"report_every": 1}])
def test_options_of_the_loop(options: dict[str, Any], tmp_path: Path) -> None:
    check_resume(language_model, tmp_path, **options)


class Scripted:
    """A language model whose evaluations are made up: 4.0 at first, and after its best it only gets worse."""

    def __init__(self, best: int) -> None:
        self.task, self.asked, self.best = language_model(), 0, best
        self.model, self.batches, self.loss, self.size = (
            getattr(self.task, name) for name in ("model", "batches", "loss", "size")
        )

    def evaluate(self) -> dict[str, float]:
        self.asked += 1
        return {"loss": 4.0, "f1": 0.5 - 0.01 * abs(self.asked - self.best)}

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        arrays, values = self.task.state_dict()
        return arrays, values | {"asked": self.asked}

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        self.asked = values["asked"]
        self.task.load_state_dict(arrays, values)


def test_patience_goes_on_counting(tmp_path: Path) -> None:
    """Evaluations at 2, 4, 6, …: the best is the third; the run stops at 6, and patience of 4 is over at 14."""
    trainer = check_resume(lambda: Scripted(3), tmp_path, evaluate_every=2, patience=4, best_by="f1")
    assert trainer.step == 14 and trainer.finished
    assert best_checkpoint(tmp_path / "resumed") == tmp_path / "resumed/checkpoints/step-000006"
    assert latest_checkpoint(tmp_path / "resumed") == tmp_path / "resumed/checkpoints/step-000014"
    again = small_trainer(lambda: Scripted(3), tmp_path / "resumed", evaluate_every=2, patience=4, best_by="f1")
    assert "is finished: step 14 of 20" in begin(again, resume=True)


# How a run begins


def files(directory: Path) -> dict[Path, Any]:
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in directory.rglob("*")}


def test_nothing_there_yet_is_step_0(tmp_path: Path) -> None:
    trainer = small_trainer(language_model, tmp_path / "run")
    assert begin(trainer, resume=True) == f"beginning in {tmp_path / 'run'} at step 0: no checkpoint there yet"
    assert trainer.step == 0 and not (tmp_path / "run").exists()
    assert begin(trainer, resume=False) == f"beginning in {tmp_path / 'run'}"


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    small_trainer(language_model, tmp_path).run()
    before = files(tmp_path)
    with pytest.raises(ValueError, match="holds a run already: go on with it by --resume, or choose another folder"):
        begin(small_trainer(language_model, tmp_path), resume=False)
    assert files(tmp_path) == before


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    history = small_trainer(language_model, tmp_path).run()
    before = files(tmp_path)
    again = small_trainer(language_model, tmp_path)
    assert begin(again, resume=True) == f"{tmp_path} is finished: step 20 of 20"
    assert again.run() == history
    assert files(tmp_path) == before


def test_more_steps_than_before_are_noticed(tmp_path: Path) -> None:
    small_trainer(language_model, tmp_path).run()
    again = small_trainer(language_model, tmp_path, steps=30)
    line = begin(again, resume=True)
    assert line == f"going on in {tmp_path} from step 20 of 30; until now it was to be 20, by its own schedule"
    again.run()
    assert load_checkpoint(tmp_path).step == 30
    assert [step for step, _ in again.history.loss] == list(range(1, 31))


def test_another_config_is_refused_by_name(tmp_path: Path) -> None:
    config = {"hidden": 12, "betas": (0.9, 0.99), "lr": 0.1}
    small_trainer(language_model, tmp_path, extra={"config": config, "vocabulary": ["a"]}).run()
    begin(small_trainer(language_model, tmp_path, extra={"config": config, "vocabulary": ["a"]}), resume=True)
    other = small_trainer(language_model, tmp_path, extra={"config": config | {"lr": 0.2, "dropout": 0.5}})
    with pytest.raises(
        CheckpointError, match="config differs: lr was 0.1 and is 0.2, dropout was None and is 0.5; give"
    ):
        begin(other, resume=True)
    assert other.step == 0
    with pytest.raises(CheckpointError, match="its vocabulary differs; give the data and sizes of that run"):
        begin(small_trainer(language_model, tmp_path, extra={"vocabulary": ["b"]}), resume=True)


def test_begin_needs_a_directory() -> None:
    with pytest.raises(ValueError, match="no directory"):
        begin(small_trainer(language_model), resume=True)


def test_names_that_a_checkpoint_has_already() -> None:
    with pytest.raises(ValueError, match=r"has \['random', 'task'\] already"):
        small_trainer(language_model, extra={"task": 1, "random": 2, "mine": 3})


# All of it or nothing


def state(trainer: Trainer) -> dict[str, Any]:
    """Everything that a resume may change, comparable."""
    from tinygrad_seq.train.resume import parts_of

    model, optimizer, plain = parts_of(trainer)
    arrays = {name: array.tobytes() for name, array in (model | optimizer).items()}
    return {"arrays": arrays, "state": json.loads(json.dumps(plain)), "step": trainer.step, "best": trainer.best}


def stopped_trainer() -> Trainer:
    """One that has learned something of its own already."""
    trainer = small_trainer(language_model, evaluate_every=2, steps=4)
    trainer.run()
    return trainer


def broken(whole: dict[str, Any], what: str) -> dict[str, Any]:
    """A checkpoint that was saved whole, and does not fit in one part."""
    model, optimizer, plain = ({**part} for part in (whole["model"], whole["optimizer"], whole["state"]))
    match what:
        case "model":
            del model["output.bias"]
        case "optimizer":
            optimizer["optimizer.0.m"] = optimizer["optimizer.0.m"][:-1]
        case "another optimizer":
            optimizer = {name: array for name, array in optimizer.items() if not name.endswith(".v")}
        case "task":
            plain["task"] = plain["task"] | {"row_length": 5}
        case "carried state":
            del optimizer["task.h"]
        case "no task":
            del plain["task"]
        case "random":
            plain["random"] = "chance"
        case "threads":
            plain["threads"] = [0, False]
        case "validation":
            plain["validation"] = [[4, {"accuracy": 1.0}]]
        case "history":
            del optimizer["history.gradient_norm"]
    return {"model": model, "optimizer": optimizer, "state": plain}


WHAT = "model|optimizer|another optimizer|task|carried state|no task|random|threads|validation|history".split("|")


@pytest.mark.parametrize("what", WHAT)
def test_what_does_not_fit_is_refused_whole(what: str, tmp_path: Path) -> None:
    small_trainer(language_model, tmp_path / "whole").run()
    found = load_checkpoint(tmp_path / "whole")
    whole = {"model": found.model, "optimizer": found.optimizer, "state": found.state}
    save_checkpoint(tmp_path / "broken", 20, **broken(whole, what))
    trainer = stopped_trainer()
    before = state(trainer)
    with pytest.raises(CheckpointError, match="step-000020 does not fit this Trainer: "):
        trainer.resume(tmp_path / "broken")
    assert state(trainer) == before
    save_checkpoint(tmp_path / "mended", 20, **whole)
    trainer.resume(tmp_path / "mended")
    assert trainer.step == 20


def test_a_changed_byte_changes_nothing_of_the_trainer(tmp_path: Path) -> None:
    """Any byte of any file, changed or the last that is left: an error, or all that was saved."""
    small_trainer(language_model, tmp_path).run()
    saved = small_trainer(language_model)
    saved.resume(tmp_path)
    fresh = stopped_trainer()
    before, after, rng = state(fresh), state(saved), np.random.default_rng(0)
    refused = 0
    for file in sorted(load_checkpoint(tmp_path).path.iterdir()):
        data = file.read_bytes()
        for k in rng.integers(0, len(data), 40).tolist():
            changed = data[:k] + bytes([data[k] ^ rng.integers(1, 256)]) + data[k + 1 :]
            file.write_bytes(changed if k % 2 else data[:k])
            try:
                fresh.resume(tmp_path)
            except CheckpointError:
                refused += 1
                assert state(fresh) == before
            else:
                assert state(fresh) == after | {"state": after["state"] | {"steps": fresh.steps}}
                fresh = stopped_trainer()
        file.write_bytes(data)
    assert refused > 100  # of 120: what is left is white space and the version


def test_what_a_newer_version_adds_is_left_alone(tmp_path: Path) -> None:
    trainer = small_trainer(language_model, tmp_path / "run")
    trainer.run()
    found = load_checkpoint(tmp_path / "run")
    optimizer, plain = found.optimizer | {"average.w": np.ones(3)}, found.state | {"weather": "fine"}
    path = save_checkpoint(tmp_path / "newer", 20, model=found.model, optimizer=optimizer, state=plain)
    about = json.loads((path / "state.json").read_text("utf-8"))
    (path / "state.json").write_text(json.dumps(about | {"author": "someone"}), "utf-8")
    again = small_trainer(language_model)
    again.resume(tmp_path / "newer")
    assert state(again)["arrays"] == state(trainer)["arrays"]


def test_a_checkpoint_of_version_0_1_0(tmp_path: Path) -> None:
    """It had the losses in its state, one number for an evaluation, no norms, no digest of the state, no threads."""
    trainer = small_trainer(language_model, tmp_path / "run")
    trainer.run()
    found = load_checkpoint(tmp_path / "run")
    optimizer = {name: array for name, array in found.optimizer.items() if not name.startswith("history.")}
    history = {"loss": trainer.history.loss, "validation": [(s, m["loss"]) for s, m in trainer.history.validation]}
    plain = {"task": found.state["task"], "random": found.state["random"], "history": history}
    path = save_checkpoint(tmp_path / "old", 20, model=found.model, optimizer=optimizer, state=plain)
    about = json.loads((path / "state.json").read_text("utf-8"))
    del about["sha256"]["state"]
    (path / "state.json").write_text(json.dumps(about), "utf-8")
    again = small_trainer(language_model, steps=22)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "from step 20 of 22" in begin(_in(again, tmp_path / "old"), resume=True)
    assert again.history.loss == trainer.history.loss
    assert again.history.validation == trainer.history.validation
    assert np.isnan([norm for _, norm in again.history.gradient_norm]).all()
    again.run()
    assert load_checkpoint(tmp_path / "old").step == 22


def _in(trainer: Trainer, directory: Path) -> Trainer:
    trainer.directory = directory
    return trainer


# Kernels, threads, devices


def test_other_kernels_or_versions_are_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "in_use", lambda: "numpy")
    small_trainer(language_model, tmp_path / "run").run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_trainer(language_model).resume(tmp_path / "run")
    found = load_checkpoint(tmp_path / "run")
    other = found.state | {"kernels": "fast", "versions": found.state["versions"] | {"numpy": "1.0", "numba": "0.1"}}
    save_checkpoint(tmp_path / "other", 20, model=found.model, optimizer=found.optimizer, state=other)
    again = small_trainer(language_model)
    with pytest.warns(RuntimeWarning, match="the last bits will differ from those of a run that never stopped") as seen:
        again.resume(tmp_path / "other")
    assert again.step == 20 and len(seen) == 1
    text = str(seen[0].message)
    assert f"numpy: 1.0 then, {np.__version__} now" in text and "kernels: fast then, numpy now" in text
    assert "numba: 0.1 then, None now" in text and "blas" not in text and "\n" not in text
    assert seen[0].filename == __file__


@pytest.mark.parametrize("way", ["to the device", "from the device", "on the device"])
def test_a_run_may_move_between_devices(way: str, tmp_path: Path, device: Any) -> None:
    """It goes on as it would have gone on there: the same random numbers, masks and batches."""
    then, now = {"to": ("cpu", device.device), "from": (device.device, "cpu")}.get(way.split()[0], (device.device,) * 2)
    for name in ("straight", "resumed"):
        options = {"checkpoint_every": 7, "evaluate_every": 100}
        with device.reading():
            trainer = small_trainer(partial(language_model, then), tmp_path / name, **options)
            if name == "straight":
                trainer.run()
                continue
            trainer.callbacks.append(Stop(10))
            with pytest.raises(Stopped):
                trainer.run()
            again = small_trainer(partial(language_model, now), tmp_path / name, **options)
            begin(again, resume=True)
            assert again.step == 7
            again.run()
    straight, resumed = (load_checkpoint(tmp_path / name) for name in ("straight", "resumed"))
    assert straight.state["random"] == resumed.state["random"]
    for name, array in (straight.model | straight.optimizer).items():
        other = (resumed.model | resumed.optimizer)[name]
        if then == now:
            assert array.tobytes() == other.tobytes(), name
        else:
            np.testing.assert_allclose(array, other, rtol=2e-4, atol=2e-5, err_msg=name)


def test_a_step_never_waits_for_a_gpu(strict: Any) -> None:
    """Only a report, an evaluation and a checkpoint do; the stand-in raises where the host waits."""
    from gpu import strictcupy

    trainer = small_trainer(partial(gpt, "cuda"), report_every=7, evaluate_every=20, accumulate=2)
    counts: list[int] = []

    class Count(ts.train.Callback):
        def on_step(self, trainer: Trainer) -> None:
            counts.append(strictcupy.stats.syncs)

    trainer.callbacks.append(Count())
    with strictcupy.allow_sync():
        trainer.run()
    waits = np.diff(counts)  # between step k and step k + 1
    assert {k + 1 for k, n in enumerate(waits) if n} == {7, 14}
    assert max(waits) < 7  # for all losses at once and all norms at once, not for each
