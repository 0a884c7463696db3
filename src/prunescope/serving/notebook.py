"""The location of the dashboard's notebook."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def dashboard_notebook() -> Path:
    """Return the path of ``dashboard.ipynb``.

    A wheel contains it inside the package; an editable install uses the checkout's ``notebooks/``.

    Raises:
        FileNotFoundError: The package was copied without its notebook.
    """
    for place in (PACKAGE, PACKAGE.parents[1] / "notebooks"):
        if (place / "dashboard.ipynb").is_file():
            return place / "dashboard.ipynb"
    raise FileNotFoundError("this installation of prunescope lacks dashboard.ipynb: install it again")
