"""`tinygrad-seq info`: versions, BLAS, threads, devices, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

import typer

import tinygrad_seq as ts

from ..backend import backend_for, fast, threads
from ..viz import render


class Wanted(NamedTuple):
    """A package, what it is for, and how to get it."""

    use: str
    get: str


PACKAGES = {
    "numpy": Wanted("arrays", "pip install numpy"),
    "scipy": Wanted("special functions", "pip install scipy"),
    "safetensors": Wanted("checkpoints", "pip install safetensors"),
    "numba": Wanted("compiled kernels on the CPU", "pip install 'tinygrad-seq[fast]'"),
    "matplotlib": Wanted("plots", "pip install 'tinygrad-seq[viz]'"),
    "tokenizers": Wanted("subword vocabularies", "pip install 'tinygrad-seq[text]'"),
    "pooch": Wanted("data sets by name", "pip install 'tinygrad-seq[text]'"),
    "cupy": Wanted("an NVIDIA GPU", "pip install 'tinygrad-seq[cuda13]', or [cuda12] for a driver of CUDA 12"),
}
GRAPHVIZ = Wanted("pictures of graphs", "apt install graphviz, or pip install 'tinygrad-seq[viz]'")


def gather() -> dict[str, Any]:
    """All of it as plain values."""
    found = {name: _version(name) for name in PACKAGES}
    graphviz = _graphviz()
    missing = {name: PACKAGES[name] for name, version in found.items() if version is None}
    if graphviz is None:
        missing["graphviz"] = GRAPHVIZ
    return {
        "tinygrad_seq": ts.__version__,
        "folder": str(Path(ts.__file__).parent),
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "blas": _blas(),
        "threads": ts.num_threads(),
        "kernels": fast.in_use(),
        "devices": _devices(),
        "packages": found,
        "graphviz": graphviz,
        "missing": {name: {"use": wanted.use, "get": wanted.get} for name, wanted in missing.items()},
    }


def show(*, as_json: bool) -> None:
    """Print it, for people or as one JSON object."""
    info = gather()
    if as_json:
        typer.echo(json.dumps(info))
        return
    kernels = {"fast": "compiled, by numba", "numpy": "NumPy"}[info["kernels"]]
    rows = {
        "tinygrad_seq": f"{info['tinygrad_seq']}, {info['folder']}",
        "Python": f"{info['python']}, {info['executable']}",
        "system": f"{info['system']}, {info['cores']} cores",
        "matrix products": info["blas"],
        "threads": str(info["threads"]),
        "kernels": kernels,
    }
    rows |= {f"device {name}": state for name, state in info["devices"].items()}
    rows |= {name: version for name, version in info["packages"].items() if version is not None}
    if info["graphviz"] is not None:
        rows["graphviz"] = info["graphviz"]
    for name, value in rows.items():
        typer.echo(f"{name:16} {value}")
    if info["missing"]:
        typer.echo("\nmissing:")
    for name, wanted in info["missing"].items():
        typer.echo(f"{name:16} for {wanted['use']}: {wanted['get']}")


def _version(name: str) -> str | None:
    """The version of a package that is there; a wheel of CuPy has a name for each version of CUDA."""
    if util.find_spec(name) is None:
        return None
    for distribution in metadata.packages_distributions().get(name, [name]):
        return metadata.version(distribution)
    return None


def _blas() -> str:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return " ".join(filter(None, [blas["name"], blas["version"], threads.blas_core()]))


def _devices() -> dict[str, str]:
    devices = {"cpu": "there"}
    try:
        backend_for("cuda")
        devices["cuda"] = "there"
    except RuntimeError as error:
        devices["cuda"] = f"not there: {error}"
    return devices


def _graphviz() -> str | None:
    try:
        return render.find().path
    except render.RenderError:
        return None
