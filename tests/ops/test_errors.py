"""What is wrong with an input is said: what was expected, what came, and where."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from tinygrad_seq import ops

A = ts.tensor(np.ones((2, 3)))
B = ts.tensor(np.ones((4, 5)))
V = ts.tensor(np.ones(3))
ONE = ts.tensor(1.0)
IDS = ts.tensor([0, 2])

WRONG: dict[str, tuple[type[Exception], Callable[[], Any], list[str]]] = {
    # shapes: the op and both shapes
    "add": (ValueError, lambda: A + B, ["Add", "(2, 3)", "(4, 5)"]),
    "add an array": (ValueError, lambda: A + np.ones((4, 5)), ["Add", "(2, 3)", "(4, 5)"]),
    "an array first": (ValueError, lambda: np.ones((4, 5)) - A, ["Sub", "(2, 3)", "(4, 5)"]),
    "mul": (ValueError, lambda: A * B, ["Mul", "(2, 3)", "(4, 5)"]),
    "div": (ValueError, lambda: A / B, ["Div", "(2, 3)", "(4, 5)"]),
    "pow": (ValueError, lambda: A**B, ["Pow", "(2, 3)", "(4, 5)"]),
    "maximum": (ValueError, lambda: ops.maximum(A, B), ["Maximum", "(2, 3)", "(4, 5)"]),
    "less": (ValueError, lambda: A < B, ["less", "(2, 3)", "(4, 5)"]),
    "equal": (ValueError, lambda: A == B, ["equal", "(2, 3)", "(4, 5)"]),
    "where": (ValueError, lambda: ops.where(A > 0, A, B), ["Where", "(2, 3)", "(4, 5)"]),
    "where's condition": (ValueError, lambda: ops.where(B > 0, A, A), ["Where", "condition (4, 5)", "(2, 3)"]),
    "matmul": (ValueError, lambda: A @ B, ["MatMul", "a (2, 3)", "b (4, 5)"]),
    "matmul of a vector": (ValueError, lambda: V @ B, ["MatMul", "(4, 5)", "3"]),
    "matmul of a number": (ValueError, lambda: A @ ONE, ["matmul", "at least one axis", "(2, 3)", "()"]),
    "matmul of a Python number": (ValueError, lambda: A @ 2, ["matmul", "at least one axis", "(2, 3)", "()"]),
    "softmax of a number": (ValueError, lambda: ops.softmax(ONE), ["softmax", "at least one axis", "()"]),
    "log_softmax of a number": (ValueError, lambda: ops.log_softmax(ONE), ["log_softmax", "at least one axis", "()"]),
    "cumsum of a number": (ValueError, lambda: ops.cumsum(ONE, 0), ["cumsum", "at least one axis", "()"]),
    "embedding's padding": (ValueError, lambda: ops.embedding(A, IDS - 1, padding_idx=2), ["padding_idx", "2 rows"]),
    "astype": (TypeError, lambda: ops.astype(A, "complex64"), ["astype", "floating-point", "complex64"]),
    "to a dtype that tensors do not have": (TypeError, lambda: A.to("S1"), ["astype", "S1"]),
    "to nothing": (TypeError, lambda: A.to(None), ["a device or a dtype", "None"]),
    "a model to nothing": (TypeError, lambda: ts.nn.Linear(1, 1).to(None), ["a device or a dtype", "None"]),
    "outer": (ValueError, lambda: ops.outer(A, V), ["outer", "two vectors", "(2, 3)", "(3,)"]),
    "linear": (ValueError, lambda: ops.linear(A, B), ["linear: y = x Wᵀ", "x (2, 3)", "W (4, 5)"]),
    "linear's bias": (ValueError, lambda: ops.linear(A, ts.tensor(np.ones((4, 3))), V), ["b (3,)", "W's first, 4"]),
    "einsum": (ValueError, lambda: ops.einsum("ij,jk->ik", A, B), ["Einsum", "(2, 3)", "(4, 5)"]),
    "einsum's letters": (ValueError, lambda: ops.einsum("ijk->i", A), ["einsum", "'ijk'", "2 axes"]),
    "einsum's inputs": (ValueError, lambda: ops.einsum("ij,jk->ik", A), ["einsum", "names 2 inputs, got 1"]),
    "einsum's output": (ValueError, lambda: ops.einsum("ij->ik", A), ["einsum", "output", "'ij->ik'"]),
    "einsum's output twice": (ValueError, lambda: ops.einsum("ij->ii", A), ["einsum", "each once"]),
    "einsum's diagonal": (ValueError, lambda: ops.einsum("ii", A), ["einsum", "'i'", "2 and 3"]),
    "concatenate": (ValueError, lambda: ops.concatenate([A, B]), ["Concatenate", "(2, 3)", "(4, 5)"]),
    "concatenate nothing": (ValueError, lambda: ops.concatenate([]), ["concatenate", "at least one"]),
    "stack": (ValueError, lambda: ops.stack([A, B]), ["Stack", "(2, 3)", "(4, 5)"]),
    "stack nothing": (ValueError, lambda: ops.stack([]), ["stack", "at least one"]),
    "layer_norm's weight": (ValueError, lambda: ops.layer_norm(A, ONE), ["layer_norm", "weight", "(3,)", "()"]),
    "layer_norm of a number": (ValueError, lambda: ops.layer_norm(ONE), ["layer_norm", "at least one axis"]),
    "rms_norm's weight": (ValueError, lambda: ops.rms_norm(A, B), ["rms_norm", "weight", "(3,)", "(4, 5)"]),
    "mse_loss": (ValueError, lambda: ops.mse_loss(A, V), ["mse_loss", "(2, 3)", "(3,)"]),
    "kl_div": (ValueError, lambda: ops.kl_div(A, V), ["kl_div", "(2, 3)", "(3,)"]),
    "bce": (ValueError, lambda: ops.binary_cross_entropy_with_logits(A, V), ["binary_cross_entropy", "(2, 3)", "(3,)"]),
    "cross_entropy": (
        ValueError,
        lambda: ops.cross_entropy(A, ts.tensor([0, 1, 2])),
        ["cross_entropy", "expected (2,)", "got (3,)", "(2, 3)"],
    ),
    "cross_entropy's weight": (
        ValueError,
        lambda: ops.cross_entropy(A, IDS, weight=ONE),
        ["weight", "expected (3,)", "got ()"],
    ),
    "lstm": (ValueError, lambda: ops.lstm(A, A, A, A, A, V), ["lstm: f_t = σ(W_f x_t", "(B, T, D) (2, 3)"]),
    "lstm's state": (
        ValueError,
        lambda: _lstm(h=(1, 2)),
        ["with x (B, T, D) (2, 4, 3), h_0 (1, 2)", "expected h_0 to have shape (2, 2)"],
    ),
    "rnn": (
        ValueError,
        lambda: ops.rnn(
            ts.tensor(np.ones((2, 4, 3))), *(ts.tensor(np.ones(s)) for s in ((2, 5), (5, 2), (5, 5), (5,)))
        ),
        ["rnn: h_t = g(W_hh h_{t-1} + W_xh x_t + b_h) with x", "W_xh (5, 2)", "expected W_xh to have shape (5, 3)"],
    ),
    "gru": (
        ValueError,
        lambda: _gru(ops.gru, (6, 3), (5, 2), (6,), (6,)),
        ["gru: r_t = σ(W_r x_t", "b_ih (6,), b_hh (6,)", "expected U to have shape (6, 2)"],
    ),
    "gru_cho": (
        ValueError,
        lambda: _gru(ops.gru_cho, (6, 3), (6, 2), (8,)),
        ["gru_cho: r_t = σ(W_r x_t", "b (8,)", "expected b to have shape (6,)"],
    ),
    "gru without time": (
        ValueError,
        lambda: _gru(ops.gru, (6, 3), (6, 2), (6,), (6,), T=0),
        ["gru: expected at least one time step", "(2, 0, 3)"],
    ),
    "lstm without time": (ValueError, lambda: _lstm(T=0), ["at least one time step", "(2, 0, 3)"]),
    "lstm's lengths": (ValueError, lambda: _lstm(lengths=[1, 2, 3]), ["lengths", "2 integers", "(3,)"]),
    "lstm's lengths of floats": (ValueError, lambda: _lstm(lengths=[1.0, 2.0]), ["lengths", "2 integers", "float64"]),
    "lstm's lengths of 0": (IndexError, lambda: _lstm(lengths=[0, 2]), ["lengths", "4 time steps", "from 1 to 4"]),
    "lstm's lengths beyond": (IndexError, lambda: _lstm(lengths=[5, 2]), ["lengths", "4 time steps", "from 1 to 4"]),
    "gru_attention_decoder": (
        ValueError,
        lambda: _decoder(keys=(2, 4, 6)),
        ["gru_attention_decoder: e_ij = vᵀ tanh", "keys (2, 4, 6)", "expected W_1 to have shape (6, 3)"],
    ),
    "gru_attention_decoder of one state": (ValueError, lambda: _decoder(h=(2, 5)), ["expected h to be (B, S, E)"]),
    "gru_attention_decoder without time": (ValueError, lambda: _decoder(y=(2, 0, 1)), ["at least one step"]),
    "gru_attention_decoder without a source": (
        ValueError,
        lambda: _decoder(h=(2, 0, 5), keys=(2, 0, 2)),
        ["one state to attend to", "h (2, 0, 5)"],
    ),
    "gru_attention_decoder's mask": (TypeError, lambda: _decoder(mask=np.ones((2, 4))), ["a mask is bool", "float64"]),
    "scan without time": (
        ValueError,
        lambda: ops.scan(None, None, ts.tensor(np.ones((2, 0, 3)))),
        ["scan", "time step", "(2, 0, 3)"],
    ),
    "gather": (ValueError, lambda: ops.gather(A, [[0, 1]], 1), ["gather", "x is (2, 3)", "the index (1, 2)"]),
    "gather of fewer axes": (ValueError, lambda: ops.gather(A, [0, 1], 1), ["gather", "(2, 3)", "(2,)"]),
    "scatter_add": (ValueError, lambda: ops.scatter_add(A, [[0], [1]], V, 1), ["scatter_add", "(2, 1)", "(3,)"]),
    # sizes and axes
    "reshape": (ValueError, lambda: A.reshape(4, 2), ["Reshape", "(2, 3)", "(4,2)"]),
    "broadcast_to": (ValueError, lambda: ops.broadcast_to(A, (2, 4)), ["BroadcastTo", "(2, 3)", "(2,4)"]),
    "broadcast_to a negative size": (ValueError, lambda: ops.broadcast_to(V, (-1, 3)), ["BroadcastTo", "negative"]),
    "transpose": (ValueError, lambda: A.transpose(0, 2), ["transpose", "axis 2", "2 axes"]),
    "transpose of too few": (ValueError, lambda: A.transpose((0,)), ["Transpose", "axes"]),
    "transpose twice": (ValueError, lambda: A.transpose(0, 0), ["Transpose", "repeated"]),
    "swapaxes": (ValueError, lambda: A.swapaxes(0, 2), ["SwapAxes", "axis"]),
    "moveaxis": (ValueError, lambda: ops.moveaxis(A, 2, 0), ["moveaxis", "axis 2", "2 axes"]),
    "expand_dims": (ValueError, lambda: ops.expand_dims(A, 3), ["expand_dims", "axis 3"]),
    "squeeze": (ValueError, lambda: ops.squeeze(A, 1), ["squeeze", "axis 1", "(2, 3)", "size 3"]),
    "squeeze beyond": (ValueError, lambda: ops.squeeze(A, -3), ["squeeze", "axis -3", "2 axes"]),
    "flip": (ValueError, lambda: ops.flip(A, 2), ["flip", "axis 2"]),
    "split": (ValueError, lambda: ops.split(A, 2, 1), ["split", "axis 1", "size 3", "2 equal parts"]),
    "split in none": (ValueError, lambda: ops.split(A, 0), ["split", "0 equal parts"]),
    "split backwards": (ValueError, lambda: ops.split(A, [2, 1], 1), ["split", "[2, 1]", "axis 1"]),
    "split beyond": (ValueError, lambda: ops.split(A, [7], 1), ["split", "[7]", "3"]),
    "split's axis": (ValueError, lambda: ops.split(A, 1, 2), ["split", "axis 2"]),
    "unstack": (ValueError, lambda: ops.unstack(A, 2), ["unstack", "axis 2"]),
    "pad": (ValueError, lambda: ops.pad(A, -1), ["pad", "negative", "-1"]),
    "pad's pairs": (ValueError, lambda: ops.pad(A, [(1, 2)] * 3), ["pad", "x (2, 3)"]),
    "pad by a half": (TypeError, lambda: ops.pad(A, 0.5), ["pad", "integers"]),
    "tile": (ValueError, lambda: ops.tile(A, -1), ["tile", "negative", "-1"]),
    "repeat": (ValueError, lambda: ops.repeat(A, -1, 0), ["repeat", "-1"]),
    "repeat of the wrong number": (ValueError, lambda: ops.repeat(A, [1, 2, 3], 0), ["repeat", "[1, 2, 3]", "axis 0"]),
    "repeat's axis": (ValueError, lambda: ops.repeat(A, 2, 2), ["repeat", "axis 2"]),
    "sum's axis": (ValueError, lambda: A.sum(2), ["Sum", "axis 2", "(2, 3)"]),
    "sum's axis twice": (ValueError, lambda: A.sum((0, 0)), ["Sum", "duplicate"]),
    "prod's axis": (ValueError, lambda: A.prod(2), ["prod", "axis 2"]),
    "logsumexp's axis": (ValueError, lambda: ops.logsumexp(A, 2), ["LogSumExp", "axis 2"]),
    "softmax's axis": (ValueError, lambda: ops.softmax(A, 2), ["Softmax", "axis 2", "(2, 3)"]),
    "cumsum's axis": (ValueError, lambda: ops.cumsum(A, 2), ["CumSum", "axis 2"]),
    "argmax's axis": (ValueError, lambda: ops.argmax(A, 2), ["argmax", "axis 2"]),
    "max of nothing": (ValueError, lambda: ops.max(ts.tensor([])), ["Max", "(0,)"]),
    "argmax of nothing": (ValueError, lambda: ops.argmax(ts.tensor([])), ["argmax", "(0,)"]),
    "take's axis": (ValueError, lambda: ops.take(A, [0], 2), ["take", "axis 2"]),
    "gather's axis": (ValueError, lambda: ops.gather(A, [[0]], 2), ["gather", "axis 2"]),
    # choices and numbers
    "clip by nothing": (ValueError, lambda: ops.clip(A), ["clip", "low", "high"]),
    "gelu": (ValueError, lambda: ops.gelu(A, "fast"), ["gelu", "'none' or 'tanh'", "'fast'"]),
    "feed_forward": (ValueError, lambda: ops.feed_forward(A, A, V, A, V, "tanh"), ["'relu', 'gelu'", "got 'tanh'"]),
    "its dropout": (ValueError, lambda: ops.feed_forward(A, A, V, A, V, dropout=1), ["0 <= dropout < 1, got 1"]),
    "its shapes": (
        ValueError,
        lambda: ops.feed_forward(A, A, V, A, V),
        ["FFN(x) = f(x W_1ᵀ + b_1) W_2ᵀ + b_2", "x (2, 3), W_1 (2, 3), b_1 (3,), W_2 (2, 3)", "expected b_1 (2,)"],
    ),
    "its vectors": (ValueError, lambda: ops.feed_forward(A, V, None, A, V), ["W_1 has two axes"]),
    "dropout": (ValueError, lambda: ops.dropout(A, 1.0), ["dropout", "0 <= p < 1", "1.0"]),
    "a negative dropout": (ValueError, lambda: ops.dropout(A, -0.1), ["dropout", "-0.1"]),
    "label_smoothing": (ValueError, lambda: ops.cross_entropy(A, IDS, label_smoothing=1.5), ["label_smoothing", "1.5"]),
    # dtypes
    "embedding of floats": (TypeError, lambda: ops.embedding(A, V), ["embedding", "expected integers", "float64"]),
    "embedding of booleans": (TypeError, lambda: ops.embedding(A, V > 0), ["embedding", "expected integers", "bool"]),
    "targets of floats": (
        TypeError,
        lambda: ops.cross_entropy(A, ts.tensor([0.0, 1.0])),
        ["cross_entropy", "expected integers", "float32"],
    ),
    "take by floats": (TypeError, lambda: ops.take(A, [0.5]), ["take", "expected integers", "float64"]),
    "gather by floats": (TypeError, lambda: ops.gather(A, A, 0), ["gather", "expected integers", "float64"]),
    "where by numbers": (TypeError, lambda: ops.where(A, A, A), ["where", "bool", "float64"]),
    "an index of floats": (IndexError, lambda: A[V], ["index", "integers or booleans", "float64"]),
    "-True": (TypeError, lambda: -(V > 0), ["Neg", "bool"]),
    # places that are not there
    "embedding": (IndexError, lambda: ops.embedding(A, [0, 2]), ["embedding", "2 rows", "0 to 1", "got 2"]),
    "a negative embedding": (IndexError, lambda: ops.embedding(A, [-1]), ["embedding", "0 to 1", "got -1"]),
    "targets": (IndexError, lambda: ops.cross_entropy(A, [0, 3]), ["cross_entropy", "3 classes", "0 to 2", "got 3"]),
    "targets to ignore": (
        IndexError,
        lambda: ops.cross_entropy(A, [-1, -100], ignore_index=-100),
        ["cross_entropy", "got -1"],
    ),
    "take": (IndexError, lambda: ops.take(A, [3], 1), ["take", "axis 1", "3", "got 3"]),
    "take of all": (IndexError, lambda: ops.take(A, [-7]), ["take", "-6 to 5", "got -7"]),
    "gather beyond": (IndexError, lambda: ops.gather(A, [[3], [0]], 1), ["gather", "axis 1", "got 3"]),
    "scatter_add beyond": (IndexError, lambda: ops.scatter_add(A, [[3], [0]], A[:, :1], 1), ["scatter_add", "got 3"]),
    "an index": (IndexError, lambda: A[2], ["GetItem", "(2, 3)", "2"]),
    "an index of integers": (IndexError, lambda: A[[0, 2]], ["GetItem", "(2, 3)", "2"]),
    "too many indices": (IndexError, lambda: A[0, 0, 0], ["GetItem", "too many", "(2, 3)"]),
    "a mask": (IndexError, lambda: A[V > 0], ["GetItem", "(2, 3)", "3"]),
    # making tensors
    "an unknown device": (
        ValueError,
        lambda: ts.tensor(1.0, device="gpu"),
        ["unknown device 'gpu'", "'cpu'", "'cuda'"],
    ),
    "to an unknown device": (ValueError, lambda: A.to("tpu"), ["unknown device 'tpu'"]),
    "cuda:x": (ValueError, lambda: ts.tensor(1.0, device="cuda:x"), ["unknown device 'cuda:x'"]),
    "ragged rows": (ValueError, lambda: ts.tensor([[1.0], [1.0, 2.0]]), ["rows of equal length"]),
    "a text": (TypeError, lambda: ts.tensor("one"), ["expected floating-point numbers, integers or booleans"]),
    "complex numbers": (TypeError, lambda: ts.tensor(1j), ["complex"]),
    # gradients
    "backward of many": (ValueError, lambda: _leaf().backward(), ["shape (2,)", "t.sum().backward()"]),
    "backward of a constant": (ValueError, lambda: A.sum().backward(), ["no graph", "requires_grad=True"]),
    "grad of a constant": (
        ValueError,
        lambda: ts.grad(_leaf().sum(), A),
        ["input 0 of shape (2, 3) requires no gradient"],
    ),
    "a gradient of another shape": (
        ValueError,
        lambda: _leaf().backward(ts.tensor([1.0])),
        ["expected a gradient of shape (2,)", "got (1,)"],
    ),
    "backward twice": (RuntimeError, lambda: _twice(), ["Sum", "freed", "retain_graph=True"]),
    "item": (ValueError, lambda: A.item(), ["exactly one element", "(2, 3)"]),
    "len of a number": (TypeError, lambda: len(ONE), ["no length"]),
    "numpy of a leaf": (TypeError, lambda: np.asarray(_leaf()), ["drop the gradient", ".detach().numpy()"]),
}


def _leaf() -> ts.Tensor:
    return ts.tensor([1.0, 2.0], requires_grad=True)


def _twice() -> None:
    x = _leaf()
    y = (x * x).sum()
    y.backward()
    y.backward()


def _gru(op: Any, *shapes: tuple[int, ...], T: int = 4) -> Any:
    return op(*(ts.tensor(np.ones(s)) for s in ((2, T, 3), (2, 2), *shapes)))


def _decoder(mask: Any = None, **changed: tuple[int, ...]) -> Any:
    shapes = {"y": (2, 3, 1), "s_0": (2, 3), "h": (2, 4, 5), "keys": (2, 4, 2), "W_1": (2, 3), "v": (2,)}
    shapes |= {"W": (9, 6), "U": (9, 3), "b_ih": (9,), "b_hh": (9,)} | changed
    return ops.gru_attention_decoder(*(ts.tensor(np.ones(s)) for s in shapes.values()), mask=mask)


def _lstm(T: int = 4, h: tuple[int, ...] = (2, 2), **options: Any) -> Any:
    shapes = [(2, T, 3), h, (2, 2), (8, 3), (8, 2), (8,)]
    return ops.lstm(*(ts.tensor(np.ones(s)) for s in shapes), **options)


@pytest.mark.parametrize("what", WRONG)
def test_the_message_says_what_is_wrong(what: str) -> None:
    error, call, words = WRONG[what]
    with pytest.raises(error) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# On a GPU nobody waits to look at an index: it is said when the next value is read.

BEYOND: dict[str, tuple[Callable[[Place, Any], Any], str]] = {
    "embedding": (lambda p, x: ops.embedding(x, p.tensor([0, 2])), "embedding: the table has 2 rows: .* from 0 to 1"),
    "targets": (lambda p, x: ops.cross_entropy(x, p.tensor([0, 3])), "cross_entropy: there are 3 classes: .* 0 to 2"),
    "take": (lambda p, x: ops.take(x, p.tensor([3]), 1), "take: axis 1 has 3 places: .* from -3 to 2"),
    "gather": (lambda p, x: ops.gather(x, p.tensor([[3], [0]]), 1), "gather: axis 1 has 3 places: .* from -3 to 2"),
    "scatter_add": (lambda p, x: ops.scatter_add(x, p.tensor([[-4], [0]]), x[:, :1], 1), "scatter_add: axis 1"),
    "lengths": (lambda p, x: _lengths(p), "lengths, with 3 time steps: .* from 1 to 3"),
    "getitem": (lambda p, x: x[p.tensor([0, 2])], r"GetItem: axis 0 of \(2, 3\) has 2 places: .* from -2 to 1"),
    "getitem of two": (
        lambda p, x: x[..., p.tensor([3])],
        r"GetItem: axis 1 of \(2, 3\) has 3 places: .* from -3 to 2",
    ),
}


def _lengths(place: Place) -> Any:
    shapes = [(2, 3, 1), (2, 1), (2, 1), (4, 1), (4, 1), (4,)]
    xs = [place.tensor(np.ones(s)) for s in shapes]
    return ops.lstm(*xs, lengths=place.tensor([4, 1]))[0]


@pytest.mark.parametrize("what", BEYOND)
def test_out_of_range_on_a_device(what: str, device: Place) -> None:
    run, message = BEYOND[what]
    y = run(device, device.tensor(np.ones((2, 3))))
    with device.reading(), pytest.raises(IndexError, match=message + ".*noticed when the next value was read"):
        device.tensor(1.0).numpy()
    device.host(y)  # said once


@pytest.mark.parametrize("what", ["embedding", "targets", "take", "gather", "scatter_add"])
def test_host_indices_are_looked_at_at_once(what: str, device: Place) -> None:
    home = Place("numpy", "cpu")

    class Host(Place):
        def tensor(self, data: Any, **options: Any) -> Any:
            return home.tensor(data)

    run, message = BEYOND[what]
    with pytest.raises(IndexError, match=message):
        run(Host(device.name, device.device), device.tensor(np.ones((2, 3))))


def test_devices_do_not_mix(device: Place) -> None:
    here, there = ts.tensor(np.ones((2, 3))), device.tensor(np.ones((2, 3)))
    for run in (
        lambda a, b: a + b,
        lambda a, b: a @ b.T,
        lambda a, b: ops.maximum(a, b),
        lambda a, b: a < b,
        lambda a, b: ops.where(a > 0, b, b),
        lambda a, b: ops.linear(a, b),
        lambda a, b: ops.concatenate([a, b]),
        lambda a, b: ops.layer_norm(a, b[0]),
        lambda a, b: a + b.data,
        lambda a, b: a.data + b,
        lambda a, b: ops.mse_loss(a, b),
        lambda a, b: ops.einsum("ij,ij->", a, b),
    ):
        for a, b in ((here, there), (there, here)):
            with pytest.raises(ValueError) as caught:
                run(a, b)
            for word in ("different devices", "on cpu", "on cuda:0", ".to(device)"):
                assert word in str(caught.value)
    there.requires_grad = True
    for gradient in (here, here.data):
        message = _message(lambda: (there * 2).backward(gradient))  # noqa: B023
        assert "on cuda:0, its gradient on cpu, different devices" in message
    assert re.search(r"Add: .* a \(2, 3\) on cpu, b \(2, 3\) on cuda:0", _message(lambda: here + there))


def _message(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


def test_shapes_are_named_on_a_device_too(device: Place) -> None:
    a, b = device.tensor(np.ones((2, 3))), device.tensor(np.ones((4, 5)))
    for run in (lambda: a + b, lambda: a @ b, lambda: a < b, lambda: ops.concatenate([a, b])):
        message = _message(run)
        assert "(2, 3)" in message and "(4, 5)" in message
