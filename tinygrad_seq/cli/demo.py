"""The main job on real text: train a character language model, judge it against count tables, and draw it."""

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tinygrad_seq as ts

from .. import viz
from ..train import History
from .jobs.text import CharConfig, CharLM
from .progress import progress
from .run import prepare, save_config, trainer_of

PROMPT = "The "
SAMPLE = 300  # characters

ABOUT = (
    "A character language model read the Python manual and learned to predict the next character: an embedding, an "
    "LSTM, and an output layer that shares the embedding's table. It was trained by truncated backpropagation through "
    "time, and judged on text that it never saw. Count tables fitted on the same text are what it has to beat."
)
MEMORY = (
    "In the last row of the table the same model is judged with its state zeroed before every character, so that it "
    "knows nothing but the last one. The difference to the row above is what its memory is worth to it. It never "
    "learned to do without: the bigram, which was made for the last character alone, does better there."
)
CURVE = "The loss of each batch and of the held-out text, with the count tables as lines across."
STEP = (
    "Everything that one training step computes. Parameters are boxes, inputs are ellipses; a double border is a "
    "fused operation, which can be opened. The embedding's table is used twice: its gradient is the sum of both uses."
)
CELL = "The six equations of one LSTM step. Each box names the symbol that it computes."


def run(out: Path, *, steps: int, hidden: int, seed: int, device: str) -> None:
    """Do it all; leave checkpoint, plots, graphs and index.html in the folder `out`."""
    console = Console(highlight=False)
    viz.check()  # a minute of training is too much to find out afterwards that nothing can be drawn
    config = CharConfig(steps=steps, hidden=hidden, seed=seed, device=device, checkpoint_every=steps)
    prepare(config)
    training, held_out = CharLM.read(config)
    job = CharLM(config, CharLM.number(config, training, held_out))
    model = job.model()
    model.to(device)
    task: Any = job.task(model, training, held_out)
    trainer = trainer_of(job, task, out)
    out.mkdir(parents=True, exist_ok=True)
    save_config(out, job)

    console.print("[bold]1. The text[/]: the language reference in every Python, pydoc_data.topics")
    sizes = f"{len(training):,} characters to learn from, {len(held_out):,} held out"
    console.print(f"   {sizes}, {len(job.vocabulary)} different")
    console.print("[bold]2. Count tables[/], fitted on the same text, judged on the same held-out text")
    baselines = {name: metrics["loss"] for name, metrics in job.baselines(training, held_out).items()}
    for name, loss in baselines.items():
        console.print(f"   {name:24s} {loss:.3f} nats per character")
    console.print(f"[bold]3. The model[/]\n{model}", soft_wrap=True)
    before = sample(job, model)
    console.print(f"   untrained, it writes: {before[:50]!r} …", markup=False)
    console.print(f"[bold]4. Training[/]: {steps} steps of truncated backpropagation through time")
    with progress(console, steps, job.unit) as shown:
        trainer.callbacks.append(shown)
        history = trainer.run()
    loss, zeroed = history.validation[-1][1]["loss"], task.evaluate(memory=False)["loss"]
    after = sample(job, model)

    rows = [*baselines.items(), ("LSTM", loss), ("LSTM, state zeroed", zeroed)]
    console.print("[bold]5. Held-out loss[/]")
    console.print(_table(rows))
    best = min(baselines.values())
    if loss < best:
        console.print(f"   the LSTM beats all count tables: {loss:.3f} < {best:.3f}")
    else:
        console.print(f"   the LSTM does not beat the best count table, {best:.3f}: give it more --steps")
    console.print(f"   memory is worth {zeroed - loss:.3f} nats: what the same model loses when its state")
    console.print("   is zeroed at every character")
    console.print("[bold]6. Trained, it writes[/]")
    console.print(after, markup=False, soft_wrap=True)

    draw(task, out, rows, history, baselines, before, after)
    console.print(f"[bold]7. Look at it[/]: {out / 'index.html'}")


def sample(job: CharLM, model: Any) -> str:
    """What the model writes after a prompt."""
    return job.write(model, PROMPT, SAMPLE, {"temperature": 0.8})


def draw(
    task: Any,
    out: Path,
    rows: list[tuple[str, float]],
    history: History,
    baselines: dict[str, float],
    before: str,
    after: str,
) -> None:
    """Write the loss curve, the two graphs and the page that shows them all."""
    validation = [(step, metrics["loss"]) for step, metrics in history.validation]
    viz.loss_curve(history.loss, validation, baselines, out / "loss_curve.png")
    model, (tokens, targets) = task.model, next(task.batches())
    loss = task.loss((tokens, targets))
    step = ts.graph(loss, title="One training step")
    H = model.config.hidden_size
    cell = viz.equation_graph("lstm", viz.Sizes(D=H, H=H), title="One step of an LSTM")
    for graph, name in ((step, "training_step"), (cell, "lstm_step")):
        graph.save(out / f"{name}.svg")
        graph.save(out / f"{name}.png")
    table = [(name, f"{nats:.3f}", f"{nats / math.log(2):.3f}") for name, nats in rows]
    viz.page(
        "A language model, trained and drawn",
        [
            viz.Text("What this is", ABOUT),
            viz.Table("Held-out loss", ("model", "nats per character", "bits per character"), table),
            viz.Text("What memory is worth", MEMORY),
            viz.Picture("Loss while training", out / "loss_curve.png", CURVE),
            viz.Sample("What the model wrote before training", before),
            viz.Sample("What the model wrote after training", after),
            viz.Picture("The graph of one training step", out / "training_step.svg", STEP),
            viz.Picture("Inside the LSTM: one step, opened", out / "lstm_step.svg", CELL),
        ],
        out / "index.html",
    )


def _table(rows: list[tuple[str, float]]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("model")
    table.add_column("nats per character", justify="right")
    table.add_column("bits per character", justify="right")
    for name, nats in rows:
        table.add_row(name, f"{nats:.3f}", f"{nats / math.log(2):.3f}")
    return table
