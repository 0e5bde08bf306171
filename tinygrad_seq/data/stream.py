"""A long text as batches of a language model: rows that go on where they stopped, or blocks from anywhere in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .synthetic import generator


class LanguageModelStream:
    """The text cut into B rows that are read side by side, T symbols at a time: truncated backpropagation through time.

    Row b is the b-th of B equal stretches of the text, S = ⌊(N-1) / B⌋ symbols long. Batch k is columns kT … kT+T-1:

        x[b, t] = ids[b·S + k·T + t]        y[b, t] = ids[b·S + k·T + t + 1]        x, y: (B, T)

    so y is the symbol that follows x, and row b of batch k+1 continues row b of batch k: the recurrent state that a
    model had at the end of one batch is the right one for the beginning of the next. One `for` is one pass over the
    text; begin it with a fresh state. All batches have the same shape, so the mean of their mean losses is the mean
    over all predicted symbols; what does not fill them (fewer than T columns, fewer than B symbols at the end) is left
    out. Batches are copies with the dtype of `ids`.

    Args:
        ids: the encoded text, (N,), integers; or a memory map of it, of which a batch is read at a time.
        batch_size: B, the number of rows.
        num_steps: T, the symbols of a row in one batch, through which gradients flow.

    Attributes:
        position: the batch that comes next, 0 … len-1. A `for` begins there, and a stopped one leaves it there;
            after the last batch it is 0 again. Set it to go elsewhere.
        num_symbols: how many symbols one pass predicts: len · B · T.

    Raises:
        TypeError: the ids are not integers.
        ValueError: the ids are not a row, a size is below 1, or the text is too short for one batch (B·T + 1 symbols).

    >>> stream = LanguageModelStream(np.arange(14), batch_size=2, num_steps=3)
    >>> for x, y in stream:
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]]
    [[3, 4, 5], [9, 10, 11]] [[4, 5, 6], [10, 11, 12]]
    """

    def __init__(self, ids: np.ndarray, batch_size: int, num_steps: int) -> None:
        ids = _checked(ids)
        if batch_size < 1 or num_steps < 1:
            raise ValueError(f"expected batch_size and num_steps of at least 1, got {batch_size} and {num_steps}")
        needed = batch_size * num_steps + 1
        if len(ids) < needed:
            raise ValueError(
                f"batches of {batch_size} rows of {num_steps} steps need a text of at least "
                f"{batch_size} · {num_steps} + 1 = {needed} symbols, got {len(ids)}; "
                "give a longer text, or make batch_size or num_steps smaller"
            )
        row = (len(ids) - 1) // batch_size
        self.batch_size = batch_size
        self.num_steps = num_steps
        self._x = ids[: batch_size * row].reshape(batch_size, row)
        self._y = ids[1 : batch_size * row + 1].reshape(batch_size, row)
        self._position = 0

    def __len__(self) -> int:
        """The number of batches in one pass."""
        return self._x.shape[1] // self.num_steps

    @property
    def num_symbols(self) -> int:
        return len(self) * self.batch_size * self.num_steps

    @property
    def position(self) -> int:
        return self._position

    @position.setter
    def position(self, batch: int) -> None:
        if not 0 <= batch < len(self):
            raise ValueError(f"expected a position from 0 to {len(self) - 1}, the last batch, got {batch}")
        self._position = batch

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in range(self._position, len(self)):
            # Moved on before the batch is handed out: a state saved while it is worked on says what comes after it.
            self._position = (batch + 1) % len(self)
            steps = slice(batch * self.num_steps, (batch + 1) * self.num_steps)
            yield self._x[:, steps].copy(), self._y[:, steps].copy()

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, and the shape of what it cuts: plain integers, for a checkpoint."""
        return self._shape() | {"position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where another stream over the same text, cut in the same way, stood.

        Raises:
            ValueError: that stream was cut differently, or over a text of another length.
        """
        theirs = {name: state.get(name) for name in self._shape()}
        if theirs != self._shape() or "position" not in state:
            raise ValueError(
                f"expected the position of a stream with {self._shape()}, got {dict(state)}; "
                "go on with the same text, batch_size and num_steps"
            )
        self.position = state["position"]

    def _shape(self) -> dict[str, int]:
        return {"batch_size": self.batch_size, "num_steps": self.num_steps, "row_length": self._x.shape[1]}


class RandomBlocks:
    """Batches of blocks that begin anywhere in the text, without end, as nanoGPT draws them.

    Batch k is B blocks of T symbols, y the symbols that follow:

        s_b ~ uniform on 0 … N-T-1        x[b, t] = ids[s_b + t]        y[b, t] = ids[s_b + t + 1]        x, y: (B, T)

    The starts of batch k depend on the seed and on k alone, so that a position is all there is to save. A pass that saw
    every symbol once does not exist: to compare losses, evaluate on `LanguageModelStream`. Batches are copies with the
    dtype of `ids`.

    Args:
        ids: the encoded text, (N,), integers; or a memory map of it, of which a batch is read at a time.
        batch_size: B, blocks in a batch.
        block_size: T, symbols in a block.
        seed: the same seed gives the same blocks.

    Attributes:
        position: the batch that comes next, from 0 on. Set it to go elsewhere.

    Raises:
        TypeError: the ids are not integers.
        ValueError: the ids are not a row, a size is below 1, or the text is shorter than T + 1 symbols.

    >>> blocks = RandomBlocks(np.arange(100), batch_size=2, block_size=3, seed=0)
    >>> x, y = next(iter(blocks))
    >>> x.tolist(), y.tolist()
    ([[82, 83, 84], [61, 62, 63]], [[83, 84, 85], [62, 63, 64]])
    """

    def __init__(self, ids: np.ndarray, batch_size: int, block_size: int, *, seed: int) -> None:
        ids = _checked(ids)
        if batch_size < 1 or block_size < 1:
            raise ValueError(f"expected batch_size and block_size of at least 1, got {batch_size} and {block_size}")
        if len(ids) < block_size + 1:
            raise ValueError(
                f"blocks of {block_size} symbols need a text of at least {block_size} + 1 symbols, got {len(ids)}; "
                "give a longer text, or make block_size smaller"
            )
        generator(seed)  # raises for what is no seed
        self.batch_size, self.block_size, self.seed = batch_size, block_size, seed
        self._ids = ids
        self._position = 0

    @property
    def position(self) -> int:
        return self._position

    @position.setter
    def position(self, batch: int) -> None:
        if batch < 0:
            raise ValueError(f"expected a position of at least 0, got {batch}")
        self._position = batch

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        steps = np.arange(self.block_size + 1)
        while True:
            rng = np.random.default_rng([self.seed, self._position])
            self._position += 1  # before the batch is handed out, as in LanguageModelStream
            starts = rng.integers(len(self._ids) - self.block_size, size=(self.batch_size, 1))
            blocks = self._ids[starts + steps]
            yield blocks[:, :-1].copy(), blocks[:, 1:].copy()

    def state_dict(self) -> dict[str, int]:
        """Where it stands, and what is drawn from: plain integers, for a checkpoint."""
        return self._shape() | {"position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where another one over the same text, with the same sizes and seed, stood.

        Raises:
            ValueError: that one was over a text of another length, or had other sizes or another seed.
        """
        theirs = {name: state.get(name) for name in self._shape()}
        if theirs != self._shape() or "position" not in state:
            raise ValueError(
                f"expected the position of random blocks with {self._shape()}, got {dict(state)}; "
                "go on with the same text, batch_size, block_size and seed"
            )
        self.position = state["position"]

    def _shape(self) -> dict[str, int]:
        return {
            "batch_size": self.batch_size,
            "block_size": self.block_size,
            "seed": self.seed,
            "length": len(self._ids),
        }


def _checked(ids: np.ndarray) -> np.ndarray:
    """Ids of one text; of a memory map a plain array that looks into it."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"expected integer ids, got {ids.dtype}; encode the text with a vocabulary first")
    if ids.ndim != 1:
        raise ValueError(f"expected the ids of one text, shape (N,), got {ids.shape}; join the texts first")
    return ids
