"""Run the project's GPU code with the real CuPy wheel, on the CPU: what `make test-cupy` runs.

First the comparison of the stand-in with CuPy (`difftest.py`), then hostcuda's own check, then with
`--backend=cupy` the table of ops (`tests/test_cases.py`), and every kind of training: on a device, and moved to one and
back. hostcuda must be installed before `import cupy`, so this is a process of its own.

    python tests/gpu/run_real_cupy.py [further arguments for pytest]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHOSEN = (
    "test_cases.py",
    "train/test_tasks.py::test_on_a_device_it_is_the_same_and_nothing_waits",
    "train/test_resume.py::test_a_run_may_move_between_devices",
)


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
    return int(pytest.main([*options, *arguments, *(str(TESTS / each) for each in CHOSEN)])) or differs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
