"""Layers and losses against PyTorch's in float64: outputs and every gradient, weights carried by load_state_dict."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not checked")
F = torch.nn.functional
torch.set_num_threads(1)  # small arrays: threads only get in each other's way

TOLERANCE = 1e-10
quick = settings(deadline=None, max_examples=25, derandomize=True)
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def assert_close(ours: Any, theirs: Any, what: str = "") -> None:
    """Relative to the largest element; where all are near 0, such as a slope at its zero, to 0.001."""
    a, b = np.asarray(ours), theirs.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype, what
    error = np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-3)
    assert error < TOLERANCE, f"{what}: relative error {error:.1e}"


def twins(generator: np.random.Generator, *shape: int, scale: float = 1.0) -> tuple[ts.Tensor, Any]:
    array = generator.standard_normal(shape) * scale
    return ts.tensor(np.asarray(array), requires_grad=True), torch.tensor(array, requires_grad=True)


def compare(
    ours: Callable[..., ts.Tensor], theirs: Callable[..., Any], *inputs: tuple[ts.Tensor, Any], seed: int = 0
) -> None:
    """Output and gradient of every input, for a random weighting of the output; plain and with create_graph."""
    xs, ys = [x for x, _ in inputs], [y for _, y in inputs]
    a, b = ours(*xs), theirs(*ys)
    assert_close(a.data, b, "output")
    w = np.random.default_rng(seed).standard_normal(a.shape)
    expected = torch.autograd.grad((b * torch.tensor(w)).sum(), ys)
    loss = (a * w).sum()
    graph = ts.grad(loss, xs, create_graph=True)
    plain = ts.grad(loss, xs)
    for k, (g, p, e) in enumerate(zip(graph, plain, expected, strict=True)):
        assert_close(p.data, e, f"gradient of input {k}")
        assert_close(g.data, e, f"gradient of input {k} with create_graph")


def carry(ours: ts.nn.Module, theirs: Any) -> list[tuple[ts.Tensor, Any]]:
    """PyTorch's weights into our layer by load_state_dict alone; the pairs of parameters."""
    ours.to("float64").load_state_dict(theirs.state_dict())
    named = dict(theirs.named_parameters())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return [(p, named[name]) for name, p in ours.named_parameters()]


def compare_layer(ours: ts.nn.Module, theirs: Any, x: tuple[ts.Tensor, Any] | None, fixed: Any = None) -> None:
    pairs = carry(ours, theirs)
    if x is None:  # integers in: nothing to differentiate
        compare(lambda *_: ours(fixed), lambda *_: theirs(torch.tensor(fixed)), *pairs)
    else:
        compare(lambda x, *_: ours(x), lambda x, *_: theirs(x), x, *pairs)
    back = theirs.load_state_dict({name: torch.tensor(a) for name, a in ours.state_dict().items()})
    assert str(back) == "<All keys matched successfully>"


@quick
@given(shapes, st.integers(1, 5), st.integers(1, 5), st.booleans(), seeds)
def test_linear(lead: tuple[int, ...], D: int, H: int, bias: bool, seed: int) -> None:
    x = twins(np.random.default_rng(seed), *lead, D)
    compare_layer(ts.nn.Linear(D, H, bias=bias), torch.nn.Linear(D, H, bias=bias).double(), x)


@quick
@given(shapes, st.integers(1, 6), st.integers(1, 4), st.booleans(), seeds)
def test_embedding(shape: tuple[int, ...], V: int, D: int, padded: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    padding = int(generator.integers(V)) if padded else None
    tokens = generator.integers(0, V, shape)
    ours, theirs = ts.nn.Embedding(V, D, padding_idx=padding), torch.nn.Embedding(V, D, padding_idx=padding).double()
    carry(ours, theirs)
    a, b = ours(np.asarray(tokens)), theirs(torch.tensor(tokens))
    assert_close(a.data, b, "output")
    w = generator.standard_normal(a.shape)
    (a * w).sum().backward()
    (b * torch.tensor(w)).sum().backward()
    assert_close(ours.weight.grad.data, theirs.weight.grad, "gradient of the table")


@quick
@given(shapes, st.integers(1, 7), st.booleans(), st.sampled_from([1e-5, 0.1]), seeds)
def test_layer_norm(lead: tuple[int, ...], D: int, bias: bool, eps: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    theirs = torch.nn.LayerNorm(D, eps=eps, bias=bias).double()
    for p in theirs.parameters():
        p.data = torch.tensor(generator.standard_normal(D))
    compare_layer(ts.nn.LayerNorm(D, eps=eps, bias=bias), theirs, twins(generator, *lead, D))


@quick
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 2), seeds)
def test_softmax(shape: list[int], axis: int, seed: int) -> None:
    x, axis = twins(np.random.default_rng(seed), *shape, scale=5), axis % len(shape)
    compare(lambda t: ts.ops.softmax(t, axis), lambda t: torch.softmax(t, axis), x)
    compare(lambda t: ts.ops.log_softmax(t, axis), lambda t: torch.log_softmax(t, axis), x)
    compare(lambda t: ts.ops.logsumexp(t, axis), lambda t: torch.logsumexp(t, axis), x)


@quick
@given(shapes, seeds)
def test_activations(shape: tuple[int, ...], seed: int) -> None:
    x = twins(np.random.default_rng(seed), *shape, scale=3)
    for ours, theirs in (
        (ts.ops.gelu, F.gelu),
        (lambda t: ts.ops.gelu(t, "tanh"), lambda t: F.gelu(t, approximate="tanh")),
        (ts.ops.silu, F.silu),
        (ts.ops.softplus, F.softplus),
        (ts.ops.relu, F.relu),
        (ts.ops.sigmoid, torch.sigmoid),
        (ts.ops.tanh, torch.tanh),
        (ts.ops.erf, torch.erf),
    ):
        compare(ours, theirs, x)


# -- losses


@quick
@given(shapes, st.integers(1, 6), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]), seeds)
def test_cross_entropy(
    lead: tuple[int, ...], V: int, weighted: bool, ignoring: bool, smoothing: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = twins(generator, *lead, V, scale=4)
    targets = np.asarray(generator.integers(0, V, lead))
    weight = generator.uniform(0.1, 2, V) if weighted else None
    ignored = -100
    if ignoring:
        ignored = int(generator.choice([-100, V - 1]))
        targets = np.where(generator.random(lead) < 0.4, ignored, targets)
        targets.reshape(-1)[:1] = 0 if ignored else 1  # at least one counts
        if V == 1 and ignored == 0:
            return

    def theirs(z: Any) -> Any:
        z = z if z.ndim == 1 else torch.movedim(z, -1, 1)  # PyTorch has the classes on axis 1
        w = None if weight is None else torch.tensor(weight)
        return F.cross_entropy(z, torch.tensor(targets), w, ignore_index=ignored, label_smoothing=smoothing)

    def ours(z: ts.Tensor) -> ts.Tensor:
        ignore = ignored if ignoring else None
        w = None if weight is None else ts.tensor(weight)
        return ts.ops.cross_entropy(z, targets, weight=w, ignore_index=ignore, label_smoothing=smoothing)

    compare(ours, theirs, logits)


def test_cross_entropy_where_nothing_counts() -> None:
    z = np.zeros((2, 3))
    theirs = F.cross_entropy(torch.tensor(z), torch.tensor([1, 1]), ignore_index=1)
    with np.errstate(invalid="ignore"):
        ours = ts.ops.cross_entropy(ts.tensor(z), np.array([1, 1]), ignore_index=1)
    assert np.isnan(theirs.item()) and np.isnan(ours.item())


@quick
@given(shapes, seeds)
def test_losses_of_two(shape: tuple[int, ...], seed: int) -> None:
    generator = np.random.default_rng(seed)
    z, t = twins(generator, *shape, scale=8), twins(generator, *shape)
    p = np.asarray(generator.random(shape))
    compare(
        lambda z: ts.ops.binary_cross_entropy_with_logits(z, p),
        lambda z: F.binary_cross_entropy_with_logits(z, torch.tensor(p)),
        z,
    )
    compare(ts.ops.mse_loss, F.mse_loss, z, t)


@quick
@given(st.integers(1, 4), st.integers(1, 5), seeds)
def test_kl_div(B: int, V: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    z, p = twins(generator, B, V), generator.dirichlet(np.ones(V), B)
    p[0, 0] = 0  # 0 log 0 counts as 0
    compare(
        lambda z: ts.ops.kl_div(ts.ops.log_softmax(z), ts.tensor(p)),
        lambda z: F.kl_div(torch.log_softmax(z, -1), torch.tensor(p), reduction="batchmean"),
        z,
    )


def test_second_derivatives() -> None:
    generator = np.random.default_rng(0)
    x, W, b = twins(generator, 3, 4), twins(generator, 5, 4), twins(generator, 5)
    t = np.array([0, 4, 2])

    def ours(x: ts.Tensor, W: ts.Tensor, b: ts.Tensor) -> ts.Tensor:
        return ts.ops.cross_entropy(ts.ops.gelu(ts.ops.linear(x, W, b)), t, label_smoothing=0.1)

    def theirs(x: Any, W: Any, b: Any) -> Any:
        return F.cross_entropy(F.gelu(F.linear(x, W, b)), torch.tensor(t), label_smoothing=0.1)

    inputs = (x, W, b)
    firsts = ts.grad(ours(x[0], W[0], b[0]), [a for a, _ in inputs], create_graph=True)
    expected = torch.autograd.grad(theirs(x[1], W[1], b[1]), [b for _, b in inputs], create_graph=True)
    norm = sum(((g * g).sum() for g in firsts[1:]), (firsts[0] * firsts[0]).sum())
    norm_expected = sum((g * g).sum() for g in expected)
    for g, e in zip(
        ts.grad(norm, [a for a, _ in inputs]), torch.autograd.grad(norm_expected, [b for _, b in inputs]), strict=True
    ):
        assert_close(g.data, e, "second derivative")


# -- in float32


TOKENS = np.random.default_rng(0).integers(0, 30, (16, 50))
SKIPPED = np.where(np.random.default_rng(1).random(TOKENS.shape) < 0.3, -100, TOKENS)


def layer_norms(x: np.ndarray, dtype: str) -> tuple[list[Any], list[Any], Any, Any]:
    """Inputs and results of ours and theirs, weights and inputs alike."""
    ours, theirs = ts.nn.LayerNorm(x.shape[-1]).to(dtype), torch.nn.LayerNorm(x.shape[-1]).to(getattr(torch, dtype))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        q.data += 0.3 * torch.tensor(np.cos(np.arange(p.size)), dtype=q.dtype)
        p.data[...] = q.detach().numpy()
    a, b = ts.tensor(x, dtype=dtype, requires_grad=True), torch.tensor(x, dtype=q.dtype, requires_grad=True)
    return [a, *ours.parameters()], [b, *theirs.parameters()], ours(a), theirs(b)


def embeddings(x: np.ndarray, dtype: str) -> tuple[list[Any], list[Any], Any, Any]:
    table = x[0, :30]
    a, b = ts.tensor(table, dtype=dtype, requires_grad=True), torch.tensor(table, dtype=getattr(torch, dtype))
    b.requires_grad = True
    return [a], [b], ts.ops.embedding(a, TOKENS, 3), F.embedding(torch.tensor(TOKENS), b, 3)


def cross_entropies(x: np.ndarray, dtype: str, **options: Any) -> tuple[list[Any], list[Any], Any, Any]:
    logits, weight = 3 * x[..., :30], 0.5 + np.arange(30) / 30
    a, b = ts.tensor(logits, dtype=dtype, requires_grad=True), torch.tensor(logits, dtype=getattr(torch, dtype))
    b.requires_grad = True
    ours = ts.ops.cross_entropy(a, SKIPPED, weight=ts.tensor(weight, dtype=dtype), ignore_index=-100, **options)
    w = torch.tensor(weight, dtype=b.dtype)
    theirs = F.cross_entropy(torch.movedim(b, -1, 1), torch.tensor(SKIPPED), w, ignore_index=-100, **options)
    return [a], [b], ours, theirs


@pytest.mark.parametrize(
    "run",
    [
        layer_norms,
        embeddings,
        cross_entropies,
        lambda x, dtype: cross_entropies(x, dtype, label_smoothing=0.1),
    ],
    ids=["layer norm", "embedding", "cross entropy", "cross entropy, smoothing"],
)
def test_float32_is_as_exact_as_pytorch_s(run: Callable[..., Any]) -> None:
    """Against the float64 truth, our error is at most twice PyTorch's: both round, neither may drift."""
    squares: dict[str, Any] = {}  # what -> [our squared error, PyTorch's], relative to the array's size
    for seed in range(8):
        generator = np.random.default_rng(seed)
        x = generator.standard_normal((16, 50, 64)).astype(np.float32)
        found = {}
        for dtype in ("float64", "float32"):
            xs, ys, a, b = run(x, dtype)
            w = np.random.default_rng(seed).standard_normal(a.shape)
            gs = ts.grad((a * ts.tensor(w, dtype=dtype)).sum(), xs)
            hs = torch.autograd.grad((b * torch.tensor(w, dtype=b.dtype)).sum(), ys)
            found[dtype] = [t.data for t in (a, *gs)], [t.detach().numpy() for t in (b, *hs)]
        for k, truth in enumerate(found["float64"][1]):
            error = [((arrays[k] - truth) ** 2).sum() / (truth**2).sum() for arrays in found["float32"]]
            what = f"gradient {k}" if k else "output"
            squares[what] = squares.get(what, 0) + np.array(error)
    for name, (ours, theirs) in squares.items():
        print(f"{name:12s} ours {ours**0.5:.2e}  PyTorch {theirs**0.5:.2e}")
        assert ours**0.5 <= 2 * theirs**0.5, name
