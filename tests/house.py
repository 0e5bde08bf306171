"""Where the project's packages and modules lie, for the tests that look at the source itself."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"tinygrad_seq": ROOT / "tinygrad_seq", "tinygrad_seq.models": ROOT / "models"}


def modules(folders: dict[str, Path] = FOLDERS) -> dict[str, Path]:
    """{name: file} of every module below the given packages, by the names under which they are installed."""
    found = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found
