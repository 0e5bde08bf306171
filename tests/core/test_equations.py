"""Equation blocks: registered, naming their nodes, and showing the shapes when something does not fit."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core.equations import EQUATIONS, plain, unicode
from tinygrad_seq.core.state import state
from tinygrad_seq.ops.lstm import LSTMGates, lstm_gates


class Step(NamedTuple):
    a_t: Any
    h_t: Any


@ts.equations("a_test", a_t=r"a_t = W x_t", h_t=r"h_t = \tanh(a_t + U h_{t-1})")
def step(x_t: Any, h_prev: Any, W: Any, U: Any) -> Step:
    """One step."""
    a_t = x_t @ W
    h_t = ts.ops.tanh(a_t + h_prev @ U)
    return Step(a_t, h_t)


def tensors(*shapes: tuple[int, ...]) -> list[ts.Tensor]:
    return [ts.tensor(np.ones(shape), requires_grad=True) for shape in shapes]


def test_the_registry() -> None:
    block = step.block
    assert [e.id for e in block.equations.values()] == ["a_test.a", "a_test.h"]
    equation = block.equations["h_t"]
    assert EQUATIONS["a_test.h"] is equation
    assert equation[:4] == ("a_test.h", "hₜ", r"h_t = \tanh(a_t + U h_{t-1})", "h_t = tanh(a_t + U h_{t-1})")
    assert block.file == __file__
    lines = open(block.file, encoding="utf-8").read().splitlines()
    assert lines[block.line - 1].startswith("@ts.equations") and lines[block.line].startswith("def step(")
    assert [lines[e.line - 1].strip() for e in block.equations.values()] == [
        "a_t = x_t @ W",
        "h_t = ts.ops.tanh(a_t + h_prev @ U)",
    ]
    assert step.__name__ == "step" and step.__doc__ == "One step."


def test_the_lstm_is_registered_with_the_chapter_s_symbols() -> None:
    block = ts.ops.lstm_step.block
    assert [e.symbol for e in block.equations.values()] == ["fₜ", "iₜ", "c̃ₜ", "cₜ", "oₜ", "hₜ"]
    assert block.equations["c_t"].text == "c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t"
    assert set(block.equations) == set(ts.ops.LSTMStep._fields)


def test_nodes_carry_their_symbols() -> None:
    symbols = step(*tensors((2, 3), (2, 4), (3, 4), (4, 4)))
    assert symbols.h_t.name == "hₜ" and symbols.a_t.name == "aₜ"
    assert symbols.h_t.place.equation.id == "a_test.h"
    assert symbols.h_t.place.scope.owner is step.block
    out = step(*(t.data for t in tensors((2, 3), (2, 4), (3, 4), (4, 4))))
    assert type(out.h_t) is np.ndarray, "on arrays it runs too"


def test_an_error_shows_the_line_and_the_shapes_put_in() -> None:
    with pytest.raises(ValueError) as caught:
        step(*tensors((2, 3), (2, 4), (3, 4), (5, 4)))
    text = str(caught.value)
    assert text.startswith("a_test: h_t = ts.ops.tanh(a_t + h_prev @ U)\n    with ")
    assert "a_t (2, 4)" in text and "h_prev (2, 4)" in text and "U (5, 4)" in text
    assert "MatMul of a (2, 4) float64, b (5, 4) float64" in text
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_in_a_line_without_a_symbol_and_one_before_the_first_line() -> None:
    class Sum(NamedTuple):
        s_t: Any

    @ts.equations("a_bare_sum", s_t="s_t = x_t + y_t")
    def add(x_t: Any, y_t: Any) -> Sum:
        return Sum(x_t + y_t)

    try:
        with pytest.raises(
            ValueError, match=r"^a_bare_sum: return Sum.*\n    with x_t \(2,\), y_t \(3,\)\n    Add of a"
        ):
            add(*tensors((2,), (3,)))
        with pytest.raises(ValueError, match=r"^a_bare_sum: return Sum.*\n    operands could not be broadcast"):
            add(np.ones(2), np.ones(3))
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'y_t'") as caught:
            add(np.ones(2))
        assert caught.value.__cause__ is None
    finally:
        del EQUATIONS["a_bare_sum.s"]


def test_the_lstm_s_equation_with_the_shapes_of_its_gates() -> None:
    x, h, c, W, U, b = tensors((2, 3), (2, 4), (2, 4), (16, 5), (16, 4), (16,))
    with pytest.raises(ValueError) as caught:
        ts.ops.lstm_step(x, h, c, lstm_gates(W, "W"), lstm_gates(U, "U"), lstm_gates(b, "b"))
    text = str(caught.value)
    assert text.startswith("lstm: f_t = sigmoid(x_t @ W.f.T + h_prev @ U.f.T + b.f)\n    with x_t (2, 3), W.f (4, 5)")


def test_an_error_of_numpy_s_own_kind() -> None:
    class Sum(NamedTuple):
        s_t: Any

    @ts.equations("a_sum", s_t="s_t = x_t + y_t")
    def add(x_t: Any, y_t: Any) -> Sum:
        s_t = x_t + y_t
        return Sum(s_t)

    try:
        with pytest.raises(TypeError, match=r"^a_sum: s_t = x_t \+ y_t\n    with x_t \(1,\)\n    Add of a"):
            add(ts.tensor([1.0]), "y")
    finally:
        del EQUATIONS["a_sum.s"]


def test_an_id_belongs_to_one_function() -> None:
    with pytest.raises(ValueError, match=r"equations: the id 'a_test.h' is that of an equation in .*test_equations.py"):

        @ts.equations("a_test", new_t="n_t = x_t", h_t="h_t = x_t")
        def other(x_t: Any) -> Any:
            return x_t

    assert EQUATIONS["a_test.h"] is step.block.equations["h_t"]
    assert "a_test.new" not in EQUATIONS, "all of a block's equations are registered, or none"


def test_symbols_come_in_a_named_tuple() -> None:
    @ts.equations("a_lone", s_t="s_t = x_t")
    def lone(x_t: Any) -> Any:
        return x_t

    with pytest.raises(TypeError, match=r"^a_lone: an equation block returns its symbols, s_t, in a NamedTuple; got T"):
        lone(ts.tensor([1.0]))
    del EQUATIONS["a_lone.s"]


class State(NamedTuple):
    state: Any


@ts.equations("a_state", state=r"s_i = f(s_{i-1})")
def next_state(f: Any, s: Any) -> State:
    """The state of any cell, which may have one part or two."""
    state = f(s)
    return State(state)


def test_a_state_of_one_part_is_the_symbol_and_two_parts_keep_their_names() -> None:
    (x,) = tensors((2, 3))
    assert next_state(lambda s: ts.ops.RNNState(ts.ops.tanh(s)), x).state.h.name == "s_i"
    h, c = next_state(lambda s: ts.ops.LSTMState(ts.ops.tanh(s), s * 2), x).state
    assert h.name is None and c.name is None


class Parts(NamedTuple):
    head: Any
    output: Any
    alpha: Any


@ts.equations("a_whole", head=r"\mathrm{head}_i = x W_i", output=r"\mathrm{All}(x) = \sum_i \mathrm{head}_i")
def whole(x: Any, W: Any) -> Parts:
    """Several symbols under one equation, and one without an equation."""
    head = [x @ W_i for W_i in W]
    output = head[0] + head[1]
    return Parts(head, output, x)


def test_a_field_called_output_has_the_block_s_id_and_a_list_is_counted() -> None:
    assert [e.id for e in whole.block.equations.values()] == ["a_whole.head", "a_whole"]
    x, W, V = tensors((2, 3), (3, 3), (3, 3))
    symbols = whole(x, [W, V])
    assert [head.name for head in symbols.head] == ["head_1", "head_2"]
    assert symbols.output.name == "All(x)" and symbols.alpha.name is None


def test_the_scope_is_restored_after_exceptions() -> None:
    before = state.scope
    with pytest.raises(ValueError):
        step(*tensors((2, 3), (2, 4), (3, 4), (5, 4)))
    assert state.scope is before

    class Failing(ts.nn.Module):
        def forward(self) -> None:
            raise KeyError

    with pytest.raises(KeyError):
        Failing()()
    assert state.scope is before
    with pytest.raises(ValueError):
        ts.ops.scan(lambda x_t, s: step(x_t, s.h, s.h, s.h), LSTMGates(1, 2, 3, 4), ts.tensor(np.ones((1, 0, 1))))
    assert state.scope is before


def test_scopes_nest_as_the_calls_do() -> None:
    class Inner(ts.nn.Module):
        def forward(self, x: ts.Tensor) -> ts.Tensor:
            return x * 2

    class Outer(ts.nn.Module):
        def __init__(self) -> None:
            self.inner = Inner()

        def forward(self, x: ts.Tensor) -> ts.Tensor:
            return self.inner(x) + 1

    outer = Outer()
    y = outer(ts.tensor(1.0, requires_grad=True))
    assert y.place.scope.owner is outer and y.place.scope.parent is None
    inner = y.place.sources[0].scope
    assert inner.owner is outer.inner and inner.parent.owner is outer


def test_opened_lstm_names_its_nodes() -> None:
    x = ts.tensor(np.ones((1, 2, 3), np.float32))
    lstm = ts.nn.LSTM(3, 2)
    with ts.definitions():
        out, _ = lstm(x)
    names, seen, stack = set(), set(), [out.place]
    while stack:
        place = stack.pop()
        if place is None or id(place) in seen:
            continue
        seen.add(id(place))
        names.add(place.name)
        stack += getattr(getattr(place, "op", place), "sources", [])
    assert {"fₜ", "iₜ", "c̃ₜ", "cₜ", "oₜ", "hₜ", "W_f", "U_o", "b_c"} <= names


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\alpha_{tj} = \softmax(e_{tj})", "α_{tj} = softmax(e_{tj})"),
        (r"\operatorname{MultiHead}(Q, K, V)", "MultiHead(Q, K, V)"),
        (r"W^\top x\,y", "Wᵀ x y"),
        (r"\frac{\partial L}{\partial h_1}", "∂L / ∂h_1"),
        (r"\frac{s^\top h}{\sqrt{d}}", "sᵀ h / √d"),
        (r"\frac{a + b}{\sqrt{c + \frac{1}{d}}}", "(a + b) / √(c + 1 / d)"),
        (r"h_t = [\vec{h}_t; \overleftarrow{h}_t]", "h_t = [h\u20d7_t; h\u20d6_t]"),
    ],
)
def test_plain(latex: str, text: str) -> None:
    assert plain(latex) == text


def test_unicode() -> None:
    assert [unicode(s) for s in ("h_{t-1}", "c_0", r"\tilde{h}_t", "W_f", "W_i", "x", "e_{tj}")] == [
        "hₜ₋₁", "c₀", "h̃ₜ", "W_f", "W_i", "x", "e_{tj}",
    ]  # fmt: skip
