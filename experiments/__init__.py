"""The chapter's claims, each as an experiment: one file, one command, a seed, and thresholds the weaker model fails.

`python -m experiments` runs all of them, and writes docs/experiments.md from what it found.
"""

import os

# One thread, before NumPy is imported: numbers compare, and the small products here are slower on two.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# In the chapter's order, which is that of the page.
NAMES = (
    "agreement", "vanishing", "adding", "copy_memory", "exploding", "skip_connections", "gru",
    "bottleneck", "dates", "saturation", "heads", "order_blindness", "summary_table",
)  # fmt: skip
