"""Backpropagation through time, cut: every k1 steps a loss, whose gradient goes back k2 steps."""

from collections.abc import Callable, Iterator
from typing import Any

from .. import ops
from ..core import Tensor, no_grad


def truncated_bptt(
    model: Callable[[Any, Any], tuple[Tensor, Any]],
    inputs: Any,
    targets: Any,
    state: Any = None,
    *,
    k1: int,
    k2: int,
    loss: Callable[[Tensor, Any], Tensor] = ops.cross_entropy,
) -> Iterator[tuple[Tensor, Any]]:
    """The losses of a long sequence, one for every k1 steps, each with a graph of k2 steps.

    At each time t = k1, 2 k1, … the loss of the steps t - k1 + 1 … t is given, and its graph reaches back to the state
    after step t - k2, which counts as a constant:

        ∂L/∂θ ≈ Σ_{s = t-k1+1}^{t} ∂L_s/∂θ through the steps t - k2 + 1 … t alone

    k1 = k2 is the usual cut into pieces. With k2 > k1 each step is run k2 / k1 times, so that the first steps of a
    piece see their past too; with k2 < k1 only the last k2 losses of each k1 count. Update the weights between losses.

    Args:
        model: (inputs (B, K, …), state) -> (outputs (B, K, …), state), such as a language model or a recurrent layer.
        inputs: (B, T, …); targets: (B, T, …), what `loss` compares the outputs with.
        state: before the first step, a constant; None for the model's own start.
        k1: steps between two losses; k2: steps that a gradient goes back.
        loss: (outputs, targets) -> a tensor of shape ().
    Yields:
        (loss, state after it without graph), the last for the steps that are left over.
    Raises:
        ValueError: where k1 or k2 is not positive, or inputs and targets do not have the same batch and time.

    Source: Williams and Peng, 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories": BPTT(h; h') has h = k2, h' = k1.

    >>> import numpy as np
    >>> import tinygrad_seq as ts
    >>> model = ts.models.LanguageModel(ts.models.LanguageModelConfig(vocab_size=5, hidden_size=4))
    >>> optimizer = ts.optim.SGD(model.parameters(), lr=0.1)
    >>> tokens = np.arange(21).reshape(1, -1) % 5
    >>> for loss, state in ts.train.truncated_bptt(model, tokens[:, :-1], tokens[:, 1:], k1=5, k2=8):
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    """
    if k1 < 1 or k2 < 1:
        raise ValueError(f"truncated_bptt: k1 and k2 are at least 1, got k1={k1} and k2={k2}")
    shapes = [tuple(getattr(given, "shape", ())) for given in (inputs, targets)]
    B, T, *_ = *shapes[0][:2], 0, 0
    if not T or shapes[1][:2] != (B, T):
        raise ValueError(
            "truncated_bptt: expected inputs and targets, arrays or tensors (B, T, …) with the same batch and time, at "
            f"least one step, got {shapes[0]} and {shapes[1]}"
        )
    state = detach(state)
    start = 0  # of the steps that the next gradient goes through; `state` is the one before them
    for begin in range(0, T, k1):
        end = min(begin + k1, T)
        if end - k2 > start:  # k2 < k1: of the steps before, only the state is wanted
            with no_grad():
                _, state = model(inputs[:, start : end - k2], state)
            start = end - k2
        # Where the gradient after this one starts: there the state is taken out.
        following = min(max(min(end + k1, T) - k2, start), end)
        outputs, after = [], state
        if following > start:
            out, after = model(inputs[:, start:following], after)
            outputs.append(out)
        state = detach(after)
        if end > following:
            out, after = model(inputs[:, following:end], after)
            outputs.append(out)
        out = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, axis=1)
        counted = max(begin, start)
        yield loss(out[:, counted - start :], targets[:, counted:end]), detach(after)
        start = following


def detach(state: Any) -> Any:
    """A state as a constant: a tensor, None, or a (named) tuple of them. No gradient flows through it.

    >>> import tinygrad_seq as ts
    >>> ts.train.detach(ts.tensor([1.0], requires_grad=True)).requires_grad
    False
    """
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.detach()
    parts = [detach(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
