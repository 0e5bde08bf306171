"""Text files as people give them: found, unpacked, decoded piece by piece, or refused with the file and the line."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

_PIECE = 1 << 18  # characters read at a time
_NEAR = 4096  # where the end of a piece is looked for, back from the end of what was read
# Where a text may be cut without cutting a word: before a single white space.
_CUT = re.compile(r"(?<=\S)\s(?=\S)")
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)


def text_pieces(path: str | os.PathLike[str]) -> Iterator[str]:
    r"""A UTF-8 file of any size, plain or gzip, piece by piece: joined, the pieces are what `read_text` gives.

    Pieces end where a word ends, right before a single white space, so that words, and subwords as GPT-2 cuts them, are
    those of the whole text. Where 4,096 characters have no such place, a piece ends anywhere.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file; the path is a folder.
        ValueError: the file is not UTF-8: the message gives the byte and the line; or it is a broken gzip file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "poem.txt.gz"
    >>> _ = file.write_bytes(gzip.compress("Ein Männlein\r\nsteht".encode()))
    >>> "".join(text_pieces(file))
    'Ein Männlein\nsteht'
    """
    return _pieces(checked(path))


def checked(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"expected a text file, got the folder {path}; name one file in it")
    if not path.exists():
        raise FileNotFoundError(f"expected a text file, but there is no {path} (looked in {path.absolute().parent})")
    return path


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""(1, first line), (2, second line), …: without their ends, \n or \r\n, which alone end a line."""
    with _opened(path) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line.removesuffix("\n").removesuffix("\r")
        except (UnicodeDecodeError, *_BROKEN) as error:
            raise _refusal(path, error) from error


def _pieces(path: Path) -> Iterator[str]:
    rest = ""
    with _opened(path) as file:
        try:
            while read := file.read(_PIECE):
                rest = (rest + read).replace("\r\n", "\n")
                ends = (place.start() for place in _CUT.finditer(rest, max(0, len(rest) - _NEAR)))
                end = max(ends, default=len(rest) - rest.endswith("\r"))
                if end:
                    yield rest[:end]
                rest = rest[end:]
        except (UnicodeDecodeError, *_BROKEN) as error:
            raise _refusal(path, error) from error
    if rest:
        yield rest


@contextmanager
def _bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it begins as gzip files do. It is opened once: it may be a pipe."""
    with open(path, "rb") as file:
        if file.peek(2)[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield file


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOWrapper]:
    with _bytes(path) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n")  # sig: without a byte order mark


def _refusal(path: Path, error: Exception) -> ValueError:
    """What is wrong with a file that could not be read."""
    if not isinstance(error, UnicodeDecodeError):
        return ValueError(f"expected a whole gzip file, but {path} cannot be unpacked ({error}); fetch it anew")
    place = _first_wrong_byte(path) if path.is_file() else str(error)  # a pipe is not read twice
    return ValueError(
        f"expected UTF-8 text, but {path} has {place}; if it is text in another encoding, convert it: "
        "iconv -f LATIN1 -t UTF-8 OLD > NEW (or UTF-16, or whatever wrote it, instead of LATIN1)"
    )


def _first_wrong_byte(path: Path) -> str:
    offset = 0
    with _bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = error.start
                return f"the byte 0x{line[at]:02X} at offset {offset + at}, line {number}"
            offset += len(line)
    return "bytes that are none"
