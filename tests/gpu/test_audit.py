"""The source asks the array module only for what CuPy has too."""

from pathlib import Path

import pytest

from gpu.audit_xp import audit

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("tinygrad_seq", "models") for path in sorted((ROOT / folder).rglob("*.py"))]
ARRAY_CODE = [path for path in SOURCES if "xp." in path.read_text(encoding="utf-8")]

BAD = """
def kernel(be, x, xp):
    be.xp.sum(x, where=x > 0)           # CuPy's reductions have no where=
    xp.insert(x, 0, 1)                  # not in CuPy
    self.xp.add(x, x, where=x)          # nor have its universal functions
    xp.multiply.at(x, [0], 1.0)         # multiply.at is missing there, add.at is not
    xp.take(x, 0, 1, None, "clip")      # one positional argument more than CuPy takes
    xp.linalg.multi_dot([x, x])         # not in CuPy's linalg
    xp.asnumpy(x)                       # not in NumPy
    x.max(initial=0)
    x.setflags(write=False)
    xp.argsort(x, descending=True)      # in neither
"""

GOOD = """
def kernel(be, x, xp, lists):
    be.xp.sum(x, axis=0, keepdims=True)
    y = xp.add(x, x, out=x)
    xp.add.at(x, [0], 1.0)
    xp.linalg.norm(x, axis=1)
    np.insert(x, 0, 1)                  # on the host: not this audit's business
    lists.sort(key=len)
    x.reshape(-1, 2).sum(axis=0, keepdims=True).astype(xp.float32, copy=False)
    xp.where(x > 0, x, 0).max()
    cupy.asnumpy(x)
    return xp.pi, xp.newaxis, xp.ndarray
"""


@pytest.mark.skipif(not ARRAY_CODE, reason="no source uses xp yet")
def test_source_asks_only_for_what_both_libraries_have() -> None:
    findings = [finding for path in ARRAY_CODE for finding in audit(path)]
    assert not findings, "\n".join(findings)


def test_audit_finds_each_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(BAD, encoding="utf-8")
    lines = {int(finding.split(":")[1]) for finding in audit(path)}
    assert lines == set(range(3, 13))


def test_audit_accepts_good_code(tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(GOOD, encoding="utf-8")
    assert audit(path) == []
