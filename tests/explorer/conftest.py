"""No test of the explorer leaves anything of it behind."""

from collections.abc import Iterator

import pytest

from tests.support.leaks import nothing_is_left


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    def forget() -> None:
        request.node.funcargs.clear()  # The fixtures, which are undone.
        for record in caplog.get_records("call"):
            record.exc_info = None  # An exception has all that its frames have.

    with nothing_is_left(forget):
        yield
