"""One seed of `make chaos` per engine: the same driver, smaller."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.chaos.driver import Options, chaos

SEED = int(os.environ.get("CALLGATE_CHAOS_SEED", "1"))
ACTIONS, SECONDS = 500, 25.0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_promises_hold_under_chaos_on_the_embedded_log() -> None:
    """Whatever is killed and stopped: nothing is lost, every action ends once, and no tool is started too often."""
    options = Options(seed=SEED, log="sqlite", actions=ACTIONS, seconds=SECONDS)
    report = asyncio.run(chaos(options, print))
    assert report["passed"], report
