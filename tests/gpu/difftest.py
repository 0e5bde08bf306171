"""Compare the stand-in with the real CuPy: the same expressions, evaluated with both, must agree.

Two results agree when type, shape, dtype and values are equal, or when both raise the same exception.  Also compared:
whether the host waits for the device.  Needs a process of its own, because hostcuda must come before `import cupy`:

    python tests/gpu/difftest.py        # exits with 1 where an unlisted disagreement appears
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpu.hostcuda import hostcuda  # noqa: E402

REAL = hostcuda.install()

import cupyx  # noqa: E402
import cupyx.scipy.special  # noqa: E402
import numpy as np  # noqa: E402

from gpu import strictcupy  # noqa: E402
from gpu.expressions import KNOWN_DISAGREEMENTS, expressions  # noqa: E402

HOST = np.arange(12, dtype=np.float32).reshape(3, 4)


class Outcome(NamedTuple):
    """What evaluating an expression gave: a comparable form of the value, and whether the host waited."""

    value: Any
    raised: bool
    waited: bool

    def __str__(self) -> str:
        return str(self.value)[:160]


def after(array: Any, _: Any) -> Any:
    """The array after something was written into it."""
    return array


def digits(host: np.ndarray) -> str:
    """The values to five digits: the last bits of exp and of sums differ between the two."""
    return " ".join(f"{value:.5g}" for value in host.reshape(-1).tolist())


def comparable(value: Any, with_values: bool) -> Any:
    """A form of `value` that is equal for equal results of the two libraries."""
    if isinstance(value, REAL.cupy.ndarray | strictcupy.ndarray):
        host = value.get() if isinstance(value, REAL.cupy.ndarray) else value._host
        return "device", host.shape, str(host.dtype), digits(host) if with_values else None
    if isinstance(value, tuple | list):
        return tuple(comparable(item, with_values) for item in value)
    if isinstance(value, np.ndarray):
        return "host", value.shape, str(value.dtype), digits(value)
    if isinstance(value, np.dtype):
        return "dtype", str(value)
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | None):
        return type(value).__name__, str(value)
    return "object"


def evaluate(expression: str, xp: Any, xpx: Any, syncs: Any) -> Outcome:
    """Evaluate with one of the two libraries; `syncs()` counts how often the host has waited so far."""
    x = xp.asarray(HOST)
    names = {"xp": xp, "np": np, "x": x, "cupyx": xpx, "after": after}
    before = syncs()
    try:
        result = eval(expression, names)
        waited = syncs() > before
        with_values = "random" not in expression and "empty" not in expression
        return Outcome(comparable(result, with_values), raised=False, waited=waited)
    except Exception as error:
        return Outcome((type(error).__name__, str(error)[:90]), raised=True, waited=False)


def agree(real: Outcome, double: Outcome) -> bool:
    if real.raised or double.raised:
        # AttributeError and TypeError both say "this is no array": CuPy raises whichever comes first in its own code.
        both = real.raised and double.raised
        names = {real.value[0], double.value[0]}
        return both and (len(names) == 1 or names == {"AttributeError", "TypeError"})
    return real.value == double.value


def main() -> int:
    warnings.simplefilter("ignore")
    wrong = []
    milder = []
    listed = 0
    everything = expressions()
    for expression in everything:
        real = evaluate(expression, REAL.cupy, cupyx, lambda: REAL.counters.syncs)
        with strictcupy.allow_sync():
            double = evaluate(expression, strictcupy.cupy, strictcupy.cupyx, lambda: strictcupy.stats.syncs)
        same = agree(real, double)
        if expression in KNOWN_DISAGREEMENTS:
            listed += 1
            if same:
                wrong.append(f"{expression}\n    is listed as a known disagreement, but the two agree: {real}")
        elif not same:
            wrong.append(f"{expression}\n    real     {real}\n    stand-in {double}")
        elif real.waited and not double.waited:
            milder.append(f"{expression}\n    CuPy makes the host wait, the stand-in does not say so")

    for finding in wrong + milder:
        print(finding)
    agreed = len(everything) - listed - len(wrong)
    print(
        f"difftest: {agreed} of {len(everything)} expressions agree with CuPy {REAL.cupy.__version__}, "
        f"{listed} known disagreements, {len(wrong)} unexpected, {len(milder)} missed syncs"
    )
    return 1 if wrong or milder else 0


if __name__ == "__main__":
    sys.exit(main())
