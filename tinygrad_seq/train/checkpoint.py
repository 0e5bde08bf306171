"""Checkpoints that are whole or absent: whenever the power goes, the last complete one is still there.

    DIR/checkpoints/step-000300/model.safetensors        the parameters
                                optimizer.safetensors    all other arrays
                                state.json               everything else, and the digests of all three
    DIR/checkpoints/latest                               the name of the newest folder
    DIR/checkpoints/best                                 the name of the best one, where one was called so

A checkpoint is written into `step-000300.tmp`, each file is flushed to the disk, the folder is renamed, and only then
are `best` and `latest` replaced: each is a single step of the file system. A checkpoint of the same step that was there
before stands aside as `step-000300.old` meanwhile. The next save clears away what a crash left. Nothing is ever
unpickled.

What a newer version adds to the files without a higher format is left alone; a higher format is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

FORMAT = 1

_ARRAY_FILES = ("model.safetensors", "optimizer.safetensors")
_STEP_NAME = re.compile(r"step-\d{6,}")
_DTYPES = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split())


class CheckpointError(ValueError):
    """A checkpoint is missing, truncated, foreign, or newer than this version. The message says which file and why."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds."""

    step: int
    model: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    state: dict[str, Any]
    path: Path  # the folder it came from


def save_checkpoint(
    directory: str | os.PathLike[str],
    step: int,
    *,
    model: Mapping[str, np.ndarray],
    optimizer: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    best: int | None = None,
) -> Path:
    """Write a checkpoint and make it the latest; the one before it stays readable until this one is whole.

    Args:
        directory: the run's folder, made if it does not exist. One process at a time writes to it.
        step: the training step, at least 0. A checkpoint of the same step is replaced.
        model: name → array of numbers or booleans (no complex ones). Every shape, 0-d too, comes back bit for bit.
        optimizer: name → array.
        state: whatever else is needed to go on, as JSON holds it: dicts with text keys, lists (tuples become lists),
            text, numbers, booleans, None. NumPy numbers become Python's; NaN and the infinities come back as they were.
        best: the step of the best checkpoint until now, this one or one before; None where nobody judges.

    Returns:
        The folder of the checkpoint.

    Raises:
        TypeError: a value that the files cannot hold; the message gives its name. Nothing was written.
        ValueError: `step` is negative.
        OSError: the disk is full, or the folder cannot be written. The checkpoints before are untouched.

    >>> import tempfile
    >>> run = tempfile.mkdtemp()
    >>> path = save_checkpoint(run, 300, model={"w": np.ones(2)}, optimizer={}, state={"loss": 1.5})
    >>> path.name, sorted(file.name for file in path.iterdir())
    ('step-000300', ['model.safetensors', 'optimizer.safetensors', 'state.json'])
    >>> load_checkpoint(run).model["w"], load_checkpoint(run).state
    (array([1., 1.]), {'loss': 1.5})
    """
    if step < 0:
        raise ValueError(f"expected a step of at least 0, got {step}")
    files = {
        "model.safetensors": safetensors.numpy.save(_arrays("model", model)),
        "optimizer.safetensors": safetensors.numpy.save(_arrays("optimizer", optimizer)),
    }
    plain = _plain("state", state)
    about = {
        "format": FORMAT,
        "version": _version(),
        "step": int(step),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        | {"state": _state_digest(int(step), plain)},
        "state": plain,
    }
    files["state.json"] = json.dumps(about, indent=1).encode()

    root = Path(directory) / "checkpoints"
    root.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(root)
    folder = root / _step_name(step)
    writing = folder.with_suffix(".tmp")
    writing.mkdir()
    for name, data in files.items():
        _write(writing / name, data)
    _flush_folder(writing)
    leaving = folder.with_suffix(".old")
    if folder.exists():  # a folder cannot be renamed over a full one; latest_checkpoint knows of this moment
        os.replace(folder, leaving)
    os.replace(writing, folder)
    _flush_folder(root)
    if best is not None and (root / _step_name(best)).is_dir():
        _name(root / "best", _step_name(best))
    else:
        (root / "best").unlink(missing_ok=True)
    _name(root / "latest", folder.name)
    shutil.rmtree(leaving, ignore_errors=True)
    return folder


def latest_checkpoint(directory: str | os.PathLike[str]) -> Path | None:
    """The folder of the newest complete checkpoint of a run, or None when nothing was saved yet.

    Where that folder was removed, because it is damaged, the newest of the others.

    Args:
        directory: the run's folder, or the `checkpoints` folder in it.

    Raises:
        CheckpointError: `latest` names no checkpoint, or one that is gone, as all others are.
    """
    return _named(directory, "latest")


def best_checkpoint(directory: str | os.PathLike[str]) -> Path | None:
    """The folder of the best checkpoint of a run, or None when none was called so; the rest as `latest_checkpoint`."""
    return _named(directory, "best")


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, all of it or nothing.

    Args:
        path: a run's folder or its `checkpoints` folder (the latest one is read), or the folder of one step.

    Raises:
        CheckpointError: there is no checkpoint; a part is missing, truncated, damaged or something else altogether; or
            a newer version wrote it.
    """
    given = Path(path)
    is_step = _STEP_NAME.fullmatch(given.name) or (given / "state.json").is_file()
    folder = given if is_step else latest_checkpoint(given)
    if folder is None:
        raise CheckpointError(
            f"expected a checkpoint in {given}, but there is no {given / 'checkpoints' / 'latest'}; "
            "name the folder of a run that has saved one, or of one step"
        )
    about = _read_about(folder / "state.json")
    model, optimizer = (_read_arrays(folder / name, about["sha256"].get(name)) for name in _ARRAY_FILES)
    return Checkpoint(about["step"], model, optimizer, about["state"], folder)


def prune_checkpoints(directory: str | os.PathLike[str], *, keep: int = 2) -> list[Path]:
    """Remove all but the newest `keep` checkpoints of a run, the latest and the best; return what went.

    Raises:
        ValueError: `keep` is below 1.
        CheckpointError: as `latest_checkpoint`.
    """
    if keep < 1:
        raise ValueError(f"expected to keep at least 1 checkpoint, got keep={keep}")
    latest, best = latest_checkpoint(directory), best_checkpoint(directory)
    if latest is None:
        return []
    root = latest.parent
    _clear_leftovers(root)  # what stood aside is put back, under its own name
    named = {path.with_suffix("") for path in (latest, best) if path is not None}
    steps = steps_of(root)
    kept = {steps[step] for step in sorted(steps)[-keep:]} | named
    gone = [path for _, path in sorted(steps.items()) if path not in kept]
    for path in gone:
        leaving = path.with_suffix(".tmp")
        os.replace(path, leaving)  # first its name: half a folder must never look like a checkpoint
        shutil.rmtree(leaving)
    return gone


def steps_of(root: Path) -> dict[int, Path]:
    """The complete checkpoints in a `checkpoints` folder by their steps; whether they are damaged is not looked at."""
    return {int(path.name.removeprefix("step-")): path for path in root.iterdir() if _is_step(path)}


def _named(directory: str | os.PathLike[str], which: str) -> Path | None:
    """The folder that the file `latest` or `best` names."""
    root = Path(directory)
    if not (root / which).is_file():
        root = root / "checkpoints"
    file = root / which
    if not file.is_file():
        return None
    name = file.read_text(encoding="utf-8", errors="replace").strip()
    if not _STEP_NAME.fullmatch(name):
        raise CheckpointError(
            f"expected {file} to hold a name like step-000300, got {name!r:.80}; load one of the step folders beside it"
        )
    # While a checkpoint is replaced by one of the same step there is a moment in which the old one stands aside.
    for folder in (root / name, root / f"{name}.old"):
        if folder.is_dir():
            return folder
    if which == "latest" and (others := steps_of(root)):
        return others[max(others)]
    raise CheckpointError(f"{file} names {name}, but there is no such folder; load one of the step folders beside it")


def _name(file: Path, name: str) -> None:
    """Make `latest` or `best` name a folder, in a single step."""
    writing = file.with_suffix(".tmp")
    _write(writing, f"{name}\n".encode())
    os.replace(writing, file)
    _flush_folder(file.parent)


def _step_name(step: int) -> str:
    return f"step-{step:06d}"


def _state_digest(step: int, state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([step, state], sort_keys=True).encode()).hexdigest()


def _arrays(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    ready = {}
    for name, array in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":  # the one name that safetensors keeps for itself
            raise TypeError(f"expected text as the names of {part}'s arrays, got {name!r}; name it something else")
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.name not in _DTYPES:
            what = f"{type(array).__module__}.{type(array).__name__}"
            dtype = f" of dtype {array.dtype}" if isinstance(array, np.ndarray | np.generic) else ""
            raise TypeError(
                f"expected NumPy arrays of numbers or booleans, got {what}{dtype} for {name!r} in {part}; "
                "copy arrays from a device to the host, and put other values into state"
            )
        ready[name] = np.asarray(array, order="C")  # ascontiguousarray would make a 0-d array 1-d
    return ready


def _plain(name: str, value: Any) -> Any:
    """`value` as JSON gives it back; `name` is its place, for the message."""
    match value:
        case np.bool_() | np.integer() | np.floating():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"expected text as the keys of {name}, got {key!r}; JSON has no other keys")
            return {key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    advice = (
        "use .tolist(), or put it into model or optimizer" if isinstance(value, np.ndarray) else "save plain values"
    )
    raise TypeError(f"expected values that JSON can hold, got {type(value).__name__} for {name}; {advice}")


def _read_about(file: Path) -> dict[str, Any]:
    data = _read(file)
    try:
        about: Any = json.loads(data)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise CheckpointError(f"expected JSON in {file}, but {error}; {_ELSEWHERE}") from error
    version = about.get("format") if isinstance(about, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise CheckpointError(
            f"{file} has format {version}, written by tinygrad_seq {about.get('version')}; "
            f"this is tinygrad_seq {_version()}, which reads format {FORMAT}: install a newer version"
        )
    match about:
        case {"format": 1, "step": int(step), "sha256": dict(digests), "state": dict(state)}:
            if digests.get("state", own := _state_digest(step, state)) != own:  # version 0.1.0 had none
                raise CheckpointError(f"{file} is not as it was saved: the SHA-256 of its state differs; {_ELSEWHERE}")
            return about
    raise CheckpointError(f"expected the state of a checkpoint in {file}, got {about!r:.80}; {_ELSEWHERE}")


def _read_arrays(file: Path, digest: str | None) -> dict[str, np.ndarray]:
    data = _read(file)
    try:
        arrays = safetensors.numpy.load(data)
    except Exception as error:  # safetensors raises its own kinds of error, and KeyError for a dtype NumPy lacks
        raise CheckpointError(
            f"expected a safetensors file, but {file} ({len(data)} bytes) is truncated or something else: {error}; "
            f"{_ELSEWHERE}"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{file} is not the file that was saved with {file.with_name('state.json')}: its SHA-256 differs; "
            f"{_ELSEWHERE}"
        )
    return arrays


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"expected the file {file}, but it cannot be read: {error.strerror}; {_ELSEWHERE}"
        ) from error


_ELSEWHERE = "load another checkpoint of the run, or start again"


def _write(file: Path, data: bytes) -> None:
    with open(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder last, as fsync does for the bytes of a file."""
    if os.name != "nt":  # Windows opens no folders, and writes their changes to its journal by itself
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _clear_leftovers(root: Path) -> None:
    """Remove what crashes left behind, and put back an old folder whose successor never came."""
    for path in root.glob("step-*.old"):
        folder = path.with_suffix("")
        if folder.exists():
            shutil.rmtree(path)
        else:
            os.replace(path, folder)
    for path in root.glob("*.tmp"):
        if path.is_dir():
            shutil.rmtree(path)
        else:  # of `latest` or `best`
            path.unlink()


def _is_step(path: Path) -> bool:
    return _STEP_NAME.fullmatch(path.name) is not None and path.is_dir()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and only needed here

    try:
        return version("tinygrad_seq")
    except PackageNotFoundError:
        return "(not installed)"
