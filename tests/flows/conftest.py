"""The logs that flows run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.log_engines import Engine, kafka_engine

from callgate.log.sqlite.hostile import Hostility

KINDS = ("plain", "hostile 1", "hostile 2", "kafka")


@pytest.fixture(params=KINDS)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """An empty log: the embedded one in memory, kind or as unkind as its seed makes it, or topics on a real broker."""
    kind = str(request.param)
    if kind == "kafka":
        # Asked for only here, so that the others run where there is no broker.
        found = kafka_engine(kind, request.getfixturevalue("kafka"))
    else:
        seed = int(kind.removeprefix("hostile ")) if kind != "plain" else None
        found = Engine(kind, "sqlite://:memory:", unkind=None if seed is None else Hostility(seed=seed))
    yield found
    await found.close()
