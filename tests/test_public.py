"""What a person sees of the package in a session of their own."""

import pydoc
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import prunescope

NAMES = ["Explorer", "RequestError", "Session", "allocate", "explore", "figures", "prune", "sensitivity"]


def test_dir_lists_what_there_is_and_nothing_else() -> None:
    assert [name for name in dir(prunescope) if not name.startswith("_")] == NAMES
    assert all(getattr(prunescope, name) is not None for name in NAMES)


def test_rooms_are_there_without_an_import_of_their_own() -> None:
    code = "import prunescope; print(prunescope.prune.l1_unstructured.__module__, prunescope.figures.View())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("prunescope.prune.functions View(")


def test_importing_it_loads_nothing() -> None:
    loads = "{'torch', 'matplotlib', 'ipywidgets'} & set(sys.modules)"
    code = f"import sys, prunescope; dir(prunescope); print({loads})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


def test_what_is_not_there_is_pythons_own_error() -> None:
    with pytest.raises(AttributeError, match="module 'prunescope' has no attribute 'explor'"):
        _ = prunescope.explor


def test_help_tells_of_every_name() -> None:
    said = pydoc.plain(pydoc.render_doc(prunescope))
    assert [name for name in NAMES if name not in said] == []


def test_the_version_is_written_once() -> None:
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    assert ("version" in project, project["dynamic"]) == (False, ["version"])
    assert version("prunescope") == prunescope.__version__
