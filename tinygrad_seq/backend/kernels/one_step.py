"""What a model computes for one more symbol, as writing takes it, and nothing is kept: recurrences, linear, attention.

Weights are multiplied as they lie in memory: the kernels over whole sequences put them into another order first, which
takes longer than one step. Inside, features stand first, (F, B): each gate is one block, and the product of W
(1024, 256) took half as long for B = 16.
"""

from typing import Any

from .feed_forward import ACTIVATIONS
from .linear import rows
from .sequence import sigmoid

FEW = 16  # rows: with 32, x Wᵀ took no longer than W xᵀ and a transpose


def _affine(be: Any, W: Any, x: Any, b: Any) -> Any:
    """W xᵀ + b, for x (B, D): (M, B)."""
    a = be.times(W, x)
    a += b[:, None]
    return a


def _batch(h: Any) -> tuple[Any, Any]:
    """(H, B) as y, (B, 1, H), and as h, (B, H)."""
    h = h.T.copy()
    return h[:, None].copy(), h


def lstm(be: Any, x: Any, h: Any, c: Any, W: Any, U: Any, b: Any, reverse: bool, lengths: Any) -> Any:
    """y, h and c of an LSTM, where x has one step."""
    if x.shape[1] != 1:
        return None
    xp, H = be.xp, h.shape[-1]
    a = _affine(be, W, x[:, 0], b)
    a += be.times(U, h)
    i, f, g, o = (a[k * H : (k + 1) * H] for k in range(4))
    sigmoid(xp, a[: 2 * H])
    xp.tanh(g, out=g)
    sigmoid(xp, o)
    f *= c.T
    i *= g
    f += i  # c_t
    o *= xp.tanh(f)
    return *_batch(o), f.T.copy()


def gru(be: Any, x: Any, h: Any, W: Any, U: Any, b_ih: Any, b_hh: Any, reverse: bool, lengths: Any) -> Any:
    """y and h of a GRU, where x has one step."""
    if x.shape[1] != 1:
        return None
    xp, H = be.xp, h.shape[-1]
    a, u = _affine(be, W, x[:, 0], b_ih), _affine(be, U, h, b_hh)
    r, z, n = (a[k * H : (k + 1) * H] for k in range(3))
    a[: 2 * H] += u[: 2 * H]
    sigmoid(xp, a[: 2 * H])
    r *= u[2 * H :]
    n += r
    xp.tanh(n, out=n)
    z *= h.T - n
    n += z  # n + z (h - n)
    return _batch(n)


def rnn(be: Any, x: Any, h: Any, W: Any, U: Any, b: Any, nonlinearity: str, reverse: bool, lengths: Any) -> Any:
    """y and h of a simple RNN, where x has one step."""
    if x.shape[1] != 1:
        return None
    xp, a = be.xp, _affine(be, W, x[:, 0], b)
    a += be.times(U, h)
    if nonlinearity == "tanh":
        xp.tanh(a, out=a)
    elif nonlinearity == "relu":
        xp.maximum(a, 0, out=a)
    else:
        sigmoid(xp, a)
    return _batch(a)


def linear(be: Any, x: Any, W: Any, b: Any) -> Any:
    """x Wᵀ + b for a few rows."""
    if x.size > FEW * W.shape[1]:
        return None
    return _linear(W, rows(x).T, b).T.copy().reshape(*x.shape[:-1], len(W))


def _linear(W: Any, x: Any, b: Any) -> Any:
    """W x + b, for columns x; b may be None."""
    y = W @ x
    if b is not None:
        y += b[:, None]
    return y


def feed_forward(
    be: Any, x: Any, W_1: Any, b_1: Any, W_2: Any, b_2: Any, activation: str, dropout: float, key: int
) -> Any:
    """f(x W_1ᵀ + b_1) W_2ᵀ + b_2 for a few rows."""
    if x.size > FEW * W_1.shape[1] or dropout:
        return None
    h = _linear(W_1, rows(x).T, b_1)
    ACTIVATIONS[activation].form(be, h.copy(), be.empty(h.shape, h.dtype), h)
    return _linear(W_2, h, b_2).T.copy().reshape(*x.shape[:-1], len(W_2))


def attention(be: Any, q: Any, k: Any, v: Any, mask: Any, causal: bool, dropout: float, key: int) -> Any:
    """softmax(q kᵀ / √d) v for one query, the last: it sees all keys."""
    if q.shape[-2] != 1 or mask is not None or dropout:
        return None
    e = (q * q.dtype.type(q.shape[-1] ** -0.5)) @ k.swapaxes(-1, -2)
    e -= e.max(-1, keepdims=True)
    be.xp.exp(e, out=e)
    e /= e.sum(-1, keepdims=True)
    return e @ v
