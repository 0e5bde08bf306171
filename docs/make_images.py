"""Make the pictures of README.md and docs/ anew: python docs/make_images.py"""

from pathlib import Path

import tinygrad_seq as ts

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    ts.viz.equation_graph("lstm", title="One step of an LSTM").save(IMAGES / "lstm_step.svg")


if __name__ == "__main__":
    main()
