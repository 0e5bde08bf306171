"""What training makes small: cross entropy and its relatives. Each is one number, the mean."""

from typing import Any

from ..backend import backend_of
from ..core import FusedOp, value
from .elementwise import astype, in_float32, log, softplus, where
from .index import beside, gather, integers
from .reduce import mean, sum
from .softmax import log_softmax


class CrossEntropy(FusedOp):
    """L = - Σ_n w_n ((1 - s) log p_n[t_n] + s/V Σ_v log p_n[v]) / Σ_n w_n, with p = softmax(logits)."""

    kernel = "cross_entropy"

    def definition(self, logits: Any, weight: Any, targets: Any, ignore_index: int | None, smoothing: float) -> Any:
        xp = backend_of(value(logits)).xp
        V, t = logits.shape[-1], targets.reshape(-1)
        logits = logits.reshape(-1, V)
        counts = xp.ones(t.shape, bool) if ignore_index is None else t != ignore_index
        if ignore_index is not None:
            logits = where(counts[:, None], logits, 0.0)  # an ignored row may hold inf
        log_p = log_softmax(logits)
        t = xp.where(counts, t, 0)
        w = counts.astype(log_p.dtype) if weight is None else weight[t] * counts
        loss = -w * gather(log_p, t[:, None], 1)[:, 0]
        if smoothing:
            weighted = log_p if weight is None else log_p * weight
            loss = (1 - smoothing) * loss - smoothing / V * sum(weighted, 1) * counts
        return sum(loss) / sum(w)


def cross_entropy(
    logits: Any,
    targets: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """L = - log softmax(logits)[target], the mean over all targets, in nats.

    Args:
        logits: (..., V), the classes on the last axis.
        targets: integers from 0 to V - 1, of logits' shape without the last axis.
        weight: (V,), how much each class counts, a constant; the mean is then weighted.
        ignore_index: a target that does not count, such as a padding id.
        label_smoothing: the part of the probability, 0 to 1, that the target shares with all classes.
    Returns:
        A tensor of shape (); nan where no target counts.
    Raises:
        ValueError: where the shapes do not fit.
        TypeError: where the targets are not integers.
        IndexError: where a target is out of range.

    >>> import tinygrad_seq as ts
    >>> logits = ts.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> round(ts.ops.cross_entropy(logits, ts.tensor([0, 1])).item(), 4)
    0.41
    """
    targets = integers("cross_entropy", targets)
    if not logits.ndim or targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: targets have the shape of logits without the last axis, the classes: "
            f"expected {logits.shape[:-1]}, got {targets.shape} with logits {logits.shape}"
        )
    V = logits.shape[-1]
    if weight is not None and weight.shape != (V,):
        raise ValueError(f"cross_entropy: weight has one number a class: expected {(V,)}, got {weight.shape}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is between 0 and 1, got {label_smoothing}")
    be = backend_of(targets)
    counted = targets if ignore_index is None else be.xp.where(targets == ignore_index, 0, targets)
    be.check_range(counted, V, f"cross_entropy: there are {V} classes")
    op = CrossEntropy(targets=beside(logits, targets), ignore_index=ignore_index, smoothing=label_smoothing)
    return in_float32(op, logits, value(weight))


def binary_cross_entropy_with_logits(logits: Any, targets: Any) -> Any:
    """L = - t log σ(z) - (1 - t) log(1 - σ(z)), the mean, in nats; written so that it never overflows.

    Args:
        logits: z, of any shape; targets: t, probabilities or 0 and 1, of the same shape.
    """
    targets = _targets("binary_cross_entropy_with_logits", logits, targets)
    return mean(softplus(logits) - logits * targets)


def mse_loss(x: Any, targets: Any) -> Any:
    """L = (x - t)², the mean over all elements."""
    targets = _targets("mse_loss", x, targets)
    return mean((x - targets) ** 2)


def kl_div(log_q: Any, p: Any) -> Any:
    """KL(p ‖ q) = Σ_v p_v (log p_v - log q_v) in nats, the mean over all but the last axis.

    Args:
        log_q: (..., V), logarithms of the model's probabilities, as log_softmax gives them.
        p: (..., V), the true probabilities; 0 log 0 counts as 0.
    """
    p = _targets("kl_div", log_q, p)
    positive = value(p) > 0
    return mean(sum(p * (log(where(positive, p, 1.0)) - log_q), -1))


def _targets(what: str, x: Any, targets: Any) -> Any:
    """Targets of x's shape; integers and booleans in the dtype of x, so that it stays the dtype of the loss."""
    if x.shape != targets.shape:
        raise ValueError(f"{what}: expected two equal shapes, got {x.shape} and {targets.shape}")
    return targets if targets.dtype.kind == "f" else astype(targets, x.dtype)
