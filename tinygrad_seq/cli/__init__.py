"""The command line: `tinygrad-seq` followed by `demo`, `train char-lm`, `equations` or `graph`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Sequence models you can read, and pictures of them.")
train_app = typer.Typer(no_args_is_help=True, help="Train a model.")
app.add_typer(train_app, name="train")

Device = Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")]
Hidden = Annotated[int, typer.Option(min=1, help="H, the width of the model.")]
Seed = Annotated[int, typer.Option(help="The seed of all randomness.")]


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show σ shows "?", and goes on
    app()


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from .. import __version__

        typer.echo(f"tinygrad_seq {__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder for everything that is left behind.")] = Path("out"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 600,
    hidden: Hidden = 256,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a character language model on the Python manual, judge it, and draw it.

    About a minute of training on two cores. Leaves its checkpoint, plots, graphs and index.html in the folder OUT.
    """
    from .demo import run

    _say_errors(lambda: run(out, steps=steps, hidden=hidden, seed=seed, device=device))


@app.command()
def equations(
    name: Annotated[
        str | None, typer.Argument(help="One equation, lstm.f, or a block, lstm; all if not given.")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Show LaTeX.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Draw each into this folder, ID.svg.")] = None,
) -> None:
    """List the chapter's equations: id, equation, and the line of code that is it.

    Example: tinygrad-seq equations lstm --pictures equations
    """

    def run() -> None:
        from .equations import draw, listed, table

        chosen = listed(name)
        typer.echo(table(chosen, latex=latex))
        if pictures is not None:
            draw(chosen, pictures)
            typer.echo(f"{len(chosen)} pictures in {pictures}")

    _say_errors(run)


@app.command()
def graph(
    model: Annotated[str, typer.Argument(help="A model, such as gpt or language-model, or MODULE:FUNCTION.")],
    open: Annotated[
        list[str] | None, typer.Option(help="A fused operation to draw as its equations, or all; may be repeated.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="How many frames are drawn around each other; deeper ones are boxes.")
    ] = None,
    repeats: Annotated[bool, typer.Option("--repeats", help="Draw each of the equal blocks in a row.")] = False,
    equations: Annotated[bool, typer.Option("--equations", help="Write whole equations into the boxes.")] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Draw time as a grid, one box for each step of a layer.")
    ] = False,
    grad: Annotated[
        bool, typer.Option("--grad", help="Show how large the gradient of a loss is at every arrow.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file: .svg, .png, .pdf, .dot, .json, .txt or .html.")
    ] = None,
) -> None:
    """Draw a model of ours, or what a function of your own computes; text on the terminal without -o.

    A model is built small and called on two short sequences. MODULE:FUNCTION is a function without arguments that
    returns a tensor or a list of them; its variables name the boxes, as they do for ts.graph. With --grad it returns
    the loss, of one element; the loss of a model of ours is the cross entropy of what it says with class 0 everywhere.

    Examples:

    tinygrad-seq graph gpt

    tinygrad-seq graph language-model --open lstm -o opened.svg

    tinygrad-seq graph bert --depth 1

    tinygrad-seq graph tagger --time -o grid.svg

    tinygrad-seq graph language-model --time --grad -o gradients.svg

    tinygrad-seq graph bert -o bert.html

    tinygrad-seq graph my_module:my_loss -o loss.png
    """

    def run() -> None:
        from .graph import draw

        picture = draw(model, open or [], depth=depth, repeats=repeats, equations=equations, time=time, grad=grad)
        typer.echo(picture.text() if out is None else picture.save(out))

    _say_errors(run)


@train_app.command("char-lm")
def train_char_lm(
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints go to OUT/checkpoints.")],
    data: Annotated[Path | None, typer.Option(help="A UTF-8 text file; the Python manual if not given.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")] = 600,
    hidden: Hidden = 256,
    layers: Annotated[int, typer.Option(min=1, help="LSTMs, one above the other.")] = 1,
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="The probability of a zero, in training.")] = 0.0,
    lr: Annotated[float, typer.Option(help="The largest learning rate.")] = 1.2e-2,
    seed: Seed = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT's latest checkpoint.")] = False,
    device: Device = "cpu",
) -> None:
    """Train an LSTM to predict the next character of a text.

    Example: tinygrad-seq train char-lm --data book.txt --out runs/book --steps 3000
    """

    def run() -> None:
        from rich.console import Console

        from ..train import Interrupted, begin
        from .char_lm import char_lm
        from .progress import progress

        job = char_lm(
            data,
            steps=steps,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            lr=lr,
            seed=seed,
            device=device,
            directory=out,
            checkpoint_every=checkpoint_every,
        )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ValueError(f"--out is a folder, but {out} is a file: choose another name") from error
        console, trainer = Console(highlight=False), job.trainer
        console.print(begin(trainer, resume=resume), soft_wrap=True)
        with progress(console, steps) as shown:
            trainer.callbacks.append(shown)
            try:
                history = trainer.run()
            except Interrupted as stop:
                raise KeyboardInterrupt(f"{stop}; go on by the same command with --resume") from stop
        loss = history.validation[-1][1]["loss"]
        console.print(f"validation loss {loss:.4f} nats per character; checkpoints in {out}", soft_wrap=True)

    _say_errors(run)


def _say_errors(run: Callable[[], Any]) -> None:
    """Run a command; what a user can mend is shown as a line, without a traceback."""
    try:
        run()
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        raise typer.Exit(130) from stop
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
