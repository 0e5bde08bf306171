"""Attention against PyTorch's in float64: outputs and every gradient, weights carried by load_state_dict alone."""

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
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)


def assert_close(ours: Any, theirs: Any, what: str) -> None:
    """Relative to the largest element; where all are near 0, such as what softmax takes from a bias, to 0.001."""
    a, b = np.asarray(ours), theirs.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype, what
    error = np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-3)
    assert error < TOLERANCE, f"{what}: relative error {error:.1e}"


def some_mask(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Random, and no query that sees nothing: PyTorch gives nan there."""
    mask = generator.random(shape) < 0.6
    mask[..., 0] = True
    return mask


@quick
@given(st.lists(st.integers(1, 3), max_size=2), sizes, sizes, sizes, sizes, st.booleans(), seeds)
def test_scaled_dot_product_attention(lead: list[int], S: int, T: int, d: int, E: int, masked: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    arrays = [generator.standard_normal((*lead, *shape)) for shape in ((S, d), (T, d), (T, E))]
    mask = some_mask(generator, *lead, S, T) if masked else None
    xs, ys = [ts.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    a = ts.ops.scaled_dot_product_attention(*xs, mask)
    b = F.scaled_dot_product_attention(*ys, None if mask is None else torch.tensor(mask))
    assert_close(a.data, b, "output")
    w = generator.standard_normal(a.shape)
    expected = torch.autograd.grad((b * torch.tensor(w)).sum(), ys)
    for name, g, e in zip("qkv", ts.grad((a * w).sum(), xs), expected, strict=True):
        assert_close(g.data, e, f"gradient of {name}")


def both(
    ours: ts.nn.MultiheadAttention,
    theirs: Any,
    arrays: list[np.ndarray],
    mask: Any,
    causal: bool,
    create_graph: bool = False,
) -> None:
    """Outputs, weights and all gradients. arrays: one for self-attention, two or three for query, key and value."""
    ours.to("float64").load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    xs, ys = [ts.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    three = {1: lambda q: (q, q, q), 2: lambda q, k: (q, k, k), 3: lambda q, k, v: (q, k, v)}[len(arrays)]
    (q, k, v), (tq, tk, tv) = three(*xs), three(*ys)
    B, S, T = q.shape[0], q.shape[1], k.shape[1]
    with ts.record() as r:
        a = ours(q, k, v, mask, causal=causal)
    hidden = None  # PyTorch's masks say what must not be seen, for each head of each sequence
    if mask is not None or causal:
        seen = np.broadcast_to(True if mask is None else mask, (B, ours.num_heads, S, T))
        seen = seen & np.tri(S, T, T - S, dtype=bool) if causal else seen
        hidden = torch.tensor(~seen.reshape(B * ours.num_heads, S, T))
    b, weights = theirs(tq, tk, tv, attn_mask=hidden, need_weights=True, average_attn_weights=False)
    assert_close(a.data, b, "output")
    assert_close(r["multiheadattention"].alpha.data, weights, "weights")
    w = np.random.default_rng(0).standard_normal(a.shape)
    named = dict(theirs.named_parameters())
    pairs = [*zip("qkv", xs, ys, strict=False), *((n, p, named[n]) for n, p in ours.named_parameters())]
    expected = torch.autograd.grad((b * torch.tensor(w)).sum(), [y for _, _, y in pairs])
    gs = ts.grad((a * w).sum(), [x for _, x, _ in pairs], create_graph=create_graph)
    for (name, _, _), g, e in zip(pairs, gs, expected, strict=True):
        assert_close(g.data, e, f"gradient of {name}")
    back = theirs.load_state_dict({name: torch.tensor(a) for name, a in ours.state_dict().items()})
    assert str(back) == "<All keys matched successfully>"


def layers(N: int, d: int, bias: bool = True) -> tuple[ts.nn.MultiheadAttention, Any]:
    theirs = torch.nn.MultiheadAttention(N * d, N, bias=bias, batch_first=True).double()
    with torch.no_grad():
        for p in theirs.parameters():  # biases start at 0
            p += 0.3 * torch.randn_like(p)
    return ts.nn.MultiheadAttention(N * d, N, bias=bias), theirs


@quick
@given(
    st.integers(1, 3), sizes, sizes, st.integers(1, 3), st.integers(1, 4), st.sampled_from(["self", "memory", "three"]),
    st.sampled_from([None, "pairs", "keys", "heads"]), st.booleans(), st.booleans(), st.booleans(), seeds,
)  # fmt: skip
def test_multihead_attention(
    B: int, S: int, T: int, N: int, d: int, kind: str, masked: Any, causal: bool, bias: bool, graph: bool, seed: int
) -> None:
    torch.manual_seed(seed % 2**31)
    generator = np.random.default_rng(seed)
    S, T = (T, T) if kind == "self" else (min(S, T), T)  # each query sees a key
    lengths = {"self": [T], "memory": [S, T], "three": [S, T, T]}[kind]
    arrays = [generator.standard_normal((B, n, N * d)) for n in lengths]
    shape = {None: (), "pairs": (S, T), "keys": (B, 1, 1, T), "heads": (B, N, S, T)}[masked]
    mask = some_mask(generator, *shape) if shape else None
    both(*layers(N, d, bias), arrays, mask, causal, graph)


def test_a_larger_one_in_tiles() -> None:
    """Beyond the sizes at which one tile holds all pairs."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    both(*layers(2, 8), [generator.standard_normal((2, 300, 16))], None, True)
    arrays = [generator.standard_normal((2, n, 16)) for n in (260, 520)]
    both(*layers(2, 8), arrays, some_mask(generator, 2, 1, 260, 520), False)


def test_pytorch_s_padding_mask_means_the_opposite() -> None:
    torch.manual_seed(0)
    ours, theirs = layers(2, 3)
    ours.to("float64").load_state_dict(theirs.state_dict())
    x, padding = (
        np.random.default_rng(0).standard_normal((2, 4, 6)),
        np.array([[False] * 4, [False, False, True, True]]),
    )
    expected, _ = theirs(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(padding))
    y = ours(*[ts.tensor(x)] * 3, ~padding[:, None, None, :])
    assert_close(y.data, expected, "output")


@pytest.mark.parametrize("T", [60, 300])  # in one tile, and in several
def test_float32_is_as_exact_as_pytorch_s(T: int) -> None:
    """Against the float64 truth, our error is at most twice PyTorch's: both round, neither may drift."""
    squares: dict[str, Any] = {}  # name -> [our squared error, PyTorch's], over all seeds, relative to the array's size
    for seed in range(3):
        torch.manual_seed(seed)
        ours, theirs = layers(4, 8)
        ours.load_state_dict(theirs.state_dict())
        generator = np.random.default_rng(seed)
        x, w = (generator.standard_normal((4, T, 32)) for _ in range(2))
        found = []
        for dtype in (torch.float64, torch.float32):
            theirs.to(dtype)
            t = torch.tensor(x, dtype=dtype, requires_grad=True)
            hidden = torch.tensor(~np.tri(T, dtype=bool))
            y, _ = theirs(t, t, t, attn_mask=hidden, need_weights=False)
            names = ["x", *(name for name, _ in theirs.named_parameters())]
            gs = torch.autograd.grad((y * torch.tensor(w, dtype=dtype)).sum(), [t, *theirs.parameters()])
            found.append({"output": y.detach().numpy()} | {n: g.numpy() for n, g in zip(names, gs, strict=True)})
        t = ts.tensor(x, dtype="float32", requires_grad=True)
        y = ours(t, causal=True)
        gs = ts.grad((y * ts.tensor(w, dtype="float32")).sum(), [t, *ours.parameters()])
        names = ["x", *(name for name, _ in ours.named_parameters())]
        mine = {"output": y.data} | {n: g.data for n, g in zip(names, gs, strict=True)}
        for name, truth in found[0].items():
            assert mine[name].dtype == found[1][name].dtype == np.float32
            error = [((a[name] - truth) ** 2).sum() / (truth**2).sum() for a in (mine, found[1])]
            squares[name] = squares.get(name, 0) + np.array(error)
    for name, both_errors in squares.items():
        a, b = np.sqrt(both_errors / 3)
        print(f"{name:24s} ours {a:.2e}  PyTorch {b:.2e}  ours / PyTorch's {a / b:.2f}")
    for name, both_errors in squares.items():
        a, b = np.sqrt(both_errors / 3)
        assert a <= 2 * b, name
