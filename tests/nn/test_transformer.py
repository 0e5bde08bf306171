"""Transformer layers and stacks: their equations, initial weights, masks, dropout, gradients, and generation."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq import nn
from tinygrad_seq.testing import check_grads

RNG = np.random.default_rng(0)
B, S, T, D, N, F = 2, 3, 4, 4, 2, 6


def some(*shape: int) -> ts.Tensor:
    return ts.tensor(RNG.standard_normal(shape), requires_grad=True)


def shaken(model: Any) -> Any:
    """With random biases and norms, so that they can be seen."""
    model.to("float64")
    for p in model.parameters():
        if p.ndim == 1:
            p.data += RNG.standard_normal(p.shape) * 0.3
    return model


def encoder_layer(**options: Any) -> nn.TransformerEncoderLayer:
    return shaken(nn.TransformerEncoderLayer(D, N, F, **{"dropout": 0.0} | options))


def decoder_layer(**options: Any) -> nn.TransformerDecoderLayer:
    return shaken(nn.TransformerDecoderLayer(D, N, F, **{"dropout": 0.0} | options))


def network(layer: Any, x: ts.Tensor, activation: Any) -> ts.Tensor:
    return layer.linear2(activation(layer.linear1(x)))


ACTIVATIONS = {"relu": ts.ops.relu, "gelu": ts.ops.gelu, "gelu_tanh": lambda x: ts.ops.gelu(x, "tanh")}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_encoder_layer_s_equations(activation: str) -> None:
    x, act = some(B, T, D), ACTIVATIONS[activation]
    layer = encoder_layer(activation=activation)
    y = layer.norm1(x + layer.self_attn(x))
    np.testing.assert_array_equal(layer(x).data, layer.norm2(y + network(layer, y, act)).data)
    layer = encoder_layer(activation=activation, norm_first=True)
    y = x + layer.self_attn(layer.norm1(x))
    np.testing.assert_array_equal(layer(x).data, (y + network(layer, layer.norm2(y), act)).data)


class Adapted(nn.Linear):
    """A part of the user's own."""

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        return super().forward(x) * 2


def as_it_is(layer: Any) -> None:
    pass


def hooked(layer: Any) -> None:
    layer.linear1.register_forward_hook(lambda module, inputs, output: output * 2)


def replaced(layer: Any) -> None:
    layer.linear1.__class__ = Adapted


def patched(layer: Any) -> None:
    plain = layer.linear2.forward
    layer.linear2.forward = lambda x: plain(x) * 2


@pytest.mark.parametrize("change", [as_it_is, hooked, replaced, patched])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_network_is_what_its_parts_are(activation: str, change: Any) -> None:
    """Also where it runs as one operation; and what a user does to a part is seen."""
    x, layer = some(B, T, D), encoder_layer(activation=activation, dropout=0.4)
    change(layer)
    ts.seed(1)
    y = layer.feed_forward(x)
    ts.seed(1)
    parts = layer.dropout(layer.linear2(layer.dropout(ACTIVATIONS[activation](layer.linear1(x)))))
    np.testing.assert_array_equal(y.data, parts.data)
    for g, expected in zip(*(ts.grad(out.sum(), [x, *layer.linear1.parameters()]) for out in (y, parts)), strict=True):
        np.testing.assert_allclose(g.data, expected.data, rtol=0, atol=1e-14)
    whole = [layer.eval().feed_forward(x), layer.linear2(ACTIVATIONS[activation](layer.linear1(x)))]
    np.testing.assert_array_equal(*(out.data for out in whole))


def test_the_network_is_one_operation() -> None:
    layer = encoder_layer()
    text = ts.graph(layer.feed_forward(some(B, T, D))).text()
    hooked(layer)
    assert "feed forward" in text and "feed forward" not in ts.graph(layer.feed_forward(some(B, T, D))).text()


def test_a_decoder_layer_s_equations() -> None:
    x, memory = some(B, S, D), some(B, T, D)
    layer = decoder_layer()
    y = layer.norm1(x + layer.self_attn(x, causal=True))
    y = layer.norm2(y + layer.multihead_attn(y, memory))
    expected = layer.norm3(y + network(layer, y, ts.ops.relu))
    np.testing.assert_array_equal(layer(x, memory, causal=True).data, expected.data)
    layer = decoder_layer(norm_first=True)
    y = x + layer.self_attn(layer.norm1(x), causal=True)
    y = y + layer.multihead_attn(layer.norm2(y), memory)
    expected = y + network(layer, layer.norm3(y), ts.ops.relu)
    np.testing.assert_array_equal(layer(x, memory, causal=True).data, expected.data)


@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients(norm_first: bool) -> None:
    x, memory = RNG.standard_normal((B, S, D)), RNG.standard_normal((B, T, D))
    encoder, decoder = (make(activation="gelu", norm_first=norm_first) for make in (encoder_layer, decoder_layer))
    mask = np.array([[True, True, True], [True, False, False]])[:, None, None]
    check_grads(lambda x: encoder(x, mask), [x])
    check_grads(lambda x, memory: decoder(x, memory, causal=True), [x, memory])


def test_masks_reach_their_attention() -> None:
    x, memory, far = some(1, S, D), some(1, T, D), np.array([True, True, True, False])
    layer = decoder_layer()
    before = layer(x, memory, memory_mask=far).data
    memory.data[:, 3] = 99
    np.testing.assert_array_equal(layer(x, memory, memory_mask=far).data, before)
    assert not np.allclose(layer(x, memory).data, before)
    before = layer(x, memory, far[1:]).data
    x.data[:, 2] = 99
    np.testing.assert_array_equal(layer(x, memory, far[1:]).data[:, :2], before[:, :2])
    model = shaken(nn.Transformer(D, N, 2, 2, F, dropout=0.0))
    src, tgt = some(1, T, D), some(1, S, D)
    before = model(src, tgt, src_mask=far, memory_mask=far, causal=True).data
    src.data[:, 3], tgt.data[:, 2] = 99, -99
    after = model(src, tgt, src_mask=far, memory_mask=far, causal=True).data
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    np.testing.assert_array_equal(model(src, tgt, far, np.tri(S, dtype=bool), far).data, after)


# -- stacks


def test_each_layer_has_weights_of_its_own() -> None:
    for stack in (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(D, N, F), 3),
        nn.TransformerDecoder(nn.TransformerDecoderLayer(D, N, F), 3),
    ):
        first, second, third = (layer.state_dict() for layer in stack.layers)
        for name, array in first.items():
            if array.ndim > 1:
                assert not np.array_equal(array, second[name]) and not np.array_equal(second[name], third[name])


def test_layers_are_as_the_one_that_was_given() -> None:
    layer = nn.TransformerEncoderLayer(
        D, N, F, dropout=0.3, activation="gelu", norm_first=True, layer_norm_eps=1e-3, bias=False
    )
    for each in nn.TransformerEncoder(layer, 2).layers:
        assert repr(each) == repr(layer) and each.dropout.p == each.self_attn.dropout == 0.3
        assert each.norm1.eps == each.norm2.eps == 1e-3 and each.linear1.bias is None


def test_names_are_pytorch_s() -> None:
    model = nn.Transformer(D, N, 1, 1, F)
    attention = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    network = [f"{part}.{p}" for part in ("linear1", "linear2", "norm1", "norm2") for p in ("weight", "bias")]
    encoder = [*(f"self_attn.{p}" for p in attention), *network]
    decoder = [f"{part}.{p}" for part in ("self_attn", "multihead_attn") for p in attention]
    decoder += [*network, "norm3.weight", "norm3.bias"]
    expected = [f"encoder.layers.0.{name}" for name in encoder] + ["encoder.norm.weight", "encoder.norm.bias"]
    expected += [f"decoder.layers.0.{name}" for name in decoder] + ["decoder.norm.weight", "decoder.norm.bias"]
    assert list(model.state_dict()) == expected


def test_number_of_parameters() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 32)
    assert layer.num_parameters() == 4 * (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 4 * 8
    assert nn.TransformerEncoderLayer(8, 2, 32, bias=False).num_parameters() == 4 * 8 * 8 + 2 * 8 * 32 + 2 * 8


def test_a_transformer_starts_as_xavier_has_it() -> None:
    model = nn.Transformer(32, 2, 1, 1, 64)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            bound = (6 / sum(p.shape)) ** 0.5
            assert 0.95 * bound < np.abs(p.data).max() <= bound, name


def test_dropout_in_training_alone() -> None:
    model = nn.Transformer(D, N, 1, 1, F, dropout=0.2).to("float64")
    src, tgt = some(B, T, D), some(B, S, D)
    assert not np.array_equal(model(src, tgt).data, model(src, tgt).data)
    model.eval()
    np.testing.assert_array_equal(model(src, tgt).data, model(src, tgt).data)


@pytest.mark.parametrize("norm_first", [False, True])
def test_steps_with_a_cache_are_the_whole(norm_first: bool) -> None:
    model = shaken(nn.Transformer(D, N, 2, 2, F, dropout=0.0, norm_first=norm_first))
    src, tgt = some(B, T, D), some(B, 5, D)
    mask = np.array([[True, True, False, False], [True] * 4])[:, None, None]
    whole = model(src, tgt, mask, memory_mask=mask, causal=True).data
    cache = nn.KVCache()
    with ts.no_grad():
        memory = model.encoder(src, mask)
        steps = [
            model.decoder(tgt[:, t : t + 1], memory, memory_mask=mask, causal=True, cache=cache).data for t in range(5)
        ]
    assert len(cache) == 5
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-11, atol=1e-12)


def test_an_encoder_alone_generates_too() -> None:
    model = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(D, N, F, dropout=0.0), 2, nn.LayerNorm(D)))
    x, cache = some(B, 5, D), nn.KVCache()
    with ts.no_grad():
        steps = [model(x[:, a:b], causal=True, cache=cache).data for a, b in ((0, 2), (2, 3), (3, 5))]
    np.testing.assert_allclose(np.concatenate(steps, 1), model(x, causal=True).data, rtol=1e-11, atol=1e-12)


def test_weights_are_recorded_layer_by_layer() -> None:
    model = nn.Transformer(D, N, 2, 1, F).eval()
    src, tgt = ts.tensor(RNG.standard_normal((B, T, D))), ts.tensor(RNG.standard_normal((B, S, D)))
    model.to("float64")
    with ts.record() as r:
        model(src, tgt, causal=True)
    assert r["encoder.layers.1.self_attn"].alpha.shape == (B, N, T, T)
    assert r["decoder.layers.0.self_attn"].alpha.shape == (B, N, S, S)
    assert r["decoder.layers.0.multihead_attn"].alpha.shape == (B, N, S, T)


def test_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"TransformerEncoderLayer: activation is one of .*'gelu_tanh'\], got 'tanh'"):
        nn.TransformerEncoderLayer(D, N, F, activation="tanh")
    with pytest.raises(ValueError, match="TransformerDecoderLayer: activation"):
        nn.TransformerDecoderLayer(D, N, F, activation="")
    with pytest.raises(ValueError, match="at least one layer, got num_layers = 0"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(D, N, F), 0)
    with pytest.raises(ValueError, match="equal heads"):
        nn.TransformerEncoderLayer(D, 3, F)
    layer = nn.TransformerDecoderLayer(D, N, F)
    x = ts.tensor(np.ones((B, S, D), np.float32))
    with pytest.raises(ValueError, match=r"head_i = .*expected K \(2, 4, 4\)"):
        layer(x, ts.tensor(np.ones((B, T, D + 1), np.float32)))
