"""How a gradient flows back through time: the Jacobians ∂h_t/∂h_{t-1}, and their product."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..backend import backend_of
from ..core import Tensor, equations, grad, value
from ..core.state import setting


class GradientAtStart(NamedTuple):
    """∂L/∂h_1, (B, H)."""

    product: Any


@equations(
    "bptt",
    product=(
        r"\frac{\partial L}{\partial h_1} = \frac{\partial L}{\partial h_T} \cdot "
        r"\prod_{t=2}^{T} \frac{\partial h_t}{\partial h_{t-1}}"
    ),
)
def gradient_at_start(dL_dh_T: Any, jacobians: Sequence[Any]) -> GradientAtStart:
    """The gradient that arrives at the first state, from that at the last.

    dL_dh_T: (B, 1, H), a row; jacobians: ∂h_2/∂h_1 … ∂h_T/∂h_{T-1}, each (B, H, H).

    >>> import numpy as np
    >>> gradient_at_start(np.ones((1, 1, 1)), [np.full((1, 1, 1), 0.5)] * 3).product.item()
    0.125
    """
    product = functools.reduce(operator.matmul, reversed(jacobians), dL_dh_T)
    return GradientAtStart(product)


def state_jacobians(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Tensor:
    """∂s_t/∂s_{t-1} of a cell at each step of a sequence, s being all of its state.

    Args:
        step: (x_t, state) -> its symbols, as `ops.scan` runs it: an equation block, or a cell's `step`.
        state: before the first step, a NamedTuple of tensors (B, H); an LSTM's is [h; c], K = 2H numbers.
        xs: (B, T, …).
    Returns:
        (T, B, K, K), without graph: row i, column j is the derivative of s_t[i] by s_{t-1}[j].

    >>> import tinygrad_seq as ts
    >>> cell = ts.nn.RNNCell(3, 2)
    >>> start = ts.ops.RNNState(ts.tensor([[0.0, 0.0]]))
    >>> ts.train.state_jacobians(cell.step, start, ts.tensor([[[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]])).shape
    (2, 1, 2, 2)
    """
    xs = value(xs)
    xp = backend_of(xs).xp
    sizes = [part.shape[-1] for part in state]
    B, K = xs.shape[0], sum(sizes)
    cuts = [int(k) for k in np.cumsum(sizes)[:-1]]
    found = []
    with setting(grad=True, recorder=None):
        for t in range(xs.shape[1]):
            # K copies of the batch, each differentiated for one number of the state: one walk back gives all rows.
            copies = [Tensor(xp.repeat(part.data, K, 0)) for part in state]
            for part in copies:
                part.requires_grad = True
            x_t = Tensor(xp.repeat(xs[:, t], K, 0))
            symbols = step(x_t, type(state)(*copies))
            after = [getattr(symbols, f"{field}_t") for field in state._fields]
            rows = ops.split(Tensor(xp.tile(xp.eye(K, dtype=xs.dtype), (B, 1))), cuts, axis=-1)
            columns = grad(after, copies, list(rows))
            found.append(xp.concatenate([g.data for g in columns], -1).reshape(B, K, K))
            state = type(state)(*(Tensor(part.data[::K]) for part in after))
    return Tensor(xp.stack(found))


def largest_singular_values(jacobians: Any) -> np.ndarray:
    """How much ∂s_T/∂s_t stretches a gradient at most: (T, B), for t = 1 … T (where it is 1).

    Args:
        jacobians: (T, B, K, K), as `state_jacobians` gives them: the first, ∂s_1/∂s_0, is not used.
    """
    array = np.asarray(jacobians.numpy() if isinstance(jacobians, Tensor) else jacobians, np.float64)
    T, B, K, _ = array.shape
    product = np.broadcast_to(np.eye(K), (B, K, K))
    found = [np.ones(B)]
    for t in range(T - 1, 0, -1):
        product = product @ array[t]
        found.append(np.linalg.svd(product, compute_uv=False)[:, 0])
    return np.stack(found[::-1])
