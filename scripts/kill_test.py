"""Training that is killed again and again, at any moment, and must be to the last bit the training that never was.

    python scripts/kill_test.py [--kills 300] [--seed 0]

Two small models are trained with a checkpoint at every step. First in one go; then in processes that end by SIGKILL,
one after another in one folder: at moments of chance, and inside each call of the file system that saving makes, once
half of what it was to write is written. After every kill each checkpoint in the folder must be whole and equal to that
of the same step in the run that was never killed, the latest one too; at the end all files must be equal.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot be forked
os.environ["TINYGRAD_SEQ_FAST"] = "0"
sys.path[:0] = [str(Path(__file__).resolve().parent.parent / folder) for folder in ("", "tests")]

from small_tasks import assert_equal_runs, gpt, language_model, small_trainer  # noqa: E402
from tinygrad_seq.train import Callback, Trainer, begin, checkpoint, latest_checkpoint, load_checkpoint  # noqa: E402
from tinygrad_seq.train import log as logs  # noqa: E402

STEPS = 8
TASKS: dict[str, Callable[[], Any]] = {"language model": language_model, "GPT": gpt}


def train(task: str, directory: Path, *callbacks: Callback) -> None:
    """From where the folder says, to the end."""
    trainer = small_trainer(TASKS[task], directory, steps=STEPS, checkpoint_every=1, evaluate_every=3, accumulate=2)
    trainer.callbacks += callbacks
    begin(trainer, resume=True)
    trainer.run()


class Keep(Callback):
    """Copies each checkpoint before it is pruned."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        shutil.copytree(path, self.directory / path.name)


def process(work: Callable[[], None]) -> int:
    """Do it in a process of its own, whose id is returned."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def end(pid: int) -> bool:
    """Wait for a process; whether it was killed. An error in it is one here."""
    status = os.waitpid(pid, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0:
        raise SystemExit(f"a training ended by itself with status {status}")
    return killed


def kill_at(moment: int) -> None:
    """From here on this process is killed in its `moment`-th call of the file system, of those that saving makes."""
    left = moment

    def now() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if now():
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    def opening(*args: Any, **kwargs: Any) -> Any:
        stream = open(*args, **kwargs)  # the file is there, and empty
        write = stream.write

        def half(data: Any) -> Any:
            if now():
                write(data[: len(data) // 2])
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return write(data)

        return _Stream(stream, half)

    for name in ("replace", "fsync", "mkdir", "unlink", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))
    checkpoint.open = logs.open = opening  # type: ignore[attr-defined]


class _Stream:
    """A file with another way to write."""

    def __init__(self, stream: Any, write: Callable[[Any], Any]) -> None:
        self._stream, self.write = stream, write

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Run:
    """One training, straight, and the folder in which it is killed."""

    def __init__(self, task: str, root: Path) -> None:
        self.task, self.straight, self.kept, self.killed = task, root / "straight", root / "kept", root / "killed"
        self.kept.mkdir(parents=True)
        begun = time.perf_counter()
        end(process(lambda: train(task, self.straight, Keep(self.kept))))
        self.seconds = time.perf_counter() - begun
        self.moments = 0  # how often it was seen in the middle of a write

    def kill(self, wait: float | None = None, moment: int | None = None) -> bool:
        """Train, be killed, look at what is left; False where the end was reached before."""

        def work() -> None:
            if moment is not None:
                kill_at(moment)
            train(self.task, self.killed)

        pid = process(work)
        if wait is not None:
            time.sleep(wait)
            os.kill(pid, signal.SIGKILL)
        killed = end(pid)
        self.check()
        return killed

    def check(self) -> None:
        """All that looks like a checkpoint is one, and the same as in the run that was never killed."""
        folder = self.killed / "checkpoints"
        if not folder.is_dir():
            return
        self.moments += any(folder.glob("*.tmp"))
        for path in folder.glob("step-??????"):
            for file in (self.kept / path.name).iterdir():
                assert file.read_bytes() == (path / file.name).read_bytes(), f"{path / file.name} is another"
            load_checkpoint(path)
        if latest_checkpoint(folder) is not None:
            load_checkpoint(folder)

    def finish(self) -> None:
        """Train to the end, compare, and begin anew."""
        end(process(lambda: train(self.task, self.killed)))
        self.check()
        assert_equal_runs(self.straight, self.killed)
        shutil.rmtree(self.killed)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=300, help="at moments of chance (300)")
    parser.add_argument("--stride", type=int, default=1, help="of the calls of the file system take each n-th (1)")
    parser.add_argument("--seed", type=int, default=0, help="of chance (0)")
    options = parser.parse_args(arguments)
    chance, began = random.Random(options.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        runs = [Run(task, Path(root) / task) for task in TASKS]
        by_chance = 0
        while by_chance < options.kills:
            run = chance.choice(runs)
            for _ in range(chance.randint(1, 4)):
                by_chance += run.kill(wait=chance.uniform(0, 1.1 * run.seconds))
            run.finish()
        print(f"{by_chance} kills at moments of chance, {sum(run.moments for run in runs)} of them in a write")
        in_calls = 0
        for run in runs:
            moment = 0
            while run.kill(moment=moment):
                in_calls += 1
                moment += options.stride
                run.finish()
            shutil.rmtree(run.killed)
        print(f"{in_calls} kills inside a call of the file system")
    print(f"all {by_chance + in_calls} left whole checkpoints and equal runs ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
