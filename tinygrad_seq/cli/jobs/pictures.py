"""Pictures that several kinds of runs show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ... import viz
from ...data import Labels
from ...train import confusion_matrix
from ...viz.page import Section

MOST = 12  # confusions in the table


def confusions(pairs: Sequence[tuple[str, str]], labels: Labels, folder: Path, what: str) -> Iterable[Section]:
    """What is taken for what, of (predicted, right) pairs."""
    predicted, right = (labels.encode(side) for side in zip(*pairs, strict=True))
    counts = confusion_matrix(predicted, right, len(labels))
    file = viz.confusion_plot(counts, folder / "confusion.png", labels=labels.symbols)
    yield viz.Picture("What is taken for what", file, f"A row for each right {what}, a column for each predicted one.")
    wrong = Counter((right, predicted) for predicted, right in pairs if predicted != right)
    total = Counter(right for _, right in pairs)
    if wrong:
        yield viz.Table(
            "Most frequent mistakes",
            (f"right {what}", f"predicted {what}", "times", f"of all that are this {what}"),
            [
                (right, predicted, times, f"{times / total[right]:.1%}")
                for (right, predicted), times in wrong.most_common(MOST)
            ],
        )
