"""The linear-chain conditional random field: the tags of a sentence judged together, and the best ones of all."""

from typing import Any, NamedTuple

from ..backend import backend_of
from ..core import FusedOp, Tensor, equations, scope, value
from ..core.state import Step
from .elementwise import in_float32, where
from .index import beside, gather, integers
from .reduce import logsumexp, sum
from .scan import checked_lengths


class CRFStep(NamedTuple):
    """The symbol of one step of the recursion over a sentence."""

    alpha_t: Any  # (B, K), log of the sum over all beginnings that have tag k at t


class CRF(NamedTuple):
    """The symbols of a conditional random field. Each: (B,)."""

    score: Any  # s(y), of the given tags
    log_Z: Any  # log of the sum of exp s over all sequences of tags
    log_p: Any  # log P(y | x)


@equations("crf", alpha_t=r"\alpha_t(k) = e_t(k) + \log \sum_j \exp(\alpha_{t-1}(j) + A_{jk})")
def crf_step(e_t: Any, alpha_prev: Any, A: Any) -> CRFStep:
    """One step.  e_t, alpha: (B, K); A: (K, K), from the tag of a row to that of a column."""
    alpha_t = e_t + logsumexp(alpha_prev[:, :, None] + A, 1)
    return CRFStep(alpha_t)


@equations(
    "crf",
    score=r"s(y) = a_{y_1} + \sum_{t=1}^{T} e_t(y_t) + \sum_{t=2}^{T} A_{y_{t-1} y_t} + b_{y_T}",
    log_Z=r"\log Z = \log \sum_k \exp(\alpha_T(k) + b_k)",
    log_p=r"\log P(y) = s(y) - \log Z",
)
def crf(e: Any, A: Any, a: Any, b: Any, tags: Any, lengths: Any) -> CRF:
    """All sentences of a batch.  e: (B, T, K); A: (K, K); a, b: (K,); tags: (B, T); lengths: (B,); α_1 = a + e_1."""
    xp, (B, T, _) = backend_of(value(e)).xp, e.shape
    tags, lengths = (beside(e, integers("crf", index)) for index in (tags, lengths))
    inside = xp.arange(T) < lengths[:, None]
    last = tags[xp.arange(B), lengths - 1]
    alpha = a + e[:, 0]
    for t in range(1, T):
        with scope(Step(t, runs := inside[:, t])):
            alpha = where(runs[:, None], crf_step(e[:, t], alpha, A).alpha_t, alpha)
    emitted = sum(where(inside, gather(e, tags[..., None], 2)[..., 0], 0.0), 1)
    moved = sum(where(inside[:, 1:], A[tags[:, :-1], tags[:, 1:]], 0.0), 1)
    score = a[tags[:, 0]] + emitted + moved + b[last]
    log_Z = logsumexp(alpha + b, 1)
    log_p = score - log_Z
    return CRF(score, log_Z, log_p)


class CRFLogLikelihood(FusedOp):
    """log P(y | x) of the tags of each sentence."""

    kernel = "crf_log_likelihood"

    def definition(self, e: Any, A: Any, a: Any, b: Any, tags: Any, lengths: Any) -> Any:
        return crf(e, A, a, b, tags, lengths).log_p


def crf_log_likelihood(emissions: Any, transitions: Any, start: Any, end: Any, tags: Any, lengths: Any = None) -> Any:
    """log P(y | x) of a linear-chain conditional random field, in nats: a softmax over all Kᵀ sequences of tags.

        s(y) = a_{y_1} + Σ_t e_t(y_t) + Σ_{t>1} A_{y_{t-1} y_t} + b_{y_T}
        α_1(k) = a_k + e_1(k)
        α_t(k) = e_t(k) + log Σ_j exp(α_{t-1}(j) + A_{jk})
        log Z = log Σ_k exp(α_T(k) + b_k)
        log P(y) = s(y) - log Z

    Args:
        emissions: e, (B, T, K): how well each tag fits each token.
        transitions: A, (K, K): how well the tag of a column follows that of a row.
        start, end: a and b, (K,): how well a tag stands first, and last.
        tags: y, (B, T), integers from 0 to K - 1; beyond the end of a sentence, whatever stands there.
        lengths: (B,) integers from 1 to T: where each sentence ends. Nothing beyond it counts.
    Returns:
        (B,).
    Raises:
        ValueError: where the shapes do not fit, with the equation and the shapes put in.
        TypeError: where the tags are not integers. IndexError: where one of them, or a length, is out of range.

    Source: Lafferty, McCallum and Pereira, 2001; on top of an LSTM: Huang, Xu and Yu, 2015.

    >>> import tinygrad_seq as ts
    >>> zeros = [ts.tensor([[0.0, 0.0], [0.0, 0.0]]), ts.tensor([0.0, 0.0]), ts.tensor([0.0, 0.0])]
    >>> log_p = ts.ops.crf_log_likelihood(ts.tensor([[[0.0, 0.0]] * 3]), *zeros, [[0, 1, 1]])
    >>> round(ts.ops.exp(log_p).item(), 4)  # all 2³ sequences are equally likely
    0.125
    """
    lengths = _checked("crf_log_likelihood", emissions, transitions, start, end, lengths)
    be, (B, T, K) = backend_of(value(emissions)), emissions.shape
    tags = beside(emissions, integers("crf_log_likelihood", tags))
    if tags.shape != (B, T):
        raise ValueError(f"crf_log_likelihood: expected a tag for each token, {(B, T)}, got {tags.shape}")
    tags = be.xp.where(be.xp.arange(T) < lengths[:, None], tags, 0)
    be.check_range(tags, K, f"crf_log_likelihood: there are {K} tags")
    return in_float32(CRFLogLikelihood(tags=tags, lengths=lengths), emissions, transitions, start, end)


class Viterbi(NamedTuple):
    """The best sequences of tags."""

    tags: Any  # (B, T), integers, -1 beyond the end
    score: Any  # (B,), s of them


def viterbi(emissions: Any, transitions: Any, start: Any, end: Any, lengths: Any = None) -> Viterbi:
    """The tags with the highest score s of `crf_log_likelihood`, out of all Kᵀ sequences; no gradient.

        δ_1(k) = a_k + e_1(k)
        δ_t(k) = e_t(k) + max_j (δ_{t-1}(j) + A_{jk})
        y_T = argmax_k (δ_T(k) + b_k),   y_{t-1} = argmax_j (δ_{t-1}(j) + A_{j y_t})

    Of several that are equally good, the one whose last tag is lowest; among these, whose last but one is, and so on.

    Args, Raises: as `crf_log_likelihood`.
    Returns:
        The tags (B, T), integers, -1 beyond the end of a sentence, and their scores (B,).

    Source: Viterbi, 1967.

    >>> import tinygrad_seq as ts
    >>> emissions = ts.tensor([[[1.0, 0.0], [0.0, 0.5], [1.0, 0.0]]])
    >>> stay = ts.tensor([[0.0, -2.0], [-2.0, 0.0]])  # the tag of a token is that of the one before, if possible
    >>> zeros = ts.tensor([0.0, 0.0])
    >>> tags, score = ts.ops.viterbi(emissions, stay, zeros, zeros)
    >>> tags.tolist(), score.tolist()
    ([[0, 0, 0]], [2.0])
    """
    lengths = _checked("viterbi", emissions, transitions, start, end, lengths)
    e, A, a, b = (value(x) for x in (emissions, transitions, start, end))
    xp, (B, T, K) = backend_of(e).xp, e.shape
    rows, delta = xp.arange(B), a + e[:, 0]
    before = []  # for each step but the first, from a tag there to the best one before it: (B, K)
    for t in range(1, T):
        runs = (lengths > t)[:, None]
        paths = delta[:, :, None] + A
        best = paths.argmax(1)
        before.append(xp.where(runs, best, xp.arange(K)))  # beyond the end the last tag stays
        delta = xp.where(runs, e[:, t] + xp.take_along_axis(paths, best[:, None], 1)[:, 0], delta)
    delta = delta + b
    tag = delta.argmax(1)
    score = delta[rows, tag]
    tags = [tag]
    for best in reversed(before):
        tags.append(best[rows, tags[-1]])
    found = xp.where(xp.arange(T) < lengths[:, None], xp.stack(tags[::-1], 1), -1)
    return Viterbi(Tensor(found), Tensor(score)) if isinstance(emissions, Tensor) else Viterbi(found, score)


def _checked(what: str, e: Any, A: Any, a: Any, b: Any, lengths: Any) -> Any:
    """Lengths as an array beside e, T for each sentence if not given, after a look at the shapes."""
    K = e.shape[-1] if e.ndim else 0
    if e.ndim != 3 or not K or A.shape != (K, K) or a.shape != (K,) or b.shape != (K,):
        raise ValueError(
            f"{what}: s(y) = a_{{y_1}} + Σ_t e_t(y_t) + Σ_{{t>1}} A_{{y_{{t-1}} y_t}} + b_{{y_T}}: expected "
            f"emissions e (B, T, K), transitions A (K, K), start a and end b (K,), K at least 1, "
            f"got e {e.shape}, A {A.shape}, a {a.shape}, b {b.shape}"
        )
    if e.shape[1] == 0:
        raise ValueError(f"{what}: expected at least one token, got emissions of shape {e.shape}, (B, T, K)")
    if lengths is None:
        return backend_of(value(e)).xp.full(e.shape[0], e.shape[1])
    return checked_lengths(lengths, e)
