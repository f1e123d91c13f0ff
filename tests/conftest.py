"""What tests of any folder may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from tests.support.brokers import session_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Host and port of a real broker. Tests keep apart by the prefix of their topics."""
    yield from session_broker()


@pytest.fixture
def every_level_is_logged() -> Iterator[None]:
    """Whatever an earlier test has set: a command's, that only shows errors, would hide what is looked for."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)
