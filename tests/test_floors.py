"""Imports point down: array backends know no tensors, tensors no layers, and nothing knows the pictures of it."""

import ast
from pathlib import Path

import pytest

from house import FOLDERS, modules

# The floor of a module is that of its longest name here. Packages on one floor do not know each other.
FLOORS = {
    "tinygrad_seq.backend": 0,
    "tinygrad_seq.core": 1,
    "tinygrad_seq.ops": 2,
    "tinygrad_seq.nn": 3,
    "tinygrad_seq.optim": 4,
    "tinygrad_seq.data": 4,
    "tinygrad_seq.train": 5,
    "tinygrad_seq.testing": 6,
    "tinygrad_seq": 7,  # the public names: who says `import tinygrad_seq` stands above them
    "tinygrad_seq.models": 8,
    "tinygrad_seq.viz": 9,
    "tinygrad_seq.cli": 10,
    "tinygrad_seq.__main__": 10,
}
# These gather or start everything, and nothing below imports them.
EXEMPT = {"tinygrad_seq", "tinygrad_seq.__main__"}
# (module, what it imports): why it may. An entry that is no longer needed fails the test.
ALLOWED: dict[tuple[str, str], str] = {}


def floor(name: str) -> tuple[str, int]:
    """The package that decides a module's floor, and the floor."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        prefix = ".".join(parts[:n])
        # Only the package's own file is "the public names": a folder that is missing above is not.
        if prefix in FLOORS and (prefix != "tinygrad_seq" or n == len(parts)):
            return prefix, FLOORS[prefix]
    raise LookupError(f"{name} stands on no floor: give it one in FLOORS")


def imports(name: str, path: Path, known: set[str]) -> list[tuple[int, str]]:
    """(line, module) of everything of ours that a file imports, inside functions and under TYPE_CHECKING too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from .. import ops` imports a module, `from ..ops import exp` a name in one
                inner = f"{source}.{alias.name}"
                found.append((node.lineno, inner if inner in known else source))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            found += [(node.lineno, package + word if word.startswith(".") else word) for word in words[:1]]
    return [(line, target) for line, target in found if target.split(".")[0] == "tinygrad_seq"]


def upward(folders: dict[str, Path], allowed: dict[tuple[str, str], str]) -> tuple[list[str], set[tuple[str, str]]]:
    """One line for each import that points up or sideways, and the entries of `allowed` that were needed."""
    wrong, used = [], set()
    known = modules(folders)
    for name, path in known.items():
        if name in EXEMPT:
            continue
        own, height = floor(name)
        for line, target in imports(name, path, set(known)):
            other, level = floor(target)
            if other == own or level < height:
                continue
            if (name, target) in allowed:
                used.add((name, target))
            else:
                wrong.append(f"{name}, line {line}: imports {target} (floor {level}) from floor {height}")
    return wrong, used


def test_no_import_points_up() -> None:
    wrong, used = upward(FOLDERS, ALLOWED)
    assert not wrong, "\n".join(wrong)
    assert not set(ALLOWED) - used, f"no longer needed: {set(ALLOWED) - used}"


def test_pictures_and_starters_are_imported_by_nothing_below() -> None:
    assert FLOORS["tinygrad_seq.viz"] > max(
        level for name, level in FLOORS.items() if not name.endswith((".viz", ".cli", ".__main__"))
    )


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("tinygrad_seq/backend/base.py", "from ..core import Tensor"),
        ("tinygrad_seq/backend/base.py", "import tinygrad_seq"),
        ("tinygrad_seq/core/tensor.py", "from ..ops.softmax import softmax"),
        ("tinygrad_seq/core/tensor.py", "from .. import ops"),
        ("tinygrad_seq/core/tensor.py", "import tinygrad_seq.nn as nn"),
        ("tinygrad_seq/core/tensor.py", "def f():\n    from tinygrad_seq.viz import graph"),
        ("tinygrad_seq/core/tensor.py", "import importlib\nimportlib.import_module('tinygrad_seq.viz')"),
        ("tinygrad_seq/ops/__init__.py", "from ..nn import Module"),
        ("tinygrad_seq/nn/linear.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import optim"),
        ("tinygrad_seq/optim/adam.py", "from ..data import batches"),
        ("tinygrad_seq/train/trainer.py", "from ..viz import graph"),
        ("tinygrad_seq/train/trainer.py", "import tinygrad_seq as ts"),
        ("models/gpt.py", "from tinygrad_seq import viz"),
        ("tinygrad_seq/testing.py", "from .cli import main"),
    ],
)
def test_it_can_fail(tmp_path: Path, file: str, line: str) -> None:
    folders = _made_up(tmp_path)
    with open(tmp_path / file, "a", encoding="utf-8") as f:
        f.write("\n" + line + "\n")
    wrong, _ = upward(folders, {})
    assert len(wrong) == 1, wrong


def test_what_points_down_passes(tmp_path: Path) -> None:
    assert upward(_made_up(tmp_path), {}) == ([], set())


def test_an_allowed_import_is_counted_as_used(tmp_path: Path) -> None:
    folders = _made_up(tmp_path)
    (tmp_path / "tinygrad_seq/core/tensor.py").write_text("def f():\n    from .. import ops\n", encoding="utf-8")
    entry = ("tinygrad_seq.core.tensor", "tinygrad_seq.ops")
    assert upward(folders, {entry: "a reason"}) == ([], {entry})


def test_a_module_without_a_floor_is_named(tmp_path: Path) -> None:
    folders = _made_up(tmp_path)
    (tmp_path / "tinygrad_seq/extra.py").touch()
    with pytest.raises(LookupError, match="tinygrad_seq.extra stands on no floor"):
        upward(folders, {})


def _made_up(root: Path) -> dict[str, Path]:
    """A small tree in which every import points down."""
    files = {
        "tinygrad_seq/__init__.py": "from . import nn, ops, viz\nfrom .cli import main\n",
        "tinygrad_seq/backend/__init__.py": "from .base import Backend\n",
        "tinygrad_seq/backend/base.py": "import numpy\n",
        "tinygrad_seq/core/__init__.py": "from .tensor import Tensor\n",
        "tinygrad_seq/core/tensor.py": "from ..backend.base import Backend\nfrom .. import backend\n",
        "tinygrad_seq/ops/__init__.py": "from ..core import Tensor\nfrom .softmax import softmax\n",
        "tinygrad_seq/ops/softmax.py": "def f():\n    from . import softmax\n",
        "tinygrad_seq/nn/__init__.py": "from .linear import Linear\n",
        "tinygrad_seq/nn/linear.py": "from tinygrad_seq.ops import softmax\n",
        "tinygrad_seq/optim/__init__.py": "from .adam import Adam\n",
        "tinygrad_seq/optim/adam.py": "from .. import core\n",
        "tinygrad_seq/data/__init__.py": "",
        "tinygrad_seq/train/__init__.py": "",
        "tinygrad_seq/train/trainer.py": "from .. import data, optim\n",
        "tinygrad_seq/viz/__init__.py": "import tinygrad_seq.models.gpt\n",
        "tinygrad_seq/testing.py": "from . import nn\n",
        "tinygrad_seq/cli.py": "def main():\n    from . import models, viz\n",
        "models/__init__.py": "from .gpt import GPT\n",
        "models/gpt.py": "import tinygrad_seq as ts\nfrom tinygrad_seq import nn\nfrom . import lm\n",
        "models/lm.py": "",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {"tinygrad_seq": root / "tinygrad_seq", "tinygrad_seq.models": root / "models"}
