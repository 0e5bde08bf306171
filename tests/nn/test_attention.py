"""Attention layers: scores, many heads, the chapter's symbols, dropout, and the cache for generation."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn
from tinygrad_seq.testing import check_grads

RNG = np.random.default_rng(0)
B, S, T, D, E, N = 2, 3, 5, 4, 6, 2
SCORES = {
    "dot": (lambda: nn.DotScore(), D),
    "scaled dot": (lambda: nn.ScaledDotScore(), D),
    "bilinear": (lambda: nn.BilinearScore(D, E), E),
    "MLP": (lambda: nn.MLPScore(D, E, 7), E),
}


def some(*shape: int) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal(shape), requires_grad=True)


def make(**options: Any) -> nn.MultiheadAttention:
    ts.seed(0)
    layer = nn.MultiheadAttention(D, N, **options).to("float64")
    for p in layer.parameters():  # biases too, so that they can be seen
        p.data[...] = RNG.standard_normal(p.shape)
    return layer


# -- scores and attention over an encoder


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_several_states_are_those_of_each(name: str) -> None:
    score, size = SCORES[name][0]().to("float64"), SCORES[name][1]
    s, h = some(B, S, D), some(B, T, size)
    e = score(s, h)
    assert e.shape == (B, S, T)
    for i in range(S):
        np.testing.assert_allclose(score(s[:, i], h).data, e.data[:, i], rtol=1e-12)
    check_grads(score, [s.data, h.data])


def test_scores_are_their_equations() -> None:
    s, h = RNG.standard_normal((B, D)), RNG.standard_normal((B, T, E))
    bilinear, mlp = nn.BilinearScore(D, E).to("float64"), nn.MLPScore(D, E, 7).to("float64")
    for b in range(B):
        for j in range(T):
            e = s[b] @ bilinear.W.data @ h[b, j]
            np.testing.assert_allclose(bilinear(ts.tensor(s), ts.tensor(h)).data[b, j], e)
            e = mlp.v.data @ np.tanh(mlp.W_1.data @ s[b] + mlp.W_2.data @ h[b, j])
            np.testing.assert_allclose(mlp(ts.tensor(s), ts.tensor(h)).data[b, j], e)


@pytest.mark.parametrize("name", SCORES)
def test_attention_gathers_what_the_mask_lets_through(name: str) -> None:
    score, size = SCORES[name][0]().to("float64"), SCORES[name][1]
    s, h = some(B, D), some(B, T, size)
    mask = np.array([[True, True, False, False, False], [True] * T])
    score_, alpha, context = nn.Attention(score)(s, h, mask)
    assert score_.shape == alpha.shape == (B, T) and context.shape == (B, size)
    np.testing.assert_allclose(alpha.data.sum(-1), 1)
    assert not alpha.data[0, 2:].any()
    np.testing.assert_allclose(context.data, np.stack([alpha.data[b] @ h.data[b] for b in range(B)]))
    several = nn.Attention(score)(ts.ops.stack([s, s], 1), h, mask[:, None])
    np.testing.assert_allclose(several.context.data[:, 1], context.data, rtol=1e-12)


def test_a_function_is_a_score_too() -> None:
    nearest = nn.Attention(lambda s, h: -((h - ts.ops.expand_dims(s, 1)) ** 2).sum(-1))
    h = some(1, T, D)
    assert nearest(h[:, 2] * 1.0, h * 1.0).alpha.argmax().item() == 2


# -- many heads


def by_the_chapter(
    layer: nn.MultiheadAttention, Q: np.ndarray, K: np.ndarray, V: np.ndarray, mask: Any = True
) -> tuple[np.ndarray, np.ndarray]:
    """head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V), MultiHead = Concat(head_1 …) W^O, with the layer's symbols."""
    heads, weights = [], []
    biases = np.split(layer.in_proj_bias.data, 3 * N)
    for i in range(N):
        q = Q @ layer.W_q.data[i] + biases[i]
        k = K @ layer.W_k.data[i] + biases[N + i]
        v = V @ layer.W_v.data[i] + biases[2 * N + i]
        e = np.where(mask, np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(D // N)), 0)
        alpha = e / e.sum(-1, keepdims=True)
        heads.append(alpha @ v)
        weights.append(alpha)
    W_o = layer.W_o.data.reshape(D, D)
    return np.concatenate(heads, -1) @ W_o + layer.out_proj.bias.data, np.stack(weights, 1)


def test_it_computes_the_chapter_s_equations() -> None:
    layer, Q, K, V = make(), some(B, S, D), some(B, T, D), some(B, T, D)
    expected, alpha = by_the_chapter(layer, Q.data, K.data, V.data)
    with ts.record() as r:
        y = layer(Q, K, V)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)
    np.testing.assert_allclose(r["multiheadattention"].alpha.data, alpha, rtol=1e-12)
    assert [head.shape for head in r["multiheadattention"].head] == [(B, S, D // N)] * N
    np.testing.assert_allclose(layer(Q, K).data, by_the_chapter(layer, Q.data, K.data, K.data)[0], rtol=1e-12)
    np.testing.assert_allclose(layer(Q).data, by_the_chapter(layer, Q.data, Q.data, Q.data)[0], rtol=1e-12)
    past = np.tri(S, dtype=bool)
    expected, _ = by_the_chapter(layer, Q.data, Q.data, Q.data, past)
    np.testing.assert_allclose(layer(Q, causal=True).data, expected, rtol=1e-12)
    np.testing.assert_allclose(layer(Q, Q, Q, past).data, expected, rtol=1e-12)


def test_shapes_of_the_chapter_s_symbols() -> None:
    layer = make()
    assert layer.W_q.shape == layer.W_k.shape == layer.W_v.shape == (N, D, D // N)
    assert layer.W_o.shape == (N, D // N, D)
    assert {name: p.shape for name, p in layer.named_parameters()} == {
        "in_proj_weight": (3 * D, D),
        "in_proj_bias": (3 * D,),
        "out_proj.weight": (D, D),
        "out_proj.bias": (D,),
    }


def test_initial_values() -> None:
    layer = nn.MultiheadAttention(64, 4)
    assert not layer.in_proj_bias.data.any() and not layer.out_proj.bias.data.any()
    for p, bound in ((layer.in_proj_weight, (6 / 256) ** 0.5), (layer.out_proj.weight, 1 / 8)):
        assert 0.98 * bound < np.abs(p.data).max() <= bound
    assert list(nn.MultiheadAttention(4, 2, bias=False).state_dict()) == ["in_proj_weight", "out_proj.weight"]


@pytest.mark.parametrize("bias", [True, False])
def test_gradients(bias: bool) -> None:
    layer = make(bias=bias)
    mask = np.array([[True, True, False, True, True], [False] * T])[:, None, None]
    check_grads(lambda Q, K: layer(Q, K, mask=mask), [RNG.standard_normal((B, S, D)), RNG.standard_normal((B, T, D))])
    check_grads(lambda x: layer(x, x, x, causal=True), [RNG.standard_normal((B, S, D))])


def test_dropout_in_training_alone() -> None:
    layer, x = make(dropout=0.5), some(B, 20, D)
    assert not np.array_equal(layer(x).data, layer(x).data)
    layer.eval()
    np.testing.assert_array_equal(layer(x).data, layer(x).data)


def test_batch_of_1_and_one_position() -> None:
    layer = make()
    x = some(1, 1, D)
    np.testing.assert_allclose(layer(x).data, by_the_chapter(layer, x.data, x.data, x.data)[0], rtol=1e-12)


@pytest.mark.parametrize("heads", [3, 0, -2])
def test_wrong_heads(heads: int) -> None:
    with pytest.raises(ValueError, match=f"4 features do not fall into {heads} equal heads"):
        nn.MultiheadAttention(4, heads)


def test_wrong_inputs_say_the_equation() -> None:
    layer = nn.MultiheadAttention(D, N)
    x = ts.tensor(np.ones((B, S, D + 1), np.float32))
    with pytest.raises(ValueError, match=rf"head_i = .* Q \({B}, {S}, {D + 1}\).*expected Q \({B}, {S}, {D}\)"):
        layer(x)
    with ts.no_grad(), pytest.raises(ValueError, match=rf"y = x Wᵀ \+ b with x \({B}, {S}, {D + 1}\)"):
        layer(x, cache=nn.KVCache())
    x = x[..., :D]
    with ts.no_grad(), pytest.raises(ValueError, match=rf"expected queries or keys of shape \(B, T, {D}\)"):
        layer(x[0], cache=nn.KVCache())
    with ts.no_grad(), pytest.raises(ValueError, match="with a cache, the values are of the same states as the keys"):
        layer(x, x, x * 2, cache=nn.KVCache())
    with pytest.raises(ValueError, match="0 <= dropout < 1, got 1"):
        nn.MultiheadAttention(D, N, dropout=1.0)


# -- the cache


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 1, 1, 2], [7], [4, 3]])
@pytest.mark.parametrize("bias", [True, False])
def test_steps_with_a_cache_are_the_whole(pieces: list[int], bias: bool) -> None:
    layer, x = make(bias=bias), some(B, 7, D)
    whole = layer(x, causal=True).data
    cache, found = nn.KVCache(), []
    with ts.no_grad():
        for n in pieces:
            start = len(cache)
            found.append(layer(x[:, start : start + n], causal=True, cache=cache).data)
    assert len(cache) == 7
    np.testing.assert_allclose(np.concatenate(found, 1), whole, rtol=1e-12, atol=1e-14)


def test_a_cache_grows_beyond_its_first_room() -> None:
    layer, x = make(), some(1, 40, D)
    cache, found = nn.KVCache(), []
    with ts.no_grad():
        for t in range(40):
            found.append(layer(x[:, t : t + 1], causal=True, cache=cache).data)
    np.testing.assert_allclose(np.concatenate(found, 1), layer(x, causal=True).data, rtol=1e-12, atol=1e-14)


def test_an_encoder_s_states_are_projected_once() -> None:
    layer, x, memory = make(), some(B, S, D), some(B, T, D)
    mask = np.array([[True, True, False, True, True], [True] * T])[:, None, None]
    whole = layer(x, memory, memory, mask).data
    cache, found = nn.KVCache(), []
    with ts.no_grad():
        for t in range(S):
            found.append(layer(x[:, t : t + 1], memory, memory, mask, cache=cache).data)
            memory = memory * 0  # what comes later is not looked at
    np.testing.assert_allclose(np.concatenate(found, 1), whole, rtol=1e-12)
    assert len(cache) == 0, "nothing was added to the sequence itself"


def test_a_cache_follows_a_beam() -> None:
    layer, x, more = make(), some(3, 4, D), some(4, 1, D)
    rows = np.array([2, 0, 0, 1])
    cache = nn.KVCache()
    with ts.no_grad():
        layer(x, causal=True, cache=cache)
        cache.select(rows)
        y = layer(more, causal=True, cache=cache).data
    whole = layer(ts.tensor(np.concatenate([x.data[rows], more.data], 1)), causal=True).data
    np.testing.assert_allclose(y, whole[:, -1:], rtol=1e-12)
    with ts.no_grad(), pytest.raises(ValueError, match="it has seen 4 sequences, and now come 3"):
        layer(x, causal=True, cache=cache)


def test_an_encoder_s_states_follow_a_beam() -> None:
    layer, x, memory = make(), some(3, 1, D), some(2, T, D)
    rows, cache = np.array([1, 0, 1]), nn.KVCache()
    with ts.no_grad():
        layer(x[:2], memory, cache=cache)
        cache.select(rows)
        y = layer(x, memory, cache=cache).data
    np.testing.assert_allclose(y, layer(x, memory[rows]).data, rtol=1e-12)


def test_a_cache_keeps_no_graph_and_says_so() -> None:
    layer = make()
    with pytest.raises(RuntimeError, match=r"call the model within ts.no_grad\(\)"):
        layer(some(B, S, D), cache=nn.KVCache())
    with pytest.raises(RuntimeError, match=r"call the model within ts.no_grad\(\)"):
        layer(some(B, S, D), some(B, T, D), cache=nn.KVCache())


def test_two_layers_have_their_own_parts_of_a_cache() -> None:
    first, second, x = make(), make(), some(B, 4, D)
    whole = second(first(x, causal=True), causal=True).data
    cache = nn.KVCache()
    with ts.no_grad():
        steps = [
            second(first(x[:, t : t + 1], causal=True, cache=cache), causal=True, cache=cache).data for t in range(4)
        ]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-12)


def test_a_cached_step_is_recorded() -> None:
    layer, x = make(), some(B, 4, D)
    cache = nn.KVCache()
    with ts.no_grad():
        layer(x[:, :3], causal=True, cache=cache)
        with ts.record() as r:
            layer(x[:, 3:], causal=True, cache=cache)
    with ts.record() as all_at_once:
        layer(x, causal=True)
    alpha = all_at_once["multiheadattention"].alpha.data
    np.testing.assert_allclose(r["multiheadattention"].alpha.data, alpha[:, :, 3:], rtol=1e-12)
