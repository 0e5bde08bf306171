"""Scaled dot-product attention in tiles of queries and keys: the weights of all pairs are never held at once."""

import itertools
from typing import Any

TILE = 256  # queries and keys of a tile
MASK64 = 2**64 - 1


def kept_tile(be: Any, key: int, i: int, j: int, shape: tuple[int, ...], p: float) -> Any:
    """Which weights of the tile (i, j) dropout keeps: a function of the key and the tile, keys before queries."""
    return be.keep_mask((key + (i * 2**32 + j) * 0xD1B54A32D192ED03) & MASK64, shape, p)


def kept_weights(be: Any, key: int, shape: tuple[int, ...], p: float, dtype: Any) -> Any:
    """The factor of each weight (..., S, T): 0, or 1 / (1 - p) to keep the mean."""
    *lead, S, T = shape
    kept = be.empty(shape, dtype)
    for i, j in itertools.product(range(0, S, TILE), range(0, T, TILE)):
        tile = (*lead, min(TILE, T - j), min(TILE, S - i))
        kept[..., i : i + TILE, j : j + TILE] = kept_tile(be, key, i // TILE, j // TILE, tile, p).swapaxes(-1, -2)
    kept *= 1 / (1 - p)
    return kept
