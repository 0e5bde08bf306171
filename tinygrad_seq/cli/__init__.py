"""The command line: `tinygrad-seq` followed by a command, such as `train gpt`, `eval`, `graph` or `info`."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import RUN, command, parameter
from .jobs import JOBS, Job

app = typer.Typer(no_args_is_help=True, help="Sequence models you can read, and pictures of them.")
train_app = typer.Typer(no_args_is_help=True, help="Train a model: on a file, or on built-in data.")
app.add_typer(train_app, name="train")

Device = Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")]
Hidden = Annotated[int, typer.Option(min=1, help="H, the width of the model.")]
CHOICE = "How to choose"
Run = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]
Checkpoint = Annotated[str, typer.Option(help="best, latest, or a step.")]
RunDevice = Annotated[str | None, typer.Option("--device", help="cpu or cuda; where it was trained if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Seed = Annotated[int, typer.Option(help="The seed of all randomness.")]


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A console that cannot show σ shows "?", and goes on; whoever reads along sees each line at once.
            stream.reconfigure(errors="replace", line_buffering=True)
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


@app.command("eval")
def evaluate(
    run: Run,
    data: Annotated[Path | None, typer.Option(help="A file like the run's; what it held out if not given.")] = None,
    checkpoint: Checkpoint = "best",
    device: RunDevice = None,
    json: Json = False,
) -> None:
    """Judge a trained model on its held-out examples, or on those of a file.

    Examples:

    tinygrad-seq eval runs/book

    tinygrad-seq eval runs/tags --data test.tsv --json
    """
    from .use import evaluate

    _say_errors(lambda: evaluate(run, data=data, checkpoint=checkpoint, device=device, as_json=json))


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="What it goes on from.")] = "The ",
    length: Annotated[int, typer.Option(min=1, help="Characters, words or subwords to write.")] = 200,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=CHOICE, help="Below 1 the likely becomes more likely; 0: the likeliest."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=CHOICE, help="Draw from the k likeliest alone.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, rich_help_panel=CHOICE, help="Draw from the likeliest that have it together."),
    ] = None,
    beam: Annotated[
        int, typer.Option(min=1, rich_help_panel=CHOICE, help="Beams of a search for the likeliest text.")
    ] = 1,
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(min=1, help="How many texts.")] = 1,
    checkpoint: Checkpoint = "best",
    device: RunDevice = None,
    json: Json = False,
) -> None:
    """Let a trained language model write: runs of char-lm, word-lm and gpt.

    Examples:

    tinygrad-seq generate runs/book --prompt "It was " --temperature 0.8

    tinygrad-seq generate runs/book --prompt "It was " --length 50 --beam 4
    """
    from .use import generate

    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    options = {name: value for name, value in given.items() if value is not None} | {"beams": beam}
    _say_errors(
        lambda: generate(
            run,
            prompt=prompt,
            length=length,
            options=options,
            seed=seed,
            samples=samples,
            checkpoint=checkpoint,
            device=device,
            as_json=json,
        )
    )


@app.command()
def predict(
    run: Run,
    file: Annotated[Path | None, typer.Argument(help="A text, an example a line; standard input if not given.")] = None,
    beam: Annotated[int, typer.Option(min=1, help="Of translations: beams of the search.")] = 1,
    checkpoint: Checkpoint = "best",
    device: RunDevice = None,
    json: Json = False,
) -> None:
    """Print the tags, the label or the translation of each line: runs of tagger, classifier, seq2seq and transformer.

    A bert fills in the word in the place of each <mask>. Blank lines are left out.

    Examples:

    echo "the cat that I saw was cute" | tinygrad-seq predict runs/tags

    tinygrad-seq predict runs/french sentences.txt --beam 4 --json
    """
    from .use import predict

    options = {"beams": beam} if beam > 1 else {"temperature": 0}
    _say_errors(lambda: predict(run, file=file, options=options, checkpoint=checkpoint, device=device, as_json=json))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of runs.", show_default=False)],
    metric: Annotated[str, typer.Option(help="What to compare by: loss, accuracy, f1, bleu …")] = "loss",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Draw the curves: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Put several runs into one table, the best first, with the settings in which they differ, and into one plot.

    Example: tinygrad-seq compare runs/* -o curves.png
    """
    from .compare import compare

    _say_errors(lambda: compare(runs, metric=metric, out=out, as_json=json))


@app.command()
def ladder(
    data: Annotated[
        Path | None, typer.Option(help="A UTF-8 file, one word a line; words of the Python manual if not given.")
    ] = None,
    seed: Seed = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of each model at most: for a first look.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The plot: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Train one model after another on one list of words: n-gram, feed-forward, RNN, LSTM, GRU, Transformer.

    Each predicts the characters of a word and its end; the last column is its loss on words that none has seen, in
    nats per character. Some minutes.

    Example: tinygrad-seq ladder --data names.txt -o ladder.png
    """
    from .ladder import run

    _say_errors(lambda: run(data, seed=seed, steps=steps, out=out, as_json=json))


@app.command()
def info(json: Json = False) -> None:
    """Say what computes here: versions, BLAS, threads, devices, and what is missing.

    Example: tinygrad-seq info --json
    """
    from .info import show

    _say_errors(lambda: show(as_json=json))


def _add_training(kind: type[Job]) -> None:
    """The command `train NAME` of a job: its options are the fields of its config."""

    def run(out: Path, config: Path | None, resume: bool, json: bool, given: dict[str, Any]) -> None:
        from .training import train

        _say_errors(lambda: train(kind, given, out=out, file=config, resume=resume, as_json=json))

    def own(name: str, hint: Any, default: Any, help: str, *flags: str) -> inspect.Parameter:
        info = typer.Option(*flags, help=help, show_default=False, rich_help_panel=RUN)
        return parameter(name, Annotated[hint, info], default)

    first = (
        own("out", Path, inspect.Parameter.empty, "The run's folder."),
        own("config", Path | None, None, "A TOML file with options; those given here count more."),
        own("resume", bool, False, "Go on from OUT's latest checkpoint.", "--resume"),
        own("json", bool, False, "Print one JSON object; the rest goes to stderr.", "--json"),
    )
    text = f"{inspect.cleandoc(kind.about)}\n\nA file of data holds {kind.file}. Built in: {kind.built_in}."
    train_app.command(kind.name, help=text)(command(kind.Config, run, *first))


for _kind in JOBS.values():
    _add_training(_kind)


def _say_errors(run: Callable[[], Any]) -> None:
    """Run a command; what a user can mend is shown as a line, without a traceback."""
    try:
        run()
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        raise typer.Exit(130) from stop
    except BrokenPipeError:  # whoever read along, such as `head`, has seen enough: typer ends it without a word
        raise
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
