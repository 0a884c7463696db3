"""On a screen of two device pixels a CSS pixel: coarse while the amount moves, sharp when it rests."""

import asyncio

import numpy as np
import pytest
from torch import nn

from prunescope import Explorer, explore
from tests.explorer import test_pointing as pointing


def size(explorer: Explorer) -> int:
    return int(explorer.screen.canvas.widget.get_renderer().width)


async def rested(explorer: Explorer) -> None:
    """Wait until the picture has come to rest: what is measured and sharpened is done."""
    await asyncio.sleep(0)
    await explorer.screen.canvas._sharpness._task


async def on_a_fine_screen(*, stretches: bool) -> Explorer:
    explorer = explore(nn.Linear(40, 10), method="ln_structured", amount=0.3)
    canvas = explorer.screen.canvas.widget
    canvas._handle_message(canvas, {"type": "set_device_pixel_ratio", "device_pixel_ratio": 2}, [])
    canvas.draw()
    explorer.screen.ruler.set_state({"stretches": stretches})
    return explorer


def test_a_step_is_coarse_and_the_picture_that_rests_is_sharp() -> None:
    async def look() -> None:
        explorer = await on_a_fine_screen(stretches=True)
        await rested(explorer)
        sharp = size(explorer)
        explorer.amount = 0.5
        assert size(explorer) == sharp / 2
        await rested(explorer)
        assert size(explorer) == sharp
        stepped = pointing.pixels(explorer)
        explorer.screen.canvas._draw_whole()
        assert np.array_equal(pointing.pixels(explorer), stepped), "the same as drawn afresh"
        explorer.close()

    asyncio.run(look())


def test_neither_a_step_nor_its_sharpening_draws_what_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        explorer = await on_a_fine_screen(stretches=True)
        await rested(explorer)
        monkeypatch.setattr(explorer.screen.canvas.widget, "draw_unsent", lambda: pytest.fail("drawn afresh"))
        for amount in (0.5, 0.6):
            explorer.amount = amount
            await rested(explorer)
        explorer.close()

    asyncio.run(look())


def test_the_hand_finds_its_place_in_a_coarse_picture() -> None:
    async def look() -> None:
        explorer = await on_a_fine_screen(stretches=True)
        await rested(explorer)
        bars = pointing.bars(explorer)
        x, y = bars.transData.transform((4, 0.1))
        canvas = explorer.screen.canvas.widget
        event = {"x": x, "y": canvas.get_renderer().height - y, "button": 0, "buttons": 0, "modifiers": []}
        explorer.amount = 0.5
        canvas._handle_message(canvas, {"type": "motion_notify", **event}, [])
        assert explorer.screen.canvas.picture.place.channel == 4
        explorer.close()

    asyncio.run(look())


def test_a_page_that_does_not_stretch_gets_all_pixels() -> None:
    async def look() -> None:
        explorer = await on_a_fine_screen(stretches=False)
        sharp = size(explorer)
        explorer.amount = 0.5
        assert size(explorer) == sharp
        explorer.close()

    asyncio.run(look())
