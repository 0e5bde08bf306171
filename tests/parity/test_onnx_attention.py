"""Scaled dot-product attention against ONNX's reference of its operator Attention, in float64 on random inputs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as ts

onnx = pytest.importorskip("onnx", reason="onnx is not installed: parity with its Attention is not checked")
reference = pytest.importorskip("onnx.reference", reason="this onnx has no reference runtime")
if onnx.defs.onnx_opset_version() < 23:
    pytest.skip("this onnx has no operator Attention (opset 23)", allow_module_level=True)

OPSET, IR = 23, 10
WEIGHTS = 3  # qk_matmul_output_mode: the weights after softmax
quick = settings(deadline=None, max_examples=25, derandomize=True)
sizes = st.integers(1, 5)


def onnx_attention(inputs: dict[str, Any], **attributes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Y and the weights of a graph that is one Attention."""
    names = ["Q", "K", "V", "attn_mask", "past_key", "past_value"]
    node = onnx.helper.make_node(
        "Attention",
        [name if inputs.get(name) is not None else "" for name in names],
        ["Y", "present_key", "present_value", "weights"],
        qk_matmul_output_mode=WEIGHTS,
        **attributes,
    )
    given = {name: array for name, array in inputs.items() if array is not None}

    def info(name: str, dtype: Any) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), None)

    graph = onnx.helper.make_graph(
        [node],
        "attention",
        [info(name, array.dtype) for name, array in given.items()],
        [info(name, np.dtype("float64")) for name in ("Y", "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR)
    y, weights = reference.ReferenceEvaluator(model).run(None, given)
    return y, weights


def ours(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Any = None, causal: bool = False) -> tuple[Any, Any]:
    with ts.record() as r:
        y = ts.ops.scaled_dot_product_attention(*(ts.tensor(x) for x in (q, k, v)), mask, causal=causal)
    return y.data, r["sdpa"].alpha.data


def assert_equal(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-10, atol=1e-12)


@quick
@given(sizes, sizes, sizes, sizes, sizes, sizes, st.sampled_from([None, "pairs", "keys", "all"]), st.integers(0, 2**31))
def test_attention(B: int, N: int, S: int, T: int, d: int, E: int, masked: Any, seed: int) -> None:
    """With masks of all shapes; a query that sees nothing gives 0 in both."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((B, N, *shape)) for shape in ((S, d), (T, d), (T, E)))
    shape = {None: None, "pairs": (S, T), "keys": (B, 1, 1, T), "all": (B, N, S, T)}[masked]
    mask = None if shape is None else rng.random(shape) < 0.5
    assert_equal(ours(q, k, v, mask), onnx_attention({"Q": q, "K": k, "V": v, "attn_mask": mask}))


@quick
@given(sizes, sizes, sizes, st.integers(0, 4), sizes, st.booleans(), st.integers(0, 2**31))
def test_causal_attention_after_what_a_cache_has_seen(
    B: int, N: int, S: int, seen: int, d: int, masked: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((B, N, S, d)) for _ in range(3))
    inputs = {"Q": q, "K": k, "V": v}
    past_k, past_v = (rng.standard_normal((B, N, seen, d)) for _ in range(2))
    if seen:
        inputs |= {"past_key": past_k, "past_value": past_v}
    mask = rng.random((S, seen + S)) < 0.5 if masked else None
    expected = onnx_attention(inputs | {"attn_mask": mask}, is_causal=1)
    assert_equal(ours(q, np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2), mask, True), expected)


@quick
@given(sizes, st.integers(1, 3), st.integers(1, 3), sizes, sizes, sizes, st.integers(0, 2**31))
def test_heads_that_share_keys(B: int, groups: int, each: int, S: int, T: int, d: int, seed: int) -> None:
    """Grouped queries are a broadcast of keys and values; features that hold heads side by side are a reshape."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((B, S, groups * each * d))
    k, v = (rng.standard_normal((B, T, groups * d)) for _ in range(2))
    expected = onnx_attention({"Q": q, "K": k, "V": v}, q_num_heads=groups * each, kv_num_heads=groups)
    split_q = q.reshape(B, S, groups, each, d).transpose(0, 2, 3, 1, 4)
    split_k, split_v = (x.reshape(B, T, groups, 1, d).transpose(0, 2, 3, 1, 4) for x in (k, v))
    y, weights = ours(split_q, split_k, split_v)
    assert_equal((y.transpose(0, 3, 1, 2, 4), weights), expected)


def test_several_tiles() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 2, 600, 4)) for _ in range(3))
    assert_equal(ours(q, k, v, None, True), onnx_attention({"Q": q, "K": k, "V": v}, is_causal=1))
