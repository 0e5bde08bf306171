"""RNN, LSTM and GRU against ONNX's reference implementation, on random weights.

ONNX's own node cases have weights that are all the same number: a wrong order of gates passes them. The reference runs
forward, reverse and bidirectional nodes, initial states, peepholes and both conventions of the GRU. It ignores
`sequence_lens` and every activation but the default: padded batches are compared with the reference run on each
sequence alone, relu and sigmoid RNNs with PyTorch and NumPy elsewhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts

onnx = pytest.importorskip(
    "onnx", minversion="1.23", reason="onnx is not installed: its reference is not compared with"
)
from onnx import TensorProto, helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

B, T, D, H = 3, 5, 2, 4
GATES = {"RNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}  # ONNX's order, i o f c and z r h, in ours
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}

KINDS: dict[str, tuple[str, Any, dict[str, Any], dict[str, Any]]] = {
    "RNN": ("RNN", ts.nn.RNN, {}, {}),
    "LSTM": ("LSTM", ts.nn.LSTM, {}, {}),
    "GRU": ("GRU", ts.nn.GRU, {}, {"linear_before_reset": 1}),
    "GRU of Cho et al.": ("GRU", ts.nn.GRU, {"reset_after": False}, {"linear_before_reset": 0}),
}


def reordered(op: str, a: np.ndarray) -> np.ndarray:
    """A stacked parameter of ours with its gates in ONNX's order."""
    gates = GATES[op]
    return a.reshape(len(gates), -1, *a.shape[1:])[gates].reshape(a.shape)


def reference(op: str, x: np.ndarray, inputs: dict[str, np.ndarray], **attributes: Any) -> list[np.ndarray]:
    """Y (B, T, directions · H) and the final states (directions, B, H) of one node; x is (B, T, D)."""
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"][: 8 if op == "LSTM" else 6]
    inputs = {"X": x.swapaxes(0, 1)} | inputs
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, [n if n in inputs else "" for n in names], outputs, hidden_size=H, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, TensorProto.DOUBLE, a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    Y, *last = ReferenceEvaluator(model).run(None, inputs)
    return [Y.transpose(2, 0, 1, 3).reshape(x.shape[0], x.shape[1], -1), *last]


def weights(op: str, values: dict[str, np.ndarray], suffixes: Sequence[str]) -> dict[str, np.ndarray]:
    """A layer's state dict as W, R and B of an ONNX node, the directions in the order of their suffixes."""

    def stacked(*names: str) -> np.ndarray:
        return np.stack(
            [np.concatenate([reordered(op, values[f"{name}_l0{end}"]) for name in names]) for end in suffixes]
        )

    return {"W": stacked("weight_ih"), "R": stacked("weight_hh"), "B": stacked("bias_ih", "bias_hh")}


def random_layer(kind: Any, **options: Any) -> Any:
    rng = np.random.default_rng(1)
    layer = kind(D, H, **options).to("float64")
    layer.load_state_dict({name: rng.standard_normal(a.shape) for name, a in layer.state_dict().items()})
    return layer


def parts(state: Any) -> tuple[Any, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_batches(kind: str, direction: str, given_state: bool) -> None:
    op, ours, own, attributes = KINDS[kind]
    layer = random_layer(ours, bidirectional=True, **own)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((B, T, D))
    n = 2 if op == "LSTM" else 1
    states = rng.standard_normal((n, 2, B, H)) if given_state else None
    out, last = layer(ts.tensor(x), None if states is None else [ts.tensor(s) for s in states])

    which = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[direction]
    inputs = weights(op, layer.state_dict(), [("", "_reverse")[k] for k in which])
    if states is not None:
        inputs |= {f"initial_{field}": s[which] for field, s in zip("hc", states, strict=False)}
    Y, *ends = reference(op, x, inputs, direction=direction, **attributes)
    np.testing.assert_allclose(np.concatenate([out.data[..., k * H : (k + 1) * H] for k in which], -1), Y, **TOLERANCE)
    assert len(ends) == len(parts(last))
    for a, b in zip(parts(last), ends, strict=True):
        np.testing.assert_allclose(a.data[which], b, **TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_batches(kind: str) -> None:
    op, ours, own, attributes = KINDS[kind]
    layer = random_layer(ours, bidirectional=True, **own)
    x, lengths = np.random.default_rng(3).standard_normal((B, T, D)), [5, 1, 3]
    out, last = layer(ts.tensor(x), lengths=lengths)
    inputs = weights(op, layer.state_dict(), ["", "_reverse"])
    for k, n in enumerate(lengths):
        Y, *ends = reference(op, x[k : k + 1, :n], inputs, direction="bidirectional", **attributes)
        np.testing.assert_allclose(out.data[k, :n], Y[0], **TOLERANCE)
        assert not out.data[k, n:].any()
        for a, b in zip(parts(last), ends, strict=True):
            np.testing.assert_allclose(a.data[:, k], b[:, 0], **TOLERANCE)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
def test_peepholes(lengths: list[int] | None, given_state: bool) -> None:
    layer, rng = random_layer(ts.nn.PeepholeLSTM), np.random.default_rng(4)
    x, states = rng.standard_normal((B, T, D)), rng.standard_normal((2, B, H)) * given_state
    out, last = layer(ts.tensor(x), ts.ops.LSTMState(*map(ts.tensor, states)), lengths)
    W, U, b, p = layer.state_dict().values()
    p_i, p_f, p_o = np.split(p, 3)
    inputs = {name: reordered("LSTM", a)[None] for name, a in (("W", W), ("R", U))}
    inputs["B"] = np.concatenate([reordered("LSTM", b), np.zeros_like(b)])[None]
    inputs["P"] = np.concatenate([p_i, p_o, p_f])[None]
    for k, n in enumerate(lengths or [T] * B):
        begin = {f"initial_{field}": s[None, k : k + 1] for field, s in zip("hc", states, strict=True)}
        Y, h, c = reference("LSTM", x[k : k + 1, :n], inputs | begin)
        np.testing.assert_allclose(out.data[k, :n], Y[0], **TOLERANCE)
        np.testing.assert_allclose(last.h.data[k], h[0, 0], **TOLERANCE)
        np.testing.assert_allclose(last.c.data[k], c[0, 0], **TOLERANCE)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU of Cho et al."])
def test_another_order_of_gates_would_be_seen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, ours, own, attributes = KINDS[kind]
    x = np.random.default_rng(5).standard_normal((B, T, D))
    values = random_layer(ours, **own).state_dict()
    right, *_ = reference(op, x, weights(op, values, [""]), **attributes)
    order = GATES[op]
    for k in range(len(order) - 1):
        wrong = list(order)
        wrong[k], wrong[k + 1] = wrong[k + 1], wrong[k]
        monkeypatch.setitem(GATES, op, wrong)
        other, *_ = reference(op, x, weights(op, values, [""]), **attributes)
        assert np.abs(other - right).max() > 0.01


def test_the_conventions_of_the_gru_would_not_be_confused() -> None:
    x = np.random.default_rng(6).standard_normal((B, T, D))
    inputs = weights("GRU", random_layer(ts.nn.GRU).state_dict(), [""])
    before, *_ = reference("GRU", x, inputs, linear_before_reset=0)
    after, *_ = reference("GRU", x, inputs, linear_before_reset=1)
    assert np.abs(before - after).max() > 0.01
