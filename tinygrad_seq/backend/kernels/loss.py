"""Mean cross entropy. The forward pass leaves exponentials and their sums, which become the gradient in one pass."""

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
    e, total, picked = (be.empty(shape, z.dtype) for shape in (z.shape, t.shape, t.shape))
    weighted = be.empty(t.shape, z.dtype) if smoothing else None  # Σ_v w_v z_v
    for part in be.chunks(t.size, V):
        e_k = e[part]
        xp.subtract(z[part], z[part].max(1, keepdims=True), out=e_k)
        picked[part] = e_k[rows[: len(e_k)], t[part]]
        if weighted is not None:
            weighted[part] = e_k.sum(1) if weight is None else e_k @ weight
        xp.exp(e_k, out=e_k)
        e_k.sum(1, out=total[part])
    log_total = xp.log(total)
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
    return loss.sum() / size, (e, total, rows, t, w, counts, size)


def _backward(
    be: Any, tape: Any, inputs: Any, g: Any, needs: Any, targets: Any, ignore_index: Any, smoothing: float
) -> Any:
    e, sums, rows, t, w, counts, size = tape
    logits, weight = inputs
    V, scale = e.shape[1], g / size
    share = scale * (1 - smoothing) * (be.xp.ones(t.shape, e.dtype) if w is None else w)  # of each row's own target
    total = share
    if smoothing:
        spread = scale * (smoothing / V)
        total = share + spread * ((V if weight is None else weight.sum()) * (1 if counts is None else counts))
    e *= (total / sums)[:, None]  # times the probabilities
    if counts is not None:
        e[...] = be.xp.where(counts[:, None], e, 0)
    e[rows, t] -= share
    if smoothing:
        each = spread * (1 if weight is None else weight)
        e -= each if counts is None else each * counts[:, None]
    return e.reshape(logits.shape), None


cross_entropy = Kernel(_forward, _backward)
