"""Tensors on their way between host and device, and what the device does without making the host wait."""

import numpy as np
import pytest

import tinygrad_seq as ts
from conftest import Place
from gpu import strictcupy
from tinygrad_seq import ops
from tinygrad_seq.testing import check_grads


def test_there_and_back(device: Place) -> None:
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert (x.device, y.device) == ("cpu", "cuda:0")
    assert y.to("cuda") is y and x.to("cpu") is x
    with device.reading():
        (y * y).sum().backward()
        assert x.grad is not None and x.grad.device == "cpu"
        np.testing.assert_array_equal(x.grad.numpy(), [2, 4])
        check_grads(lambda x: (ops.tanh(x.to("cuda")) * 2.0).to("cpu") * x, [ts.tensor([1.0, 2.0])])


def test_host_indices_go_to_the_device(device: Place) -> None:
    x = device.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    index = np.array([2, 2, 0])
    for run in (
        lambda x: x[index],
        lambda x: x[[2, 2, 0]],
        lambda x: ops.take(x, index, 0),
        lambda x: ops.embedding(x, index),
    ):
        y = run(x)
        g = ts.grad(y.sum(), x)
        assert y.device == g.device == "cuda:0"
        np.testing.assert_array_equal(device.host(g), [[1] * 3, [0] * 3, [2] * 3, [0] * 3])


def test_device_indices_go_to_the_host(device: Place) -> None:
    x, index = ts.tensor(np.arange(12.0).reshape(4, 3)), device.tensor([2, 2, 0, 3])
    W, U, b = (ts.tensor(np.ones(shape)) for shape in ((2, 3), (2, 2), (2,)))
    with device.reading():
        for run in (
            lambda index: ops.embedding(x, index),
            lambda index: ops.masked_softmax(x.T, index != 2),
            lambda index: ops.rnn(ops.stack([x] * 4, 0), x[:, :2], W, U, b, lengths=index + 1)[0],
        ):
            np.testing.assert_array_equal(run(index).numpy(), run(index.to("cpu")).numpy())


def test_a_step_of_training_does_not_wait(strict: Place) -> None:
    ids = strict.tensor(np.array([[1, 2, 0], [2, 2, 1]]))
    E = strict.tensor(np.eye(3, 4, dtype="float32"), requires_grad=True)
    W = strict.tensor(np.ones((8, 4), "float32"), requires_grad=True)
    U = strict.tensor(np.ones((8, 2), "float32"), requires_grad=True)
    b = strict.tensor(np.ones(8, "float32"), requires_grad=True)
    V = strict.tensor(np.ones((3, 2), "float32"), requires_grad=True)
    h = strict.tensor(np.zeros((2, 2), "float32"))
    before = strictcupy.stats.syncs
    out, _ = ops.lstm(ops.embedding(E, ids), h, h, W, U, b, lengths=strict.tensor(np.array([3, 2])))
    loss = ops.cross_entropy(ops.linear(ops.layer_norm(ops.dropout(out, 0.1)), V), ids, ignore_index=1)
    loss.backward()
    assert strictcupy.stats.syncs == before
    assert type(loss.data).__module__ == "cupy" and loss.shape == ()
    with pytest.raises(strictcupy.HostSyncError):
        loss.item()


def test_the_same_mask_on_every_backend(backend: Place) -> None:
    ts.seed(11)
    y = backend.host(ops.dropout(backend.tensor(np.ones((5, 7), "float32")), 0.4))
    ts.seed(11)
    np.testing.assert_array_equal(y, ops.dropout(ts.tensor(np.ones((5, 7), "float32")), 0.4).numpy())
