"""The `prunescope` command: serve the dashboard and open it in a browser, or prune a file from the shell."""

import argparse
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from prunescope.core.environment import (
    DEFAULT_MAX_UPLOAD,
    MAX_UPLOAD_VARIABLE,
    TRAINING_SECONDS,
    TRAINING_VARIABLE,
)
from prunescope.serving.address import CannotListen, Listener
from prunescope.serving.jupyterhub import HubAddress
from prunescope.serving.notebook import dashboard_notebook
from prunescope.serving.options import Options

DEFAULT_IP = "127.0.0.1"
DEFAULT_PORT = 8866
TOKEN_VARIABLE = "PRUNESCOPE_TOKEN"
PRUNE = "prune"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `prunescope` command and return its exit code.

    Args:
        argv: Arguments after the command's name; None takes them from ``sys.argv``.

    Returns:
        0 after a requested stop, 2 if the address cannot be served or the file cannot be opened, 130 after
        Ctrl+C during start-up.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == [PRUNE]:
        # Like Voilà, torch takes a while to import.
        from prunescope.network.command import main as prune

        return prune(words[1:])
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.jupyterhub:
        try:
            place = HubAddress.of_environment()
        except KeyError:
            parser.error("--jupyterhub is for JupyterHub's Spawner.cmd, and no hub started this process")
        asked.ip, asked.port, asked.base_url = place.ip, place.port, place.base_url
        asked.token, asked.browser = "", False
    refused = _offer(asked.checkpoint, asked.models)
    if refused:
        print(f"prunescope: {refused}", file=sys.stderr)
        return 2
    try:
        listener = Listener.bind(asked.ip, asked.port)
    except CannotListen as problem:
        print(f"prunescope: {problem}", file=sys.stderr)
        return 2
    os.environ[MAX_UPLOAD_VARIABLE] = str(asked.max_upload * 10**6)
    os.environ[TRAINING_VARIABLE] = str(TRAINING_SECONDS if asked.allow_training else 0)
    options = Options(
        open_browser=asked.browser,
        token=_token(asked, public=listener.public),
        base_url=asked.base_url,
        max_sessions=asked.max_sessions,
        idle_timeout=asked.idle_timeout * 60,
        ready=asked.ready,
        hub=asked.jupyterhub,
    )
    with listener:
        return _serve(listener, options)


def _token(asked: argparse.Namespace, *, public: bool) -> str:
    """Return the requested token, or a new one where other machines can reach the server."""
    # Kernels inherit the environment and must not see the token.
    given: str | None = os.environ.pop(TOKEN_VARIABLE, None) if asked.token is None else asked.token
    return secrets.token_hex(24) if given is None and public else given or ""


def _offer(checkpoint: str | None, folder: str | None) -> str:
    """Tell future kernels which file to open and which folder to offer; return why that fails, or ""."""
    if checkpoint is None and folder is None:
        return ""
    # Like Voilà, torch takes a while to import.
    from prunescope.core.errors import RequestError
    from prunescope.sources import MODELS_VARIABLE, OPEN_VARIABLE, checkpoint_source, offered

    try:
        if checkpoint is not None:
            checkpoint_source(checkpoint)
            os.environ[OPEN_VARIABLE] = os.path.abspath(os.path.expanduser(checkpoint))
        if folder is not None:
            offered(Path(folder).expanduser())
            os.environ[MODELS_VARIABLE] = os.path.abspath(os.path.expanduser(folder))
    except RequestError as problem:
        return str(problem)
    return ""


def _serve(listener: Listener, options: Options) -> int:
    # Voilà takes seconds to import; --help, --version and a bad address should not wait for it.
    try:
        from prunescope.serving.app import serve

        serve(dashboard_notebook(), listener, options)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prunescope",
        description="Explore neural-network pruning live, in the browser.",
        epilog="To prune a checkpoint from the shell: prunescope prune FILE --target 0.5 --rule lamp -o OUT; "
        "see prunescope prune --help.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="FILE_OR_FOLDER",
        help="checkpoint to open: .safetensors, .pt, .pth, .bin, .ckpt, .pth.tar, or a model folder as hubs "
        "lay it out; no code in it is run (default: the demo networks)",
    )
    parser.add_argument(
        "--models",
        metavar="DIR",
        help="also list the checkpoints in this folder; nothing outside it can be opened",
    )
    parser.add_argument(
        "--max-upload",
        type=_count(0),
        default=DEFAULT_MAX_UPLOAD // 10**6,
        metavar="MB",
        help="most megabytes of checkpoints each visitor may upload, 0 for none; uploads are removed when "
        "the session ends (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-training",
        action="store_true",
        help=f"let visitors fine-tune what they have pruned, at most {TRAINING_SECONDS} seconds at a time "
        "(default: they may not; it takes a processor)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port; if busy, the next free port is used; 0 picks any free port (default: %(default)s)",
    )
    parser.add_argument(
        "--ip",
        default=DEFAULT_IP,
        help="address to listen on; 0.0.0.0 listens on all of this machine's (default: %(default)s)",
    )
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token",
        type=_word,
        help=f"access token; prefer the environment variable {TOKEN_VARIABLE}, which other local users "
        "cannot read (default: a new one if --ip lets other machines in, else none)",
    )
    token.add_argument(
        "--no-token",
        dest="token",
        action="store_const",
        const="",
        help="let in anyone who can reach the address",
    )
    parser.add_argument(
        "--base-url",
        type=_base_url,
        default="/",
        metavar="PATH",
        help="path to serve under, behind a reverse proxy (default: %(default)s)",
    )
    parser.add_argument(
        "--max-sessions",
        type=_count(1),
        default=20,
        metavar="N",
        help="most visitors at once, each in a process of their own; others wait (default: %(default)s)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=_minutes,
        default=20.0,
        metavar="MINUTES",
        help="end a session after this long without use (default: %(default)g)",
    )
    parser.add_argument(
        "--ready",
        type=_count(0),
        default=1,
        metavar="N",
        help="explorers started in advance for the next visitors (default: %(default)s)",
    )
    parser.add_argument(
        "--jupyterhub",
        action="store_true",
        help="serve one user of the JupyterHub that starts this; the hub sets the address and checks access",
    )
    parser.add_argument("--version", action="version", version=f"prunescope {version('prunescope')}")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.~-]{8,}", text, re.ASCII):
        raise argparse.ArgumentTypeError("a token must be 8 or more of A-Z a-z 0-9 _ . ~ -")
    return text


def _base_url(text: str) -> str:
    if not re.fullmatch(r"[\w.~@/-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"a base URL must be a path such as /prunescope/, got {text!r}")
    path = text.strip("/")
    return f"/{path}/" if path else "/"


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text!r}")
        return int(text)

    return count


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"minutes must be a number above 0, got {text!r}")
    return minutes
