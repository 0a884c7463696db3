"""Where answers are saved: in a file next to the notebook, or in the browser for a web page.

On a web page, many visitors share one folder, so a file there would show one visitor's answers to the next.
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
"""Most characters of saved answers that are read."""


class Store(Protocol):
    """Storage for one text that outlives the kernel."""

    place: str
    """Where it is, in one sentence for the student."""
    widget: Any
    """The widget that must be on the page for it to work; None if none is needed."""

    def load(self, found: Callable[[str], object]) -> None:
        """Call ``found`` with the saved text, now or once the page has sent it; never if there is none."""

    def save(self, text: str) -> None:
        """Replace the saved text with ``text``."""


class FileStore:
    """Save answers in a file.

    Args:
        path: The file; its folder is created on the first save.

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
        """Call ``found`` with the text of the file, if it exists and can be read."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        found(text[:LIMIT])

    def save(self, text: str) -> None:
        """Write the file atomically."""
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            self.place = f"Your answers could not be kept ({error.strerror}): export them before you leave."


class BrowserStore(Bridge):
    """Save answers in the browser that shows the page.

    Args:
        key: Identifies the lesson.

    Attributes:
        found: The saved text; it comes from the page, so it cannot be trusted.
        text: The text to save.
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
        """Call ``found`` once the page has loaded and sent the saved text."""
        self.observe(lambda change: found(change["new"][:LIMIT]), names="found")

    def save(self, text: str) -> None:
        """Save ``text`` in the browser."""
        self.text = text


def store_for(name: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Return the store for the answers of lesson ``name`` on this kind of page.

    Example:
        >>> type(store_for("01", {"SERVER_SOFTWARE": "voila/0.5.8"})).__name__
        'BrowserStore'
    """
    return (
        BrowserStore(name) if on_web_page(environment) else FileStore(Path.cwd() / "answers" / f"{name}.json")
    )


def on_web_page(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether Voilà shows the notebook as a web page, without editable cells.

    Example:
        >>> on_web_page({"SERVER_SOFTWARE": "voila/0.5.8"}), on_web_page({})
        (True, False)
    """
    return environment.get("SERVER_SOFTWARE", "").startswith("voila") or "VOILA_REQUEST_URL" in environment
