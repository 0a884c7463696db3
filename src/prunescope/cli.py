"""The `prunescope` command: serve the dashboard, say where it is, open it."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from prunescope.serving.address import CannotListen, Listener
from prunescope.serving.notebook import dashboard_notebook

DEFAULT_IP = "127.0.0.1"
DEFAULT_PORT = 8866


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `prunescope` command and return its exit code.

    Args:
        argv: Words after the command's name; those of this process when ``None``.

    Returns:
        0 after a stop that was asked for, 2 for an address that cannot be served, 130 for Ctrl+C meanwhile.
    """
    asked = _parser().parse_args(argv)
    try:
        listener = Listener.bind(asked.ip, asked.port)
    except CannotListen as problem:
        print(f"prunescope: {problem}", file=sys.stderr)
        return 2
    with listener:
        return _serve(listener, open_browser=asked.browser)


def _serve(listener: Listener, *, open_browser: bool) -> int:
    # Voilà takes seconds to import: --help, --version and a wrong address need not wait for it.
    try:
        from prunescope.serving.app import serve

        serve(dashboard_notebook(), listener, open_browser=open_browser)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prunescope",
        description="Explore neural-network pruning live, in the browser.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port to serve on; a taken one gives the next free one, 0 any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--ip",
        default=DEFAULT_IP,
        help="address to serve on, 0.0.0.0 for every one of this machine (default: %(default)s)",
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open a browser after the start"
    )
    parser.add_argument("--version", action="version", version=f"prunescope {version('prunescope')}")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a whole number from 0 to 65535, got {text!r}")
    return int(text)
