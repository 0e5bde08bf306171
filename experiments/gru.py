"""GRU and LSTM.

"Simplified LSTM with fewer parameters … Often performs comparably to LSTM with less computation."

Language models that say the next character of English text (the language reference that comes with Python), each with
one recurrent layer of the same width, trained with the same batches, optimizer, clipping and number of steps, and
judged on text held out. Where the LSTM has four blocks of weights, i f g o, the GRU has three, r z n: exactly 3/4 of
the layer's parameters. The tanh RNN has one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tinygrad_seq as ts
from tinygrad_seq.data import CharVocabulary
from tinygrad_seq.models import LanguageModel, LanguageModelConfig
from tinygrad_seq.viz.plots import panels

from .common import Claim, Outcome, curve, main, outcome

CELLS = {"tanh RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}


class Sizes(NamedTuple):
    """How much is trained."""

    characters: int = 300_000
    hidden: int = 128
    num_steps: int = 64
    rate: float = 0.003
    steps: int = 1200
    evaluate_every: int = 200


QUICK = Sizes(characters=30_000, hidden=48, num_steps=32, rate=0.01, steps=200, evaluate_every=50)
BATCH = 32


def run(quick: bool = False, seed: int = 0) -> Outcome:
    sizes = QUICK if quick else Sizes()
    training, held_out = ts.data.split(ts.data.pydoc_topics()[: sizes.characters])
    vocabulary = CharVocabulary.from_text(training + held_out)
    numbers = {}
    for name, cell in CELLS.items():
        ts.seed(seed)
        model = LanguageModel(LanguageModelConfig(len(vocabulary), sizes.hidden, cell=cell))
        layer = getattr(model, cell)
        task = ts.train.LanguageModelTask(
            model,
            vocabulary.encode(training),
            vocabulary.encode(held_out),
            batch_size=BATCH,
            num_steps=sizes.num_steps,
        )
        optimizer = ts.optim.Adam(model.parameters(), sizes.rate)
        history = ts.train.Trainer(task, optimizer, steps=sizes.steps, evaluate_every=sizes.evaluate_every).run()
        step, loss = zip(*((step, metrics["loss"]) for step, metrics in history.validation), strict=True)
        numbers[name] = {
            "parameters": sum(p.size for p in layer.parameters()),
            "step": step,
            "loss": loss,
        }
    return outcome(numbers, claims, draw)


def claims(numbers: dict[str, Any]) -> list[Claim]:
    gru, lstm, rnn = (numbers[name] for name in ("GRU", "LSTM", "tanh RNN"))
    part = gru["parameters"] / lstm["parameters"]
    return [
        Claim("the GRU's parameters, as a part of the LSTM's: at most", part, "<=", 0.75),
        Claim("… and at least", part, ">=", 0.75),
        Claim(
            "held-out loss of the GRU above the LSTM's, nats per character",
            gru["loss"][-1] - lstm["loss"][-1],
            "<=",
            0.05,
        ),
        Claim("held-out loss of the tanh RNN above the GRU's", rnn["loss"][-1] - gru["loss"][-1], ">=", 0.1),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    figure, (axes,) = panels(1, width=7)
    for name, found in numbers.items():
        curve(axes, found["step"], found["loss"], name)
    axes.set(title="the next character of English text", xlabel="training step")
    axes.set_ylabel("held-out loss (nats per character)")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main(run, __doc__, "gru")
