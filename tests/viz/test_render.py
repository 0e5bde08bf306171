"""Finding Graphviz, and what happens when it fails."""

import ast
import sys
import time
from pathlib import Path

import pytest

import tinygrad_seq as ts
from tinygrad_seq import viz
from tinygrad_seq.viz import Graph, Node, RenderError, render
from viz.renderers import AVAILABLE, needs_dot, script

posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
ONE = Graph("", (Node("n0", "op", "x", ()),), (), ())


@posix
def test_dot_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot = script(tmp_path / "dot", "echo '{}'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render.find() == render.Renderer(str(dot), False)


def test_graphviz_pure_comes_second_without_being_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(renderer.pure for renderer in AVAILABLE):
        pytest.skip("graphviz-pure is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = render.find()
    assert found.pure and Path(found.path).stem == "graphviz-pure"
    assert ONE.svg().startswith("<svg")


@posix
def test_a_graphviz_pure_that_pip_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise render.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(render.metadata, "distribution", unknown)
    monkeypatch.setattr(render.sysconfig, "get_path", lambda name: str(tmp_path / "none"))
    program = script(tmp_path / "graphviz-pure", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render.find() == render.Renderer(str(program), True)


def test_without_any_the_error_names_both_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_pure", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match=r"apt install graphviz.*pip install 'tinygrad-seq\[viz\]'"):
        ONE.svg()
    with pytest.raises(RenderError):
        viz.check()
    bundle = ONE._repr_mimebundle_()
    assert "image/svg+xml" not in bundle
    assert bundle["text/plain"].startswith(ONE.text()) and "apt install graphviz" in bundle["text/plain"]
    assert ONE.dot.startswith("digraph")  # text needs no program


@posix
def test_a_hanging_dot_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "dot", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(render, "TIMEOUT", 0.3)
    start = time.perf_counter()
    with pytest.raises(RenderError, match=r"did not finish within 0\.3 s.*save it as \.dot"):
        ONE.svg()
    assert time.perf_counter() - start < 20


@posix
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{child} & sleep 60", "did not finish"),  # it hangs with its child
        ("{child} & exit 3", "did not finish"),  # it is gone, and its child holds what it wrote into
        ("{child} < /dev/null > /dev/null 2> /dev/null & exit 3", "failed with status 3"),  # nobody waits for the child
        ("trap '' TERM INT HUP; {child} & sleep 60", "did not finish"),
    ],
)
def test_what_dot_started_ends_with_it(
    lines: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "alive"
    script(tmp_path / "child", f"for k in $(seq 600); do echo >> {log}; sleep 0.02; done")
    script(tmp_path / "dot", lines.format(child=tmp_path / "child"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(render, "TIMEOUT", 0.5)
    start = time.perf_counter()
    with pytest.raises(RenderError, match=message):
        ONE.svg()
    assert time.perf_counter() - start < 5
    before = log.stat().st_size if log.exists() else 0
    time.sleep(0.3)
    assert (log.stat().st_size if log.exists() else 0) == before


@posix
def test_an_interrupt_ends_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "alive"
    script(tmp_path / "dot", f"for k in $(seq 600); do echo >> {log}; sleep 0.02; done")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    def interrupt(*_: object) -> None:
        while not log.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(render.subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ONE.svg()
    before = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == before


@posix
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo first >&2; echo 'syntax error' >&2; exit 3", "failed with status 3: syntax error"),
        ("kill -SEGV $$", "failed with status -11"),
        ("exit 0", "failed with status 0"),
        ("echo hello", "something else than a layout"),
        ('echo \'{"bb": "0,0,1"}\'', "something else than a layout"),
    ],
)
def test_a_failing_dot_is_a_clear_error(
    lines: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "dot", f"cat > /dev/null\n{lines}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RenderError, match=message):
        ONE.svg()


@posix
def test_a_dot_that_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(tmp_path / "dot", "")
    program.write_bytes(b"\x7fELF nonsense")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="cannot be run"):
        ONE.svg()


@posix
def test_no_shell_sees_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "dot", f'echo "$#:$1" > {tmp_path}/arguments; cat > {tmp_path}/input; exit 1')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RenderError):
        Graph("$(touch hacked); `id`", ONE.nodes, (), ()).svg()
    assert (tmp_path / "arguments").read_text() == "1:-Tjson0\n"


def test_no_part_of_the_package_asks_for_a_shell() -> None:
    root = Path(ts.__file__).parent
    asking = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
    found = []
    for file in (*root.rglob("*.py"), *Path(ts.models.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            shell = isinstance(node, ast.keyword) and node.arg == "shell"
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if shell or name in asking:
                found.append(f"{file.name}: {name or 'shell='}")
    assert not found


# -- files


@needs_dot
@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("json", b"{"), ("txt", b"0  x")],
)
def test_files(suffix: str, start: bytes, tmp_path: Path) -> None:
    if suffix in ("png", "pdf"):
        pytest.importorskip("matplotlib")
    for name in (f"x.{suffix}", f"y.{suffix.upper()}"):
        path = ONE.save(str(tmp_path / name))
        assert path == tmp_path / name and path.read_bytes().startswith(start)
        assert path.stat().st_mode & 0o400
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"x.{suffix}", f"y.{suffix.upper()}"]


def test_an_unknown_suffix_lists_those_that_are_known(tmp_path: Path) -> None:
    for name in ("x.gif", "x"):
        with pytest.raises(ValueError, match=r"known: \.svg, \.png, \.pdf, \.dot"):
            ONE.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none' does not exist: make it first"):
        ONE.save(tmp_path / "none" / "x.dot")


@posix
def test_a_failure_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.svg").write_text("old")
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "dot", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(RenderError):
        ONE.save(tmp_path / "x.svg")
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        ONE.save(tmp_path / "x.dot")
    assert (tmp_path / "x.svg").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "x.svg"]


@needs_dot
def test_jupyter_gets_svg_and_text() -> None:
    w = ts.tensor([1.0], requires_grad=True)
    g = ts.graph(w * w)
    bundle = g._repr_mimebundle_()
    assert bundle["image/svg+xml"] == g.svg() and bundle["text/plain"] == str(g)
    assert repr(g) == "<Graph '': 2 boxes, 2 arrows>"


@needs_dot
def test_jupyter_gets_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    svg, text = "image/svg+xml", "text/plain"
    for include, exclude, kinds in [
        ([svg], None, {svg}),
        ({text}, None, {text}),
        (None, [svg], {text}),
        (None, {text}, {svg}),
        ({svg, text}, {svg}, {text}),
        (["image/png"], None, set()),
        (None, None, {svg, text}),
    ]:
        assert set(ONE._repr_mimebundle_(include=include, exclude=exclude)) == kinds
    monkeypatch.setattr(render, "find", lambda: render.Renderer("not-there", False))
    assert "cannot be run" in ONE._repr_mimebundle_(include=[svg])[text]
    assert set(ONE._repr_mimebundle_(include=[text])) == {text}


@needs_dot
def test_check_passes_where_everything_is_there() -> None:
    pytest.importorskip("matplotlib")
    viz.check()
