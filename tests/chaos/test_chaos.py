"""One seed of `make chaos` per engine: the same driver, smaller."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from tests.chaos.driver import Options, chaos

SEED = int(os.environ.get("CALLGATE_CHAOS_SEED", "1"))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_promises_hold_under_chaos_on_the_embedded_log() -> None:
    """Whatever is killed and stopped: nothing is lost, every action ends once, and no tool is started too often."""
    options = Options(seed=SEED, log="sqlite", actions=600, seconds=25.0, settle_seconds=90.0)
    report = asyncio.run(chaos(options, print))
    assert report["passed"], report


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_promises_hold_under_chaos_on_kafka() -> None:
    """The same on a real broker that is killed, frozen and stopped as well."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        missing = "no broker that may be broken: that takes a JDK and Maven"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    options = Options(seed=SEED, log="kafka", actions=400, seconds=25.0, settle_seconds=90.0)
    report = asyncio.run(chaos(options, print))
    assert report["passed"], report
