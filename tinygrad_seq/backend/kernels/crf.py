"""The conditional random field: forward over the sentence for log Z, backward over it for the marginals of all tags.

α_t is held less its largest entry, and the sum of what was taken away apart: after thousands of tokens it would be so
large that its last digits, from which the marginals come, were lost. With γ_t(k) = P(y_t = k | x), from the last step
to the first:

    γ_T(k) = exp(α_T(k) + b_k - log Z)
    P(y_{t-1} = j | y_t = k, x) = exp(α_{t-1}(j) + A_jk) / Σ_i exp(α_{t-1}(i) + A_ik)
    γ_{t-1}(j) = Σ_k P(y_{t-1} = j | y_t = k, x) γ_t(k)

The gradient of log P(y) is what is seen less what is expected: of e_t(k) it is 1[y_t = k] - γ_t(k).
"""

from typing import Any

import numpy as np

from ..base import Kernel


def _finite(xp: Any, largest: Any) -> Any:
    """What may be taken from scores none of which is higher: 0 where all are -inf, so that they stay it."""
    return xp.where(largest == -np.inf, 0, largest)


def _forward(be: Any, e: Any, A: Any, a: Any, b: Any, tags: Any, lengths: Any) -> tuple[Any, Any]:
    xp, (B, T, K) = be.xp, e.shape
    rows, inside = xp.arange(B), xp.arange(T) < lengths[:, None]
    alpha, into = (be.empty((n, B, K), e.dtype) for n in (T, T - 1))  # into: what α_t has before e_t is added
    alpha[0] = a + e[:, 0]
    taken = xp.zeros((B, 1), e.dtype)
    for t in range(1, T):
        z = alpha[t - 1][:, :, None] + A
        largest = _finite(xp, z.max(1))
        z -= largest[:, None]
        xp.exp(z, out=z)
        with np.errstate(divide="ignore"):  # log 0: no way leads to a tag that is ruled out by -inf
            xp.add(xp.log(z.sum(1)), largest, out=into[t - 1])
        new = into[t - 1] + e[:, t]
        largest = new.max(1, keepdims=True)
        new -= largest
        runs = inside[:, t, None]
        alpha[t] = xp.where(runs, new, alpha[t - 1])
        taken += xp.where(runs, largest, 0)
    final = alpha[-1] + b
    largest = final.max(1, keepdims=True)
    log_Z = largest + xp.log(xp.exp(final - largest).sum(1, keepdims=True))
    emitted = xp.where(inside, xp.take_along_axis(e, tags[..., None], 2)[..., 0], 0).sum(1)
    moved = xp.where(inside[:, 1:], A[tags[:, :-1], tags[:, 1:]], 0).sum(1)
    score = a[tags[:, 0]] + emitted + moved + b[tags[rows, lengths - 1]]
    return score - (taken + log_Z)[:, 0], (alpha, into, final - log_Z, inside)


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, tags: Any, lengths: Any) -> Any:
    xp, (e, A, *_), (alpha, into, log_last, inside) = be.xp, inputs, tape
    B, T, K = e.shape
    rows, seen = xp.arange(B), g[:, None] * inside  # of each token
    gamma = -g[:, None] * xp.exp(log_last)
    db = gamma.sum(0)
    de, dA = be.empty((T, B, K), e.dtype), xp.zeros_like(A)
    for t in range(T - 1, 0, -1):
        runs = inside[:, t]
        de[t] = xp.where(runs[:, None], gamma, 0)
        z = alpha[t - 1][:, :, None] + A
        z -= _finite(xp, into[t - 1])[:, None]
        pair = xp.exp(z, out=z)
        pair *= (gamma * runs[:, None])[:, None]
        dA += pair.sum(0)
        gamma = xp.where(runs[:, None], pair.sum(2), gamma)
    de[0] = gamma
    da = gamma.sum(0)
    de = de.swapaxes(0, 1)
    de[rows[:, None], xp.arange(T), tags] += seen
    dA += be.scatter_add((K, K), (tags[:, :-1], tags[:, 1:]), seen[:, 1:])
    da += be.scatter_add((K,), (tags[:, 0],), g)
    db += be.scatter_add((K,), (tags[rows, lengths - 1],), g)
    return de, dA, da, db


crf_log_likelihood = Kernel(_forward, _backward)
