"""The gradient of an embedding: each row of it is added to its row of the table, one after another."""

from typing import Any

import numpy as np

from .compiler import kernel


@kernel
def _add_rows(rows: Any, values: Any, table: Any) -> None:
    for k in range(rows.size):
        row, value = table[rows[k]], values[k]
        for d in range(value.size):
            row[d] += value[d]


def add_rows(rows: Any, values: Any, table: Any) -> Any:
    """table[rows[k]] += values[k], for values (N, D) and rows from 0 on; gives the table."""
    _add_rows(rows, np.ascontiguousarray(values), table)
    return table
