"""The picture under the hand and the ear, in both hosts: grabbed, read, stepped by keys, named, legible."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, WebSocket

from prunescope.figures import DARK, LIGHT, Theme
from tests.browser.test_dashboard import Dashboard, colours
from tests.support import hosts

TOOLBAR_SHOWS = "getComputedStyle(document.querySelector('.jupyter-matplotlib-toolbar')).opacity"

OpenPage = Callable[..., Page]
OpenNotebook = Callable[[Page, Sequence[str]], list[str]]

NOTEBOOK = """
from prunescope import explore
explore(method="ln_structured")
"""


class Hand:
    """A person's pointer and keys over the picture; places are fractions of its width and height."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.shown = Dashboard(page)
        self.shown.wait_for("of 599)")
        page.locator(".ps-canvas canvas").first.wait_for()
        self.wait_for_value("19 of 64 output channels pruned, L2 norms 0.823 to 1.25, threshold 0.95.")

    @property
    def picture(self) -> Locator:
        return self.page.locator(".jupyter-matplotlib-canvas-div")

    def wait_for_value(self, sentence: str) -> None:
        """Wait until a screen reader would say ``sentence`` of the picture."""
        hosts.wait_until(self.page, lambda: sentence in (self.picture.get_attribute("aria-valuetext") or ""))

    def move(self, across: float, down: float) -> None:
        box = self.picture.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])

    def foot_of_bars(self) -> float:
        """Return how far down the picture the bars stand, once it fills its place."""
        hosts.wait_until(self.page, self.is_whole)
        pixels = hosts.canvas_pixels(self.page)
        return float((np.flatnonzero(self.coloured(pixels))[-1] - 3) / len(pixels))

    def is_whole(self) -> bool:
        pixels, box = hosts.canvas_pixels(self.page), self.picture.bounding_box()
        assert box is not None
        return abs(pixels.shape[1] - box["width"]) < 2 and bool(self.coloured(pixels).any())

    @staticmethod
    def coloured(pixels: np.ndarray) -> np.ndarray:
        """Return the rows of the picture that have the colours of weights about its middle."""
        middle = pixels.shape[1] // 2
        kept, pruned = colours(pixels[:, middle - 6 : middle + 6])
        return (kept | pruned).mean(1) > 0.5

    def wait_for_another_picture(self, before: np.ndarray) -> np.ndarray:
        hosts.wait_until(self.page, lambda: not np.array_equal(hosts.canvas_pixels(self.page), before))
        return hosts.canvas_pixels(self.page)


def pruned(hand: Hand) -> int:
    return int(hand.picture.get_attribute("aria-valuenow") or -1)


class Sent:
    """What a page sends: how many messages without content; and when it last sent or heard anything."""

    def __init__(self, page: Page) -> None:
        self.empty = 0
        self._last = time.monotonic()
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._record)
        socket.on("framereceived", self._notice)

    def _record(self, payload: str | bytes) -> None:
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        self.empty += '"method":"custom","content":{}' in text
        self._notice()

    def _notice(self, _: object = None) -> None:
        self._last = time.monotonic()

    def rests(self) -> bool:
        return time.monotonic() > self._last + 0.5


REPEAT = """(picture, key) => {
    const held = {key, repeat: true, bubbles: true, cancelable: true};
    for (let time = 0; time < 5; time++) picture.dispatchEvent(new KeyboardEvent('keydown', held));
}"""


def hold_keys(hand: Hand, sent: Sent) -> None:
    """Hold arrow keys down on the picture, the slider and the number; each goes on stepping."""
    start = pruned(hand)
    hand.picture.focus()

    def held_long_enough() -> bool:
        hand.page.keyboard.down("ArrowRight")
        return pruned(hand) >= start + 5

    hosts.wait_until(hand.page, held_long_enough)
    hand.page.keyboard.up("ArrowRight")
    hosts.wait_until(hand.page, sent.rests)
    end = pruned(hand)
    hand.picture.evaluate(REPEAT, "ArrowRight")
    hosts.wait_until(hand.page, lambda: pruned(hand) == end + 1)
    hand.page.keyboard.press("ArrowLeft")
    hosts.wait_until(hand.page, lambda: pruned(hand) == end)  # What came unanswered left nothing over.
    hand.shown.wait_for(f"Pruned {end} (")  # Sent after the controls, which would take what is typed back.

    for field in (".ps-amount .noUi-handle:visible", ".ps-amount input:visible"):
        hand.shown.type("Amount", "0.5")
        hand.shown.wait_for("Requested 50 % ")
        hand.page.locator(field).focus()
        for _ in range(10):
            hand.page.keyboard.down("ArrowUp")
        hand.page.keyboard.up("ArrowUp")
        hand.shown.wait_for("Requested 60 % ")


RECORD_PLACES = """picture => {
    window.places = new Set();
    const record = () => {
        window.places.add(Math.round(picture.getBoundingClientRect().y));
        requestAnimationFrame(record);
    };
    record();
}"""


def use_the_picture(hand: Hand) -> None:
    """Hover, drag and step, and see each answered."""
    hand.picture.evaluate(RECORD_PLACES)
    foot = hand.foot_of_bars()
    rest = hosts.canvas_pixels(hand.page)
    hand.move(0.5, 0.25)
    hovered = hand.wait_for_another_picture(rest)
    hand.move(0.5, 0.3)
    hand.wait_for_another_picture(hovered)

    hand.move(0.5, 0.55)
    hand.page.mouse.down()
    for step in range(8):
        hand.move(0.5, 0.55 + 0.015 * step)
    hosts.wait_until(hand.page, lambda: 0 < pruned(hand) < 64 and pruned(hand) != 19)
    hand.move(0.5, foot)
    hand.page.mouse.up()
    hand.shown.wait_for("Pruned 0 (0.0 %)", "of 599)")
    assert hand.page.evaluate("[...window.places].length") == 1, "the picture moves under the hand"

    hand.move(0.5, foot)
    hand.page.mouse.down()
    hand.page.mouse.up()
    hand.shown.wait_for("Pruned 1 (1.6 %)", "Custom mask by hand prune ")
    hand.page.mouse.down()
    hand.page.mouse.up()
    hand.shown.wait_for("Pruned 0 (0.0 %)")

    hand.picture.focus()
    hand.page.keyboard.press("Shift+ArrowRight")
    hand.page.keyboard.press("Space")
    hand.shown.wait_for("Pruned 1 (1.6 %)", "Custom mask by hand prune ")
    hand.page.keyboard.press("Space")
    hand.shown.wait_for("Pruned 0 (0.0 %)")
    hand.page.keyboard.press("ArrowRight")
    hand.shown.wait_for("Pruned 1 (1.6 %)")
    hand.page.keyboard.press("ArrowUp")
    hand.shown.wait_for("Pruned 2 (3.1 %)")
    hand.page.mouse.move(1, 1)  # The keyboard must come to the toolbar without the pointer.
    hosts.wait_until(hand.page, f"{TOOLBAR_SHOWS} === '0'")
    hand.page.keyboard.press("Tab")
    inside = "document.querySelector('.jupyter-matplotlib-canvas-div').contains(document.activeElement)"
    assert not hand.page.evaluate(inside), "the picture keeps the keyboard"
    hosts.wait_until(hand.page, f"{TOOLBAR_SHOWS} === '1'")


def see_steps_answered(hand: Hand, sent: Sent) -> None:
    """See that a page at rest confirms what comes before a picture, which else would wait for that."""
    slider = hand.page.locator(".ps-amount .noUi-handle:visible")
    for control in (slider, hand.picture):
        control.focus()
        hosts.wait_until(hand.page, sent.rests)
        before = sent.empty
        hand.page.keyboard.press("ArrowRight")
        hosts.wait_until(hand.page, lambda before=before: sent.empty > before)
        hosts.wait_until(hand.page, sent.rests)


def test_in_the_served_page(voila_url: str, page: Page) -> None:
    sent = Sent(page)
    page.goto(voila_url)
    hand = Hand(page)
    use_the_picture(hand)
    hold_keys(hand, sent)
    assert not page.get_by_label("Heatmap", exact=True).is_visible(), "folded away until it is wanted"
    page.get_by_role("button", name="View", exact=True).click()
    hand.move(0.5, 0.01)
    mask = hosts.canvas_pixels(page)
    hand.shown.choose("Heatmap", "weights")
    hand.wait_for_another_picture(mask)
    for format, beginning in {"PNG": b"\x89PNG", "SVG": b"<?xml", "PDF": b"%PDF"}.items():
        hand.shown.choose("Picture as", format)
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save picture").click()
        assert saved.value.suggested_filename == f"prunescope.{format.lower()}"
        assert Path(saved.value.path()).read_bytes().startswith(beginning)


def test_in_jupyterlab_light_and_dark(page: Page, lab: OpenNotebook) -> None:
    sent = Sent(page)
    assert lab(page, [NOTEBOOK]) == []
    hand = Hand(page)
    use_the_picture(hand)
    hold_keys(hand, sent)
    see_steps_answered(hand, sent)
    with dark(page):
        paper = paper_of(DARK)
        hosts.wait_until(page, lambda: hosts.canvas_pixels(page)[0, 0, :3].tolist() == paper)
        page.get_by_role("button", name="View", exact=True).click()
        page.get_by_label("Overlay", exact=True).wait_for()
        assert serious(page) == []


def paper_of(theme: Theme) -> list[int]:
    return [int(theme.paper[place : place + 2], 16) for place in (1, 3, 5)]


@contextmanager
def dark(page: Page) -> Iterator[None]:
    """Show JupyterLab dark; it keeps its theme for every later page, so that it is light again afterwards."""
    change = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"
    page.evaluate(change, "JupyterLab Dark")
    try:
        yield
    finally:
        page.evaluate(change, "JupyterLab Light")


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (420, "light")])
def test_axe_finds_nothing_serious(voila_url: str, open_page: OpenPage, width: int, scheme: str) -> None:
    page = open_page(width=width, color_scheme=scheme)
    page.goto(voila_url)
    hand = Hand(page)
    paper = paper_of({"dark": DARK, "light": LIGHT}[scheme])
    hosts.wait_until(page, lambda: hosts.canvas_pixels(page)[0, 0, :3].tolist() == paper)
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert colour == f"rgb({', '.join(map(str, paper))})"
    page.get_by_role("button", name="View", exact=True).click()
    page.get_by_label("Overlay", exact=True).wait_for()
    hand.shown.type("Amount", "7")
    hosts.wait_until(page, lambda: page.get_by_role("alert").count() == 1)
    assert serious(page) == []


def serious(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical in the explorer, one line each."""
    found = Axe().run(page, context=".prunescope").response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
