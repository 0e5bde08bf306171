"""The rows, one model a file: the batch, ours, then the same in other libraries, then its matrix products alone.

What a file has: `Sizes` and `TINY` ones, `batch`; and `ours`, `in_torch` and so on, which take the sizes and what is
given (the batch and the weights, `steps.Given`) and return a step.
"""
