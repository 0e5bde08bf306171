"""The commands in this process, which is faster than one of their own; and small files for each kind of run."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from tinygrad_seq.cli import app

TEXT = "the students who did well on the exam were happy.\nthe cat that i saw yesterday was cute.\n" * 40
TAGGED = "the\tO\ncat\tB-SUBJ\nwas\tB-VERB\ncute\tO\n\nthe\tO\ndogs\tB-SUBJ\nwere\tB-VERB\ncute\tO\n\n" * 20
LABELLED = "1 a joy to watch .\n0 one long string of cliches .\n1 a joy .\n0 a long film\n" * 15
PAIRS = "".join(f"Run {k}!\tCours {k} !\nGo {k}.\tVa {k} !\nGo {k}.\tAllez {k} !\n" for k in range(30))
FILES = {"char-lm": TEXT, "word-lm": TEXT, "tagger": TAGGED, "classifier": LABELLED, "seq2seq": PAIRS, "gpt": TEXT}
SMALL = {
    "char-lm": ["--hidden", 8, "--num-steps", 8, "--batch-size", 4],
    "word-lm": ["--hidden", 8, "--num-steps", 8, "--batch-size", 4, "--min-count", 1, "--cell", "gru"],
    "tagger": ["--hidden", 6, "--embedding", 6, "--characters", "--character-size", 4, "--crf", "--word-dropout", 0.1],
    "classifier": ["--hidden", 6, "--embedding", 6, "--pooling", "attention", "--min-count", 1],
    "seq2seq": ["--hidden", 8, "--embedding", 6, "--translate", 5, "--accumulate", 2],
    "transformer": ["--hidden", 8, "--heads", 2, "--layers", 1, "--feedforward", 8, "--translate", 3],
    "bert": ["--hidden", 8, "--heads", 2, "--layers", 1, "--feedforward", 8, "--block-size", 16],
    "gpt": ["--hidden", 8, "--heads", 2, "--layers", 1, "--block-size", 8, "--dropout", 0.1],
}
WRITE = ("char-lm", "word-lm", "gpt")
STEPS = ["--steps", 6, "--evaluate-every", 3, "--checkpoint-every", 3]


def run(*arguments: object, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], input=input)


def train(kind: str, out: Path, *more: object) -> Result:
    """A short training of a small model, on a file beside the run's folder where there is one for the kind."""
    data = []
    if kind in FILES:
        file = out.parent / f"{kind}.data"
        file.write_text(FILES[kind], encoding="utf-8")
        data = ["--data", file]
    return run("train", kind, "--out", out, *data, *SMALL[kind], *STEPS, *more)
