"""The glossary: one plain sentence for each thing a person can turn, in the field's words.

Controls show it as their tooltip. A button that does something says so itself, where it is made.
"""

from __future__ import annotations

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    # What is pruned, and how.
    "model": "The model that is explored; it is read, never written.",
    "search": "Lists the layers whose names contain all of these words.",
    "group": "A part of the model; its layers are listed below.",
    "layer": "The parameter that is shown and pruned.",
    "method": "What is pruned, single weights or whole channels, and by which ranking or by chance.",
    "amount": "How much to prune of what earlier steps have left: a fraction from 0 to 1, or a count.",
    "amount as": "Whether the amount is a fraction or a count.",
    "norm": "The order n of the norm that ranks channels: those of the lowest norm are pruned first.",
    "other norm": "Any other order of the norm, such as 0.5 or 3.",
    "dim": "The axis of the tensor that numbers its channels, or that groups run along.",
    "pattern": "Keep N of every M consecutive weights of a row, the largest of each.",
    "group size": "How many consecutive weights are a group; each group loses the same share.",
    "seed": "The seed of a random method: the same seed prunes the same weights.",
    "keep by hand": "Channels that are left as they are, whatever the method says.",
    "prune by hand": "Channels that are pruned whole, whatever the method says.",
    "by hand": "Keep or prune channels of your own choice.",
    # How it is drawn.
    "view": "Choose what the pictures show, and save them.",
    "heatmap": "What the heatmap shows of each weight: whether it is kept, its value or its score.",
    "colour range": "Whose largest weight has the full colour: the layer's, its channel's or the model's.",
    "chart": "What stands below the heatmap: the norms of the channels, or a histogram of the scores.",
    "order": "Whether the bars go by channel index or by norm.",
    "scale": "Whether the charts have a linear or a logarithmic axis.",
    "norms": "Whether norms are shown as they are, or divided by the size of a channel.",
    "overlay": "Other norms to draw over the bars, for comparison.",
    "picture format": "The format in which the picture is saved.",
    "save picture": "Save the picture as it is shown.",
    "as text": "Show tables in place of the pictures.",
    # The whole network.
    "target": "The share of the network to prune, in percent.",
    "unit": "What the target is a share of.",
    "rule": "How the target is spread over the layers.",
    "at most": "The largest drop of the metric that is allowed, in points; leave it empty for no limit.",
    # Steps, plans, comparison, export.
    "steps done": "How many of the steps are carried out: drag it back to see the model before them.",
    "plan": "The steps that are kept under a name.",
    "plan name": "The name to keep the steps under, or to give the plan that is chosen.",
    "side a": "The first of the two states that are compared.",
    "side b": "The second of the two states that are compared.",
    "file": "What the file holds: pruned weights, masks, the plan or code.",
    "download": "Download the file that is chosen.",
    "plan file": "Carry out the steps of a plan that was saved, in place of the steps there are.",
}
"""What each control is, by its name."""
