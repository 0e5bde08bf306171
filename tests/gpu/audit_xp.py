"""Check that the source asks an array module `xp` only for what both NumPy and CuPy have.

Looks at every `xp.name(...)` (`be.xp.name`, `self.xp.name` too): the name, the number of positional arguments, the
keywords.  CuPy's side comes from the snapshot of the real wheel, so neither CuPy nor a GPU is needed.  Names asked of
`cupy` itself are checked against CuPy alone.

    python tests/gpu/audit_xp.py FILE...
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu.strictcupy import API, Signature  # noqa: E402

UFUNC_KEYWORDS = {"out", "dtype", "casting"}
# Parts of the modules that the snapshot does not list.
UNLISTED = {"lib", "fft", "ndarray", "newaxis", "cuda", "bool"}
# Attributes of NumPy's arrays that CuPy's lack, and that hardly anything but an array has.
ONLY_NUMPY = {"byteswap", "ctypes", "getfield", "setfield", "setflags", "to_device"}
# Methods of arrays whose keywords are worth a look; others (sort, dump, copy) belong to lists and files as well.
METHODS = set(
    "all any argmax argmin argsort astype clip cumprod cumsum dot max mean min prod ravel repeat reshape round squeeze "
    "std sum swapaxes take trace transpose var".split()
)


def audit(path: str | Path) -> list[str]:
    """The findings in one file, as `file:line: what`; an empty list when there is nothing to say."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"), str(path))
    findings = set()
    for node in ast.walk(tree):
        for message in _look_at(node):
            findings.add((node.lineno, message))  # type: ignore[attr-defined]
    return [f"{path}:{line}: {message}" for line, message in sorted(findings)]


def _look_at(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        name = _name_in_module(node)
        if name is not None:
            yield from _check_name(*name)
        elif node.attr in ONLY_NUMPY and _dotted(node).split(".")[0] not in ("np", "numpy"):
            yield f".{node.attr}: an attribute of numpy.ndarray that cupy.ndarray lacks"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = _name_in_module(node.func)
        if name is not None:
            yield from _check_call(node, *name)
        elif node.func.attr in METHODS and _dotted(node.func).split(".")[0] not in ("np", "numpy"):
            yield from _check_method(node, node.func.attr)


def _dotted(node: ast.AST) -> str:
    """`a.b.c` as text; what is not a name becomes `?`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "?"


def _name_in_module(node: ast.Attribute) -> tuple[str, bool] | None:
    """What is asked of the array module and whether NumPy must have it too; None where it is not the array module."""
    parts = _dotted(node).split(".")
    if "xp" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("xp")
        return ".".join(parts[last + 1 :]), True
    if parts[0] in ("cupy", "cp"):
        return ".".join(parts[1:]), False
    return None


def _find(name: str) -> tuple[dict[str, Any] | None, Any]:
    """The entry of the snapshot for a dotted name, and NumPy's object."""
    table = API["cupy"]
    parts = name.split(".")
    if parts[0] in ("linalg", "random") and len(parts) > 1:
        table = API[parts[0]]
        parts = parts[1:]
    numpy_object: Any = np
    for part in name.split("."):
        numpy_object = getattr(numpy_object, part, None)
    return (table.get(parts[0]) if len(parts) == 1 else None), numpy_object


def _check_name(name: str, also_numpy: bool) -> Iterator[str]:
    parts = name.split(".")
    entry, numpy_object = _find(name)
    if parts[0] in UNLISTED:
        return
    if len(parts) == 2 and parts[1] == "at":
        if not API["cupy"].get(parts[0], {}).get("at"):
            yield f"xp.{name}: CuPy's {parts[0]} has no `at`"
        return
    is_nested = parts[0] in ("linalg", "random") and len(parts) == 2
    if (len(parts) == 1 or is_nested) and entry is None:
        yield f"xp.{name}: not in CuPy {API['version']}"
    elif also_numpy and (len(parts) == 1 or is_nested) and numpy_object is None and name != "newaxis":
        yield f"xp.{name}: not in NumPy"


def _check_call(call: ast.Call, name: str, also_numpy: bool) -> Iterator[str]:
    entry, numpy_object = _find(name)
    if entry is None:
        return
    keywords = [keyword.arg for keyword in call.keywords if keyword.arg]
    if entry["kind"] == "ufunc":
        known = UFUNC_KEYWORDS
    elif entry["sig"] is None:
        return
    else:
        signature = Signature(name, entry["sig"])
        if signature.any_keyword:
            return
        known = signature.keywords
        is_spread = any(isinstance(argument, ast.Starred) for argument in call.args)
        if not signature.any_positional and not is_spread and len(call.args) > len(signature.positional):
            yield f"xp.{name}: CuPy takes {len(signature.positional)} positional arguments, given {len(call.args)}"
    try:
        known_to_numpy = set(inspect.signature(numpy_object).parameters)
    except (TypeError, ValueError):
        known_to_numpy = set()
    for keyword in keywords:
        if keyword not in known:
            yield f"xp.{name}(..., {keyword}=): a keyword unknown to CuPy"
        elif also_numpy and entry["kind"] != "ufunc" and known_to_numpy and keyword not in known_to_numpy:
            if "kwargs" not in known_to_numpy:
                yield f"xp.{name}(..., {keyword}=): a keyword unknown to NumPy"


def _check_method(call: ast.Call, name: str) -> Iterator[str]:
    signature = Signature(name, API["ndarray"][name]["sig"])
    if not signature.known or signature.any_keyword:
        return
    for keyword in call.keywords:
        if keyword.arg and keyword.arg not in signature.keywords:
            yield f".{name}(..., {keyword.arg}=): a keyword unknown to cupy.ndarray.{name}"


def main(paths: list[str]) -> int:
    findings = [finding for path in paths for finding in audit(path)]
    print("\n".join(findings) or f"audit: nothing found in {len(paths)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
