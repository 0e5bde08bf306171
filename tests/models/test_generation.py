"""Generation against the same thing by hand: every sequence enumerated, every distribution written out."""

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.core import random
from tinygrad_seq.models import GPT, FeedForwardLM, FeedForwardLMConfig, GPTConfig
from tinygrad_seq.models.generation import Autoregressive, generate, refuse
from tinygrad_seq.models.language_model import LanguageModel, LanguageModelConfig

V = 4


class Fixed(Autoregressive):
    """The same distribution after every symbol."""

    def __init__(self, p: list[float]) -> None:
        self.logits = np.log(np.array(p))

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        return ts.tensor(np.tile(self.logits, (len(tokens), 1))), state

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return state


class Table(Autoregressive):
    """The distribution of what follows each sequence, drawn at random once; its state is all that it has read."""

    def __init__(self, seed: int, vocab_size: int = V) -> None:
        self.seed, self.vocab_size, self.known = seed, vocab_size, {}

    def logits(self, sequence: tuple[int, ...]) -> np.ndarray:
        if sequence not in self.known:
            rng = np.random.default_rng([self.seed, *sequence])
            self.known[sequence] = rng.standard_normal(self.vocab_size)
        return self.known[sequence]

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        read = [() for _ in tokens] if state is None else state
        read = [(*before, *map(int, row)) for before, row in zip(read, tokens, strict=True)]
        return ts.tensor(np.stack([self.logits(row) for row in read])), read

    def select(self, state: Any, rows: np.ndarray) -> Any:
        return [state[row] for row in rows]

    def log_prob(self, prompt: tuple[int, ...], sequence: tuple[int, ...]) -> float:
        total = 0.0
        for t, v in enumerate(sequence):
            z = self.logits((*prompt, *sequence[:t]))
            total += z[v] - np.log(np.exp(z).sum())
        return total


def language_model(**sizes: Any) -> LanguageModel:
    ts.seed(1)
    model = LanguageModel(LanguageModelConfig(vocab_size=7, hidden_size=8, **sizes)).to("float64")
    for p in model.parameters():
        p.data[...] *= 4  # so that an untrained model has something to say
    return model


# -- one symbol after another


def test_greedy_is_the_argmax_of_the_whole_sequence_read_again() -> None:
    model = language_model(num_layers=2)
    sequence = [3, 1]
    for _ in range(8):
        logits, _ = model(ts.tensor([sequence]))
        sequence.append(int(logits.numpy()[0, -1].argmax()))
    assert model.generate([3, 1], 8, temperature=0) == sequence[2:]


def test_a_temperature_close_to_zero_is_greedy_and_a_high_one_is_not() -> None:
    model = language_model()
    ts.seed(0)
    greedy = model.generate([2], 20, temperature=0)
    assert model.generate([2], 20, temperature=1e-3) == greedy
    assert model.generate([2], 20, temperature=1e-320) == greedy  # every other logit overflows
    assert model.generate([2], 20, temperature=5.0) != greedy


def frequencies(model: Fixed, **options: Any) -> np.ndarray:
    """Of 20,000 draws."""
    ts.seed(7)
    drawn = generate(model, [[0]] * 400, 50, **options).tokens
    return np.bincount(np.concatenate(drawn), minlength=len(model.logits)) / 20_000


P = np.array([0.05, 0.4, 0.1, 0.3, 0.15])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, P),
        ({"temperature": 0.5}, P**2),
        ({"temperature": 2.0}, P**0.5),
        ({"top_k": 1}, P * [0, 1, 0, 0, 0]),
        ({"top_k": 3}, P * [0, 1, 0, 1, 1]),
        ({"top_k": 9}, P),
        ({"top_p": 0.39}, P * [0, 1, 0, 0, 0]),
        ({"top_p": 0.41}, P * [0, 1, 0, 1, 0]),
        ({"top_p": 0.84}, P * [0, 1, 0, 1, 1]),
        ({"top_p": 0.86}, P * [0, 1, 1, 1, 1]),
        ({"top_p": 1.0}, P),
        ({"top_p": 1e-9}, P * [0, 1, 0, 0, 0]),
        # Of the three that top_k leaves, scaled to 8/17, 6/17, 3/17, two make 14/17 = 0.82.
        ({"top_k": 3, "top_p": 0.8}, P * [0, 1, 0, 1, 0]),
        # p² is scaled to 0.56, 0.32 …: two make 0.88, of p they make 0.7.
        ({"temperature": 0.5, "top_p": 0.8}, P**2 * [0, 1, 0, 1, 0]),
    ],
    ids=str,
)
def test_draws_follow_the_distribution_and_never_leave_its_set(options: dict[str, Any], expected: np.ndarray) -> None:
    """The standard deviation of a frequency is at most 0.0035, and five of them are allowed."""
    found = frequencies(Fixed(list(P)), **options)
    expected = expected / expected.sum()
    assert (found[expected == 0] == 0).all()
    np.testing.assert_allclose(found, expected, atol=0.0175)


def test_equal_probabilities_leave_exactly_k() -> None:
    found = frequencies(Fixed([0.25] * 4), top_k=2)
    assert (found > 0).sum() == 2


def test_log_probs_are_the_model_s_own_whatever_was_left_out() -> None:
    model = Table(3)
    ts.seed(0)
    for options in ({}, {"temperature": 0.3, "top_k": 2}, {"temperature": 0}, {"beams": 3}):
        tokens, log_probs, finished = generate(model, [[1], [0, 2]], 5, **options)
        for prompt, row, found in zip([(1,), (0, 2)], tokens, log_probs, strict=True):
            expected = [model.log_prob((*prompt, *row[:t]), (v,)) for t, v in enumerate(row)]
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert finished == [False, False]


# -- stop symbols, batches, seeds


def test_a_stop_symbol_ends_its_row_alone() -> None:
    model = Table(5)
    prompts = [[a, b] for a in range(V) for b in range(V)]
    ts.seed(2)
    free = generate(model, prompts, 6)
    ts.seed(2)
    stopped = generate(model, prompts, 6, stop=[3, 1])
    assert len({len(row) for row in stopped.tokens}) > 2
    for row, cut, log_probs, done in zip(free.tokens, *stopped, strict=True):
        first = next((t for t, v in enumerate(row) if v in (3, 1)), None)
        assert cut == (row if first is None else row[: first + 1])
        assert len(log_probs) == len(cut) and done == (first is not None)


def test_it_reads_no_further_than_it_must() -> None:
    class Counting(Table):
        steps = 0

        def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
            self.steps += 1
            return super().step(tokens, state)

    model = Counting(0)
    generate(model, [[1, 2, 3]], 4)
    assert model.steps == 4  # the prompt at once; the last symbol is not read
    generate(model, [[1]], 0)
    assert model.steps == 4
    generate(Fixed([1e-9, 1.0]), [[0]], 10**9, stop=1)  # ends


WRITERS = {
    "LSTM": lambda: LanguageModel(LanguageModelConfig(7, 8, num_layers=2)),
    "GRU": lambda: LanguageModel(LanguageModelConfig(7, 8, cell="gru")),
    "fixed window": lambda: FeedForwardLM(FeedForwardLMConfig(7, window=3, embedding_size=4, hidden_size=6)),
    "GPT": lambda: GPT(GPTConfig(vocab_size=7, block_size=12, n_layer=2, n_head=2, n_embd=8)),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0}, {"top_k": 3, "stop": 6}, {"beams": 3}, {"beams": 2, "stop": 2, "length_penalty": 1.5}],
    ids=str,
)
def test_a_batch_gives_what_its_prompts_give_one_after_another(options: dict[str, Any], name: str) -> None:
    ts.seed(1)
    model = WRITERS[name]().to("float64")
    for p in model.parameters():
        p.data[...] *= 4
    prompts = [[3], [1, 4, 4, 0], [6, 6], [5, 0, 1], [2]]
    ts.seed(4)
    batch = model.generate(prompts, 7, **options)
    ts.seed(4)
    assert batch == [model.generate(prompt, 7, **options) for prompt in prompts]
    assert len({tuple(row) for row in batch}) > 1


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    model = language_model()
    drawn = []
    for seed in (3, 3, 4):
        ts.seed(seed)
        drawn.append(model.generate([1], 30))
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_draws_nothing_takes_no_random_numbers() -> None:
    """A sample on the way changes nothing in a training that goes on after it."""
    model = language_model()
    before = random.get_state()
    model.generate([[1], [2]], 3, temperature=0)
    model.generate([[1], [2]], 3, beams=2)
    assert random.get_state() == before
    model.generate([[1], [2]], 3)
    assert random.get_state() != before


def test_prompts_of_every_kind() -> None:
    model = language_model()
    expected = model.generate([1, 2], 3, temperature=0)
    for prompt in ((1, 2), np.array([1, 2], np.int32), ts.tensor([1, 2])):
        assert model.generate(prompt, 3, temperature=0) == expected
    for prompt in ([[1, 2]], np.array([[1, 2]]), ts.tensor([[1, 2]]), [np.array([1, 2])]):
        assert model.generate(prompt, 3, temperature=0) == [expected]
    assert model.generate([1], 0) == [] and model.generate([[1], [2]], 0) == [[], []]


def test_evaluation_mode_is_for_the_length_of_it_and_no_graph_is_left() -> None:
    model = language_model(dropout=0.5)
    model.dropout.eval()  # a part in a mode of its own
    seen = []

    class Watching(Fixed):
        def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
            logits, _ = model(tokens)
            seen.append((model.training, self.training, model.lstm.training, logits.requires_grad))
            raise RuntimeError("stop here")

    watching = Watching([0.5, 0.5])
    watching.model = model
    with pytest.raises(RuntimeError, match="stop here"):
        watching.generate([0], 3)
    assert seen == [(False, False, False, False)]
    assert watching.training and model.training and model.lstm.training and not model.dropout.training
    assert model(ts.tensor([[1]]))[0].requires_grad


# -- beam search


def every_sequence(model: Table, prompt: tuple[int, ...], n: int, alpha: float, stop: int | None) -> tuple[int, ...]:
    """The best of all sequences of n symbols, or fewer that end with the stop symbol."""
    best, best_score = (), -np.inf
    for length in range(1, n + 1):
        for sequence in itertools.product(range(model.vocab_size), repeat=length):
            ends = sequence[-1] == stop or length == n
            if ends and stop not in sequence[:-1]:
                score = model.log_prob(prompt, sequence) / length**alpha
                if score > best_score:
                    best, best_score = sequence, score
    return best


@pytest.mark.parametrize("stop", [None, 0])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_beam_search_that_cuts_nothing_off_finds_the_best_of_all(alpha: float, stop: int | None) -> None:
    lengths = set()
    for seed in range(6):
        model = Table(seed)
        (found,) = generate(model, [[1, 2]], 4, beams=V**3, length_penalty=alpha, stop=stop).tokens
        assert tuple(found) == every_sequence(model, (1, 2), 4, alpha, stop)
        lengths.add(len(found))
    assert stop is None or alpha > 0.6 or len(lengths) > 1


def test_two_beams_find_what_greedy_misses() -> None:
    """Of two symbols: the greedy first one is among any beams, so that beam search is never worse, and often better."""
    better = 0
    for seed in range(40):
        model = Table(seed)
        (greedy,) = generate(model, [[0]], 2, temperature=0).log_probs
        (beam,) = generate(model, [[0]], 2, beams=2).log_probs
        assert sum(beam) >= sum(greedy) - 1e-12
        better += sum(beam) > sum(greedy) + 1e-9
    assert better >= 5


def test_more_beams_come_closer_to_the_best() -> None:
    def score(seed: int, **options: Any) -> float:
        return sum(generate(Table(seed, 6), [[0]], 5, **options).log_probs[0])

    scores = np.array(
        [[score(seed, temperature=0), score(seed, beams=2), score(seed, beams=6**4)] for seed in range(10)]
    )
    greedy, two, all_of_them = scores.T
    assert (all_of_them >= np.maximum(greedy, two) - 1e-12).all()
    assert greedy.mean() + 0.2 < two.mean() < all_of_them.mean() - 0.05


def test_the_length_penalty_chooses_as_its_formula_says() -> None:
    """To stop at once has log 0.4, to go on three times 3 log 0.6, which is less; divided by 3^α it becomes more."""
    model = Fixed([0.4, 0.6])
    short, long = np.log(0.4), 3 * np.log(0.6)
    changes_at = np.log(long / short) / np.log(3)  # where they are equal: log 0.4 = 3 log 0.6 / 3^α
    assert short > long and changes_at > 0
    assert generate(model, [[1]], 3, beams=2, stop=0, length_penalty=changes_at - 0.01).tokens == [[0]]
    assert generate(model, [[1]], 3, beams=2, stop=0, length_penalty=changes_at + 0.01).tokens == [[1, 1, 1]]


def test_finished_is_told_from_cut_off() -> None:
    assert generate(Fixed([0.4, 0.6]), [[1]], 3, beams=2, stop=0).finished == [True]
    assert generate(Fixed([0.3, 0.7]), [[1]], 3, beams=2, stop=0).finished == [False]


# -- what is refused


class ReadsBothWays(LanguageModel):
    """Each state knows the whole text, that after it too."""

    def __init__(self) -> None:
        super().__init__(LanguageModelConfig(vocab_size=7, hidden_size=8))
        self.lstm = ts.nn.LSTM(8, 4, bidirectional=True)


def test_a_bidirectional_model_is_refused_with_the_reason() -> None:
    reason = "ReadsBothWays cannot write: it reads in both directions.*which do not exist yet while"
    assert ReadsBothWays()(ts.tensor([[1, 2]]))[0].shape == (1, 2, 7)
    with pytest.raises(TypeError, match=reason):
        ReadsBothWays().generate([1, 2], 3)
    with pytest.raises(TypeError, match=reason):
        refuse(ReadsBothWays())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is at least 0 and finite, got -0.1"),
        ({"temperature": float("nan")}, "temperature is at least 0 and finite, got nan"),
        ({"temperature": float("inf")}, "temperature is at least 0 and finite, got inf"),
        ({"top_k": 0}, "top_k is at least 1, got 0"),
        ({"top_p": 0.0}, "0 < top_p <= 1, got 0.0"),
        ({"top_p": 1.1}, "0 < top_p <= 1, got 1.1"),
        ({"beams": 0}, "beams is at least 1, got 0"),
        ({"beams": 2, "length_penalty": -1.0}, "penalty is at least 0 and finite, got -1.0"),
        ({"beams": 2, "length_penalty": float("inf")}, "penalty is at least 0 and finite, got inf"),
        ({"length_penalty": 1.0}, "belongs to beam search: give beams=2"),
        ({"beams": 2, "top_k": 3}, "beam search draws nothing"),
        ({"beams": 2, "top_p": 0.5}, "beam search draws nothing"),
        ({"beams": 2, "temperature": 0.5}, "beam search draws nothing"),
        ({"stop": 2}, r"the model has 2 symbols: expected stop symbols from 0 to 1, got \[2\]"),
        ({"stop": [0, -1], "beams": 2}, r"expected stop symbols from 0 to 1, got \[0, -1\]"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(Fixed([0.5, 0.5]), [[0]], 1, **options)


@pytest.mark.parametrize(("n", "options"), [(2.5, {}), (2, {"top_k": 1.5}), (2, {"beams": 2.0}), (2, {"stop": 0.5})])
def test_numbers_that_are_no_integers(n: Any, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="integer"):  # with n = 2.5 it would never end
        generate(Fixed([0.5, 0.5]), [[0]], n, **options)


def test_bad_prompts() -> None:
    model = language_model()
    for prompt in ([], [[]], [[1], []]):
        with pytest.raises(ValueError, match="a prompt needs at least one symbol"):
            model.generate(prompt, 1)
    for prompt in ([0.5], [[[1]]], "ab", 3, iter([1])):
        with pytest.raises(TypeError, match="a prompt is a sequence of integers"):
            model.generate(prompt, 1)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        model.generate([1], -1)
    with pytest.raises(IndexError, match="7 rows"):
        model.generate([7], 1)


def test_scores_that_are_no_numbers() -> None:
    model = language_model()
    model.output.bias.data[2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        model.generate([1], 1)


def test_a_model_without_the_parts() -> None:
    with pytest.raises(NotImplementedError, match="Autoregressive has no step method"):
        Autoregressive().generate([1], 1)


def test_on_the_device(device: Any) -> None:
    model = language_model(num_layers=2)
    expected = {}
    for options in ({"temperature": 0}, {"top_k": 3}, {"beams": 3, "stop": 2}):
        ts.seed(3)
        expected[str(options)] = model.generate([[1, 2], [3]], 6, **options)
    model.to("cuda")
    with device.reading():  # which symbol came is known on the host
        for options in ({"temperature": 0}, {"top_k": 3}, {"beams": 3, "stop": 2}):
            ts.seed(3)
            assert model.generate([[1, 2], [3]], 6, **options) == expected[str(options)]
