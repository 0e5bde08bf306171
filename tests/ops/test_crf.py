"""The conditional random field: every path counted by hand, extreme scores, ties, padding, and what is refused."""

import itertools

import numpy as np
import pytest

import tinygrad_seq as ts
from cases import each_path
from conftest import Place
from tinygrad_seq import ops

RNG = np.random.default_rng(0)


def scores(B: int, T: int, K: int, *, dtype: str = "float64") -> list[np.ndarray]:
    return [RNG.standard_normal(shape).astype(dtype) for shape in ((B, T, K), (K, K), (K,), (K,))]


def test_the_probabilities_of_all_sequences_sum_to_one() -> None:
    e, *rest = scores(1, 4, 3)
    every = np.array(list(itertools.product(range(3), repeat=4)))
    log_p = ops.crf_log_likelihood(np.repeat(e, len(every), 0), *rest, every)
    assert np.exp(log_p).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_what_is_seen_less_the_marginals(dtype: str, backend: Place) -> None:
    """Against sums over all paths: P(y_t = k) and P(y_{t-1} = j, y_t = k)."""
    B, T, K, lengths = 3, 4, 3, [4, 2, 1]
    arrays = scores(B, T, K, dtype=dtype)
    tags = RNG.integers(0, K, (B, T))
    g = RNG.standard_normal(B).astype(dtype)
    expected = [np.zeros(a.shape) for a in arrays]
    for i, found in enumerate(each_path(*arrays, lengths)):
        p = np.exp(np.array(list(found.values()), np.float64))
        weights = dict(zip(found, -g[i] * p / p.sum(), strict=True))
        seen = tuple(tags[i, : lengths[i]].tolist())
        weights[seen] += g[i]
        for y, w in weights.items():
            for t, k in enumerate(y):
                expected[0][i, t, k] += w
            for pair in itertools.pairwise(y):
                expected[1][pair] += w
            expected[2][y[0]] += w
            expected[3][y[-1]] += w
    for create_graph in (False, True):
        xs = [backend.tensor(a, requires_grad=True) for a in arrays]
        out = ops.crf_log_likelihood(*xs, tags, lengths)
        for found, e in zip(ts.grad(out, xs, backend.tensor(g), create_graph=create_graph), expected, strict=True):
            assert found.dtype == dtype
            np.testing.assert_allclose(backend.host(found.detach()), e, atol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("scale", [2.0**10, 2.0**100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_scores_do_not_overflow(scale: float, dtype: str) -> None:
    """One path outweighs all others: its log-probability is 0, that of another the difference of their scores."""
    # Whole numbers of a power of two: their sums are exact, so that only an overflow can make a difference.
    e, A, a, b = (scale * np.rint(100 * x).astype(dtype) for x in scores(1, 5, 3))
    xs = [ts.tensor(x, requires_grad=True) for x in (e, A, a, b)]
    with np.errstate(all="raise", under="ignore"):
        tags, score = ops.viterbi(*xs)
        assert ops.crf_log_likelihood(*xs, tags).item() == 0
        other = (tags.numpy() + 1) % 3
        log_p = ops.crf_log_likelihood(*xs, other)
        gradients = ts.grad(log_p, xs)
    (paths,) = each_path(*(x.astype(np.float64) for x in (e, A, a, b)))
    best = max(paths.values())
    assert score.item() == best
    assert log_p.item() == paths[tuple(other[0].tolist())] - best
    with ts.definitions():
        expected = ts.grad(ops.crf_log_likelihood(*xs, other), xs)
    for g, by_definition in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(g.numpy(), by_definition.numpy())
        assert np.isfinite(g.numpy()).all() and g.numpy().any()


def test_a_transition_forbidden_by_a_large_negative_score() -> None:
    """From O to I: no best path has it, and what is left is as if the path did not exist."""
    e, A, a, b = scores(2, 5, 3, dtype="float32")
    A[0, 1] = a[1] = -1e4
    tags, _ = ops.viterbi(e, A, a, b)
    assert not any(y[0] == 1 or (0, 1) in list(itertools.pairwise(y)) for y in tags.tolist())
    for n, paths in enumerate(each_path(*(x.astype(np.float64) for x in (e, A, a, b)))):
        allowed = [s for y, s in paths.items() if y[0] != 1 and (0, 1) not in itertools.pairwise(y)]
        log_Z = np.logaddexp.reduce(allowed)
        y = np.zeros((2, 5), int)
        log_p = ops.crf_log_likelihood(e, A, a, b, y)[n]
        assert log_p == pytest.approx(paths[(0,) * 5] - log_Z, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tag_ruled_out_everywhere(dtype: str) -> None:
    """By -inf, to which no way leads: values and gradients are those of a score that is very low."""
    e, A, a, b = scores(2, 4, 3, dtype=dtype)

    def found(low: float) -> list[np.ndarray]:
        A[:, 1] = a[1] = low
        x = [ts.tensor(each, requires_grad=True) for each in (e, A, a, b)]
        log_p = ops.crf_log_likelihood(*x, [[0, 2, 0, 0], [2, 2, 0, 1]], [4, 3])
        return [log_p.data, *(g.data for g in ts.grad(log_p.sum(), x))]

    for here, expected in zip(found(-np.inf), found(-1e9), strict=True):
        np.testing.assert_allclose(here, expected, atol=1e-6)


def test_of_equally_good_sequences_the_last_tags_are_lowest() -> None:
    for _ in range(200):
        K, T = RNG.integers(1, 4), RNG.integers(1, 5)
        arrays = [RNG.integers(-1, 2, shape).astype(float) for shape in ((1, T, K), (K, K), (K,), (K,))]
        (paths,) = each_path(*arrays)
        best = max(paths.values())
        expected = min((y for y, score in paths.items() if score == best), key=lambda y: y[::-1])
        tags, score = ops.viterbi(*arrays)
        assert tuple(tags[0].tolist()) == expected and score[0] == best


def test_padding_changes_nothing(backend: Place) -> None:
    """Whatever stands beyond the end, in emissions and in tags: log P, its gradients and the best tags are the same."""
    e, *rest = scores(2, 5, 3)
    tags = RNG.integers(0, 3, (2, 5))
    tags[0, 3:] = -1
    padded = e.copy()
    padded[0, 3:] = [[1e30, -1e30, 7], [-1e30, 0, 1e30]]

    def run(e: np.ndarray, tags: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
        xs = [backend.tensor(x, requires_grad=True) for x in (e, *rest)]
        log_p = ops.crf_log_likelihood(*xs, backend.tensor(tags), lengths)
        found = ops.viterbi(*xs, lengths)
        return [backend.host(x) for x in (log_p.detach(), *found, *ts.grad(log_p.sum(), xs))]

    both = run(padded, tags, [3, 5])
    with ts.definitions():
        for found, by_definition in zip(both, run(padded, tags, [3, 5]), strict=True):
            np.testing.assert_allclose(found, by_definition, atol=1e-12)
    one, other = run(e[:1, :3], tags[:1, :3], [3]), run(e[1:], tags[1:], [5])
    for found, first, second in zip(both[:3], one[:3], other[:3], strict=True):
        wide = np.concatenate([first, np.full((1, 2), -1)], 1) if first.ndim == 2 else first
        np.testing.assert_allclose(found, np.concatenate([wide, second]), rtol=1e-12)
    np.testing.assert_allclose(both[3][0, :3], one[3][0], atol=1e-12)
    assert (both[3][0, 3:] == 0).all()
    np.testing.assert_allclose(both[3][1], other[3][0], atol=1e-12)
    for found, first, second in zip(both[4:], one[4:], other[4:], strict=True):
        np.testing.assert_allclose(found, first + second, atol=1e-12)


def test_the_best_tags_of_padded_sentences_are_those_of_each_alone(backend: Place) -> None:
    lengths = RNG.integers(1, 7, 40)
    e, *rest = scores(40, 7, 3)
    xs = [backend.tensor(x) for x in (e, *rest)]
    tags, score = (backend.host(x) for x in ops.viterbi(*xs, lengths))
    for n, e_b, y, s in zip(lengths, e, tags, score, strict=True):
        (best,), (alone,) = ops.viterbi(e_b[None, :n], *rest)
        assert y.tolist() == [*best.tolist(), *[-1] * (7 - n)] and s == pytest.approx(alone, rel=1e-12)


def test_a_long_sentence_keeps_its_precision() -> None:
    """2,000 tokens in float32 against float64."""
    arrays = scores(1, 2000, 5)
    tags = RNG.integers(0, 5, (1, 2000))
    results = []
    for dtype in ("float64", "float32"):
        xs = [ts.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
        log_p = ops.crf_log_likelihood(*xs, tags)
        results.append([log_p.numpy(), *(g.numpy() for g in ts.grad(log_p, xs))])
    for exact, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=2e-3)


def test_its_symbols_are_recorded() -> None:
    xs = [ts.tensor(x) for x in scores(2, 3, 2)]
    tags = np.array([[0, 1, 1], [1, 0, 0]])
    with ts.record() as r:
        log_p = ops.crf_log_likelihood(*xs, tags)
    symbols = r["crf"]
    np.testing.assert_allclose(symbols.log_p, log_p)
    np.testing.assert_allclose(symbols.score - symbols.log_Z, log_p)


def test_what_does_not_fit_is_said() -> None:
    e, A, a, b = (ts.tensor(x) for x in scores(2, 3, 4))
    tags = np.zeros((2, 3), int)
    for wrong in ((e[0], A, a, b), (e, A[:3], a, b), (e, A, a[:3], b), (e, A, a, b[:3])):
        with pytest.raises(ValueError, match=r"expected emissions e \(B, T, K\), transitions A \(K, K\)"):
            ops.crf_log_likelihood(*wrong, tags)
        with pytest.raises(ValueError, match=r"^viterbi: .*, got e \("):
            ops.viterbi(*wrong)
    with pytest.raises(ValueError, match=r"a tag for each token, \(2, 3\), got \(2, 2\)"):
        ops.crf_log_likelihood(e, A, a, b, tags[:, :2])
    with pytest.raises(IndexError, match="there are 4 tags: expected integers from 0 to 3, got -1"):
        ops.crf_log_likelihood(e, A, a, b, tags - 1)
    with pytest.raises(TypeError, match="expected integers, got float64"):
        ops.crf_log_likelihood(e, A, a, b, tags / 2)
    with pytest.raises(IndexError, match="lengths, with 3 time steps"):
        ops.viterbi(e, A, a, b, [4, 1])
    with pytest.raises(ValueError, match=r"at least one token, got emissions of shape \(2, 0, 4\)"):
        ops.viterbi(e[:, :0], A, a, b)
