"""tinygrad_seq: sequence models whose code is the chapter's equations, with graphs you can look at."""

import importlib
from typing import TYPE_CHECKING, Any

from . import nn, ops, optim
from .backend.threads import num_threads, set_num_threads
from .core import Parameter, Tensor, checkpoint, definitions, equations, grad, no_grad, record, tensor
from .core.random import seed

if TYPE_CHECKING:
    import tinygrad_seq.models as models
    import tinygrad_seq.testing as testing

    from . import data, train, viz
    from .train import detect_anomaly, explain_grad, profile
    from .viz import graph, graph_diff, trace

__version__ = "0.1.0"

__all__ = [
    "Parameter",
    "Tensor",
    "checkpoint",
    "data",
    "definitions",
    "detect_anomaly",
    "equations",
    "explain_grad",
    "grad",
    "graph",
    "graph_diff",
    "models",
    "nn",
    "no_grad",
    "num_threads",
    "ops",
    "optim",
    "profile",
    "record",
    "seed",
    "set_num_threads",
    "tensor",
    "testing",
    "trace",
    "train",
    "viz",
]


def __getattr__(name: str) -> Any:
    """Parts that not everyone needs are imported when they are first named."""
    if name in ("graph", "graph_diff", "trace"):
        return getattr(importlib.import_module(".viz", __name__), name)
    if name in ("detect_anomaly", "explain_grad", "profile"):
        return getattr(importlib.import_module(".train", __name__), name)
    if name in ("data", "models", "testing", "train", "viz"):
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.models":
                raise
            raise ImportError(
                "tinygrad_seq.models is there once the package is installed: run `pip install -e .` in the clone"
            ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
