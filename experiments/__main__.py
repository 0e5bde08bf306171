"""Run every experiment, keep what it finds, and write docs/experiments.md: python -m experiments"""

import sys

from . import NAMES
from .common import module, tried
from .page import PAGE, page

failed = [name for name in NAMES if not tried(module(name).run, name, kept=True)]
PAGE.write_text(page(), encoding="utf-8")
sys.exit(f"claims that do not hold: {', '.join(failed)}" if failed else 0)
