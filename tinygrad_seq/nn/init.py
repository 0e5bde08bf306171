"""Initial weights: each function draws new values into a parameter, in place, from the library's own generator."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import backend_of
from ..core import Parameter
from ..core.random import numpy_generator
from ..core.tensor import mark_written

if TYPE_CHECKING:
    from .module import Module


def uniform(p: Parameter, low: float, high: float) -> None:
    """Draw from the uniform distribution on [low, high)."""
    _draw(p, numpy_generator().random, high - low, low)


def normal(p: Parameter, std: float = 1.0, mean: float = 0.0) -> None:
    """Draw from the normal distribution."""
    _draw(p, numpy_generator().standard_normal, std, mean)


def constant(p: Parameter, value: float) -> None:
    """Set every element to one number."""
    p.data[...] = value
    mark_written(p)


def xavier_uniform(p: Parameter, gain: float = 1.0) -> None:
    """Uniform within ± gain √(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010). p: (fan_out, fan_in)."""
    bound = gain * math.sqrt(6 / sum(_fans(p)))
    uniform(p, -bound, bound)


def xavier_normal(p: Parameter, gain: float = 1.0) -> None:
    """Normal with standard deviation gain √(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010). p: (fan_out, fan_in)."""
    normal(p, gain * math.sqrt(2 / sum(_fans(p))))


def kaiming_uniform(p: Parameter) -> None:
    """Uniform within ± √(6 / fan_in), for layers before a relu (He et al., 2015). p: (fan_out, fan_in)."""
    bound = math.sqrt(6 / _fans(p)[1])
    uniform(p, -bound, bound)


def kaiming_normal(p: Parameter) -> None:
    """Normal with standard deviation √(2 / fan_in), before a relu (He et al., 2015). p: (fan_out, fan_in)."""
    normal(p, math.sqrt(2 / _fans(p)[1]))


def orthogonal(p: Parameter, gain: float = 1.0, *, blocks: int = 1) -> None:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al., 2014). p: a matrix.

    Args:
        gain: a factor of all elements.
        blocks: into how many matrices, one above the other, p is cut first: 4 for an LSTM's weight_hh, whose gates
            are stacked.
    Raises:
        ValueError: where p is no matrix, or its rows do not fall into that many blocks.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> p = ts.nn.Parameter(np.zeros((3, 3), np.float32))
    >>> ts.nn.init.orthogonal(p)
    >>> bool(np.allclose(p.data @ p.data.T, np.eye(3), atol=1e-5))
    True
    """
    rows, columns = _fans(p)
    if blocks < 1 or rows % blocks:
        raise ValueError(f"orthogonal: {rows} rows do not fall into {blocks} blocks of equal height")
    generator = numpy_generator()
    drawn = []
    for _ in range(blocks):
        n = rows // blocks
        q, r = np.linalg.qr(generator.standard_normal((max(n, columns), min(n, columns))))
        q = q * np.sign(np.diag(r))  # without this, not all orthogonal matrices are equally likely
        drawn.append(q if n >= columns else q.T)
    _fill(p, gain * np.concatenate(drawn))


def lstm_forget_bias(lstm: "Module", value: float = 1.0) -> None:
    """Set b_f of every layer and direction, so that an untrained LSTM remembers (Jozefowicz et al., 2015).

    Raises:
        ValueError: for a module that is no LSTM, such as a model that holds one.

    >>> import tinygrad_seq as ts
    >>> lstm = ts.nn.LSTM(3, 2)
    >>> ts.nn.init.lstm_forget_bias(lstm)
    >>> lstm.b_f.tolist()
    [1.0, 1.0]
    """
    if not hasattr(type(lstm), "b_f"):
        raise ValueError(f"lstm_forget_bias: expected an LSTM, got {type(lstm).__name__}")
    for name, p in lstm.named_parameters():
        if name.startswith(("bias_ih", "bias_hh")):
            H = p.size // 4  # gates stand in the order i, f, c, o
            p.data[H : 2 * H] = value if name.startswith("bias_ih") else 0
            mark_written(p)


def _fans(p: Parameter) -> tuple[int, int]:
    if p.ndim != 2:
        raise ValueError(f"init: expected a matrix (fan_out, fan_in), got shape {p.shape}")
    return p.shape[0], p.shape[1]


def _draw(p: Parameter, draw: Any, scale: float, shift: float) -> None:
    """scale · draw + shift: the same numbers in float32 whatever the dtype and device of p."""
    here = p.data if isinstance(p.data, np.ndarray) and p.dtype == np.float32 and p.data.flags.c_contiguous else None
    values = np.empty(p.shape, np.float32) if here is None else here  # in place, a large table costs its memory once
    draw(dtype=np.float32, out=values)
    values *= np.float32(scale)
    values += np.float32(shift)
    if here is None:
        _fill(p, values)
    else:
        mark_written(p)


def _fill(p: Parameter, values: Any) -> None:
    p.data[...] = backend_of(p.data).from_numpy(values.astype(p.dtype, copy=False))
    mark_written(p)
