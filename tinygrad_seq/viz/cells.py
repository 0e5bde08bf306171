"""Pictures of one step of a recurrent layer, with the chapter's symbols on it."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..core import Parameter, Tensor
from ..core.state import setting
from ..nn import LSTM
from ..ops.lstm import LSTMGates
from .build import build
from .value import Graph


def lstm_step_graph(lstm: LSTM, *, batch_size: int = 1, title: str | None = None) -> Graph:
    """The equations of one step of an LSTM's first layer as a picture: f_t, i_t, c̃_t, c_t, o_t, h_t and what they
    are made of.

    Args:
        lstm: gives the sizes.
        batch_size: B of the shapes shown.
        title: what stands above the picture.

    >>> import tinygrad_seq as ts
    >>> g = ts.viz.lstm_step_graph(ts.nn.LSTM(3, 5))
    >>> [node.label for node in g.nodes if "=" in node.label]
    ['fₜ = σ', 'iₜ = σ', 'c̃ₜ = tanh', 'cₜ = +', 'oₜ = σ', 'hₜ = ⊙']
    """
    D, H = lstm.input_size, lstm.hidden_size
    dtype = lstm.parameters()[0].dtype

    def parameter(name: str, *shape: int) -> Tensor:
        p = Parameter(np.zeros(shape, dtype))
        p.name = name
        return p

    def given(name: str, size: int) -> Tensor:
        x = Tensor(np.zeros((batch_size, size), dtype))
        x.name = name
        return x

    W = LSTMGates(*(parameter(f"W_{gate}", H, D) for gate in LSTMGates._fields))
    U = LSTMGates(*(parameter(f"U_{gate}", H, H) for gate in LSTMGates._fields))
    b = LSTMGates(*(parameter(f"b_{gate}", H) for gate in LSTMGates._fields))
    with setting(grad=True, scope=None):
        step = ops.lstm_step(given("x_t", D), given("h_{t-1}", H), given("c_{t-1}", H), W, U, b)
    return build([step.h_t, step.c_t], {}, title="One step of an LSTM" if title is None else title)
