"""What tests of any folder may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.brokers import session_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Host and port of a real broker. Tests keep apart by the prefix of their topics."""
    yield from session_broker()
