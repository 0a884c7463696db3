"""Every notebook runs from top to bottom, as a person would run it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def run(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    outputs = [output for cell in run(path).cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [
        output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert shown, "no explorer was shown"
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_the_quickstart_says_what_it_measured() -> None:
    path = next(path for path in NOTEBOOKS if path.stem == "quickstart")
    text = "".join(
        output.text
        for cell in run(path).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text" in output
    )
    assert "32 of 128 output features pruned: 25.0% of the layer" in text
    assert "60.0% of the weights are zero" in text
    said = text.split(" right; the explorer said ")
    assert said[0].split()[-3] == said[1].split()[0], "the pruned model is as accurate as the explorer said"


def test_there_are_notebooks() -> None:
    assert {"dashboard", "quickstart"} <= {path.stem for path in NOTEBOOKS}
