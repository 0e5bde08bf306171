"""The chapter's summary, measured.

"Attention provides direct connections between any positions. Transformers replace recurrence with pure attention,
enabling parallelism."

Four models of the same width read T symbols: an RNN and an LSTM language model, an encoder–decoder of LSTMs with
attention, and a GPT of one block. Everything is measured on them, not derived. In the graph that a forward pass leaves,
every operation an equation of the chapter and not a kernel: how many operations lie on the shortest path from the
vector of the first symbol to what is said at the last place, and how many must be done one after another, however many
processors there are (what moves numbers about, without computing, does not count). Of training steps with the kernels:
how much memory one takes, and how many symbols a second are learned from. The kernel of self-attention works in tiles
and keeps no weights, so its memory does not grow as T², which it does where all are kept. On the one core that did it
nothing runs in parallel: the speed shows the work, and not what the Transformer gains on hardware that does.
"""

from __future__ import annotations

import heapq
import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.core import Op
from tinygrad_seq.core.op import Slot
from tinygrad_seq.models import GPT, AttentionDecoder, AttentionDecoderConfig, GPTConfig, LanguageModel
from tinygrad_seq.models import LanguageModelConfig as LMConfig
from tinygrad_seq.viz.build import PLUMBING
from tinygrad_seq.viz.plots import BLUE, GREEN, ORANGE, RED, panels

from .common import Claim, Outcome, curve, main, outcome

SYMBOLS = 32
STYLES: dict[str, dict[str, Any]] = {
    "RNN": {"color": RED, "marker": "^", "linestyle": "--"},
    "LSTM": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "attention RNN": {"color": ORANGE, "marker": "s", "linestyle": "-."},
    "Transformer": {"color": GREEN, "marker": "D", "linestyle": "-"},
}

RECURRENT, ATTENTION = ("RNN", "LSTM", "attention RNN"), ("attention RNN", "Transformer")
CHAPTER = {  # long-range, parallelizable
    "RNN": ("Limited", "No"),
    "LSTM": ("Better", "No"),
    "attention RNN": ("Good", "Partially"),
    "Transformer": ("Excellent", "Yes"),
}


class Sizes(NamedTuple):
    """How much is measured."""

    walked: tuple[int, ...] = (4, 8, 16, 32, 64, 128)  # T
    trained: tuple[int, ...] = (256, 512, 1024)  # T; up to 256 a kernel of attention keeps all weights, which is faster
    width: int = 64
    batch: int = 4
    times: int = 3


QUICK = Sizes(walked=(4, 8, 16), trained=(512, 1024), width=16, batch=2, times=1)


class Built(NamedTuple):
    """A model, the embedding that its first symbol goes through, and ids (B, T) -> logits (B, T, V)."""

    model: ts.nn.Module
    embedding: ts.nn.Embedding
    logits: Callable[[np.ndarray], ts.Tensor]


def build(name: str, D: int, T: int) -> Built:
    """One of the four, of width D."""
    model: Any
    if name == "Transformer":
        model = GPT(GPTConfig(SYMBOLS, T, n_layer=1, n_head=4, n_embd=D, dropout=0.0))
        return Built(model, model.tokens, model)
    if name == "attention RNN":
        model = AttentionDecoder(AttentionDecoderConfig(SYMBOLS, SYMBOLS, D, D, score="scaled_dot", cell="lstm"))
        return Built(model, model.source_embedding, lambda ids: model(ids, ids))
    model = LanguageModel(LMConfig(SYMBOLS, D, cell=name.lower()))
    return Built(model, model.embedding, lambda ids: model(ids)[0])


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    return outcome({name: measure(name, sizes, seed) for name in STYLES}, claims, draw)


def measure(name: str, sizes: Sizes, seed: int) -> dict[str, Any]:
    ts.seed(seed)
    rng = np.random.default_rng(seed)
    paths, chains, memory, speed = [], [], [], []
    for T in sizes.walked:
        built = build(name, 8, T)
        built.model.to("float64")
        with ts.definitions():
            y = built.logits(rng.integers(0, SYMBOLS, (1, T)))[:, -1]
        paths.append(shortest_path(y, built.embedding.weight, rng))
        chains.append(longest_chain(y))
    texts = [rng.integers(0, SYMBOLS, (sizes.batch, T)) for T in sizes.trained]
    for ids in texts:
        built = build(name, sizes.width, ids.shape[1])
        memory.append(peak_memory(built, ids))
        speed.append(ids.size / min(training_step(built, ids) for _ in range(sizes.times)))
    found = {
        "T walked": list(sizes.walked),
        "shortest path": paths,
        "one after another": chains,
        "T trained": list(sizes.trained),
        "megabytes": memory,
        "symbols a second": speed,
    }
    if name == "Transformer":
        with ts.definitions():
            found["megabytes, all weights kept"] = [
                peak_memory(build(name, sizes.width, ids.shape[1]), ids) for ids in texts
            ]
    return found


# -- in the graph


def counts(op: Op) -> int:
    """Whether it computes."""
    return 0 if type(op).__name__ in PLUMBING else 1


def maker(place: Any) -> Any:
    """The operation whose output this is."""
    return place.op if type(place) is Slot else place


def longest_chain(y: ts.Tensor) -> int:
    """How many operations must be done one after another to compute y."""
    waiting, ops = [maker(y.place)], set()
    while waiting:
        op = waiting.pop()
        if isinstance(op, Op) and op not in ops:
            ops.add(op)
            waiting += [maker(place) for place in op.sources]
    done: dict[Op, int] = {}
    for op in sorted(ops, key=lambda op: -op.number):  # numbers count down: the oldest first
        done[op] = counts(op) + max((done.get(maker(place), 0) for place in op.sources), default=0)
    return done[maker(y.place)]


def shortest_path(y: ts.Tensor, table: ts.Tensor, rng: np.random.Generator) -> int:
    """How many operations lie between y (1, V), said at the last place, and the vector of the first symbol in `table`.

    The graph is walked back from y, the shortest paths first. On its way goes a mask: which numbers of an operation's
    output have been reached. The operation's own derivative says which numbers of its inputs these depend on: it is
    given random numbers where the mask is set, and where the result is not 0, there the path goes on.
    """
    found: dict[tuple[int, int], tuple[Op, dict[int, np.ndarray]]] = {}  # length, number -> op, mask of each output
    waiting: list[tuple[int, int]] = []  # the newest first, among those of one length: numbers count down
    before: dict[tuple[Op, int], np.ndarray] = {}  # reached by a shorter path

    def reach(length: int, place: Any, mask: np.ndarray) -> None:
        op, k = maker(place), place.index if type(place) is Slot else 0
        if not isinstance(op, Op):
            return
        if (length, op.number) not in found:
            found[length, op.number] = op, {}
            heapq.heappush(waiting, (length, op.number))
        masks = found[length, op.number][1]
        masks[k] = masks.get(k, False) | unbroadcast(mask, place.shape)

    reach(0, y.place, np.ones(y.shape, bool))
    while waiting:
        length, number = heapq.heappop(waiting)
        op, masks = found.pop((length, number))
        g: list[Any] = [None] * len(op.outputs or [0])
        for k, mask in masks.items():
            new = mask & ~before.get((op, k), np.zeros_like(mask))
            before[op, k] = new | before.get((op, k), new)
            g[k] = np.where(new, rng.standard_normal(new.shape), 0.0) if new.any() else None
        if all(each is None for each in g):
            continue
        if type(op).__name__ == "Embed" and op.sources[0] is table.place:
            if g[0][:, 0].any():  # (1, T, D): of the first symbol
                return length
            continue
        for place, back in zip(op.sources, op.pull_back(g if op.outputs else g[0], False), strict=True):
            if place is not None:
                reach(length + counts(op), place, back != 0)
    raise ValueError("no path")


def unbroadcast(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of an input that was stretched."""
    mask = np.any(mask, tuple(range(mask.ndim - len(shape))), keepdims=False)
    return np.any(mask, tuple(axis for axis, n in enumerate(shape) if n == 1 != mask.shape[axis]), keepdims=True)


# -- of training


def loss_of(built: Built, ids: np.ndarray) -> ts.Tensor:
    return ts.ops.cross_entropy(built.logits(ids), ids)


def training_step(built: Built, ids: np.ndarray) -> float:
    """How long one takes, in seconds of processor time."""
    optimizer = ts.optim.SGD(built.model.parameters(), 0.0)
    start = time.process_time()
    optimizer.zero_grad()
    loss_of(built, ids).backward()
    optimizer.step()
    return time.process_time() - start


def peak_memory(built: Built, ids: np.ndarray) -> float:
    """The most that a forward and a backward pass held at once, in megabytes."""
    training_step(built, ids)  # the parameters' gradients are there now
    tracemalloc.start()
    loss_of(built, ids).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


# -- what it says


def slope(T: Sequence[int], values: Sequence[float]) -> float:
    """What one symbol more adds, at the longest T."""
    return (values[-1] - values[-2]) / (T[-1] - T[-2])


def exponent(T: Sequence[int], values: Sequence[float]) -> float:
    """p where the values grow as T^p, at the longest T."""
    return math.log(values[-1] / values[-2]) / math.log(T[-1] / T[-2])


def claims(numbers: dict[str, Any]) -> list[Claim]:
    path = {name: slope(found["T walked"], found["shortest path"]) for name, found in numbers.items()}
    chain = {name: slope(found["T walked"], found["one after another"]) for name, found in numbers.items()}
    memory = {name: exponent(found["T trained"], found["megabytes"]) for name, found in numbers.items()}
    attention, transformer = numbers["attention RNN"], numbers["Transformer"]
    more = "that one symbol more adds"
    return [
        *(Claim(f"{name}: operations on the path {more}", path[name], ">=", 1) for name in ("RNN", "LSTM")),
        *(Claim(f"{name}: operations on the path {more}", path[name], "<=", 0) for name in ATTENTION),
        *(Claim(f"{name}: operations one after another {more}", chain[name], ">=", 1) for name in RECURRENT),
        Claim(f"Transformer: operations one after another {more}", chain["Transformer"], "<=", 0),
        *(
            Claim(f"{name}: memory grows as T to the power of", memory[name], "<=", 1.1)
            for name in ("RNN", "LSTM", "Transformer")
        ),
        Claim("attention RNN: memory grows as T to the power of", memory["attention RNN"], ">=", 1.2),
        Claim(
            "Transformer that keeps all weights: memory grows as T to the power of",
            exponent(transformer["T trained"], transformer["megabytes, all weights kept"]),
            ">=",
            1.5,
        ),
        Claim(
            "Transformer: symbols a second, times those of the attention RNN, at the longest T",
            transformer["symbols a second"][-1] / attention["symbols a second"][-1],
            ">=",
            3,
        ),
    ]


def table(numbers: dict[str, Any]) -> str:
    """The chapter's table with what was measured, in Markdown."""
    T = numbers["RNN"]["T trained"][-1]
    rows = [
        f"architecture | path from position 1 to T | operations one after another | memory, T = {T} | grows as "
        f"| symbols a second, T = {T} | the chapter: long-range | parallelizable",
        "---|---|---|---|---|---|---|---",
    ]
    for name, found in numbers.items():
        megabytes, speed = found["megabytes"], found["symbols a second"][-1]
        cells = [
            f"**{name}**",
            linear(found["T walked"], found["shortest path"]),
            linear(found["T walked"], found["one after another"]),
            f"{megabytes[-1]:.3g} MB",
            f"T^{exponent(found['T trained'], megabytes):.1f}",
            f"{float(f'{speed:.2g}'):,.0f}",
            *CHAPTER[name],
        ]
        rows.append(" | ".join(cells))
    return "\n".join(rows)


def linear(T: list[int], values: list[int]) -> str:
    """a T + b, if that is what all values are.

    >>> linear([4, 8, 16], [18, 34, 66]), linear([4, 8, 16], [15, 15, 15])
    ('4 T + 2', '15')
    """
    a = round(slope(T, values))
    b = values[-1] - a * T[-1]
    if values != [a * t + b for t in T]:
        raise ValueError(f"{values} are not on the line {a} T + {b}")
    return f"{a} T + {b}" if a else f"{b}"


def draw(numbers: dict[str, Any]) -> Any:
    figure, axes = panels(2, 2, width=3.8, height=2.8)
    measured = (
        ("T walked", "shortest path", "path from position 1 to T", "operations on the shortest"),
        ("T walked", "one after another", "depth of the graph", "operations one after another"),
        ("T trained", "megabytes", "memory of a training step", "megabytes"),
        ("T trained", "symbols a second", "speed of training on one core", "symbols a second"),
    )
    kept = numbers["Transformer"]
    axes[2].plot(
        kept["T trained"],
        kept["megabytes, all weights kept"],
        color=GREEN,
        linestyle=":",
        label="Transformer, all weights kept",
    )
    for each, (T, values, title, unit) in zip(axes, measured, strict=True):
        for name, found in numbers.items():
            curve(each, found[T], found[values], name, **STYLES[name])
        each.set(title=title, xlabel="T, symbols", ylabel=unit, xscale="log", yscale="log")
        low, high = each.get_ylim()
        marks = [m * 10**k for k in range(7) for m in (1, 3)]
        each.set_yticks(marks, [f"{mark:,}" for mark in marks])
        each.set_xticks(found[T], map(str, found[T]))
        each.set_ylim(low, high)
        each.minorticks_off()
    axes[0].legend(frameon=False)
    axes[2].legend(*(each[:1] for each in axes[2].get_legend_handles_labels()), frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "summary_table")
