"""How the house stands: its size, its rooms and its seams, counted; before and after.

    python -m tests.house            the working tree
    python -m tests.house before     beside it, how it stood at that revision of git

A script, not a test: what it counts has no right value.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "src/prunescope"
LONG = 25
"""Lines of a function's body, its docstring left out, from which it counts as long."""

PRIVATE = re.compile(r"_[a-z]\w*")
OWN_NAMES = frozenset({"self", "cls"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


class House:
    """The Python files of one state of the project, parsed.

    Args:
        root: Folder with ``src`` and ``tests``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = parsed(root / PACKAGE)
        self.tests = parsed(root / "tests")

    def lines(self) -> int:
        """Return the lines of Python in ``src``."""
        return sum(len(path.read_text("utf-8").splitlines()) for path in self.source)

    def rooms(self) -> Counter[str]:
        """Return how many files each room has; a room is a folder, at most two deep."""
        folders = (path.relative_to(self.root / PACKAGE).parts[:-1] for path in self.source)
        return Counter("/".join(folder[:2]) or "(top level)" for folder in folders)

    def classes(self) -> dict[str, ast.ClassDef]:
        """Return our classes by name, without those of ``prune``, which has the names of torch."""
        return {
            node.name: node
            for path, tree in self.source.items()
            if "prune" not in path.relative_to(self.root / PACKAGE).parts
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def methods(self, name: str) -> tuple[int, int]:
        """Return how many methods (and setters) a class has of its own, and with its bases of ours."""
        classes, waiting, counts = self.classes(), [name], []
        while waiting:
            if (node := classes.get(waiting.pop())) is not None:
                counts.append(sum(isinstance(each, Function) for each in node.body))
                waiting += [base.id for base in node.bases if isinstance(base, ast.Name)]
        return counts[0], sum(counts)

    def snapshot_assignments(self) -> list[str]:
        """Return the places, as ``file:line``, that assign an attribute ``snapshot``."""
        return sorted(
            f"{path.relative_to(self.root / PACKAGE)}:{node.lineno}"
            for path, tree in self.source.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.stmt | ast.expr) and assigns(node, "snapshot")
        )

    def private_accesses(self) -> int:
        """Return how often tests use a private attribute of what is not theirs (``explorer._state``)."""
        return sum(
            isinstance(node, ast.Attribute)
            and PRIVATE.fullmatch(node.attr) is not None
            and not (isinstance(node.value, ast.Name) and node.value.id in OWN_NAMES)
            for path, tree in self.tests.items()
            if path.name.startswith("test_")
            for node in ast.walk(tree)
        )

    def long_functions(self) -> list[str]:
        """Return the functions of ``src`` whose body is longer than `LONG` lines, the longest first."""
        found = [
            (length(node), f"{path.relative_to(self.root / PACKAGE)}:{node.name}")
            for path, tree in self.source.items()
            for node in ast.walk(tree)
            if isinstance(node, Function) and length(node) > LONG
        ]
        return [f"{name} {lines}" for lines, name in sorted(found, reverse=True)]


def parsed(folder: Path) -> dict[Path, ast.Module]:
    """Return the syntax trees of the Python files below ``folder``."""
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))}


def assigns(node: ast.AST, attribute: str) -> bool:
    """Return whether ``node`` gives an attribute of that name a value: by ``=``, ``+=``, ``set_trait``."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        flat = (each for target in targets for each in ast.walk(target))
        return any(
            isinstance(each, ast.Attribute) and each.attr == attribute and isinstance(each.ctx, ast.Store)
            for each in flat
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        named = any(isinstance(each, ast.Constant) and each.value == attribute for each in node.args)
        return called in ("set_trait", "setattr") and named
    return False


def length(function: Function) -> int:
    """Return the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def at_revision(revision: str, folder: Path) -> House:
    """Return the house as it stood at a revision of git, unpacked into ``folder``."""
    command = ["git", "-C", str(ROOT), "archive", revision, "src", "tests"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    return House(folder)


def rows(house: House) -> Iterator[tuple[str, str]]:
    """Yield what is counted, and how much it is."""
    rooms, longest = house.rooms(), house.long_functions()
    own, every = house.methods("Explorer")
    yield "lines of src", f"{house.lines():,}"
    yield "files of src", f"{len(house.source)}"
    yield "functions over 25 lines", f"{len(longest)}"
    yield "methods of Explorer, its own", f"{own}"
    yield "methods of Explorer, with our bases", f"{every}"
    yield "places that assign the snapshot", f"{len(house.snapshot_assignments())}"
    yield "private accesses in tests", f"{house.private_accesses()}"
    for room in sorted(rooms):
        yield f"files in {room}", f"{rooms[room]}"


def main() -> None:
    """Print the table, and below it where the snapshot is assigned and which functions are long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("revision", nargs="?", help="a revision of git to print beside the working tree")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        houses = {asked.revision: at_revision(asked.revision, Path(folder))} if asked.revision else {}
        houses["now"] = House(ROOT)
        tables = [dict(rows(house)) for house in houses.values()]
        print(f"{'':40}" + "".join(f"{name:>12}" for name in houses))
        for name in dict.fromkeys(name for table in tables for name in table):
            print(f"{name:40}" + "".join(f"{table.get(name, '-'):>12}" for table in tables))
        for name, house in houses.items():
            print(f"\n{name}: the snapshot is assigned in", ", ".join(house.snapshot_assignments()))
            print(f"{name}: long functions:", ", ".join(house.long_functions()))


if __name__ == "__main__":
    main()
