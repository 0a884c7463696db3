"""What the project promises about itself: its files, its two environments, its commands."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from prunescope.core.text import percent
from prunescope.sources.demos import DEMOS

ROOT = Path(__file__).resolve().parents[1]
TOP = {"LICENSE", "README.md", "environment.yml", "notebooks", "pyproject.toml", "src", "tests"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
START = "python -m pip install -e . && prunescope"
TEST = "python -m pip install -e '.[test]' && python -m pytest -n 2 --dist loadfile"

# Packages that conda-forge calls by another name than PyPI; every other name is the same in both.
CONDA_NAMES = {
    "build": "python-build",
    "isal": "python-isal",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "torch": "pytorch",
}

# Packages that conda-forge does not have.
PIP_ONLY = frozenset({"axe-playwright-python", "torch-pruning"})


def tracked() -> list[str]:
    """Return the paths of the files under version control, or skip where there is none."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files"], capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    return [path for path in listing.stdout.splitlines() if (ROOT / path).exists()]


def split(requirement: str) -> tuple[str, frozenset[str]]:
    """Return the name and the bounds of ``"name>=1,<2"``, ``"name >=1,<2"`` or ``"name>=1; marker"``."""
    name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*([^;]*).*", requirement).groups()
    return name, frozenset(filter(None, bounds.replace(" ", "").split(",")))


def required_by_pip() -> dict[str, frozenset[str]]:
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    everything = [*PROJECT["build-system"]["requires"], *(entry for group in groups for entry in group)]
    packages = dict(split(entry) for entry in everything if not entry.startswith("prunescope["))
    return {CONDA_NAMES.get(name, name): bounds for name, bounds in packages.items()}


def required_by_conda() -> dict[str, frozenset[str]]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    return dict(split(entry) for entry in entries if isinstance(entry, str))


def test_both_environments_ask_for_the_same_packages() -> None:
    conda = required_by_conda()
    assert conda.pop("pip") == frozenset()
    assert conda.pop("python") == frozenset([PROJECT["project"]["requires-python"]])
    assert conda == {name: bounds for name, bounds in required_by_pip().items() if name not in PIP_ONLY}


def test_conda_environment_installs_this_checkout() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["channels"] == ["conda-forge"]
    *others, checkout = environment["dependencies"][-1]["pip"]
    assert checkout == "-e ."
    assert dict(split(entry) for entry in others) == {name: required_by_pip()[name] for name in PIP_ONLY}


def test_every_renamed_package_is_one_of_ours() -> None:
    assert set(CONDA_NAMES.values()) <= set(required_by_pip())


def test_top_level_holds_exactly_what_it_should() -> None:
    top = {path.split("/")[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} == TOP


def test_notebooks_carry_no_outputs() -> None:
    notebooks = [path for path in tracked() if path.endswith(".ipynb")]
    assert "notebooks/dashboard.ipynb" in notebooks
    for path in notebooks:
        for cell in json.loads((ROOT / path).read_text("utf-8"))["cells"]:
            assert not cell.get("outputs"), f"{path}: a cell has outputs"
            assert cell.get("execution_count") is None, f"{path}: a cell has been counted"


def test_readme_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert START in lines
    assert TEST in lines


def test_gate_runs_the_command_that_the_readme_gives() -> None:
    gate = ROOT / ".ci" / "run"
    assert TEST in gate.read_text("utf-8")
    assert os.access(gate, os.X_OK)
    assert subprocess.run(["bash", "-n", str(gate)]).returncode == 0


def test_readme_states_the_accuracy_that_was_measured() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for demo in DEMOS.values():
        right = round(demo.accuracy * 599)
        assert f"| {demo.title} | {right} ({percent(demo.accuracy)}) |" in readme
