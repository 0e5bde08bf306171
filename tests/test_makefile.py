"""`make` on a newcomer's machine: which Python it takes, and what it says where there is none to take.

Each test has a PATH of its own: a folder with the few tools that make needs, and made-up Pythons.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None or os.name == "nt", reason="there is no make here")


class Machine:
    """A copy of the Makefile beside a folder of programs that is the whole PATH."""

    def __init__(self, root: Path) -> None:
        self.home, self.bin = root / "a clone", root / "bin"  # a path with a space, as people have them
        (self.home / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("Makefile", "setup.cfg", "pyproject.toml", "scripts/make_venv.sh"):
            shutil.copy(ROOT / name, self.home / name)
        for tool in ("sh", "touch", "rm", "mkdir", "env"):
            self.program(tool, f'exec {shutil.which(tool)} "$@"')

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def python(self, name: str, version: tuple[int, int], *, has_venv: bool = True) -> None:
        """A program that answers as that Python would, and makes an environment of one file."""
        new = 1 if version < (3, 11) else 0
        self.program(
            name,
            f"""case "$*" in
  *print*) echo {version[0]}.{version[1]} ;;
  *ensurepip*) exit {0 if has_venv else 1} ;;
  *version_info*) exit {new} ;;
  "-m venv --clear "*) mkdir -p "$4/bin"; echo made by {name} > "$4/made-by"; echo "#!/bin/sh" > "$4/bin/python" ;;
  *) exit 2 ;;
esac""",
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert MAKE is not None
        return subprocess.run(
            [MAKE, *arguments],
            cwd=self.home,
            env={"PATH": str(self.bin), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
        )

    def made_by(self) -> str:
        return (self.home / ".venv/made-by").read_text(encoding="utf-8").strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_is_taken(machine: Machine) -> None:
    machine.python("python3", (3, 10))
    machine.python("python3.11", (3, 11))
    machine.python("python3.13", (3, 13))
    done = machine.make("venv")
    assert done.returncode == 0, done.stderr
    assert machine.made_by() == "made by python3.13"


def test_plain_python3_is_taken_when_it_is_new_enough(machine: Machine) -> None:
    machine.python("python3", (3, 15))
    assert machine.make("venv").returncode == 0
    assert machine.made_by() == "made by python3"


def test_a_shim_that_fails_to_run_is_passed_over(machine: Machine) -> None:
    machine.program("python3.14", 'echo "pyenv: python3.14: command not found" >&2; exit 127')
    machine.python("python3.12", (3, 12))
    done = machine.make("venv")
    assert done.returncode == 0 and "pyenv" not in done.stderr
    assert machine.made_by() == "made by python3.12"


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 10)])
def test_an_old_python_is_refused_by_name(machine: Machine, version: tuple[int, int]) -> None:
    machine.python("python3", version)
    done = machine.make("venv")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr and f"python3 ({version[0]}.{version[1]})" in done.stderr
    assert "apt install" in done.stderr and "brew install" in done.stderr
    assert not (machine.home / ".venv").exists()


def test_no_python_at_all(machine: Machine) -> None:
    done = machine.make("demo")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer; found: none" in done.stderr


def test_a_missing_venv_module_says_what_to_install(machine: Machine) -> None:
    machine.python("python3", (3, 12), has_venv=False)
    done = machine.make("venv")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr and "python3.12-venv" in done.stderr


def test_another_python_that_has_venv_is_taken_instead(machine: Machine) -> None:
    machine.python("python3.12", (3, 12), has_venv=False)
    machine.python("python3.11", (3, 11))
    assert machine.make("venv").returncode == 0
    assert machine.made_by() == "made by python3.11"


def test_a_named_python_is_the_only_one_tried(machine: Machine) -> None:
    machine.python("python3.14", (3, 14))
    machine.python("my-python", (3, 11))
    assert machine.make("venv", f"PYTHON={machine.bin / 'my-python'}").returncode == 0
    assert machine.made_by() == "made by my-python"


def test_an_environment_made_by_hand_is_kept(machine: Machine) -> None:
    machine.python("python3.12", (3, 12))
    subprocess.run([sys.executable, "-m", "venv", machine.home / ".venv"], check=True)
    (machine.home / ".venv/mine").touch()
    done = machine.make("venv")
    assert done.returncode == 0, done.stderr
    assert (machine.home / ".venv/mine").exists() and not (machine.home / ".venv/made-by").exists()


def test_nothing_is_done_twice(machine: Machine) -> None:
    machine.python("python3.12", (3, 12))
    machine.make("venv")
    (machine.home / ".venv/bin/python").chmod(0o755)
    (machine.home / ".venv/made-by").unlink()
    assert machine.make("venv").returncode == 0
    assert not (machine.home / ".venv/made-by").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    machine.python("python3.12", (3, 12))
    machine.make("venv")
    (machine.home / ".venv/bin/python").unlink()
    (machine.home / ".venv/.installed-test").touch()
    assert machine.make("venv").returncode == 0
    assert machine.made_by() == "made by python3.12"
    assert not (machine.home / ".venv/.installed-test").exists()


def test_help_names_every_command(machine: Machine) -> None:
    done = machine.make()
    assert done.returncode == 0
    for target in ("demo", "test", "check", "test-cupy", "bench", "bench-quick", "experiments", "clean"):
        assert f"make {target} " in done.stdout


def test_only_what_gnu_make_3_81_knows() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for newer in (".ONESHELL", "!=", "&:", "::=", "$(file", ".SHELLFLAGS", "undefine", "$(let", "$(intcmp"):
        assert newer not in text, newer


def test_clean_keeps_what_was_trained(machine: Machine) -> None:
    machine.program("find", f'exec {shutil.which("find")} "$@"')
    machine.program("true", "exit 0")
    (machine.home / "out").mkdir()
    (machine.home / ".venv").mkdir()
    assert machine.make("clean").returncode == 0
    assert (machine.home / "out").exists() and not (machine.home / ".venv").exists()
