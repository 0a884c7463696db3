"""What the pictures show of a preview: a small frozen value, with a table of its choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview

VIEW_CHOICES: Mapping[str, Mapping[str, str]] = {
    "heatmap": {"mask": "mask", "weights": "weights", "scores": "scores"},
    "colour_range": {"layer": "of the layer", "channel": "of each channel", "model": "of the whole model"},
    "chart": {
        "auto": "norms, and scores if ranked",
        "norms": "channel norms",
        "histogram": "histogram of scores",
    },
    "order": {"index": "by index", "norm": "by norm"},
    "scale": {"linear": "linear", "log": "logarithmic"},
    "norms": {"raw": "as they are", "per_weight": "divided by channel size"},
    "overlay": {"none": "nothing", "l1_l2": "L1 and L2"},
}
"""The values of each field of `View`, with their labels."""


@dataclass(frozen=True)
class View:
    """What the pictures show of a preview; every field is a string, so it serialises as JSON.

    Attributes:
        heatmap: The ``"mask"``, the ``"weights"`` (zero is white) or the ``"scores"``.
        colour_range: The colours reach the largest weight of the ``"layer"``, of each ``"channel"``, or of
            the whole ``"model"``.
        chart: Channel ``"norms"``, a ``"histogram"`` of scores, or norms and, where the method ranks single
            weights, the histogram beside them (``"auto"``).
        order: Bars by ``"index"`` or sorted by ``"norm"``.
        scale: ``"linear"`` or ``"log"``.
        norms: ``"raw"``, or ``"per_weight"``: divided by the number of weights in a channel.
        overlay: ``"none"``, or ``"l1_l2"``: the L1 and the L2 norms over the bars.

    Raises:
        RequestError: A field has a value that is not in `VIEW_CHOICES`.

    Example:
        >>> View(heatmap="weights").heatmap
        'weights'
        >>> View(scale="cubic")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `scale` of a view must be one of linear, log, got 'cubic'.
    """

    heatmap: str = "mask"
    colour_range: str = "layer"
    chart: str = "auto"
    order: str = "index"
    scale: str = "linear"
    norms: str = "raw"
    overlay: str = "none"

    def __post_init__(self) -> None:
        for name, choices in VIEW_CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                allowed = ", ".join(choices)
                raise RequestError("view", f"`{name}` of a view must be one of {allowed}, got {value!r}.")

    def charts(self, preview: Preview) -> tuple[str, ...]:
        """Return what stands below the heatmap: ``"norms"``, ``"histogram"`` or both.

        Random scores are not worth a histogram; where the channels of one layer are ranked, norms say it all.
        """
        if preview.scores is None or self.chart == "norms":
            return ("norms",)
        if self.chart == "histogram":
            return ("histogram",)
        by_bars = preview.method.structured and not preview.pooled
        return ("norms",) if by_bars else ("norms", "histogram")
