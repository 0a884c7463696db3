"""The glossary: one plain sentence for every label, number and option, in the field's words.

Tooltips, the README and the lessons quote it. An option is entered under its kind and its key, such as
``"norm inf"``; a number under its name in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from prunescope.core.criteria import CRITERIA

WORDS: Mapping[str, str] = {
    "mask": "A tensor of the weight's shape: 1 where a weight is kept, 0 where it is pruned.",
    "channel": "One index along an axis of a weight, such as an output channel of a convolution.",
    "sparsity": "The fraction of weights that are pruned.",
    "importance": "The score that decides what is pruned first: the magnitude, unless another is chosen.",
    "threshold": "The highest score that is pruned.",
    "metric": "What the model is judged by: held-out accuracy, or what your own function returns.",
    "FLOPs": "Floating-point operations of one example; a multiply-add counts as two.",
    "residual output": "What a pruned channel still outputs: its bias, and the shift of the batch-norm after "
    "it.",
    "allocation": "How much to prune of each layer so that a goal for the whole network is met.",
}
"""The words that everything else is said in."""

GLOSSARY: Mapping[str, str] = {
    **WORDS,
    # What is pruned, and how.
    "model": "The model that is explored; it is read, never written.",
    "search": "Lists the layers whose names contain all of these words.",
    "group": "A part of the model; its layers are listed below.",
    "layer": "The parameter that is shown and pruned.",
    "method": "What is pruned, single weights or whole channels, and in which order.",
    "method l1_unstructured": "Prunes the single weights with the lowest magnitudes.",
    "method random_unstructured": "Prunes single weights at random: the baseline for unstructured methods.",
    "method ln_structured": "Prunes the whole channels with the lowest Ln norms.",
    "method random_structured": "Prunes whole channels at random: the baseline for structured methods.",
    "method global_unstructured": "Prunes the weights with the lowest magnitudes of all layers together.",
    "method grouped_unstructured": "Prunes the lowest magnitudes within each group, such as 2 of 4.",
    **{f"criterion {key}": each.says for key, each in CRITERIA.items()},
    "amount": "How much to prune of what remains: a fraction from 0 to 1, or a count.",
    "amount slider": "Drag to change the amount.",
    "scope": "Which layers are pruned: the one shown, a group, all alike, or all by one threshold.",
    "amount as": "Whether the amount is a fraction or a count.",
    "norm": "The order n of the norm that ranks channels: the lowest norms are pruned first.",
    "norm 1": "The sum of the magnitudes of a channel.",
    "norm 2": "The root of the sum of the squares of a channel.",
    "norm inf": "The largest magnitude of a channel.",
    "norm -inf": "The smallest magnitude of a channel.",
    "norm fro": "The Frobenius norm: for every channel the same as order 2.",
    "norm nuc": "The nuclear norm: the sum of the singular values of a channel that is a matrix.",
    "other norm": "Any other order of the norm, such as 0.5 or 3.",
    "dim": "The channel axis of the tensor.",
    "group dim": "The axis, or axes, that groups run along: weights are compared within a group.",
    "group size": "How many consecutive weights are a group; each group loses the same fraction.",
    "pattern": "Keep N of every M consecutive weights, the largest of each group.",
    "seed": "The seed of a random method: the same seed prunes the same weights.",
    "keep by hand": "Channels to keep, whatever the method selects.",
    "prune by hand": "Channels to prune whole, whatever the method selects.",
    "units": "Prunes hidden units or heads whole, as a step: their rows in every tensor of the layer.",
    "by hand": "Keep or prune channels of your choice.",
    # How it is drawn.
    "view": "Choose what the pictures show, and save them.",
    "heatmap": "What the heatmap shows of each weight: whether it is kept, its value or its score.",
    "colour range": "The colours reach the largest weight of the layer, the channel or the model.",
    "chart": "The chart below the heatmap: channel norms, or a histogram of the scores.",
    "order": "Whether the bars are sorted by channel index or by norm.",
    "scale": "Whether the charts use a linear or a logarithmic axis.",
    "norms": "Whether norms are shown as they are, or divided by the size of a channel.",
    "overlay": "Other norms to draw over the bars, for comparison.",
    "picture format": "The format in which the picture is saved.",
    "save picture": "Save the picture as it is shown.",
    "as text": "Show tables in place of the pictures.",
    # The whole network.
    "target": "How much of the network to prune, in percent.",
    "target slider": "Drag to change how much of the network to prune.",
    "unit": "What the target is a percentage of.",
    "unit weights": "Weights that can be pruned, of tensors with two axes or more.",
    "unit parameters": "All parameters of the model.",
    "unit flops": "FLOPs of whole channels, cut out.",
    "unit file": "Bytes of the compressed file, with masks made permanent.",
    "rule": "How the target is spread over the layers.",
    "rule uniform": "The same fraction of every layer.",
    "rule uniform_plus": "Uniform, but the first convolution stays dense and the last layer keeps 20 %.",
    "rule global": "One threshold for all layers.",
    "rule lamp": "One threshold for layer-adaptive magnitudes, so that no layer is emptied early.",
    "rule erk": "Wide layers sparser than narrow ones (Erdős-Rényi-kernel).",
    "rule sensitivity": "As much of each layer as its measured sensitivity allows.",
    "at most": "The largest allowed drop of the metric, in points; leave it empty for no limit.",
    "apply allocation": "Apply this allocation to all layers as one step.",
    # Recovery.
    "optimizer": "The optimizer that trains what is kept.",
    "learning rate": "The highest learning rate, best that of the original training.",
    "rates": "How the learning rate goes: back to its highest and down to 0 again, or constant.",
    "length": "How long it trains.",
    "length unit": "Whether the time or the number of passes over the training examples is given.",
    "when pruned": "Whether the pruned weights are zero from the first step on, or one after the other.",
    "targets": "What it is trained towards: what the dense model answers (distillation), or the labels.",
    "silence first": "Mask the biases and shifts that pruned channels still output, so that training cannot "
    "rely on them.",
    "recover reestimate": "A few forward passes on training inputs, without labels.",
    "recover train": "Train a copy in which pruned weights stay zero; the model itself is not written.",
    "recover stop": "Stop after this batch.",
    "recover keep": "Keep what was trained so far as the next step.",
    "recover discard": "Discard what was trained.",
    "recover undo": "Undo the recovery: the weights before it return.",
    "take the best": "Ask for the most that stays within the allowed drop.",
    "limits": "What the rule leaves alone: layers, a share of every layer, odd numbers of channels.",
    "exclude": "Layers or modules that are left alone, with commas between.",
    "min keep": "The share of its units that every layer keeps at least, in percent.",
    "round to": "The number that the channels kept of a layer are a multiple of.",
    "pause": "Stop measuring what each layer loses for now.",
    "measure network": "Have your function measure what each layer loses, by bisection.",
    # Latency.
    "rounding": "What the number of channels that are kept is a multiple of.",
    "kept": "How many channels of the layer to keep: the amount goes there.",
    # Steps, plans, comparison, export.
    "apply": "Apply the preview as a step; the next amount refers to what remains.",
    "undo": "Undo the last step.",
    "redo": "Redo the step that was undone last.",
    "reset": "Go back to the original model; redo brings the steps back.",
    "steps done": "How many steps are applied: drag it back to see the model before them.",
    "plan": "A series of steps kept under a name.",
    "plan name": "The name to keep the steps under, or the new name of the selected plan.",
    "apply plan": "Apply the steps of this plan in place of the current ones.",
    "remove plan": "Remove this plan.",
    "keep plan": "Keep the applied steps as a plan of this name.",
    "rename plan": "Give the selected plan this name.",
    "side a": "The first of the two states to compare.",
    "side b": "The second of the two states to compare.",
    "hold": "B keeps the current method, norm, dim and seed; A follows the controls.",
    "criteria": "Compute the scores of every criterion, and how far they agree on this layer and amount.",
    "file": "What to export: pruned weights, masks, the plan or code.",
    "file state_dict": "The weights with zeros where they are pruned, without masks.",
    "file masks": "The masks alone: 1 is kept.",
    "file plan": "The steps, to be applied to another copy of the model.",
    "file scores": "The importance scores that the code reads.",
    "file torch": "A script that repeats the steps with torch's own functions.",
    "file prunescope": "A script that repeats the steps with Prunescope's functions.",
    "coupled": "Where layers are added, cut the channels that all of them prune, or that any prunes.",
    "compact look": "Find out which channels can be cut, and which layers lose them.",
    "compact make": "Cut the channels out of a copy, check that its outputs stay the same, and time it.",
    "compact weights": "The state dict of the smaller model, with its shapes.",
    "compact script": "A function that gives the original class the smaller shapes.",
    "staircase": "Cut this layer to several widths on copies, and time each of them in turns.",
    "download": "Download the selected file.",
    "plan file": "Apply the steps of a saved plan, in place of the current steps.",
    # Numbers below the picture.
    "requested": "What the amount asks for.",
    "pruned": "How many units this step prunes, and which fraction of those that remained.",
    "in all": "What this step prunes in all layers of its scope.",
    "layer sparsity": "The fraction of this layer's weights that are pruned, earlier steps included.",
    "model sparsity": "The fraction of all the model's parameters that are pruned, earlier steps included.",
    "custom mask": "Channels are kept or pruned by hand, so the mask is not the method's alone.",
    "held-out accuracy": "Right answers on examples not used for training, before and after pruning.",
    # Costs.
    "parameters not zero": "Parameters that are not zero, of all there are.",
    "file original → masked → removed": "The size of the safetensors file: without pruning, with masks, and "
    "after `remove`.",
    "files, compressed": "The same three files, compressed by zlib: only here do zeros save space.",
    "flops, masked or not": "FLOPs of one example: a mask saves none, since zeros are multiplied too.",
    "residual output of pruned channels": "The largest magnitude that pruned channels still output.",
    "compress": "Write the three files, compress them, and count the nonzero parameters.",
    "mask residual output": "Mask, as a step of its own, the bias and batch-norm scale and shift of all "
    "pruned channels.",
}
"""What each label, number and option means, by its name."""

LABELS: Mapping[str, str] = {
    "model": "Model",
    "layer": "Layer",
    "method": "Method",
    "scope": "Prune",
    "criterion": "Criterion",
    "amount": "Amount",
    "n": "Norm n",
    "dim": "Dim",
    "group": "Group m",
    "seed": "Seed",
    "keep_channels": "Keep",
    "prune_channels": "Prune",
    "target": "Prune %",
    "unit": "of",
    "at_most": "lose at most",
    "steps": "Steps",
    "plans": "Plans",
    "plan": "Plan file",
    "compare": "Compare",
    "learning_rate": "Learning rate",
    "optimizer": "Optimizer",
}
"""What the page calls a parameter of the code."""


def meaning(term: str, default: str = "") -> str:
    """Return the entry of a label or a number as the page writes it; ``default`` if there is none.

    Example:
        >>> meaning("Layer sparsity"), meaning("Held-out accuracy (95 %: 99.1 % to 99.9 %)")[:13]
        ("The fraction of this layer's weights that are pruned, earlier steps included.", 'Right answers')
    """
    return GLOSSARY.get(term.partition(" (")[0].lower(), default)


def option(kind: str, key: object) -> str:
    """Return the entry of one option of a list, or of the whole list if that option has none.

    Example:
        >>> option("norm", float("inf")), option("method", "one_of_my_own")[:14]
        ('The largest magnitude of a channel.', 'What is pruned')
    """
    return GLOSSARY.get(f"{kind} {key}", GLOSSARY[kind])


def on_page(sentence: str) -> str:
    """Return a sentence of an error with parameters named as the page shows them.

    Example:
        >>> on_page("`keep_channels` must list channels, such as 3, 7-9, got 'x'.")
        "“Keep” must list channels, such as 3, 7-9, got 'x'."
    """
    return re.sub(
        r"`(\w+)`", lambda found: f"“{LABELS[found[1]]}”" if found[1] in LABELS else found[0], sentence
    )
