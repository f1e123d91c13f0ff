"""Tests on a real broker only."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.log_engines import Engine, kafka_engine


@pytest.fixture
async def engine(kafka: str) -> AsyncIterator[Engine]:
    """Kafka, with topics of its own."""
    found = kafka_engine("kafka", kafka)
    yield found
    await found.close()
