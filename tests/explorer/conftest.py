"""No test of the explorer leaves anything of it behind."""

from collections.abc import Iterator

import pytest

from tests.support.leaks import nothing_is_left


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with nothing_is_left(monkeypatch):
        yield
        request.node.funcargs.clear()  # Fixtures that are undone, but still referred to.
