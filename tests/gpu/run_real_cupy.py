"""Run the project's GPU code with the real CuPy wheel, on the CPU: what `make test-cupy` runs.

First the comparison of the stand-in with CuPy (`difftest.py`), then hostcuda's own check, then the table of ops
(`tests/test_cases.py`) with `--backend=cupy`.  One process for all: hostcuda must be installed before `import cupy`.

    python tests/gpu/run_real_cupy.py [further arguments for pytest]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CASES = TESTS / "test_cases.py"


def main(arguments: list[str]) -> int:
    # CUB's kernels are prebuilt, and TF32 would round what the tests compare.
    os.environ["CUPY_ACCELERATORS"] = ""
    os.environ["CUPY_TF32"] = "0"
    sys.path.insert(0, str(TESTS))

    from gpu import difftest  # installs hostcuda when imported
    from gpu.hostcuda import hostcuda, selfcheck

    differs = difftest.main()
    selfcheck.main(difftest.REAL)

    if not CASES.exists():
        print(f"{CASES.relative_to(TESTS.parent)} does not exist: no case was run on CuPy")
        return differs
    import pytest

    result = pytest.main(["-q", "-p", "no:cacheprovider", "--backend=cupy", *arguments, str(CASES)])
    print(f"hostcuda: {difftest.REAL.counters.snap()}")
    print(f"kernels: {hostcuda.compile_stats['gxx']} compiled, {hostcuda.compile_stats['cached']} from the cache")
    return int(result) or differs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
