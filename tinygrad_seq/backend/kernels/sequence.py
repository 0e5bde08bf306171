"""What the kernels over whole sequences share. Inside, features stand first, (T, F, B), in the order of the steps."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ..base import Kernel


def steps_of(a: Any, reverse: bool) -> Any:
    """(B, T, F) as (T, F, B), the step that runs first first; a view."""
    steps = a.transpose(1, 2, 0)
    return steps[::-1] if reverse else steps


def factors_of(be: Any, x: Any, h_0: Any, reverse: bool) -> tuple[Any, Any, Any]:
    """What each step multiplies, [x_t; 1; h_{t-1}], (T + 1, D + 1 + H, B), and views of it: [x_t; 1], [1; h_{t-1}].

    Of the h only h_0 is there.
    """
    (B, T, D), H = x.shape, h_0.shape[-1]
    z = be.empty((T + 1, D + 1 + H, B), x.dtype)
    z[:T, :D] = steps_of(x, reverse)
    z[:, D] = 1
    z[0, D + 1 :] = h_0.T
    return z, z[:, : D + 1], z[:, D:]


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
    be.xp.matmul(tiles, z[..., None, :, :], out=in_tiles_of(tiles, out))
    return out


def in_tiles_of(tiles: Any, out: Any) -> Any:
    """A view of out (…, M, columns) into which `matmul` writes the product of `in_tiles(be, W, …)`."""
    *steps, M, columns = out.shape
    return out.reshape(*steps, len(tiles), M // len(tiles), columns)


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


def sigmoid(xp: Any, a: Any) -> None:
    """σ(a) in place, as ½ (1 + tanh ½ a)."""
    a *= 0.5
    xp.tanh(a, out=a)
    a *= 0.5
    a += 0.5


def state_gradient(be: Any, d: Any, H: int, B: int, dtype: Any) -> Any:
    """The final state's gradient (B, H) as a new (H, B), zeros where there is none."""
    return be.xp.zeros((H, B), dtype) if d is None else d.T.copy()


def by_batch(kernel: Kernel, sequences: int, step: Callable[..., int]) -> Kernel:
    """The kernel of a recurrence whose batch threads share, where steps are large.

    Between the passes of a step a thread waits for Python's lock: with small steps that takes longer than it gains.

    Args:
        sequences: how many of the inputs, the first ones, have the batch as their first axis; all outputs have.
        step: of the inputs, how many multiplications a sequence takes at each step.
    """

    def cut(here: slice, inputs: Any, static: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        some = {
            name: value[here] if name == "lengths" and value is not None else value for name, value in static.items()
        }
        return [a[here] for a in inputs[:sequences]] + list(inputs[sequences:]), some

    def forward(be: Any, *inputs: Any, **static: Any) -> tuple[Any, Any]:
        B = len(inputs[0])
        parts = be.parts(B, 2 * B * step(*inputs))
        if len(parts) == 1:
            ys, tape = kernel.forward(be, *inputs, **static)
            return ys, (parts, [tape])

        def part(here: slice) -> Any:
            some, how = cut(here, inputs, static)
            return kernel.forward(be.alone, *some, **how)

        found = be.each(part, parts)
        ys = tuple(be.xp.concatenate(each) for each in zip(*(ys for ys, _ in found), strict=True))
        return ys, (parts, [tape for _, tape in found])

    def backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, **static: Any) -> Any:
        parts, tapes = tape
        if len(parts) == 1:
            return kernel.backward(be, tapes[0], inputs, g, needs, **static)

        def part(k: slice) -> Any:
            here = parts[k.start]
            some, how = cut(here, inputs, static)
            return kernel.backward(
                be.alone, tapes[k.start], some, [None if d is None else d[here] for d in g], needs, **how
            )

        found = list(zip(*be.each(part, [slice(k, k + 1) for k in range(len(parts))]), strict=True))
        of_batch = (None if each[0] is None else be.xp.concatenate(each) for each in found[:sequences])
        return *of_batch, *(sum(each[1:], each[0]) for each in found[sequences:])

    return Kernel(forward, backward)


class Plan(NamedTuple):
    """Which thread computes the products of many steps: those before a recurrence's loop, and those after it.

    A sum over steps is cut into sums over few: the shorter a sum, the less float32 rounds. Taken at once, the error of
    an RNN's weight_hh was twice PyTorch's, of a GRU's nearly three times. Another thread is given large groups of
    steps: whenever it begins something new, one of both waits for Python's lock.
    """

    before: list[slice]  # groups in the order of the loop: the first for this thread, the others for another one
    after: list[slice]  # groups in the order of the loop back
    few: int  # steps of one sum
    beside: int  # how many groups, of those of the loop back, are another thread's


def plan(be: Any, T: int, B: int, loop: int, products: int, terms: int = 256) -> Plan:
    """For so many terms of a sum; loop and products: how many multiplications a sequence takes at a step."""
    few = max(min(terms // max(B, 1), T), 1)
    n = -(-T // few)
    if n == 1 or not be.helped(2 * T * B * (loop + products)):
        # Several sums at once save calls, as long as they stay in the cache.
        return Plan([slice(0, T)], _groups(T, few, 4 if products < 1 << 17 else 1), few, 0)
    # Both threads end at the same time: what is too much for the other one, this one does before or after its loop.
    ratio = loop / products
    before, size = [slice(0, max(round(n * (1 - ratio)), 1) * few)], few
    while before[-1].stop < T:  # each takes the other thread as long as the loop takes until it is needed
        end = before[-1].stop
        before.append(slice(end, min(end + size, T)))
        size *= 2
    after = _groups(T, few, min(max(n // 4, 1), 4))
    return Plan(before, after, few, min(round(len(after) * (1 + ratio) / 2), len(after)))


def _groups(T: int, few: int, sums: int) -> list[slice]:
    """The last steps, where they are too few for a sum of their own, then groups of so many sums, back to the first."""
    end = T - T % few
    groups = [slice(end, T)] if end < T else []
    while end:
        groups.append(slice(max(end - sums * few, 0), end))
        end = groups[-1].start
    return groups


def project(be: Any, tiles: Any, z: Any, out: Any, how: Plan) -> dict[int, Callable[[], Any]]:
    """W z of all steps, for `in_tiles(be, W, …)`, into out; what the loop calls before a step, by the step."""
    begun = {here.start: be.beside(partial(multiply, be, tiles, z[here], out[here])) for here in how.before[1:]}
    multiply(be, tiles, z[how.before[0]], out[how.before[0]])
    return begun


class _Sum:
    """Σ_t da_t z_tᵀ over some groups of steps."""

    def __init__(self, be: Any, da: Any, z: Any, how: Plan) -> None:
        (_, M, B), K = da.shape, z.shape[1]
        self.few, size = how.few, max(group.stop - group.start for group in how.after)
        self.xp, self.da, self.z, self.total = be.xp, da, z, be.xp.zeros((M, K), da.dtype)
        self.rows, self.columns = (be.empty(size * n * B, da.dtype) for n in (M, K))
        self.parts = be.empty((-(-size // self.few), M, K), da.dtype)

    def add(self, group: slice) -> None:
        n = max((group.stop - group.start) // self.few, 1)
        steps = (group.stop - group.start) // n
        da, z = (a[group].reshape(n, steps, *a.shape[1:]).swapaxes(1, 2) for a in (self.da, self.z))
        rows, columns = self.rows[: da.size].reshape(da.shape), self.columns[: z.size].reshape(z.shape)
        self.xp.copyto(rows, da)
        self.xp.copyto(columns, z)
        rows, columns = (a.reshape(n, a.shape[1], steps * a.shape[3]) for a in (rows, columns))
        self.xp.matmul(rows, columns.swapaxes(1, 2), out=self.parts[:n])
        for part in self.parts[:n]:
            self.total += part


class WeightGradients:
    """Σ_t da_t z_tᵀ, (M, K), for each pair of da (T, M, B) and z (T, K, B), begun while the loop back goes on."""

    def __init__(self, be: Any, how: Plan, *pairs: tuple[Any, Any]) -> None:
        self.be, self.how, self.pairs = be, how, pairs
        self.waiting = how.after
        self.beside = self._sums() if how.beside else []
        self.last: Callable[[], Any] = lambda: None  # waits for what was begun last

    def through(self, t: int) -> None:
        """The loop back is through with step t: its da is there."""
        of_this_thread = len(self.how.after) - self.how.beside
        while len(self.waiting) > of_this_thread and t <= self.waiting[0].start:
            self.last = self.be.beside(partial(self._add, self.beside, self.waiting[0], self.last))
            self.waiting = self.waiting[1:]

    def total(self) -> list[Any]:
        here = self._sums() if self.waiting else []
        for group in self.waiting:
            self._add(here, group)
        self.last()
        for one, other in zip(here, self.beside, strict=False):
            one.total += other.total
        return [each.total for each in here or self.beside]

    def _sums(self) -> list[_Sum]:
        return [_Sum(self.be, da, z, self.how) for da, z in self.pairs]

    def _add(self, to: list[_Sum], group: slice, before: Callable[[], Any] = lambda: None) -> None:
        before()
        for each in to:
            each.add(group)


def input_gradient(be: Any, W: Any, da: Any, reverse: bool) -> Any:
    """Wᵀ da of each step, for da (T, M, B), as (B, T, D)."""
    T, _, B = da.shape
    dx = be.empty((T, W.shape[1], B), da.dtype)
    return batch_of(be, multiply(be, in_tiles(be, W.T, B, T, True), da, dx), reverse)
