"""The equations of the chapter as pictures: each with its own symbols on the boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import nn, ops, train
from ..core import Parameter, Tensor
from ..core.equations import EQUATIONS, Equation
from ..core.state import setting
from ..ops.attention import HeadWeights
from ..ops.gru import GRUGates
from ..ops.lstm import LSTMGates
from .build import build
from .value import Graph


class Sizes(NamedTuple):
    """How large the arrays of a picture are."""

    B: int = 1  # batch
    T: int = 4  # time, keys
    D: int = 3  # input
    H: int = 5  # hidden
    V: int = 7  # vocabulary
    N: int = 2  # heads


SIZES = Sizes()


class _Inputs:
    """Makes the named inputs of a picture."""

    def __init__(self, sizes: Sizes) -> None:
        self.B, self.T, self.D, self.H, self.V, self.N = sizes
        self.arrays: dict[str, Any] = {}  # by what the picture calls them

    def given(self, name: str, *shape: int, dtype: str = "float32") -> Tensor:
        x = Tensor(np.zeros(shape, dtype))
        x.name = name
        self.arrays[name] = x.data
        return x

    def parameter(self, name: str, *shape: int) -> Tensor:
        p = Parameter(np.zeros(shape, np.float32))
        p.name = name
        return p

    def gates(self, kind: Any, symbol: str, *shape: int) -> Any:
        return kind(*(self.parameter(f"{symbol}_{gate}", *shape) for gate in kind._fields))


Example = Callable[[_Inputs], Any]


def equation_graph(name: str, sizes: Sizes = SIZES, *, title: str | None = None) -> Graph:
    """The picture of an equation, or of all the equations of a block.

    Args:
        name: an id, "lstm.f", or a block's name, "lstm"; `tinygrad-seq equations` lists them.
        sizes: of the arrays, which the boxes show.
        title: what stands above the picture; the equation, or the block's name, if not given.
    Raises:
        KeyError: where no equation goes by this name.

    >>> import tinygrad_seq as ts
    >>> g = ts.viz.equation_graph("lstm")
    >>> [node.label for node in g.nodes if "=" in node.label]
    ['fₜ = σ', 'iₜ = σ', 'c̃ₜ = tanh', 'cₜ = +', 'oₜ = σ', 'hₜ = ⊙']
    """
    chosen = [e for e in equations() if e.id == name] or [e for e in equations() if e.id.split(".")[0] == name]
    if not chosen:
        there = ", ".join(e.id for e in equations())
        raise KeyError(f"no equation of the chapter is called {name!r}; there are {there}")
    inputs, drawn = _Inputs(sizes), {}
    with setting(grad=True, scope=None, recorder=None):
        for example in dict.fromkeys(EXAMPLES[equation.id] for equation in chosen):
            drawn[example] = example(inputs)
    symbols = [getattr(drawn[EXAMPLES[equation.id]], equation.field) for equation in chosen]
    flat = [t for symbol in symbols for t in (symbol if isinstance(symbol, list | tuple) else [symbol])]
    if title is None:
        title = chosen[0].text if len(chosen) == 1 else f"{name}: {len(chosen)} equations"
    return build(_last(flat), inputs.arrays, title=title)


def _last(symbols: list[Tensor]) -> list[Tensor]:
    """Those that no other is made from: the picture shows the rest on the way to them."""
    above: set[int] = set()
    waiting = [source for t in symbols for source in getattr(t.place, "sources", [])]
    while waiting:
        place = waiting.pop()
        if place is not None and id(place) not in above:
            above.add(id(place))
            waiting += getattr(getattr(place, "op", place), "sources", [])
    return [t for t in symbols if id(t.place) not in above]


def equations() -> list[Equation]:
    """The equations of the chapter, in its order."""
    from ..models import language_model  # noqa: F401  # where the last of them are registered

    return [EQUATIONS[id] for id in EXAMPLES]


# -- an example of each block: what its picture is drawn from


def _rnn(s: _Inputs) -> Any:
    x, h = s.given("x_t", s.B, s.D), s.given("h_{t-1}", s.B, s.H)
    return ops.rnn_step(x, h, s.parameter("W_{xh}", s.H, s.D), s.parameter("W_{hh}", s.H, s.H), s.parameter("b_h", s.H))


def _rnn_output(s: _Inputs) -> Any:
    return ops.rnn_output(s.given("h_t", s.B, s.H), s.parameter("W_{hy}", s.V, s.H), s.parameter("b_y", s.V))


def _lm(s: _Inputs) -> Any:
    from ..models.language_model import lm_step

    x, h, E = s.given("x_t", s.B, dtype="int64"), s.given("h_{t-1}", s.B, s.H), s.parameter("E", s.V, s.D)
    W_he, W_hh, W_hy = s.parameter("W_{he}", s.H, s.D), s.parameter("W_{hh}", s.H, s.H), s.parameter("W_{hy}", s.V, s.H)
    return lm_step(x, h, E, W_he, W_hh, W_hy)


def _stack(s: _Inputs) -> Any:
    W, U, b = s.parameter("W^k", s.H, s.H), s.parameter("U^k", s.H, s.H), s.parameter("b^k", s.H)
    before, below = s.given("h^k_{t-1}", s.B, s.H), s.given("h^{k-1}_t", s.B, s.T, s.H)
    return nn.recurrent.stacked(lambda h_prev, h_below: ops.rnn(h_below, h_prev, W, U, b), before, below)


def _both_directions(s: _Inputs) -> Any:
    return nn.recurrent.both_directions(
        s.parameter("h\u20d7_t", s.B, s.T, s.H), s.parameter("h\u20d6_t", s.B, s.T, s.H)
    )


def _gradient_at_start(s: _Inputs) -> Any:
    jacobians = [s.parameter(f"∂h_{t}/∂h_{t - 1}", s.B, s.H, s.H) for t in range(2, s.T + 1)]
    return train.gradient_at_start(s.given(f"∂L/∂h_{s.T}", s.B, 1, s.H), jacobians)


def _lstm(s: _Inputs) -> Any:
    x, h, c = s.given("x_t", s.B, s.D), s.given("h_{t-1}", s.B, s.H), s.given("c_{t-1}", s.B, s.H)
    W, U, b = (s.gates(LSTMGates, *p) for p in (("W", s.H, s.D), ("U", s.H, s.H), ("b", s.H)))
    return ops.lstm_step(x, h, c, W, U, b)


def _gru(s: _Inputs) -> Any:
    x, h = s.given("x_t", s.B, s.D), s.given("h_{t-1}", s.B, s.H)
    W, U, b = (s.gates(GRUGates, *p) for p in (("W", s.H, s.D), ("U", s.H, s.H), ("b", s.H)))
    return ops.gru_step(x, h, W, U, b, s.parameter("b_{hn}", s.H))


def _gru_cho(s: _Inputs) -> Any:
    x, h = s.given("x_t", s.B, s.D), s.given("h_{t-1}", s.B, s.H)
    W, U, b = (s.gates(GRUGates, *p) for p in (("W", s.H, s.D), ("U", s.H, s.H), ("b", s.H)))
    return ops.gru_cho_step(x, h, W, U, b)


def _states(s: _Inputs) -> tuple[Tensor, Tensor]:
    """A decoder's state and the encoder's."""
    return s.parameter("s_{i-1}", s.B, s.H), s.parameter("h_j", s.B, s.T, s.H)


def _attend(s: _Inputs) -> Any:
    return ops.attend(lambda s, h: ops.dot_score(s, h).dot, *_states(s))


def _attention_state(s: _Inputs) -> Any:
    W, U, C = s.parameter("W", s.H, s.D), s.parameter("U", s.H, s.H), s.parameter("C", s.H, s.H)
    inputs = s.given("s_{i-1}", s.B, s.H), s.given("y_{i-1}", s.B, s.D), s.given("c_i", s.B, s.H)
    return ops.attention_state(lambda s, y, c: ops.tanh(y @ W.T + s @ U.T + c @ C.T), *inputs)


def _luong_state(s: _Inputs) -> Any:
    W, U = s.parameter("W", s.H, s.D), s.parameter("U", s.H, s.H)
    inputs = s.given("s_{i-1}", s.B, s.H), s.given("y_{i-1}", s.B, s.D)
    return ops.luong_state(lambda s, y: ops.tanh(y @ W.T + s @ U.T), *inputs)


def _luong_output(s: _Inputs) -> Any:
    return ops.luong_output(
        s.parameter("c_i", s.B, s.H), s.parameter("s_i", s.B, s.H), s.parameter("W_c", s.H, 2 * s.H)
    )


def _dot(s: _Inputs) -> Any:
    return ops.dot_score(*_states(s))


def _scaled_dot(s: _Inputs) -> Any:
    return ops.scaled_dot_score(*_states(s))


def _mlp(s: _Inputs) -> Any:
    return ops.mlp_score(*_states(s), s.parameter("W_1", s.H, s.H), s.parameter("W_2", s.H, s.H), s.parameter("v", s.H))


def _bilinear(s: _Inputs) -> Any:
    return ops.bilinear_score(*_states(s), s.parameter("W", s.H, s.H))


def _self(s: _Inputs) -> Any:
    return ops.self_attention(s.parameter("x", s.B, s.T, s.D))


def _sdpa(s: _Inputs) -> Any:
    return ops.attention(*(s.parameter(symbol, s.B, s.T, s.D) for symbol in "QKV"))


def _multi_head(s: _Inputs) -> Any:
    D = s.N * s.D
    W_q, W_k, W_v = ([s.parameter(f"W_{i}^{symbol}", D, s.D) for i in range(1, s.N + 1)] for symbol in "QKV")
    weights = HeadWeights(W_q, W_k, W_v, None, None, None, s.parameter("W^O", D, D), None)
    return ops.multi_head(*(s.given(symbol, s.B, s.T, D) for symbol in "QKV"), weights, [None] * s.N, [None] * s.N)


def _positions(s: _Inputs) -> Any:
    return nn.positional.positional_encoding(s.parameter("pos", s.T), 2 * s.D)


_IN_ORDER: list[tuple[Example, list[str]]] = [
    (_rnn, ["rnn.h"]),
    (_rnn_output, ["rnn.y"]),
    (_lm, ["lm.e", "lm.h", "lm.p"]),
    (_stack, ["stack.h"]),
    (_both_directions, ["bi.h"]),
    (_gradient_at_start, ["bptt.product"]),
    (_lstm, ["lstm.f", "lstm.i", "lstm.c_tilde", "lstm.c", "lstm.o", "lstm.h"]),
    (_gru, ["gru.r", "gru.z", "gru.n", "gru.h"]),
    (_gru_cho, ["gru_cho.r", "gru_cho.z", "gru_cho.n", "gru_cho.h"]),
    (_attend, ["attn.score", "attn.alpha", "attn.context"]),
    (_attention_state, ["attn.state"]),
    (_luong_state, ["luong.state"]),
    (_luong_output, ["luong.output"]),
    (_dot, ["score.dot"]),
    (_scaled_dot, ["score.scaled_dot"]),
    (_mlp, ["score.mlp"]),
    (_bilinear, ["score.bilinear"]),
    (_self, ["self"]),
    (_sdpa, ["sdpa"]),
    (_multi_head, ["mha.head", "mha.concat"]),
    (_positions, ["pe.sin", "pe.cos"]),
]
EXAMPLES: dict[str, Example] = {id: example for example, ids in _IN_ORDER for id in ids}
