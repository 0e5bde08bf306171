"""`tinygrad-seq graph`: a picture of every model, and of what a function of one's own computes."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import tinygrad_seq as ts
from tinygrad_seq import models
from tinygrad_seq.cli import app
from tinygrad_seq.cli.graph import MODELS, NOT_DRAWN, draw
from viz.renderers import needs_dot

MINE = """\
import tinygrad_seq as ts

def my_loss():
    x = ts.tensor([[1.0, 2.0]])
    W = ts.tensor([[3.0], [4.0]], requires_grad=True)
    y = ts.ops.softmax(helper(x, W))
    loss = (y * y).mean()
    return [loss, y]

def my_loss_alone():
    return my_loss()[0]

def freed():
    loss = my_loss()[0]
    loss.backward()
    return loss

def helper(x, W):
    hidden = x @ W
    return hidden

def wrong():
    x = ts.tensor([[1.0, 2.0]])
    return x @ x

def plain():
    return ts.tensor([1.0])

def needs(x):
    return x

def number():
    return 3

layer = ts.nn.Linear(2, 2)
"""


BROKEN = {
    "broken": "x = 1\n\nprint(1 / 0)\n",
    "attribute": "import math\nmath.nix\n",
    "inner": "\nimport not_there_at_all\n",
    "inside": "import inside.other\n",
    "grammar": "x = 1\ndef f(:\n",
    "outer": "x = 1\n\nimport grammar\n",
    "leaving": "import sys\nsys.exit(3)\n",
    "numeric": "import numpy as np\ndef f():\n    return np.stack([])\ndef g():\n    raise SystemExit('enough')\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "users_own.py").write_text(MINE, encoding="utf-8")
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["graph", *map(str, arguments)])


def test_every_model_has_a_picture() -> None:
    public = {name for name in models.__all__ if not name.endswith("Config")}
    assert MODELS.keys() | NOT_DRAWN.keys() == public and not MODELS.keys() & NOT_DRAWN.keys()
    parts = {part.label.rpartition(": ")[2] for part in draw("BERTForPreTraining").parts}
    assert {name for name, why in NOT_DRAWN.items() if "part of BERTForPreTraining" in why} <= parts
    assert not issubclass(models.NGram, ts.nn.Module)


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    g = draw(name)
    assert g.title == name and g.parts[0].label == f"model: {name}" and not g.note
    inputs = {node.label for node in g.nodes if node.kind == "input"}
    assert inputs & {"tokens", "ids", "source"}, inputs
    parameters = [node for node in g.nodes if node.kind == "parameter"]
    assert parameters and all("." in node.path or node.path.endswith("token") for node in parameters)
    assert all(node.path.endswith(node.label) for node in parameters)
    assert any(node.output for node in g.nodes)


def test_names_in_any_spelling() -> None:
    assert draw("language-model") == draw("LanguageModel") == draw("language_model")


def test_text_without_a_file() -> None:
    result = run("language-model", "--open", "lstm")
    assert result.exit_code == 0 and result.stdout.startswith("LanguageModel\n")
    assert "fₜ = σ" in result.stdout and "embedding: Embedding" in result.stdout
    assert "fₜ = σ" not in run("language-model").stdout


def test_open_several_and_all() -> None:
    several = draw("GPT", ["feed forward", "gelu", "layer norm"])
    opened = [part.label for part in several.parts if part.kind == "opened"]
    assert set(opened) == {"feed forward", "GELU", "layer norm"}
    assert not any(node.kind == "fused" for node in draw("GPT", ["all"]).nodes)


def test_time_as_a_grid() -> None:
    assert any(part.kind == "column" for part in draw("tagger", time=True).parts)
    result = run("gpt", "--time")
    assert result.exit_code == 1 and result.stderr.startswith("error: gpt: graph: time=True")


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_every_model(name: str) -> None:
    g = draw(name, grad=True)
    (loss,) = (node for node in g.nodes if node.output)
    assert loss.label.startswith("loss = ") and loss.gradient is not None and loss.gradient.numbers == (1.0,)
    parameters = [node for node in g.nodes if node.kind == "parameter"]
    assert all(node.gradient is not None for node in parameters)
    assert sum(node.gradient.norm > 0 for node in parameters if node.gradient is not None) > len(parameters) * 0.8
    assert draw(name, grad=True) == g  # the same weights


def test_levels_and_equations_on_the_command_line() -> None:
    whole, closed = run("bert"), run("bert", "--depth", "1")
    assert closed.exit_code == 0 and len(closed.stdout.splitlines()) < len(whole.stdout.splitlines()) / 2
    assert "encoder: TransformerEncoder" in closed.stdout and "self_attn" not in closed.stdout
    equations = run("language-model", "--open", "lstm", "--equations")
    assert "σ(W_f x_t + U_f h_{t-1} + b_f)" in equations.stdout
    result = run("tagger", "--time", "--depth", "2")
    assert result.exit_code == 1 and "depth" in result.stderr


def test_gradients_on_the_command_line(folder: Path) -> None:
    result = run("language-model", "--grad", "--time")
    assert result.exit_code == 0 and "‖∂L/∂·‖" in result.stdout
    assert "‖∂L/∂·‖" not in run("language-model", "--time").stdout
    assert "‖∂L/∂·‖ 1\n" in run("users_own:my_loss_alone", "--grad").stdout
    assert "0 everywhere" in run("--help").stdout.replace("\n", " ").replace("  ", " ")


@needs_dot
@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("json", b"{"), ("txt", None)],
)
@pytest.mark.parametrize("name", MODELS)
def test_files_of_every_model(name: str, suffix: str, start: bytes | None, tmp_path: Path) -> None:
    if suffix in ("png", "pdf"):
        pytest.importorskip("matplotlib")
    result = run(name, "-o", tmp_path / f"x.{suffix}")
    assert result.exit_code == 0 and result.stdout.replace("\n", "") == str(tmp_path / f"x.{suffix}")
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(name.encode() if start is None else start)


def test_a_function_of_ones_own(folder: Path) -> None:
    assert run("users_own:my_loss", "-o", "x.json").exit_code == 0
    found = json.loads((folder / "x.json").read_text(encoding="utf-8"))
    assert found["title"] == "users_own:my_loss"
    assert [node["label"] for node in found["nodes"]] == ["x", "W", "@", "y = softmax", "⊙", "loss = mean"]
    assert [node["output"] for node in found["nodes"]] == [False, False, False, True, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nix"], r"no model is called 'nix'; there are AttentionDecoder, .*, Transformer; .* as module:function"),
        (["gpt", "--open", "nix"], r"open='nix' names no fused operation here; there are 'feed forward'"),
        (["gpt", "-o", "x.gif"], r"known: \.svg, \.png"),
        (["gpt", "-o", "none/x.dot"], r"'none' does not exist: make it first"),
        (["nowhere:f"], r"there is no module 'nowhere' in this folder or installed"),
        (["users_own.py:wrong"], r"a module has no \.py: users_own:wrong"),
        (["users_own:nix"], r"module 'users_own' has no function 'nix'"),
        (["users_own:layer"], r"expected a function without arguments, got Linear"),
        (["users_own:needs"], r"expected a function without arguments: missing a required argument: 'x'"),
        (["users_own:number"], r"users_own:number: graph: expected a Tensor or a list of them, got int"),
        (["users_own:plain"], r"users_own:plain: graph: this tensor has no graph"),
        (["attribute:f"], r"attribute cannot be imported: AttributeError: .*'nix' \(attribute\.py, line 2\)"),
        (["inner:f"], r"cannot be imported: ModuleNotFoundError: .*'not_there_at_all' \(inner\.py, line 2\)"),
        (["inside:f"], r"cannot be imported: ModuleNotFoundError: .*'inside\.other'.* \(inside\.py, line 1\)"),
        (["grammar:f"], r"grammar cannot be imported: SyntaxError: invalid syntax \(grammar\.py, line 2\)$"),
        (["outer:f"], r"outer cannot be imported: SyntaxError: invalid syntax \(grammar\.py, line 2\)$"),
        (["leaving:f"], r"leaving cannot be imported: SystemExit: 3 \(leaving\.py, line 2\)"),
        (["numeric:f"], r"numeric:f: ValueError: need at least one array to stack \(numeric\.py, line 3\)"),
        (["numeric:g"], r"numeric:g: SystemExit: enough \(numeric\.py, line 5\)"),
        (["ngram"], r"NGram is a table of counts: it has no graph"),
        (["users_own:wrong"], r"users_own:wrong: ValueError: MatMul .* \(users_own\.py, line 24\)"),
        (["users_own:my_loss", "--grad"], r"users_own:my_loss: graph: grad=True .* got 2 tensors"),
        (["users_own:freed", "--grad"], r"users_own:freed: graph: grad=True .* draw before backward"),
        (["broken:f"], r"broken cannot be imported: ZeroDivisionError: division by zero \(broken\.py, line 3\)"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str, folder: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert re.search(f"^error: .*{words}", result.stderr) and result.stderr.count("\n") == 1


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0 and "tinygrad-seq graph gpt" in result.stdout
