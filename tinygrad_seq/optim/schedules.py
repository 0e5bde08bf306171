"""Learning-rate schedules: functions from a step number (0, 1, …) to a learning rate, for `optimizer.set_lr`."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr · factor^⌊step / every⌋.

    >>> schedule = step_decay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(20)
    (1.0, 0.5, 0.25)
    """
    _positive(every=every)
    return lambda step: lr * factor ** (step // every)


def linear_warmup(after: Schedule, steps: int) -> Schedule:
    """Another schedule, whose rate grows from nearly 0 to its own over the first steps.

    >>> schedule = linear_warmup(constant(1.0), steps=4)
    >>> [schedule(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _positive(steps=steps)
    return lambda step: after(step) * min(1.0, (step + 1) / steps)


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """Half a cosine from lr down to `final` over `steps`, and `final` after that (Loshchilov and Hutter, 2017).

    >>> schedule = cosine(1.0, steps=10)
    >>> schedule(0), round(schedule(5), 3), schedule(10), schedule(11)
    (1.0, 0.5, 0.0, 0.0)
    """
    _positive(steps=steps)
    return lambda step: final + (lr - final) * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def noam(d_model: int, warmup: int, factor: float = 1.0) -> Schedule:
    """factor · d_model^-½ · min((step+1)^-½, (step+1) · warmup^-1½) (Vaswani et al., 2017).

    >>> schedule = noam(512, warmup=4000)
    >>> max(range(10_000), key=schedule)
    3999
    """
    _positive(d_model=d_model, warmup=warmup)
    return lambda step: factor * d_model**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup**-1.5)


def _positive(**numbers: int) -> None:
    for name, n in numbers.items():
        if n < 1:
            raise ValueError(f"schedule: {name} is at least 1, got {n}")
