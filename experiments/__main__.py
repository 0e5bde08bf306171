"""Run every experiment, keep what it finds, and write docs/experiments.md: python -m experiments"""

import sys

from . import NAMES
from .common import keep, module, tried
from .page import PAGE, page

failed = []
for name in NAMES:
    found, seconds = tried(module(name).run, name)
    keep(name, found, 0, seconds)
    if not all(claim.holds for claim in found.claims):
        failed.append(name)
PAGE.write_text(page(), encoding="utf-8")
sys.exit(f"claims that do not hold: {', '.join(failed)}" if failed else 0)
