"""Recording the symbols of a forward pass: what they are, where they are found, and that nothing else changes."""

import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as ts

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 5, 4))
LENGTHS = [5, 2, 4]
SYMBOLS = {"RNN": {"h_t"}, "LSTM": {"f_t", "i_t", "c_tilde", "c_t", "o_t", "h_t"}, "GRU": {"r_t", "z_t", "n_t", "h_t"}}


def made(kind: str, *sizes: int, **options: Any) -> Any:
    ts.seed(0)
    return getattr(ts.nn, kind)(*sizes, **options).to("float64")


@pytest.mark.parametrize("kind", SYMBOLS)
def test_outputs_are_unchanged_and_symbols_are_those_of_the_definition(kind: str) -> None:
    layer = made(kind, 4, 6)
    plain, _ = layer(ts.tensor(X))
    with ts.record() as r:
        out, _ = layer(ts.tensor(X))
    np.testing.assert_array_equal(out.numpy(), plain.numpy())
    assert out.requires_grad, "the graph is there as ever"
    recorded = r[kind.lower()]
    assert set(dir(recorded)) == SYMBOLS[kind]
    np.testing.assert_allclose(recorded.h_t.numpy(), out.numpy(), rtol=1e-12, atol=1e-15)
    assert not recorded.h_t.requires_grad
    with ts.definitions(), ts.record() as d:
        layer(ts.tensor(X))
    for symbol in SYMBOLS[kind]:
        array = getattr(recorded, symbol).numpy()
        assert array.shape == (3, 5, 6)
        np.testing.assert_array_equal(array, getattr(d[kind.lower()], symbol).numpy())


def test_the_recorded_gates_fulfil_the_equations() -> None:
    lstm = made("LSTM", 4, 6)
    with ts.record() as r:
        lstm(ts.tensor(X))
    f, i, c_tilde, c, o, h = (getattr(r["lstm"], s).numpy() for s in ("f_t", "i_t", "c_tilde", "c_t", "o_t", "h_t"))
    before = np.concatenate([np.zeros((3, 1, 6)), c[:, :-1]], 1)
    np.testing.assert_allclose(c, f * before + i * c_tilde, rtol=1e-13)
    np.testing.assert_allclose(h, o * np.tanh(c), rtol=1e-13)
    h_before = np.concatenate([np.zeros((3, 1, 6)), h[:, :-1]], 1)
    a = X @ lstm.W_f.numpy().T + h_before @ lstm.U_f.numpy().T + lstm.b_f.numpy()
    np.testing.assert_allclose(f, 1 / (1 + np.exp(-a)), rtol=1e-12)


def test_beyond_its_end_a_sequence_has_zeros_and_the_other_direction_is_in_the_order_of_time() -> None:
    lstm = made("LSTM", 4, 6, bidirectional=True)
    with ts.record() as r:
        out, _ = lstm(ts.tensor(X), lengths=LENGTHS)
    assert list(r)[:2] == ["lstm.l0", "lstm.l0_reverse"]
    beyond = np.arange(5) >= np.array(LENGTHS)[:, None]
    for direction, h in zip(("l0", "l0_reverse"), np.split(out.numpy(), 2, -1), strict=True):
        recorded = r[f"lstm.{direction}"]
        np.testing.assert_allclose(recorded.h_t.numpy(), h, rtol=1e-12, atol=1e-15)
        for symbol in SYMBOLS["LSTM"]:
            array = getattr(recorded, symbol).numpy()
            assert not array[beyond].any() and array[~beyond].all()


def test_several_layers_stand_on_a_first_axis_of_their_own() -> None:
    class Model(ts.nn.Module):
        def __init__(self) -> None:
            self.encoder = made("GRU", 4, 6, 2, bidirectional=True)
            self.top = made("RNN", 12, 3)

        def forward(self, x: ts.Tensor) -> ts.Tensor:
            return self.top(self.encoder(x)[0])[0]

    with ts.record() as r:
        out = Model()(ts.tensor(X))
    assert r["encoder"].z_t.shape == (4, 3, 5, 6)
    np.testing.assert_array_equal(r["encoder"].z_t.numpy()[3], r["encoder.l1_reverse"].z_t.numpy())
    assert r["encoder"][1].h.shape == (3, 5, 12), "both directions side by side, of the second layer"
    np.testing.assert_allclose(r["top"].h_t.numpy(), out.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(r["rnn"].h_t.numpy(), r["top"].h_t.numpy())  # by the name of its block


def test_cells_in_a_loop_are_steps() -> None:
    cell, state = made("LSTMCell", 4, 6), None
    with ts.record() as r:
        steps = []
        for x_t in ts.ops.unstack(ts.tensor(X), 1):
            state = cell(x_t, state)
            steps.append(state.h.numpy())
    np.testing.assert_array_equal(r["lstmcell"].h_t.numpy(), np.stack(steps, 1))
    np.testing.assert_array_equal(r["lstmcell"][2].h_t.numpy(), steps[2])


class Stepping(ts.nn.Module):
    """A loop over a cell."""

    def __init__(self) -> None:
        self.cell = made("GRUCell", 4, 6)

    def forward(self, x: ts.Tensor) -> ts.Tensor:
        h = None
        for x_t in ts.ops.unstack(x, 1):
            h = self.cell(x_t, h)
        return h


class Step(ts.nn.Module):
    """One step, of which the caller makes a loop."""

    def __init__(self) -> None:
        self.cell = made("GRUCell", 4, 6)

    def forward(self, x_t: ts.Tensor, h: Any = None) -> ts.Tensor:
        return self.cell(x_t, h)


def test_the_steps_of_one_loop_are_told_from_those_of_several() -> None:
    x, model = ts.tensor(X), Stepping()
    with ts.record() as r:
        model(x)
    assert r["cell"].z_t.shape == (3, 5, 6)
    for again in (model, Stepping()):  # a second run, or another model with the same path
        with ts.record() as r:
            model(x)
            again(x)
        with pytest.raises(AttributeError, match="'cell' was called 10 times: choose one"):
            _ = r["cell"].z_t
    step, other, h = Step(), Step(), None
    with ts.record() as r:
        for x_t in ts.ops.unstack(x, 1):
            h = step(x_t, h)
    assert r["cell"].z_t.shape == (3, 5, 6)
    with ts.record() as r:
        step(x[:, 0])
        other(x[:, 0])
    with pytest.raises(AttributeError, match="'cell' was called 2 times: choose one"):
        _ = r["cell"].z_t


def test_a_symbol_of_several_parts() -> None:
    """An LSTM's state in a decoder, over time; the heads of two layers."""
    ts.seed(0)
    sizes = ts.models.AttentionDecoderConfig(10, 8, 4, 6, cell="lstm")
    with ts.record() as r:
        ts.models.AttentionDecoder(sizes)(np.array([[1, 2, 3]]), np.array([[1, 3]]))
    h, c = r["attentiondecoder"].state
    assert h.shape == c.shape == (1, 2, 6)  # (B, T, H)
    np.testing.assert_array_equal(h.numpy(), r["cell"].h_t.numpy())
    np.testing.assert_array_equal(c.numpy(), r["cell"].c_t.numpy())
    encoder = ts.nn.TransformerEncoder(ts.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 3)
    with ts.record() as r:
        encoder(ts.tensor(X[..., [0, 1, 2, 3] * 2], dtype="float32"))
    assert [head.shape for head in r["layers"].head] == [(3, 3, 5, 4)] * 2  # layers, B, T, d
    with pytest.raises(IndexError, match="'layers.0.self_attn' was called 1 times: expected 0 to 0, got 1"):
        _ = r["layers.0.self_attn"][1].alpha


def test_what_is_written_has_the_paths_of_the_model() -> None:
    ts.seed(0)
    model = ts.models.AttentionDecoder(ts.models.AttentionDecoderConfig(10, 8, 4, 6))
    with ts.record() as called:
        model(np.array([[1, 2, 3]]), np.array([[1, 3]]))
    with ts.record() as written:
        model.generate([1, 2, 3], 2, stop=[])
    assert list(written) == list(called)
    assert [written["attention"][i].alpha.shape for i in range(2)] == [(1, 1, 3)] * 2


def test_a_derivative_of_any_order_records_nothing() -> None:
    lstm = made("LSTM", 4, 6)
    with ts.record() as r:
        out, _ = lstm(ts.tensor(X))
        gs = ts.grad((out**2).sum(), lstm.parameters(), create_graph=True)
        sum((g**2).sum() for g in gs).backward()
    assert len(r["lstm"]) == 1


def test_a_record_keeps_no_graph() -> None:
    lstm = made("LSTM", 4, 6)
    with ts.record() as r:
        out, state = lstm(ts.tensor(X))
        op = weakref.ref(out.place.op)
        del out, state
        assert op() is None
    assert r["lstm"].f_t.shape == (3, 5, 6)


def test_calls_of_a_layer_are_chosen_by_number() -> None:
    rnn = made("RNN", 4, 6)
    with ts.record() as r:
        first, state = rnn(ts.tensor(X))
        second, _ = rnn(ts.tensor(X), state)
    with pytest.raises(AttributeError, match=r"'rnn' was called 2 times: choose one, as in r\['rnn'\]\[0\].h_t"):
        _ = r["rnn"].h_t
    for k, out in enumerate((first, second)):
        np.testing.assert_allclose(r["rnn"][k].h_t.numpy(), out.numpy(), rtol=1e-12)
    assert len(r["rnn"]) == len(list(r["rnn"])) == 2
    with pytest.raises(IndexError, match="'rnn' was called 2 times: expected 0 to 1, got 2"):
        r["rnn"][2]


def test_every_attention_weight_by_layer_and_head() -> None:
    ts.seed(0)
    layer = ts.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
    encoder = ts.nn.TransformerEncoder(layer, 3).to("float64")
    x = ts.tensor(RNG.standard_normal((2, 5, 8)))
    plain = encoder(x, causal=True)
    with ts.record() as r:
        out = encoder(x, causal=True)
    np.testing.assert_array_equal(out.numpy(), plain.numpy())
    alphas = [r[f"layers.{k}.self_attn"].alpha.numpy() for k in range(3)]
    for alpha in alphas:
        assert alpha.shape == (2, 2, 5, 5)
        np.testing.assert_allclose(alpha.sum(-1), 1, rtol=1e-12)
        assert not np.triu(alpha, 1).any()
    assert not np.allclose(alphas[0], alphas[1])
    np.testing.assert_array_equal(r["layers"].alpha.numpy(), np.stack(alphas))
    one = r["layers.0.self_attn"]
    assert len(one) == 1 and len(one.head) == 2
    e = np.exp(one.score.numpy()) * np.tri(5)
    np.testing.assert_allclose(alphas[0], e / e.sum(-1, keepdims=True), rtol=1e-12)


def test_a_user_s_own_block_and_scan() -> None:
    class Leaky(NamedTuple):
        h: Any

    class LeakyStep(NamedTuple):
        a_t: Any
        h_t: Any

    @ts.equations("leaky_record", h_t=r"h_t = \tanh(a_t)")
    def leaky(x_t: Any, state: Leaky) -> LeakyStep:
        a_t = 0.5 * state.h + x_t
        h_t = ts.ops.tanh(a_t)
        return LeakyStep(a_t, h_t)

    with ts.record() as r:
        symbols, _ = ts.ops.scan(leaky, Leaky(ts.tensor(np.zeros((3, 4)))), ts.tensor(X), reverse=True)
        ts.ops.scan(leaky, Leaky(ts.tensor(np.zeros((3, 4)))), ts.tensor(X))
    np.testing.assert_array_equal(r["leaky_record"][0].a_t.numpy(), symbols.a_t.numpy())
    assert r["leaky_record"][1].a_t.shape == (3, 5, 4)


def test_errors_say_what_is_there() -> None:
    with ts.record() as r:
        made("RNN", 4, 6)(ts.tensor(X))
    with pytest.raises(KeyError, match="nothing was recorded for 'lstm'; there is 'rnn'"):
        r["lstm"]
    with pytest.raises(AttributeError, match="'rnn' has no symbol 'f_t' recorded; there are h_t"):
        _ = r["rnn"].f_t
    with ts.record() as empty:
        pass
    with pytest.raises(KeyError, match="nothing: no equation block ran"):
        empty["rnn"]
    assert repr(r) == "record of\n  rnn: h_t" and repr(r["rnn"]) == "rnn: h_t" and len(r) == 1


def test_only_inside_the_block() -> None:
    rnn = made("RNN", 4, 6)
    with ts.record() as r:
        pass
    rnn(ts.tensor(X))
    assert len(r) == 0


def test_on_the_device_without_a_sync(device: Any) -> None:
    lstm = made("LSTM", 4, 6, bidirectional=True)
    with ts.record() as here:
        lstm(ts.tensor(X), lengths=LENGTHS)
    lstm.to(device.device)
    lengths = device.tensor(np.array(LENGTHS))
    with ts.record() as there:
        lstm(device.tensor(X), lengths=lengths)
        f_t = there["lstm.l0_reverse"].f_t
    np.testing.assert_allclose(device.host(f_t), here["lstm.l0_reverse"].f_t.numpy(), rtol=1e-12)
