"""A text of any size as a file of ids, which is read where it is needed: neither ever lies in memory as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .files import text_pieces
from .saved import TextVocabulary


def encode_file(path: str | os.PathLike[str], vocabulary: TextVocabulary, out: str | os.PathLike[str]) -> np.ndarray:
    """Number a text file, plain or gzip, piece by piece, and give its ids as a memory map.

    The file of ids is NumPy's own, with the smallest unsigned integers that V fits in: later runs open it by
    `np.load(out, mmap_mode="r")`. It is there as a whole or not at all.

    Args:
        path: a UTF-8 text, as `read_text` reads it.
        vocabulary: of characters, words or subwords; `from_text(text_pieces(path))` makes one of the file itself.
        out: where the ids go, a name with the ending .npy.
    Returns:
        (N,), read only.
    Raises:
        FileNotFoundError, IsADirectoryError: there is no such text; its path is a folder.
        ValueError: it is empty, not UTF-8, or has a character that the vocabulary has not; or `out` ends otherwise.

    >>> import tempfile
    >>> from .vocabulary import CharVocabulary
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "poem.txt").write_text("to be or not to be")
    >>> characters = CharVocabulary.from_text(text_pieces(folder / "poem.txt"))
    >>> ids = encode_file(folder / "poem.txt", characters, folder / "poem.npy")
    >>> ids.dtype, characters.decode(ids[:5])
    (dtype('uint8'), 'to be')
    >>> len(np.load(folder / "poem.npy", mmap_mode="r"))
    18
    """
    out = Path(out)
    if out.suffix != ".npy":
        raise ValueError(f"expected a file of ids to end with .npy, got {out}")
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    unfinished = out.with_suffix(".npy.part")
    length = 0
    try:
        with open(unfinished, "wb") as file:
            _write_header(file, dtype, length)
            for piece in text_pieces(path):
                ids = vocabulary.encode(piece).astype(dtype)
                file.write(ids.tobytes())
                length += len(ids)
            if not length:
                raise ValueError(f"expected a text, but {path} is empty; name a file with something to learn from")
            file.seek(0)
            _write_header(file, dtype, length)  # as long as before: NumPy leaves room for the length to grow
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return np.load(out, mmap_mode="r")


def _write_header(file: BinaryIO, dtype: np.dtype, length: int) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
