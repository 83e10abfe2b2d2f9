"""What tests of the clients may ask for."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.clients.virtual import VirtualMicrophone, virtual_microphone
from tests.live import serving


@pytest.fixture
def unused_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def microphone() -> Iterator[VirtualMicrophone]:
    """A microphone into which tests play recordings."""
    with virtual_microphone() as heard:
        yield heard


@pytest.fixture(scope="session")
def live_server() -> Iterator[str]:
    """The address of a server with the bundled model."""
    with serving() as url:
        yield url
