"""The hand-written list of packages in setup.cfg, and what is installed with it."""

import ast
import configparser
import importlib
import importlib.util
import sys
from importlib import metadata

import pytest

import tinygrad_seq as ts
from house import FOLDERS, ROOT, modules

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
PACKAGES = CONFIG["options"]["packages"].split()


def test_the_list_equals_the_folders() -> None:
    folders = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert sorted(PACKAGES) == sorted(folders)


def test_no_folder_of_python_files_lacks_an_init() -> None:
    bare = {path.parent for path in modules().values()} - {
        path.parent for path in modules().values() if path.name == "__init__.py"
    }
    assert not bare


def test_only_models_lies_elsewhere() -> None:
    mapped = dict(line.split(" = ") for line in CONFIG["options"]["package_dir"].strip().splitlines())
    assert {name: ROOT / folder for name, folder in mapped.items()} == {
        name: folder for name, folder in FOLDERS.items() if name != "tinygrad_seq"
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_found_under_its_installed_name(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, f"{name} is not installed: pip install -e ."
    assert importlib.import_module(name).__name__ == name


def test_types_and_cuda_sources_are_package_data() -> None:
    data = CONFIG["options.package_data"]
    assert "py.typed" in data["tinygrad_seq"].split()
    assert (ROOT / "tinygrad_seq/py.typed").is_file()
    others = {path.suffix for path in (ROOT / "tinygrad_seq").rglob("*") if path.is_file()} - {".py", ".pyc", ".typed"}
    assert {f"*{suffix}" for suffix in others} <= set(data["*"].split()), f"not shipped: {others}"


def test_models_is_never_imported_by_its_folder_name() -> None:
    """`import models` works by accident from the root, and gives a second copy of every class."""
    files = [*modules().values()]
    files += [path for folder in ("tests", "benchmarks", "experiments") for path in (ROOT / folder).rglob("*.py")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            assert not [name for name in names if name.split(".")[0] == "models"], f"{path}:{node.lineno}"
    assert not [name for name in sys.modules if name.split(".")[0] == "models"]


def test_the_version_is_the_installed_one() -> None:
    assert metadata.version("tinygrad-seq") == CONFIG["metadata"]["version"]
    assert f"## {CONFIG['metadata']['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("[", "")


def test_all_is_the_users_extras_together() -> None:
    assert CONFIG["options.extras_require"]["all"].strip() == "tinygrad-seq[viz,text,fast]"


def test_models_of_a_clone_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ts, "models", raising=False)
    monkeypatch.setitem(sys.modules, "tinygrad_seq.models", None)  # what import says of a module that is not there
    with pytest.raises(ImportError, match="pip install -e"):
        _ = ts.models
