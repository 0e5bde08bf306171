"""Where text comes from, and how a part of it, or of examples, is kept aside to judge a model by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .files import text_pieces
from .synthetic import generator

T = TypeVar("T")


def pydoc_topics() -> str:
    """English that every Python carries: the language reference as `help()` prints it, about 370,000 characters.

    The topics of `pydoc_data.topics` are joined in the order of their names. They repeat each other (the text on
    `for` stands under "for" and again under "compound": a fifth of all), so a paragraph that was already said is left
    out, compared with its white space collapsed. Were it not, half of any held-out part would stand word for word in
    the training text, and a model would be praised for remembering. The text differs between versions of Python.

    Raises:
        ModuleNotFoundError: this Python came without `pydoc_data`.

    >>> text = pydoc_topics()
    >>> text[:22], len(text) > 300_000
    ('The "assert" statement', True)
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "expected pydoc_data.topics, which belongs to Python's standard library, but this Python came without it; "
            "use a Python from python.org or your system's full package, or train on a text of your own"
        ) from error
    said: set[str] = set()
    paragraphs = []
    for name in sorted(topics):
        for paragraph in topics[name].strip("\n").split("\n\n"):
            words = " ".join(paragraph.split())
            if words not in said:
                said.add(words)
                paragraphs.append(paragraph.strip("\n"))
    return "\n\n".join(paragraphs) + "\n"


def read_text(path: str | os.PathLike[str]) -> str:
    r"""The text of a UTF-8 file, plain or gzip, its line ends as \n (Windows writes \r\n), without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: the path is a folder.
        ValueError: the file is empty, or it is not UTF-8: the message gives the byte and the line.

    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "poem.txt"
    >>> _ = file.write_bytes("Ein Männlein\r\nsteht".encode())
    >>> read_text(file)
    'Ein Männlein\nsteht'
    """
    text = "".join(text_pieces(path))
    if not text:
        raise ValueError(f"expected a text, but {path} is empty; name a file with something to learn from")
    return text


def split(text: str, held_out: float = 0.1, *, sections: int = 10) -> tuple[str, str]:
    """Cut a text in two: what a model learns from, and what it never sees and is judged by.

    The text is cut into equal sections, and the end of each section is held out, a `held_out`-th of it. So both parts
    come from all over the text, both run in pieces long enough to carry a recurrent state along, no character is in
    both, and there is no chance in it: every run compares with every other. `sections=1` holds out the end of the text,
    as nanoGPT does. What the text itself says twice may still fall on both sides.

    Args:
        text: N characters.
        held_out: the part to hold out, between 0 and 1.
        sections: how many sections; each is N / sections characters long.

    Returns:
        (training text, held-out text), each its pieces joined in their order.

    Raises:
        ValueError: `held_out` is not between 0 and 1, `sections` is below 1, or the text is too short to give each
            section at least one character for either side.

    >>> split("abcdefghij" * 2, 0.2, sections=2)
    ('abcdefghabcdefgh', 'ijij')
    """
    if not 0 < held_out < 1:
        raise ValueError(f"expected held_out between 0 and 1, the part of the text to hold out, got {held_out}")
    if sections < 1:
        raise ValueError(f"expected at least 1 section, got {sections}")
    training, held = [], []
    for i in range(sections):
        section = text[len(text) * i // sections : len(text) * (i + 1) // sections]
        cut = int(len(section) * (1 - held_out))
        training.append(section[:cut])
        held.append(section[cut:])
    if not all(training) or not all(held):
        raise ValueError(
            f"a text of {len(text)} characters is too short to hold out {held_out:g} of each of {sections} sections; "
            "give a longer text or fewer sections"
        )
    return "".join(training), "".join(held)


def random_split(examples: Sequence[T], parts: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int) -> tuple[list[T], ...]:
    """Examples dealt out at random, each to one part: to learn from, to choose by, to report.

    Examples that belong together stay together when they are dealt out together: split the list of sources of a
    translation task, not its pairs, where a source comes several times.

    Args:
        examples: N examples of any kind, in an order that is the same each time.
        parts: how much each part gets; together 1.
        seed: the same seed gives the same parts.
    Raises:
        ValueError: the parts are not above 0 and together 1, or a part would be empty.

    >>> training, held_out = random_split("abcdefghij", [0.8, 0.2], seed=0)
    >>> training, held_out
    (['e', 'g', 'c', 'h', 'd', 'f', 'j', 'a'], ['i', 'b'])
    """
    if not len(parts) or min(parts) <= 0 or abs(sum(parts) - 1) > 1e-9:
        raise ValueError(f"expected parts above 0 that are together 1, such as (0.8, 0.1, 0.1), got {parts}")
    cuts = [0, *np.rint(np.cumsum(parts) * len(examples)).astype(int).tolist()]
    if any(begin == end for begin, end in zip(cuts, cuts[1:], strict=False)):
        many = "1 example is" if len(examples) == 1 else f"{len(examples)} examples are"
        raise ValueError(f"{many} too few for the parts {tuple(parts)}: one would be empty; give more of them")
    order = generator(seed).permutation(len(examples)).tolist()
    return tuple([examples[k] for k in order[begin:end]] for begin, end in zip(cuts, cuts[1:], strict=False))
