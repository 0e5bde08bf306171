"""The registry: every equation of the chapter has an id, LaTeX, a line of code, a test of its definition, a picture.

A test fails where one of them is missing. Definitions are compared with formulas written here anew, in NumPy, element
by element where that is plainer than a product of matrices.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygrad_seq as ts
from tinygrad_seq import ops
from tinygrad_seq.cli import app
from tinygrad_seq.core.equations import EQUATIONS
from tinygrad_seq.models.language_model import lm_step
from tinygrad_seq.nn.positional import positional_encoding
from tinygrad_seq.nn.recurrent import both_directions, stacked
from tinygrad_seq.ops.attention import HeadWeights
from tinygrad_seq.ops.gru import GRUGates
from tinygrad_seq.ops.lstm import LSTMGates
from viz.renderers import needs_dot

# What the chapter has, and two orders and two conventions besides.
REQUIRED = """
rnn.h rnn.y lm.e lm.h lm.p stack.h bi.h bptt.product lstm.f lstm.i lstm.c_tilde lstm.c lstm.o lstm.h
gru.z gru.r gru.n gru.h gru_cho.z gru_cho.r gru_cho.n gru_cho.h attn.score attn.alpha attn.context attn.state
luong.state luong.output score.dot score.scaled_dot score.mlp score.bilinear self sdpa mha.head mha.concat pe.sin pe.cos
""".split()

B, T, D, H, V, N = 2, 3, 4, 5, 6, 2
RNG = np.random.default_rng(0)
Array = np.ndarray


def a(*shape: int) -> Array:
    return RNG.standard_normal(shape)


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(e: Array) -> Array:
    p = np.exp(e)
    return p / p.sum(-1, keepdims=True)


def step(gates: Any, step_of: Callable[..., Any], *more: Array) -> tuple[Any, ...]:
    """A gated step on random parameters: its symbols, and x, h and the parameters."""
    x, h = a(B, D), a(B, H)
    W, U, b = (gates(*(a(*shape) for _ in gates._fields)) for shape in ((H, D), (H, H), (H,)))
    return x, h, W, U, b, step_of(x, h, *more, W, U, b)


def each_h(W: Array, x: Array) -> Array:
    """W x for each row x of a batch, a number at a time."""
    return np.array([[sum(W[i, j] * row[j] for j in range(len(row))) for i in range(len(W))] for row in x])


# -- the definitions: id -> (what the block gives, what it should be)


def rnn() -> dict[str, tuple[Any, Array]]:
    found = {}
    x, h, W_xh, W_hh, b_h = a(B, D), a(B, H), a(H, D), a(H, H), a(H)
    for g, by_hand in ((ops.tanh, np.tanh), (ops.relu, lambda z: np.maximum(z, 0)), (ops.sigmoid, sigma)):
        h_t = by_hand(each_h(W_hh, h) + each_h(W_xh, x) + b_h)
        found["rnn.h"] = ops.rnn_step(x, h, W_xh, W_hh, b_h, g).h_t, h_t
        np.testing.assert_allclose(*found["rnn.h"], rtol=1e-12)
    W_hy, b_y = a(V, H), a(V)
    return found | {"rnn.y": (ops.rnn_output(h, W_hy, b_y).y_t, each_h(W_hy, h) + b_y)}


def lm() -> dict[str, tuple[Any, Array]]:
    x, h, E, W_he, W_hh, W_hy = np.array([1, 5]), a(B, H), a(V, D), a(H, D), a(H, H), a(V, H)
    one_hot = np.eye(V)[x]
    e = each_h(E.T, one_hot)
    h_t = np.tanh(each_h(W_hh, h) + each_h(W_he, e))
    s = lm_step(x, h, E, W_he, W_hh, W_hy)
    return {"lm.e": (s.e_t, e), "lm.h": (s.h_t, h_t), "lm.p": (s.p, softmax(each_h(W_hy, h_t)))}


def architectures() -> dict[str, tuple[Any, Array]]:
    """Layer 2 reads what layer 1 says at the same step; both directions stand side by side."""
    x, W, U, V_, Y = a(B, T, D), a(H, D), a(H, H), a(H, H), a(H, H)
    lower, upper = np.zeros((B, H)), np.zeros((B, H))
    expected = []
    for t in range(T):
        lower = np.tanh(each_h(W, x[:, t]) + each_h(U, lower))
        upper = np.tanh(each_h(V_, lower) + each_h(Y, upper))
        expected.append(upper)
    zero, no_bias = np.zeros((B, H)), np.zeros(H)
    below = stacked(lambda h, below: ops.rnn(below, h, W, U, no_bias), zero, x).h_t
    above = stacked(lambda h, below: ops.rnn(below, h, V_, Y, no_bias), zero, below).h_t
    forward, backward = a(B, T, H), a(B, T, H)
    side_by_side = np.array([[[*forward[b, t], *backward[b, t]] for t in range(T)] for b in range(B)])
    return {"stack.h": (above, np.stack(expected, 1)), "bi.h": (both_directions(forward, backward).h, side_by_side)}


def bptt() -> dict[str, tuple[Any, Array]]:
    """The product of Jacobians is the gradient that backward gives."""
    cell = ts.nn.RNNCell(D, H).to("float64")
    xs, start = ts.tensor(a(1, T, D)), ops.RNNState(ts.tensor(a(1, H)))
    h_1 = ts.tensor(cell(xs[:, 0], start.h).numpy(), requires_grad=True)
    h = h_1
    for t in range(1, T):
        h = cell(xs[:, t], h)
    dL_dh_T = a(1, H)
    (expected,) = ts.grad(h, [h_1], [ts.tensor(dL_dh_T)])
    jacobians = ts.train.state_jacobians(cell.step, start, xs).numpy()
    product = ts.train.gradient_at_start(dL_dh_T[:, None], list(jacobians[1:])).product[:, 0]
    return {"bptt.product": (product, expected.numpy())}


def lstm() -> dict[str, tuple[Any, Array]]:
    c = a(B, H)
    x, h, W, U, b, s = step(LSTMGates, ops.lstm_step, c)
    f, i, o = (sigma(each_h(W[k], x) + each_h(U[k], h) + b[k]) for k in (1, 0, 3))
    c_tilde = np.tanh(each_h(W.c, x) + each_h(U.c, h) + b.c)
    c_t = f * c + i * c_tilde
    expected = {"f_t": f, "i_t": i, "c_tilde": c_tilde, "c_t": c_t, "o_t": o, "h_t": o * np.tanh(c_t)}
    return {f"lstm.{k.removesuffix('_t')}": (getattr(s, k), v) for k, v in expected.items()}


def gru() -> dict[str, tuple[Any, Array]]:
    found = {}
    b_hn = a(H)
    for name, step_of in (("gru", lambda *p: ops.gru_step(*p, b_hn)), ("gru_cho", ops.gru_cho_step)):
        x, h, W, U, b, s = step(GRUGates, step_of)
        r, z = (sigma(each_h(W[k], x) + each_h(U[k], h) + b[k]) for k in (0, 1))
        if name == "gru":  # r after the product
            n = np.tanh(each_h(W.n, x) + b.n + r * (each_h(U.n, h) + b_hn))
        else:  # r before it
            n = np.tanh(each_h(W.n, x) + each_h(U.n, r * h) + b.n)
        expected = {"r": r, "z": z, "n": n, "h": n - z * n + z * h}  # z keeps the old state
        found |= {f"{name}.{k}": (getattr(s, f"{k}_t"), v) for k, v in expected.items()}
    return found


def attention() -> dict[str, tuple[Any, Array]]:
    s, h, W, W_1, W_2, v = a(B, H), a(B, T, H), a(H, H), a(D, H), a(D, H), a(D)

    def scores(one: Callable[[Array, Array], float]) -> Array:
        return np.array([[one(s[b], h[b, j]) for j in range(T)] for b in range(B)])

    e = scores(lambda s, h: sum(s[k] * h[k] for k in range(H)))
    alpha = np.array(
        [[math.exp(e[b, j]) / sum(math.exp(e[b, k]) for k in range(T)) for j in range(T)] for b in range(B)]
    )
    c = np.array([sum(alpha[b, j] * h[b, j] for j in range(T)) for b in range(B)])
    attended = ops.attend(lambda s, h: ops.dot_score(s, h).dot, s, h)
    y, W_y, C = a(B, D), a(H, D), a(H, H)
    state = ops.attention_state(lambda s, y, c: np.tanh(s @ W.T + y @ W_y.T + c @ C.T), s, y, c).state
    plain = ops.luong_state(lambda s, y: np.tanh(s @ W.T + y @ W_y.T), s, y).state
    W_c = a(D, 2 * H)
    return {
        "score.dot": (ops.dot_score(s, h).dot, e),
        "score.scaled_dot": (ops.scaled_dot_score(s, h).scaled_dot, e / H**0.5),
        "score.bilinear": (ops.bilinear_score(s, h, W).bilinear, scores(lambda s, h: s @ W @ h)),
        "score.mlp": (ops.mlp_score(s, h, W_1, W_2, v).mlp, scores(lambda s, h: v @ np.tanh(W_1 @ s + W_2 @ h))),
        "attn.score": (attended.score, e),
        "attn.alpha": (attended.alpha, alpha),
        "attn.context": (attended.context, c),
        "attn.state": (state, np.tanh(each_h(W, s) + each_h(W_y, y) + each_h(C, c))),
        "luong.state": (plain, np.tanh(each_h(W, s) + each_h(W_y, y))),
        "luong.output": (ops.luong_output(c, s, W_c).output_t, np.tanh(each_h(W_c, np.concatenate([c, s], -1)))),
    }


def one_query(q: Array, keys: Array, values: Array) -> Array:
    """Attention of one query over pairs (k_j, v_j)."""
    e = np.array([q @ k / math.sqrt(len(q)) for k in keys])
    return sum(w * v for w, v in zip(np.exp(e) / np.exp(e).sum(), values, strict=True))


def each_query(q: Array, k: Array, v: Array) -> Array:
    return np.array([[one_query(row, k[b], v[b]) for row in q[b]] for b in range(len(q))])


def transformer() -> dict[str, tuple[Any, Array]]:
    x, q, k, v = a(B, T, D), a(B, T, D), a(B, V, D), a(B, V, H)
    Q, K, value = a(B, T, N * D), a(B, V, N * D), a(B, V, N * D)
    W_q, W_k, W_v = ([a(N * D, D) for _ in range(N)] for _ in range(3))
    W_o = a(N * D, N * D)
    many = ops.multi_head(Q, K, value, HeadWeights(W_q, W_k, W_v, None, None, None, W_o, None), [None] * N, [None] * N)
    heads = [each_query(Q @ W_q[i], K @ W_k[i], value @ W_v[i]) for i in range(N)]
    return {
        "self": (ops.self_attention(x).output, each_query(x, x, x)),
        "sdpa": (ops.attention(q, k, v).output, each_query(q, k, v)),
        "mha.head": (np.stack(many.head), np.stack(heads)),
        "mha.concat": (many.concat, np.concatenate(heads, -1) @ W_o),
    }


def positions() -> dict[str, tuple[Any, Array]]:
    d, n = 6, 9
    table = np.empty((n, d))
    for pos in range(n):
        for i in range(d // 2):
            table[pos, 2 * i] = math.sin(pos / 10000 ** (2 * i / d))
            table[pos, 2 * i + 1] = math.cos(pos / 10000 ** (2 * i / d))
    found = positional_encoding(np.arange(float(n)), d)
    return {"pe.sin": (found.sin, table[:, 0::2]), "pe.cos": (found.cos, table[:, 1::2])}


FAMILIES = (rnn, lm, architectures, bptt, lstm, gru, attention, transformer, positions)
EVERY = {e.id: e for e in ts.viz.equations()}


@pytest.fixture(scope="module")
def definitions() -> dict[str, tuple[Any, Array]]:
    return {id: pair for family in FAMILIES for id, pair in family().items()}


def test_nothing_of_the_chapter_is_missing_and_nothing_is_untested(definitions: Any) -> None:
    assert set(REQUIRED) == set(EVERY) == set(definitions)
    assert len(REQUIRED) == len(set(REQUIRED)) == 38


def test_every_registered_equation_is_listed() -> None:
    """An equation block of the package that nobody lists, draws and tests here fails."""
    ours = {
        id
        for id, e in EQUATIONS.items()
        if Path(e.file).is_relative_to(Path(ts.__file__).parent) or Path(e.file).parent.name == "models"
    }
    variants = {id for id in ours if id.split(".")[0] in ("peephole", "layer_norm_lstm", "residual", "crf")}
    assert ours - variants == set(EVERY)


@pytest.mark.parametrize("id", REQUIRED)
def test_the_definition(id: str, definitions: Any) -> None:
    found, expected = definitions[id]
    assert np.asarray(found).shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("id", REQUIRED)
def test_it_has_latex_and_a_line_of_code(id: str) -> None:
    e = EVERY[id]
    left, equals, right = e.latex.partition(" = ")
    assert left and equals and right and "\\" not in e.text and e.latex.count("{") == e.latex.count("}")
    line = Path(e.file).read_text(encoding="utf-8").splitlines()[e.line - 1].strip()
    assert re.match(rf"{e.field}(, state)? = ", line), line


@needs_dot
@pytest.mark.parametrize("id", REQUIRED)
def test_it_has_a_picture(id: str, tmp_path: Path) -> None:
    """One box carries the equation, and its symbol; all the parts lead to it."""
    e, g = EVERY[id], ts.viz.equation_graph(id)
    carrying = [node for node in g.nodes if node.equation == e.text]
    arrows = [edge for edge in g.edges if edge.label == e.symbol]
    assert carrying or arrows, [node.label for node in g.nodes]
    for node in carrying:
        assert node.label.startswith((f"{e.symbol} = ", e.symbol.replace("_i", "_")))
    assert len(g.nodes) > 2 and g.title == e.text
    svg = g.save(tmp_path / f"{id}.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and g.title.split("_")[0] in svg


def test_the_command_lists_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["equations"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines] == list(EVERY)
    assert re.split("  +", lines[list(EVERY).index("lstm.c")])[1] == "c_t = f_t ⊙ c_{t-1} + i_t ⊙ c̃_t"
    assert f"tinygrad_seq/ops/lstm.py:{EVERY['lstm.c'].line}" in done.output
    assert "models/language_model.py:" in done.output
    done = CliRunner().invoke(app, ["equations", "pe.sin", "--latex"])
    assert done.output.split("  ")[1] == EVERY["pe.sin"].latex
    done = CliRunner().invoke(app, ["equations", "softmax"])
    assert done.exit_code == 1 and "no equation is called 'softmax'; there are rnn.h, " in done.output


@needs_dot
def test_the_command_draws_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["equations", "luong", "--pictures", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["luong.output.svg", "luong.state.svg"]
