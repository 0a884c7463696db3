"""Taking it home: files to save by way of the page, code to read and copy, and a plan to carry out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape
from typing import Any

import ipywidgets as widgets

from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export import FILES

SHOWN = ("plan", "torch", "prunescope")
"""The files that are text a person may read before taking them."""

MAX_SHOWN = 20_000
"""Characters of a text that are shown; the file has all of it."""

PLAN_LIMIT = 1 << 20
"""Bytes of a plan that is read."""


class TakingPanel:
    """What can be taken home, and a plan to be brought along.

    Args:
        take: Called with a key of `FILES` and whether to save it (True) or to return its text (False).
        bring: Called with the text of a plan that a person chose.
        lock: Held while a change is acted on; whoever renders holds it too.

    Attributes:
        widget: The panel.
    """

    def __init__(
        self,
        take: Callable[[str, bool], str],
        bring: Callable[[str], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self._take = take
        self._bring = bring
        self._lock = lock
        self._place: object = None
        self._files = tuple(FILES)
        titles = [(file.title, key) for key, file in FILES.items()]
        self.what = widgets.Dropdown(description="File", options=titles, layout={"width": "auto"})
        self.save = widgets.Button(description="Download", button_style="primary")
        self.upload = widgets.FileUpload(accept=".json", description="Carry out a plan …", multiple=False)
        self._text = widgets.HTML().add_class("ps-code")
        self._message = widgets.HTML().add_class("ps-message")
        row = widgets.Box([self.what, self.save, self.upload]).add_class("ps-take-row")
        self.widget = widgets.VBox([row, self._message, self._text])
        self.what.observe(self._show, names="value")
        self.save.on_click(lambda _button: self._save())
        self.upload.observe(self._read, names="value")

    def render(self, snapshot: Snapshot, files: tuple[str, ...]) -> None:
        """Offer ``files`` of the steps of ``snapshot``; nothing is made before there is a step."""
        history = snapshot.history
        if self._files != files:
            self._files, self._place = files, None
            self.what.options = [(FILES[key].title, key) for key in files]
        self.what.disabled = self.save.disabled = not history.done
        self._say(snapshot.message("plan") or snapshot.message("what"))
        if self._place != history.done:
            self._place = history.done
            self._show()
        if not history.done:
            self._text.value = "<p>Apply a step first: what is taken home are the steps, not the preview.</p>"

    def _say(self, text: str) -> None:
        self._message.value = f'<div role="alert" class="ps-problem">{escape(text)}</div>' if text else ""
        self._message.layout.display = None if text else "none"

    def _show(self, _change: object = None) -> None:
        with self._lock:
            key = self.what.value
            text = self._take(key, False) if self._place and key in SHOWN else ""
            more = "\n…" if len(text) > MAX_SHOWN else ""
            self._text.value = f"<pre>{escape(text[:MAX_SHOWN])}{more}</pre>" if text else ""

    def _save(self) -> None:
        with self._lock:
            self._take(self.what.value, True)

    def _read(self, change: dict[str, Any]) -> None:
        with self._lock:
            for file in change["new"]:
                content = bytes(file["content"][: PLAN_LIMIT + 1])
                self._bring("" if len(content) > PLAN_LIMIT else content.decode(errors="replace"))
            self.upload.value = ()
