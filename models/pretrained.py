"""Weights that others trained: folders as Hugging Face writes them, read into the models here by name."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

import tinygrad_seq as ts
from tinygrad_seq.core.tensor import mark_written


class Source(NamedTuple):
    """Where the values of one parameter stand in a file."""

    names: tuple[str, ...]  # several lie one above the other in the parameter: W_q, W_k, W_v in in_proj_weight
    transposed: bool = False  # the file has (D, H) where the parameter is (H, D)


class Format(NamedTuple):
    """How a kind of model is named in its files."""

    prefix: str  # what all names begin with, or none of them: "bert."
    sources: dict[str, Source]  # by the name of the parameter here
    copies: dict[str, str]  # a name that may be there, and the one whose values it repeats
    ignored: str  # a regular expression: names that may be there and hold nothing that is needed


def read_config(
    folder: str | os.PathLike[str], kind: str, sizes: Sequence[str], dropout: str, fixed: Mapping[str, Any]
) -> dict[str, Any]:
    """The config.json of a model.

    Args:
        folder: where it lies.
        kind: what it must say under "model_type".
        sizes: names that must be there, of positive integers.
        dropout: the name of a probability, which may be there.
        fixed: settings that the model here has no other value for; one that config.json leaves out is that value.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, of another kind, lacks a size, or has a setting that the model cannot have.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"expected a folder with config.json and model.safetensors, but there is no {file}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {file}, but {error}") from error
    if not isinstance(config, dict) or config.get("model_type") != kind:
        found = config.get("model_type") if isinstance(config, dict) else config
        raise ValueError(f"expected a model of the type {kind!r} in {file}, got {found!r:.80}")
    wrong = [
        f"{name}: expected a positive integer, got {config.get(name)!r:.80}"
        for name in sizes
        if type(config.get(name)) is not int or config[name] < 1  # True is an int too
    ]
    p = config.get(dropout, 0)
    if type(p) not in (int, float) or not 0 <= p < 1:
        wrong.append(f"{dropout}: expected a probability from 0 to below 1, got {p!r:.80}")
    wrong += [
        f"{name}: expected {v!r}, got {config[name]!r:.80}" for name, v in fixed.items() if config.get(name, v) != v
    ]
    if wrong:
        raise ValueError(f"{file} asks for what this model does not have:\n  " + "\n  ".join(wrong))
    return config


def load(model: ts.nn.Module, folder: str | os.PathLike[str], form: Format) -> None:
    """Copy the weights of model.safetensors into the model, one array after another: all, or none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or not whole; or listing every name that is missing, unexpected, of
            another shape or dtype, or no copy of what it should repeat.
    """
    file = Path(folder) / "model.safetensors"
    if not file.is_file():
        there = ", ".join(sorted(path.name for path in Path(folder).iterdir()))
        raise FileNotFoundError(
            f"expected the weights in {file}, in one file, but the folder has: {there}; "
            "files of PyTorch's pickles are not read: save the model as safetensors where it came from"
        )
    try:
        weights = safetensors.safe_open(file, "np")
    except Exception as error:  # safetensors has its own kind of error
        raise ValueError(f"expected a safetensors file, but {file} is truncated or something else: {error}") from error
    with weights:
        parameters = dict(model.named_parameters())
        stored, wrong = _stored(weights, form.prefix)
        wrong += _problems(weights, stored, parameters, form)
        if wrong:
            raise ValueError(
                f"{file} does not hold the weights of this {type(model).__name__}:\n  " + "\n  ".join(wrong)
            )
        for path, p in parameters.items():
            (names, transposed), first = form.sources[path], 0
            for name in names:
                array = weights.get_tensor(stored[name])
                array = array.T if transposed else array
                p.data[first : first + len(array)] = array
                first += len(array)
    mark_written(*parameters.values())


def _stored(weights: Any, prefix: str) -> tuple[dict[str, str], list[str]]:
    """The file's own names by the names of the format, and a line for each that comes twice."""
    stored: dict[str, str] = {}
    twice = []
    for key in weights.keys():  # noqa: SIM118  # not a dict
        name = key.removeprefix(prefix)
        for old, new in (("gamma", "weight"), ("beta", "bias")):  # as BERT's own release, of TensorFlow, had them
            name = re.sub(rf"LayerNorm\.{old}$", f"LayerNorm.{new}", name)
        if name in stored:
            twice.append(f"one parameter under two names: {stored[name]} and {key}")
        stored[name] = key
    return stored, twice


def _problems(weights: Any, stored: dict[str, str], parameters: Mapping[str, ts.Tensor], form: Format) -> list[str]:
    """What keeps the weights from being loaded, a line each, from the file's header and what should be repeated."""
    wrong, used = [], set()
    for path, p in parameters.items():
        names, transposed = form.sources[path]
        rows, *columns = p.shape
        shape = (rows // len(names), *columns)
        shape = shape[::-1] if transposed else shape
        for name in names:
            used.add(name)
            if name not in stored:
                wrong.append(f"missing: {name} {shape}")
                continue
            header = weights.get_slice(stored[name])
            if tuple(header.get_shape()) != shape:
                wrong.append(f"wrong shape: {name}: expected {shape}, got {tuple(header.get_shape())}")
            elif header.get_dtype() not in ("F64", "F32", "F16"):
                wrong.append(f"wrong dtype: {name}: expected F64, F32 or F16, got {header.get_dtype()}")
    for name in sorted(stored.keys() - used):
        original = form.copies.get(name)
        if original is None and not re.fullmatch(form.ignored, name):
            wrong.append(f"unexpected: {name} {tuple(weights.get_slice(stored[name]).get_shape())}")
        elif original in stored and not np.array_equal(*(weights.get_tensor(stored[n]) for n in (name, original))):
            wrong.append(f"{name} and {original} are one parameter here, but their values differ")
    return wrong
