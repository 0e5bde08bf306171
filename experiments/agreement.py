"""Subject and verb.

"A bigram FFNN can only see the previous word. But language has long-range dependencies: The students who did well on
the exam were happy. Verb agrees with students, not exam."

Language models learn sentences of a grammar word by word, and are asked for the verb of new ones: is the right form,
"were", more likely than the other, "was"? New sentences come in pairs that differ in the subject's number and the
verb's alone, so a model that cannot see as far as the subject is right half of the time, exactly. A bigram table and a
feed-forward model that sees four words have such a window; RNN and LSTM have none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.data import Agreement, Vocabulary
from tinygrad_seq.models import (
    FeedForwardLM,
    FeedForwardLMConfig,
    LanguageModel,
    LanguageModelConfig,
    NGram,
    NGramConfig,
)
from tinygrad_seq.viz.plots import BLACK, panels

from .common import Claim, Outcome, curve, main, outcome, update

WINDOW = 4  # words: what stands nearest to its verb, "… student near the exam was", is just inside


class Sizes(NamedTuple):
    """How much is trained, and asked."""

    sentences: int = 20_000
    asked: int = 4000
    hidden: int = 64
    batch: int = 64
    rate: float = 0.005
    passes: int = 6
    depths: tuple[int, ...] = (1, 2, 3)  # how many modifiers stand between subject and verb


QUICK = Sizes(sentences=8000, asked=600, hidden=32, batch=32, passes=4, depths=(1,))


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    training = ts.data.agreement(sizes.sentences, seed=2 * seed, depths=sizes.depths)
    asked = ts.data.agreement(sizes.asked, seed=2 * seed + 1, depths=sizes.depths)
    words = Vocabulary.from_sequences(sentence.tokens for sentence in training)
    V, H = len(words), sizes.hidden

    scores = {"bigram": bigram_scores(training, asked, words)}
    for name, new in (
        ("feed-forward", lambda: FeedForwardLM(FeedForwardLMConfig(V, WINDOW, embedding_size=H, hidden_size=H))),
        ("tanh RNN", lambda: LanguageModel(LanguageModelConfig(V, H, cell="rnn"))),
        ("LSTM", lambda: LanguageModel(LanguageModelConfig(V, H))),
    ):
        ts.seed(seed)
        model = new()
        train(model, training, words, sizes, seed)
        scores[name] = model_scores(model, asked, words)

    distance = np.array([sentence.verb - sentence.subject for sentence in asked])
    # Far distances are rare: those with fewer than 20 sentences are left out of the curve.
    shown = [int(d) for d in np.unique(distance) if (distance == d).sum() >= 20]
    far = distance > WINDOW
    return outcome(
        {
            "window": WINDOW,
            "distance": shown,
            "sentences": [int((distance == d).sum()) for d in shown],
            "accuracy": {name: [float(s[distance == d].mean()) for d in shown] for name, s in scores.items()},
            "inside": {name: float(s[~far].mean()) for name, s in scores.items()},
            "outside": {name: float(s[far].mean()) for name, s in scores.items()},
        },
        claims,
        draw,
    )


def bigram_scores(training: list[Agreement], asked: list[Agreement], words: Vocabulary) -> np.ndarray:
    """1 where the counts make the right verb likelier than the wrong one, 1/2 where they make both alike."""
    text = np.concatenate([words.encode(sentence.tokens, bos=True, eos=True) for sentence in training])
    model = NGram(NGramConfig(len(words), order=2)).fit(text)
    right, wrong = verbs(asked, words)
    before = [words.encode(sentence.tokens[sentence.verb - 1 : sentence.verb]) for sentence in asked]
    p = np.stack([model.probabilities(word) for word in before])
    return judged(p, right, wrong)


def train(model: Any, training: list[Agreement], words: Vocabulary, sizes: Sizes, seed: int) -> None:
    """Teacher forcing: at each place the next word is to be said, given the true ones before it."""
    parameters = list(model.parameters())
    optimizer = ts.optim.Adam(parameters, sizes.rate)
    ids = [words.encode(sentence.tokens, bos=True, eos=True) for sentence in training]
    rng = np.random.default_rng(seed)
    for _ in range(sizes.passes):
        order = rng.permutation(len(ids))
        for start in range(0, len(ids), sizes.batch):
            batch, _ = ts.data.pad_batch([ids[k] for k in order[start : start + sizes.batch]], pad=Vocabulary.pad)
            logits = logits_of(model, batch[:, :-1])
            loss = ts.ops.cross_entropy(logits, ts.tensor(batch[:, 1:]), ignore_index=Vocabulary.pad)
            update(loss, optimizer, parameters)


def model_scores(model: Any, asked: list[Agreement], words: Vocabulary) -> np.ndarray:
    """The same as for the bigram, from what a model says before the verb."""
    batch, _ = ts.data.pad_batch([words.encode(sentence.tokens, bos=True) for sentence in asked], pad=Vocabulary.pad)
    with ts.no_grad():
        logits = logits_of(model, batch).numpy()
    # With <bos> in front, the verb's place is that of the word before it.
    before = np.array([sentence.verb for sentence in asked])
    return judged(logits[np.arange(len(asked)), before], *verbs(asked, words))


def logits_of(model: Any, tokens: np.ndarray) -> ts.Tensor:
    out = model(ts.tensor(tokens))
    return out[0] if isinstance(out, tuple) else out  # recurrent models give their state too


def verbs(asked: list[Agreement], words: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the right verbs and of the wrong ones."""
    return words.encode(sentence.right for sentence in asked), words.encode(sentence.wrong for sentence in asked)


def judged(p: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    rows = np.arange(len(p))
    return (1 + np.sign(p[rows, right] - p[rows, wrong])) / 2


def claims(numbers: dict[str, Any]) -> list[Claim]:
    inside, outside = numbers["inside"], numbers["outside"]
    return [
        Claim("bigram, any distance: right", max(inside["bigram"], outside["bigram"]), "<=", 0.5),
        Claim("feed-forward, subject inside its window of 4 words: right", inside["feed-forward"], ">=", 0.95),
        Claim("feed-forward, subject further back: right", outside["feed-forward"], "<=", 0.5),
        Claim("tanh RNN, subject more than 4 words back: right", outside["tanh RNN"], ">=", 0.9),
        Claim("LSTM, subject more than 4 words back: right", outside["LSTM"], ">=", 0.95),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (axes,) = panels(1, width=7)
    for model, right in numbers["accuracy"].items():
        curve(axes, numbers["distance"], [100 * each for each in right], model)
    axes.axvline(numbers["window"] + 0.5, color=BLACK, linewidth=1, linestyle=":")
    axes.annotate(" the window ends", (numbers["window"] + 0.5, 75), fontsize=9)
    axes.set(title="is the verb's right form the likelier one?", ylim=(45, 102))
    axes.set(xlabel="distance from subject to verb (words)", ylabel="right answers (%)")
    axes.legend(frameon=False, loc="center right")
    return figure


if __name__ == "__main__":
    main(run, __doc__, "agreement")
