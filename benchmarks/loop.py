"""What the Trainer's loop costs: predictions per second of the whole loop, against those of its bare step.

The loop is a run as people have it: batches out of a text, a schedule, clipping, a log, a report every 10 steps. The
bare step is loss, backward, clip and Adam on one batch that is there. They take turns in one process.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.models import GPT, GPTConfig, LanguageModel, LanguageModelConfig
from tinygrad_seq.train import BlockTask, LanguageModelTask, Trainer

from .side_by_side import spread

V = 65
STEPS = 20  # of a turn: two reports are in it


class Subject(NamedTuple):
    """What is trained."""

    about: str
    task: Callable[[np.ndarray], Any]  # from the ids of a text


def language_model(ids: np.ndarray) -> LanguageModelTask:
    model = LanguageModel(LanguageModelConfig(V, hidden_size=128))
    return LanguageModelTask(model, ids, ids[:100], batch_size=32, num_steps=64)


def gpt(ids: np.ndarray) -> BlockTask:
    model = GPT(GPTConfig(V, block_size=64, n_layer=4, n_head=4, n_embd=128, dropout=0.0))
    return BlockTask(model, ids, ids[:100], batch_size=12, block_size=64)


SUBJECTS = {
    "char-lm": Subject("LSTM language model, H 128, B 32, T 64", language_model),
    "gpt": Subject("GPT, 4 layers, 4 heads, D 128, B 12, T 64", gpt),
}


class Turns(ts.train.Callback):
    """After every STEPS steps of the loop, as many bare ones."""

    def __init__(self, bare: Callable[[], None]) -> None:
        self.bare = bare
        self.loop: list[np.ndarray] = []  # (seconds, seconds of the CPU) of each turn
        self.alone: list[np.ndarray] = []
        self.since = now()

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step % STEPS:
            return
        start = now()
        self.loop.append(start - self.since)
        for _ in range(STEPS):
            self.bare()
        self.since = now()
        self.alone.append(self.since - start)


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def bare_step(task: Any) -> Callable[[], None]:
    """A step of another model of the same kind, on one batch."""
    batch = next(task.batches())
    optimizer = ts.optim.Adam(task.model.parameters(), 1e-3)

    def step() -> None:
        loss = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        ts.optim.clip_grad_norm(task.model.parameters(), 1.0)
        optimizer.step()

    return step


def measure_loops(subjects: dict[str, Subject], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """{subject: about, predictions per second of bare and loop; cost: the loop's time over the bare step's, less 1, and
    that of the CPU, which other programs on the machine disturb less; checkpoint: ms for one}."""
    found: dict[str, Any] = {}
    for name, (about, make) in subjects.items():
        ids = np.random.default_rng(0).integers(0, V, 200_000)
        ts.seed(0)
        task, turns = make(ids), Turns(bare_step(make(ids)))
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                task,
                ts.optim.Adam(task.model.parameters(), 1e-3),
                steps=(rounds + 1) * STEPS,
                schedule=ts.optim.schedules.linear_warmup(ts.optim.schedules.constant(1e-3), 50),
                evaluate_every=10**9,
                directory=folder,
                callbacks=[turns],
            )
            trainer.run()
            start = time.perf_counter()
            trainer.save()
            saving = time.perf_counter() - start
        loop, bare = (np.array(each[1:]).T for each in (turns.loop, turns.alone))  # the first turns warm up
        predictions = STEPS * task.size(next(task.batches()))
        found[name] = {
            "about": about,
            "per_second": {
                "bare": spread((predictions / bare[0]).tolist())._asdict(),
                "loop": spread((predictions / loop[0]).tolist())._asdict(),
            },
            "cost": spread((loop[0] / bare[0] - 1).tolist())._asdict(),
            "cost_in_cpu": spread((loop[1] / bare[1] - 1).tolist())._asdict(),
            "checkpoint": 1e3 * saving,
        }
        say(f"loop, {about}: {100 * found[name]['cost_in_cpu']['median']:.1f} % of CPU time over the bare step")
    return found
