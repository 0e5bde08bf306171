"""What the kernels over whole sequences share. Inside, features stand first, (T, F, B), in the order of the steps."""

from typing import Any


def steps_of(a: Any, reverse: bool) -> Any:
    """(B, T, F) as (T, F, B), the step that runs first first; a view."""
    steps = a.transpose(1, 2, 0)
    return steps[::-1] if reverse else steps


def inputs_of(be: Any, x: Any, reverse: bool) -> Any:
    """(B, T, D) as a new matrix (D, T · B) in the order of the steps: one operand of a product over all of them."""
    B, T, D = x.shape
    xs = be.empty((D, T, B), x.dtype)
    xs[...] = (x[:, ::-1] if reverse else x).transpose(2, 1, 0)
    return xs.reshape(D, T * B)


def for_each_step(a: Any, T: int, B: int) -> Any:
    """(F, T · B) as (T, F, B), a view."""
    return a.reshape(len(a), T, B).transpose(1, 0, 2)


def batch_of(be: Any, steps: Any, reverse: bool) -> Any:
    """(T, F, B) in the order of the steps as a new (B, T, F)."""
    T, F, B = steps.shape
    out = be.empty((B, T, F), steps.dtype)
    out[...] = (steps[::-1] if reverse else steps).transpose(2, 0, 1)
    return out


def dead_steps(be: Any, lengths: Any, T: int, reverse: bool) -> Any:
    """(T, 1, B): which sequences are past their end at each step; None if all have length T."""
    if lengths is None:
        return None
    t = be.xp.arange(T)[:, None, None]
    return (t[::-1] if reverse else t) >= lengths


def zero_beyond(y: Any, dead: Any, reverse: bool) -> Any:
    """Outputs (B, T, F) with exact zeros, in place, where a sequence is past its end."""
    if dead is not None:
        y *= ~(dead[::-1] if reverse else dead).transpose(2, 0, 1)
    return y


def output_gradients(dy: Any, dead: Any, reverse: bool) -> Any:
    """The outputs' gradient (B, T, F) as a new (T, F, B), zero where a sequence is past its end; None stays None."""
    if dy is None:
        return None
    steps = steps_of(dy, reverse).copy()
    if dead is not None:
        steps *= ~dead
    return steps


def state_gradient(be: Any, d: Any, H: int, B: int, dtype: Any) -> Any:
    """The final state's gradient (B, H) as a new (H, B), zeros where there is none."""
    return be.xp.zeros((H, B), dtype) if d is None else d.T.copy()


def over_steps(a: Any) -> Any:
    """(T, F, B) as the matrix (F, T · B): one operand of a sum over all steps and sequences."""
    T, F, B = a.shape
    return a.transpose(1, 0, 2).reshape(F, T * B)


def summed(a: Any, b: Any, parts: int) -> Any:
    """a bᵀ, for a (F, N) and b (K, N), its sum of N terms taken in parts: the shorter a sum, the less float32 rounds.

    Taken at once, the error of an LSTM's weight_hh was 1.6 times PyTorch's, of a GRU's more than twice. A kernel asks
    for as many parts as bring its gradients near PyTorch's error; each costs another pass over the result.
    """
    parts = min(parts, max(a.shape[1], 1))
    n = a.shape[1] // parts
    total = a[:, (parts - 1) * n :] @ b[:, (parts - 1) * n :].T
    for k in range(parts - 1):
        total += a[:, k * n : (k + 1) * n] @ b[:, k * n : (k + 1) * n].T
    return total


def input_gradient(W: Any, da: Any, T: int, B: int, reverse: bool, parts: int = 1) -> Any:
    """Wᵀ da, for da (F, T · B), as (B, T, D)."""
    dx = summed(W.T, da.T, parts).reshape(W.shape[1], T, B).transpose(2, 1, 0)
    return dx[:, ::-1] if reverse else dx
