"""`import tinygrad_seq` is cheap: what is heavy is imported when it is first used."""

import subprocess
import sys

HEAVY = ["scipy", "matplotlib", "rich", "typer", "graphviz", "safetensors", "cupy", "numba", "torch", "tokenizers"]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_heavy_is_imported() -> None:
    loaded = _python("import sys, tinygrad_seq; print(*sorted({name.split('.')[0] for name in sys.modules}))").split()
    assert "numpy" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_import_time_over_numpy(capsys) -> None:
    """Prints the time and asserts none: it depends on the machine. Runs are interleaved, the median is taken."""
    code = "import time; import numpy; t = time.perf_counter(); import tinygrad_seq; print(time.perf_counter() - t)"
    seconds = sorted(float(_python(code)) for _ in range(5))
    with capsys.disabled():
        print(f"\nimport tinygrad_seq: {seconds[2]:.3f} s after numpy (median of 5)")
