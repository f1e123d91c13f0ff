"""Every test of the log's contract runs on every engine; those of the sandbox share a clock and somebody who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.log_engines import EMBEDDED, ENGINES, Engine, embedded_engines, kafka_engine
from tests.support.sandbox_http import Asker, asking

from callgate.clock import ManualClock


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """One engine on an empty store."""
    name = request.param
    # Asked for only where it is needed, so that the other engines are tested where there is no broker.
    found = (
        embedded_engines(tmp_path)[name] if name in EMBEDDED else kafka_engine(name, request.getfixturevalue("kafka"))
    )
    yield found
    await found.close()


@pytest.fixture(params=EMBEDDED)
async def embedded_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """The embedded engine, for what is planted inside it or needs its clock; tests/kafka has the counterparts."""
    found = embedded_engines(tmp_path)[request.param]
    yield found
    await found.close()


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes when told."""
    return ManualClock()


@pytest.fixture
async def ask(clock: ManualClock) -> AsyncIterator[Asker]:
    """Somebody who asks a sandbox that allows everything but what constraints object to."""
    async with asking(clock=clock) as (asker, _):
        yield asker
