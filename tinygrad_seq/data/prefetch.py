"""Batches made ready in the background, while a model works on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)

_END = object()


class Batches(Protocol[B_co]):
    """Batches that know where they stand: LanguageModelStream, RandomBlocks, BucketedBatches, or one's own."""

    def __iter__(self) -> Iterator[B_co]:
        """The batches of a pass, from where they stand."""

    def state_dict(self) -> dict[str, Any]:
        """Where they stand, after the last batch that was handed out: plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there."""


class Prefetch(Generic[B]):
    """The same batches in the same order, up to `ahead` of them made before they are asked for, by one thread.

    A `for` over it is a `for` over the batches. An error raised there is raised here, after the batches before it. A
    `for` that stops, for whatever reason, ends the thread, waiting for the batch that it is at. Batches that were made
    and not handed out are made again: `state_dict`, and the next `for`, go on after the last one handed out.

    It pays where making a batch takes time, such as reading ids from a slow disk, and not where a batch is a slice of
    memory.

    Args:
        batches: what makes them; leave it alone while a `for` runs.
        ahead: how many batches may wait, at least 1.
    Raises:
        ValueError: `ahead` is below 1. TypeError: the batches have no `state_dict` or `load_state_dict`.

    >>> import numpy as np
    >>> from .stream import LanguageModelStream
    >>> stream = Prefetch(LanguageModelStream(np.arange(14), batch_size=2, num_steps=3))
    >>> [x.tolist() for x, y in stream]
    [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]]
    """

    def __init__(self, batches: Batches[B], ahead: int = 2) -> None:
        if ahead < 1:
            raise ValueError(f"expected at least 1 batch ahead, got {ahead}")
        if not hasattr(batches, "state_dict") or not hasattr(batches, "load_state_dict"):
            raise TypeError(
                f"expected batches with a state_dict and a load_state_dict, got {type(batches).__name__}; "
                "without them what is made ahead of a loop that stops would be lost"
            )
        self.batches, self.ahead = batches, ahead
        self._handed_out: dict[str, Any] | None = None  # where that leaves off, while the thread is ahead of it

    def __iter__(self) -> Iterator[B]:
        made: queue.SimpleQueue[tuple[Any, dict[str, Any]] | BaseException] = queue.SimpleQueue()
        room = threading.Semaphore(self.ahead)
        stop = threading.Event()

        def make() -> None:
            try:
                batches, batch = iter(self.batches), None
                while batch is not _END and room.acquire() and not stop.is_set():
                    batch = next(batches, _END)
                    made.put((batch, self.batches.state_dict()))
            except BaseException as error:
                made.put(error)

        self._handed_out = self.batches.state_dict()
        thread = threading.Thread(target=make, name="prefetch", daemon=True)
        thread.start()
        try:
            while True:
                found = made.get()
                if isinstance(found, BaseException):
                    raise found
                batch, self._handed_out = found
                if batch is _END:
                    return
                room.release()
                yield batch
        finally:
            stop.set()
            room.release()
            thread.join()
            self.batches.load_state_dict(self._handed_out)
            self._handed_out = None

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand, after the last one that was handed out."""
        return self.batches.state_dict() if self._handed_out is None else self._handed_out

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, at the next `for`."""
        self.batches.load_state_dict(state)
