"""What the kernels over whole sequences share. Inside, features stand first, (T, F, B), in the order of the steps."""

from typing import Any


def steps_of(a: Any, reverse: bool) -> Any:
    """(B, T, F) as (T, F, B), the step that runs first first; a view."""
    steps = a.transpose(1, 2, 0)
    return steps[::-1] if reverse else steps


def factors_of(be: Any, x: Any, h_0: Any, reverse: bool) -> Any:
    """(T + 1, H + D + 1, B): what each step multiplies, [h_{t-1}; x_t; 1]. Of the h only h_0 is there."""
    (B, T, D), H = x.shape, h_0.shape[-1]
    z = be.empty((T + 1, H + D + 1, B), x.dtype)
    z[0, :H] = h_0.T
    z[:T, H : H + D] = steps_of(x, reverse)
    z[:, -1] = 1
    return z


def with_bias(be: Any, W: Any, b: Any, order: list[slice]) -> Any:
    """[W b] as a new matrix, its rows in an order of blocks."""
    out, first = be.empty((len(W), W.shape[1] + 1), W.dtype), 0
    for rows in order:
        here = out[first : first + rows.stop - rows.start]
        here[:, :-1], here[:, -1] = W[rows], b[rows]
        first += len(here)
    return out


def in_tiles(be: Any, W: Any, columns: int, steps: int | None = None, at_once: bool = False) -> Any:
    """W (M, K) as (tiles, rows, K), each column of a tile contiguous: the left factor of `multiply`.

    It will be multiplied at so many steps (None: at many), by as many columns at each: at all at once, or at each after
    another.
    """
    M, K = W.shape
    rows = be.tile_rows(M, K, columns, steps, at_once)
    if rows == M:
        return be.xp.ascontiguousarray(W)[None]
    return W.reshape(-1, rows, K).swapaxes(1, 2).copy().swapaxes(1, 2)


def multiply(be: Any, tiles: Any, z: Any, out: Any) -> Any:
    """W z of `in_tiles(be, W, columns)`, for z (K, columns); or for each step, of z (T, K, columns)."""
    *steps, M, columns = out.shape
    be.xp.matmul(tiles, z[..., None, :, :], out=out.reshape(*steps, len(tiles), M // len(tiles), columns))
    return out


def batch_of(be: Any, steps: Any, reverse: bool) -> Any:
    """(T, F, B) in the order of the steps as a new (B, T, F). One step at a time took a quarter of the time."""
    T, F, B = steps.shape
    out = be.empty((B, T, F), steps.dtype)
    for step in range(T):
        out[:, T - 1 - step if reverse else step] = steps[step].T
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


def weight_gradients(be: Any, da: Any, z: Any, terms: int = 256) -> Any:
    """Σ_t da_t z_tᵀ and Σ_t Σ_b da_t, for da (T, M, B) and z (T, K, B): (M, K) and (M,).

    Each sum is taken in parts of so many terms: the shorter a sum, the less float32 rounds. Taken at once, the error of
    an RNN's weight_hh was twice PyTorch's, of a GRU's nearly three times. Each part costs another pass over the result.
    """
    xp, (T, M, B), K = be.xp, da.shape, z.shape[1]
    few = max(min(terms // max(B, 1), T), 1)
    rows, columns, part = (be.empty(n, da.dtype) for n in (M * few * B, K * few * B, (M, K)))
    products, sums = xp.zeros((M, K), da.dtype), xp.zeros(M, da.dtype)
    for first in range(0, T, few):
        n = min(few, T - first)
        a, b = rows[: M * n * B].reshape(M, n, B), columns[: K * n * B].reshape(K, n, B)
        xp.copyto(a, da[first : first + n].swapaxes(0, 1))
        xp.copyto(b, z[first : first + n].swapaxes(0, 1))
        a, b = a.reshape(M, n * B), b.reshape(K, n * B)
        products += xp.matmul(a, b.T, out=part)
        sums += a.sum(1)
    return products, sums


def input_gradient(be: Any, W: Any, da: Any, reverse: bool) -> Any:
    """Wᵀ da of each step, for da (T, M, B), as (B, T, D)."""
    T, _, B = da.shape
    dx = be.empty((T, W.shape[1], B), da.dtype)
    return batch_of(be, multiply(be, in_tiles(be, W.T, B, T, True), da, dx), reverse)
