"""Encoder–decoder with attention: the chapter's equations in NumPy, padding, alignments, writing, what it learns."""

from typing import Any

import numpy as np
import pytest
from scipy import special

import tinygrad_seq as ts
from tinygrad_seq.core.op import Op, Slot
from tinygrad_seq.data import Vocabulary, copy, pad_batch
from tinygrad_seq.models import AttentionDecoder, AttentionDecoderConfig, EncoderDecoder, EncoderDecoderConfig
from tinygrad_seq.testing import check_grads
from train_small import train

SCORES = ["dot", "scaled_dot", "bilinear", "mlp"]
ORDERS = ["bahdanau", "luong"]
every_kind = [(score, order, "gru") for score in SCORES for order in ORDERS]
every_kind += [("mlp", order, cell) for order in ORDERS for cell in ("rnn", "lstm")]

SOURCE, LENGTHS = np.array([[4, 5, 6, 7, 3], [5, 3, 0, 0, 0], [7, 7, 4, 0, 0]]), [5, 2, 3]
TARGET = np.array([[1, 3, 4, 2, 0], [1, 5, 6, 4, 2], [1, 2, 0, 0, 0]])


def small(score: str, order: str, cell: str = "gru") -> AttentionDecoder:
    ts.seed(0)
    config = AttentionDecoderConfig(8, 7, embedding_size=3, hidden_size=4, score=score, order=order, cell=cell)
    model = AttentionDecoder(config).to("float64")
    for p in model.parameters():
        p.data[...] *= 2  # so that an untrained model has something to say
    return model


# -- the equations


def step_of(
    cell: str, p: dict[str, np.ndarray], x: np.ndarray, state: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """One step of a cell for one sequence: the new h, or h and c."""
    W, U, b, b_h = (p[f"cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    a, u = W @ x + b, U @ state[0] + b_h
    if cell == "rnn":
        return (np.tanh(a + u),)
    if cell == "gru":
        (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(a, 3), np.split(u, 3)
        n = np.tanh(a_n + special.expit(a_r + u_r) * u_n)
        z = special.expit(a_z + u_z)
        return ((1 - z) * n + z * state[0],)
    i, f, g, o = np.split(a + u, 4)
    c = special.expit(f) * state[1] + special.expit(i) * np.tanh(g)
    return special.expit(o) * np.tanh(c), c


def by_hand(
    model: AttentionDecoder, source: np.ndarray, target_in: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For one pair: logits, alignment and contexts by the equations in the docstring, in loops."""
    p, config = model.state_dict(), model.config
    h, ends = model.encoder(model.source_embedding(source[None]))  # the layers have their own tests
    h, ends = h.numpy()[0], (ends.h if config.cell == "lstm" else ends).numpy()[:, 0]

    def score(s: np.ndarray, h_j: np.ndarray) -> float:
        match config.score:
            case "dot":
                return s @ h_j
            case "scaled_dot":
                return s @ h_j / np.sqrt(len(s))
            case "bilinear":
                return s @ p["attention.score.weight"] @ h_j
            case _:
                W_1, W_2, v = (p[f"attention.score.{name}"] for name in ("W_1", "W_2", "v"))
                return v @ np.tanh(W_1 @ s + W_2 @ h_j)

    def attend(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        alpha = special.softmax([score(s, h_j) for h_j in h])
        return alpha, sum(a * h_j for a, h_j in zip(alpha, h, strict=True))

    state: tuple[np.ndarray, ...] = (np.tanh(p["bridge.weight"] @ np.concatenate(ends) + p["bridge.bias"]),)
    if config.cell == "lstm":
        state = (*state, np.zeros_like(state[0]))
    rows = []
    for y in target_in:
        e_y = p["target_embedding.weight"][y]
        if config.order == "bahdanau":
            alpha, c = attend(state[0])
            state = step_of(config.cell, p, np.concatenate([e_y, c]), state)
            shown = state[0]
        else:
            state = step_of(config.cell, p, e_y, state)
            alpha, c = attend(state[0])
            shown = np.tanh(p["combine.weight"] @ np.concatenate([c, state[0]]))
        rows.append((p["output.weight"] @ shown + p["output.bias"], alpha, c))
    logits, alphas, contexts = map(np.array, zip(*rows, strict=True))
    return logits, alphas, contexts


@pytest.mark.parametrize(("score", "order", "cell"), every_kind)
def test_it_computes_the_equations(score: str, order: str, cell: str) -> None:
    """In a padded batch; the alignment and the contexts are recorded over time, and 0 beyond the end."""
    model = small(score, order, cell)
    with ts.record() as r:
        logits = model(SOURCE, TARGET, LENGTHS).numpy()
    found = r["attention"]
    assert found.alpha.shape == (3, 5, 5) and found.context.shape == (3, 5, 4)
    for b, n in enumerate(LENGTHS):
        expected, alphas, contexts = by_hand(model, SOURCE[b, :n], TARGET[b])
        np.testing.assert_allclose(logits[b], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.alpha.numpy()[b, :, :n], alphas, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.context.numpy()[b], contexts, rtol=1e-10, atol=1e-12)
        assert not found.alpha.numpy()[b, :, n:].any()


def test_an_lstm_begins_with_open_forget_gates_on_both_sides() -> None:
    model = AttentionDecoder(AttentionDecoderConfig(8, 7, hidden_size=4, cell="lstm"))
    assert (model.cell.b_f.numpy() == 1).all() and (model.encoder.b_f.numpy() == 1).all()


def test_the_orders_and_the_scores_differ() -> None:
    """That the test above can fail: no two kinds say the same from what they have in common."""
    said = {
        (score, order): small(score, order)(SOURCE, TARGET, LENGTHS).numpy() for score in SCORES for order in ORDERS
    }
    for one in said:
        for other in said:
            assert one == other or np.abs(said[one] - said[other]).max() > 1e-6


def test_what_is_recorded_is_what_is_returned() -> None:
    """By the equations to the last bit; what the kernel returns rounds in another order."""
    model = small("mlp", "bahdanau")
    encoded = model.encode(SOURCE, LENGTHS)
    symbols, _ = model.decode(TARGET, encoded)
    with ts.definitions():
        defined, _ = model.decode(TARGET, encoded)
    with ts.record() as r:
        model(SOURCE, TARGET, LENGTHS)
    for field in ("score", "alpha", "context"):
        recorded = getattr(r["attention"], field).numpy()
        np.testing.assert_array_equal(getattr(defined, field).numpy(), recorded)
        np.testing.assert_allclose(getattr(symbols, field).numpy(), recorded, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("part", ["attention", "attention.score", "cell"])
def test_a_hook_on_a_part_of_the_decoder_is_called_at_each_step(part: str) -> None:
    model, calls = small("mlp", "bahdanau"), []
    expected = model(SOURCE, TARGET, source_lengths=LENGTHS)
    handle = dict(model.named_modules())[part].register_forward_hook(lambda *call: calls.append(call))
    found = model(SOURCE, TARGET, source_lengths=LENGTHS)
    handle.remove()
    assert len(calls) == TARGET.shape[1]
    np.testing.assert_allclose(found.data, expected.data, rtol=1e-5, atol=1e-6)


def test_the_whole_target_at_once_is_the_scan_over_its_step() -> None:
    """Every symbol, the last state, all gradients, the record: the definition of the one operation to the last bit."""
    model = small("mlp", "bahdanau")

    def scanned() -> tuple[Any, Any]:
        memory, s_0 = model.encode(SOURCE, LENGTHS)
        return ts.ops.scan(
            lambda y_prev, s_prev: model.decoder_step(y_prev, s_prev, memory), s_0, model.target_embedding(TARGET)
        )

    def at_once() -> tuple[Any, Any]:
        symbols, (_, s_T) = model.decode(TARGET, model.encode(SOURCE, LENGTHS))
        return symbols, s_T

    def values(run: Any) -> dict[str, np.ndarray]:
        with ts.record() as r:
            symbols, s_T = run()
        loss = sum((symbol * symbol).sum() for symbol in (*symbols, *s_T))
        parameters = model.parameters()
        used = [p for p, (name, _) in zip(parameters, model.named_parameters(), strict=True) if "output" not in name]
        found = [*symbols, *s_T, *ts.grad(loss, used)]
        found += [getattr(r[name], field) for name in r for field in dir(r[name])]
        return {f"{k}": value.numpy() for k, value in enumerate(found) if hasattr(value, "numpy")}

    kernel = values(at_once)
    with ts.definitions():
        defined, expected = values(at_once), values(scanned)
    assert defined.keys() == expected.keys() == kernel.keys() and len(expected) > 30
    for name, value in expected.items():
        np.testing.assert_array_equal(defined[name], value)
        np.testing.assert_allclose(kernel[name], value, rtol=1e-10, atol=1e-12)


def test_training_takes_one_operation_for_the_whole_target() -> None:
    model = small("mlp", "bahdanau")
    kinds = [type(op).__name__ for op in ops_of(model.loss(SOURCE, TARGET, LENGTHS))]
    assert kinds.count("GRUAttentionDecoder") == 1 and "Tanh" in kinds  # of the bridge
    assert len(kinds) < 40


def ops_of(loss: ts.Tensor) -> list[Op]:
    """All operations in its graph."""
    found, waiting = [], [loss.place]
    seen = set()
    while waiting:
        place = waiting.pop()
        op = place.op if isinstance(place, Slot) else place
        if isinstance(op, Op) and id(op) not in seen:
            seen.add(id(op))
            found.append(op)
            waiting += op.sources
    return found


@pytest.mark.parametrize(
    ("score", "order", "ids"),
    [
        ("mlp", "bahdanau", {"attn.score", "attn.alpha", "attn.context", "attn.state"}),
        ("bilinear", "luong", {"attn.score", "attn.alpha", "attn.context", "luong.state", "luong.output"}),
    ],
)
def test_its_equations_are_in_its_graph(score: str, order: str, ids: set[str]) -> None:
    model = small(score, order)
    with ts.definitions():
        loss = model.loss(SOURCE, TARGET, LENGTHS)
    found = {op.equation.id for op in ops_of(loss) if op.equation is not None}
    assert {id for id in found if id.startswith(("attn", "luong"))} == ids
    with ts.record() as r:
        model(SOURCE, TARGET, LENGTHS)
    np.testing.assert_array_equal(getattr(r["attention.score"], score).numpy(), r["attention"].score.numpy())
    assert r["cell"].z_t.shape == (3, 5, 4)


def test_the_symbols_are_the_parameters() -> None:
    model = small("mlp", "luong")
    p = dict(model.named_parameters())
    for symbol, name in {"W_s": "bridge.weight", "b_s": "bridge.bias", "W_c": "combine.weight"}.items():
        assert getattr(model, symbol) is p[name]
    assert model.W_o is p["output.weight"] and model.b_o is p["output.bias"]
    assert model.attention.score.W_1.shape == (4, 4) and model.cell.W_z.shape == (4, 3)


def test_w_2_h_is_computed_once() -> None:
    """However long the target, one operation reads W_2."""
    model = small("mlp", "bahdanau")
    weight = model.attention.score.W_2.place
    assert sum(source is weight for op in ops_of(model.loss(SOURCE, TARGET, LENGTHS)) for source in op.sources) == 1


@pytest.mark.parametrize(
    ("score", "order", "cell"), [("mlp", "bahdanau", "gru"), ("bilinear", "bahdanau", "rnn"), ("dot", "luong", "lstm")]
)
def test_gradients(score: str, order: str, cell: str) -> None:
    """By every parameter, to the second order."""
    config = AttentionDecoderConfig(4, 4, embedding_size=2, hidden_size=2, score=score, order=order, cell=cell)
    model = AttentionDecoder(config).to("float64")
    where = dict(model.named_parameters())
    values = [p.data.copy() for p in where.values()]

    def loss(*arrays: ts.Tensor) -> ts.Tensor:
        for p, array in zip(where.values(), arrays, strict=True):
            p.data, p.place = array.data, array.place
        return model.loss(np.array([[3, 2, 1], [1, 2, 0]]), np.array([[1, 3, 3, 2], [1, 3, 2, 0]]), [3, 2])

    check_grads(loss, values, order=2)


# -- writing


@pytest.mark.parametrize(("score", "order", "cell"), every_kind)
def test_teacher_forcing_and_stepping_give_the_same(score: str, order: str, cell: str) -> None:
    model = small(score, order, cell)
    forced = model(SOURCE, TARGET, LENGTHS).numpy()
    state = model.encode(SOURCE, LENGTHS)
    for t in range(TARGET.shape[1]):
        logits, state = model.step(TARGET[:, t : t + 1], state)
        np.testing.assert_allclose(logits.numpy(), forced[:, t], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("score", "order", "cell"), [("mlp", "bahdanau", "gru"), ("dot", "luong", "lstm")])
def test_a_batch_of_sources_writes_what_each_writes(score: str, order: str, cell: str) -> None:
    model = small(score, order, cell)
    sources = [list(row[:n]) for row, n in zip(SOURCE, LENGTHS, strict=True)]
    for options in ({"temperature": 0}, {"beams": 3, "length_penalty": 1.0}, {}):
        ts.seed(5)
        batch = model.generate(sources, 6, **options)
        ts.seed(5)
        assert batch == [model.generate(source, 6, **options) for source in sources]
        assert len({tuple(row) for row in batch}) > 1


def test_on_the_device(device: Any) -> None:
    model = small("mlp", "bahdanau", "lstm")
    expected = model.generate([[4, 5, 6], [7]], 6, beams=3)
    model.to("cuda")
    with device.reading():
        assert model.generate([[4, 5, 6], [7]], 6, beams=3) == expected


def test_bad_configurations() -> None:
    for options, message in (
        ({"hidden_size": 5}, "hidden_size is even"),
        ({"order": "both"}, "bahdanau or luong, got 'both'"),
        ({"score": "cosine"}, "one of dot, scaled_dot, bilinear, mlp, got 'cosine'"),
        ({"cell": "tree"}, "one of rnn, gru, lstm, got 'tree'"),
    ):
        with pytest.raises(ValueError, match=message):
            AttentionDecoder(AttentionDecoderConfig(8, 7, **options))


# -- what it learns

VOCABULARY = Vocabulary.from_sequences("abcdefgh")
V = len(VOCABULARY)
PAIRS = list(dict(copy(2000, seed=0, min_length=5, max_length=7)).items())


def learn(model: Any) -> float:
    """The share of 100 strings of 5 to 7 letters, not seen in training, that are copied without a mistake."""
    source, lengths = pad_batch([VOCABULARY.encode(text) for text, _ in PAIRS[100:]])
    target, _ = pad_batch([VOCABULARY.encode(text, bos=True, eos=True) for _, text in PAIRS[100:]])
    train(model, lambda rows: model.loss(source[rows], target[rows], lengths[rows]), len(source), 200)
    written = model.generate([VOCABULARY.encode(text) for text, _ in PAIRS[:100]], 12, temperature=0)
    said = ["".join(VOCABULARY.decode(row)) for row in written]
    return float(np.mean([text == right for text, (_, right) in zip(said, PAIRS[:100], strict=True)]))


@pytest.mark.parametrize(("score", "order"), [("mlp", "bahdanau"), ("dot", "luong")])
def test_it_copies_what_one_vector_cannot_hold(score: str, order: str) -> None:
    """After the same 200 steps the encoder–decoder without attention, of the same sizes, copies few of them."""
    ts.seed(1)
    model = AttentionDecoder(AttentionDecoderConfig(V, V, 16, 32, score=score, order=order))
    right = learn(model)
    print(f"{score}, {order}: {right:.2f} right")
    assert right > 0.7
    source, lengths = pad_batch([VOCABULARY.encode(text) for text, _ in PAIRS[:100]])
    target_in, _ = pad_batch([VOCABULARY.encode(text, bos=True) for text, _ in PAIRS[:100]])
    with ts.record() as r:
        model(source, target_in, lengths)
    places = r["attention"].alpha.numpy().argmax(-1)
    looks = np.mean([places[b, i] == i for b, n in enumerate(lengths) for i in range(n)])
    print(f"it looks at the letter that it writes in {looks:.2f} of all places")
    assert looks > 0.5  # by chance, one in six


def test_without_attention_it_does_not() -> None:
    ts.seed(1)
    right = learn(EncoderDecoder(EncoderDecoderConfig(V, V, 16, 32)))
    print(f"without attention: {right:.2f} right")
    assert right < 0.3
