"""What is shown of an explorer where there is no kernel: its last picture and its sentence."""

import base64
import struct

import ipywidgets.embed as embed
from torch import nn

from prunescope import explore


def test_a_notebook_without_a_kernel_shows_a_still_picture_and_its_sentence() -> None:
    explorer = explore(nn.Linear(4, 3), amount=0.5)
    try:
        bundle = explorer._repr_mimebundle_()
        png = base64.b64decode(bundle["image/png"])
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert (width, height) == (900, 600)
        assert "6 of 12 weights" in bundle["text/plain"]
        assert "application/vnd.jupyter.widget-view+json" in bundle
        before = png
        explorer.amount = 1.0
        assert base64.b64decode(explorer._repr_mimebundle_()["image/png"]) != before
    finally:
        explorer.close()


def test_a_saved_page_can_find_every_script() -> None:
    explorer = explore(nn.Linear(4, 3))
    try:
        states = embed.embed_data(views=[explorer])["manager_state"]["state"].values()
        ours = [state["state"] for state in states if state["model_module"] == "anywidget"]
        assert ours
        assert all(state["_view_name"] == "AnyView" and "_view_module" in state for state in ours)
    finally:
        explorer.close()
