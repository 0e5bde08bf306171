"""Speed and memory of tinygrad_seq, side by side with other libraries: `python -m benchmarks`.

Each contender is a process of its own, and they take turns. A row is what they all do: mostly a training step of one
model, by its own file in `rows/`, where ours and the others' stand one below the other.
"""
