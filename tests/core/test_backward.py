"""The walk back: what arrives where, how often, and what is left of the graph afterwards."""

from contextlib import nullcontext

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import FusedOp, Op, value
from tinygrad_seq.core.engine import LARGE

OPS = 200_000  # far beyond Python's recursion limit, and beyond what the C stack would bear


def leaf(*values: float) -> ts.Tensor:
    return ts.tensor(np.array(values), requires_grad=True)


def test_a_long_chain_is_walked_and_freed_without_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(OPS):
        y = y + x
    y.backward()
    assert x.grad is not None and x.grad.item() == OPS + 1
    del y  # the ops hold each other in one chain: letting go of it must not recurse either


def test_a_long_chain_of_ops_with_several_outputs() -> None:
    a, b = leaf(1.0), leaf(2.0)
    pair = ts.ops.concatenate([a, b])
    for _ in range(5_000):
        pair = ts.ops.concatenate(ts.ops.split(pair, 2)[::-1])
    (pair * np.array([3.0, 5.0])).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (3.0, 5.0)
    del pair


def test_a_chain_with_create_graph_is_walked_twice() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(3000):
        y = y * x
    first = ts.grad(y, x, create_graph=True)
    assert first.item() == 3001
    assert ts.grad(first, x).item() == 3001 * 3000


def test_a_weight_used_twice_gets_both_gradients() -> None:
    w, x = leaf(2.0, 3.0), np.array([5.0, 7.0])
    y = w * x + w * w  # dy/dw = x + 2w
    y.sum().backward()
    np.testing.assert_array_equal(w.grad.data, x + 2 * w.data)


@pytest.mark.parametrize("listens", [False, True])
def test_sums_of_gradients_write_into_nothing_that_others_hold(listens: bool) -> None:
    """A hook, `grad` and `.grad` keep what they were given, though the engine adds up in arrays of its own."""
    x = ts.tensor(np.random.default_rng(0).standard_normal((2, LARGE)), requires_grad=True)
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def hold(g: ts.Tensor) -> None:
        held.append((g.data, g.data.copy()))

    seed, with_listener = ts.tensor(np.ones((2, LARGE))), ts.profile() if listens else nullcontext()
    with with_listener:
        for _ in range(2):
            h = x * 2
            y = h + ts.ops.softmax(h) + ts.ops.softmax(h + h) + ts.ops.gelu(h, "tanh")
            for t in (h, y):
                t.register_hook(hold)
            g_h, g_x = ts.grad(y, [h, x], seed, retain_graph=True)
            for g in (g_h, g_x):
                hold(g)
            y.backward(seed)
            hold(x.grad)
    expected = ts.grad(ts.ops.softmax(h) + ts.ops.softmax(h + h) + ts.ops.gelu(h, "tanh"), h, seed, create_graph=True)
    np.testing.assert_allclose(g_h.data, 1 + expected.data, rtol=1e-12)
    np.testing.assert_array_equal(x.grad.data, 4 * g_h.data)
    np.testing.assert_array_equal(seed.data, 1)
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


def test_one_tensor_as_both_inputs() -> None:
    w = leaf(2.0, 3.0)
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad.data, 2 * w.data)
    w.grad = None
    (w - w).sum().backward()
    np.testing.assert_array_equal(w.grad.data, [0, 0])


def test_a_diamond_waits_for_all_paths() -> None:
    x = leaf(0.5)
    a = x * 2
    b = a * a  # made before c, and reached by two ways
    c = ts.ops.exp(b)
    (b * c + a).sum().backward()
    a_ = 2 * 0.5
    expected = 2 * (2 * a_ * (np.exp(a_**2) + a_**2 * np.exp(a_**2)) + 1)
    np.testing.assert_allclose(x.grad.data, [expected], rtol=1e-14)


def test_gradients_accumulate_over_backward_calls_and_graphs() -> None:
    w = leaf(2.0)
    (w * 3).backward()
    (w * w).backward()
    assert w.grad.item() == 3 + 4
    held = w.grad
    (w * 5).backward()
    assert w.grad.item() == 12
    assert held.item() == 7, "a gradient that was read is a value: it does not change later"


def test_a_graph_below_two_losses() -> None:
    w = leaf(2.0)
    h = w * w
    loss1, loss2 = h * 3, h * 5
    loss1.backward(retain_graph=True)
    loss2.backward()
    assert w.grad.item() == 4 * 3 + 4 * 5


def test_backward_gradients_share_no_memory_that_is_written() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()  # Add gives the same array to both
    ts.optim.clip_grad_norm([a, b], 0.5)
    ts.optim.SGD([a, b], lr=1.0).step()
    np.testing.assert_allclose(a.grad.data, b.grad.data)
    np.testing.assert_allclose(np.linalg.norm([a.grad.data, b.grad.data]), 0.5, rtol=1e-5)


def test_a_loss_that_is_a_leaf() -> None:
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_a_given_gradient_may_be_a_list_an_array_or_a_tensor() -> None:
    for given in ([1.0, 2.0], np.array([1.0, 2.0]), ts.tensor(np.array([1.0, 2.0]))):
        x = leaf(3.0, 4.0)
        (x * x).backward(given)
        np.testing.assert_array_equal(x.grad.data, [6, 16])


def test_a_given_gradient_of_one_element() -> None:
    for given in ([2.0], np.array([2.0])):
        x = leaf(3.0)
        (x * x).backward(given)
        assert x.grad.data.tolist() == [12.0]


def test_a_given_gradient_takes_the_dtype_of_its_tensor() -> None:
    x = ts.tensor([[1.0, 2.0]], requires_grad=True)
    y = ts.ops.layer_norm(x * 2)
    y.retain_grad()
    y.backward(np.ones((1, 2), int))
    assert y.grad.dtype == x.grad.dtype == np.float32


def test_leaves_keep_their_dtype() -> None:
    w = ts.tensor([1.0, 2.0], requires_grad=True)
    (w * np.array([1.0, 2.0])).sum().backward()  # the model went on in float64
    assert w.dtype == w.grad.dtype == np.float32


# -- errors


def test_no_graph() -> None:
    with pytest.raises(ValueError, match="backward: this tensor has no graph.*requires_grad=True.*no_grad"):
        ts.tensor([1.0]).backward()
    with pytest.raises(ValueError, match="grad: this tensor has no graph"):
        ts.grad(ts.tensor([1.0]), leaf(1.0))


def test_a_non_scalar_needs_a_gradient() -> None:
    with pytest.raises(ValueError, match=r"backward: a tensor of shape \(2,\) has no single derivative.*sum\(\)"):
        (leaf(1.0, 2.0) * 2).backward()


def test_a_gradient_of_the_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"expected a gradient of shape \(2,\), got \(3,\)"):
        (leaf(1.0, 2.0) * 2).backward(np.ones(3))


def test_an_input_that_requires_no_gradient() -> None:
    x = leaf(1.0)
    with pytest.raises(ValueError, match=r"grad: input 1 of shape \(\) requires no gradient.*requires_grad=True"):
        ts.grad(x * 2, [x, ts.tensor(1.0)])


# -- freeing


def lstm_loss(x: ts.Tensor, lstm: ts.nn.LSTM) -> ts.Tensor:
    out, (h, c) = lstm(x)
    return (out * out).sum() + (h * c).sum()


def losses() -> dict[str, tuple[list[ts.Tensor], ts.Tensor]]:
    """A loss through each fused op, with what it depends on."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> ts.Tensor:
        return ts.tensor(generator.standard_normal(shape), requires_grad=True)

    ts.seed(0)
    x, W, b, z = draw(3, 4), draw(5, 4), draw(5), draw(2, 3, 4)
    t = np.array([0, 3, 1])
    lstm = ts.nn.LSTM(4, 2).to("float64")
    weights = lstm.parameters()
    return {
        "linear": ([x, W, b], (ts.ops.linear(x, W, b) ** 2).sum()),
        "softmax": ([x], (ts.ops.softmax(x) ** 2).sum()),
        "log_softmax": ([x], (ts.ops.log_softmax(x) ** 2).sum()),
        "cross_entropy": ([x], ts.ops.cross_entropy(x, t)),
        "cross_entropy, smoothed": ([x], ts.ops.cross_entropy(x, t, label_smoothing=0.2, ignore_index=3)),
        "gelu": ([x], ts.ops.gelu(x, "tanh").sum()),
        "layer_norm": ([x], (ts.ops.layer_norm(x) ** 3).sum()),
        "dropout": ([x], (ts.ops.dropout(x, 0.4) ** 2).sum()),
        "lstm": ([z, *weights], lstm_loss(z, lstm)),
        "plain ops": ([x, W], ts.ops.tanh(x @ W.T).sum()),
    }


@pytest.mark.parametrize("what", losses())
def test_retain_graph_gives_the_same_gradients_again(what: str) -> None:
    inputs, loss = losses()[what]
    loss.backward(retain_graph=True)
    first = [x.grad.data for x in inputs]
    for _ in range(2):  # kernels write over what they kept, so the second walk must not see that
        for x in inputs:
            x.grad = None
        loss.backward(retain_graph=True)
        for x, g in zip(inputs, first, strict=True):
            np.testing.assert_array_equal(x.grad.data, g)
    before = [x.grad.data.copy() for x in inputs]
    loss.backward()
    for x, g in zip(inputs, before, strict=True):
        np.testing.assert_allclose(x.grad.data, 2 * g, rtol=1e-14)


@pytest.mark.parametrize("what", losses())
def test_a_freed_graph_says_so(what: str) -> None:
    _, loss = losses()[what]
    loss.backward()
    with pytest.raises(RuntimeError, match="backward has gone through this graph already.*retain_graph=True"):
        loss.backward()


@pytest.mark.parametrize("what", losses())
def test_plain_and_create_graph_agree(what: str) -> None:
    inputs, loss = losses()[what]
    plain = ts.grad(loss, inputs, retain_graph=True)
    graph = ts.grad(loss, inputs, create_graph=True)
    again = ts.grad(loss, inputs)
    for p, g, a in zip(plain, graph, again, strict=True):
        assert not p.requires_grad
        np.testing.assert_allclose(g.data, p.data, rtol=1e-11, atol=1e-13)
        np.testing.assert_array_equal(a.data, p.data)


def test_a_shared_part_freed_by_another_loss_says_so() -> None:
    w = leaf(2.0)
    h = w * w
    loss1, loss2 = h * 3, h * 5
    loss1.backward()
    with pytest.raises(RuntimeError, match="^Mul: backward has gone through"):
        loss2.backward()


def test_structure_shapes_and_names_stay() -> None:
    w, x = ts.tensor([[1.0, 2.0]], requires_grad=True), ts.tensor([[3.0], [4.0]])
    w.name, x.name = "w", "x"
    h = ts.ops.tanh(w @ x)
    h.name = "h"
    out, (h_n, _) = ts.nn.LSTM(1, 2)(h.reshape(1, 1, 1))
    loss = (out * h_n).sum()

    def describe(place: object) -> list[object]:
        seen, stack, lines = set(), [place], []
        while stack:
            p = stack.pop()
            if p is None or id(p) in seen:
                continue
            seen.add(id(p))
            lines.append((type(p).__name__, p.shape, str(p.dtype), p.name))
            node = getattr(p, "op", p)
            stack += getattr(node, "sources", [])
            lines += [(c.name, c.shape) for c in getattr(node, "constants", None) or [] if hasattr(c, "name")]
        return lines

    before = describe(loss.place)
    loss.backward()
    assert describe(loss.place) == before
    assert ("Tanh", (1, 1), "float32", "h") in before
    assert ("Leaf", (1, 2), "float32", "w") in before
    assert ("x", (2, 1)) in before


# -- many outputs


def test_partial_use_of_several_outputs() -> None:
    x = leaf(1.0, 2.0, 3.0)
    a, b, c = ts.ops.split(x, 3)
    (b * 5).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [0, 5, 0])
    x.grad = None
    a, b, c = ts.ops.split(x, 3)
    (a * 2 + c * c + x[0]).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [3, 0, 6])


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("create_graph", [False, True])
def test_partial_use_of_the_lstm(used: tuple[int, ...], create_graph: bool) -> None:
    ts.seed(1)
    lstm = ts.nn.LSTM(3, 2).to("float64")
    x = ts.tensor(np.random.default_rng(0).standard_normal((2, 4, 3)), requires_grad=True)

    def loss() -> ts.Tensor:
        out, (h, c) = lstm(x)
        terms = [((k + 2) * part * part).sum() for k, part in enumerate((out, h, c)) if k in used]
        return sum(terms[1:], terms[0])

    gs = ts.grad(loss(), [x, *lstm.parameters()], create_graph=create_graph)
    with ts.definitions():
        expected = ts.grad(loss(), [x, *lstm.parameters()])
    for g, e in zip(gs, expected, strict=True):
        np.testing.assert_allclose(g.data, e.data, rtol=1e-11, atol=1e-14)


# -- an op that is wrong


def test_a_gradient_of_the_wrong_shape_names_the_op_and_both_shapes() -> None:
    class Wrong(Op):
        def forward(self, be: object, x: np.ndarray) -> np.ndarray:
            return x.sum()

        def backward(self, g: np.ndarray) -> np.ndarray:
            return g

    with pytest.raises(ValueError, match=r"Wrong\.backward gave a gradient of shape \(\) for an input of shape \(2,\)"):
        Wrong()(leaf(1.0, 2.0)).backward()


def test_broadcasting_is_reversed_for_ops_that_declare_it() -> None:
    a, b = ts.tensor(np.ones((2, 1, 3)), requires_grad=True), ts.tensor(np.ones((4, 1)), requires_grad=True)
    (a + b).sum().backward()
    np.testing.assert_array_equal(a.grad.data, np.full((2, 1, 3), 4.0))
    np.testing.assert_array_equal(b.grad.data, np.full((4, 1), 6.0))


def test_the_same_tensor_as_both_states_under_create_graph() -> None:
    """h_0 and c_0 being one tensor is the ordinary case: its gradient is the sum of both uses, at every order."""
    ts.seed(0)
    lstm = ts.nn.LSTM(2, 3).to("float64")
    generator = np.random.default_rng(1)
    x, s = ts.tensor(generator.standard_normal((2, 3, 2))), generator.standard_normal((1, 2, 3))
    one = ts.tensor(s, requires_grad=True)
    h, c = ts.tensor(s, requires_grad=True), ts.tensor(s, requires_grad=True)

    def loss(h_0: ts.Tensor, c_0: ts.Tensor) -> ts.Tensor:
        out, (h_n, c_n) = lstm(x, (h_0, c_0))
        return (out**2).sum() + (h_n * c_n).sum()

    together = ts.grad(loss(one, one), one, create_graph=True)
    apart = ts.grad(loss(h, c), [h, c], create_graph=True)
    np.testing.assert_allclose(together.data, apart[0].data + apart[1].data, rtol=1e-12)
    v = generator.standard_normal(s.shape)
    second = ts.grad((together * v).sum(), one)
    seconds = ts.grad(((apart[0] + apart[1]) * v).sum(), [h, c])
    np.testing.assert_allclose(second.data, seconds[0].data + seconds[1].data, rtol=1e-11)
    with ts.definitions():
        defined = ts.grad(loss(one, one), one, create_graph=True)
        np.testing.assert_allclose(ts.grad((defined * v).sum(), one).data, second.data, rtol=1e-11)


def test_a_fused_op_with_one_tensor_for_two_inputs() -> None:
    class Product(FusedOp):
        kernel = "not there"

        def definition(self, a: ts.Tensor, b: ts.Tensor) -> ts.Tensor:
            return a * b * b

    x = leaf(2.0)
    y = Product()(x, x)  # a backend without the kernel runs the definition
    assert value(y) == 8
    assert ts.grad(y, x).item() == 12
