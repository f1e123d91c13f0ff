"""Every test of the log's contract runs on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.log_engines import ENGINES, Engine, engines


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """One engine on an empty store."""
    engine = engines(tmp_path)[request.param]
    yield engine
    await engine.close()
