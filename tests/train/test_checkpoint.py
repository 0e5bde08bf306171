"""Checkpoints: what goes in comes out, and a crash at any moment leaves a whole one."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_seq.train import checkpoint as checkpoints
from tinygrad_seq.train.checkpoint import (
    CheckpointError,
    best_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)


def save(directory, step, **parts):
    """A checkpoint whose every part tells its step."""
    whole = {
        "model": {"w": np.full((3, 5), step, dtype=np.float32)},
        "optimizer": {"m": np.full(7, -step)},
        "state": {"here": step},
    }
    return save_checkpoint(directory, step, **(whole | parts))


def assert_whole(found, step):
    assert found.step == found.state["here"] == step
    np.testing.assert_array_equal(found.model["w"], np.full((3, 5), step, dtype=np.float32))
    np.testing.assert_array_equal(found.optimizer["m"], np.full(7, -step))


class Crash(BaseException):
    """The power goes: nothing may catch it."""


# What goes in comes out


dtypes = st.sampled_from("bool i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 >f4 >i8".split()).map(np.dtype)
any_array = dtypes.flatmap(
    lambda d: arrays.arrays(d, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)


@settings(max_examples=100, deadline=None)
@given(model=st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda n: n.isprintable()), any_array, max_size=4))
def test_arrays_survive_to_the_last_bit(tmp_path_factory, model):
    run = tmp_path_factory.mktemp("run")
    optimizer = {name: array.T for name, array in model.items()}  # not in C order
    save_checkpoint(run, 1, model=model, optimizer=optimizer, state={})
    found = load_checkpoint(run)
    for saved, loaded in ((model, found.model), (optimizer, found.optimizer)):
        assert saved.keys() == loaded.keys()
        for name, array in saved.items():
            assert loaded[name].shape == array.shape
            assert loaded[name].dtype == array.dtype.newbyteorder("=")
            assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()  # NaN's bits too
            assert loaded[name].flags.writeable


def test_numpy_scalars_are_0d_arrays(tmp_path):
    save(tmp_path, 1, optimizer={"t": np.int64(3), "done": np.bool_(True)})
    found = load_checkpoint(tmp_path).optimizer
    assert found["t"].shape == found["done"].shape == ()
    assert found["t"] == 3 and found["done"].dtype == bool


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=100, deadline=None)
@given(state=st.dictionaries(st.text(), plain, max_size=4))
def test_state_survives(tmp_path_factory, state):
    run = tmp_path_factory.mktemp("run")
    save(run, 1, state=state)
    assert load_checkpoint(run).state == state


def test_state_takes_numpy_numbers_nan_and_infinity(tmp_path):
    rng = np.random.default_rng(3)
    rng.random(5)
    state = {
        "loss": np.float32(0.1),
        "best": math.inf,
        "last": [-math.inf, math.nan],
        "count": np.int64(2),
        "done": np.bool_(False),
        "pair": (1, 2),
        "rng": rng.bit_generator.state,
    }
    save(tmp_path, 1, state=state)
    found = load_checkpoint(tmp_path).state
    assert np.float32(found["loss"]) == np.float32(0.1)
    assert found["best"] == math.inf and found["last"][0] == -math.inf and math.isnan(found["last"][1])
    assert found["count"] == 2 and found["done"] is False and found["pair"] == [1, 2]
    again = np.random.default_rng()
    again.bit_generator.state = found["rng"]
    assert again.random() == rng.random()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"rng": {"key": np.arange(3)}}, r"ndarray for state\['rng'\]\['key'\]; use .tolist\(\)"),
        ({"a": [0, {1, 2}]}, r"set for state\['a'\]\[1\]"),
        ({"a": {1: 2}}, r"keys of state\['a'\], got 1"),
    ],
)
def test_state_that_json_would_change_is_refused_by_name(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        save(tmp_path, 1, state=state)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"w": [1.0]}, "builtins.list for 'w' in model"),
        ({"w": np.array(["a"])}, "dtype <U1 for 'w' in model"),
        ({"w": np.array([None])}, "dtype object for 'w'"),
        ({"w": np.zeros(1, dtype=np.complex64)}, "dtype complex64 for 'w'"),
        ({3: np.zeros(1)}, "got 3"),
        ({"__metadata__": np.zeros(1)}, "got '__metadata__'"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(tmp_path, model, message):
    with pytest.raises(TypeError, match=message):
        save(tmp_path, 1, model=model)
    assert not any(tmp_path.iterdir())


def test_a_negative_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 0, got -1"):
        save(tmp_path, -1)


def test_state_json_says_what_wrote_it(tmp_path):
    about = json.loads((save(tmp_path, 300) / "state.json").read_text("utf-8"))
    assert about["format"] == 1 and about["step"] == 300
    assert isinstance(about["version"], str) and about["version"]


# Finding them


def test_the_latest_is_found_from_the_run_and_from_its_checkpoints(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    first, second = save(tmp_path, 7), save(tmp_path, 1_234_567)
    assert first == tmp_path / "checkpoints" / "step-000007"
    assert second.name == "step-1234567"
    assert (tmp_path / "checkpoints" / "latest").read_text("utf-8").strip() == second.name
    for place in (tmp_path, str(tmp_path), tmp_path / "checkpoints"):
        assert latest_checkpoint(place) == second
        assert_whole(load_checkpoint(place), 1_234_567)
    found = load_checkpoint(first)
    assert_whole(found, 7)
    assert found.path == first


def test_a_step_folder_may_be_carried_away_and_renamed(tmp_path):
    shutil.copytree(save(tmp_path / "run", 5), tmp_path / "mine")
    assert_whole(load_checkpoint(tmp_path / "mine"), 5)


def test_the_latest_is_the_one_saved_last_and_not_the_highest(tmp_path):
    save(tmp_path, 9)
    last = save(tmp_path, 3)
    assert latest_checkpoint(tmp_path) == last


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    save(tmp_path, 4)
    save(tmp_path, 4, state={"here": "anew"})
    assert load_checkpoint(tmp_path).state == {"here": "anew"}
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-000004"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_where_nothing_was_saved(tmp_path, make):
    make(tmp_path / "run")
    with pytest.raises(CheckpointError, match="expected a checkpoint in .*run, but there is no"):
        load_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("junk", [b"", b"../../etc", b"\xff\xfe", b"step-1"])
def test_a_damaged_latest_is_named(tmp_path, junk):
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "latest").write_bytes(junk)
    with pytest.raises(CheckpointError, match="latest to hold a name like step-000300"):
        load_checkpoint(tmp_path)


def test_where_the_latest_was_removed_the_one_before_is_the_latest(tmp_path):
    for step in (1, 3, 2, 4):
        save(tmp_path, step)
    shutil.rmtree(latest_checkpoint(tmp_path))
    assert (
        latest_checkpoint(tmp_path)
        == latest_checkpoint(tmp_path / "checkpoints")
        == tmp_path / "checkpoints/step-000003"
    )
    assert load_checkpoint(tmp_path).step == 3


def test_a_latest_that_is_gone_is_named(tmp_path):
    shutil.rmtree(save(tmp_path, 1))
    with pytest.raises(CheckpointError, match="names step-000001, but there is no such folder"):
        load_checkpoint(tmp_path)


# Pruning


def test_prune_keeps_the_newest_the_best_and_the_latest(tmp_path):
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step, best=min(step, 2))
    gone = prune_checkpoints(tmp_path, keep=2)
    assert [path.name for path in gone] == ["step-000001", "step-000003"]
    left = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert left == ["best", "latest", "step-000002", "step-000004", "step-000005"]
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-000002"
    save(tmp_path, 3)  # the latest, though older by its number
    assert [path.name for path in prune_checkpoints(tmp_path, keep=1)] == ["step-000002", "step-000004"]
    assert_whole(load_checkpoint(tmp_path), 3)


def test_prune_with_nothing_to_do(tmp_path):
    assert prune_checkpoints(tmp_path) == []
    save(tmp_path, 1)
    assert prune_checkpoints(tmp_path, keep=1) == []
    with pytest.raises(ValueError, match="keep=0"):
        prune_checkpoints(tmp_path, keep=0)


def test_a_crash_while_pruning_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, step)

    def half(path, *args, **kwargs):
        (Path(path) / "model.safetensors").unlink()
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(shutil, "rmtree", half)
        prune_checkpoints(tmp_path, keep=1)
    for next_step in (3, 4):
        for folder in (tmp_path / "checkpoints").glob("step-??????"):
            load_checkpoint(folder)
        save(tmp_path, next_step)


# Files that are not what they should be


PARTS = ("model.safetensors", "optimizer.safetensors", "state.json")


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(tmp_path, part):
    file = save(tmp_path, 1) / part
    file.unlink()
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path)
    assert str(file) in str(error.value) and "load another checkpoint" in str(error.value)


@pytest.mark.parametrize("part", PARTS)
def test_a_truncated_part_is_named_wherever_it_ends(tmp_path, part):
    file = save(tmp_path, 1) / part
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(tmp_path)
        assert str(file) in str(error.value)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "foreign", [b"\x80\x04\x95pickle", b"PK\x03\x04" + b"zip" * 30, b"[1, 2]", b'"x"', b'{"a": 1}', b"[" * 99_999]
)
def test_a_foreign_part_is_named(tmp_path, part, foreign):
    file = save(tmp_path, 1) / part
    file.write_bytes(foreign)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("part", PARTS[:2])
def test_a_single_changed_bit_is_noticed(tmp_path, part):
    file = save(tmp_path, 1) / part
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # in the numbers, where the format itself cannot see it
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{part} is not the file that was saved"):
        load_checkpoint(tmp_path)


def same(found, whole):
    return (
        (found.step, found.state) == (whole.step, whole.state)
        and all(np.array_equal(found.model[name], array) for name, array in whole.model.items())
        and all(np.array_equal(found.optimizer[name], array) for name, array in whole.optimizer.items())
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with one checkpoint, which tests leave as it is."""
    run = tmp_path_factory.mktemp("run")
    save(run, 7, state={"here": 7, "loss": [[1, 2.5], [2, 1.25]], "text": "no"})
    return run


@pytest.mark.parametrize("part", PARTS)
def test_any_changed_bit_is_noticed_or_changes_nothing(saved, part):
    whole = load_checkpoint(saved)
    file = whole.path / part
    data = file.read_bytes()
    try:
        for k, byte in enumerate(data):
            for bit in (0, 3, 6):
                file.write_bytes(data[:k] + bytes([byte ^ 1 << bit]) + data[k + 1 :])
                try:
                    assert same(load_checkpoint(saved), whole)  # white space, or the version in words
                except CheckpointError:
                    pass
    finally:
        file.write_bytes(data)


@pytest.mark.parametrize("which", ["latest", "best"])
def test_any_changed_byte_of_a_name_gives_a_whole_checkpoint_or_an_error(tmp_path, which):
    for step in (10, 11, 12, 20):
        save(tmp_path, step, best=10)
    file = tmp_path / "checkpoints" / which
    data = file.read_bytes()
    names = set()
    for k in range(len(data)):
        for change in (1, 2, 3, 4, 8, 16, 32, 64, 128):
            file.write_bytes(data[:k] + bytes([data[k] ^ change]) + data[k + 1 :])
            try:
                found = (latest_checkpoint if which == "latest" else best_checkpoint)(tmp_path)
                names.add(found.name)
            except CheckpointError:
                pass
    assert names <= {f"step-{step:06d}" for step in (10, 11, 12, 20)}


def test_parts_of_two_checkpoints_do_not_mix(tmp_path):
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    shutil.copy(first / "optimizer.safetensors", second)
    with pytest.raises(CheckpointError, match="optimizer.safetensors is not the file"):
        load_checkpoint(tmp_path)


def test_a_newer_format_says_to_upgrade(tmp_path):
    file = save(tmp_path, 1) / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"format": 2, "version": "9.0"}), "utf-8")
    with pytest.raises(CheckpointError, match=r"format 2, written by tinygrad_seq 9.0; .* install a newer version"):
        load_checkpoint(tmp_path)


# Crashes


@pytest.mark.parametrize("scene", ["first", "next", "same step"])
def test_a_crash_at_any_step_of_saving_leaves_a_whole_checkpoint(tmp_path, monkeypatch, scene):
    """Saving is repeated, stopped before its 1st, 2nd, … call of the file system, until it comes through."""
    old = {"first": None, "next": 1, "same step": 2}[scene]
    calls = {"left": 0}

    def stopping(function):
        def wrapper(*args, **kwargs):
            if calls["left"] == 0:
                if function is open:
                    function(*args, **kwargs).close()  # the worst moment: emptied, and nothing written yet
                raise Crash
            calls["left"] -= 1
            return function(*args, **kwargs)

        return wrapper

    moments, seen = 0, set()
    while True:
        run = tmp_path / str(moments)
        if old is not None:
            save(run, old, state={"here": "old"})
        calls["left"] = moments
        with monkeypatch.context() as patch:
            for module, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree"), (Path, "mkdir")):
                patch.setattr(module, name, stopping(getattr(module, name)))
            patch.setattr(checkpoints, "open", stopping(open), raising=False)
            try:
                save(run, 2, state={"here": "new"})
                crashed = False
            except Crash:
                crashed = True
        if latest_checkpoint(run) is None:
            assert old is None
            seen.add(None)
        else:
            found = load_checkpoint(run)
            assert (found.state["here"], found.step) in (("old", old), ("new", 2))
            step = found.step if found.state["here"] == "new" else old
            np.testing.assert_array_equal(found.model["w"], np.full((3, 5), step))
            np.testing.assert_array_equal(found.optimizer["m"], np.full(7, -step))
            seen.add(found.state["here"])
        save(run, 3)  # and the next save comes through, and clears away what the crash left
        assert_whole(load_checkpoint(run), 3)
        assert not [p.name for p in (run / "checkpoints").iterdir() if p.suffix]
        if not crashed:
            break
        moments += 1
    assert moments >= 15
    assert seen == {"old" if old is not None else None, "new"}


def test_an_old_folder_is_put_back_when_its_successor_never_came(tmp_path):
    folder = save(tmp_path, 1)
    os.replace(folder, folder.with_suffix(".old"))
    assert_whole(load_checkpoint(tmp_path), 1)
    save(tmp_path, 2)
    assert_whole(load_checkpoint(folder), 1)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, 2)
    assert_whole(load_checkpoint(tmp_path), 1)


WRITER = """
import sys
import time
import numpy as np
from tinygrad_seq.train.checkpoint import latest_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint

run = sys.argv[1]
step = load_checkpoint(run).step if latest_checkpoint(run) else 0
first = step + 1
while True:
    step += 1
    began = time.perf_counter()
    for _ in range(2):  # each step twice, so that replacing is interrupted too
        save_checkpoint(
            run,
            step,
            model={"w": np.full((300, 300), step)},
            optimizer={"m": np.full((300, 300), -step)},
            state={"here": step, "padding": "x" * 20_000},
        )
    prune_checkpoints(run, keep=2)
    if step == first:
        print(time.perf_counter() - began, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killing_the_writer_at_random_moments_leaves_a_whole_checkpoint(tmp_path):
    """Twenty processes, one after another on one run, each killed in the middle of its work."""
    chance = random.Random(0)
    last = 0
    for _ in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        seconds = float(writer.stdout.readline())  # what one step takes this machine; one is done
        time.sleep(chance.uniform(0, 3 * seconds))
        assert writer.poll() is None  # still at it
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = load_checkpoint(tmp_path)
        assert found.state["here"] == found.step > last
        assert (found.model["w"] == found.step).all() and (found.optimizer["m"] == -found.step).all()
        for folder in (tmp_path / "checkpoints").glob("step-??????"):
            load_checkpoint(folder)  # a folder is complete or absent, the latest or not
        last = found.step
