"""Readers of files that hold one example a line, or one word a line: a line that is wrong is named."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from .files import checked, numbered_lines

_NO_WORD = re.compile(r"\d+[-.]\d+")  # the ids of CoNLL-U's rows for several words, 3-4, and for words not said, 8.1


def read_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    r"""The lines of a UTF-8 file, plain or gzip, one by one, without their ends; blank lines are left out.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: it is not UTF-8, with the place, or nothing is in it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "names.txt"
    >>> _ = file.write_text("emma\nolivia\n\nava\n")
    >>> list(read_lines(file))
    ['emma', 'olivia', 'ava']
    """
    return (line for _, line in _filled(checked(path), "a line"))


def read_labelled(
    path: str | os.PathLike[str], *, separator: str = " ", labels: Collection[str] | None = None
) -> Iterator[tuple[str, str]]:
    r"""(label, text) of each line of a UTF-8 file, plain or gzip: the label comes first. Blank lines are left out.

    Args:
        separator: what stands between the two; the text may hold it too.
        labels: those that are known, where another one is an error: the training set's, for a test set.
    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: with file and line: a label or a text is missing, a label is unknown, or bytes are not UTF-8;
            or nothing is in the file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "reviews.txt"
    >>> _ = file.write_text("1 a joy to watch .\n0 one long string of cliches .\n")
    >>> list(read_labelled(file))
    [('1', 'a joy to watch .'), ('0', 'one long string of cliches .')]
    """
    return _labelled(checked(path), separator, labels)


def read_pairs(path: str | os.PathLike[str], columns: tuple[int, int] = (0, 1)) -> Iterator[tuple[str, str]]:
    r"""(source, target) of each line of a UTF-8 file, plain or gzip, with tabs between its columns. Blank lines are
    left out.

    Args:
        columns: the places of the source and of the target, counted from 0, or from the end: -1 is the last.
    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: with file and line: not as many columns as in the first line, an empty source or target, or bytes
            that are not UTF-8; or nothing is in the file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "fra.txt"
    >>> _ = file.write_text("Go.\tVa !\nRun!\tCours !\n")
    >>> list(read_pairs(file))
    [('Go.', 'Va !'), ('Run!', 'Cours !')]
    """
    return _pairs(checked(path), columns)


def read_columns(
    path: str | os.PathLike[str],
    columns: Sequence[int] = (0, 1),
    *,
    separator: str | None = "\t",
    labels: Collection[str] | None = None,
) -> Iterator[tuple[list[str], ...]]:
    r"""Sentences of a UTF-8 file, plain or gzip, with a word a line, its annotations in columns, and a blank line
    after each sentence: CoNLL's formats, and tables of tags. One list for each column asked for.

    With tabs, a line that begins with # and has no tab is a comment. In CoNLL-U, which has ten columns, the rows of
    several words in one (3-4) and of words that are not said (8.1) are left out.

    Args:
        columns: the places of those wanted, counted from 0, or from the end: -1 is the last. In CoNLL-U the words are
            1 and their parts of speech 3.
        separator: what stands between columns; None for any white space.
        labels: those known in the last column asked for, where another one is an error.
    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: with file and line: not as many columns as in the first row, an empty field, an unknown label, or
            bytes that are not UTF-8; or no sentence is in the file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train.tsv"
    >>> _ = file.write_text("# sentence 1\nthe\tDET\ncat\tNOUN\n\nstop\tVERB\n")
    >>> for words, tags in read_columns(file):
    ...     print(words, tags)
    ['the', 'cat'] ['DET', 'NOUN']
    ['stop'] ['VERB']
    """
    if not columns:
        raise ValueError("read_columns: expected the places of at least one column, got none")
    return _sentences(checked(path), columns, separator, labels)


def _filled(path: Path, wanted: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered; at least one."""
    empty = True
    for number, line in numbered_lines(path):
        if line.strip():
            empty = False
            yield number, line
    if empty:
        raise ValueError(f"expected {wanted}, but {path} is empty; name a file with something in it")


def _labelled(path: Path, separator: str, labels: Collection[str] | None) -> Iterator[tuple[str, str]]:
    for number, line in _filled(path, "a label and a text a line"):
        label, _, text = line.partition(separator)
        if not label.strip() or not text.strip():
            raise ValueError(
                f"{path}, line {number}: expected a label, {separator!r} and a text, got {line!r:.80}; "
                "mend the line, or name another separator"
            )
        _check_label(label, labels, path, number)
        yield label, text


def _pairs(path: Path, columns: tuple[int, int]) -> Iterator[tuple[str, str]]:
    table = _Table(path, columns, "\t")
    for number, line in _filled(path, "two columns"):
        source, target = table.fields(number, line)
        yield source, target


def _sentences(
    path: Path, columns: Sequence[int], separator: str | None, labels: Collection[str] | None
) -> Iterator[tuple[list[str], ...]]:
    table = _Table(path, columns, separator)
    sentence: list[list[str]] = []
    empty = True
    for number, line in numbered_lines(path):
        if not line.strip():
            if sentence:
                yield tuple(map(list, zip(*sentence, strict=True)))
            sentence = []
        elif not (separator == "\t" and line.startswith("#") and "\t" not in line):
            fields = table.fields(number, line)
            if table.width == 10 and _NO_WORD.fullmatch(line.partition("\t")[0]):
                continue
            _check_label(fields[-1], labels, path, number)
            sentence.append(fields)
            empty = False
    if sentence:
        yield tuple(map(list, zip(*sentence, strict=True)))
    if empty:
        raise ValueError(f"expected a word a line, but {path} has none; name a file with something in it")


class _Table:
    """Lines of columns, as many in each line as in the first."""

    def __init__(self, path: Path, columns: Sequence[int], separator: str | None) -> None:
        self.path, self.columns, self.separator = path, columns, separator
        self.width = self.first = 0  # how many columns there are, and the line that says so

    def fields(self, number: int, line: str) -> list[str]:
        """The columns asked for."""
        fields = line.split(self.separator)
        if not self.width:
            self.width, self.first = len(fields), number
            far = next((c for c in self.columns if not -self.width <= c < self.width), None)
            if far is not None:
                raise ValueError(
                    f"{self.path}, line {number}: asked for column {far}, counted from 0, but there are {self.width}, "
                    f"separated by {self.separator or 'white space'!r}: {line!r:.80}"
                )
        if len(fields) != self.width:
            raise ValueError(
                f"{self.path}, line {number}: expected {self.width} columns as in line {self.first}, "
                f"got {len(fields)}: {line!r:.80}; mend the line"
            )
        asked = [fields[c] for c in self.columns]
        if not all(field.strip() for field in asked):
            raise ValueError(f"{self.path}, line {number}: a column that is asked for is empty: {line!r:.80}")
        return asked


def _check_label(label: str, labels: Collection[str] | None, path: Path, number: int) -> None:
    if labels is not None and label not in labels:
        known = ", ".join(sorted(labels)[:20]) + (", …" if len(labels) > 20 else "")
        raise ValueError(f"{path}, line {number}: expected one of the labels {known}, got {label!r}")
