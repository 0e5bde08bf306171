"""Write the snapshot of CuPy's public API: names, kinds and parameters.

Needs the real CuPy, for `import cupy` only: no GPU.  To be run again when the pinned version changes:

    python tests/gpu/make_api_snapshot.py tests/gpu/cupy_api_14.2.json
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import cupy
import cupyx
import numpy as np

Parameters = list[list[Any]]  # [name, required]; names of varargs keep their stars


def parameters(function: Any) -> Parameters | None:
    """The parameters of a function, or None where nothing tells them."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return _parameters_from_doc(function)
    result: Parameters = []
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind == parameter.KEYWORD_ONLY and not any(name.startswith("*") for name, _ in result):
            result.append(["*", False])
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        result.append([stars + parameter.name, parameter.default is parameter.empty and not stars])
    return result


def _parameters_from_doc(function: Any) -> Parameters | None:
    """Cython writes the signature into the first line of the docstring."""
    text = getattr(function, "_doc", None) or getattr(function, "__doc__", None) or ""
    match = re.match(r"^[\w.]+\((.*)\)", text.strip().split("\n")[0])
    if not match:
        return None
    result: Parameters = []
    between_parameters = r",\s*(?![^()\[\]]*[)\]])"  # not the commas inside a default such as (0, 1)
    for part in re.split(between_parameters, match.group(1).replace("\\*", "*")):
        part = part.strip()
        if part in ("self", "/", ""):
            continue
        name = part.split("=")[0].split(":")[0].strip()
        if name.startswith("*"):
            result.append([name, False])
        else:
            result.append([name.split()[-1], "=" not in part])  # a type may stand before the name
    return result


def kind_of(value: Any) -> str:
    if inspect.ismodule(value):
        return "module"
    if type(value).__name__ == "ufunc":
        return "ufunc"
    if inspect.isclass(value):
        return "class"
    return "func" if callable(value) else "const"


def names_of(module: types.ModuleType) -> dict[str, dict[str, Any]]:
    """Every public name of a module."""
    result: dict[str, dict[str, Any]] = {}
    for name in dir(module):
        if name.startswith("_"):
            continue
        try:
            value = getattr(module, name)
        except Exception:  # deprecated names raise all sorts of things
            continue
        kind = kind_of(value)
        result[name] = {"kind": kind, "sig": parameters(value) if kind in ("func", "ufunc") else None}
        if kind == "ufunc":
            result[name]["at"] = bool(getattr(value, "_scatter_op", None))
            result[name]["types"] = value.types
    return result


def names_of_array() -> dict[str, dict[str, Any]]:
    result = {}
    for name in dir(cupy.ndarray):
        if name.startswith("_") and not name.startswith("__"):
            continue
        value = getattr(cupy.ndarray, name)
        is_method = callable(value)
        with_parameters = is_method and not name.startswith("__")
        result[name] = {
            "kind": "method" if is_method else "attr",
            "sig": parameters(value) if with_parameters else None,
        }
    return result


def names_of_generator() -> dict[str, dict[str, Any]]:
    generator = cupy.random.Generator
    names = [name for name in dir(generator) if not name.startswith("_")]
    return {name: {"kind": "method", "sig": parameters(getattr(generator, name))} for name in names}


def snapshot() -> dict[str, Any]:
    return {
        "version": cupy.__version__,
        "numpy": np.__version__,
        "cupy": names_of(cupy),
        "ndarray": names_of_array(),
        "linalg": names_of(cupy.linalg),
        "random": names_of(cupy.random),
        "generator": names_of_generator(),
        "fft": {},
        "cupyx": names_of(cupyx),
        "cuda": names_of(cupy.cuda),
    }


def main(path: str) -> None:
    api = snapshot()
    Path(path).write_text(json.dumps(api, indent=0, sort_keys=True), encoding="utf-8")
    print({name: len(table) for name, table in api.items() if isinstance(table, dict)})


if __name__ == "__main__":
    main(sys.argv[1])
