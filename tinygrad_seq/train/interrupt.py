"""Ctrl-C while training: the first finishes the step, so that a checkpoint can be saved; the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C (SIGINT) or SIGTERM, after a whole step.

    Attributes:
        step: how many steps are done.
        checkpoint: the folder of the checkpoint that was saved then; None where the Trainer has no directory.
    """

    def __init__(self, step: int, checkpoint: Path | None) -> None:
        saved = "nothing was saved" if checkpoint is None else f"saved in {checkpoint}"
        super().__init__(f"stopped after step {step}; {saved}")
        self.step, self.checkpoint = step, checkpoint


class StopRequest:
    """Whether somebody asked to stop."""

    came = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """A `with` block in which the first SIGINT or SIGTERM is noted, and the next one does what it did before.

    Only the main thread gets signals: elsewhere nothing is changed. A signal that is ignored stays ignored, as it is
    for what `nohup` or a shell's `&` started.
    """
    request, before = StopRequest(), dict[int, Any]()

    def put_back() -> None:
        while before:
            signal.signal(*before.popitem())

    def note(number: int, frame: FrameType | None) -> None:
        request.came = True
        put_back()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: set by other than Python
                before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        put_back()
