"""Where a person's answers are kept: in a file beside the notebook, or in the browser of a web page.

On a web page many visitors share one folder, so a file there would give the answers of one to the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import traitlets

from prunescope.explorer.bridge import Bridge

_HERE = Path(__file__).parent

LIMIT = 1 << 20
"""Characters of kept answers that are read."""


class Store(Protocol):
    """A place for one text that outlives the kernel."""

    place: str
    """Where it is, in a sentence for the person."""
    widget: Any
    """What has to be on the page for it to work; None is nothing."""

    def load(self, found: Callable[[str], object]) -> None:
        """Call ``found`` with what is kept, now or once the page has said it; not at all if nothing is."""

    def save(self, text: str) -> None:
        """Keep ``text`` in place of what was kept."""


class FileStore:
    """Answers in a file.

    Args:
        path: The file; its folder is made when there is something to keep.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     store = FileStore(Path(folder) / "answers" / "01.json")
        ...     store.save("{}")
        ...     store.load(print)
        {}
    """

    widget = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = f"Your answers are kept in the file {path.parent.name}/{path.name}, beside the notebook."

    def load(self, found: Callable[[str], object]) -> None:
        """Call ``found`` with the text of the file, if there is one that can be read."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        found(text[:LIMIT])

    def save(self, text: str) -> None:
        """Write the file whole or not at all."""
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            self.place = f"Your answers could not be kept ({error.strerror}): export them before you leave."


class BrowserStore(Bridge):
    """Answers in the browser that shows the page; they never leave it, but on export.

    Args:
        key: Tells them from those of other lessons.

    Attributes:
        found: What the browser had kept. Comes from the page: not to be trusted.
        text: What it is to keep.
    """

    _esm = _HERE / "store.js"
    key = traitlets.Unicode().tag(sync=True)
    found = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    place = "Your answers are kept in this browser, until its data of this page are cleared."

    def __init__(self, key: str) -> None:
        super().__init__(key=f"prunescope-lessons:{key}")
        self.widget = self

    def load(self, found: Callable[[str], object]) -> None:
        """Call ``found`` once the page is there and has said what it had kept."""
        self.observe(lambda change: found(change["new"][:LIMIT]), names="found")

    def save(self, text: str) -> None:
        """Have the browser keep ``text``."""
        self.text = text


def store_for(name: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Return where the answers of the lesson called ``name`` are kept on this kind of page.

    Example:
        >>> type(store_for("01", {"SERVER_SOFTWARE": "voila/0.5.8"})).__name__
        'BrowserStore'
    """
    return (
        BrowserStore(name) if on_web_page(environment) else FileStore(Path.cwd() / "answers" / f"{name}.json")
    )


def on_web_page(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the notebook is shown as a web page by Voilà, without cells that could be edited.

    Example:
        >>> on_web_page({"SERVER_SOFTWARE": "voila/0.5.8"}), on_web_page({})
        (True, False)
    """
    return environment.get("SERVER_SOFTWARE", "").startswith("voila") or "VOILA_REQUEST_URL" in environment
