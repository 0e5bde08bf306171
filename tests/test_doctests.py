"""The examples in the docstrings, run under the names by which the modules are installed."""

import doctest
import importlib

import pytest

from house import modules

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", [name for name in modules() if not name.endswith("__main__")])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0, (
        f"{result.failed} of {result.attempted} examples in {name} failed; they are printed above"
    )
