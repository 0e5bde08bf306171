"""Mean cross entropy. The forward pass leaves the probabilities for the backward one."""

from typing import Any

from ..base import Kernel


def _forward(be: Any, logits: Any, weight: Any, targets: Any, ignore_index: Any, smoothing: float) -> tuple[Any, Any]:
    xp, V, dtype = be.xp, logits.shape[-1], logits.dtype.type
    t = targets.reshape(-1)
    rows = xp.arange(t.size)
    counts = None if ignore_index is None else t != ignore_index
    if counts is not None:
        t = xp.where(counts, t, 0)
    z = logits.reshape(-1, V)
    z = z - z.max(1, keepdims=True)
    picked = z[rows, t]
    weighted = None if not smoothing else z.sum(1) if weight is None else z @ weight  # Σ_v w_v z_v
    p = xp.exp(z, out=z)
    total = p.sum(1, keepdims=True)
    p /= total
    log_total = xp.log(total[:, 0])
    loss = log_total - picked
    w = None if weight is None else weight[t]  # of each row
    if w is not None:
        loss *= w
    if smoothing:
        classes = V if weight is None else weight.sum()
        loss = dtype(1 - smoothing) * loss + dtype(smoothing / V) * (classes * log_total - weighted)
    if counts is not None:
        loss = xp.where(counts, loss, 0)  # not a product: an ignored row may hold inf
        w = counts.astype(z.dtype) if w is None else w * counts
    size = dtype(t.size) if w is None else w.sum()
    return loss.sum() / size, (p, rows, t, w, counts, size)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, targets: Any, ignore_index: Any, smoothing: float
) -> Any:
    p, rows, t, w, counts, size = tape
    logits, weight = inputs
    V, scale = p.shape[1], g / size
    if w is None and not smoothing:
        p[rows, t] -= 1
        p *= scale
        return p.reshape(logits.shape), None
    share = scale * (1 - smoothing) * (be.xp.ones(t.shape, p.dtype) if w is None else w)  # of each row's own target
    total = share
    if smoothing:
        spread = scale * (smoothing / V)
        total = share + spread * ((V if weight is None else weight.sum()) * (1 if counts is None else counts))
    p *= total[:, None]
    if counts is not None:
        p[...] = be.xp.where(counts[:, None], p, 0)
    p[rows, t] -= share
    if smoothing:
        each = spread * (1 if weight is None else weight)
        p -= each if counts is None else each * counts[:, None]
    return p.reshape(logits.shape), None


cross_entropy = Kernel(_forward, _backward)
