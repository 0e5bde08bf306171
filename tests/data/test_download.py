"""Downloads, from a server on this machine: resumed where they broke, refused if they are wrong, clear when offline."""

import hashlib
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import rich.console

from data.shared import shared
from tinygrad_seq.data import DATA_SETS, DataSet, download

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """It gives CONTENT, breaks a connection where it is told to, and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks_after, self.status, self.knows_ranges = CONTENT, len(CONTENT), 200, True
        self.asked: list[str | None] = []
        self.seconds = 0.0  # before it answers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted, server = self.headers["Range"], self.server
        server.asked.append(wanted)
        time.sleep(server.seconds)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.knows_ranges else 0
        if server.status != 200 or begin >= len(server.content):
            self.send_error(416 if server.status == 200 else server.status)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(server.content) - begin))
        self.end_headers()
        self.wfile.write(server.content[begin : server.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("pooch", reason="pooch is not installed: downloads are not checked")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        monkeypatch.setitem(DATA_SETS, "numbers", DataSet(server.url, SHA256, "none"))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "numbers").iterdir() if path.suffix != ".lock")


def test_a_data_set_is_fetched_once(server, tmp_path):
    path = download("numbers", tmp_path)
    assert path == tmp_path / "numbers" / "file.bin" and path.read_bytes() == CONTENT
    assert download("numbers", str(tmp_path)) == path
    assert server.asked == [None] and there(tmp_path) == ["file.bin"]


def test_the_users_cache_folder_is_used_without_one(server, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    assert download("numbers") == tmp_path / "tinygrad_seq" / "numbers" / "file.bin"


def test_a_file_goes_on_where_the_connection_broke(server, tmp_path):
    for server.breaks_after, kept in (0, 0), (4096 * 9 + 100, 4096 * 9), (4096 * 70 + 4000, 4096 * 70):
        with pytest.raises(ConnectionError, match="no connection for numbers") as error:
            download("numbers", tmp_path)
        assert (f"; {kept} bytes are kept, it goes on there" in str(error.value)) == bool(kept)
        assert there(tmp_path) == ["file.bin.part"]
    server.breaks_after = len(CONTENT)
    assert download("numbers", tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, None, f"bytes={4096 * 9}-", f"bytes={4096 * 70}-"]
    assert there(tmp_path) == ["file.bin"]


def test_a_whole_part_is_the_file(server, tmp_path):
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "file.bin.part").write_bytes(CONTENT)
    assert download("numbers", tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_server_that_knows_no_ranges_gives_all_of_it_again(server, tmp_path):
    server.breaks_after = 5000
    with pytest.raises(ConnectionError):
        download("numbers", tmp_path)
    server.breaks_after, server.knows_ranges = len(CONTENT), False
    assert download("numbers", tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=4096-"]


def test_another_file_is_refused_and_not_kept(server, tmp_path):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(
        ValueError, match=f"numbers from {server.url} is not that data set: its checksum is not {SHA256}"
    ):
        download("numbers", tmp_path)
    assert there(tmp_path) == []
    server.content = CONTENT
    assert download("numbers", tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_the_beginning_of_another_file_is_refused_and_not_kept(server, tmp_path):
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "file.bin.part").write_bytes(b"?" * 10)
    with pytest.raises(ValueError, match="is not that data set"):
        download("numbers", tmp_path)
    assert download("numbers", tmp_path).read_bytes() == CONTENT


def test_a_spoiled_file_is_fetched_anew(server, tmp_path):
    download("numbers", tmp_path).write_bytes(b"spoiled")
    assert download("numbers", tmp_path).read_bytes() == CONTENT and len(server.asked) == 2


def test_offline_it_says_what_to_do(server, tmp_path, monkeypatch):
    server.shutdown()
    server.server_close()
    path = tmp_path / "numbers" / "file.bin"
    with pytest.raises(ConnectionError) as error:
        download("numbers", tmp_path)
    assert str(error.value) == (
        f"download: no connection for numbers (ConnectionError); try again, or fetch {server.url} elsewhere "
        f"and put it at {path}"
    )
    path.write_bytes(CONTENT)  # done as it says
    assert download("numbers", tmp_path) == path


def test_a_refusal_is_told(server, tmp_path):
    server.status = 404
    with pytest.raises(OSError, match=r"the server refused numbers \(404 .*\); try again later, or fetch") as error:
        download("numbers", tmp_path)
    assert not isinstance(error.value, ConnectionError) and there(tmp_path) == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_shows_on_a_terminal_alone(is_terminal, server, tmp_path, monkeypatch):
    shown = io.StringIO()
    real = rich.console.Console

    def console(*, stderr: bool) -> rich.console.Console:
        assert stderr
        return real(file=shown, force_terminal=is_terminal, width=100)

    monkeypatch.setattr(rich.console, "Console", console)
    server.breaks_after = 300_000
    with pytest.raises(ConnectionError):
        download("numbers", tmp_path)
    server.breaks_after = len(CONTENT)
    download("numbers", tmp_path)
    last = shown.getvalue().split("file.bin")[-1]
    assert ("512.0/512.0 kB" in last) == is_terminal and bool(shown.getvalue()) == is_terminal


def test_processes_that_ask_together_fetch_once(server, tmp_path):
    server.seconds = 1.0  # the others come while the first one waits
    code = (
        "import sys; from tinygrad_seq.data import DATA_SETS, DataSet, download;"
        f"DATA_SETS['numbers'] = DataSet({server.url!r}, {SHA256!r}, 'none');"
        "print(download('numbers', sys.argv[1]))"
    )
    asked = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in asked:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert Path(out.decode().strip()).read_bytes() == CONTENT
    assert server.asked == [None]


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"one of tiny_shakespeare, names, .*, got 'sst2'; did you mean sst2/"):
        download("sst2")
    with pytest.raises(ValueError, match="got 'x'$"):
        download("x")


@pytest.mark.parametrize("package", ["pooch", "filelock"])
def test_without_the_library_the_extra_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is not installed: pip install 'tinygrad-seq\[text\]'"):
        download("names")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("tiny_shakespeare", "tinyshakespeare/input.txt"),
        ("names", "names/names.txt"),
        ("sst2/train", "sst/stsa.binary.train"),
        ("sst2/dev", "sst/stsa.binary.dev"),
        ("sst2/test", "sst/stsa.binary.test"),
        ("wnut17/train", "wnut17/wnut17train.conll"),
        ("wnut17/dev", "wnut17/emerging.dev.conll"),
        ("wnut17/test", "wnut17/emerging.test.annotated"),
    ],
)
def test_checksums_are_those_of_the_real_files(name, file):
    assert DATA_SETS[name].url.endswith("/" + Path(file).name)
    assert hashlib.sha256(shared(file).read_bytes()).hexdigest() == DATA_SETS[name].sha256
