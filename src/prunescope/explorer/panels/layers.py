"""Choosing a layer: a search, groups, and a list short enough for a page.

A small model has one list. With more tensors than fit in one, the list shows one group, such as the block
``model.layers.7``, or the matches of the search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.html import show

LIST_LIMIT = 60
"""With more tensors than this, groups and the search are shown."""

MATCH_LIMIT = 100
"""Most search matches that are listed."""

_BLOCK = re.compile(r"^(.*?\.\d+)\.")


def group_of(name: str) -> str:
    """Return the group of a tensor: its block, or else the first part of its name.

    Example:
        >>> group_of("model.layers.7.mlp.up_proj.weight"), group_of("lm_head.weight")
        ('model.layers.7', 'lm_head')
    """
    block = _BLOCK.match(name)
    return block[1] if block else name.partition(".")[0]


def matches(words: str, names: Mapping[str, PrunableTensor]) -> list[str]:
    """Return the names that contain all ``words``, ignoring case, in order."""
    wanted = words.lower().split()
    return [name for name in names if all(word in name.lower() for word in wanted)]


class LayerChoice:
    """The controls that choose a layer.

    Attributes:
        search: The search field; it changes what is listed, not what is chosen.
        found: How many layers match.
        group: The groups, with how many tensors each has.
        layer: The tensors of the group, or the matches.
    """

    def __init__(self) -> None:
        # A layout each: the search can be hidden without the layer.
        self.search = widgets.Text(
            description="Search",
            tooltip=GLOSSARY["search"],
            layout={"width": "auto"},
            placeholder="words in a layer's name",
        )
        self.group = widgets.Dropdown(
            description="Group", tooltip=GLOSSARY["group"], layout={"width": "auto"}
        )
        self.layer = widgets.Dropdown(
            description="Layer", tooltip=GLOSSARY["layer"], layout={"width": "auto"}
        )
        self.found = widgets.HTML().add_class("ps-message")
        self._tensors: Mapping[str, PrunableTensor] = {}
        self._groups: dict[str, list[str]] = {}
        self._names: tuple[str, ...] = ()

    def render(self, layer: str, tensors: Mapping[str, PrunableTensor]) -> None:
        """Show ``layer`` as the choice among ``tensors``."""
        if tensors is not self._tensors or len(tensors) != len(self._names):
            self._take(tensors)
        self._tensors = tensors
        if self._many:
            self.group.value = group_of(layer)
        self._list(layer)
        self.layer.value = layer

    def list_again(self) -> None:
        """Update the list after a search."""
        layer = self.layer.value
        self._list(layer)
        self.layer.value = layer

    @property
    def _many(self) -> bool:
        return len(self._names) > LIST_LIMIT

    def _take(self, tensors: Mapping[str, PrunableTensor]) -> None:
        self._names = tuple(tensors)
        self._groups = {}
        for name in tensors:
            self._groups.setdefault(group_of(name), []).append(name)
        self.search.value = ""
        _set_options(self.group, [(f"{key} ({len(names)})", key) for key, names in self._groups.items()])
        for widget in (self.search, self.group):
            show(widget, self._many)

    def _list(self, layer: str) -> None:
        """List the matches of the search, or the group of ``layer``; ``layer`` itself is always listed."""
        if not self._many:
            names = list(self._names)
        elif self.search.value.strip():
            found = matches(self.search.value, self._tensors)
            names = [layer, *(name for name in found[:MATCH_LIMIT] if name != layer)]
            self._say(len(found))
        else:
            names = self._groups[group_of(layer)]
        show(self.found, self._many and bool(self.search.value.strip()))
        _set_options(self.layer, [(self._tensors[name].label, name) for name in names])

    def _say(self, found: int) -> None:
        listed = f", the first {MATCH_LIMIT} are listed" if found > MATCH_LIMIT else ""
        text = f"{found:,} of {len(self._names):,} layers match{listed}; choose one below."
        self.found.value = f'<div role="note" class="ps-note">{text if found else "No layer matches."}</div>'

    def first_of(self, group: str) -> str:
        """Return the first tensor of a group, and clear the search, which would take precedence."""
        self.search.value = ""
        return self._groups[group][0]


def not_prunable_list(reasons: Mapping[str, str]) -> str:
    """Return collapsible HTML of the tensors that cannot be pruned, with reasons; "" if there are none.

    Example:
        >>> not_prunable_list({"scale": "is a single number"})[:63]
        '<details><summary>1 other tensor is not prunable</summary><ul><'
    """
    if not reasons:
        return ""
    few = list(reasons.items())[:MATCH_LIMIT]
    rows = "".join(f"<li><b>{escape(name)}</b> {escape(why)}</li>" for name, why in few)
    more = f"<li>and {len(reasons) - len(few):,} more</li>" if len(reasons) > len(few) else ""
    count = "1 other tensor is" if len(reasons) == 1 else f"{len(reasons):,} other tensors are"
    return f"<details><summary>{count} not prunable</summary><ul>{rows}{more}</ul></details>"


def _set_options(dropdown: widgets.Dropdown, options: list[tuple[str, str]]) -> None:
    if list(dropdown.options) != options:
        dropdown.options = options
