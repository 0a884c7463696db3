"""Export: files to save by way of the page, code to read and copy, and a plan to apply."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.core.glossary import GLOSSARY, option
from prunescope.explorer import html
from prunescope.explorer.html import message, say
from prunescope.explorer.panels.compact import CompactPanel
from prunescope.explorer.panels.page import Page
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.export import FILES, file_name

MAX_SHOWN = 20_000
"""Characters of a text that are shown; the file has all of it."""

PLAN_LIMIT = 1 << 20
"""Bytes of a plan that is read."""


class ExportPanel(Panel):
    """What can be taken home, and a plan to be brought along.

    Attributes:
        what: The list of files.
        save: The button that downloads the one that is chosen.
        upload: Where a plan is chosen.
        text: The text of the file, if it is one a person may read.
        message: The sentence above it.
        compact: What is left once pruned channels are cut out.
        page: The bridge by which the page saves files.
    """

    name = "export"
    title = "Export"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.page = Page()
        self.what = widgets.Dropdown(
            description="File", tooltip=GLOSSARY["file"], options=[], layout={"width": "auto"}
        )
        self.save = widgets.Button(
            description="Download", tooltip=GLOSSARY["download"], button_style="primary"
        )
        self.upload = widgets.FileUpload(
            accept=".json", description="Apply plan file …", tooltip=GLOSSARY["plan file"], multiple=False
        )
        self.text = widgets.HTML().add_class("ps-code")
        self.message = message()
        row = widgets.Box([self.what, self.save, self.upload]).add_class("ps-take-row")
        self.compact = CompactPanel(state, self.page)
        self.widget = widgets.VBox([row, self.message, self.text, self.compact.widget])
        self.hear(self.what, lambda what: state.request(exporting=what))
        self.press(self.save, self._save)
        self.hear(self.upload, self._read)

    def render(self, snapshot: Snapshot) -> None:
        """Offer the files of the steps of ``snapshot``; nothing is made before there is a step."""
        self.compact.render(snapshot)
        options = [(FILES[key].title, key) for key in snapshot.files]
        with self.writing():
            if list(self.what.options) != options:
                self.what.options = options
            offered = snapshot.exporting in snapshot.files
            self.what.value = snapshot.exporting if offered else snapshot.files[0]
        html.explain(self.what, option("file", self.what.value))
        steps, made = snapshot.history.done, snapshot.exported
        for control in (self.what, self.save):
            html.enable(control, "" if steps else "there is no step yet.")
        fresh = made is not None and made.is_of(self.what.value, steps)
        problem = made.problem if made is not None and fresh else ""
        say(self.message, snapshot.message("plan") or snapshot.message("what") or problem)
        if not steps:
            self.text.value = "<p>Apply a step first: files hold the steps, not the preview.</p>"
        elif made is not None and fresh:
            self.text.value = _shown(made.text)

    def _save(self) -> None:
        session, what = self.state.session, self.what.value
        try:
            content = FILES[what].content(session)
        except RequestError as problem:
            self.state.refuse(RequestError("what", str(problem)))
        else:
            self.page.save(file_name(session, what), content)

    def _read(self, files: tuple[dict[str, Any], ...]) -> None:
        for file in files:
            content = bytes(file["content"][: PLAN_LIMIT + 1])
            text = "" if len(content) > PLAN_LIMIT else content.decode(errors="replace")
            self.state.act(partial(actions.bring, text=text), "plan")
        with self.writing():
            self.upload.value = ()


def _shown(text: str) -> str:
    more = "\n…" if len(text) > MAX_SHOWN else ""
    return f"<pre>{escape(text[:MAX_SHOWN])}{more}</pre>" if text else ""
