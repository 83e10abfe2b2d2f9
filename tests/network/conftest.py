"""What tests of a broken network may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import serving


@pytest.fixture(scope="session")
def live_server() -> Iterator[str]:
    """The address of a server with the bundled model."""
    with serving() as url:
        yield url
