"""Run every program of docs/gallery/README.md where its picture belongs: python scripts/make_gallery.py"""

import os
import re
from pathlib import Path

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main() -> None:
    os.chdir(GALLERY)
    for program in PROGRAM.findall(Path("README.md").read_text(encoding="utf-8")):
        exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    print(f"{len(list(GALLERY.glob('*.svg')))} graphs and {len(list(GALLERY.glob('*.png')))} plots in {GALLERY}")


if __name__ == "__main__":
    main()
