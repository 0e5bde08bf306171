"""Run the project's GPU code with the real CuPy wheel, on the CPU: what `make test-cupy` runs.

First the comparison of the stand-in with CuPy (`difftest.py`), then hostcuda's own check, then the table of ops
(`tests/test_cases.py`) with `--backend=cupy`. hostcuda must be installed before `import cupy`, so this is a process of
its own.

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
    from gpu.hostcuda import selfcheck

    differs = difftest.main()
    selfcheck.main(difftest.REAL)

    import pytest

    # Two workers, each with hostcuda of its own (tests/conftest.py): nearly all the time goes to g++.
    options = ["-q", "-p", "no:cacheprovider", "-n", "2", "--backend=cupy"]
    return int(pytest.main([*options, *arguments, str(CASES)])) or differs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
