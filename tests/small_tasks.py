"""Trainings small enough for a test, on every model there is, and what two equal runs leave behind."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as ts
from small_models import SMALL, outputs
from tinygrad_seq.data import Prefetch, RandomBlocks
from tinygrad_seq.models import GPT, GPTConfig, LanguageModel, LanguageModelConfig
from tinygrad_seq.train import LanguageModelTask, Trainer

V = 7
IDS = np.tile(np.array([0, 3, 1, 4, 1, 5, 2, 6]), 200)  # 1 is followed by 4 or 5: one needs memory to know which
TIMES = {"per_second", "seconds", "step_seconds"}  # what differs between equal runs


class Drawn:
    """Batch k is the given arrays, with other tokens in the first of them, drawn by k alone; padding stays."""

    def __init__(self, arrays: tuple[np.ndarray, ...]) -> None:
        self.arrays, self.position = arrays, 0

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        tokens, *others = self.arrays
        while True:
            drawn = np.random.default_rng(self.position).integers(1, V, tokens.shape)
            self.position += 1
            yield [np.where(tokens > 0, drawn, 0), *others]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


class SmallTask:
    """What a batch of prefetched arrays costs, by any function of the model and the batch."""

    def __init__(
        self, model: ts.nn.Module, source: Any, loss: Callable[..., ts.Tensor], device: str | None = None
    ) -> None:
        self.model, self.source, self._loss, self.device = model, Prefetch(source), loss, device
        for _, module in model.named_modules():
            if isinstance(module, ts.nn.Dropout):
                module.p = 0.1
        self.held_out = next(iter(source))
        self.source.load_state_dict(source.state_dict() | {"position": 0})

    def batches(self) -> Iterator[Any]:
        return iter(self.source)

    def loss(self, batch: Any) -> ts.Tensor:
        return self._loss(self.model, *(ts.tensor(array, device=self.device) for array in batch))

    def size(self, batch: Any) -> int:
        return batch[0].size

    def evaluate(self) -> dict[str, float]:
        with ts.nn.evaluating(self.model):
            return {"loss": self.loss(self.held_out).item()}

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, self.source.state_dict()

    def load_state_dict(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        self.source.load_state_dict(values)


def on_rows(name: str, device: str | None = None) -> SmallTask:
    """A task on a row of SMALL: what the model says shall become small."""
    make, inputs, call = SMALL[name]

    def loss(model: Any, *arrays: ts.Tensor) -> ts.Tensor:
        return ts.ops.stack([(y * y).mean() for y in outputs(call(model, *arrays))]).sum()

    return SmallTask(make().to(device or "cpu"), Drawn(inputs), loss, device)


def gpt(device: str | None = None) -> SmallTask:
    """A GPT on random blocks."""
    model = GPT(GPTConfig(V, block_size=8, n_layer=2, n_head=2, n_embd=8)).to(device or "cpu")

    def loss(model: Any, x: ts.Tensor, y: ts.Tensor) -> ts.Tensor:
        return ts.ops.cross_entropy(model(x), y)

    return SmallTask(model, RandomBlocks(IDS, 3, 8, seed=5), loss, device)


def language_model(device: str | None = None, dropout: float = 0.2) -> LanguageModelTask:
    """Two LSTMs with dropout between them, the state carried from batch to batch."""
    model = LanguageModel(LanguageModelConfig(V, hidden_size=12, num_layers=2, dropout=dropout)).to(device or "cpu")
    return LanguageModelTask(model, IDS[:1200], IDS[1200:], batch_size=4, num_steps=10, device=device)


def small_trainer(task: Callable[[], Any], directory: Path | None = None, **options: Any) -> Trainer:
    """A Trainer for 20 steps with everything on: a warm-up, clipping that fires, evaluations, reports."""
    ts.seed(3)
    built = task()
    optimizer = options.pop("optimizer", lambda params: ts.optim.Adam(params, 1e-2))(built.model.parameters())
    schedules = ts.optim.schedules
    given = {"steps": 20, "clip": 0.2, "evaluate_every": 4, "report_every": 3}
    given["schedule"] = schedules.linear_warmup(schedules.cosine(1e-2, 20, 1e-3), 5)
    return Trainer(built, optimizer, directory=directory, **given | options)


def left_behind(directory: Path) -> dict[str, Any]:
    """What two equal runs leave equal: the latest checkpoint to the last byte, and the log without its times."""
    checkpoints = directory / "checkpoints"
    names = {which: (checkpoints / which).read_text() for which in ("latest", "best") if (checkpoints / which).exists()}
    files = {path.name: path.read_bytes() for path in (checkpoints / names["latest"].strip()).iterdir()}
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return names | files | {"log": [{k: v for k, v in line.items() if k not in TIMES} for line in lines]}


def assert_equal_runs(one: Path, other: Path) -> None:
    """Name what differs, rather than print bytes."""
    a, b = left_behind(one), left_behind(other)
    assert a.keys() == b.keys()
    assert not [name for name in a if a[name] != b[name]]
