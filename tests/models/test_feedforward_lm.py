"""The feed-forward language model: its equation, its window, and what lies beyond it."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.models import FeedForwardLM, FeedForwardLMConfig
from train_small import train

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 7, (2, 6))


def small(window: int) -> FeedForwardLM:
    ts.seed(0)
    return FeedForwardLM(FeedForwardLMConfig(7, window, embedding_size=8, hidden_size=32)).to("float64")


@pytest.mark.parametrize("window", [1, 2, 4])
def test_logits_are_those_of_the_equation(window):
    model = small(window)
    E, W_xh, b_h, W_hy, b_y = (p.numpy() for p in (model.E, model.W_xh, model.b_h, model.W_hy, model.b_y))
    logits = model(TOKENS).numpy()
    for b, row in enumerate(TOKENS):
        for t in range(len(row)):
            before = [E[row[k]] if k >= 0 else np.zeros(8) for k in range(t - window + 1, t + 1)]
            expected = W_hy @ np.tanh(W_xh @ np.concatenate(before) + b_h) + b_y
            np.testing.assert_allclose(logits[b, t], expected, rtol=1e-12)
    np.testing.assert_array_equal(model(TOKENS.tolist()).numpy(), logits)  # lists, as the other models take them


def test_what_lies_beyond_the_window_has_no_influence_at_all():
    model, other = small(3), TOKENS.copy()
    other[:, 2] = (other[:, 2] + 1) % 7
    changed = (model(TOKENS).numpy() != model(other).numpy()).any(-1)
    np.testing.assert_array_equal(changed, [[False, False, True, True, True, False]] * 2)


def fibonacci(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in which each symbol is the sum of the two before it, modulo 7: (n, 12)."""
    rows = rng.integers(0, 7, (n, 12))
    for t in range(2, 12):
        rows[:, t] = (rows[:, t - 1] + rows[:, t - 2]) % 7
    return rows


def accuracy(window: int) -> float:
    model, rows = small(window), fibonacci(64, RNG)
    train(model, lambda k: ts.ops.cross_entropy(model(rows[k, :-1])[:, 1:], rows[k, 2:]), len(rows), steps=200)
    held_out = fibonacci(100, np.random.default_rng(1))
    return (model(held_out[:, :-1]).numpy().argmax(-1)[:, 1:] == held_out[:, 2:]).mean()


def test_a_window_of_two_learns_what_depends_on_two_symbols_and_a_bigram_does_not():
    assert accuracy(window=2) > 0.95
    assert accuracy(window=1) < 0.25  # each symbol is followed by all seven alike: 1/7


def test_it_writes_what_a_pass_over_everything_before_would_say():
    model = small(3)
    for options in ({"temperature": 0}, {"beams": 3}):
        written = model.generate([1, 5], 6, **options)
        assert len(written) == 6
    text = [1, 5]
    for _ in range(6):
        text.append(int(model(np.array([text])).numpy()[0, -1].argmax()))
    assert model.generate([1, 5], 6, temperature=0) == text[2:]


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="window is at least 1 symbol, got 0"):
        FeedForwardLMConfig(7, window=0)
