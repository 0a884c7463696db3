"""The `prunescope` command: its words, its address, the kernel it starts, and how it ends."""

import errno
import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest

from prunescope import cli
from prunescope.serving import address
from prunescope.serving.address import CannotListen, Listener
from prunescope.serving.notebook import dashboard_notebook
from prunescope.serving.options import Options
from tests.support.hosts import Server, lives, notebook, prunescope_command, served, stand_in_command

SLOW_S = 60


@pytest.fixture
def two_cells(tmp_path: Path) -> Path:
    return notebook(tmp_path / "two.ipynb", ["import sys", "print('this is', sys.executable)"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, as one has that listens on every interface."""
    folder = tmp_path_factory.mktemp("guarded")
    page = notebook(folder / "two.ipynb", ["import sys", "print('this is', sys.executable)"])
    with served(stand_in_command(page, token="7" * 48), folder) as server:
        yield server


OPTIONS = (
    "FILE_OR_FOLDER",
    "--models",
    "--allow-training",
    "--port",
    "--ip",
    "--no-browser",
    "--token",
    "--no-token",
    "--base-url",
    "--max-sessions",
    "--idle-timeout",
    "--ready",
    "--jupyterhub",
    "--version",
)
# Of one session, served and ended with its server, and nothing else.
ONE_SESSION = r"[-\d]+ [:,\d]+ session \w{8} started \(1 of 20\)\n"


def fetch(url: str) -> str:
    return urllib.request.urlopen(url, timeout=SLOW_S).read().decode()


def status(url: str) -> int:
    """Return the status of the answer itself, not of where it leads."""
    where = urllib.parse.urlsplit(url)
    connection = HTTPConnection(where.hostname, where.port, timeout=SLOW_S)
    connection.request("GET", f"{where.path}?{where.query}")
    code = connection.getresponse().status
    connection.close()
    return code


PATHS = [
    "",
    "voila/static/voila.js",
    "voila/templates/lab/static/voila.js",
    "voila/files/Prunescope.ipynb",
    "voila/session/0-0-0-0-0",
    "voila/labextensions/anywidget/package.json",
    "voila/api/themes/x",
    "api/kernels",
    "api/kernels/0-0-0-0-0",
    "api/kernels/0-0-0-0-0/channels",
    "elsewhere",
]

# ------------------------------------------------------------------------------------------------ words


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"prunescope {version('prunescope')}\n"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert [option for option in OPTIONS if option not in said] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["gone.pt"], "`model` gone.pt cannot be opened: No such file or directory."),
        (
            ["cut.safetensors"],
            "`model` cut.safetensors is not a safetensors file: it ends before its header.",
        ),
        (["--models", "nowhere"], "`models` nowhere cannot be read: No such file or directory."),
    ],
)
def test_a_checkpoint_that_cannot_be_opened_is_one_sentence(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.safetensors").write_text("")
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"prunescope: {sentence}\n"


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "80.5", "", "٣"])
def test_bad_port_is_one_sentence(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--port", port])
    assert stop.value.code == 2
    assert f"a port must be a whole number from 0 to 65535, got {port!r}" in capsys.readouterr().err


# tornado leaves a socket that it could not bind to the collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize(
    ("ip", "sentence"),
    [
        ("192.0.2.1", "192.0.2.1 is no address of this machine: try --ip 127.0.0.1"),
        ("a" * 64, "is neither an address nor a host name known here: try --ip 127.0.0.1"),
    ],
)
def test_bad_ip_is_one_sentence(ip: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--ip", ip, "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def options_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Options:
    """Return how the command would serve."""
    asked: list[Options] = []
    monkeypatch.setattr("prunescope.serving.app.serve", lambda *words: asked.append(words[-1]))
    assert cli.main([*words, "--port", "0"]) == 0
    return asked[0]


@pytest.mark.parametrize(("words", "opens"), [([], True), (["--no-browser"], False)])
def test_browser_is_asked_for_unless_told(
    words: list[str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options_of(words, monkeypatch).open_browser is opens


def test_what_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--token 12345678 --base-url a/b --max-sessions 3 --idle-timeout 0.5 --ready 2 --no-browser"
    assert options_of(words.split(), monkeypatch) == Options(
        open_browser=False, token="12345678", base_url="/a/b/", max_sessions=3, idle_timeout=30, ready=2
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--token", "short"], "a token must be 8 or more of"),
        (["--token", "with a space"], "a token must be 8 or more of"),
        (["--base-url", "http://x"], "a base URL must be a path such as /prunescope/, got 'http://x'"),
        (["--max-sessions", "0"], "must be a whole number from 1, got '0'"),
        (["--ready", "-1"], "must be a whole number from 0, got '-1'"),
        (["--idle-timeout", "nan"], "minutes must be a number above 0, got 'nan'"),
        (["--idle-timeout", "soon"], "minutes must be a number above 0, got 'soon'"),
        (["--jupyterhub"], "no hub started this process"),
        (["--token", "12345678", "--no-token"], "not allowed with argument --token"),
    ],
)
def test_bad_option_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ token


def test_token_by_default_where_other_machines_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (options_of(["--ip", "0.0.0.0"], monkeypatch).token for _ in range(2))
    assert len(first) == len(second) == 48
    assert first != second
    assert options_of([], monkeypatch).token == ""
    assert options_of(["--ip", "0.0.0.0", "--no-token"], monkeypatch).token == ""


def test_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.TOKEN_VARIABLE, "from-outside")
    assert options_of([], monkeypatch).token == "from-outside"
    assert cli.TOKEN_VARIABLE not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_token(path: str, guarded: Server) -> None:
    base, _, token = guarded.url.partition("?token=")
    assert len(token) == 48
    assert status(f"{base}{path}") in (302, 403)
    assert status(f"{base}{path}?token=wrong") in (302, 403)
    assert guarded.kernels() == []


@pytest.mark.slow
def test_the_printed_address_opens_the_page(guarded: Server) -> None:
    assert "this is" in fetch(guarded.url)


@pytest.mark.slow
def test_health_needs_no_token(guarded: Server) -> None:
    base = guarded.url.partition("?")[0]
    assert json.loads(fetch(base + "health"))["max_sessions"] == 20


def test_ctrl_c_during_the_start_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prunescope.serving.app.serve", interrupted)
    assert cli.main(["--port", "0"]) == 130
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------------------------------- address


# tornado leaves a socket that it could not bind to the collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_taken_port_gives_the_next_free_one() -> None:
    with Listener.bind("127.0.0.1", 0) as first, Listener.bind("127.0.0.1", first.port) as second:
        assert first.port < second.port < first.port + address.PORTS_TRIED
        assert second.url == f"http://127.0.0.1:{second.port}/"


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Make every port answer with an error, and return the list of those that are tried."""
    tried: list[int] = []

    def bind_sockets(port: int, ip: str) -> list[socket.socket]:
        tried.append(port)
        raise OSError(number, "refused")

    monkeypatch.setattr(address, "bind_sockets", bind_sockets)
    return tried


@pytest.mark.parametrize(("port", "last"), [(9000, 9049), (65530, 65535)])
def test_ports_all_taken(port: int, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = refuse(monkeypatch, errno.EADDRINUSE)
    with pytest.raises(CannotListen, match=f"the ports {port} to {last} of 127.0.0.1 are all taken"):
        Listener.bind("127.0.0.1", port)
    assert tried == list(range(port, last + 1))


def test_reserved_port(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = refuse(monkeypatch, errno.EACCES)
    with pytest.raises(CannotListen, match="port 80 needs administrator rights"):
        Listener.bind("127.0.0.1", 80)
    assert tried == [80]


def test_every_interface_is_named_by_this_machine() -> None:
    with Listener.bind("0.0.0.0", 0) as everywhere, Listener.bind("127.0.0.1", 0) as here:
        assert everywhere.url == f"http://{socket.gethostname()}:{everywhere.port}/"
        assert everywhere.local_url == f"http://127.0.0.1:{everywhere.port}/"
        assert everywhere.public
        assert not here.public


# -------------------------------------------------------------------------------------------- a process


@pytest.mark.slow
def test_command_serves_the_dashboard_from_any_directory(tmp_path: Path) -> None:
    assert dashboard_notebook().is_file()
    with served(prunescope_command("--no-browser", "--port", "0"), tmp_path) as server:
        page = fetch(server.url)
    assert "<title>Prunescope</title>" in page
    assert "from prunescope" not in page
    assert re.fullmatch(ONE_SESSION, server.log.read_text())


@pytest.mark.slow
def test_browser_is_opened_on_the_page(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as told:
        told.settimeout(SLOW_S)
        port = told.getsockname()[1]
        tell = f"""
import socket, sys
socket.create_connection(('127.0.0.1', {port})).sendall(sys.argv[1].encode())
"""
        browser = {"BROWSER": shlex.join([sys.executable, "-c", tell]) + " %s"}
        with served(prunescope_command("--port", "0"), tmp_path, browser) as server:
            connection, _ = told.accept()
            assert connection.makefile().read() == server.url
            connection.close()
        with served(prunescope_command("--port", "0", "--no-browser"), tmp_path, browser):
            pass
        told.settimeout(0)
        with pytest.raises(BlockingIOError):
            told.accept()


@pytest.mark.slow
def test_error_page_is_ours_and_links_no_other_host(two_cells: Path, tmp_path: Path) -> None:
    with served(stand_in_command(two_cells), tmp_path, {"TMPDIR": str(tmp_path)}) as server:
        (page,) = tmp_path.glob("prunescope-*/page/*.ipynb")
        page.unlink()
        with pytest.raises(HTTPError) as answer:
            fetch(server.url)
        shown = answer.value.read().decode()
    assert answer.value.code == 404
    assert "<title>Prunescope</title>" in shown
    assert "https://" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop_leaves_nothing_behind(by: signal.Signals, two_cells: Path, tmp_path: Path) -> None:
    with served(stand_in_command(two_cells), tmp_path) as server:
        assert "this is" in fetch(server.url)
        (kernel,) = server.kernels()
        folder = Path(kernel.cwd())
        assert [path.name for path in folder.iterdir()] == ["Prunescope.ipynb"]
        assert server.stop(by) == 0
    assert not folder.parent.exists()
    assert re.fullmatch(ONE_SESSION, server.log.read_text())


@pytest.mark.slow
def test_stop_ends_a_busy_kernel(tmp_path: Path) -> None:
    busy = notebook(tmp_path / "busy.ipynb", ["open('busy', 'w').close()\nwhile True: pass"])
    with served(stand_in_command(busy), tmp_path) as server:
        visitor = threading.Thread(target=fetch_cut_short, args=[server.url])
        visitor.start()
        kernel = until_busy(server)
        assert server.stop() == 0
        visitor.join()
    assert not lives(kernel)


def fetch_cut_short(url: str) -> None:
    with pytest.raises((OSError, HTTPException)):
        fetch(url)


def until_busy(server: Server):
    while True:
        for kernel in server.kernels():
            with suppress(psutil.NoSuchProcess):  # One that was made ready, and not chosen.
                if Path(kernel.cwd(), "busy").exists():
                    return kernel


@pytest.mark.slow
def test_kernel_is_this_python_whatever_the_user_has_installed(two_cells: Path, tmp_path: Path) -> None:
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "Other", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    environment = {"JUPYTER_PATH": str(tmp_path / "jupyter"), "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}
    with served(stand_in_command(two_cells), tmp_path, environment) as server:
        assert f"this is {sys.executable}" in fetch(server.url)


@pytest.mark.slow
def test_home_directory_is_left_alone(two_cells: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("raise SystemExit('the user has written this for another purpose')")
    before = sorted(home.rglob("*"))
    with served(stand_in_command(two_cells), tmp_path, {"HOME": str(home)}) as server:
        assert "this is" in fetch(server.url)
    assert sorted(home.rglob("*")) == before
    assert re.fullmatch(ONE_SESSION, server.log.read_text())


@pytest.mark.slow
def test_directory_it_starts_from_changes_nothing(two_cells: Path, tmp_path: Path) -> None:
    settings = {"VoilaConfiguration": {"strip_sources": False, "template": "classic"}}
    (tmp_path / "voila.json").write_text(json.dumps(settings))
    (tmp_path / "ipywidgets.py").write_text("raise ImportError('the wrong one')")
    page = notebook(tmp_path / "page.ipynb", ["import ipywidgets", "print('imported', 6 * 7)"])
    with served(stand_in_command(page), tmp_path) as server:
        shown = fetch(server.url)
    assert "imported 42" in shown
    assert "6 * 7" not in shown
