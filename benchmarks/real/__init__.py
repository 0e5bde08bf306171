"""Real tasks: the command of each recipe, what it must beat, and the same model trained by PyTorch beside it.

`python -m benchmarks.real` runs them, `python -m benchmarks.real.page` writes docs/real-tasks.md from what was kept.
"""
